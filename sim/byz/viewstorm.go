package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// The storm of view changes.
//
// The accomplices want no view to last. Again and again each of them leaves for the view after the newest,
// with a view-change that is in order, and all of them for the same one. Whoever followed f of them would
// never stay anywhere long enough to execute a request.
//
// Aims at: rule 10: only f+1 view-changes for higher views, an honest one among them, make a replica
// join; rule 12; rule 11: the back-off that a storm drives up comes down again.
type viewStorm struct{ listener }

func newViewStorm(env Env) Adversary { return &viewStorm{newListener(env)} }

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
