package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

func TestInvokeAndQuery(t *testing.T) {
	c := newCluster(t, 4).dial()
	ctx := within(t, patience)
	for _, s := range []interface {
		Invoke(context.Context, []byte) ([]byte, error)
		Query(context.Context, []byte, Consistency) ([]byte, error)
	}{c, c.Service("counter")} {
		before, err := s.Query(ctx, []byte("get"), Linearizable)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(before))
		if err != nil {
			t.Fatal(err)
		}
		want := strconv.Itoa(n + 5)
		if got, err := s.Invoke(ctx, []byte("add 5")); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %s", got, err, want)
		}
		for _, consistency := range []Consistency{Linearizable, Ordered, Stale} {
			if got, err := s.Query(ctx, []byte("get"), consistency); err != nil || string(got) != want {
				t.Fatalf("%v: %q, %v, want %s", consistency, got, err, want)
			}
		}
	}
}

// Many goroutines call at once; each operation is executed once, and they share bundles.
func TestConcurrentCalls(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	const workers, each = 32, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := c.Invoke(within(t, patience), []byte("add 1")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := c.Query(within(t, patience), []byte("get"), Ordered); err != nil || string(got) != strconv.Itoa(workers*each) {
		t.Fatalf("%q, %v", got, err)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.bundles > workers*each/2 {
		t.Errorf("%d bundles for %d operations", cl.bundles, workers*each)
	}
}

// One of four lies, sends garbage or says nothing: every call has its honest result.
func TestOneFaultyReplica(t *testing.T) {
	for _, m := range []mode{lying, garbage, silent, busy} {
		t.Run(fmt.Sprint(m), func(t *testing.T) {
			cl := newCluster(t, 4)
			c := cl.dial()
			for id := range 4 { // each of them at its turn is also the replier
				cl.setMode(m, id)
				for k := range 3 {
					want := strconv.Itoa(id*3 + k + 1)
					if got, err := c.Invoke(within(t, patience), []byte("add 1")); err != nil || string(got) != want {
						t.Fatalf("%q, %v, want %s", got, err, want)
					}
					if got, err := c.Query(within(t, patience), []byte("get"), Linearizable); err != nil || string(got) != want {
						t.Fatalf("read %q, %v, want %s", got, err, want)
					}
				}
				cl.setMode(honest, id)
			}
		})
	}
}

// Submit keeps many calls under way from one goroutine, each executed once and ended once.
func TestSubmit(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "deadline": within(t, patience)} {
		t.Run(name, func(t *testing.T) {
			before := value(t, c)
			const total, window = 5000, 128
			var ended atomic.Int64
			done := make(chan struct{})
			var submit func()
			var started atomic.Int64
			submit = func() {
				if started.Add(1) > total {
					return
				}
				if err := c.Submit(ctx, []byte("add 1"), func(reply []byte, err error) {
					if _, bad := strconv.Atoi(string(reply)); err != nil || bad != nil {
						t.Errorf("%q, %v", reply, err)
					}
					if ended.Add(1) == total {
						close(done)
					}
					submit()
				}); err != nil {
					t.Error(err)
				}
			}
			for range window {
				submit()
			}
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatalf("%d of %d ended", ended.Load(), total)
			}
			if got := value(t, c); got != before+total {
				t.Fatalf("%d after %d and %d more", got, before, total)
			}
		})
	}
}

func value(t testing.TB, c *Client) int {
	t.Helper()
	got, err := c.Query(within(t, patience), []byte("get"), Ordered)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(got))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Without a quorum a call ends by its context, with the reason; when the replicas are back the
// same client goes on, and what had been sent is executed once.
func TestNoQuorum(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	value(t, c)
	cl.replicas[2].stop()
	cl.replicas[3].stop()
	cl.setMode(silent, 0, 1)
	waitFor(t, "two replicas are gone", func() bool { return len(c.Reachable().Down) == 2 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Invoke(ctx, []byte("add 7"))
	if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "2 of 4 replicas reachable, 3 needed (r2, r3: ") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("%v", err)
	}
	cl.setMode(honest, 0, 1)
	cl.replicas[2].start()
	cl.replicas[3].start()
	// The client goes on with the operation whose caller has gone.
	waitFor(t, "the operation is executed", func() bool { return value(t, c) == 7 })
	waitFor(t, "all are reachable", func() bool { return len(c.Reachable().Down) == 0 })
}

