package exec

import (
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
)

// Plan is what a batch will execute of the services that are replicated passively, on the state on which it was made. Any
// one goroutine may use it, while the machine goes on.
type Plan struct {
	base    bft.Digest
	bundles int
	calls   []plannedCall
	drafts  map[*service]Draft
}

type plannedCall struct {
	bundle  int
	ctx     Context
	service *service
	op      []byte
}

// Plan makes the plan of a batch, whose number must be the next, on the present state; it changes nothing. Of the
// batch's proposal it reads the time alone. The goroutine that calls Execute calls it.
//
// An operation is planned only if it is certain to be executed: one for which that hangs on a bundle before it in the
// batch, since a quota of sessions is nearly used up, waits for another batch. So no update is void because of another client.
func (m *Machine) Plan(b *bft.Batch) *Plan {
	if b.Seq != m.executed+1 {
		panic(fmt.Sprintf("exec: plan of batch %d after %d", b.Seq, m.executed))
	}
	p := &Plan{base: m.history.Root(), bundles: len(b.Bundles), drafts: make(map[*service]Draft)}
	f := forecast{m: m, now: max(m.time, b.Proposal.Time), sessions: make(map[bft.SessionID]*session),
		nonces: make(map[openingKey]bool), opened: make(map[bft.ClientID]int)}
	for i, bundle := range b.Bundles {
		s := f.session(bundle)
		if s == nil {
			continue
		}
		late := lateAt(bundle, f.now) // its numbers are used up all the same
		for k := range s.executes(bundle) {
			sv := m.updated(bundle.Ops[k])
			if sv == nil || late {
				continue
			}
			if p.drafts[sv] == nil {
				p.drafts[sv] = sv.updater.Draft()
			}
			op, _ := DecodeOp(bundle.Ops[k])
			p.calls = append(p.calls, plannedCall{bundle: i, service: sv, op: op.Payload, ctx: Context{Seq: b.Seq, Client: bundle.Client,
				Session: bundle.Session, Op: bundle.First + uint64(k), now: f.now, proposal: p.base, index: uint64(i)<<32 + uint64(k)}})
		}
		s.closed = s.closed || bundle.Close && !late
	}
	return p
}

// forecast tells in which state a bundle of a batch will find its session.
type forecast struct {
	m   *Machine
	now bft.Time
	// sessions are copies of those that earlier bundles use, as they will leave them.
	sessions map[bft.SessionID]*session
	// nonces are those of earlier bundles that open a session, opened how many there are of each client.
	nonces map[openingKey]bool
	opened map[bft.ClientID]int
}

// session is the session in which a bundle is certain to be executed, a copy to be used up; nil if there is none.
func (f *forecast) session(b *bft.Bundle) *session {
	switch {
	case !wellFormed(b):
		return nil
	case b.Opens():
		if f.opens(b) {
			return &session{low: 1}
		}
		return nil
	}
	s := f.sessions[b.Session]
	if s == nil {
		own := f.m.sessionOf(b)
		// An opening before it may evict one that nobody used for long.
		if own == nil || own.closed || len(f.nonces) > 0 && f.now-own.lastUsed > f.m.table.limits.MaxAhead {
			return nil
		}
		// Nor is one certain to be there that ends by itself.
		if h := own.hold; h != nil && h.ends != 0 && h.ends < f.now {
			return nil
		}
		copied := *own
		s = &copied
		f.sessions[b.Session] = s
	}
	// An opening before it may replace one with a claim.
	if s.closed || s.owner.key != b.Client || s.hold != nil && len(f.nonces) > 0 {
		return nil
	}
	return s
}

// opens tells whether a bundle is certain to open a session.
func (f *forecast) opens(b *bft.Bundle) bool {
	t, key := f.m.table, openingKey{b.Client, b.Nonce}
	if b.Claim != nil && b.Claim.Instance != "" && f.opened[b.Client] > 0 {
		f.nonces[key] = true
		return false
	}
	if o := t.openings[key]; o != nil && o.notAfter >= f.now || f.nonces[key] || f.m.mayOpen(b, f.now) != StatusOK {
		return false
	}
	before, all := f.opened[b.Client], len(f.nonces)
	f.nonces[key] = true
	f.opened[b.Client]++
	openings, live := before, before
	if c := t.clients[b.Client]; c != nil {
		openings, live = openings+c.openings, live+c.live.len
	}
	return openings < t.limits.OpeningsPerClient && len(t.openings)+all < t.limits.MaxOpenings &&
		(b.Close || all == 0 && f.m.replacesAny(b) || live < t.limits.SessionsPerClient && t.live.len+all < t.limits.MaxSessions)
}

// updateRoom is for updates, beside entries that tell of failures.
const updateRoom = bft.MaxUpdateBytes - maxEntryHead*bft.WindowOps

// Computed is what the primary made of a plan.
type Computed struct {
	// Bundles is how many of the batch, from the first, are to be proposed with these updates.
	Bundles int
	// Updates are empty if nothing in them needs any.
	Updates []byte
	// Failed says of an operation that has no update, why: the service panicked, or the update is too large.
	Failed error
}

