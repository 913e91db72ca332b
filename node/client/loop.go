package client

import (
	"runtime"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

// turn is what run takes over from other goroutines at once.
type turn struct {
	pending []request
	cancels []bft.CallID
	inbox   []received
	ups     []upDown
}

// run drives the core until Close. Everything that has come since the last turn goes in before
// Ready is asked, so that many calls make one bundle, and many replies one turn.
func (c *Client) run() {
	defer close(c.stopped)
	// One channel wakes it, whatever happened: a select of several costs more than most turns.
	timer := time.AfterFunc(time.Hour, c.signal)
	defer timer.Stop()
	var armed bft.Time // when the timer fires
	var t turn
	var freed []uint32
	var grace bft.Time // 0: not closing
	for {
		<-c.wake
		// Callers whose calls ended together call again together: let them, so that one bundle and
		// signature serves all. With nobody else to run this costs nothing.
		runtime.Gosched()
		c.take(&t)
		now := c.now()
		c.core.Tick(now, bft.Time(time.Now().UnixNano()))
		for _, a := range c.aparts {
			a.core.Tick(now, a.clock)
		}
		c.feed(&t)
		if grace == 0 && c.isClosing() { // after what was submitted before
			grace = now + bft.Time(closeGrace)
			c.core.Close()
		}
		freed = c.carryOut(freed[:0])
		c.replier.Store(int32(c.core.Replier()))
		c.release(freed)
		if c.core.Closed() || grace != 0 && now >= grace {
			c.abandon()
			return
		}
		if now = c.now(); armed <= now {
			armed = never
		}
		due, ok := c.core.Wake()
		if !ok {
			due = never
		}
		for _, a := range c.aparts {
			if at, ok := a.core.Wake(); ok {
				due = min(due, at)
			}
		}
		if grace != 0 {
			due = min(due, grace)
		}
		if due < armed { // too early does no harm
			armed = due
			timer.Reset(time.Duration(max(0, due-now)))
		}
	}
}

const never = bft.Time(1<<63 - 1)

func (c *Client) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// now is the logical time: monotonic, since the client was made.
func (c *Client) now() bft.Time { return bft.Time(time.Since(c.start)) + 1 }

// take swaps what has come for what was worked off.
func (c *Client) take(t *turn) {
	clear(t.pending)
	clear(t.inbox)
	c.mu.Lock()
	defer c.mu.Unlock()
	t.pending, c.pending = c.pending, t.pending[:0]
	t.cancels, c.cancels = c.cancels, t.cancels[:0]
	t.inbox, c.inbox = c.inbox, t.inbox[:0]
	t.ups, c.ups = c.ups, t.ups[:0]
	full := false
	for i := range c.held {
		full = full || c.held[i] > heldPerReplica
		c.held[i] = 0
	}
	if full {
		c.room.Broadcast()
	}
}

// feed gives the core what was taken.
func (c *Client) feed(t *turn) {
	for _, u := range t.ups {
		if u.up {
			c.core.ReplicaUp(u.replica)
		} else {
			c.core.ReplicaDown(u.replica)
		}
		c.tellAparts(u)
	}
	c.core.SetFit(c.fitness.get())
	for _, m := range t.inbox {
		if c.stepApart(m.from, m.frame) {
			continue
		}
		// An error accuses the replica or means that the frame came too late: f+1 others decide.
		_ = c.core.Step(m.from, m.frame)
	}
	for i := range t.pending {
		var err error
		r := &t.pending[i]
		opts := r.opts
		opts.Traced = r.trace != nil
		c.traces.open(r.id, r.trace)
		switch {
		case r.once != nil:
			err = c.beginApart(r)
		case r.consistency == Linearizable:
			err = c.core.Query(r.id, r.op, bft.Linearizable, opts)
		case r.consistency == Stale:
			err = c.core.Query(r.id, r.op, bft.Stale, opts)
		default:
			err = c.core.Invoke(r.id, r.op, opts)
		}
		if err != nil {
			c.finish(t.pending[i].id, nil, err)
			c.release([]uint32{slotOf(t.pending[i].id)})
		}
	}
	for _, id := range t.cancels {
		c.cancelCall(id)
	}
}

// carryOut does what the core asks for until it asks for nothing, and returns the slots of the
// calls that ended.
func (c *Client) carryOut(freed []uint32) []uint32 {
	freed = c.serve(c.core, nil, freed)
	for _, a := range c.aparts {
		freed = c.serve(a.core, a, freed)
	}
	return freed
}

// serve does that for one core: the client's own, or that of an operation apart.
func (c *Client) serve(core *bft.Client, a *apart, freed []uint32) []uint32 {
	for {
		ready, ok := core.Ready()
		if !ok {
			return freed
		}
		if a == nil && !c.note(&ready) {
			ready.Messages = nil
		}
		for _, m := range ready.Messages {
			if m.To != bft.Everyone {
				c.net.Send(int(m.To), c.traces.wrap(int(m.To), &m))
				continue
			}
			for i := range c.manifest.Members {
				c.net.Send(i, c.traces.wrap(i, &m))
			}
		}
		for _, s := range ready.Sign {
			core.Signed(s.ID, c.key.Sign(s.Message))
		}
		for i := range ready.Results {
			r := &ready.Results[i]
			c.at = receipt.Name{Session: r.Session, First: r.First, Index: uint32(r.Index)}
			if a != nil {
				freed = c.endApart(a, r, freed)
				continue
			}
			c.finish(r.ID, r.Value, r.Err)
			freed = append(freed, slotOf(r.ID))
		}
	}
}

// abandon ends all calls that have not ended.
func (c *Client) abandon() {
	var t turn
	c.take(&t)
	c.feed(&t)
	c.mu.Lock()
	var ids []bft.CallID
	for slot := range c.calls {
		if c.calls[slot].done != nil {
			ids = append(ids, c.calls[slot].id)
		}
	}
	c.mu.Unlock()
	for _, id := range ids {
		c.cancelCall(id)
	}
	c.release(c.carryOut(nil))
}
