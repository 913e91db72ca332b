package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

// resumeWithin is how soon calls succeed again after the loss of the primary.
const resumeWithin = 5 * time.Second

func (l *load) put(ctx context.Context, key, value string) {
	result, err := l.call(ctx, "kv", kv.Put([]byte(key), []byte(value)))
	if err == nil {
		_, err = kv.DecodeDone(result)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return
	}
	l.acked[key] = value
}

func (l *load) add(ctx context.Context) {
	_, err := l.call(ctx, "counter", counter.Add(1))
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.adds++
	case errors.Is(err, client.ErrNotSubmitted):
		l.failed++
	default:
		l.failed++
		l.unknown++
	}
}

// call makes one call, and notes how long it took.
func (l *load) call(ctx context.Context, service string, op []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	result, err := l.c.Service(service).Invoke(ctx, op)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, time.Since(began))
	if err == nil {
		l.lastAck = time.Now()
	}
	return result, err
}

// awaitAcks waits for n more acknowledged operations, and returns how long it took.
func (l *load) awaitAcks(t testing.TB, n int64, within time.Duration) time.Duration {
	t.Helper()
	began, from := time.Now(), l.acks()
	for l.acks() < from+n {
		if time.Since(began) > within {
			t.Fatalf("%d of %d operations acknowledged within %v", l.acks()-from, n, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

// check compares the state of the cluster with what was acknowledged by some loads:
// every put is there, and the counter has every add exactly once.
func (r *running) check(loads ...*load) {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found := map[string]string{}
	for after := []byte(nil); ; {
		result, err := c.Service("kv").Query(ctx, kv.Scan(nil, after, 0, 0), client.Ordered)
		if err != nil {
			r.t.Fatalf("scan: %v", err)
		}
		page, err := kv.DecodeScan(result)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, item := range page.Items {
			found[string(item.Key)] = string(item.Value)
			after = bytes.Clone(item.Key)
		}
		if !page.More {
			break
		}
	}
	var adds, unknown int64
	puts, lost := 0, 0
	for _, l := range loads {
		adds, unknown, puts = adds+l.adds, unknown+l.unknown, puts+len(l.acked)
		for key, value := range l.acked {
			if found[key] != value {
				lost++
				r.t.Errorf("acknowledged put of %s: found %q", key, found[key])
			}
		}
	}
	result, err := c.Service("counter").Query(ctx, counter.Get(), client.Ordered)
	if err != nil {
		r.t.Fatalf("counter: %v", err)
	}
	value, err := counter.DecodeValue(result)
	if err != nil {
		r.t.Fatal(err)
	}
	if value < adds || value > adds+unknown {
		r.t.Errorf("the counter is %d, but %d adds were acknowledged and the outcome of %d is unknown", value, adds, unknown)
	}
	r.t.Logf("%d puts and %d adds acknowledged, %d adds unknown; counter %d, lost %d", puts, adds, unknown, value, lost)
}

// TestKillPrimary: the process of the primary is killed under load. No acknowledged
// operation is lost or applied twice, every call ends, calls succeed again soon, and the
// replica that was started again catches up, also without load.
func TestKillPrimary(t *testing.T) {
	r := up(t)
	l := startLoad(r, "k")
	l.awaitAcks(t, 200, patience)
	_, pid := r.primary()
	r.kill(pid, syscall.SIGKILL)
	resumed := l.awaitAcks(t, 10*workers, resumeWithin)
	t.Logf("resumed within %v", resumed)
	l.awaitAcks(t, 500, patience)
	l.stop()
	if l.longest > callTimeout+time.Second {
		t.Errorf("a call took %v", l.longest)
	}
	r.agree()
	r.check(l)
}

// TestKillAll: all processes are killed at once under load, and started again, several
// times. Every acknowledged operation is there.
func TestKillAll(t *testing.T) {
	r := up(t)
	var loads []*load
	for round := range *rounds {
		l := startLoad(r, fmt.Sprintf("r%d", round))
		l.awaitAcks(t, 300, patience)
		// The supervisor first, so that it starts nothing again; its replicas die with it,
		// and those that have not yet are killed.
		pids := r.pids()
		r.kill(r.cmd.Process.Pid, syscall.SIGKILL)
		for _, pid := range pids {
			if pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		l.stop()
		r.stop(syscall.SIGKILL)
		r.start()
		loads = append(loads, l)
		r.check(loads...)
	}
	r.agree()
}

// TestSupervisorKilled: replicas do not outlive the process that started them.
func TestSupervisorKilled(t *testing.T) {
	r := up(t)
	pids := r.pids()
	r.kill(r.cmd.Process.Pid, syscall.SIGKILL)
	r.await("the end of the replicas", func() (bool, string) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); err == nil {
				return false, fmt.Sprintf("process %d lives", pid)
			}
		}
		return len(pids) == 4, fmt.Sprintf("%d processes", len(pids))
	})
	<-r.done
	r.start()
	r.check()
}

// TestTwoOfFourStopped: without a quorum calls fail within their time and say why; once
// the two are started again, work resumes and nothing is lost.
func TestTwoOfFourStopped(t *testing.T) {
	r := up(t, "--no-restart")
	if _, stderr, code := run(t, "kv", "put", "a", "1", "--dir", r.dir); code != cli.CodeOK {
		t.Fatalf("put: exit code %d: %s", code, stderr)
	}
	pids := r.pids()
	r.kill(pids[1], syscall.SIGKILL)
	r.kill(pids[2], syscall.SIGKILL)
	r.await("two replicas gone", func() (bool, string) {
		s := r.status()
		return s.Replicas[1].State == cli.StateDisconnected && s.Replicas[2].State == cli.StateDisconnected, fmt.Sprintf("%+v", s.Replicas)
	})
	began := time.Now()
	_, stderr, code := run(t, "kv", "put", "b", "2", "--timeout", "1s", "--dir", r.dir)
	if took := time.Since(began); code != cli.CodeNoQuorum || took > patience || !strings.Contains(stderr, "2 of 4 replicas reachable, 3 needed") {
		t.Errorf("without a quorum: exit code %d after %v: %s", code, took, stderr)
	}
	for _, i := range []int{1, 2} {
		cmd := exec.Command("bftnode", "run", "--home", filepath.Join(r.dir, fmt.Sprintf("r%d", i)))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		})
	}
	if out, stderr, code := run(t, "kv", "get", "a", "--timeout", "10s", "--dir", r.dir); code != cli.CodeOK || out != "1\n" {
		t.Errorf("after the restart: exit code %d, %q: %s", code, out, stderr)
	}
	if _, stderr, code := run(t, "kv", "put", "c", "3", "--timeout", "10s", "--dir", r.dir); code != cli.CodeOK {
		t.Errorf("after the restart: exit code %d: %s", code, stderr)
	}
	r.agree()
}

