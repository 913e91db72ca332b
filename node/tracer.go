package node

import (
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/trace"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// numbersTimed is how many of the last numbers have their times kept, whether they are traced or not: a
	// proposal may come before the request that a client wants traced.
	numbersTimed = 256
	// callsTraced bounds the calls that clients want traced and that are not answered; the oldest gives way.
	callsTraced = 1024
)

// tracer takes the times of calls that clients want traced, see package trace. What is not traced
// costs a few entries for each batch, and an index of its bundles: a question takes about as long as there are numbers,
// however many bundles these have, for the core's progress waits for the same lock.
type tracer struct {
	n     *Node
	asked atomic.Int64 // len(calls), to be looked at first

	mu    sync.Mutex
	times [numbersTimed]timed
	high  bft.Seq // the highest in times
	calls map[bft.Digest]*tracedCall
	names map[callName]bft.Digest // of calls, which are as many
	order *list.List              // of bft.Digest: calls as they came
	seed  maphash.Seed            // of the indices: no client can choose bundles that lie badly in them
}

// callName is what a client calls a call.
type callName struct {
	client crypto.PublicKey
	id     uint64
}

// timed is what a number went through; times are of bft.Time's clock, 0: not yet.
type timed struct {
	seq                 bft.Seq
	view                bft.View
	body                bodyIndex
	at                  [bft.StepCommitted + 1]bft.Time // by bft.Step
	executing, executed bft.Time
}

// callTag is what the client said of a traced frame, and when it came.
type callTag struct {
	id      uint64
	attempt int
	arrived bft.Time
}

// tracedCall is a bundle that its client wants traced.
type tracedCall struct {
	callTag
	client   crypto.PublicKey
	conn     *transport.ClientConn
	verified bft.Time
	asked    bool // and told: a client has no reason to ask again
	place    *list.Element
}

func newTracer(n *Node) *tracer {
	return &tracer{n: n, calls: make(map[bft.Digest]*tracedCall), names: make(map[callName]bft.Digest), order: list.New(), seed: maphash.MakeSeed()}
}

// call begins to trace a bundle. Of several attempts the first counts.
func (t *tracer) call(c *transport.ClientConn, tag callTag, bundle bft.Digest) {
	t.mark(c.Key(), c, tag, bundle)
}

func (t *tracer) mark(client crypto.PublicKey, c *transport.ClientConn, tag callTag, bundle bft.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.calls[bundle]; old != nil && old.id == tag.id {
		old.conn = c
		return
	}
	t.forget(bundle)
	if old, used := t.names[callName{client, tag.id}]; used {
		t.forget(old)
	}
	if len(t.calls) >= callsTraced {
		t.forget(t.order.Front().Value.(bft.Digest))
	}
	t.calls[bundle] = &tracedCall{callTag: tag, client: client, conn: c, place: t.order.PushBack(bundle)}
	t.names[callName{client, tag.id}] = bundle
	t.asked.Store(int64(len(t.calls)))
}

// forget ends the tracing of a bundle, with the lock held.
func (t *tracer) forget(bundle bft.Digest) {
	c := t.calls[bundle]
	if c == nil {
		return
	}
	delete(t.calls, bundle)
	delete(t.names, callName{c.client, c.id})
	t.order.Remove(c.place)
	t.asked.Store(int64(len(t.calls)))
}

// verified notes that signatures hold.
func (t *tracer) verified(bundles []*bft.Bundle) {
	if t.asked.Load() == 0 {
		return
	}
	now := t.n.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range bundles {
		if c := t.calls[b.Digest]; c != nil && c.verified == 0 {
			c.verified = now
		}
	}
}

