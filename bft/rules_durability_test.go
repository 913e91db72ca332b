package bft_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// TestRule16VotesLeaveOnlyBehindTheirRecords: step by step. A prepare waits for its record, for the body
// before it, and for its signature; and it does not count for its own replica before that.
func TestRule16VotesLeaveOnlyBehindTheirRecords(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	b := c.bundle(counter.Add(1))
	c.give(b, 1)
	h.turn()
	h.slowDisk, h.slowSigner = true, true
	p := proposal(c.now, b)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 1, b)}))
	left := func() bool { _, ok := h.voted(bft.PhasePrepare, 0, 1); return ok }
	if len(h.unsigned) != 1 || len(h.unsynced) != 2 {
		t.Fatalf("%d to sign, %d to record", len(h.unsigned), len(h.unsynced))
	}
	h.sign(0)
	h.turn()
	if left() {
		t.Fatal("it leaves signed, and not recorded")
	}
	h.sync(1)
	h.turn()
	if left() {
		t.Fatal("it leaves before its own record")
	}
	// Meanwhile another backup's prepare is there: with its own it would be prepared.
	c.tell(1, 0, prepare(1, p), 2)
	for _, r := range h.unsynced {
		if r.Key[0] == 'p' {
			t.Fatal("its own vote counts before it is durable")
		}
	}
	h.sync(1)
	h.turn()
	if !left() {
		t.Fatal("signed and recorded, it does not leave")
	}
	if len(h.unsynced) != 1 || h.unsynced[0].Key[0] != 'p' {
		t.Fatal("now that its own vote counts, it is not prepared")
	}
	if _, ok := h.voted(bft.PhaseCommit, 0, 1); ok {
		t.Fatal("the commit leaves before the certificate is durable")
	}
	// The other order: durable first, signed later.
	h.sync(1)
	h.turn()
	if _, ok := h.voted(bft.PhaseCommit, 0, 1); ok {
		t.Fatal("it leaves unsigned")
	}
	h.sign(0)
	h.turn()
	if _, ok := h.voted(bft.PhaseCommit, 0, 1); !ok {
		t.Fatal("the commit does not leave")
	}
}

// TestRule16AnyDelays: disks and signers that take any time and any order, crashes that lose what was not
// durable. The cluster's own watch fails on a message before its record, a contradiction, or two histories.
func TestRule16AnyDelays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{4, 5, 7}).Draw(rt, "n")
		c := started(t, n, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 2, 4 })
		for _, h := range c.hosts {
			h.slowDisk, h.slowSigner = rapid.Bool().Draw(rt, "slow disk"), rapid.Bool().Draw(rt, "slow signer")
		}
		for k := rapid.IntRange(20, 120).Draw(rt, "steps"); k > 0; k-- {
			h := c.hosts[rapid.IntRange(0, n-1).Draw(rt, "host")]
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				c.give(c.bundleOf(c.ring.NewKey([32]byte{byte(k), 9}), 0, 1, counter.Add(1)))
				c.turnAll()
			case 1:
				h.sync(rapid.IntRange(0, len(h.unsynced)).Draw(rt, "records"))
				h.turn()
			case 2:
				if len(h.unsigned) > 0 {
					h.sign(rapid.IntRange(0, len(h.unsigned)-1).Draw(rt, "signature"))
					h.turn()
				}
			case 3:
				c.pass(bft.Time(rapid.IntRange(1, 60).Draw(rt, "time")) * 10 * bft.Millisecond)
			case 4:
				if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 {
					h.start()
				}
			default:
				for j := rapid.IntRange(0, 30).Draw(rt, "letters"); j > 0 && len(c.queue) > 0; j-- {
					i := rapid.IntRange(0, min(len(c.queue)-1, 20)).Draw(rt, "letter")
					l := c.queue[i]
					c.queue = append(append([]letter(nil), c.queue[:i]...), c.queue[i+1:]...)
					c.deliver(l)
				}
			}
		}
		// And once all works again, all that was asked for happens.
		for _, h := range c.hosts {
			h.slowDisk, h.slowSigner = false, false
			h.sync(len(h.unsynced))
			for len(h.unsigned) > 0 {
				h.sign(0)
			}
			h.turn()
		}
		c.pass(8 * bft.Second)
		last := c.bundleOf(c.ring.NewKey([32]byte{255, 9}), 0, 1, counter.Add(1))
		c.give(last)
		c.passUntil(10*bft.Second, "a request is executed once all is well", func() bool {
			done := 0
			for _, h := range c.hosts {
				for _, b := range h.batches {
					for _, x := range b.Bundles {
						if x.Digest == last.Digest {
							done++
						}
					}
				}
				if h.info().Amnesiac != "" {
					t.Fatalf("an honest restart taken for amnesia: %s", c.describe())
				}
			}
			return done > n-1-bft.MaxFaulty(n)
		})
	})
}

