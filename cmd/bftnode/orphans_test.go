package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

// graceTime is the grace and the lease of the clients of these tests.
const graceTime = 2 * time.Second

// policy is a way to end orphans, by the name of the test.
func policy(name, dir string) []client.Option {
	switch name {
	case "reincarnation":
		return []client.Option{client.Instance("worker")}
	case "gentle":
		return []client.Option{client.GentleInstance("worker", graceTime)}
	case "expiration":
		return []client.Option{client.Lease(graceTime)}
	case "extermination", "finish":
		return []client.Option{client.Journal(journalOf(name, dir), client.Finish)}
	}
	return nil
}

func journalOf(name, dir string) string { return filepath.Join(dir, name+".journal") }

// orphanSize is that of the value that a client dies with on its way, by which it is recognised in the lines.
const orphanSize = 8 << 10

// caller is a program that calls: caller DIR POLICY ADDRESS… It opens a session and prints "ready"; for each line that it
// reads it puts the line as a key, prints "called", and when the call has ended "ended" and how.
func caller() {
	err := call(os.Args[1], os.Args[2], os.Args[3:])
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func call(dir, name string, addresses []string) error {
	m, err := config.ReadManifest(filepath.Join(dir, config.ManifestFile))
	if err != nil {
		return err
	}
	for i := range m.Members {
		m.Members[i].Addresses = addresses[i : i+1]
	}
	key, err := crypto.ReadKeyFile(filepath.Join(dir, config.ClientKeyFile), nil)
	if err != nil {
		return err
	}
	c, err := client.Dial(context.Background(), m, key, policy(name, dir)...)
	if err != nil {
		return err
	}
	if _, err := c.Invoke(context.Background(), kv.Put([]byte(name+" begins"), nil)); err != nil {
		return err
	}
	for up := 0; up < len(m.Members); { // a line that is held before it is open carries no request
		up = 0
		for _, s := range c.Status(context.Background()) {
			if s.Report != nil {
				up++
			}
		}
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		op := kv.Put([]byte(lines.Text()), bytes.Repeat([]byte("o"), orphanSize))
		if err := c.Submit(context.Background(), op, func(_ []byte, err error) { fmt.Println("ended", err) }); err != nil {
			return err
		}
		fmt.Println("called")
	}
	return io.EOF
}

// calling is a caller in a process of its own.
type calling struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.Writer
	says chan string
}

func (l *lines) caller(t testing.TB, name string) *calling {
	t.Helper()
	args := []string{l.r.dir, name}
	for _, p := range l.proxies {
		args = append(args, p.Addr())
	}
	c := &calling{t: t, cmd: exec.Command("caller", args...), says: make(chan string, 16)}
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in = in
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	go func() {
		defer close(c.says)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.says <- lines.Text()
		}
	}()
	c.expect("ready")
	return c
}

// expect waits until the caller says so.
func (c *calling) expect(want string) {
	c.t.Helper()
	select {
	case got, ok := <-c.says:
		if !ok || got != want {
			c.t.Fatalf("the caller says %q, want %q", got, want)
		}
	case <-time.After(patience):
		c.t.Fatalf("the caller does not say %q", want)
	}
}

// kill ends the process as a power cut would.
func (c *calling) kill() {
	if c.cmd.ProcessState != nil {
		return
	}
	c.cmd.Process.Signal(syscall.SIGKILL)
	for range c.says { // until its end
	}
	c.cmd.Wait()
}

// dieCalling has the caller put a key and die while the request is on its way: it is held in the lines.
func (l *lines) dieCalling(c *calling, key string) {
	l.r.t.Helper()
	before := make([]uint64, len(l.proxies))
	for i, p := range l.proxies {
		p.Hold(true, true) // what comes back would find nobody, and break the connection
		before[i], _ = p.UnderWay()
	}
	fmt.Fprintln(c.in, key)
	c.expect("called")
	l.r.await("a request on its way", func() (bool, string) {
		for i, p := range l.proxies {
			if now, _ := p.UnderWay(); now < before[i]+orphanSize {
				return false, fmt.Sprint(now)
			}
		}
		return true, ""
	})
	c.kill()
}

// arrive lets what is held reach the replicas, and waits until it has.
func (l *lines) arrive() {
	l.r.t.Helper()
	for _, p := range l.proxies {
		p.Hold(false, true)
	}
	defer func() {
		for _, p := range l.proxies {
			p.Hold(false, false)
		}
	}()
	l.r.await("what was held at the replicas", func() (bool, string) {
		var all []uint64
		done := true
		for _, p := range l.proxies {
			n, _ := p.UnderWay()
			all, done = append(all, n), done && n == 0
		}
		return done, fmt.Sprint(all)
	})
}

