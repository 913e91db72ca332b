package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// A new-view of too few view-changes.
//
// A quorum of view-changes has an honest replica in common with every quorum that committed something:
// that is why nothing committed is lost. This new primary does with fewer. It leaves one out, lets
// another stand twice for it, or names one of a replica that does not exist, and computes O from those
// that remain, correctly, so that whoever compares O finds nothing wrong. It sends its new-view to all
// but one, whom the others will help to it.
//
// Aims at: rule 7: a quorum of view-changes, exactly; rule 2: their signers are members and distinct.
type fewViewChanges struct{ newViews }

func newFewViewChanges(env Env) Adversary { return &fewViewChanges{newNewViews(env)} }

// Send implements Adversary.
func (a *fewViewChanges) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypeViewChange && a.own(e):
		a.learn(e)
	case t == bft.TypeNewView && a.own(e):
		return a.newView(out, e)
	}
	return []bft.Outbound{out}
}

func (a *fewViewChanges) newView(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	v, err := wire.NewView(e)
	if err != nil || len(v.ViewChanges) < 2 {
		return []bft.Outbound{out}
	}
	frame := a.inPlace(out.Frame, [...]string{"new-view of too few", "new-view of one view-change twice", "new-view with a stranger's view-change"}[v.View%3], func() []byte {
		spare := a.least(v.ViewChanges)
		rest := append(append([]*bftpb.ViewChangeRef{}, v.ViewChanges[:spare]...), v.ViewChanges[spare+1:]...)
		o, ok := a.determine(rest)
		if !ok {
			return nil
		}
		a.fill(v, o)
		switch v.View % 3 {
		case 1:
			rest = append(rest, rest[0])
		case 2:
			rest = append(rest, &bftpb.ViewChangeRef{Signer: uint32(a.N), Digest: rest[0].Digest})
		}
		v.ViewChanges = rest
		return a.seal(bft.TypeNewView, wire.Marshal(v))
	})
	victim := a.Plan.side(v.View, true)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		if victim[to] {
			a.lie("withheld new-view")
			continue
		}
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}

// least finds the view-change without which O is shortest.
func (a *fewViewChanges) least(refs []*bftpb.ViewChangeRef) int {
	best, shortest := 0, -1
	for i := range refs {
		rest := append(append([]*bftpb.ViewChangeRef{}, refs[:i]...), refs[i+1:]...)
		if o, ok := a.determine(rest); ok && (shortest < 0 || len(o.props) < shortest) {
			best, shortest = i, len(o.props)
		}
	}
	return best
}
