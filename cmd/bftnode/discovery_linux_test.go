package main

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// named is a network with multicast on which clusters announce themselves.
type named struct {
	*netns
	dir string
}

func newNamed(t *testing.T) *named {
	t.Helper()
	n := &named{netns: newNetns(t), dir: t.TempDir()}
	n.must("ip", "link", "set", "lo", "multicast", "on")
	return n
}

// up starts a cluster under the name acme and returns its id.
func (n *named) up(dir string) string {
	n.t.Helper()
	dir = filepath.Join(n.dir, dir)
	n.must("bftnode", "up", "--detach", "--app", "echo", "--name", "acme", "--dir", dir)
	n.t.Cleanup(func() { _ = n.command("bftnode", "down", "--dir", dir).Run() }) // it may have ended
	return strings.TrimSpace(n.must("bftnode", "manifest", "id", filepath.Join(dir, "manifest.yaml")))
}

// send calls the cluster that it finds by the name, from a directory of a client's own.
func (n *named) send(dir, text string, more ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	cmd := n.command(append([]string{"bftnode", "echo", "send", "--discover", "acme", "--dir", filepath.Join(n.dir, dir), text}, more...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// sent wants the call to be answered.
func (n *named) sent(dir, text, want string, more ...string) (stderr string) {
	n.t.Helper()
	out, errs, code := n.send(dir, text, more...)
	if code != 0 || out != want+"\t"+text+"\n" {
		n.t.Fatalf("%s: exit code %d, printed %q, %s", text, code, out, errs)
	}
	return errs
}

// announce has a program announce acme so many times, with the id of another's cluster and an address of its own.
func (n *named) announce(count int, id, address string) {
	n.t.Helper()
	cmd := n.command("impostor", "acme", id, strconv.Itoa(count), address)
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "announced\n" {
		n.t.Fatalf("impostor: %q, %v", line, err)
	}
}

// A cluster is found by its name, and kept at the first use. An impostor under the same name is never called, neither
// a whole cluster nor one who claims the id, and is refused when it is alone.
func TestDiscoveryByName(t *testing.T) {
	n := newNamed(t)
	id := n.up("acme")
	if errs := n.sent("me", "hello", "1"); !strings.Contains(errs, "first use of acme: cluster "+id) {
		t.Errorf("the first use says %q", errs)
	}
	if errs := n.sent("me", "again", "2"); strings.Contains(errs, "first use") {
		t.Errorf("the second use says %q", errs)
	}
	if out := n.must("bftnode", "echo", "history", "--discover", "acme", "--dir", filepath.Join(n.dir, "me")); out != "1\thello\n2\tagain\n" {
		t.Errorf("history: %q", out)
	}

	evil := n.up("evil")
	n.announce(1, id, strings.Fields(n.must("bftnode", "status", "--dir", filepath.Join(n.dir, "evil")))[12])
	n.sent("me", "still there", "3")
	n.sent("other", "by fingerprint", "1", "--fingerprint", id)
	for deadline := time.Now().Add(patience); ; {
		out := n.must("bftnode", "discover", "--wait", "1s")
		if strings.Contains(out, id) && strings.Contains(out, evil) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("discover lists\n%s", out)
		}
	}
	if _, errs, code := n.send("me", "x", "--fingerprint", evil); code != 2 || !strings.Contains(errs, "name another directory") {
		t.Errorf("another fingerprint: exit code %d, %s", code, errs)
	}

	n.must("bftnode", "down", "--dir", filepath.Join(n.dir, "acme"))
	for deadline := time.Now().Add(2 * patience); ; {
		// Only what is wrong with what is announced differs from try to try: the impostors may not be heard at once.
		out, errs, code := n.send("me", "x", "--timeout", "4s")
		if code == 0 || out != "" {
			t.Fatalf("a stranger was called: %q, %s", out, errs)
		}
		if code == 1 && strings.Contains(errs, "acme") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not refused: exit code %d, %s", code, errs)
		}
	}
}

// So many impostors that claim the id that there is no room for all of them do not keep the cluster from being found.
func TestACrowdOfImpostors(t *testing.T) {
	n := newNamed(t)
	id := n.up("acme")
	n.announce(100, id, "127.0.0.1:9")
	n.sent("me", "by fingerprint", "1", "--fingerprint", id)
	n.sent("me", "by the keys that are known now", "2")
	n.sent("other", "by fingerprint, too", "1", "--fingerprint", id)
}

// The only ones that announce the name are strangers: they are refused, and named.
func TestStrangersAreRefused(t *testing.T) {
	n := newNamed(t)
	evil := n.up("evil")
	for deadline := time.Now().Add(2 * patience); ; {
		out, errs, code := n.send("me", "x", "--fingerprint", strings.Repeat("ab", 32), "--timeout", "4s")
		if code == 0 || out != "" {
			t.Fatalf("a stranger was called: %q, %s", out, errs)
		}
		if code == 1 && strings.Contains(errs, "refused: another cluster announces this name: "+evil) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not refused: exit code %d, %s", code, errs)
		}
	}
}

// Names, fingerprints and times that make no sense get one line each, with status 2.
func TestDiscoverUsage(t *testing.T) {
	for _, args := range [][]string{
		{"echo", "send", "--discover", "Not A Name", "x"},
		{"echo", "send", "--discover", "acme", "--fingerprint", "12", "x"},
		{"echo", "send", "--fingerprint", strings.Repeat("ab", 32), "x"},
		{"discover", "--wait", "0s"},
		{"up", "--name", "Not A Name"},
	} {
		cmd := exec.Command("bftnode", args...)
		cmd.Dir = t.TempDir()
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: exit code %d, %s", args, code, out)
		}
	}
}
