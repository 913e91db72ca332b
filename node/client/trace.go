package client

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/receipt"
	"github.com/baluarte-bft/baluarte/node/trace"
)

// traceGrace is how long a traced call waits, after its end, for replicas that have not replied yet, and once more
// for what they tell when they are asked how far it is.
const traceGrace = 300 * time.Millisecond

type traceKey struct{}

// WithTrace has the calls that are made with the returned context traced: f gets the trace of each after
// its end and before Invoke or Query return, which for that may take 0.6 s longer if a replica does not
// reply. What is ordered and executed is the same, to the byte. Calls by Submit are not traced.
func WithTrace(ctx context.Context, f func(*trace.Trace)) context.Context {
	return context.WithValue(ctx, traceKey{}, f)
}

// tracing is a call that is being traced.
type tracing struct {
	start time.Time
	tell  func(*trace.Trace)
	news  chan struct{} // of capacity 1: something has come from a replica
	seen  *sighting     // guarded by the board's mu; of several calls in one bundle, the same
}

// sighting is what was seen of the frames of a call. Times are absolute: calls that share it began at different ones.
type sighting struct {
	id       uint64
	calls    []*tracing
	replicas []sighted
}

type sighted struct {
	sent     []time.Time
	received time.Time // zero: no reply
	said     string
	report   *trace.Report
	bad      error
}

// traceBoard has the calls that are being traced.
type traceBoard struct {
	some atomic.Bool // whether there are any, to be looked at first

	mu        sync.Mutex
	calls     map[bft.CallID]*tracing
	sightings map[uint64]*sighting
}

// tracing begins the trace of a call, if its context asks for one.
func (c *Client) tracing(ctx context.Context) *tracing {
	f, ok := ctx.Value(traceKey{}).(func(*trace.Trace))
	if !ok || f == nil {
		return nil
	}
	return &tracing{start: time.Now(), tell: f, news: make(chan struct{}, 1)}
}

// open makes a call known before its first frame leaves.
func (b *traceBoard) open(id bft.CallID, t *tracing) {
	if t == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls == nil {
		b.calls, b.sightings = make(map[bft.CallID]*tracing), make(map[uint64]*sighting)
	}
	t.seen = &sighting{id: uint64(id), calls: []*tracing{t}, replicas: make([]sighted, bft.MaxMembers)}
	b.calls[id], b.sightings[uint64(id)] = t, t.seen
	b.some.Store(true)
}