func TestOverloaded(t *testing.T) {
	cl := newCluster(t, 4)
	cl.setMode(busy, 0, 1, 2, 3)
	c := cl.dial()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Invoke(ctx, []byte("add 1")); !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
}

func TestContext(t *testing.T) {
	cl := newCluster(t, 4)
	cl.setMode(silent, 0, 1, 2, 3)
	c := cl.dial()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Invoke(gone, nil); !errors.Is(err, ErrNotSubmitted) || !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled before: %v", err)
	}
	if err := c.Submit(gone, nil, func([]byte, error) { t.Error("done was called") }); !errors.Is(err, ErrNotSubmitted) {
		t.Fatalf("cancelled before: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	if err := c.Submit(ctx, nil, func(_ []byte, err error) { result <- err }); err != nil {
		t.Fatal(err)
	}
	go cancel()
	if _, err := c.Query(ctx, []byte("get"), Stale); !errors.Is(err, context.Canceled) {
		t.Fatalf("query: %v", err)
	}
	if err := <-result; !errors.Is(err, context.Canceled) || errors.Is(err, ErrRejected) {
		t.Fatalf("submitted: %v", err)
	}
	// A call that has not left is not sent any more: it waits for the session that another one opens.
	c = cl.dial()
	before := cl.replicas[0].heard.Load()
	if err := c.Submit(context.Background(), nil, func([]byte, error) {}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the opening has left", func() bool { return cl.replicas[0].heard.Load() > before })
	if _, err := c.Invoke(within(t, 20*time.Millisecond), nil); !errors.Is(err, ErrNotSubmitted) || errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("waiting: %v", err)
	}
}

// What is wrong with an operation is found before it is sent, or said by the cluster.
func TestRejected(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial(MaxCalls(1))
	for _, test := range []struct {
		name string
		call func(ctx context.Context) error
		text string
	}{
		{"too large", func(ctx context.Context) error {
			_, err := c.Invoke(ctx, make([]byte, cl.manifest.Protocol.BundleSize))
			return err
		}, "operation of 1310720 bytes, the limit is 10526"},
		{"too large to submit", func(ctx context.Context) error {
			return c.Submit(ctx, make([]byte, cl.manifest.Protocol.BundleSize), nil)
		}, "the limit is 10526"},
		{"bad service", func(ctx context.Context) error { _, err := c.Service("No!").Invoke(ctx, nil); return err }, `"No!"`},
		{"other service", func(ctx context.Context) error { _, err := c.Service("kv").Invoke(ctx, nil); return err }, "no service"},
		{"bad consistency", func(ctx context.Context) error { _, err := c.Query(ctx, nil, 7); return err }, "consistency 7"},
		{"bad consistency to submit", func(ctx context.Context) error {
			return c.Service("").SubmitQuery(ctx, nil, write, nil)
		}, "consistency 3"},
	} {
		err := test.call(within(t, patience))
		if !errors.Is(err, ErrRejected) || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := c.Query(within(t, patience), []byte("no such question"), Linearizable); !errors.Is(err, ErrReadFailed) {
		t.Errorf("a read that fails: %v", err)
	}
	large := make([]byte, c.maxOp-2)
	if _, err := c.Invoke(within(t, patience), large); errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("the largest operation was not answered: %v", err)
	}
	cl.setMode(silent, 0, 1, 2, 3)
	ended := make(chan error, 1)
	if err := c.Submit(context.Background(), nil, func(_ []byte, err error) { ended <- err }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Invoke(within(t, patience), nil); !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrNotSubmitted) {
		t.Errorf("one too many: %v", err)
	}
	c.Close()
	if err := <-ended; !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("outstanding at Close: %v", err)
	}
}

