package client

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// TestReceipt: an operation's receipt holds, of each that were bundled together, and though one replica lies.
func TestReceipt(t *testing.T) {
	for _, liars := range [][]int{nil, {0}, {3}} {
		cl := newCluster(t, 4)
		cl.setMode(lying, liars...)
		c := cl.dial()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				value, r, err := c.Service("counter").InvokeReceipt(within(t, patience), counter.Add(1))
				if err != nil {
					t.Errorf("%v lie: %v", liars, err)
					return
				}
				if err := r.Check(cl.manifest); err != nil {
					t.Errorf("%v lie: %v", liars, err)
				}
				if string(r.Result) != string(value) || string(r.Operation) != "add 1" || r.Client != testKey("client").Public() || r.Service != "counter" {
					t.Errorf("%+v for %s", r, value)
				}
			})
		}
		wg.Wait()
	}
}

// TestNoReceipt: what was executed has its result, though not enough replicas sign it.
func TestNoReceipt(t *testing.T) {
	cl := newCluster(t, 4)
	cl.setMode(unwilling, 0, 1, 2)
	c := cl.dial()
	ctx := within(t, patience)
	ended := within(t, 100*time.Millisecond)
	if _, err := c.Service("counter").Invoke(ctx, counter.Add(4)); err != nil {
		t.Fatal(err)
	}
	value, r, err := c.Service("counter").InvokeReceipt(ended, counter.Add(1))
	switch {
	case errors.Is(err, ErrNoReceipt):
		if string(value) != "5" || r.Check(cl.manifest) == nil {
			t.Errorf("%q, %+v", value, r)
		}
	case !errors.Is(err, ErrOutcomeUnknown) && !errors.Is(err, ErrNotSubmitted): // on a machine that is slow enough
		t.Error(err)
	}
	// Once enough sign, what is still asked for gets it.
	done := make(chan error)
	go func() {
		_, r, err := c.Service("counter").InvokeReceipt(ctx, counter.Add(1))
		if err == nil {
			err = r.Check(cl.manifest)
		}
		done <- err
	}()
	cl.setMode(honest, 1)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