// wrap notes that a frame leaves, and returns it as the replica is to have it.
func (b *traceBoard) wrap(replica int, m *bft.Outbound) []byte {
	if len(m.Traced) == 0 {
		return m.Frame
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var first *sighting
	for _, id := range m.Traced {
		t := b.calls[id]
		switch {
		case t == nil:
		case first == nil:
			first = t.seen
		case t.seen != first: // it left together with the first one
			delete(b.sightings, t.seen.id)
			t.seen = first
			first.calls = append(first.calls, t)
		}
	}
	if first == nil {
		return m.Frame
	}
	x := &first.replicas[replica]
	if len(x.sent) == trace.MaxAttempts {
		return m.Frame
	}
	x.sent = append(x.sent, time.Now())
	return trace.CallFrame(first.id, len(x.sent), m.Frame)
}

// hostFrame takes a frame that is not one of package bft, and returns the one that it wraps, if any.
func (c *Client) hostFrame(replica int, frame []byte) []byte {
	now := time.Now()
	if frame[0] == receipt.FrameAnswer {
		c.receipts.receive(replica, frame)
		return nil
	}
	if frame[0] != trace.FrameReply && frame[0] != trace.FrameReport {
		c.status.receive(replica, frame)
		c.members(replica, frame)
		return nil
	}
	id, report, inner, err := trace.ParseReply(frame)
	if err == nil && report == nil {
		return nil
	}
	if c.traces.some.Load() {
		c.traces.heard(replica, id, now, report, inner, err)
	}
	return inner
}

// heard notes what a replica says of a call.
func (b *traceBoard) heard(replica int, id uint64, now time.Time, report *trace.Report, inner []byte, bad error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sightings[id]
	if s == nil {
		return
	}
	x := &s.replicas[replica]
	if len(inner) > 0 {
		x.received, x.said = now, said(inner)
	}
	x.report, x.bad = report, bad
	for _, t := range s.calls {
		select {
		case t.news <- struct{}{}:
		default:
		}
	}
}

// said stands for what the reply or answer in a frame says: those that are alike have the same. It is empty
// for a refusal.
func said(frame []byte) string {
	var key [8 + len(bft.Digest{})]byte
	digest := func(d bft.Digest, results [][]byte) {
		if d.IsZero() {
			d = bft.ResultsDigest(results)
		}
		copy(key[8:], d[:])
	}
	if r, err := bft.DecodeReply(frame); err == nil {
		binary.BigEndian.PutUint64(key[:], uint64(r.Session))
		digest(r.Digest, r.Results)
		return string(key[:])
	}
	a, err := bft.DecodeAnswer(frame)
	switch {
	case err != nil:
		return "garbage"
	case a.Refused():
		return ""
	}
	digest(a.Digest, a.Results)
	return string(key[:])
}

// endTrace gathers what replicas have to say of a call that has ended, and tells it.
func (c *Client) endTrace(ctx context.Context, t *tracing, service string, consistency Consistency, failed error) {
	end := time.Now()
	if failed == nil {
		c.awaitTrace(t, false)
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // by an interrupt: nobody wants to wait
		c.awaitTrace(t, true)
	}
	n := len(c.manifest.Members)
	o := &trace.Observation{Service: service, Kind: "operation", Total: end.Sub(t.start), Err: failed, Needed: bft.WeakQuorum(n)}
	switch consistency {
	case Linearizable:
		o.Kind, o.Needed = "linearizable read", bft.Quorum(n)
	case Ordered:
		o.Kind = "ordered read"
	case Stale:
		o.Kind = "stale read"
	}
	up := c.net.Connected()
	c.traces.mu.Lock()
	for i, m := range c.manifest.Members {
		x := trace.Observed{Name: m.Name}
		if t.seen != nil {
			y := &t.seen.replicas[i]
			x.Report, x.Bad, x.Said, x.Answered = y.report, y.bad, y.said, !y.received.IsZero()
			if x.Answered {
				x.Received = y.received.Sub(t.start)
			}
			for _, at := range y.sent {
				x.Sent = append(x.Sent, at.Sub(t.start))
			}
		}
		if !up[i] {
			x.Down = c.net.LastError(i)
		}
		o.Replicas = append(o.Replicas, x)
	}
	c.traces.close(t)
	c.traces.mu.Unlock()
	t.tell(trace.New(o))
}

// close forgets a call, with the lock held.
func (b *traceBoard) close(t *tracing) {
	for id, x := range b.calls {
		if x == t {
			delete(b.calls, id)
		}
	}
	if t.seen == nil {
		return
	}
	for _, x := range b.calls {
		if x.seen == t.seen {
			return // another call of the bundle still waits
		}
	}
	delete(b.sightings, t.seen.id)
	b.some.Store(len(b.calls) > 0)
}

// awaitTrace waits until all replicas that are connected have replied to a call, for a short while; ask has those
// that have not asked how far it is.
func (c *Client) awaitTrace(t *tracing, ask bool) {
	timer := time.NewTimer(traceGrace)
	defer timer.Stop()
	asked := make([]bool, len(c.manifest.Members))
	for {
		missing := false
		for i, up := range c.net.Connected() {
			c.traces.mu.Lock()
			id, waits := uint64(0), false
			if t.seen != nil {
				x := &t.seen.replicas[i]
				id, waits = t.seen.id, len(x.sent) > 0 && x.received.IsZero() && !(ask && x.report != nil)
			}
			c.traces.mu.Unlock()
			if waits && up {
				if missing = true; ask && !asked[i] {
					asked[i] = true
					c.net.Send(i, trace.AskFrame(id))
				}
			}
		}
		if !missing {
			return
		}
		select {
		case <-t.news:
		case <-timer.C:
			return
		case <-c.closing:
			return
		}
	}
}
