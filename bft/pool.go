package bft

import (
	"slices"

	"github.com/baluarte-bft/baluarte/crypto"
)

// pool holds the bundles that wait to be ordered. Every bundle that this replica would propose
// itself is timed, whoever told of it (rule 13).
type pool struct {
	all     map[Digest]*pending
	clients map[ClientID]*clientPool
	spare   []*clientPool // for reuse
	// fresh and passed are the bundles that no accepted pre-prepare covers, by arrival: fresh
	// until d has passed, passed once they went on to the primary.
	fresh, passed stage
	// parked wait for state that this replica has not executed yet, such as their session.
	parked   stage
	sessions map[SessionID]*SessionMark
	// newestSession: ids come from a counter, so a session at or below it without a mark has ended.
	newestSession SessionID
	// recent are bundles that were executed lately, so that retries are answered, not ordered, each with the
	// time at which it was last ordered again all the same; 0: never.
	recent                 map[Digest]Time
	recentLog              []Digest
	members                map[ReplicaID]share // what each member told
	ops                    int                 // of all bundles that are not parked
	parkedOps, parkedBytes int
	waiting                int     // of those in fresh and passed
	waitingBytes           int     // likewise
	turn                   uint64  // counts batches
	peak                   float64 // of ops, decaying
	bytes                  int
	// slotTime advances while the primary has room to propose: only then does it owe us (rule 14).
	slotTime Time
	punctual punctual
	rate     float64 // operations executed per second, smoothed
	rateOps  int
	rateAt   Time
}

// share is how much of the pool somebody has.
type share struct{ ops, bytes int }

func (s share) plus(ops, bytes int) share { return share{s.ops + ops, s.bytes + bytes} }

const maxRecent = 1 << 14

type clientPool struct {
	order []*pending
	ops   int
	bytes int
	// turn is the batch in which it was last served or, if it came later, the one before which it came; listed is the
	// one for which it was last listed. See batch.
	turn, listed uint64
}

type pending struct {
	bundle *Bundle
	heard  bool // came on its client's own channel
	asked  bool // the signature is being checked
	valid  bool // the signature holds
	by     ReplicaID
	member bool // told by member `by`, from whose share it is admitted
	owner  *clientPool
	stage  *stage // nil: an accepted proposal covers it
	prev   *pending
	next   *pending
	since  Time // slotTime when it entered its stage
	from   Time // slotTime when it was first owed by the primary of this view
	waited Time // by slotTime, from then to the proposal
	timed  bool // waited is known
	born   Time
	seq    Seq  // of the accepted proposal that covers it; 0: none
	again  bool // to be ordered though it was executed, see onRequest
	// heardAgain: its client repeated it, perhaps asking this replica only now, and after its execution, of which the
	// core has not heard.
	heardAgain bool
	voids      int // how often it was ordered in vain, see afterVoid
}

// stage is a list of bundles, the one that has waited longest at its head. The links stand in the bundles' own entries.
type stage struct{ head, tail *pending }

func (s *stage) push(x *pending) {
	x.prev, x.next = s.tail, nil
	if s.tail == nil {
		s.head = x
	} else {
		s.tail.next = x
	}
	s.tail = x
}