// TestPausedPrimary: the primary's process is stopped for a while and continued. The
// others go on without it, and its return does no harm and changes no views for long.
func TestPausedPrimary(t *testing.T) {
	r := up(t)
	l := startLoad(r, "p")
	l.awaitAcks(t, 200, patience)
	id, pid := r.primary()
	r.kill(pid, syscall.SIGSTOP)
	stopped := time.Now()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	t.Logf("resumed within %v", l.awaitAcks(t, 10*workers, resumeWithin))
	if s := r.status().Replicas[id].State; s != cli.StateUnresponsive {
		t.Errorf("the stopped replica is %s, want unresponsive", s)
	}
	time.Sleep(time.Until(stopped.Add(*pause))) // the length of the fault, not a wait for a state
	r.kill(pid, syscall.SIGCONT)
	l.awaitAcks(t, 1000, patience)
	l.stop()
	r.agree()
	// Each view that failed meanwhile counts; there must be few, however long the pause.
	if v := r.status().Replicas[0].View; v == 0 || v > 4 {
		t.Errorf("view %d after one pause of the primary, want 1 to 4", v)
	}
	r.check(l)
}

// TestManyShells: shells in loops beside each other, with one client key, do not
// disturb one another, with n from 4 to 7.
func TestManyShells(t *testing.T) {
	t.Parallel()
	const shells, calls = 10, 3
	for _, n := range []int{4, 5, 6, 7} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			r := up(t, "--nodes", strconv.Itoa(n))
			var wg sync.WaitGroup
			for s := range shells {
				wg.Go(func() {
					key := fmt.Sprintf("shell-%d", s)
					for i := range calls {
						want := strconv.Itoa(i)
						if _, stderr, code := run(t, "kv", "put", key, want, "--dir", r.dir); code != 0 {
							t.Errorf("put: exit code %d: %s", code, stderr)
						}
						if out, stderr, code := run(t, "kv", "get", key, "--dir", r.dir); code != 0 || out != want+"\n" {
							t.Errorf("get: %q, exit code %d: %s", out, code, stderr)
						}
						if _, stderr, code := run(t, "counter", "add", "1", "--dir", r.dir); code != 0 {
							t.Errorf("add: exit code %d: %s", code, stderr)
						}
					}
				})
			}
			wg.Wait()
			if out, stderr, code := run(t, "counter", "get", "--dir", r.dir); code != 0 || out != strconv.Itoa(shells*calls)+"\n" {
				t.Errorf("the counter is %q, want %d; exit code %d: %s", out, shells*calls, code, stderr)
			}
		})
	}
}