// Close ends the session, so that nothing of the client stays behind.
func TestClose(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	value(t, c)
	if n := cl.sessions(); n != 1 {
		t.Fatalf("%d sessions", n)
	}
	c.Close()
	c.Close()
	if n := cl.sessions(); n != 0 {
		t.Fatalf("%d sessions after Close", n)
	}
	if _, err := c.Invoke(within(t, patience), nil); !errors.Is(err, ErrNotSubmitted) {
		t.Fatalf("after Close: %v", err)
	}
	if err := c.Submit(context.Background(), nil, nil); !errors.Is(err, ErrNotSubmitted) {
		t.Fatalf("after Close: %v", err)
	}
}

func TestEphemeral(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial(Ephemeral())
	for k := range 3 {
		if got, err := c.Invoke(within(t, patience), []byte("add 1")); err != nil || string(got) != strconv.Itoa(k+1) {
			t.Fatalf("%q, %v", got, err)
		}
		if n := cl.sessions(); n != 0 {
			t.Fatalf("%d sessions", n)
		}
	}
	if cl.bundles != 3 {
		t.Fatalf("%d bundles", cl.bundles)
	}
}

func TestStatus(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	waitFor(t, "all are reachable", func() bool { return len(c.Reachable().Down) == 0 })
	cl.setMode(silent, 1)
	cl.replicas[2].stop()
	waitFor(t, "one replica is gone", func() bool { return len(c.Reachable().Down) == 1 })
	for id, s := range c.Status(within(t, 200*time.Millisecond)) {
		if s.ID != id || s.Name != cl.manifest.Members[id].Name {
			t.Errorf("%+v", s)
		}
		want := fmt.Sprintf(`{"id":%d}`, id)
		if id == 1 || id == 2 {
			want = ""
		}
		if string(s.Report) != want || (s.Err == nil) != (want != "") {
			t.Errorf("replica %d: %s, %v", id, s.Report, s.Err)
		}
	}
	cl.setMode(honest, 1)
	start := time.Now() // with all that are connected answering, nothing waits for the context
	if s := c.Status(within(t, patience)); s[1].Err != nil || s[2].Err == nil || time.Since(start) > patience/2 {
		t.Errorf("%+v", s)
	}
}