func (s *stage) remove(x *pending) {
	if x.prev == nil {
		s.head = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next == nil {
		s.tail = x.prev
	} else {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
}

func (p *pool) init() {
	p.all, p.clients = map[Digest]*pending{}, map[ClientID]*clientPool{}
	p.members = map[ReplicaID]share{}
	p.sessions, p.recent = map[SessionID]*SessionMark{}, map[Digest]Time{}
}

// standing is what executed state says of a bundle.
type standing uint8

const (
	proposable standing = iota // would be proposed
	decided                    // all its operations are decided: answer from the cache
	unknown                    // its session or window may come with what is not executed yet
)

func (p *pool) standing(b *Bundle) standing {
	if _, ok := p.recent[b.Digest]; ok {
		return decided
	}
	return p.standingByState(b)
}

// standingByState leaves out what only this replica's memory of late knows.
func (p *pool) standingByState(b *Bundle) standing {
	if b.Opens() {
		return proposable
	}
	m := p.sessions[b.Session]
	switch {
	case m == nil && b.Session > p.newestSession:
		return unknown
	case m == nil:
		return decided
	case m.Gone || m.Client != b.Client:
		return decided
	case len(b.Ops) > 0 && m.Decided(b.First, len(b.Ops)):
		return decided
	case !m.InWindow(b.First, len(b.Ops)):
		return unknown
	}
	return proposable
}

// onRequest takes a bundle from its client or passed on by a member.
func (r *Replica) onRequest(u *Unverified, q *request) error {
	b := q.bundle
	if p := r.pool.all[b.Digest]; p != nil {
		if q.heard && !p.heard {
			p.heard = true
			r.retrySoon()
		} else if q.heard {
			p.heardAgain = true
		}
		return ErrNotRelevant
	}
	st := r.pool.standing(b)
	// A member that passes on what was executed here lately, and what marks of sessions do not
	// tell, such as an opening, has lost sight of it by a restart or a state transfer, and will
	// suspect the primary: ordered again, it executes nothing and is answered as before. Once in a request
	// timeout is enough, for a liar would have it ordered for ever.
	again := st == decided && !q.heard && r.isPrimary() && r.pool.standingByState(b) != decided && r.pool.mayAgain(b.Digest, r.now, r.cfg.RequestTimeout)
	if st == decided && !again {
		if q.heard {
			r.out.replay = append(r.out.replay, b)
		}
		return ErrNotRelevant
	}
	if !r.admit(b, st == unknown, q.heard, u.from) {
		if q.heard {
			r.out.busy = append(r.out.busy, b)
		}
		return ErrBusy
	}
	p := r.pool.keep(b, r.now)
	p.heard, p.again = q.heard, again
	if again {
		r.pool.recent[b.Digest] = r.now
	}
	if !q.heard {
		p.by, p.member = u.from, true
		r.pool.members[u.from] = r.pool.members[u.from].plus(max(1, len(b.Ops)), b.Size())
	}
	if st == unknown {
		r.pool.move(p, &r.pool.parked)
	}
	r.arrived(b.Digest)
	if r.isPrimary() || !q.heard {
		r.checkBundle(p)
	}
	return nil
}

// mayAgain tells whether an executed bundle was not ordered again for a while.
func (p *pool) mayAgain(d Digest, now, every Time) bool {
	last := p.recent[d]
	return last == 0 || now-last >= every
}

// admit bounds what waits (rule 26): in all by what recent throughput executes in half a
// timeout, never below the floor, and in equal shares; what a member passes on counts
// against that member's share.
func (r *Replica) admit(b *Bundle, park, heard bool, from ReplicaID) bool {
	p := &r.pool
	limit := max(r.cfg.PoolFloor, int(p.rate*float64(r.cfg.RequestTimeout)/float64(2*Second)))
	if p.bytes+b.Size() > r.cfg.MaxPoolBytes {
		return false
	}
	// What waits for sessions that may not exist keeps nobody else out.
	if park && (p.parkedOps+len(b.Ops) > limit/2 || p.parkedBytes+b.Size() > r.cfg.MaxPoolBytes/4) {
		return false
	}
	if !heard {
		told := p.members[from].plus(len(b.Ops), b.Size())
		// A share has room for one bundle of any size.
		return told.ops <= max(limit/r.n, r.cfg.MaxBundleOps) && told.bytes <= max(r.cfg.MaxPoolBytes/r.n, r.cfg.MaxBundleBytes+crypto.SignatureSize)
	}
	c := p.clients[b.Client]
	if c == nil {
		return p.ops < 2*limit
	}
	share := max(limit/max(1, len(p.clients)), 2*r.cfg.MaxBundleOps)
	return c.ops+max(1, len(b.Ops)) <= share && c.bytes+b.Size() <= r.cfg.MaxPoolBytes/4
}

// keep adds a bundle; it starts among the fresh ones.
func (p *pool) keep(b *Bundle, now Time) *pending {
	c := p.clients[b.Client]
	if c == nil {
		c = p.newClient()
		p.clients[b.Client] = c
	}
	x := &pending{bundle: b, born: now, owner: c}
	p.all[b.Digest] = x
	c.order = append(c.order, x)
	ops := max(1, len(b.Ops))
	c.ops, p.ops = c.ops+ops, p.ops+ops
	c.bytes, p.bytes = c.bytes+b.Size(), p.bytes+b.Size()
	p.move(x, &p.fresh)
	return x
}

// Bounds of the entries of clients that are kept for reuse: how many, and for how many bundles these have room.
const (
	spareClients = 1024
	spareBundles = 16
)

// newClient gives an empty entry: a client with one call at a time comes and goes with each of them.
func (p *pool) newClient() *clientPool {
	if k := len(p.spare); k > 0 {
		c := p.spare[k-1]
		p.spare = p.spare[:k-1]
		c.turn = p.turn
		return c
	}
	return &clientPool{turn: p.turn}
}

func (p *pool) dropClient(id ClientID, c *clientPool) {
	delete(p.clients, id)
	if len(p.spare) < spareClients && cap(c.order) <= spareBundles {
		p.spare = append(p.spare, c)
	}
}

// account books what enters a stage, or leaves it with negative amounts.
func (p *pool) account(of *stage, ops, size int) {
	if of == &p.parked {
		p.ops -= ops
		p.parkedOps, p.parkedBytes = p.parkedOps+ops, p.parkedBytes+size
	} else {
		p.waiting += ops
		p.waitingBytes += size
	}
}

// move puts x at the end of a stage; nil: of none.
func (p *pool) move(x *pending, to *stage) {
	ops := max(1, len(x.bundle.Ops))
	if x.stage != nil {
		x.stage.remove(x)
		p.account(x.stage, -ops, -x.bundle.Size())
	}
	if to != nil {
		p.account(to, ops, x.bundle.Size())
	}
	x.stage, x.since = to, p.slotTime
	if to == &p.fresh {
		x.from, x.timed = p.slotTime, false
	}
	if to != nil {
		to.push(x)
	}
}

func (p *pool) drop(x *pending) {
	p.move(x, nil)
	delete(p.all, x.bundle.Digest)
	if x.member {
		p.members[x.by] = p.members[x.by].plus(-max(1, len(x.bundle.Ops)), -x.bundle.Size())
	}
	c := x.owner
	ops := max(1, len(x.bundle.Ops))
	c.ops, p.ops = c.ops-ops, p.ops-ops
	c.bytes, p.bytes = c.bytes-x.bundle.Size(), p.bytes-x.bundle.Size()
	if i := slices.Index(c.order, x); i >= 0 {
		c.order = slices.Delete(c.order, i, i+1)
	}
	if len(c.order) == 0 {
		p.dropClient(x.bundle.Client, c)
	}
}

// proposed notes that an accepted proposal covers these bundles: its slot is timed from now on.
func (p *pool) proposed(b *body, seq Seq) {
	if b == nil {
		return
	}
	for _, d := range b.list {
		switch x := p.all[d]; {
		case x == nil:
		case p.standing(x.bundle) == decided:
			p.drop(x) // executed before this replica came to vote for it
		default:
			x.seq = seq
			p.move(x, nil)
		}
	}
}

// executed drops bundles that have been ordered and remembers them for retries, unless these
// are to be ordered again. Those that were void wait on.
func (p *pool) executed(bundles []*Bundle, done *Executed) {
	for _, b := range bundles {
		p.rateOps += len(b.Ops)
		if x := p.all[b.Digest]; x != nil && !slices.Contains(done.Void, b.Digest) {
			p.drop(x)
		}
		if _, ok := p.recent[b.Digest]; !ok && !slices.Contains(done.Again, b.Digest) {
			p.recent[b.Digest] = 0
			p.recentLog = append(p.recentLog, b.Digest)
		}
	}
	for len(p.recentLog) > maxRecent {
		delete(p.recent, p.recentLog[0])
		p.recentLog = p.recentLog[1:]
	}
}

func (p *pool) learn(m *SessionMark) {
	p.newestSession = max(p.newestSession, m.Session)
	if m.Gone {
		delete(p.sessions, m.Session)
	} else if old := p.sessions[m.Session]; old != nil {
		*old = *m
	} else {
		own := *m // a mark that is kept must not keep those beside it
		p.sessions[m.Session] = &own
	}
}

// applyMarks takes what executed state now says of sessions, and looks at their bundles again.
func (r *Replica) applyMarks(marks []SessionMark) {
	p := &r.pool
	for i := range marks {
		m := &marks[i]
		p.learn(m)
		c := p.clients[m.Client]
		if c == nil {
			continue
		}
		for k := 0; k < len(c.order); {
			x := c.order[k]
			if x.bundle.Session == m.Session {
				r.reconsider(x, m)
			}
			if k < len(c.order) && c.order[k] == x { // it is still there
				k++
			}
		}
	}
}

func (r *Replica) reconsider(x *pending, m *SessionMark) {
	st := r.pool.standing(x.bundle)
	if m.Gone {
		st = decided
	}
	switch {
	case st == decided:
		r.pool.drop(x)
		if x.heard {
			r.out.replay = append(r.out.replay, x.bundle)
		}
	case st == proposable && x.stage == &r.pool.parked:
		r.pool.move(x, &r.pool.fresh)
		if r.isPrimary() {
			r.checkBundle(x)
		}
	}
}

// checkBundle has the client's signature checked, once.
func (r *Replica) checkBundle(x *pending) {
	if !x.asked && !x.valid {
		x.asked = true
		r.out.checks = append(r.out.checks, x.bundle)
	}
}

// onChecked takes the verdict on a client's signature.
func (r *Replica) onChecked(c Checked) {
	x := r.pool.all[c.Digest]
	if x == nil || !x.asked {
		return
	}
	x.asked = false
	if c.Valid {
		x.valid = true
		if x.stage == &r.pool.passed && !r.isPrimary() {
			r.send(r.primary(), RequestFrame(x.bundle, 0))
		}
		r.retrySoon()
		return
	}
	seq, heard := x.seq, x.heard
	if !heard {
		r.accuseForBundle(c.Digest)
	}
	if seq == 0 {
		r.pool.drop(x)
	}
}

// accuseForBundle suspects the primary that proposed a bundle whose signature is invalid; with
// one that was heard from the client, the primary may be honest (rule 23).
func (r *Replica) accuseForBundle(d Digest) {
	for _, s := range sortedSeqs(r.slots, r.stable) {
		x := r.slots[s]
		if x.pre == nil || x.inO || x.accepted || x.pre.view != r.view {
			continue
		}
		if b := r.bodies[x.pre.prop.Body]; b != nil && slices.Contains(b.list, d) {
			r.suspect(SuspectedForged)
			return
		}
	}
}

// tickPool lets time pass for what waits (rules 13 and 14).
func (r *Replica) tickPool(step Time) {
	p := &r.pool
	if r.now-p.rateAt >= 100*Millisecond {
		now := float64(p.rateOps) * float64(Second) / float64(r.now-p.rateAt)
		p.rate += (now - p.rate) / 4
		p.rateAt, p.rateOps = r.now, 0
		p.peak = max(float64(p.ops), p.peak*0.9)
	}
	for x := p.parked.head; x != nil && x.born+r.cfg.RequestTimeout < r.now; x = p.parked.head {
		p.drop(x)
		if !x.heard {
			continue
		}
		if p.standing(x.bundle) == decided {
			r.out.replay = append(r.out.replay, x.bundle)
		} else {
			// Others may know the session already: a replica that lags refuses nothing for good.
			r.out.busy = append(r.out.busy, x.bundle)
		}
	}
	if r.changing || !r.maySign() || r.isPrimary() {
		return
	}
	// At the high watermark no primary may propose.
	if r.uncommitted() < r.cfg.Pipeline && r.delivered < r.high() && !r.behind() && r.couldUpdate() {
		p.slotTime += step
	}
	if r.tooSlow() {
		r.suspect(SuspectedSlow)
		return
	}
	d := r.suspectAfter()
	for x := p.fresh.head; x != nil && x.since+d < p.slotTime; x = p.fresh.head {
		r.checkBundle(x)
		p.move(x, &p.passed)
		if x.valid {
			r.send(r.primary(), RequestFrame(x.bundle, 0))
		}
	}
	for x := p.passed.head; x != nil && x.since+d < p.slotTime; x = p.passed.head {
		if x.valid {
			r.suspect(SuspectedSilent)
			return
		}
		// Only a bundle whose signature holds ends in suspicion (rule 23): ask again, wait on.
		r.checkBundle(x)
		p.move(x, &p.passed)
	}
}

// uncommitted is the number of accepted proposals that are not committed. One whose body the
// primary withholds is not among them: that is its debt, not ours.
func (r *Replica) uncommitted() Seq {
	n := Seq(0)
	for s := r.delivered + 1; s <= r.delivered+r.cfg.Pipeline; s++ {
		if x := r.slots[s]; x != nil && x.accepted && x.pre.view == r.view && x.done == nil {
			n++
		}
	}
	return n
}

// restartPool gives a new view its own time: what no proposal covers is timed from now.
func (r *Replica) restartPool() {
	r.dropDecided()
	p := &r.pool
	var all []*pending
	for _, stage := range [...]*stage{&p.passed, &p.fresh} {
		for x := stage.head; x != nil; x = x.next {
			all = append(all, x)
		}
	}
	covered := map[Digest]bool{}
	for _, s := range r.slots {
		if s.seq <= r.executed {
			continue
		}
		if s.done != nil || s.pre != nil && s.pre.view == r.view {
			if b := r.bodies[s.proposal().Body]; b != nil {
				for _, d := range b.list {
					covered[d] = true
				}
			}
		}
	}
	p.punctual.begin(p.slotTime)
	var back []*pending
	for d, x := range p.all {
		if x.stage == nil && !covered[d] {
			back = append(back, x)
		}
	}
	slices.SortFunc(back, byArrival)
	for _, x := range append(back, all...) {
		x.seq = 0
		p.move(x, &p.fresh)
	}
}

func (s *slot) proposal() Proposal {
	if s.done != nil {
		return s.done.prop
	}
	return s.pre.prop
}

// inOrder gives all bundles by arrival.
func (p *pool) inOrder() []*pending {
	all := make([]*pending, 0, len(p.all))
	for _, x := range p.all {
		all = append(all, x)
	}
	slices.SortFunc(all, byArrival)
	return all
}

func byArrival(a, b *pending) int {
	if a.born != b.born {
		return int(min(max(a.born-b.born, -1), 1))
	}
	return slices.Compare(a.bundle.Digest[:], b.bundle.Digest[:])
}
