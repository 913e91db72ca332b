package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The equivocating primary.
//
// As primary it proposes two things for one number: to one half of the honest replicas what its
// replica proposes, to the other half the same with another time, in another order, or nothing
// at all. It adds its own prepare to each (which must not count, rule 1) and commits to both; its
// accomplices vote for whatever their listener was told. If any two quorums could do without an
// honest replica in common, each half would execute its own proposal.
//
// Aims at: the size of the quorum, rule 1 (the primary's prepare), votes that name the whole
// proposal and not its body alone, the view change that has to clear up afterwards.
type equivocate struct{ base }

// Send implements Adversary.
func (a *equivocate) Send(out bft.Outbound) []bft.Outbound {
	switch wire.TypeOf(out.Frame) {
	case bft.TypePrePrepare:
		return a.propose(out)
	case bft.TypeVotes:
		return a.vote(out)
	}
	return []bft.Outbound{out}
}

func (a *equivocate) propose(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	h, err := wire.Header(e)
	if err != nil || !a.own(e) {
		return []bft.Outbound{out}
	}
	key := slot{h.View, h.Seq}
	if _, begun := a.Plan.others[key]; !begun && !a.chance(30) {
		return []bft.Outbound{out}
	}
	o, ok := a.instead(out.Frame)
	if !ok {
		return []bft.Outbound{out}
	}
	side := a.Plan.side(h.View, false)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		frame, digest := out.Frame, o.digest
		if side[to] {
			frame, digest = o.frame, o.instead
			a.lie("conflicting pre-prepare")
		}
		a.lie("prepare of the primary")
		votes := a.votesFrame(key, digest, bft.PhasePrepare, bft.PhaseCommit)
		sent = append(sent, bft.Outbound{To: to, Frame: frame}, bft.Outbound{To: to, Frame: votes})
	}
	return sent
}

// vote says to each side what it wants to hear.
func (a *equivocate) vote(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	v, err := wire.Votes(e)
	if err != nil || !a.own(e) {
		return []bft.Outbound{out}
	}
	changed := false
	for _, x := range v.Votes {
		if o, ok := a.Plan.others[slot{v.View, x.Seq}]; ok && wire.DigestOf(x.Digest) == o.digest {
			x.Digest = o.instead[:]
			changed = true
		}
	}
	if !changed {
		return []bft.Outbound{out}
	}
	instead := a.seal(bft.TypeVotes, wire.Marshal(v))
	side := a.Plan.side(v.View, false)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		frame := out.Frame
		if side[to] {
			frame = instead
			a.lie("conflicting votes")
		}
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}
