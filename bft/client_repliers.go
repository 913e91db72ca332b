package bft

import (
	"math/bits"
	"slices"
)

// A client believes what f+1 replicas say alike, so f+1 answers will do while nobody fails: it asks f+1 replicas to
// answer, which have proven quick, and the others execute in silence. Whoever does not answer in time, or not alike, costs
// one more round: then all are asked (rule 28).

const (
	// allAskedEach: one in so many bundles asks all, which shows who answers first and how long that takes.
	allAskedEach = 64
	// lateInARow is how many bundles in a row one may be the last to answer, each time late, and still be chosen.
	lateInARow = 8
	// forgivenEach is how many bundles it takes for one failure to be forgotten.
	forgivenEach = 1024
	// replyPatience is the multiple of that time after which all are asked, and replyFloor is added to it.
	replyPatience = 4
	replyFloor    = 10 * Millisecond
	// maxShunned bounds the doubling of how many rounds of allAskedEach a replica is not asked after it failed.
	maxShunned = 10
)

// repliers is who is asked to answer.
type repliers struct {
	set  uint64 // bit i: replica i; 0: all
	sent uint64 // bundles so far
	// took is how long bundles take whose answer all were asked for, smoothed; 0: not known.
	took    Time
	shunned []shunned // by replica
	// last was the last of those asked to answer, late times in a row.
	last ReplicaID
	late int
}

// shunned is until how many bundles were sent a replica is not chosen again, and how often it failed.
type shunned struct {
	until    uint64
	failures uint
}

// unfit are those that are shunned now.
func (p *repliers) unfit() (who uint64) {
	for i := range p.shunned {
		if p.sent < p.shunned[i].until {
			who |= 1 << i
		}
	}
	return who
}

// all is the set of all replicas.
func (c *Client) all() uint64 { return ^uint64(0) >> (64 - c.cfg.N) }

// choose decides who shall answer a bundle that leaves now.
func (c *Client) choose(b *sentBundle) {
	p := &c.asked
	if p.sent++; p.sent%forgivenEach == 0 {
		for i := range p.shunned {
			if x := &p.shunned[i]; x.failures > 0 && p.sent >= x.until {
				x.failures--
			}
		}
	}
	c.elect()
	if !c.isUp(c.replier) {
		c.rotate(c.replier)
	}
	if c.cfg.Lowest && p.set != 0 {
		p.set = c.withReplier(p.set)
	}
	if p.set&c.up&c.fit != p.set || p.set>>c.replier&1 == 0 {
		p.set = 0
	}
	b.replier, b.asked = c.replier, p.set
	if p.set == 0 || p.sent%allAskedEach == 0 || traced(b.calls) {
		b.asked = c.all()
	}
	b.sentAt, b.retryAt = c.now, c.now+b.backoff
	if b.asked != c.all() {
		b.retryAt = min(b.retryAt, c.now+replyPatience*p.took+replyFloor)
	}
	c.wakeAt(b.retryAt)
}

// traced tells whether there is a call of which every replica is to tell its times.
func traced(calls []sentCall) bool {
	return slices.ContainsFunc(calls, func(call sentCall) bool { return call.traced })
}

// widen asks those too who were to be silent, and all for the results in full.
func (c *Client) widen(b *sentBundle) {
	cast := uint64(0)
	for i := range b.votes {
		if b.votes[i].cast {
			cast |= 1 << i
		}
	}
	if cast != 0 { // else it is the cluster that is slow
		late := b.asked &^ cast
		if lost := late &^ c.up; lost != 0 { // that is why, and the others had no time
			late = lost
		}
		c.shun(late)
		b.blamed = true
	}
	if b.matched { // f+1 agree, and the replier owes the results in full (rule 28)
		c.shun(1 << b.replier)
		c.rotate(b.replier)
	}
	c.asked.set = 0
	silent := c.all() &^ b.asked
	b.asked, b.replier = c.all(), Everyone
	b.retryAt = max(b.sentAt+b.backoff, c.now+replyFloor)
	c.wakeAt(b.retryAt)
	frame := RequestFrame(&b.Bundle, Everyone)
	for i := range ReplicaID(c.cfg.N) {
		if silent>>i&1 != 0 {
			c.send(i, frame, b.calls)
		}
	}
}

