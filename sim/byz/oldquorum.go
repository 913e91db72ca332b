package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// An old view-change quorum replayed.
//
// An accomplice is the primary of the new view. The view-changes that it was sent tell of what was executed; those
// of an earlier view change, genuine every one, do not yet. So it bases its new-view on these, which
// it hands out to whoever has no copy any more, and its proposals follow from them exactly. At the numbers that are left over it
// proposes the null request, and the accomplices vote for that. They shift a partition,
// so that only one honest replica has executed what is to be forgotten.
//
// Aims at: rule 7: a new-view is made of a quorum of view-changes for this view, and no other.
type oldQuorum struct {
	conspirator
	// named are the view-changes that the last own new-view names.
	named []bft.Digest
}

func newOldQuorum(env Env) Adversary {
	a := &oldQuorum{conspirator: newConspirator(env)}
	a.Plan.shift.secret = true
	return a
}

// Send implements Adversary.
func (a *oldQuorum) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) != bft.TypeNewView || !a.own(e) {
		return []bft.Outbound{out}
	}
	v, err := wire.NewView(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	view, ok := a.Plan.watch.newest(min(v.View, a.Plan.shift.worked+1))
	if !ok {
		return []bft.Outbound{out}
	}
	old := a.Plan.watch.newViews[view]
	n := &bftpb.NewView{View: v.View, ViewChanges: old.ViewChanges}
	top := uint64(0)
	for _, p := range old.PrePrepares {
		h, err := wire.Header(p)
		if err != nil {
			return []bft.Outbound{out}
		}
		h.View, top = v.View, max(top, h.Seq)
		n.PrePrepares = append(n.PrePrepares, a.Seal(bft.TypePrePrepare, wire.Marshal(h)))
	}
	a.named = nil
	for _, r := range old.ViewChanges {
		a.named = append(a.named, wire.DigestOf(r.Digest))
	}
	a.lie("new-view from view-changes of an earlier view")
	a.Plan.shift.nulls = slot{v.View, max(top, a.Plan.watch.stableSeq) + 1}
	return []bft.Outbound{{To: out.To, Frame: a.seal(bft.TypeNewView, wire.Marshal(n))}}
}

// Inject implements Adversary: null requests where something was executed, and votes for them.
func (a *oldQuorum) Inject(bft.Time) []bft.Outbound {
	from, w := a.Plan.shift.nulls, a.Plan.watch
	if from.view == 0 || from.view < w.entered {
		return nil
	}
	var sent []bft.Outbound
	if d := a.old(); a.primary(from.view) == a.Self && len(d.ViewChanges) > 0 {
		sent = append(sent, bft.Outbound{To: bft.Everyone, Frame: wire.Frame(bft.TypeData, d)})
	}
	send := func(frame []byte) { sent = append(sent, bft.Outbound{To: bft.Everyone, Frame: frame}) }
	for seq := from.seq; seq < from.seq+uint64(a.Window) && seq <= a.Plan.shift.top(); seq++ {
		at, digest := slot{from.view, seq}, bft.Null.Digest()
		a.lie("null request where something was executed")
		if a.primary(from.view) == a.Self {
			send(wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: nullProposal(at, &a.Member), Body: &bftpb.Body{}}))
			send(a.votesFrame(at, digest, bft.PhaseCommit))
		} else {
			send(a.votesFrame(at, digest, bft.PhasePrepare, bft.PhaseCommit))
		}
	}
	return sent
}

// old are the view-changes that the last own new-view names, for those who have them no more.
func (a *oldQuorum) old() *bftpb.Data {
	d := &bftpb.Data{}
	for _, digest := range a.named {
		if e := a.Plan.watch.viewChanges[digest]; e != nil {
			d.ViewChanges = append(d.ViewChanges, e)
		}
	}
	return d
}
