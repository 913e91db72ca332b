//go:build unix

package transport

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echoEnv, if set, makes the test binary replica 1 in a process of its own,
// which TestFrozenPeer stops and continues. Its value is the address of replica 0.
const echoEnv = "TRANSPORT_TEST_PEER"

// frozenKeepAlive is that of both ends of TestFrozenPeer.
const frozenKeepAlive = 300 * time.Millisecond

func TestMain(m *testing.M) {
	if other := os.Getenv(echoEnv); other != "" {
		runEcho(other)
		return
	}
	os.Exit(m.Run())
}

func runEcho(other string) {
	var s *Server
	ready := make(chan struct{})
	rec := newRecorder()
	rec.onPeer = func(peer int, frame []byte) {
		<-ready
		s.Send(peer, frame)
	}
	s, err := Listen(ServerConfig{Key: testKey("replica 1"), Self: 1, Cluster: testCluster, Handler: rec, Listen: []string{"127.0.0.1:0"},
		Limits: Limits{KeepAlive: frozenKeepAlive},
		Members: []Member{
			{Key: testKey("replica 0").Public(), Addrs: []string{other}},
			{Key: testKey("replica 1").Public(), Addrs: []string{"127.0.0.1:0"}},
		}})
	if err != nil {
		panic(err)
	}
	close(ready)
	fmt.Println("address", s.Addrs()[0])
	bufio.NewReader(os.Stdin).ReadByte() // until the parent ends
}

// startEcho starts replica 1 and returns its process and address.
func startEcho(t *testing.T, other string) (*os.Process, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), echoEnv+"="+other)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process, strings.TrimSpace(strings.TrimPrefix(line, "address "))
}

// A process that is stopped, which looks like a machine that is gone, blocks
// nobody; it is noticed even without traffic, and works again once continued.
func TestFrozenPeer(t *testing.T) {
	checkLeaks(t)
	rec := newRecorder()
	members := []Member{
		{Key: testKey("replica 0").Public(), Addrs: []string{"127.0.0.1:0"}},
		{Key: testKey("replica 1").Public(), Addrs: []string{"127.0.0.1:0"}},
	}
	s, err := newServer(ServerConfig{Key: testKey("replica 0"), Cluster: testCluster, Members: members, Handler: rec,
		Listen: []string{"127.0.0.1:0"},
		Limits: Limits{WriteTimeout: 300 * time.Millisecond, KeepAlive: frozenKeepAlive, PeerQueueBytes: 8 << 20}}, protocolVersion)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
	process, addr := startEcho(t, s.Addrs()[0])
	a, err := parseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	s.links[1].addrs = []address{a}
	s.connect()
	echo := func(frame string) {
		t.Helper()
		waitFor(t, "echo", func() bool {
			s.Send(1, []byte(frame))
			got := rec.got(1)
			return len(got) > 0 && got[len(got)-1] == frame
		})
	}
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	echo("start")

	signal(syscall.SIGSTOP)
	waitFor(t, "noticed without traffic", func() bool { return !rec.up(1) })
	signal(syscall.SIGCONT)
	began := time.Now()
	echo("after a silent stop")
	t.Logf("%v from SIGCONT to the echo", time.Since(began))

	signal(syscall.SIGSTOP)
	frame := make([]byte, 1<<20)
	waitFor(t, "queue full", func() bool {
		before := time.Now()
		sent := s.Send(1, frame)
		if d := time.Since(before); d > time.Second {
			t.Errorf("Send blocked for %v", d)
		}
		return !sent
	})
	waitFor(t, "given up", func() bool { return !rec.up(1) })
	signal(syscall.SIGCONT)
	began = time.Now()
	echo("after a stop under load")
	t.Logf("%v from SIGCONT to the echo", time.Since(began))
}
