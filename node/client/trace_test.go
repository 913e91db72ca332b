package client

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/trace"
)

// traced makes a context whose calls are traced, and returns the last trace.
func traced(ctx context.Context) (context.Context, func() *trace.Trace) {
	var mu sync.Mutex
	var last *trace.Trace
	return WithTrace(ctx, func(t *trace.Trace) {
			mu.Lock()
			defer mu.Unlock()
			last = t
		}), func() *trace.Trace {
			mu.Lock()
			defer mu.Unlock()
			return last
		}
}

// Every kind of call can be traced. Its phases add up to its time, and its result is the same.
func TestTrace(t *testing.T) {
	c := newCluster(t, 4).dial().Service("counter")
	for i, kind := range []string{"operation", "linearizable read", "stale read", "ordered read"} {
		ctx, last := traced(within(t, patience))
		before := time.Now()
		var got []byte
		var err error
		if i == 0 {
			got, err = c.Invoke(ctx, []byte("add 5"))
		} else {
			got, err = c.Query(ctx, []byte("get"), []Consistency{Linearizable, Stale, Ordered}[i-1])
		}
		all := time.Since(before)
		if err != nil || string(got) != "5" {
			t.Fatalf("%s: %q, %v", kind, got, err)
		}
		x := last()
		if x == nil || x.Kind != kind || x.Service != "counter" || x.Via < 0 || len(x.Replicas) != 4 {
			t.Fatalf("%s: %+v", kind, x)
		}
		if x.Times.Total() != x.Total || x.Total <= 0 || x.Total > all {
			t.Errorf("%s: %v add up to %v, of %v, within %v", kind, x.Times, x.Times.Total(), x.Total, all)
		}
		for _, p := range trace.Phases {
			// The replicas of this test do not agree on a read.
			if !x.Times.Known[p] {
				t.Errorf("%s: no %v", kind, p)
			}
		}
	}
}

// A replica that lies or is silent is told apart, and the call is divided all the same.
func TestTraceOfFaultyReplicas(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	for id := range 4 {
		for _, m := range []mode{lying, silent, busy} {
			cl.setMode(m, id)
			ctx, last := traced(within(t, patience))
			if _, err := c.Invoke(ctx, []byte("add 1")); err != nil {
				t.Fatal(err)
			}
			x := last()
			if x.Via < 0 || x.Via == id || x.Times.Total() != x.Total {
				t.Errorf("%v of %d: via %d, %v, %v", m, id, x.Via, x.Times, x.Total)
			}
			r := &x.Replicas[id]
			if m == lying && r.Answer != trace.AnswerDifferent && r.Answer != trace.AnswerNone || m != lying && r.Answer == trace.AnswerAlike || r.Times != nil || r.Err == nil {
				t.Errorf("%v of %d: %+v", m, id, r)
			}
			if r.Received < 0 || r.Answer == trace.AnswerNone && r.Received != 0 {
				t.Errorf("%v of %d: its answer %q came at %v", m, id, r.Answer, r.Received)
			}
			cl.setMode(honest, id)
		}
	}
}

// Calls that leave together are each traced, and nothing stays behind.
func TestTraceOfConcurrentCalls(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for k := range 10 {
				ctx, last := traced(within(t, patience))
				if k%3 == 0 {
					ctx = within(t, patience)
				}
				if _, err := c.Invoke(ctx, []byte("add 1")); err != nil {
					t.Error(err)
				}
				switch x := last(); {
				case k%3 == 0 && x != nil:
					t.Error("traced without being asked")
				case k%3 != 0 && (x == nil || x.Via < 0 || x.Times.Total() != x.Total):
					t.Errorf("%+v", x)
				}
			}
		})
	}
	wg.Wait()
	if got := value(t, c); got != 320 {
		t.Errorf("%d after 320 operations", got)
	}
	c.traces.mu.Lock()
	defer c.traces.mu.Unlock()
	if len(c.traces.calls) != 0 || len(c.traces.sightings) != 0 {
		t.Errorf("%d calls and %d sightings stay behind", len(c.traces.calls), len(c.traces.sightings))
	}
}

// A call that fails says how far it came.
func TestTraceOfAFailedCall(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	cl.setMode(silent, 0, 1, 2)
	ctx, last := traced(within(t, 50*time.Millisecond))
	if _, err := c.Invoke(ctx, []byte("add 1")); err == nil {
		t.Fatal("no error")
	}
	x := last()
	if x == nil || x.Err == nil || x.Via >= 0 {
		t.Fatalf("%+v", x)
	}
	for id := range 3 {
		if x.Replicas[id].Err == nil {
			t.Errorf("%s: %+v", strconv.Itoa(id), x.Replicas[id])
		}
	}
}
