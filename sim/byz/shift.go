package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// The shifting partition.
//
// Before the network is healed the accomplices decide who hears whom. They hold with a part of the honest
// replicas that is just large enough for a quorum with them, and have it execute something. Then the
// part shifts: those who were cut off come in, and of the others so few stay that only a bare intersection
// of quorums knows what was executed. If what these few have to tell counts for nothing, because the accomplices'
// view-changes say otherwise, the second part executes something else.
//
// Before, one replica may come to be the only one with a certificate, of what no other
// ever prepares (its certificate is then of the lower view). Between, the new view may be barren:
// nobody hears a vote in it, so that it ends with nothing prepared anew.
//
// It keeps itself to what a network may do, and promises nothing about views or numbers: whether an act
// has come off is seen from what replicas send.
type shift struct {
	n       int
	faulty  []bft.ReplicaID
	timeout bft.Time
	watch   *watch
	act     act
	since   bft.Time
	end     bft.Time // when the act ends, once it has come off; 0: it has not
	// entered is the highest view that was entered when the act began, next the one that may come then.
	// worked is the one that was entered when a part last began to work.
	entered, coming, worked uint64
	// present are those who hear each other.
	present []bool
	// lonely is who alone hears votes, or is kept apart since.
	lonely bft.ReplicaID
	single bool
	// barren: nobody hears votes in the first view that is entered in this act.
	barren bool
	// secret: of those who work only one hears the commits, knower.
	secret bool
	knower bft.ReplicaID
	// from is the lowest number that was not executed when the act began.
	from uint64
	// nulls is from where on an accomplice proposes null requests in its view.
	nulls slot
	// foreign is when a message between honest replicas was last seen: none any more means that the
	// network is healed.
	foreign bft.Time
	draw    func(n int) int
}

// act is a stage of the shifting partition.
type act int

const (
	actRest   act = iota // all hear all
	actLonely            // only one hears votes
	actWork              // a part that is large enough works
	actShift             // another part that is large enough works
)

func newShift(p *Plan, timeout bft.Time) *shift {
	s := &shift{n: p.n, faulty: p.faulty, timeout: timeout, watch: p.watching(), present: make([]bool, p.n), draw: p.r.IntN}
	s.rest(0)
	return s
}

// cuts sees a message pass, and tells whether it is to be lost.
func (s *shift) cuts(p Passing) bool {
	honestTo := !slices.Contains(s.faulty, p.To)
	if honestTo && !slices.Contains(s.faulty, p.From) {
		s.foreign = p.Now
	}
	h := s.watch.see(p.From, p.Frame)
	if p.Now-s.foreign > s.timeout/2 {
		return false // healed
	}
	s.advance(p.Now, h.kind)
	if s.act == actRest {
		return false
	}
	if !s.present[p.From] || !s.present[p.To] {
		return true
	}
	switch {
	case s.act == actLonely:
		return h.kind == bft.TypeVotes && (p.To != s.lonely || h.commit && h.high >= s.from) && h.high >= s.from
	case h.kind == bft.TypeCheckpoint, h.proof:
		return true // nobody catches up but by the view change
	case s.act == actWork && s.secret && h.commit && h.high >= s.from && p.To != s.knower && honestTo:
		return true
	}
	return s.barren && h.kind == bft.TypeVotes && h.view > s.entered && h.view <= s.wasted()
}

// wasted is the view that is barren: the first that was entered in this act.
func (s *shift) wasted() uint64 {
	v := ^uint64(0)
	for x := range s.watch.newViews { // a minimum: the order does not matter
		if x > s.entered {
			v = min(v, x)
		}
	}
	return v
}

// advance goes on to the next act when the present one has come off, or has taken too long.
func (s *shift) advance(now bft.Time, seen bft.MessageType) {
	if s.end == 0 && (seen == bft.TypeVotes || seen == bft.TypeNewView) && s.done() {
		s.end = now + s.timeout/8
	}
	late := now-s.since > 4*s.timeout
	if !late && (s.end == 0 || now < s.end) {
		return
	}
	switch {
	case s.act == actRest && s.draw(2) == 0:
		s.begin(actLonely, now)
	case s.act == actRest || s.act == actLonely && !late:
		s.begin(actWork, now)
	case s.act == actWork && !late:
		s.begin(actShift, now)
	default:
		s.rest(now)
	}
}

func (s *shift) rest(now bft.Time) {
	s.begin(actRest, now)
	s.single = false
	for i := range s.present {
		s.present[i] = true
	}
}