// TestPortInUse: another process has taken the port of a replica.
func TestPortInUse(t *testing.T) {
	r := up(t)
	r.stop(syscall.SIGTERM)
	m, err := config.ReadManifest(filepath.Join(r.dir, config.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	address := m.Members[2].Addresses[0]
	l := listen(t, address)
	_, stderr, code := run(t, "up", "--dir", r.dir)
	if want := "address " + address + " of replica r2 is in use by another process"; code != cli.CodeFailure || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("up: exit code %d, %q, want one line with %q", code, stderr, want)
	}
	_, stderr, code = run(t, "run", "--home", filepath.Join(r.dir, "r2"))
	if code != cli.CodeFailure || !strings.Contains(stderr, "in use") || !strings.Contains(stderr, address) {
		t.Errorf("run: exit code %d, %q", code, stderr)
	}
	l.Close()
	r.start()
	r.agree()
}

// TestGarbage: random bytes and half a hello at every port harm nobody.
func TestGarbage(t *testing.T) {
	r := up(t)
	pids := r.pids()
	m, err := config.ReadManifest(filepath.Join(r.dir, config.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(random)
	for _, member := range m.Members {
		for _, data := range [][]byte{random, random[:3], []byte("\x13/multistream/1.0.0\n\x07/tls")} {
			conn, err := net.Dial("tcp", member.Addresses[0])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
			conn.Write(data) // an error means that the replica has had enough
		}
	}
	if _, stderr, code := run(t, "kv", "put", "a", "1", "--dir", r.dir); code != 0 {
		t.Errorf("put: exit code %d: %s", code, stderr)
	}
	if out, stderr, code := run(t, "kv", "get", "a", "--dir", r.dir); code != 0 || out != "1\n" {
		t.Errorf("get: %q, exit code %d: %s", out, code, stderr)
	}
	r.agree()
	if now := r.pids(); !slices.Equal(now, pids) {
		t.Errorf("processes %v, before the garbage %v", now, pids)
	}
}

// TestEphemeral: Ctrl-C ends a cluster in the foreground with success, and a temporary
// directory is removed.
func TestEphemeral(t *testing.T) {
	temp := t.TempDir()
	cmd := exec.Command("bftnode", "up", "--ephemeral")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, cli.DirVariable+"=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	ready := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "ready") {
			ready = true
			cmd.Process.Signal(os.Interrupt)
		}
	}
	if err := cmd.Wait(); err != nil || !ready {
		t.Errorf("ready %v, %v", ready, err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestWatch: status --watch prints the table again when something changes.
func TestWatch(t *testing.T) {
	r := up(t, "--no-restart")
	cmd := exec.Command("bftnode", "status", "--watch", "--json", "--dir", r.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	killed, seen := false, false
	for lines := json.NewDecoder(out); !seen; {
		var s cli.Status
		if err := lines.Decode(&s); err != nil {
			t.Fatalf("status --watch: %v", err)
		}
		if x := s.Replicas[3]; !killed && x.State == cli.StateActive {
			r.kill(x.PID, syscall.SIGKILL)
			killed = true
		}
		seen = killed && s.Replicas[3].State == cli.StateDisconnected
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}