// Compute has the planned operations executed on drafts. When one fails, the drafts are of no more use: the bundles before its own are to
// be proposed. Only if it is in the first that has any, its failure is ordered, in the place of the update, and that of those behind it in the
// bundle; nothing behind the bundle is proposed yet.
func (p *Plan) Compute() Computed {
	c := Computed{Bundles: p.bundles}
	if len(p.calls) == 0 {
		return c
	}
	first := p.calls[0].bundle
	b, start := append([]byte(nil), p.base[:]...), 0 // of the bundle's entries
	for i := range p.calls {
		call := &p.calls[i]
		if i == 0 || p.calls[i-1].bundle != call.bundle {
			start = len(b)
		}
		e := p.entry(call, updateRoom-len(b))
		if e.failed != 0 && call.bundle != first {
			c.Bundles, c.Updates = call.bundle, b[:start]
			return c
		}
		b = e.append(b)
		if e.failed == 0 {
			continue
		}
		c.Failed = fmt.Errorf("exec: service %s: %w", call.service.name, e.why)
		for k := i + 1; k < len(p.calls) && p.calls[k].bundle == call.bundle; k++ {
			b = (&entry{index: p.calls[k].ctx.index, failed: failureBefore}).append(b)
		}
		c.Bundles = call.bundle + 1
		break
	}
	c.Updates = b
	return c
}

// entry is the update of one operation, of at most room bytes.
func (p *Plan) entry(call *plannedCall, room int) entry {
	update, err := p.update(call)
	switch {
	case err != nil:
		return entry{index: call.ctx.index, failed: failurePanic, why: err}
	case len(update) > room:
		return entry{index: call.ctx.index, failed: failureSize, why: fmt.Errorf("an update of %d bytes, there is room for %d", len(update), room)}
	}
	return entry{index: call.ctx.index, update: update}
}

// update has one operation executed on its draft. The error says that the service panicked.
func (p *Plan) update(c *plannedCall) (update []byte, err error) {
	defer panicked(&err)
	return p.drafts[c.service].Update(c.ctx, c.op), nil
}

// panicked, deferred, makes an error of a panic, but of that of a store that failed: then the process must end.
func panicked(err *error) {
	switch x := recover().(type) {
	case nil:
	case *StoreError:
		panic(x)
	default:
		*err = fmt.Errorf("panic: %v", x)
	}
}

// Check tells whether updates that a primary proposed for the batch are in order: computed on this state, one for each
// planned operation, and valid for those services that can tell; an operation of theirs that is said to have failed fails
// here too. The error is or wraps ErrBadUpdates.
func (p *Plan) Check(updates []byte) error {
	if len(p.calls) == 0 && len(updates) == 0 {
		return nil
	}
	base, entries, err := decodeUpdates(updates, len(p.calls))
	switch {
	case err != nil:
		return err
	case base != p.base:
		return fmt.Errorf("%w: computed on another state", ErrBadUpdates)
	case len(updates) > bft.MaxUpdateBytes:
		return fmt.Errorf("%w: %d bytes", ErrBadUpdates, len(updates))
	}
	failed := false
	for i := range p.calls {
		c := &p.calls[i]
		if i >= len(entries) || entries[i].index != c.ctx.index {
			return fmt.Errorf("%w: none for operation %d of bundle %d", ErrBadUpdates, c.ctx.index&(1<<32-1), c.bundle)
		}
		e := &entries[i]
		// A correct primary orders failures in the first bundle only, and nothing behind that.
		if failed = failed || e.failed != 0; failed && (e.failed == 0 || c.bundle != p.calls[0].bundle || c.bundle != p.bundles-1) {
			return fmt.Errorf("%w: more is ordered than a failure", ErrBadUpdates)
		}
		switch {
		case e.failed == failureBefore:
			continue
		case e.failed != 0:
			err = p.confirm(c, entries[:i])
		default:
			err = p.validate(c, e.update)
		}
		if err != nil {
			return fmt.Errorf("%w: service %s: %w", ErrBadUpdates, c.service.name, err)
		}
	}
	return nil
}

// confirm refuses a failure of an operation that does not fail here, if the service validates updates. Otherwise a lying
// primary could deny whatever it is asked, and nobody would know better.
func (p *Plan) confirm(c *plannedCall, before []entry) error {
	if _, ok := p.drafts[c.service].(UpdateValidator); !ok {
		return nil
	}
	b := append([]byte(nil), p.base[:]...)
	for i := range before {
		b = before[i].append(b)
	}
	if e := p.entry(c, updateRoom-len(b)); e.failed == 0 {
		return errors.New("the primary says that the operation failed, and it does not")
	}
	return nil
}

// validate has the service judge an update, if it can.
func (p *Plan) validate(c *plannedCall, update []byte) (err error) {
	defer panicked(&err)
	if v, ok := p.drafts[c.service].(UpdateValidator); ok {
		return v.ValidateUpdate(c.ctx, c.op, update)
	}
	return nil
}

// replacesAny tells the same of the first opening of a batch, whose client may be unknown.
func (m *Machine) replacesAny(b *bft.Bundle) bool {
	c := m.table.clients[b.Client]
	return c != nil && m.replaces(c, b)
}
