package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The commit for an unprepared digest.
//
// A commit says: I hold a certificate that this is prepared. The accomplices say so at once, for every
// proposal that they hear of, before anybody can have prepared it, and to some of their peers for a digest that
// was never proposed. They shift a partition meanwhile, so that what is executed on the strength of such
// commits, without a quorum behind it, is unknown to those who work next.
//
// Aims at: OSDI'99 §4.2: a commit of one's own needs Q−1 prepares, and execution Q commits, so that f liars leave
// f+1 honest ones who are prepared; rule 2: votes count for the digest that they name.
type earlyCommit struct {
	conspirator
	// todo are the proposals that are to be committed to.
	todo []ballot
}

func newEarlyCommit(env Env) Adversary { return &earlyCommit{conspirator: newConspirator(env)} }

// Receive implements Adversary.
func (a *earlyCommit) Receive(_ bft.ReplicaID, frame []byte) bool {
	if wire.TypeOf(frame) == bft.TypePrePrepare {
		a.note(wire.Envelope(frame))
	}
	return true
}

// note puts a proposal on the list.
func (a *earlyCommit) note(e *bftpb.Envelope) {
	if h, err := wire.Header(e); err == nil {
		a.todo = append(a.todo, ballot{slot{h.View, h.Seq}, bft.PhaseCommit, wire.Proposal(h).Digest()})
	}
}

// Send implements Adversary.
func (a *earlyCommit) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	switch wire.TypeOf(out.Frame) {
	case bft.TypePrePrepare:
		a.note(e)
		return append([]bft.Outbound{out}, a.commit()...)
	case bft.TypeVotes:
		return append(a.commit(), out)
	}
	return []bft.Outbound{out}
}

// Inject implements Adversary.
func (a *earlyCommit) Inject(bft.Time) []bft.Outbound { return a.commit() }

// commit commits to what is on the list: to some for what was proposed, to others for what was not.
func (a *earlyCommit) commit() []bft.Outbound {
	var sent []bft.Outbound
	for _, x := range a.todo {
		side := a.Plan.side(x.view, false)
		for _, to := range a.receivers(bft.Outbound{To: bft.Everyone}) {
			digest := x.digest
			if side[to] && a.chance(50) {
				digest = bft.Null.Digest()
				a.lie("commit for what was not proposed")
			} else {
				a.lie("commit for what is not prepared")
			}
			sent = append(sent, bft.Outbound{To: to, Frame: a.votesFrame(x.slot, digest, bft.PhaseCommit)})
		}
	}
	a.todo = nil
	return sent
}
