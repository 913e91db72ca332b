package sim

import (
	"github.com/baluarte-bft/baluarte/bft"
)

// passiveCounter is the load of a counter that is replicated passively. It stands in the place of the other one.
const passiveCounter = "counter-passive"

// passive tells whether a service of the run is replicated passively.
func (o *Options) passive() bool {
	return o.Load.Service == passiveCounter || o.Service != nil && o.Service.Passive
}

// passive has updates computed, or judged, in their turn among what is executed. That takes no more than executing a batch, but what came of it
// is told later, when the view or the state may have moved on.
func (x *executor) passive(r *bft.Ready) {
	report := func(done bft.Done) {
		x.h.after(between(x.h.r, 0, bft.Time(x.h.w.opts.Machine.Execute)), func() { x.h.advance(done) })
	}
	if b := r.Update; b != nil {
		x.batch(func() {
			u := bft.Updated{Seq: b.Seq}
			if x.machine.Executed() == b.Seq-1 {
				c := x.machine.Plan(b).Compute()
				u.Bundles, u.Updates = c.Bundles, c.Updates
				if x.h.liar != nil {
					if other := x.h.liar.Updates(u.Updates); x.h.lie() {
						u.Updates = other
					}
				}
			}
			report(bft.Done{Updated: &u})
		})
	}
	if b := r.Judge; b != nil {
		x.batch(func() {
			ok := x.machine.Executed() != b.Seq-1 || x.machine.Plan(b).Check(b.Updates) == nil
			report(bft.Done{Judged: &bft.Judged{Seq: b.Seq, View: b.View, Digest: b.Digest, OK: ok}})
		})
	}
}

// DrawPassive chooses the options of a seed as Draw does, but the clients call a counter that is replicated passively,
// unless what the adversary does needs another service.
func DrawPassive(seed uint64) Options {
	o := Draw(seed)
	o.replicatePassively()
	o.demand()
	return o
}

// replicatePassively has the clients call a counter that is replicated passively. Its operations are executed by the primary
// alone, so that nobody could count how often they are: all are called exactly once.
func (o *Options) replicatePassively() {
	o.Load.Service, o.Load.Semantics, o.Protocol.Pipeline = passiveCounter, Semantics{}, 1
}