func (r *running) dialWith(t testing.TB, opts ...client.Option) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, r.manifest(), r.key(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// put invokes a put, within patience.
func put(c *client.Client, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.Invoke(ctx, kv.Put([]byte(key), nil))
	return err
}

// passTime has operations ordered until the agreed time is later than d from now: replicas on one machine agree on its clock.
func passTime(t testing.TB, c *client.Client, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d + time.Second); time.Now().Before(end); {
		if err := put(c, "time"); err != nil {
			t.Fatal(err)
		}
	}
}

// has tells whether the replicas have a key.
func has(t testing.TB, c *client.Client, key string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result, err := c.Query(ctx, kv.Get([]byte(key)), client.Ordered)
	if err == nil {
		_, err = kv.DecodeGet(result)
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// recover has the program deal with the journal of a killed caller, and returns what it says of the only operation.
func (r *running) recover(name string, args ...string) (outcome string) {
	r.t.Helper()
	out, errs, code := run(r.t, append([]string{"recover", "--json", "--dir", r.dir, journalOf(name, r.dir)}, args...)...)
	var line struct{ Service, Outcome string }
	if err := json.Unmarshal([]byte(out), &line); code != 0 || err != nil {
		r.t.Fatalf("recover: exit code %d, %q %s", code, out, errs)
	}
	if again, errs, code := run(r.t, "recover", "--dir", r.dir, journalOf(name, r.dir)); code != 0 || again != "" {
		r.t.Fatalf("recover again: exit code %d, %q %s", code, again, errs)
	}
	return line.Outcome
}

// A client is killed with a call on its way, which reaches the replicas long after: what becomes of it is what the client's
// policy promises.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv")
	l, direct := newLines(r), r.dial()
	defer direct.Close()
	for _, name := range []string{"none", "reincarnation", "gentle", "expiration", "extermination", "finish"} {
		t.Run(name, func(t *testing.T) {
			key := "orphan of " + name
			c := l.caller(t, name)
			l.dieCalling(c, key)
			if has(t, direct, key) {
				t.Fatal("it is there before it came")
			}
			switch name {
			case "reincarnation":
				if err := put(r.dialWith(t, policy(name, "")...), "successor"); err != nil {
					t.Fatal(err)
				}
			case "gentle":
				if err := put(r.dialWith(t, policy(name, "")...), "successor"); err != nil {
					t.Fatal(err)
				}
				passTime(t, direct, graceTime)
			case "expiration":
				passTime(t, direct, graceTime)
			case "extermination":
				if got := r.recover(name, "--exterminate"); got != "not executed" {
					t.Fatalf("the journal's operation is %s", got)
				}
			case "finish":
				if got := r.recover(name); got != "executed" || !has(t, direct, key) {
					t.Fatalf("the journal's operation is %s", got)
				}
				// What arrives late is the same operation.
				_, err := direct.Invoke(context.Background(), kv.Delete([]byte(key)))
				if err != nil {
					t.Fatal(err)
				}
			}
			l.arrive()
			if name == "none" {
				r.await("the orphan to be executed", func() (bool, string) { return has(t, direct, key), "" })
				return
			}
			for range 20 { // enough for what waits to be ordered
				if err := put(direct, "after"); err != nil {
					t.Fatal(err)
				}
			}
			if has(t, direct, key) {
				t.Error("an orphan was executed after its session had ended")
			}
		})
	}
}

// A client whose owner lives is replaced at once by a strict successor, and not at all by a gentle one.
func TestLivingClientIsReplaced(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv")
	direct := r.dial()
	defer direct.Close()
	old := r.dialWith(t, client.GentleInstance("worker", graceTime))
	if err := put(old, "a"); err != nil {
		t.Fatal(err)
	}
	if err := put(r.dialWith(t, client.GentleInstance("worker", graceTime)), "b"); err != nil {
		t.Fatal(err)
	}
	passTime(t, direct, graceTime)
	if err := put(old, "c"); err != nil {
		t.Fatalf("a client that lives was replaced gently: %v", err)
	}
	leased := r.dialWith(t, client.Lease(graceTime))
	if err := put(leased, "d"); err != nil {
		t.Fatal(err)
	}
	passTime(t, direct, graceTime)
	if err := put(leased, "e"); err != nil {
		t.Fatalf("a client that lives lost its lease: %v", err)
	}
	out, errs, code := run(t, "kv", "put", "--dir", r.dir, "--instance", "worker", "f", "1")
	if code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	for range 2 {
		if err := put(old, "g"); !errors.Is(err, client.ErrReplaced) || !errors.Is(err, client.ErrNotSubmitted) {
			t.Fatalf("the client that was replaced: %v", err)
		}
	}
	if has(t, direct, "g") || !has(t, direct, "f") {
		t.Error("the operation of the client that was replaced was executed, or its successor's was not")
	}
}
