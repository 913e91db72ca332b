package exec

import (
	"cmp"
	"container/heap"

	"github.com/baluarte-bft/baluarte/bft"
)

// table holds sessions and remembered openings, within their bounds (rule 24).
//
//  1. Every session is in sessions, and in either live and its owner's live, or closed and its
//     owner's closed.
//  2. Every opening is in openings and in expiry, and counts in its owner's openings.
//  3. bytes is the sum over the clients, a client's that over the caches of its sessions and openings.
type table struct {
	limits   Limits
	sessions map[bft.SessionID]*session
	// live is in the order of last use, closed in that of closing.
	live, closed list
	openings     map[openingKey]*opening
	expiry       openingHeap
	ending       endingHeap
	clients      map[bft.ClientID]*client
	// last is the counter from which sessions and openings get their ids.
	last  bft.SessionID
	bytes int
}

// client is what one key uses of the bounds. It is there as long as it uses anything.
type client struct {
	key          bft.ClientID
	live, closed list
	openings     int
	bytes        int
	instances    map[string]*instance // by name, if it has any
}

type openingKey struct {
	client bft.ClientID
	nonce  bft.Nonce
}

// opening remembers until notAfter what became of an opening.
type opening struct {
	id       bft.SessionID // also of the session, if one was opened
	owner    *client
	nonce    bft.Nonce
	notAfter bft.Time
	// refused: no session was opened.
	refused bool
	first   uint64
	count   int // of operations in the bundle
	results cache
	session *session // while it is live
	// claim is what it claimed for an instance, without the lease; nil: nothing.
	claim *bft.Claim
}

func newTable(l Limits) *table {
	return &table{
		limits:   l,
		sessions: make(map[bft.SessionID]*session),
		openings: make(map[openingKey]*opening),
		clients:  make(map[bft.ClientID]*client),
		live:     list{kind: inTable}, closed: list{kind: inTable},
	}
}

// client returns the record of a key, new or not. Whoever makes it use nothing calls tidy.
func (t *table) client(key bft.ClientID) *client {
	c := t.clients[key]
	if c == nil {
		c = &client{key: key, live: list{kind: inOwner}, closed: list{kind: inOwner}}
		t.clients[key] = c
	}
	return c
}

// tidy forgets c if it uses nothing.
func (t *table) tidy(c *client) {
	if c.live.len+c.closed.len+c.openings == 0 {
		delete(t.clients, c.key)
	}
}

// charge adds the change of a cache's bytes to the sums.
func (t *table) charge(c *client, bytes int) {
	c.bytes += bytes
	t.bytes += bytes
}

// within drops results of a cache of c, whose bytes were before, until all bounds are met.
func (t *table) within(k *cache, c *client, before int) {
	t.charge(c, k.bytes-before)
	over := max(k.bytes-t.limits.SessionResultBytes, c.bytes-t.limits.ClientResultBytes, t.bytes-t.limits.TotalResultBytes)
	if over > 0 {
		before = k.bytes
		k.dropUntil(max(0, k.bytes-over))
		t.charge(c, k.bytes-before)
	}
}

// keep adds results to those of s, for the numbers from first.
func (t *table) keep(s *session, first uint64, results [][]byte) {
	before := s.cache.bytes
	s.cache.add(first, results)
	t.within(&s.cache, s.owner, before)
}

// dropBelow drops the results of s below n, also from its opening.
func (t *table) dropBelow(s *session, n uint64) {
	caches := [2]*cache{&s.cache}
	if s.opening != nil {
		caches[1] = &s.opening.results
	}
	for _, k := range caches {
		if k != nil {
			before := k.bytes
			k.dropBelow(n)
			t.charge(s.owner, k.bytes-before)
		}
	}
}

// use notes that s, which is live, was used now.
func (t *table) use(s *session, now bft.Time) {
	s.lastUsed = now
	t.live.toTail(s)
	s.owner.live.toTail(s)
}

