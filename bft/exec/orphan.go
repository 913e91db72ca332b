package exec

import (
	"cmp"
	"container/heap"
	"math"

	"github.com/baluarte-bft/baluarte/bft"
)

// What becomes of sessions whose client has died is agreed on like everything else: a session ends when one that replaces
// it is opened, or when the agreed time passes its end, before anything else of that batch is executed. Nothing of an
// ended session is executed thereafter. Docs: calls.md.

// hold is what a session has that may end without its client's doing.
//
//  1. It is in the table's ending, at place, if and only if ends is not 0.
//  2. ends is not 0 if lease is not 0, or the session is in doubt.
type hold struct {
	session  *session
	instance string
	lease    bft.Time
	// ends is the agreed time after which the session is ended; 0: never.
	ends bft.Time
	// doubted: a newer session of the instance asked whether the owner is alive.
	doubted bool
	place   int
}

// instance is what remembered openings of one (key, instance) say. It is there as long as there is one.
type instance struct {
	openings int
	// replaced is the highest NotAfter of an opening that replaced all, silenced that of one that replaced the silent,
	// whose grace it was.
	replaced, silenced bft.Time
	grace              bft.Time
}

// note adds the opening o, which has a claim.
func (c *client) note(o *opening) {
	name := o.claim.Instance
	if name == "" {
		return
	}
	if c.instances == nil {
		c.instances = make(map[string]*instance)
	}
	in := c.instances[name]
	if in == nil {
		in = new(instance)
		c.instances[name] = in
	}
	in.openings++
	switch o.claim.Replace {
	case bft.ReplaceAll:
		in.replaced = max(in.replaced, o.notAfter)
	case bft.ReplaceSilent:
		if o.notAfter >= in.silenced {
			in.silenced, in.grace = o.notAfter, o.claim.Grace
		}
	}
}

// forgetNote takes back note, when o is forgotten. An opening older than o is refused from then on because it comes too
// late: so nothing is lost.
func (c *client) forgetNote(o *opening) {
	if o.claim == nil || o.claim.Instance == "" {
		return
	}
	in := c.instances[o.claim.Instance]
	if in.openings--; in.openings == 0 {
		delete(c.instances, o.claim.Instance)
	}
}

// instanceOf returns what is remembered of the instance that the opening b names.
func (t *table) instanceOf(b *bft.Bundle) instance {
	if c := t.clients[b.Client]; c != nil && b.Claim != nil {
		if in := c.instances[b.Claim.Instance]; in != nil {
			return *in
		}
	}
	return instance{}
}

// mayClaim judges the claim of an opening.
func (t *table) mayClaim(b *bft.Bundle) Status {
	switch {
	case b.Claim == nil:
		return StatusOK
	case b.Claim.Lease > t.limits.MaxAhead || b.Claim.Grace > t.limits.MaxAhead || len(b.Claim.Instance) > bft.MaxInstance:
		return StatusInvalid
	case b.NotAfter < t.instanceOf(b).replaced:
		return StatusReplaced // it was sent before the one that replaced it
	}
	return StatusOK
}

// replace ends, or puts in doubt, the older sessions of the instance that opens a session.
func (m *Machine) replace(owner *client, c *bft.Claim) {
	if c == nil || c.Replace == bft.ReplaceNone {
		return
	}
	t := m.table
	for s := owner.live.head; s != nil; {
		next := s.links[inOwner].next
		switch h := s.hold; {
		case h == nil || h.instance != c.Instance:
		case c.Replace == bft.ReplaceAll:
			m.end(s, StatusReplaced)
		case !h.doubted:
			t.doubt(h, m.time+c.Grace)
		}
		s = next
	}
}

// claim gives s what its opening asks for.
func (t *table) claim(s *session, c *bft.Claim, now bft.Time) {
	if c == nil || c.Instance == "" && c.Lease == 0 {
		return
	}
	s.hold = &hold{session: s, instance: c.Instance, lease: c.Lease}
	t.extend(s, now)
}

// outdated tells whether an opening is older than one that has asked for signs of life since: it may come from a client
// that is dead by now, and replaces nobody.
func (t *table) outdated(b *bft.Bundle) bool { return b.NotAfter < t.instanceOf(b).silenced }

// extend puts off the end of a session that its owner uses.
func (t *table) extend(s *session, now bft.Time) {
	h := s.hold
	h.doubted = false
	if h.lease == 0 {
		t.endAt(h, 0)
	} else {
		t.endAt(h, now+h.lease)
	}
}

// doubt ends a session unless it is used before.
func (t *table) doubt(h *hold, ends bft.Time) {
	h.doubted = true
	if h.ends == 0 || ends < h.ends {
		t.endAt(h, ends)
	}
}

func (t *table) endAt(h *hold, ends bft.Time) {
	was := h.ends
	h.ends = ends
	switch {
	case was == 0 && ends != 0:
		heap.Push(&t.ending, h)
	case was != 0 && ends == 0:
		heap.Remove(&t.ending, h.place)
	case was != 0:
		heap.Fix(&t.ending, h.place)
	}
}

