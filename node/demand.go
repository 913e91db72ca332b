package node

import (
	"math/bits"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
)

const (
	// demandTallies and demandHeld bound what is counted and what is held back. Beyond them votes are verified as they come.
	demandTallies = 1 << 12
	demandHeld    = 1 << 10
)

// demand holds back votes that a quorum does not need: verifying them is a third of what a lone operation costs. While
// as many others vote for a proposal as its quorum takes, one more waits; it is dropped once its numbers are
// committed, and verified with the next tick if they are not, or at once if one of the others turns out to be forged. So
// nothing hangs on it but time: what is held back for long is needed after all.
//
// Invariants: tallies counts, for each, the members whose vote is being verified or has been; old holds
// what was held back before the last tick, held what came since.
type demand struct {
	self   bft.ReplicaID
	n      int
	quorum int

	mu        sync.Mutex
	tallies   map[tallied]uint64 // bit i: member i
	said      map[topic]uint64   // bit i: member i has voted, whatever for
	held, old []heldBack
}

// tallied is what votes count for.
type tallied struct {
	view   bft.View
	phase  bft.Phase
	seq    bft.Seq
	digest bft.Digest
}

// topic is what a member has one vote on that the core takes, the first one; only that counts.
type topic struct {
	phase bft.Phase
	seq   bft.Seq
}

type heldBack struct {
	from int
	size int
	u    *bft.Unverified
}

func newDemand(core *bft.Config) *demand {
	return &demand{self: core.Self, n: core.N(), quorum: bft.Quorum(core.N()), tallies: make(map[tallied]uint64), said: make(map[topic]uint64)}
}

// needs tells whether votes of a member are to be verified now, and holds them back if not.
func (d *demand) needs(from, size int, u *bft.Unverified, view bft.View) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	need := len(d.held)+len(d.old) >= demandHeld || len(d.tallies) >= demandTallies
	bit := uint64(1) << from
	u.Votes(func(v bft.View, phase bft.Phase, seq bft.Seq, digest bft.Digest) {
		who := d.tallies[tallied{v, phase, seq, digest}]
		// Its own vote, a backup's prepare and anybody's commit, is one of the quorum's; the primary's pre-prepare is another.
		others := d.quorum - 1
		if phase == bft.PhasePrepare && bft.Primary(v, d.n) != d.self {
			others--
		}
		need = need || v != view || who&bit != 0 || bits.OnesCount64(who) < others
	})
	if !need {
		d.held = append(d.held, heldBack{from, size, u})
		return false
	}
	if len(d.tallies) < demandTallies {
		u.Votes(func(v bft.View, phase bft.Phase, seq bft.Seq, digest bft.Digest) {
			t, about := tallied{v, phase, seq, digest}, topic{phase, seq}
			switch {
			case phase == bft.PhasePrepare && bft.Primary(v, d.n) == bft.ReplicaID(from): // it never counts (rule 1)
			case d.said[about]&bit == 0:
				d.said[about] |= bit
				d.tallies[t] |= bit
			case d.tallies[t]&bit == 0: // it says two things: the core may have taken either
				for other := range d.tallies {
					if other.phase == phase && other.seq == seq {
						d.tallies[other] &^= bit
					}
				}
			}
		})
	}
	return true
}

// forget no longer counts on a member: a vote of it does not hold, or was dropped.
func (d *demand) forget(from int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for t := range d.tallies {
		d.tallies[t] &^= 1 << from
	}
}

// release returns all that is held back: a vote that was counted on does not hold.
func (d *demand) release() []heldBack {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := append(d.old, d.held...)
	d.old, d.held = nil, nil
	return out
}

// tick forgets what is committed, and returns what has been held back since before the last tick.
func (d *demand) tick(committed bft.Seq) []heldBack {
	d.mu.Lock()
	defer d.mu.Unlock()
	for t := range d.tallies {
		if t.seq <= committed {
			delete(d.tallies, t)
		}
	}
	for t := range d.said {
		if t.seq <= committed {
			delete(d.said, t)
		}
	}
	if len(d.tallies) >= demandTallies {
		clear(d.said)
		clear(d.tallies) // what is counted anew is verified once more than needed
	}
	out := d.old
	d.old, d.held = d.held, nil
	return out
}

// verifyVotes has votes verified, unless their numbers are committed meanwhile.
func (n *Node) verifyVotes(held []heldBack) {
	for _, h := range held {
		if n.lateVotes(h.u) {
			n.peers[h.from].late.Add(1)
			continue
		}
		n.verify(h.from, h.size, h.u, false)
	}
}

// lateVotes: this replica has the commit certificates of all numbers that they are about, so that they add nothing.
func (n *Node) lateVotes(u *bft.Unverified) bool {
	_, highest, ok := u.About()
	return ok && u.Type() == bft.TypeVotes && uint64(highest) <= n.committed.Load()
}
