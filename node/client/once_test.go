package client

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/counter"
)

func soon() time.Time { return time.Now().Add(time.Minute) }

// add adds one to the counter once, and wants it to be n then.
func add(t *testing.T, c *Client, name string, until time.Time, n string) {
	t.Helper()
	value, err := c.Service("counter").With(Once(name, until)).Invoke(within(t, patience), counter.Add(1))
	if err != nil || string(value) != n {
		t.Errorf("%s: %s, %v, want %s", name, value, err, n)
	}
}

// TestOnce: a repetition gets the result of the first, from any client with the key, and executes nothing.
func TestOnce(t *testing.T) {
	cl := newCluster(t, 4)
	cl.setMode(lying, 2)
	c := cl.dial()
	until := soon()
	add(t, c, "a", until, "1")
	add(t, c, "a", until, "1")
	add(t, c, "a", until.Add(time.Minute), "1") // the first time counts
	add(t, c, "b", until, "2")
	if v, err := c.Service("counter").With(Once("a", until)).Invoke(within(t, patience), counter.Add(5)); err != nil || string(v) != "7" {
		t.Errorf("another operation of the same name: %s, %v", v, err)
	}
	if v, err := c.Service("counter").Invoke(within(t, patience), counter.Add(1)); err != nil || string(v) != "8" {
		t.Errorf("an operation beside them: %s, %v", v, err)
	}
	c.Close()
	c = cl.dial() // as after a restart
	add(t, c, "a", soon(), "1")
	add(t, c, "c", until, "9")
	if n := cl.sessions(); n > 2 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestOnceTogether: the same operation many times at once, by two clients.
func TestOnceTogether(t *testing.T) {
	cl := newCluster(t, 4)
	var wg sync.WaitGroup
	for range 2 {
		c := cl.dial()
		for range 20 {
			wg.Go(func() { add(t, c, "a", soon(), "1") })
		}
	}
	wg.Wait()
}

// TestOnceAfterUnknown: what was given up may be repeated, and is executed once, whether it was before or not.
func TestOnceAfterUnknown(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	cl.setMode(silent, 0, 1, 2, 3)
	until := soon()
	ctx, cancel := context.WithCancel(within(t, patience))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := c.Service("counter").With(Once("a", until)).Invoke(ctx, counter.Add(1))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
	waitFor(t, "frames at the replicas", func() bool { return cl.replicas[0].heard.Load() > 0 })
	cancel()
	wg.Wait()
	cl.setMode(honest, 0, 1, 2, 3)
	add(t, c, "a", until, "1")
	c.Close()
	add(t, cl.dial(), "a", until, "1")
}

// TestOnceRefused: times that make no sense, and calls that it is not for.
func TestOnceRefused(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	invoke := func(opts ...CallOption) error {
		_, err := c.Service("counter").With(opts...).Invoke(within(t, patience), counter.Add(1))
		return err
	}
	// It may have been executed before.
	if err := invoke(Once("a", time.Now().Add(-time.Second))); !errors.Is(err, ErrSessionExpired) || !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("too late: %v", err)
	}
	if err := invoke(Once("a", time.Now().Add(1000*time.Hour))); !errors.Is(err, ErrRejected) {
		t.Errorf("too far away: %v", err)
	}
	if err := invoke(Once("a", soon()), WithSemantics(Maybe)); !errors.Is(err, ErrRejected) {
		t.Errorf("with another semantics: %v", err)
	}
	if err := c.Service("counter").With(Once("a", soon())).Submit(context.Background(), counter.Add(1), func([]byte, error) {}); !errors.Is(err, ErrRejected) {
		t.Errorf("by Submit: %v", err)
	}
}

// TestOnceClosed: a client that is closed ends them.
func TestOnceClosed(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	cl.setMode(silent, 0, 1, 2, 3)
	done := make(chan error)
	go func() {
		_, err := c.Service("counter").With(Once("a", soon())).Invoke(context.Background(), counter.Add(1))
		done <- err
	}()
	waitFor(t, "frames at the replicas", func() bool { return cl.replicas[0].heard.Load() > 0 })
	c.Close()
	if err := <-done; !errors.Is(err, ErrOutcomeUnknown) {
		t.Error(err)
	}
}

// TestOnceWithReceipt: a repetition may ask for the receipt of the first.
func TestOnceWithReceipt(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	until := soon()
	add(t, c, "a", until, "1")
	value, r, err := c.Service("counter").With(Once("a", until)).InvokeReceipt(within(t, patience), counter.Add(1))
	if err != nil || string(value) != "1" {
		t.Fatalf("%s, %v", value, err)
	}
	if err := r.Check(cl.manifest); err != nil {
		t.Error(err)
	}
}
