package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// netns is a network namespace of this test, in a user namespace of its own, so that it takes no privileges. It lasts
// as long as the process in it, which ends with its standard input.
type netns struct {
	t   testing.TB
	pid int
}

// newNetns makes a namespace with a loopback that is up.
func newNetns(t testing.TB) *netns {
	t.Helper()
	return keepNetns(t, exec.Command("unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo $$; exec cat"))
}

// inside makes another one of the same user namespace.
func (n *netns) inside() *netns {
	n.t.Helper()
	return keepNetns(n.t, n.command("unshare", "--net", "sh", "-c", "echo $$; exec cat"))
}

func keepNetns(t testing.TB, cmd *exec.Cmd) *netns {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("this test makes network namespaces: install %s (util-linux, iproute2): %v", tool, err)
		}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("no network namespace can be made here: allow user namespaces (sysctl user.max_user_namespaces), or run as root: %s", &errs)
	}
	n := &netns{t: t, pid: pid}
	n.must("ip", "link", "set", "lo", "up")
	return n
}

// command makes a command that runs in the namespace.
func (n *netns) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(n.pid), "-U", "-n", "--preserve-credentials", "--"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// must runs a command in the namespace and returns what it printed.
func (n *netns) must(args ...string) string {
	n.t.Helper()
	out, err := n.command(args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// lan is a switch in a namespace, with hosts in namespaces of their own at 10.77.0.1 and up. The switch itself
// is 10.77.0.254.
type lan struct {
	*netns
	hosts []*netns
}

func newLAN(t testing.TB, hosts int) *lan {
	t.Helper()
	l := &lan{netns: newNetns(t)}
	l.must("ip", "link", "add", "br0", "type", "bridge")
	l.must("ip", "addr", "add", "10.77.0.254/24", "dev", "br0")
	l.must("ip", "link", "set", "br0", "up")
	for i := range hosts {
		h, port := l.inside(), fmt.Sprintf("port%d", i)
		l.must("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(h.pid))
		l.must("ip", "link", "set", port, "master", "br0", "up")
		h.must("ip", "addr", "add", l.address(i)+"/24", "dev", "eth0")
		h.must("ip", "link", "set", "eth0", "up")
		l.hosts = append(l.hosts, h)
	}
	return l
}

func (l *lan) address(host int) string { return fmt.Sprintf("10.77.0.%d", host+1) }

// cut lets nothing pass between two hosts, or all again; the others reach both.
func (l *lan) cut(a, b int, cut bool) {
	l.t.Helper()
	state := map[bool]string{true: "on", false: "off"}[cut]
	for _, host := range []int{a, b} {
		l.must("ip", "link", "set", fmt.Sprintf("port%d", host), "type", "bridge_slave", "isolated", state)
	}
}
