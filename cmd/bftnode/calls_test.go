package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bench/proxy"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

var allSemantics = []client.Semantics{client.ExactlyOnce, client.AtMostOnce, client.AtLeastOnce, client.Maybe}

// roundedUp is more than deadlines are rounded up by.
const roundedUp = 200 * time.Millisecond

// callEnds is how long calls wait in these tests that may end without an answer.
const callEnds = 1500 * time.Millisecond

// lines are the lines between clients and a cluster, which can lose what passes.
type lines struct {
	r       *running
	proxies []*proxy.Proxy
}

func newLines(r *running) *lines {
	l := &lines{r: r}
	for _, m := range r.manifest().Members {
		p, err := proxy.Listen(proxy.Config{Target: m.Addresses[0]})
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { p.Close() })
		l.proxies = append(l.proxies, p)
	}
	return l
}

func (r *running) manifest() *config.Manifest {
	r.t.Helper()
	m, err := config.ReadManifest(filepath.Join(r.dir, config.ManifestFile))
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *running) key() *crypto.PrivateKey {
	r.t.Helper()
	key, err := crypto.ReadKeyFile(filepath.Join(r.dir, config.ClientKeyFile), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return key
}

// lose has requests, or replies, or both lost.
func (l *lines) lose(requests, replies bool) {
	for _, p := range l.proxies {
		p.Lose(requests, replies)
	}
}

// dial connects a client through the lines; it has a session.
func (l *lines) dial(t testing.TB) *client.Client {
	t.Helper()
	m := *l.r.manifest()
	m.Members = slices.Clone(m.Members)
	for i, p := range l.proxies {
		m.Members[i].Addresses = []string{p.Addr()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, &m, l.r.key())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Invoke(ctx, counter.Get()); err != nil {
		t.Fatal(err)
	}
	return c
}

// connected waits until the client reaches all replicas, by connections of which nothing was lost: at least those that
// brought an answer.
func (l *lines) connected(c *client.Client) {
	l.r.t.Helper()
	if _, err := c.Invoke(context.Background(), counter.Get()); err != nil {
		l.r.t.Fatal(err)
	}
	l.r.await("all replicas reachable", func() (bool, string) {
		reach := c.Reachable()
		return len(reach.Down) == 0, reach.String()
	})
}

// value reads the counter with a client of its own.
func (r *running) value(c *client.Client) int64 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result, err := c.Query(ctx, counter.Get(), client.Ordered)
	if err != nil {
		r.t.Fatal(err)
	}
	n, err := counter.DecodeValue(result)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// pendingCall is a call that a test makes beside others.
type pendingCall struct {
	done chan struct{}
	err  error
}

// add calls for one more, with some semantics. Those that need not be answered wait for callEnds.
func add(c *client.Client, s client.Semantics) *pendingCall {
	limit := patience
	if s == client.AtMostOnce || s == client.Maybe {
		limit = callEnds
	}
	p := &pendingCall{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	go func() {
		defer cancel()
		_, p.err = c.Service("counter").With(client.WithSemantics(s)).Invoke(ctx, counter.Add(1))
		close(p.done)
	}()
	return p
}

// end waits for the call and checks that it ended in an error that is want, or in none.
func (p *pendingCall) end(t testing.TB, want error) {
	t.Helper()
	<-p.done
	if !errors.Is(p.err, want) {
		t.Fatalf("the call ended in %v, want %v", p.err, want)
	}
}

// awaitValue waits until the counter is at least n.
func (r *running) awaitValue(c *client.Client, n int64) {
	r.t.Helper()
	r.await(fmt.Sprintf("a counter of %d", n), func() (bool, string) {
		v := r.value(c)
		return v >= n, strconv.FormatInt(v, 10)
	})
}

// The counter, when replies are lost: exactly once adds exactly N; at most once N or fewer; at least once N or
// more, and here it is more; maybe promises neither an answer nor anything of what there is without one.
func TestCounterUnderLostReplies(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "counter")
	l, direct := newLines(r), r.dial()
	defer direct.Close()
	const n = 3
	for _, s := range allSemantics {
		c := l.dial(t)
		before := r.value(direct)
		for range n {
			l.connected(c)
			now := r.value(direct)
			l.lose(false, true)
			call := add(c, s)
			switch s {
			case client.ExactlyOnce:
				r.awaitValue(direct, now+1)
				l.lose(false, false)
				call.end(t, nil)
			case client.AtLeastOnce:
				r.awaitValue(direct, now+2) // it was executed, nobody heard of it, it is executed again
				l.lose(false, false)
				call.end(t, nil)
			case client.AtMostOnce, client.Maybe:
				r.awaitValue(direct, now+1)
				call.end(t, client.ErrOutcomeUnknown)
				l.lose(false, false)
			}
		}
		if _, err := c.Invoke(context.Background(), counter.Get()); err != nil {
			t.Fatal(err)
		}
		switch added := r.value(direct) - before; {
		case s == client.AtLeastOnce && added <= n, s != client.AtLeastOnce && added != n:
			t.Errorf("%v: %d calls added %d", s, n, added)
		}
	}
}

// The first failure of a remote call: there is no server, or one of something else. Nothing leaves, and the caller knows.
func TestNoServer(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "counter")
	m := *r.manifest()
	m.Members = slices.Clone(m.Members)
	for i, port := range freePorts(t, len(m.Members)) {
		m.Members[i].Addresses = []string{fmt.Sprintf("127.0.0.1:%d", port)}
	}
	other := *r.manifest()
	other.Name += "-2" // which makes it another cluster
	for _, s := range allSemantics {
		c, err := client.Dial(context.Background(), &m, r.key(), client.NoWait())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), callEnds)
		if _, err := c.Service("counter").With(client.WithSemantics(s)).Invoke(ctx, counter.Add(1)); !errors.Is(err, client.ErrNotSubmitted) {
			t.Errorf("%v, nobody there: %v", s, err)
		}
		cancel()
		c.Close()
		ctx, cancel = context.WithTimeout(context.Background(), patience)
		if _, err := client.Dial(ctx, &other, r.key(), client.Calls(client.WithSemantics(s))); !errors.Is(err, transport.ErrWrongCluster) {
			t.Errorf("%v, another cluster: %v", s, err)
		}
		c = r.dial()
		if _, err := c.Service("calc").With(client.WithSemantics(s)).Invoke(ctx, []byte("1+1")); !errors.Is(err, client.ErrRejected) {
			t.Errorf("%v, no such service: %v", s, err)
		}
		cancel()
		c.Close()
	}
	direct := r.dial()
	defer direct.Close()
	if v := r.value(direct); v != 0 {
		t.Errorf("the counter is %d", v)
	}
}

