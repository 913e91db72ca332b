package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/client"
)

// TestPassivePrimaryKilled: the process that alone executes is killed, several times, at moments that the load decides. Each update is
// applied once, and a quorum has the same number.
func TestPassivePrimaryKilled(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "counter-passive,kv")
	c := r.dial()
	defer c.Close()
	s := c.Service("counter-passive")
	var acked, unknown atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var load sync.WaitGroup
	for range workers {
		load.Go(func() {
			for ctx.Err() == nil {
				call, end := context.WithTimeout(ctx, callTimeout)
				_, err := s.Invoke(call, counter.Add(1))
				end()
				switch {
				case err == nil:
					acked.Add(1)
				case !errors.Is(err, client.ErrNotSubmitted):
					unknown.Add(1)
				}
			}
		})
	}
	for range 5 {
		more := acked.Load() + 50 + rand.Int64N(100)
		r.await("more adds", func() (bool, string) { return acked.Load() >= more, "" })
		_, pid := r.primary()
		r.kill(pid, syscall.SIGKILL)
	}
	more := acked.Load() + 200
	r.await("adds behind the last primary that was killed", func() (bool, string) { return acked.Load() >= more, "" })
	cancel()
	load.Wait()
	r.agree()
	asked, end := context.WithTimeout(context.Background(), patience)
	defer end()
	result, err := s.Query(asked, counter.Get(), client.Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	value, err := counter.DecodeValue(result)
	if err != nil || value < acked.Load() || value > acked.Load()+unknown.Load() {
		t.Errorf("the counter is %d (%v), but %d adds were acknowledged and the outcome of %d is unknown", value, err, acked.Load(), unknown.Load())
	}
	t.Logf("%d adds acknowledged, %d unknown; counter %d", acked.Load(), unknown.Load(), value)
}
