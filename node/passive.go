package node

import (
	"github.com/baluarte-bft/baluarte/bft"
)

// A service that is replicated passively computes and judges updates beside the executor, on a draft of its own: one that
// never comes back takes from this replica what it could propose, or vote for, and nothing else. The core has at
// most one of each under way.

// update has the updates of a batch computed that this primary wants to propose.
func (e *executor) update(b *bft.Batch) {
	n := e.n
	u := bft.Updated{Seq: b.Seq}
	report := func() { n.inbox.report(func(d *bft.Done) { d.Updated = &u }) }
	if n.machine.Executed() != b.Seq-1 {
		report() // no longer wanted
		return
	}
	plan := n.machine.Plan(b)
	n.beside("computing an update", func() {
		c := plan.Compute()
		if c.Failed != nil {
			log.Errorf("an operation in number %d could not be executed, and its client is told so: %v", b.Seq, c.Failed)
		}
		u.Bundles, u.Updates = c.Bundles, c.Updates
		report()
	})
}

// judge finds out whether the updates of a proposal are in order.
func (e *executor) judge(b *bft.Batch) {
	n := e.n
	j := bft.Judged{Seq: b.Seq, View: b.View, Digest: b.Digest, OK: true}
	report := func() { n.inbox.report(func(d *bft.Done) { d.Judged = &j }) }
	if n.machine.Executed() != b.Seq-1 {
		report() // it is committed
		return
	}
	plan := n.machine.Plan(b)
	n.beside("judging an update", func() {
		if err := plan.Check(b.Updates); err != nil {
			j.OK = false
			log.Warnf("%s, the primary of view %d, proposed for number %d: %v", n.opts.Names[bft.Primary(b.View, len(n.opts.Names))], b.View, b.Seq, err)
		}
		report()
	})
}

// beside runs do in a goroutine that nobody waits for, not even when the node closes.
func (n *Node) beside(what string, do func()) {
	go func() {
		defer n.storeFailed(what)
		defer func() {
			if n.ctx.Err() != nil {
				_ = recover() // what it read from may be closed by now
			}
		}()
		do()
	}()
}