// The second: the request is lost. What is repeated arrives later; what has ended before does not.
func TestLostRequest(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "counter")
	l, direct := newLines(r), r.dial()
	defer direct.Close()
	for _, s := range allSemantics {
		c := l.dial(t)
		before := r.value(direct)
		l.connected(c)
		l.lose(true, false)
		call := add(c, s)
		want := int64(0)
		switch s {
		case client.AtMostOnce:
			call.end(t, client.ErrOutcomeUnknown)
			// What a connection still holds may arrive when it is back: too late, once the agreed time is that of the deadline.
			for end := time.Now().Add(roundedUp); time.Now().Before(end); {
				r.value(direct)
			}
			r.value(direct)
			l.lose(false, false)
		case client.Maybe:
			call.end(t, client.ErrOutcomeUnknown)
			l.lose(false, false)
		case client.ExactlyOnce, client.AtLeastOnce:
			if v := r.value(direct); v != before {
				t.Fatalf("%v: the counter is %d", s, v)
			}
			l.lose(false, false)
			call.end(t, nil)
			want = 1
		}
		if _, err := c.Invoke(context.Background(), counter.Get()); err != nil {
			t.Fatal(err)
		}
		added := r.value(direct) - before
		if s == client.Maybe && added == 1 {
			continue // it arrived late
		}
		if added != want && !(s == client.AtLeastOnce && added > want) {
			t.Errorf("%v: added %d, want %d", s, added, want)
		}
	}
}

// The third: the server crashes. One replica is nothing to anybody; when all do at once, calls wait for them or end, and
// what each semantics promises still holds.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "counter")
	c := r.dial()
	defer c.Close()
	for _, s := range allSemantics {
		for _, all := range []bool{false, true} {
			before := r.value(c)
			_, primary := r.primary()
			const calls = 20
			var mu sync.Mutex
			var ends sync.WaitGroup
			answered, unknown, none := int64(0), int64(0), int64(0)
			for i := range calls {
				call := add(c, s)
				ends.Go(func() {
					<-call.done
					mu.Lock()
					defer mu.Unlock()
					switch {
					case call.err == nil:
						answered++
					case errors.Is(call.err, client.ErrNotSubmitted) || errors.Is(call.err, client.ErrRejected):
						none++
					case errors.Is(call.err, client.ErrOutcomeUnknown):
						unknown++
					default:
						t.Errorf("%v: %v", s, call.err)
					}
				})
				if i == calls/2 {
					pids := []int{primary}
					if all {
						pids = r.pids()
					}
					for _, pid := range pids {
						if pid != 0 { // the one that was killed before may not be back yet
							r.kill(pid, syscall.SIGKILL)
						}
					}
				}
			}
			ends.Wait()
			added := r.value(c) - before
			t.Logf("%v: %d calls added %d; %d answered, %d unknown, %d known not to be executed", s, calls, added, answered, unknown, none)
			switch s {
			case client.ExactlyOnce:
				if answered != calls || added != calls {
					t.Errorf("%v: %d of %d answered, %d added", s, answered, calls, added)
				}
			case client.AtLeastOnce:
				if answered != calls || added < calls {
					t.Errorf("%v: %d of %d answered, %d added", s, answered, calls, added)
				}
			default:
				if added < answered || added > answered+unknown {
					t.Errorf("%v: %d answered, %d unknown, %d added", s, answered, unknown, added)
				}
			}
		}
	}
}
