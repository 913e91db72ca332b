package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// A prepare added to the own pre-prepare.
//
// A primary's pre-prepare is its vote, so a number is prepared by that and the prepares of Q−1 backups.
// This primary sends a prepare as well. If it counted among the Q−1, a certificate would hold the word
// of one replica twice, and two quorums of different proposals would need no honest replica in common.
// After a number of proposals it goes quiet, so that the others show in their view-changes what they
// took for prepared.
//
// Aims at: rule 1: the primary's own prepare never counts.
type ownPrepare struct {
	reign
	// left are the proposals that are left until it goes quiet, by view.
	left map[uint64]int
}

func newOwnPrepare(env Env) Adversary {
	return &ownPrepare{reign: newReign(env), left: make(map[uint64]int)}
}

// Send implements Adversary.
func (a *ownPrepare) Send(out bft.Outbound) []bft.Outbound {
	a.note(wire.Envelope(out.Frame))
	p, ok := a.proposal(out.Frame)
	if !ok {
		return []bft.Outbound{out}
	}
	left, known := a.left[p.header.View]
	if !known {
		left = 3 + a.Rand.IntN(15)
	}
	a.left[p.header.View] = left - 1
	if left <= 0 {
		a.lie("withheld pre-prepare")
		return nil
	}
	a.lie("prepare of the primary")
	votes := a.votesFrame(p.slot(), wire.Proposal(p.header).Digest(), bft.PhasePrepare)
	return []bft.Outbound{{To: out.To, Frame: votes}, out}
}
