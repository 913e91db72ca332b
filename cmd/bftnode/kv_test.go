package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

// lockTTL is the time to live of locks whose owners die. It is longer than a view change mostly takes.
const lockTTL = "5s"

// holder is a process that holds a lock, with the command that it runs.
type holder struct {
	cmd        *exec.Cmd
	stderr     *bytes.Buffer
	out        *bufio.Scanner
	token, key string
	child      int
}

// hold has a process take a lock, and a command under it that stays until it is killed; it waits until both are there.
func (r *running) hold(lock string) (h *holder) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	r.t.Cleanup(cancel)
	r.await("the lock", func() (bool, string) {
		h = &holder{stderr: new(bytes.Buffer)}
		h.cmd = exec.CommandContext(ctx, "bftnode", "kv", "lock", "--dir", r.dir, "--ttl", lockTTL, lock, "--",
			"sh", "-c", "echo $$ $BFTNODE_LOCK_TOKEN $BFTNODE_LOCK_KEY; exec sleep 1000")
		h.cmd.Stderr = h.stderr
		stdout, err := h.cmd.StdoutPipe()
		if err != nil {
			r.t.Fatal(err)
		}
		if err := h.cmd.Start(); err != nil {
			r.t.Fatal(err)
		}
		h.out = bufio.NewScanner(stdout)
		if !h.out.Scan() { // a machine that is slow enough loses its turn while it waits
			err := h.cmd.Wait()
			return false, fmt.Sprintf("%v: %s", err, h.stderr)
		}
		if _, err := fmt.Sscan(h.out.Text(), &h.child, &h.token, &h.key); err != nil {
			r.t.Fatalf("%q: %v", h.out.Text(), err)
		}
		return true, ""
	})
	return h
}

// gone waits for the end of the command under the lock.
func (r *running) gone(h *holder) {
	r.t.Helper()
	r.await("the end of the command", func() (bool, string) {
		return syscall.Kill(h.child, 0) != nil, fmt.Sprintf("process %d lives", h.child)
	})
}

// guarded does a transaction that is to happen only under a lock, and returns the exit code.
func (r *running) guarded(h *holder) int {
	r.t.Helper()
	_, stderr, code := run(r.t, "kv", "txn", "--dir", r.dir, "--timeout", patience.String(), fmt.Sprintf("if revision %s = %s", h.key, h.token), "then put guarded 1")
	if code != 0 && code != 4 {
		r.t.Fatalf("exit code %d: %s", code, stderr)
	}
	return code
}

// TestLockOfKilledOwner: whoever waits has the lock once its time is over, also when the primary dies with its owner,
// and also a reader alone sees that it is free.
func TestLockOfKilledOwner(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv")
	first := r.hold("job")
	if code := r.guarded(first); code != 0 {
		t.Errorf("a transaction of the owner: exit code %d", code)
	}
	if out, _, code := run(t, "kv", "lock", "--dir", r.dir, "--wait", "100ms", "job", "--", "echo", "mine"); code != 5 || out != "" {
		t.Errorf("while it is held: exit code %d, %q", code, out)
	}
	r.kill(first.cmd.Process.Pid, syscall.SIGKILL)
	_, pid := r.primary()
	r.kill(pid, syscall.SIGKILL)
	second := r.hold("job")
	r.gone(first)
	before, _ := strconv.Atoi(first.token)
	after, err := strconv.Atoi(second.token)
	if err != nil || after <= before {
		t.Errorf("token %s after %s", second.token, first.token)
	}
	if code := r.guarded(first); code != 4 {
		t.Errorf("a transaction of the former owner: exit code %d", code)
	}
	if code := r.guarded(second); code != 0 {
		t.Errorf("a transaction of the owner: exit code %d", code)
	}
	// Now nobody waits, and nothing is ordered but what the reader sees to.
	r.kill(second.cmd.Process.Pid, syscall.SIGKILL)
	r.gone(second)
	r.await("the key of the lock to be gone", func() (bool, string) {
		out, stderr, code := run(t, "kv", "get", "--dir", r.dir, second.key)
		return code == 3, out + stderr
	})
	if out, _, code := run(t, "kv", "lock", "--dir", r.dir, "--timeout", patience.String(), "job", "--", "echo", "mine"); code != 0 || out != "mine\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// TestLockOfStoppedOwner: an owner that was stopped for too long has lost the lock. It ends its command and says so.
func TestLockOfStoppedOwner(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv")
	first := r.hold("job")
	r.kill(first.cmd.Process.Pid, syscall.SIGSTOP)
	second := r.hold("job")
	if code := r.guarded(first); code != 4 {
		t.Errorf("a transaction of the former owner: exit code %d", code)
	}
	r.kill(first.cmd.Process.Pid, syscall.SIGCONT)
	if err := first.cmd.Wait(); first.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(first.stderr.String(), "the lock is lost") {
		t.Errorf("%v: %s", err, first.stderr)
	}
	r.gone(first)
	if code := r.guarded(second); code != 0 {
		t.Errorf("a transaction of the owner: exit code %d", code)
	}
	// One that is asked to end gives the lock back at once.
	r.kill(second.cmd.Process.Pid, syscall.SIGTERM)
	if err := second.cmd.Wait(); second.cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("%v: %s", err, second.stderr)
	}
	if _, _, code := run(t, "kv", "get", "--dir", r.dir, second.key); code != 3 {
		t.Errorf("the key is there: exit code %d", code)
	}
}

// TestWatchWhilePrimaryDies: two watchers, one from the first change on and one of a prefix, see each change once and in order,
// while the primary is killed, twice.
func TestWatchWhilePrimaryDies(t *testing.T) {
	r := up(t, "--app", "kv")
	const puts = 400
	c := r.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	watch := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		out := new(bytes.Buffer)
		cmd := exec.CommandContext(ctx, "bftnode", append([]string{"kv", "watch", "--dir", r.dir, "--from", "1"}, args...)...)
		cmd.Stdout, cmd.Stderr = out, new(bytes.Buffer)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}
	all, allOut := watch("--limit", strconv.Itoa(puts))
	odd, oddOut := watch("--limit", strconv.Itoa(puts/2), "odd/")
	var wantAll, wantOdd strings.Builder
	for i := range puts {
		if i%150 == 100 {
			_, pid := r.primary()
			r.kill(pid, syscall.SIGKILL)
		}
		key := []string{"even/", "odd/"}[i%2] + strconv.Itoa(i)
		result, err := c.Service("kv").Invoke(ctx, kv.Put([]byte(key), []byte(strconv.Itoa(i))))
		if err == nil {
			_, err = kv.DecodeDone(result)
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d\tput\t%s\t%d\n", i+1, key, i)
		wantAll.WriteString(line)
		if i%2 == 1 {
			wantOdd.WriteString(line)
		}
	}
	for _, w := range []struct {
		cmd  *exec.Cmd
		got  *bytes.Buffer
		want string
	}{{all, allOut, wantAll.String()}, {odd, oddOut, wantOdd.String()}} {
		if err := w.cmd.Wait(); err != nil || w.got.String() != w.want {
			t.Errorf("%v: %v: %s; printed %d bytes, want %d:\n%.2000s", w.cmd.Args, err, w.cmd.Stderr, w.got.Len(), len(w.want), w.got)
		}
	}
	result, err := c.Service("kv").Query(ctx, kv.Revision(), client.Ordered)
	if err != nil {
		t.Fatal(err)
	}
	if head, err := kv.DecodeRevision(result); err != nil || head.Revision != puts {
		t.Errorf("%+v, %v: want the watchers to have changed nothing", head, err)
	}
}