// TestRule17NothingGoesBack: neither restarts nor everything ever sent, played again, move view or
// watermark back or get a second word out of anybody.
func TestRule17NothingGoesBack(t *testing.T) {
	c := started(t, 4, nil)
	var all []letter
	c.onDeliver = func(l letter) { all = append(all, l) }
	c.commit(12)
	c.hosts[0].crash()
	c.commit(12)
	c.hosts[0].start()
	c.passUntil(3*bft.Second, "all in view 1", c.converged)
	c.onDeliver = nil
	before := make([]bft.Info, 4)
	for i, h := range c.hosts {
		before[i] = h.info()
	}
	check := func(when string) {
		t.Helper()
		for i, h := range c.hosts {
			if x := h.info(); x.View < before[i].View || x.Stable < before[i].Stable || x.Executed < before[i].Executed && when == "replay" {
				t.Fatalf("after %s replica %d went from %+v to %+v", when, i, before[i], x)
			}
		}
	}
	for _, l := range all {
		_ = c.hand(l)
	}
	c.settle()
	check("replay")
	for _, h := range c.hosts {
		h.start()
	}
	check("a restart")
	for _, l := range all {
		_ = c.hand(l)
	}
	c.settle()
	check("a restart and replay")
	c.pass(bft.Second)
	check("replay")
	c.commit(1)
}

func TestRule18CheckpointLeavesWhenItsSnapshotIsDurable(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(7)
	h := c.alone(1)
	b := c.bundle(counter.Add(1))
	c.give(b, 1)
	p := proposal(c.now, b)
	// The host executes 8, and its snapshot is still being written.
	var kept []bft.Snapshot
	c.executeWithoutSnapshot(h, func() {
		must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 8, b)}))
		c.tell(1, 0, prepare(8, p), 2, 3)
		c.tell(1, 0, commit(8, p), 0, 2, 3)
	}, &kept)
	if h.info().Executed != 8 || len(kept) != 1 {
		t.Fatalf("%+v, %d snapshots", h.info(), len(kept))
	}
	if len(h.envelopes(bft.TypeCheckpoint)) != 0 {
		t.Fatal("a checkpoint without a durable snapshot")
	}
	// The others' certificate does not cut the log either.
	info := bft.CheckpointInfo{Seq: 8, State: kept[0].State, History: kept[0].History}
	must(t, c.handAll(1, c.checkpointCert(info, 0, 2, 3)...))
	if h.info().Stable != 0 || h.store[recordKey('c', 8, 0)[:9]] == nil {
		t.Fatal("the log is cut without a snapshot of its own")
	}
	h.done = append(h.done, bft.Done{Snapshots: kept})
	h.turn()
	if h.info().Stable != 8 || h.store[recordKey('c', 8, 0)[:9]] != nil {
		t.Fatal("the log is not cut behind the stable checkpoint")
	}
	if len(h.envelopes(bft.TypeCheckpoint)) != 1 {
		t.Fatal("no checkpoint")
	}
}

// executeWithoutSnapshot keeps back the snapshots that a host takes meanwhile.
func (c *cluster) executeWithoutSnapshot(h *host, f func(), kept *[]bft.Snapshot) {
	h.lateSnapshots = true
	f()
	h.lateSnapshots = false
	*kept = h.heldSnapshots
	h.heldSnapshots = nil
}