// open adds the session that o opens.
func (t *table) open(o *opening, now bft.Time) *session {
	s := &session{id: o.id, owner: o.owner, low: 1, lastUsed: now, opening: o}
	o.session = s
	t.sessions[s.id] = s
	t.live.push(s)
	s.owner.live.push(s)
	return s
}

// room makes room for a session of c, if it must by evicting one, which it returns. It reports
// false if no session may be evicted: one used within MaxAhead never is.
func (t *table) room(c *client, now bft.Time) (evicted *session, ok bool) {
	var oldest *session
	switch {
	case c.live.len >= t.limits.SessionsPerClient:
		oldest = c.live.head
	case t.live.len >= t.limits.MaxSessions:
		oldest = t.live.head
	default:
		return nil, true
	}
	if now-oldest.lastUsed <= t.limits.MaxAhead {
		return nil, false
	}
	t.leave(oldest)
	t.forget(oldest)
	return oldest, true
}

// leave takes a live session out of the quota.
func (t *table) leave(s *session) {
	t.live.remove(s)
	s.owner.live.remove(s)
	s.gone = true
	t.dropHold(s)
	if s.opening != nil {
		s.opening.session, s.opening = nil, nil
	}
}

// forget drops a session that is in no list any more.
func (t *table) forget(s *session) {
	delete(t.sessions, s.id)
	t.charge(s.owner, -s.cache.bytes)
	t.tidy(s.owner)
}

// close ends a session. It is kept, for retries, until others closed later take its place.
func (t *table) close(s *session) {
	t.leave(s)
	s.closed = true
	t.closed.push(s)
	s.owner.closed.push(s)
	if s.owner.closed.len > t.limits.SessionsPerClient {
		t.dropClosed(s.owner.closed.head)
	}
	if t.closed.len > t.limits.MaxClosed {
		t.dropClosed(t.closed.head)
	}
}

func (t *table) dropClosed(s *session) {
	t.closed.remove(s)
	s.owner.closed.remove(s)
	t.forget(s)
}

// mayRemember tells whether there is room for an opening of c.
func (t *table) mayRemember(c *client) bool {
	return c.openings < t.limits.OpeningsPerClient && len(t.openings) < t.limits.MaxOpenings
}

// remember adds an opening, whose results are still to come.
func (t *table) remember(o *opening) {
	t.openings[openingKey{o.owner.key, o.nonce}] = o
	heap.Push(&t.expiry, o)
	o.owner.openings++
	if o.claim != nil {
		o.owner.note(o)
	}
}

// keepOpening keeps the results of the bundle of o, for when it is repeated.
func (t *table) keepOpening(o *opening, results [][]byte) {
	o.results.add(o.first, results)
	t.within(&o.results, o.owner, 0)
}

// expire forgets the openings whose time is over.
func (t *table) expire(now bft.Time) {
	for len(t.expiry) > 0 && t.expiry[0].notAfter < now {
		o := heap.Pop(&t.expiry).(*opening)
		delete(t.openings, openingKey{o.owner.key, o.nonce})
		if o.session != nil {
			o.session.opening = nil
		}
		o.owner.openings--
		o.owner.forgetNote(o)
		t.charge(o.owner, -o.results.bytes)
		t.tidy(o.owner)
	}
}

// openingHeap has the opening that expires first on top. Ids make the order total, so that it
// does not depend on how the heap came about.
type openingHeap []*opening

func (h openingHeap) Len() int           { return len(h) }
func (h openingHeap) Less(i, j int) bool { return compareOpenings(h[i], h[j]) < 0 }
func (h openingHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *openingHeap) Push(x any) { *h = append(*h, x.(*opening)) }

// Pop is for package heap.
func (h *openingHeap) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return o
}

func compareOpenings(a, b *opening) int {
	return cmp.Or(cmp.Compare(a.notAfter, b.notAfter), cmp.Compare(a.id, b.id))
}