func TestDialErrors(t *testing.T) {
	cl := newCluster(t, 4)
	if _, err := Dial(context.Background(), nil, testKey("client")); err == nil {
		t.Error("without a manifest")
	}
	bad := *cl.manifest
	bad.Members = bad.Members[:3]
	if _, err := Dial(context.Background(), &bad, testKey("client")); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("with three members: %v", err)
	}
	if _, err := Dial(context.Background(), cl.manifest, testKey("client"), MaxCalls(-1)); err == nil {
		t.Error("with -1 calls")
	}
	other := *cl.manifest
	other.Name = "other"
	if _, err := Dial(within(t, patience), &other, testKey("client")); !errors.Is(err, transport.ErrWrongCluster) || !errors.Is(err, ErrNotSubmitted) {
		t.Errorf("another cluster: %v", err)
	}
	cl.admit = func(crypto.PublicKey) error { return errors.New("this key is not on the list") }
	if _, err := Dial(within(t, patience), cl.manifest, testKey("stranger")); !errors.Is(err, transport.ErrNotAdmitted) || !strings.Contains(err.Error(), "not on the list") {
		t.Errorf("not admitted: %v", err)
	}
	nobody := *cl.manifest
	nobody.Members = append([]config.Member(nil), nobody.Members...)
	for i := range nobody.Members {
		nobody.Members[i].Addresses = []string{fmt.Sprintf("127.0.0.1:%d", i+1)}
	}
	_, err := Dial(within(t, 100*time.Millisecond), &nobody, testKey("client"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "0 of 4 replicas reachable, 3 needed (r0, r1, r2, r3: connection refused)") {
		t.Errorf("nobody there: %v", err)
	}
	c, err := Dial(context.Background(), &nobody, testKey("client"), WithOptions(Options{NoWait: true}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Invoke(within(t, 10*time.Millisecond), nil); !errors.Is(err, ErrNotSubmitted) || !strings.Contains(err.Error(), "0 of 4") {
		t.Errorf("nobody there: %v", err)
	}
	c.Close()
}

// Package bft knows the statuses of results, which package exec makes, by their numbers.
func TestOpen(t *testing.T) {
	cl := newCluster(t, 4)
	dir := t.TempDir()
	ctx := within(t, patience)
	write := func(name string, data []byte) {
		t.Helper()
		if err := config.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string) {
		t.Helper()
		c, err := Open(ctx, dir)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	refused("there is no " + filepath.Join(dir, "manifest.yaml"))
	write("manifest.yaml", cl.manifest.Encode())
	refused("make it with init --dir " + dir)
	if err := crypto.WriteKeyFile(filepath.Join(dir, "client.key"), testKey("opens"), nil); err != nil {
		t.Fatal(err)
	}
	c, err := Open(ctx, dir, MaxCalls(3))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Invoke(ctx, []byte("add 5")); err != nil || string(got) != "5" {
		t.Errorf("%q, %v", got, err)
	}
	if c.maxCalls != 3 {
		t.Errorf("the options are lost: at most %d calls", c.maxCalls)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.yaml"), []byte("format: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("manifest.yaml: ")
}

func TestStatusesAreThoseOfExec(t *testing.T) {
	for s, want := range map[exec.Status]bft.ResultStatus{
		exec.StatusOK: bft.ResultOK, exec.StatusUnknownSession: bft.ResultUnknownSession, exec.StatusExpired: bft.ResultExpired,
		exec.StatusTooFar: bft.ResultTooFar, exec.StatusSuperseded: bft.ResultSuperseded, exec.StatusRefused: bft.ResultRefused,
		exec.StatusNotNow: bft.ResultNotNow, exec.StatusUnknownService: bft.ResultUnknownService, exec.StatusInvalid: bft.ResultInvalid,
		exec.StatusForgotten: bft.ResultForgotten, exec.StatusTooLate: bft.ResultTooLate, exec.StatusFailed: bft.ResultFailed,
		exec.StatusEnded: bft.ResultEnded, exec.StatusReplaced: bft.ResultReplaced, exec.StatusCrowded: bft.ResultCrowded,
	} {
		if byte(s) != byte(want) || s.Final() != want.Final() {
			t.Errorf("%v is %d in bft", s, want)
		}
	}
	if next := exec.StatusCrowded + 1; !errors.Is(next.Err(), exec.ErrBadResult) {
		t.Errorf("%v is not known to bft", next)
	}
	results := [][]byte{{0, 1}, {}, {9}}
	if exec.ResultDigest(results) != bft.ResultsDigest(results) {
		t.Error("two digests of results")
	}
}

// BenchmarkSubmit is one operation's way through Submit, a bundle, four replicas on loopback and
// back, with 128 outstanding. Most of it is the replicas' part: see BenchmarkClient in bft.
func BenchmarkSubmit(b *testing.B) {
	cl := newCluster(b, 4)
	c := cl.dial()
	b.ReportAllocs()
	b.ResetTimer()
	var started, ended atomic.Int64
	done := make(chan struct{})
	var submit func()
	submit = func() {
		if started.Add(1) > int64(b.N) {
			return
		}
		if err := c.Submit(context.Background(), nil, func([]byte, error) {
			if ended.Add(1) == int64(b.N) {
				close(done)
			}
			submit()
		}); err != nil {
			b.Error(err)
		}
	}
	for range min(128, b.N) {
		submit()
	}
	<-done
}

// BenchmarkInvoke is one closed-loop caller: the latency of an idle client and four replicas on
// loopback that do not agree on anything.
func BenchmarkInvoke(b *testing.B) {
	c := newCluster(b, 4).dial()
	for b.Loop() {
		if _, err := c.Invoke(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