// progress notes how far numbers have come.
func (t *tracer) progress(steps []bft.Progress) {
	if len(steps) == 0 {
		return
	}
	now := t.n.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range steps {
		p := &steps[i]
		x := &t.times[p.Seq%numbersTimed]
		switch {
		case p.Seq < x.seq:
			continue
		case p.Seq > x.seq:
			*x = timed{seq: p.Seq}
			t.high = max(t.high, p.Seq)
		case x.at[bft.StepCommitted] != 0:
			continue // votes that nobody needed, or a later view that proposes again what is decided
		case p.View != x.view:
			*x = timed{seq: p.Seq} // begins anew
		}
		if len(p.Body) > 0 && x.body.lacks(p.Body) {
			x.body = indexBody(t.seed, p.Body)
		}
		x.view, x.at[p.Step] = p.View, now
	}
}

// executed notes when a batch was executed.
func (t *tracer) executed(seq bft.Seq, begin, end bft.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := &t.times[seq%numbersTimed]; x.seq == seq {
		x.executing, x.executed = begin, end
	}
}

// reply is the frame that answers a bundle: with its times if its client wants them.
func (t *tracer) reply(conn *transport.ClientConn, bundle bft.Digest, frame []byte) []byte {
	if t.asked.Load() == 0 {
		return frame
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[bundle]
	if c == nil || c.conn != conn {
		return frame
	}
	t.forget(bundle)
	r := t.report(c, bundle)
	r.Events = append(r.Events, trace.Event{Step: trace.Replied, At: time.Duration(t.n.now() - c.arrived)})
	return trace.ReplyFrame(c.id, r, frame)
}

// told answers a client that asks how far its call is; nil if it has no such call here, or has asked before.
func (t *tracer) told(client crypto.PublicKey, id uint64) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	bundle := t.names[callName{client, id}]
	c := t.calls[bundle]
	if c == nil || c.asked {
		return nil
	}
	c.asked = true
	return trace.ReportFrame(id, t.report(c, bundle))
}

// report puts together what is known of a call, with the lock held.
func (t *tracer) report(c *tracedCall, bundle bft.Digest) *trace.Report {
	r := &trace.Report{Attempt: c.attempt, Events: []trace.Event{}}
	add := func(s trace.Step, at bft.Time) {
		if at != 0 {
			r.Events = append(r.Events, trace.Event{Step: s, At: time.Duration(at - c.arrived)})
		}
	}
	add(trace.Verified, c.verified)
	x := t.newest(bundle)
	if x == nil {
		return r
	}
	r.View, r.Seq = uint64(x.view), uint64(x.seq)
	r.Primary = bft.Primary(x.view, t.n.opts.Core.N()) == t.n.opts.Core.Self
	for step, name := range [...]trace.Step{trace.Proposed, trace.Accepted, trace.Prepared, trace.Committed} {
		add(name, x.at[step])
	}
	add(trace.Executing, x.executing)
	add(trace.Executed, x.executed)
	return r
}

// newest is the newest proposal that has a bundle, or nil.
func (t *tracer) newest(bundle bft.Digest) *timed {
	h := maphash.Bytes(t.seed, bundle[:])
	for seq := t.high; seq > 0 && seq+numbersTimed > t.high; seq-- {
		if x := &t.times[seq%numbersTimed]; x.seq == seq && x.body.has(h, bundle) {
			return x
		}
	}
	return nil
}

// tracedFrame takes a call that is to be traced.
func (h handler) tracedFrame(c *transport.ClientConn, frame []byte) error {
	arrived := h.n.now()
	id, attempt, inner, err := trace.ParseCall(frame)
	if err != nil {
		h.n.metrics.badRequests.Inc()
		return err
	}
	return h.call(c, inner, &callTag{id, attempt, arrived})
}

// readReport is the report of a read that has been answered.
func (w *waitingQuery) readReport(now, begin, end bft.Time) *trace.Report {
	r := &trace.Report{Attempt: w.tag.attempt, Read: true}
	released := w.released
	if released == 0 {
		released = w.tag.arrived // a stale read waits for nothing
	}
	for _, e := range []struct {
		step trace.Step
		at   bft.Time
	}{{trace.Released, released}, {trace.Executing, begin}, {trace.Executed, end}, {trace.Replied, now}} {
		r.Events = append(r.Events, trace.Event{Step: e.step, At: time.Duration(e.at - w.tag.arrived)})
	}
	return r
}