// disagree tells whether all who were asked have answered, so that nothing is to be waited for where f+1 are not alike, and
// others are left to ask.
func (c *Client) disagree(b *sentBundle) bool {
	for i := range b.votes {
		if b.asked>>i&1 != 0 && !b.votes[i].cast {
			return false
		}
	}
	return b.asked != c.all()
}

// shun has replicas not chosen for a while that doubles each time.
func (c *Client) shun(who uint64) {
	for i := range c.asked.shunned {
		if x := &c.asked.shunned[i]; who>>i&1 != 0 && c.asked.sent >= x.until {
			x.until = c.asked.sent + allAskedEach<<x.failures
			x.failures = min(x.failures+1, maxShunned)
		}
	}
	if c.cfg.Lowest && who>>c.replier&1 != 0 {
		c.rotate(c.replier)
	}
}

// punctual has one shunned that is always the last of those asked, and answers just before its time is over.
func (c *Client) punctual(from ReplicaID, took Time) {
	p := &c.asked
	switch {
	case took <= 2*p.took+replyFloor/4:
		p.late = 0
		return
	case from != p.last:
		p.last, p.late = from, 0
	}
	if p.late++; p.late >= lateInARow {
		p.late, p.set = 0, 0
		c.shun(1 << from)
	}
}

// learn takes from a bundle that is accepted, as from answered last, who answers well.
func (c *Client) learn(b *sentBundle, from ReplicaID, key voteKey) {
	p := &c.asked
	wrong := uint64(0)
	for i := range b.votes {
		if v := &b.votes[i]; v.cast && v.key != key {
			wrong |= 1 << i
		}
	}
	c.shun(wrong)
	took := c.now - b.sentAt
	if b.retried {
		return
	}
	if b.asked != c.all() {
		c.punctual(from, took)
		return
	}
	switch {
	case b.blamed: // it is not what others take
	case took < p.took:
		p.took -= (p.took - took) / 2
	case p.took == 0:
		p.took = took
	default:
		p.took += (took - p.took) / 8
	}
	if p.set = c.best(b.quick, b.votes); p.set == 0 {
		return
	}
	switch v := &b.votes[c.replier]; {
	case p.set>>c.replier&1 != 0:
	case p.unfit()>>c.replier&1 == 0 && (c.cfg.Lowest || v.cast && v.key == key): // it was not the first, but did its part, or has yet to show it
		p.set = c.withReplier(p.set)
	default: // clients differ, which spreads the load of full results
		rest := p.set
		for skip := int(c.cfg.Key[0]) % c.need; skip > 0; skip-- {
			rest &= rest - 1
		}
		c.replier = ReplicaID(bits.TrailingZeros64(rest))
	}
}

// best is f+1 replicas that are not shunned: those in quick, or in place of others of them such as have not answered
// yet; 0 if there are not so many.
func (c *Client) best(quick uint64, votes []resultVote) uint64 {
	shunned := c.asked.unfit()
	set := quick &^ shunned
	for i := range votes {
		if bit := uint64(1) << i; bits.OnesCount64(set) < c.need && !votes[i].cast && bit&c.up&c.fit&^shunned != 0 {
			set |= bit
		}
	}
	if bits.OnesCount64(set) < c.need {
		return 0
	}
	return set
}

// alike is the set of those who said the same.
func alike(votes []resultVote, key voteKey) (who uint64) {
	for i := range votes {
		if votes[i].cast && votes[i].key == key {
			who |= 1 << i
		}
	}
	return who
}
