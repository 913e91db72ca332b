package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// fakeCluster answers operations on one goroutine for each client, as package client does.
type fakeCluster struct {
	answer func(n int64) (result []byte, err error) // of the n-th operation of a client
	refuse func(n int64) error                      // on submission; may be nil
	mute   func(n int64) bool                       // no answer at all; may be nil

	most atomic.Int64 // outstanding operations of one client
}

type fakeClient struct {
	cluster     *fakeCluster
	submitted   atomic.Int64
	outstanding atomic.Int64
	mu          sync.Mutex
	calls       []fakeCall
	wake        chan struct{}
}

type fakeCall struct {
	n    int64
	done func([]byte, error)
}

func (f *fakeCluster) client(t *testing.T) *fakeClient {
	c := &fakeClient{cluster: f, wake: make(chan struct{}, 1)}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-c.wake:
				c.turn()
			case <-end:
				return
			}
		}
	}()
	t.Cleanup(func() { close(end); <-ended })
	return c
}

func (c *fakeClient) turn() {
	c.mu.Lock()
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, call := range calls {
		result, err := c.cluster.answer(call.n)
		c.outstanding.Add(-1)
		call.done(result, err)
	}
}

func (c *fakeClient) issue(_ operation, done func([]byte, error)) error {
	n := c.submitted.Add(1)
	if c.cluster.refuse != nil {
		if err := c.cluster.refuse(n); err != nil {
			return err
		}
	}
	now := c.outstanding.Add(1)
	for most := c.cluster.most.Load(); now > most && !c.cluster.most.CompareAndSwap(most, now); most = c.cluster.most.Load() {
	}
	if c.cluster.mute != nil && c.cluster.mute(n) {
		return nil
	}
	c.mu.Lock()
	c.calls = append(c.calls, fakeCall{n, done})
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// runFake puts the load of so many clients on a fake cluster.
func runFake(t *testing.T, f *fakeCluster, clients, depth int, warmup, duration time.Duration) (tally, int) {
	t.Helper()
	l := newLoad(newClock(warmup, duration))
	for range clients {
		l.add(depth, counterAdds{}, f.client(t).issue)
	}
	ticks := 0
	unanswered := l.run(t.Context(), func(now int64, completed uint64) { ticks++ })
	if ticks == 0 {
		t.Error("the load was never looked at")
	}
	return l.tally(), unanswered
}

func TestLoadKeepsItsDepth(t *testing.T) {
	f := &fakeCluster{answer: func(int64) ([]byte, error) { return nil, nil }}
	got, unanswered := runFake(t, f, 3, 7, 0, 200*time.Millisecond)
	if got.hist.TotalCount() == 0 {
		t.Error("no operation was measured")
	}
	if len(got.errors) != 0 || unanswered != 0 {
		t.Errorf("errors %v, %d unanswered, want none", got.errors, unanswered)
	}
	if most := f.most.Load(); most != 7 {
		t.Errorf("at most %d operations of a client were outstanding, want 7", most)
	}
}

// What ends before the measured time is in no figure.
func TestLoadLeavesTheWarmupOut(t *testing.T) {
	f := &fakeCluster{answer: func(int64) ([]byte, error) { return nil, nil }}
	l := newLoad(newClock(time.Hour, time.Hour))
	c := f.client(t)
	l.add(4, counterAdds{}, c.issue)
	ctx, cancel := context.WithCancel(t.Context())
	unanswered := l.run(ctx, func(_ int64, completed uint64) {
		if completed > 100 {
			cancel()
		}
	})
	if got := l.tally(); got.hist.TotalCount() != 0 || unanswered != 0 {
		t.Errorf("%d operations measured and %d unanswered within the warm-up, want 0", got.hist.TotalCount(), unanswered)
	}
}

// Errors are counted by kind, whether they come at once or later, and the slot goes on.
func TestLoadCountsErrorsByKind(t *testing.T) {
	f := &fakeCluster{
		refuse: func(n int64) error {
			if n == 2 {
				return &bft.CallError{Kind: bft.ErrOverloaded, Outcome: bft.ErrNotSubmitted, Text: "full"}
			}
			return nil
		},
		answer: func(n int64) ([]byte, error) {
			switch n {
			case 1:
				return nil, &bft.CallError{Kind: bft.ErrOutcomeUnknown, Text: "lost"}
			case 3:
				return []byte("7"), nil // wrong: an empty operation has an empty result
			case 4:
				return nil, errors.New("strange")
			}
			return nil, nil
		},
	}
	got, unanswered := runFake(t, f, 1, 1, 0, 500*time.Millisecond)
	want := map[string]uint64{"outcome_unknown": 1, "overloaded": 1, "wrong_result": 1, "other": 1}
	if fmt.Sprint(got.errors) != fmt.Sprint(want) {
		t.Errorf("errors %v, want %v", got.errors, want)
	}
	if !errors.Is(got.sample, bft.ErrOutcomeUnknown) {
		t.Errorf("the first error is %v, want that of the first operation", got.sample)
	}
	if got.hist.TotalCount() == 0 || unanswered != 0 {
		t.Errorf("%d operations measured and %d unanswered, want some and 0: the slot stopped after an error", got.hist.TotalCount(), unanswered)
	}
}

// A cluster that does not answer does not hold up the end.
func TestLoadTellsOfTheUnanswered(t *testing.T) {
	f := &fakeCluster{answer: func(int64) ([]byte, error) { return nil, nil }, mute: func(n int64) bool { return n%50 == 0 }}
	l := newLoad(newClock(0, 20*time.Millisecond))
	c := f.client(t)
	l.drainTimeout = 10 * time.Millisecond
	l.add(3, counterAdds{}, c.issue)
	unanswered := l.run(t.Context(), func(int64, uint64) {})
	if c.submitted.Load() >= 150 && unanswered != 3 || c.submitted.Load() >= 50 && unanswered == 0 {
		t.Errorf("%d operations unanswered after %d, want every 50th", unanswered, c.submitted.Load())
	}
}

func TestErrorKinds(t *testing.T) {
	for want, err := range map[string]error{
		"overloaded":      &bft.CallError{Kind: bft.ErrOverloaded, Outcome: bft.ErrNotSubmitted},
		"session_expired": &bft.CallError{Kind: bft.ErrSessionExpired, Outcome: bft.ErrOutcomeUnknown},
		"not_submitted":   fmt.Errorf("a call: %w", bft.ErrNotSubmitted),
		"wrong_result":    fmt.Errorf("%w: 1", errWrongResult),
		"timeout":         context.DeadlineExceeded,
		"other":           errors.New("x"),
	} {
		if got := errorKind(err); got != want {
			t.Errorf("kind of %v is %s, want %s", err, got, want)
		}
	}
}
