package exec

import (
	"math"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// bundle executes one bundle.
func (m *Machine) bundle(b *bft.Bundle, ctx *Context) Reply {
	switch {
	case !wellFormed(b):
		return refuse(b, StatusInvalid)
	case b.Opens():
		return m.open(b, ctx)
	}
	s := m.sessionOf(b)
	switch {
	case s == nil:
		return refuse(b, StatusUnknownSession)
	case s.closed:
		return m.recall(b, s)
	}
	m.touch(s)
	m.table.use(s, m.time)
	r := m.run(b, s, ctx)
	if m.ends(b) && !r.Void {
		m.table.close(s)
	}
	return r
}

// wellFormed tells whether the numbers of the bundle make sense. The wire format sees to it,
// but what is executed does not depend on that.
func wellFormed(b *bft.Bundle) bool {
	n := uint64(len(b.Ops))
	return n <= bft.WindowOps && (n == 0 || b.First >= 1) && b.First <= math.MaxUint64-bft.WindowOps
}

// sessionOf returns the session of the bundle, live or closed, or nil: the session of
// another key is as good as none.
func (m *Machine) sessionOf(b *bft.Bundle) *session {
	s := m.table.sessions[b.Session]
	if s == nil || s.owner.key != b.Client {
		return nil
	}
	return s
}

// late tells whether the bundle's operations may not be executed any more.
func (m *Machine) late(b *bft.Bundle) bool { return lateAt(b, m.time) }

func lateAt(b *bft.Bundle, now bft.Time) bool { return b.Expires != 0 && b.Expires < now }

// ends tells whether the bundle ends its session: one that is late does nothing.
func (m *Machine) ends(b *bft.Bundle) bool { return b.Close && !m.late(b) }

// blank returns a reply to b without results.
func blank(b *bft.Bundle) Reply {
	r := Reply{Client: b.Client, Session: b.Session, First: b.First}
	if b.Opens() {
		r.Nonce = b.Nonce
	}
	return r
}

// refuse returns a reply whose every result is the status.
func refuse(b *bft.Bundle, status Status) Reply {
	r := blank(b)
	r.Results = make([][]byte, max(1, len(b.Ops)))
	for i := range r.Results {
		r.Results[i] = statusResults[status]
	}
	return r
}

// run executes the bundle in its live session.
func (m *Machine) run(b *bft.Bundle, s *session, ctx *Context) Reply {
	r := blank(b)
	r.Session, ctx.Session = s.id, s.id
	s.answered(b.AnsweredBelow)
	m.table.dropBelow(s, s.kept(min(b.AnsweredBelow, s.low)))
	fresh := m.fresh(b, s)
	r.Results, r.Void = m.operations(b, s, ctx)
	if fresh {
		m.table.extend(s, m.time)
	}
	m.table.dropBelow(s, s.kept(0))
	switch {
	case len(b.Ops) > 0:
	case m.late(b):
		r.Results = [][]byte{statusResults[StatusTooLate]}
	default:
		r.Results = [][]byte{statusResults[StatusOK]}
	}
	return r
}

// operations executes what was not decided yet and returns the results of all. It tells whether it left out one whose
// update is void.
func (m *Machine) operations(b *bft.Bundle, s *session, ctx *Context) (all [][]byte, void bool) {
	late, base := m.late(b), ctx.index
	out := arena{}
	results := make([][]byte, len(b.Ops))
	fresh := 0 // results[fresh:i] were decided just now and are not kept yet
	size := 0  // of the results of what was executed
	for i, op := range b.Ops {
		n := b.First + uint64(i)
		decided := s.decided(n)
		if m.passive && !decided && !late && s.fits(n) && m.lacksUpdate(op, base+uint64(i)) {
			// It is not decided: nothing of it was executed, and it will be ordered again.
			m.table.keep(s, b.First+uint64(fresh), results[fresh:i])
			fresh, void = i+1, true
			results[i] = statusResults[StatusNotNow]
			continue
		}
		if !decided && s.fits(n) {
			switch {
			case late:
				// The number is used up: a retry gets the same result, whenever.
				results[i] = statusResults[StatusTooLate]
			case size > ReplyBytes && m.updated(op) == nil: // what has an update was planned to be executed
				results[i] = statusResults[StatusCrowded]
				m.ran++
			default:
				ctx.Op, ctx.index, out.left = n, base+uint64(i), len(b.Ops)-i
				results[i] = m.call(ctx, op, &out)
				m.ran++
				if len(results[i]) > MaxResultBytes || size > ReplyBytes {
					results[i] = statusResults[StatusForgotten]
				}
				size += len(results[i])
			}
			s.decide(n)
			continue
		}
		m.table.keep(s, b.First+uint64(fresh), results[fresh:i])
		fresh = i + 1
		results[i] = m.refused(s, n, decided, late)
	}
	if fresh < len(b.Ops) {
		m.table.keep(s, b.First+uint64(fresh), results[fresh:])
	}
	return results, void
}

// refused returns the result of a number that is not executed now: the first operation
// ordered under it counts (rule 25), or it is beyond the window.
func (m *Machine) refused(s *session, n uint64, decided, late bool) []byte {
	switch {
	case decided:
		return s.result(n)
	case late:
		return statusResults[StatusTooLate]
	}
	return statusResults[StatusTooFar]
}

// fit leaves out results that were kept and, together, are more than one bundle's ever were: its numbers are those of several.
func (r *Reply) fit() {
	size := 0
	for _, x := range r.Results {
		size += len(x)
	}
	if size <= ReplyBytes+MaxResultBytes {
		return
	}
	r.Results = slices.Clone(r.Results) // they are the cache's
	for i := len(r.Results) - 1; size > ReplyBytes+MaxResultBytes; i-- {
		size -= len(r.Results[i])
		r.Results[i] = statusResults[StatusForgotten]
	}
}

// recall replies to a bundle without executing anything.
func (m *Machine) recall(b *bft.Bundle, s *session) Reply {
	r := refuse(b, StatusOK)
	r.Session = s.id
	late := m.late(b)
	for i := range b.Ops {
		n := b.First + uint64(i)
		decided := s.decided(n)
		switch {
		case !decided && s.cause != StatusOK:
			r.Results[i] = statusResults[s.cause]
		case !decided && s.closed:
			r.Results[i] = statusResults[StatusUnknownSession]
		case !decided && !late && s.fits(n):
			r.Results[i] = statusResults[StatusNotNow]
		default:
			r.Results[i] = m.refused(s, n, decided, late)
		}
	}
	if len(b.Ops) == 0 && !s.closed {
		// To be told that a session has ended one must have ended it.
		r.Results[0] = statusResults[StatusNotNow]
	}
	return r
}

// open executes a bundle that opens a session, or repeats what was replied to an earlier one.
func (m *Machine) open(b *bft.Bundle, ctx *Context) Reply {
	if o := m.table.openings[openingKey{b.Client, b.Nonce}]; o != nil {
		return reopened(b, o)
	}
	if status := m.mayOpen(b, m.time); status != StatusOK {
		return refuse(b, status)
	}
	t := m.table
	owner := t.client(b.Client)
	if !t.mayRemember(owner) {
		t.tidy(owner)
		return refuse(b, StatusNotNow)
	}
	if m.passive && m.opensInVain(b, ctx) && (m.ends(b) || m.replaces(owner, b) || m.makeRoom(owner)) {
		t.tidy(owner)
		r := refuse(b, StatusNotNow)
		r.Void = true
		return r
	}
	t.last++
	o := &opening{id: t.last, owner: owner, nonce: b.Nonce, notAfter: b.NotAfter, first: b.First, count: len(b.Ops)}
	o.claim = remembered(b.Claim)
	t.remember(o)
	outdated := t.outdated(b)
	if !outdated {
		m.replace(owner, b.Claim)
	}
	if !m.ends(b) { // a session that ends with the bundle needs no room
		if !m.makeRoom(owner) {
			o.refused = true
			return refuse(b, StatusRefused)
		}
	}
	s := t.open(o, m.time)
	t.claim(s, b.Claim, m.time)
	m.touch(s)
	r := m.run(b, s, ctx)
	if outdated {
		t.doubt(s.hold, m.time+t.instanceOf(b).grace)
	}
	if len(b.Ops) > 0 {
		t.keepOpening(o, r.Results)
	}
	if m.ends(b) {
		// Nothing of the session is kept: the opening is remembered with its results.
		t.leave(s)
		t.forget(s)
	}
	return r
}

// makeRoom makes room for a session of a client, if that is possible.
func (m *Machine) makeRoom(owner *client) bool {
	evicted, ok := m.table.room(owner, m.time)
	if evicted != nil {
		m.touch(evicted)
	}
	return ok
}

// mayOpen judges an opening that is not remembered, at an agreed time.
func (m *Machine) mayOpen(b *bft.Bundle, now bft.Time) Status {
	switch {
	case b.NotAfter < now:
		return StatusExpired
	case lateAt(b, now):
		return StatusTooLate
	case b.NotAfter-now > m.table.limits.MaxAhead:
		return StatusNotNow
	}
	return m.table.mayClaim(b)
}

// reopened replies to a bundle whose client and nonce were used before: as then, for the
// numbers that were in that bundle.
func reopened(b *bft.Bundle, o *opening) Reply {
	if o.refused {
		return refuse(b, StatusRefused)
	}
	r := refuse(b, StatusOK)
	r.Session = o.id
	for i := range b.Ops {
		n := b.First + uint64(i)
		result := o.results.get(n)
		switch {
		case result != nil:
			r.Results[i] = result
		case n-o.first < uint64(o.count):
			r.Results[i] = statusResults[StatusForgotten]
		default:
			r.Results[i] = statusResults[StatusSuperseded]
		}
	}
	return r
}

// Replay replies to a bundle that was executed before: from the cache, or as execution would
// refuse it now. It changes nothing. What could still be executed gets StatusNotNow.
func (m *Machine) Replay(b *bft.Bundle) Reply {
	r := m.replay(b)
	r.fit()
	return r
}

func (m *Machine) replay(b *bft.Bundle) Reply {
	if !wellFormed(b) {
		return refuse(b, StatusInvalid)
	}
	if b.Opens() {
		if o := m.table.openings[openingKey{b.Client, b.Nonce}]; o != nil {
			return reopened(b, o)
		}
		status := m.mayOpen(b, m.time)
		if status == StatusOK {
			status = StatusNotNow
		}
		return refuse(b, status)
	}
	s := m.sessionOf(b)
	if s == nil {
		return refuse(b, StatusUnknownSession)
	}
	return m.recall(b, s)
}
