package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

var (
	rounds = flag.Int("rounds", 3, "rounds in which all processes are killed; .ci/crash-rounds has 20")
	pause  = flag.Duration("pause", 4*time.Second, "how long the primary is stopped by SIGSTOP; the issue asks for 20s too")
)

// patience bounds every wait for a state that must come about.
const patience = 30 * time.Second

// running is a cluster under `bftnode up`, in processes of its own.
type running struct {
	t    testing.TB
	dir  string
	args []string

	cmd  *exec.Cmd
	done chan struct{} // closed when the supervisor has ended
	err  *strings.Builder
}

// up starts a cluster in a directory of the test and waits for its ready line.
func up(t testing.TB, args ...string) *running {
	t.Helper()
	r := &running{t: t, dir: filepath.Join(t.TempDir(), "cluster"), args: args}
	t.Cleanup(func() { r.stop(syscall.SIGTERM) })
	r.start()
	return r
}

func (r *running) start() {
	r.t.Helper()
	r.cmd = exec.Command("bftnode", append([]string{"up", "--dir", r.dir}, r.args...)...)
	// With a process group of its own a signal to the test does not reach it unasked.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.err = &strings.Builder{}
	r.cmd.Stderr = r.err
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	r.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready") {
				ready <- true
			}
		}
		io.Copy(io.Discard, out)
		cmd.Wait()
		close(done)
	}(r.cmd, r.done)
	select {
	case <-ready:
	case <-r.done:
		r.t.Fatalf("up has ended: %s", r.err)
	case <-time.After(patience):
		r.t.Fatalf("not ready within %v: %s", patience, r.err)
	}
}

// stop ends the supervisor by a signal and waits for it and its replicas.
func (r *running) stop(s syscall.Signal) {
	if r.cmd == nil || r.cmd.Process == nil {
		return
	}
	pids := r.pids()
	if r.cmd.Process.Signal(s) == nil {
		select {
		case <-r.done:
		case <-time.After(patience):
			r.t.Errorf("the supervisor has not ended within %v", patience)
			r.cmd.Process.Kill()
		}
	}
	r.await("the end of all replicas", func() (bool, string) {
		for _, pid := range pids {
			if pid != 0 && syscall.Kill(pid, 0) == nil {
				return false, fmt.Sprintf("process %d lives", pid)
			}
		}
		return true, ""
	})
	r.cmd = nil
}

// status asks as a user would, whatever the exit code.
func (r *running) status() *cli.Status {
	out, _ := exec.Command("bftnode", "status", "--json", "--dir", r.dir).Output()
	var s cli.Status
	if err := json.Unmarshal(out, &s); err != nil {
		return &cli.Status{}
	}
	return &s
}

func (r *running) pids() []int {
	var pids []int
	for _, x := range r.status().Replicas {
		pids = append(pids, x.PID)
	}
	return pids
}

// primary returns the id and process of the primary.
func (r *running) primary() (id, pid int) {
	r.t.Helper()
	r.await("an active primary", func() (bool, string) {
		s := r.status()
		for _, x := range s.Replicas {
			if x.Role == cli.RolePrimary && x.State == cli.StateActive {
				id, pid = x.ID, x.PID
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", s.Replicas)
	})
	return id, pid
}

// await waits until a state has come about.
func (r *running) await(what string, is func() (bool, string)) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, now := is()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %v: %s", what, patience, now)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// agree waits until all replicas are active in one view with the same number executed.
func (r *running) agree() {
	r.t.Helper()
	r.await("all replicas active, in one view, with the same executed", func() (bool, string) {
		s := r.status()
		if len(s.Replicas) == 0 {
			return false, "no status"
		}
		for _, x := range s.Replicas {
			if x.State != cli.StateActive || x.View != s.Replicas[0].View || x.Executed != s.Replicas[0].Executed {
				return false, fmt.Sprintf("%+v", s.Replicas)
			}
		}
		return true, ""
	})
}

// kill sends a signal to one process that this test started.
func (r *running) kill(pid int, s syscall.Signal) {
	r.t.Helper()
	if pid <= 1 {
		r.t.Fatalf("no process to send %v to: %+v", s, r.status().Replicas)
	}
	if err := syscall.Kill(pid, s); err != nil {
		r.t.Fatalf("%v to process %d: %v", s, pid, err)
	}
}

// dial connects a client with the key of the directory.
func (r *running) dial() *client.Client {
	r.t.Helper()
	m, err := config.ReadManifest(filepath.Join(r.dir, config.ManifestFile))
	if err != nil {
		r.t.Fatal(err)
	}
	key, err := crypto.ReadKeyFile(filepath.Join(r.dir, config.ClientKeyFile), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := client.Dial(context.Background(), m, key, client.NoWait())
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// run runs the program and returns what it printed, and its exit code.
func run(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bftnode", args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// workers is how many calls are outstanding under load.
const workers = 8

// load puts keys and adds to the counter, and notes what was acknowledged.
type load struct {
	c      *client.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]string // puts
	adds    int64             // acknowledged
	unknown int64             // adds whose outcome is unknown
	lastAck time.Time
	longest time.Duration // of a call
	failed  int
}

// callTimeout bounds each call under load.
const callTimeout = 10 * time.Second

// startLoad begins with puts of keys that start with the prefix.
func startLoad(r *running, prefix string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{c: r.dial(), cancel: cancel, acked: map[string]string{}, lastAck: time.Now()}
	for w := range workers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%s-%d-%d", prefix, w, i)
				l.put(ctx, key, fmt.Sprintf("value of %s", key))
				l.add(ctx)
			}
		})
	}
	return l
}

// stop ends the load and waits for its calls.
func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
	l.c.Close()
}

// acks counts the acknowledged operations.
func (l *load) acks() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.acked)) + l.adds
}