// amnesia runs a cluster, puts the disk of replica 1 back to an older state and starts it.
func amnesia(t *testing.T, othersRestart bool, after func(c *cluster)) (*cluster, *host) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 64, 128 })
	c.commit(3)
	old := c.hosts[1].backup()
	after(c)
	c.hosts[1].crash()
	c.hosts[1].rollback(old)
	c.queue = nil
	if othersRestart {
		for _, h := range c.hosts {
			if h.id != 1 && !h.down {
				h.start()
			}
		}
	}
	c.hosts[1].start()
	return c, c.hosts[1]
}

func (c *cluster) mustBeSilent(h *host, why string) {
	c.t.Helper()
	c.passUntil(3*bft.Second, "it notices its amnesia", func() bool { return h.info().Amnesiac != "" })
	if !strings.Contains(h.info().Amnesiac, why) {
		c.t.Fatalf("it says: %s", h.info().Amnesiac)
	}
	h.sent = nil
	first := c.invoke(nil, counter.Add(1))
	c.mustAnswer(first, 5*bft.Second)
	c.pass(3 * bft.Second)
	for _, l := range h.sent {
		if e, signer := envelopeIn(l.frame); e != nil && signer == h.id {
			c.t.Fatalf("an amnesiac signs a %v", l.kind())
		}
	}
	if err := h.replica.Read(1); !errors.Is(err, bft.ErrBusy) {
		c.t.Fatalf("an amnesiac answers reads: %v", err)
	}
	if h.info().Executed != c.hosts[2].info().Executed {
		c.t.Fatalf("an amnesiac does not follow: %s", c.describe())
	}
}

func TestRule19AmnesiacSignsNothing(t *testing.T) {
	t.Run("shown its own vote", func(t *testing.T) {
		c, h := amnesia(t, false, func(c *cluster) { c.commit(3) })
		c.mustBeSilent(h, "holds a")
	})
	t.Run("shown its own pre-prepare", func(t *testing.T) {
		c := started(t, 4, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 64, 128 })
		c.commit(3)
		old := c.hosts[0].backup()
		// Only the pre-prepare gets through, and to one backup only.
		c.dropWhen = func(l letter) bool { return l.kind() == bft.TypeVotes || l.kind() == bft.TypePrePrepare && l.to != 2 }
		c.invoke(nil, counter.Add(1))
		c.dropWhen = nil
		c.queue = nil
		c.hosts[0].rollback(old)
		c.hosts[0].start()
		c.mustBeSilent(c.hosts[0], "pre-prepare")
	})
	t.Run("shown its own view-change", func(t *testing.T) {
		c := started(t, 4, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 64, 128 })
		c.commit(3)
		old := c.hosts[1].backup()
		c.dropWhen = func(l letter) bool { return l.from == 0 || l.to == 0 || l.kind() != bft.TypeViewChange }
		c.invoke([]int{1, 2}, counter.Add(1))
		c.pass(3 * bft.Second)
		if !c.hosts[1].info().Changing {
			t.Fatal(c.describe())
		}
		c.dropWhen = nil
		c.queue = nil
		c.hosts[1].rollback(old)
		c.hosts[1].start()
		c.passUntil(3*bft.Second, "it notices its amnesia", func() bool { return c.hosts[1].info().Amnesiac != "" })
		if !strings.Contains(c.hosts[1].info().Amnesiac, "view-change") {
			t.Fatal(c.hosts[1].info().Amnesiac)
		}
	})
	t.Run("empty disk", func(t *testing.T) {
		c := started(t, 4, nil)
		c.commit(3)
		h := c.hosts[2]
		h.crash()
		h.rollback(disk{})
		c.commit(2)
		h.start()
		c.mustBeSilent(h, "holds a")
	})
	t.Run("told by its host", func(t *testing.T) {
		c := started(t, 4, nil)
		c.commit(3)
		must(t, c.hosts[2].tryStart("the birth record is missing"))
		c.mustBeSilent(c.hosts[2], "birth record")
	})
}

// Rule 19 asks the others what they hold, not what they remember: it must find the loss also when
// everybody has restarted meanwhile, as after a power cut.
func TestRule19AmnesiaIsFoundThoughAllRestarted(t *testing.T) {
	_, h := amnesia(t, true, func(c *cluster) { c.commit(3) })
	h.c.mustBeSilent(h, "holds a")
}

