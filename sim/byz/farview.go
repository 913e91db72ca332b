package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The claim of a far-future view.
//
// The accomplices claim to be in a view that is millions ahead, one that an accomplice leads: they send
// view-changes for it, votes, status messages and pre-prepares in it. When views change anyway, because the
// primary is an accomplice and keeps silent, whoever takes the highest view that it is told for the next one
// follows them there, where the primary is an accomplice again, and silent; and so on from far view to far view.
//
// Aims at: rule 10: of f+1 higher views the smallest is joined; bounds on what is kept of views to come.
type farView struct {
	listener
	claimed uint64
}

func newFarView(env Env) Adversary { return &farView{listener: newListener(env)} }

// Send implements Adversary: as primary it is silent.
func (a *farView) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	switch t := wire.TypeOf(out.Frame); {
	case (t == bft.TypePrePrepare || t == bft.TypeNewView) && a.own(e):
		a.lie("withheld " + t.String())
		return nil
	case t == bft.TypeStatus && a.claimed > 0 && a.chance(50):
		var s bftpb.Status
		if wire.Read(t, out.Frame, &s) == nil && !s.Starting && !s.AnswersStart {
			a.lie("status in a far-future view")
			s.View = a.claimed
			return []bft.Outbound{{To: out.To, Frame: wire.Frame(t, &s)}}
		}
	}
	return []bft.Outbound{out}
}

// Inject implements Adversary.
func (a *farView) Inject(bft.Time) []bft.Outbound {
	if !a.chance(40) {
		return nil
	}
	honest := uint64(0)
	for _, id := range a.Plan.honest() {
		honest = max(honest, a.Plan.watch.views[id])
	}
	if a.claimed <= honest {
		// The next of its views that lies far enough beyond.
		n := uint64(a.N)
		a.claimed = (honest/n+1<<22)*n + uint64(a.Plan.faulty[0])
	}
	seq := a.Plan.watch.stableSeq + 1
	at, digest := slot{a.claimed, seq}, bft.Null.Digest()
	switch a.Rand.IntN(4) {
	case 0:
		a.lie("votes in a far-future view")
		return []bft.Outbound{{To: bft.Everyone, Frame: a.votesFrame(at, digest, bft.PhasePrepare, bft.PhaseCommit)}}
	case 1:
		if a.primary(a.claimed) == a.Self {
			a.lie("pre-prepare in a far-future view")
			return []bft.Outbound{{To: bft.Everyone, Frame: wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: nullProposal(at, &a.Member), Body: &bftpb.Body{}})}}
		}
	}
	a.lie("view-change to a far-future view")
	return []bft.Outbound{{To: bft.Everyone, Frame: a.leave(a.claimed)}}
}