// done tells whether the act has come to what it is for.
func (s *shift) done() bool {
	switch s.act {
	case actLonely:
		for key, p := range s.watch.offers { // whether there is one: the order does not matter
			if key.seq >= s.from && signedBy(s.watch.votes[ballot{key, bft.PhaseCommit, p.digest}], uint32(s.lonely)) {
				return true
			}
		}
		return false
	case actShift:
		low := s.wasted()
		if low > s.watch.entered {
			return false
		}
		if s.barren {
			low++
		}
		return s.watch.entered >= low && s.executes(low)
	}
	if s.act == actWork && s.single {
		return s.executes(s.entered + 1)
	}
	return s.executes(0)
}

// executes tells whether numbers that are new in this act have committed in a view from low on.
func (s *shift) executes(low uint64) bool {
	for key := range s.watch.offers { // whether there is one: the order does not matter
		if key.view >= low && key.seq >= s.from && s.watch.committed(key) {
			return true
		}
	}
	return false
}

func (s *shift) begin(a act, now bft.Time) {
	was := s.act
	s.act, s.since, s.end, s.foreign = a, now, 0, now
	s.barren, s.entered = false, s.watch.entered
	s.coming = s.entered + 1
	for _, v := range s.watch.views { // who has left alone may have gone further
		s.coming = max(s.coming, v)
	}
	if a != actShift && was != actLonely {
		s.from = s.top() + 1
	}
	switch a {
	case actLonely:
		s.lonely, s.single = s.someone(), true
	case actWork:
		s.worked = s.entered
		s.gather()
	case actShift:
		s.barren = s.draw(3) > 0
		if s.secret { // an accomplice shall lead the view that counts
			s.barren = !slices.Contains(s.faulty, s.leader(s.coming)) && slices.Contains(s.faulty, s.leader(s.coming+1))
		}
		s.turn()
	}
}

// top is the highest number that was proposed.
func (s *shift) top() uint64 {
	top := uint64(0)
	for key := range s.watch.offers { // a maximum: the order does not matter
		top = max(top, key.seq)
	}
	return top
}

func (s *shift) honest() []bft.ReplicaID {
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(s.n) {
		if !slices.Contains(s.faulty, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// someone draws an honest replica that does not lead now.
func (s *shift) someone() bft.ReplicaID {
	ids := s.honest()
	id := ids[s.draw(len(ids))]
	if id == s.leader(s.watch.entered) {
		id = ids[(slices.Index(ids, id)+1)%len(ids)]
	}
	return id
}

func (s *shift) leader(view uint64) bft.ReplicaID { return bft.ReplicaID(view % uint64(s.n)) }

// gather makes the first part: accomplices and as many others as make a quorum with them, the
// primary among them, who was lonely not.
func (s *shift) gather() {
	need := bft.Quorum(s.n) - len(s.faulty)
	first := s.leader(s.watch.entered)
	if s.single {
		first = s.leader(s.coming) // nobody can go on in this view
	}
	s.form(need, func(id bft.ReplicaID) int {
		switch {
		case s.single && id == s.lonely:
			return -1
		case id == first:
			return 3
		}
		return s.draw(2)
	})
	ids := slices.DeleteFunc(s.honest(), func(id bft.ReplicaID) bool { return !s.present[id] })
	s.knower = ids[s.draw(len(ids))]
}

// turn makes the second part: whoever was cut off, and of the others as few as a quorum needs; those
// who lead the next views, and those whose certificates are looked at late.
func (s *shift) turn() {
	was := slices.Clone(s.present)
	s.form(bft.Quorum(s.n)-len(s.faulty), func(id bft.ReplicaID) int {
		switch {
		case !was[id]:
			return s.n + 4
		case s.secret && id == s.knower:
			return -1
		case id == s.leader(s.coming):
			return s.n + 3
		case id == s.leader(s.coming+1):
			return s.n + 2
		}
		return int(id)
	})
}

// form makes the accomplices and the count others that are worth most present.
func (s *shift) form(count int, worth func(bft.ReplicaID) int) {
	ids := s.honest()
	value := make([]int, s.n)
	for _, id := range ids {
		value[id] = worth(id)
	}
	slices.SortStableFunc(ids, func(a, b bft.ReplicaID) int { return value[b] - value[a] })
	clear(s.present)
	for _, id := range slices.Concat(s.faulty, ids[:min(count, len(ids))]) {
		s.present[id] = true
	}
}

// conspirator is an adversary whose accomplices shift a partition; the first of them does so for all.
type conspirator struct{ base }

func newConspirator(env Env) conspirator {
	env.Plan.shifting(env.Timeout)
	return conspirator{newBase(env)}
}

// Schedule implements Adversary.
func (a *conspirator) Schedule(p Passing) Fate {
	if a.Plan.faulty[0] == a.Self && a.Plan.shift.cuts(p) {
		a.lie("message lost between the parts of a network")
		return Fate{Lose: true}
	}
	return Fate{}
}
