package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The storm of view changes.
//
// The accomplices want no view to last. Again and again each of them leaves for the view after the newest,
// with a view-change that is in order, and all of them for the same one: as soon as they have said something in a view they
// leave it. Whoever followed f of them would
// never stay anywhere long enough to execute a request.
//
// Aims at: rule 10: only f+1 view-changes for higher views, an honest one among them, make a replica
// join; rule 12; rule 11: the back-off that a storm drives up comes down again.
type viewStorm struct {
	listener
	// left is the highest view for which this accomplice has left.
	left uint64
}

func newViewStorm(env Env) Adversary { return &viewStorm{listener: newListener(env)} }

// Send implements Adversary: whatever is said in a view, or on the way to it, the accomplice has left it by then.
func (a *viewStorm) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	view := uint64(0)
	if h, err := wire.Header(e); err == nil {
		view = h.View
	} else if v, err := wire.Votes(e); err == nil {
		view = v.View
	} else if v, err := wire.NewView(e); err == nil {
		view = v.View
	} else if v, err := wire.ViewChange(e); err == nil {
		view = v.View
	} else {
		return []bft.Outbound{out}
	}
	if view < a.left {
		return []bft.Outbound{out}
	}
	a.left = view + 1
	a.lie("view-change out of turn")
	return []bft.Outbound{out, {To: bft.Everyone, Frame: a.leave(view + 1)}}
}

// Inject implements Adversary.
func (a *viewStorm) Inject(bft.Time) []bft.Outbound {
	if !a.chance(60) {
		return nil
	}
	view := a.Plan.watch.entered
	for _, v := range a.Plan.watch.views {
		if v <= a.Plan.watch.entered+2 { // claims of accomplices would drive themselves up
			view = max(view, v)
		}
	}
	a.lie("view-change out of turn")
	return []bft.Outbound{{To: bft.Everyone, Frame: a.leave(view + 1)}}
}

// leave makes a view-change that is in order, and tells of nothing but the stable checkpoint.
func (b *base) leave(view uint64) []byte {
	w := b.Plan.watch
	t := testimony{view: view, stable: w.stableSeq, checkpoint: slices.Clone(w.stable)}
	return b.seal(bft.TypeViewChange, t.payload())
}
