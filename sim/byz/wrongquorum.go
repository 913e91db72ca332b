package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The wrong quorum rule.
//
// A replica was configured for a smaller cluster. What others call one vote it calls a quorum: with its own
// prepare it takes a proposal for prepared, and commits to it at once. As long as there are few of its kind
// that only makes it fast; a commit certificate with enough of them has nobody in it who would remember.
//
// Aims at: a quorum that has f+1 in common with any other (rule 1), the prepared certificate that is
// verified and kept before the commit leaves, by all who keep to it (rule 9).
type wrongQuorum struct{ base }

// Send implements Adversary.
func (a *wrongQuorum) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	switch wire.TypeOf(out.Frame) {
	case bft.TypeVotes:
		return a.votes(out, e)
	case bft.TypePrePrepare:
		if h, err := wire.Header(e); err == nil {
			a.lie("commit without a quorum of prepares")
			s := slot{h.View, h.Seq}
			return []bft.Outbound{out, {To: out.To, Frame: a.votesFrame(s, wire.Proposal(h).Digest(), bft.PhaseCommit)}}
		}
	}
	return []bft.Outbound{out}
}

// votes adds to each prepare the commit to the same.
func (a *wrongQuorum) votes(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	v, err := wire.Votes(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	early := bftpb.Votes{View: v.View}
	for _, x := range v.Votes {
		if x.Phase == uint32(bft.PhasePrepare) {
			early.Votes = append(early.Votes, &bftpb.Vote{Phase: uint32(bft.PhaseCommit), Seq: x.Seq, Digest: x.Digest})
		}
	}
	if len(early.Votes) == 0 {
		return []bft.Outbound{out}
	}
	a.lie("commit without a quorum of prepares")
	return []bft.Outbound{out, {To: out.To, Frame: a.seal(bft.TypeVotes, wire.Marshal(&early))}}
}
