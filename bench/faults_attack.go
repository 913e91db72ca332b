package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bench/fault"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

// floodDepth is how many operations a flooding client keeps outstanding: all that a client holds.
const floodDepth = maxDepth

// attack is a client that is the fault.
type attack struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	forger *fault.Forger

	client             *client.Client
	submitted, results atomic.Uint64
	closed             sync.Once
}

// beginForging starts a client whose signatures do not hold.
func beginForging(ctx context.Context, r *faultRun) error {
	f, err := fault.NewForger(r.cluster.manifest, Counter)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	r.attack = &attack{cancel: cancel, forger: f}
	r.attack.wg.Go(func() { f.Run(ctx) })
	return nil
}

// beginFlood starts a client that asks for as much as it can, of a service that the load does not use.
func beginFlood(ctx context.Context, r *faultRun) error {
	c, err := r.dialOne(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &attack{cancel: cancel, client: c}
	r.attack = a
	service, op := c.Service(KV), kv.Put([]byte("flood"), make([]byte, 64))
	room := make(chan struct{}, floodDepth)
	a.wg.Go(func() {
		for {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			err := service.Submit(context.Background(), op, func(_ []byte, err error) {
				if err == nil {
					a.results.Add(1)
				}
				<-room
			})
			if err != nil {
				<-room
				time.Sleep(retryPause)
				continue
			}
			a.submitted.Add(1)
		}
	})
	return nil
}

// endAttack ends it.
func endAttack(_ context.Context, r *faultRun) error {
	r.attack.end()
	return nil
}

// stopped has the attack send nothing more, and says what it did.
func (a *attack) stopped() *FaultAttacker {
	a.cancel()
	a.wg.Wait()
	out := &FaultAttacker{Submitted: a.submitted.Load(), Results: a.results.Load()}
	if a.forger != nil {
		out.Sent, out.Connected = a.forger.Sent(), a.forger.Connected()
		out.CutOff, out.Reason = a.forger.CutOff()
		return out
	}
	reach := a.client.Reachable()
	out.Connected = reach.N - len(reach.Down)
	return out
}

func (a *attack) end() {
	a.closed.Do(func() {
		a.cancel()
		a.wg.Wait()
		if a.forger != nil {
			a.forger.Close()
			return
		}
		_ = a.client.Close() // its calls have no caller any more
	})
}
