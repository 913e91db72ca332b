package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The conspiracy.
//
// All that an adversary may own works together. The accomplices share one plan. Whoever of them is primary
// tells two stories, one to each half of the honest replicas, and the accomplices vote for both; the
// network, which is theirs until it is healed, keeps the halves apart, so that nobody compares. If the primary
// is honest, nobody hears it, and view after view is given up until the primary is one of theirs again. In
// the view changes that follow they deny what was prepared, or show what was prepared long ago. They answer
// clients wrongly, all alike. And the power fails while views change, so that the honest ones must remember
// from their disks what they promised, and to whom.
//
// Aims at: everything at once: quorums that intersect in an honest replica (rule 1), the highest view
// in O (rules 7 and 9), f+1 alike for a client (rule 27), promises that survive restarts (rules 16 and 17).
type conspiracy struct {
	base
	view uint64
	// since is when the view was first seen: the network holds a view up for a while only, or nothing would
	// be there to disagree on.
	since bft.Time
}

func newConspiracy(env Env) Adversary {
	return chain{&equivocate{newBase(env)}, newOmit(env), &wrongReply{newBase(env)}, &conspiracy{base: newBase(env)}}
}

// Schedule implements Adversary.
func (a *conspiracy) Schedule(p Passing) Fate {
	if v, ok := viewOf(p.Frame); ok && v > a.view && wire.TypeOf(p.Frame) != bft.TypeViewChange {
		a.view, a.since = v, p.Now
	}
	if a.Plan.accomplice(p.From) || a.Plan.accomplice(p.To) {
		return Fate{} // theirs get through
	}
	lead := a.primary(a.view)
	switch passed := p.Now - a.since; {
	case passed > 2*a.Timeout:
	case a.Plan.accomplice(lead):
		if sides := a.Plan.side(a.view, false); sides[p.From] != sides[p.To] && wire.TypeOf(p.Frame) != bft.TypeViewChange {
			a.lie("halves kept apart")
			return Fate{Lose: true}
		}
	case p.From == lead && passed > a.Timeout/2:
		a.lie("honest primary silenced")
		return Fate{Lose: true}
	}
	return Fate{}
}
