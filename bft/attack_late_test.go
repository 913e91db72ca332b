package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// 20. As the old opening, with a close that came too late: it has no operations that marks could tell of.
func TestAttackLateCloseDrivesViewChanges(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	b := c.seal(c.client, &bft.Bundle{Client: c.client.Public(), Session: c.session, First: c.next, Close: true, Expires: 1})
	c.give(b)
	c.pass(100 * bft.Millisecond)
	c.commit(20)
	for _, i := range []int{3, 2} {
		c.hosts[i].crash()
		c.hosts[i].start()
		c.pass(500 * bft.Millisecond)
	}
	c.give(b)
	c.pass(5 * bft.Second)
	for _, h := range c.hosts {
		if i := h.info(); i.View != 0 || i.Changing {
			t.Fatalf("a repeated, answered close drives replicas out of an honest primary's view:%s", c.describe())
		}
	}
}

// 21. The same by state transfer.
func TestAttackTransferPastALateClose(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	b := c.seal(c.client, &bft.Bundle{Client: c.client.Public(), Session: c.session, First: c.next, Close: true, Expires: 1})
	c.give(b)
	c.pass(100 * bft.Millisecond)
	c.commit(20)
	c.dropWhen = nil
	c.pass(5 * bft.Second)
	c.commit(30)
	c.passUntil(20*bft.Second, "converges", c.converged)
}

// 22. The log is full because snapshots take long: nobody may propose, and the primary is blamed.
func TestAttackFullWindowAccusesThePrimary(t *testing.T) {
	c := started(t, 4, nil)
	for _, h := range c.hosts {
		h.lateSnapshots = true
	}
	c.commit(16)
	first := c.invoke(nil, counter.Add(1))
	c.pass(5 * bft.Second)
	view := c.hosts[0].info().View
	d := c.describe()
	for _, h := range c.hosts {
		for _, s := range h.heldSnapshots {
			h.done = append(h.done, bft.Done{Snapshots: []bft.Snapshot{s}})
		}
		h.heldSnapshots, h.lateSnapshots = nil, false
	}
	c.mustAnswer(first, 20*bft.Second)
	if view > 0 {
		t.Fatalf("5 s of slow snapshots: %d view changes, though no primary could propose:%s", view, d)
	}
}

// 23. A member passes on, again and again, an opening that was executed: it is ordered anew once in a while,
// not each time.
func TestAttackExecutedOpeningOrderedForEver(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	b := c.bundleOf(c.ring.NewKey([32]byte{9}), 0, 1, counter.Add(1))
	c.give(b)
	c.pass(100 * bft.Millisecond)
	before := c.hosts[0].info().Executed
	for range 200 {
		_ = c.hand(letter{from: 3, to: 0, frame: bft.RequestFrame(b, 0)}) // refused mostly
		c.pass(c.cfg.RequestTimeout / 400)
	}
	if more := c.hosts[0].info().Executed - before; more > 2 {
		t.Errorf("%d numbers were spent on an opening that is executed", more)
	}
}

// 24. Who is asked for the state first does not give it; meanwhile the next checkpoint becomes stable, and the next.
func TestAttackStateWithheldUnderLoad(t *testing.T) {
	c := started(t, 4, nil)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	c.commit(30)
	liar := bft.ReplicaID(0) // the first that replica 3 asks
	c.dropWhen = func(l letter) bool { return l.to == 3 && (l.from == liar || l.kind() == bft.TypeVotes) }
	for range 20 {
		c.commit(8)
		c.pass(60 * bft.Millisecond)
	}
	if c.hosts[3].info().Executed == 0 {
		t.Fatalf("nobody else was asked for the state:%s", c.describe())
	}
}

// 25. A batch takes a client's later, smaller bundles before its earlier, larger one.
func TestAttackBatchKeepsTheOrderOfAClient(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.MaxBatchOps, cfg.MaxBundleOps, cfg.Pipeline = 16, 16, 1 })
	c.commit(1)
	c.hosts[0].slowChecker = true
	ops := func(k int) (out [][]byte) {
		for range k {
			out = append(out, counter.Add(1))
		}
		return out
	}
	first := c.bundle(ops(2)...)
	big := c.bundle(ops(12)...)
	small := c.bundle(ops(1)...)
	for i := range 3 { // so that a share is 4 operations
		c.give(c.bundleOf(c.ring.NewKey([32]byte{60, byte(i)}), 0, 1, counter.Add(1)))
	}
	for _, b := range []*bft.Bundle{first, big, small} {
		c.give(b)
	}
	c.settle()
	c.hosts[0].slowChecker = false
	for len(c.hosts[0].unchecked) > 0 {
		c.hosts[0].check(0)
	}
	c.pass(bft.Second)
	var order []string
	for _, b := range c.hosts[1].batches {
		for _, x := range b.Bundles {
			switch x.Digest {
			case first.Digest:
				order = append(order, "first")
			case big.Digest:
				order = append(order, "big")
			case small.Digest:
				order = append(order, "small")
			}
		}
	}
	if len(order) != 3 || order[1] != "big" {
		t.Errorf("executed in the order %v", order)
	}
}