// What lies at or below the stable checkpoint is no amnesia: those records are rightly gone.
func TestRule19VotesBelowTheStableCheckpointAreNoAmnesia(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(9)
	c.passUntil(bft.Second, "a checkpoint", func() bool { return c.hosts[1].info().Stable == 8 })
	h := c.alone(1)
	h.start()
	var d bft.Proposal
	c.answerStart(h, []int{0, 2}, c.votes(1, 0, prepare(3, d), commit(8, d)), c.header(1, 1, 7, d))
	if i := h.info(); i.Amnesiac != "" || i.Starting {
		t.Fatalf("%+v", i)
	}
	c.answerStart(h, []int{3}, c.votes(1, 0, prepare(10, d)))
	if h.info().Amnesiac == "" {
		t.Fatal("its own vote above the checkpoint, which its records lack, is nothing to it")
	}
}

// After every start a replica signs nothing until Q−1 others have said what they hold signed by it.
func TestRule19SilentUntilAQuorumHasAnswered(t *testing.T) {
	for _, n := range sizes {
		c := started(t, n, nil)
		h := c.alone(1)
		h.start()
		b := c.bundle(counter.Add(1))
		c.give(b, 1)
		_ = c.hand(letter{0, 1, c.prePrepare(0, 0, 1, b)})
		var others []int
		for i := 0; i < n; i++ {
			if i != 1 {
				others = append(others, i)
			}
		}
		q := c.quorum()
		c.answerStart(h, others[:q-2])
		c.answerStart(h, others[:q-2]) // nobody counts twice
		stale := c.frame(bft.TypeStatus, &bftpb.Status{AnswersStart: true, Boot: h.boots - 1})
		must(t, c.hand(letter{bft.ReplicaID(others[q-2]), 1, stale})) // nor does an answer to an earlier start
		must(t, c.hand(letter{bft.ReplicaID(others[q-2]), 1, c.frame(bft.TypeStatus, &bftpb.Status{Boot: h.boots})}))
		c.wait(5 * bft.Second)
		for _, l := range h.sent {
			if e, signer := envelopeIn(l.frame); e != nil && signer == 1 {
				t.Fatalf("n=%d: it signs a %v after %d answers", n, l.kind(), q-2)
			}
		}
		if err := h.replica.Read(1); !errors.Is(err, bft.ErrBusy) {
			t.Fatalf("n=%d: it answers reads: %v", n, err)
		}
		c.answerStart(h, others[q-2:q-1])
		if _, ok := h.voted(bft.PhasePrepare, 0, 1); !ok {
			t.Fatalf("n=%d: after %d answers it is still silent: %+v", n, q-1, h.info())
		}
	}
}

func TestRule19RecordsBeforeTheFirstStartAreRefused(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	x, _ := c.hosts[1].restored()
	x.Born = true
	cfg := c.cfg
	cfg.Self = 1
	if _, err := bft.New(cfg, x); err == nil {
		t.Fatal("a directory of somebody else is taken")
	}
}

// A new-view is a vote too: shown one of its own that its records lack, a replica knows that it lost some.
func TestRule19ShownItsOwnNewView(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	vcs := []*bftpb.Envelope{c.viewChange(0, 1, 0, nil), c.viewChange(2, 1, 0, nil), c.viewChange(3, 1, 0, nil, c.certify(0, 1, bft.Null, 2, 3))}
	nv := c.newView(1, vcs, c.header(1, 1, 1, bft.Null))
	h.start()
	c.answerStart(h, []int{0, 2})
	must(t, c.hand(letter{0, 1, c.framed(vcs[0])}))
	_ = c.hand(letter{2, 1, c.framed(nv)})
	_ = c.hand(letter{0, 1, c.frame(bft.TypeData, &bftpb.Data{ViewChanges: vcs})})
	if i := h.info(); i.Amnesiac == "" {
		t.Fatalf("it takes part in view 1, which it has led and forgotten: %+v", i)
	}
	for _, l := range h.sent {
		if e, signer := envelopeIn(l.frame); e != nil && signer == 1 && l.kind() != bft.TypeNewView && l.kind() != bft.TypeViewChange {
			t.Fatalf("an amnesiac signs a %v", l.kind())
		}
	}
}