// drop takes a session that ends, however, out of what may end.
func (t *table) dropHold(s *session) {
	if s.hold != nil {
		t.endAt(s.hold, 0)
		s.hold = nil
	}
}

// end ends a session without its client's doing. It is kept like a closed one, so that the client learns what was executed.
func (m *Machine) end(s *session, cause Status) {
	m.touch(s)
	s.cause = cause
	m.table.close(s)
}

// endSessions ends the sessions whose time is over.
func (m *Machine) endSessions() {
	t := m.table
	for len(t.ending) > 0 && t.ending[0].ends < m.time {
		h := t.ending[0]
		cause := StatusEnded
		if h.doubted {
			cause = StatusReplaced
		}
		m.end(h.session, cause)
	}
}

// fresh tells whether the bundle has an operation that was not decided before: only that shows that the owner of the
// session is alive. What was executed once anybody can have ordered again.
func (m *Machine) fresh(b *bft.Bundle, s *session) bool {
	if s.hold == nil || m.late(b) {
		return false
	}
	for i := range b.Ops {
		if n := b.First + uint64(i); !s.decided(n) && s.fits(n) {
			return true
		}
	}
	return false
}

// endingHeap has the session that ends first on top. Ids make the order total.
type endingHeap []*hold

func (h endingHeap) Len() int { return len(h) }
func (h endingHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].ends, h[j].ends), cmp.Compare(h[i].session.id, h[j].session.id)) < 0
}
func (h endingHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is for package heap.
func (h *endingHeap) Push(x any) {
	e := x.(*hold)
	e.place = len(*h)
	*h = append(*h, e)
}

// Pop is for package heap.
func (h *endingHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// claimed tells whether a snapshot has anything that version 1 of the format has no place for.
func (s *Snapshot) claimed() bool {
	for i := range s.sessions {
		if s.sessions[i].hold != nil || s.sessions[i].cause != StatusOK {
			return true
		}
	}
	for i := range s.openings {
		if s.openings[i].claim != nil {
			return true
		}
	}
	return false
}

// encodeHold writes what version 2 adds to a session.
func (s *session) encodeHold(e *encoder) {
	if s.closed {
		e.uint(uint64(s.cause))
		return
	}
	h := s.hold
	if h == nil {
		h = &hold{}
	}
	e.bytes([]byte(h.instance))
	e.uint(uint64(h.lease))
	e.uint(uint64(h.ends))
	e.bool(h.doubted)
}

// decodeHold undoes encodeHold.
func (x *restored) decodeHold(d *decoder, s *session) {
	ahead := x.table.limits.MaxAhead
	if s.closed {
		s.cause = Status(d.upTo(math.MaxUint8, "cause of the end of a session"))
		if s.cause != StatusOK && s.cause != StatusEnded && s.cause != StatusReplaced {
			d.fail("session %d ended for %v", s.id, s.cause)
		}
		x.claimed = x.claimed || s.cause != StatusOK
		return
	}
	h := &hold{session: s, instance: string(d.bytes(bft.MaxInstance, "instance"))}
	h.lease = bft.Time(d.upTo(uint64(ahead), "lease"))
	h.ends = bft.Time(d.upTo(uint64(x.time+ahead), "end of a session"))
	h.doubted = d.bool()
	switch {
	case d.err != nil || *h == hold{session: s}:
		return
	case h.instance == "" && h.lease == 0, h.doubted && h.instance == "":
		d.fail("session %d may end for no reason", s.id)
	case (h.ends != 0) != (h.lease != 0 || h.doubted), h.ends != 0 && h.ends < x.time:
		d.fail("session %d ends at %d", s.id, h.ends)
	}
	x.claimed, s.hold = true, h
}

// encodeClaim writes what version 2 adds to an opening.
func (o *opening) encodeClaim(e *encoder) {
	c := o.claim
	if c == nil {
		c = &bft.Claim{}
	}
	e.bytes([]byte(c.Instance))
	e.uint(uint64(c.Replace))
	e.uint(uint64(c.Grace))
}

// decodeClaim undoes encodeClaim.
func (x *restored) decodeClaim(d *decoder, o *opening) {
	c := bft.Claim{Instance: string(d.bytes(bft.MaxInstance, "instance"))}
	c.Replace = bft.Replacement(d.upTo(uint64(bft.ReplaceSilent), "replacement"))
	c.Grace = bft.Time(d.upTo(uint64(x.table.limits.MaxAhead), "grace"))
	switch {
	case d.err != nil || c == bft.Claim{}:
		return
	case c.Instance == "", (c.Replace == bft.ReplaceSilent) != (c.Grace > 0):
		d.fail("opening %d claims what none can", o.id)
	}
	x.claimed, o.claim = true, &c
}

// remembered is what an opening remembers of a claim.
func remembered(c *bft.Claim) *bft.Claim {
	if c == nil || c.Instance == "" {
		return nil
	}
	return &bft.Claim{Instance: c.Instance, Replace: c.Replace, Grace: c.Grace}
}
