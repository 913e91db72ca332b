package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Equivocation to one victim.
//
// As primary it tells all the truth but one honest replica, which is told another proposal for the same
// number, and then the true one too. The others need no vote of the victim, so the number commits, and
// nobody but the victim could notice. The victim hears a quorum of commits for a proposal that it does
// not hold, from replicas that it must believe, and holds one that nobody else does: if it counted
// commits without looking at what they name it would execute the lie, and if it voted for the second
// proposal after the first it would have signed both.
//
// Aims at: one pre-prepare for a view and number (OSDI'99 §4.2, rule 17), votes that name the whole
// proposal (rule 2), a replica that is behind and catches up by certificates (rules 20 and 21).
type victimised struct{ reign }

func newVictimised(env Env) Adversary { return &victimised{newReign(env)} }

// Send implements Adversary.
func (a *victimised) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypePrePrepare && a.own(e):
		return a.propose(out, e)
	case t == bft.TypeVotes && a.own(e):
		return a.vote(out, e)
	}
	return []bft.Outbound{out}
}

func (a *victimised) propose(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	h, err := wire.Header(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	if _, begun := a.Plan.others[slot{h.View, h.Seq}]; !begun && !a.chance(50) {
		return []bft.Outbound{out}
	}
	o, ok := a.instead(out.Frame)
	if !ok {
		return []bft.Outbound{out}
	}
	victim := a.Plan.side(h.View, true)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		if victim[to] {
			a.lie("pre-prepare for a victim")
			sent = append(sent, bft.Outbound{To: to, Frame: o.frame})
		}
		sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
	}
	return sent
}

// vote says to the victim that the primary commits to what the victim was told.
func (a *victimised) vote(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	v, err := wire.Votes(e)
	if err != nil {
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
	victim := a.Plan.side(v.View, true)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		if victim[to] {
			a.lie("votes for a victim")
			sent = append(sent, bft.Outbound{To: to, Frame: instead})
		} else {
			sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
		}
	}
	return sent
}
