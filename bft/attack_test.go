package bft_test

import (
	"errors"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// 1. A primary proposes everything more than 64 above what is delivered.
func TestAttackFarProposalIsNeverTimed(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 64, 128 })
	c.liars[0], c.hosts[0].down = true, true
	b := c.bundle(counter.Add(1))
	c.give(b, 1, 2, 3)
	f := c.prePrepare(0, 0, 100, b)
	for to := bft.ReplicaID(1); to < 4; to++ {
		must(t, c.hand(letter{0, to, f}))
	}
	c.settle()
	c.passUntil(60*bft.Second, "somebody leaves the view of a primary that leaves a gap", func() bool { return c.hosts[1].info().View > 0 })
}

// 2. The snapshot of a checkpoint is durable before the core hears that its batch was executed.
func TestAttackSnapshotReportedBeforeExecuted(t *testing.T) {
	c := started(t, 4, nil)
	h := c.hosts[3]
	h.snapshotFirst = true
	c.commit(8)
	c.pass(100 * bft.Millisecond)
	if i := h.info(); i.Stable > i.Executed {
		t.Errorf("stable %d ahead of executed %d", i.Stable, i.Executed)
	}
	h.done = append(h.done, h.lateDone...) // the executor's report, a moment later
	h.turn()
	c.passUntil(3*bft.Second, "converges", c.converged)
}

// 3. All that entered the view have restarted since; one that was down cannot enter it.
func TestAttackViewChangesLostByRestart(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(2)
	c.hosts[3].crash()
	c.dropWhen = func(l letter) bool { return l.from == 0 && l.kind() == bft.TypePrePrepare }
	c.commit(2)
	c.dropWhen = nil
	for i := 0; i < 3; i++ {
		c.hosts[i].crash()
		c.hosts[i].start()
		c.pass(500 * bft.Millisecond)
	}
	c.commit(2)
	c.hosts[3].start()
	c.pass(bft.Second)
	c.commit(5)
	c.passUntil(20*bft.Second, "the replica that was down enters the view", c.converged)
}

// 4. The bound into the past stops doubling.
func TestAttackSlowClockIsNeverAcceptable(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.hosts[0].crash()
	c.hosts[1].skew, c.hosts[2].skew = 60*bft.Second, 60*bft.Second
	c.mustAnswer(c.invoke(nil, counter.Add(1)), 300*bft.Second)
}

// 5. The snapshot of the stable checkpoint is damaged: reads are answered from an older state.
func TestAttackReadFromOlderStateThanStable(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(16)
	c.pass(200 * bft.Millisecond)
	h := c.hosts[2]
	h.crash()
	clear(h.snaps)
	c.dropWhen = func(l letter) bool { return l.to == 2 && l.kind() == bft.TypeData }
	h.start()
	c.pass(300 * bft.Millisecond)
	if h.info().Starting || h.info().Amnesiac != "" {
		t.Fatal("it does not sign", c.describe())
	}
	err := h.replica.Read(1)
	h.turn()
	if err == nil && len(h.reads) > 0 {
		t.Fatalf("a linearizable read is answered at %d; this replica let commits leave up to 16, its stable checkpoint is %d", h.machine.Executed(), h.info().Stable)
	}
}

// 6. A bundle refused for now is never ordered again.
func TestAttackNotNowIsForever(t *testing.T) {
	c := started(t, 4, nil)
	other := c.ring.NewKey([32]byte{9})
	b := &bft.Bundle{Client: c.client.Public(), First: 1, Nonce: bft.Nonce{7}, NotAfter: c.now + 24*3600*bft.Second + 10*bft.Second,
		Ops: [][]byte{exec.EncodeOp("counter", false, counter.Add(1))}}
	b = c.seal(c.client, b)
	c.give(b)
	c.pass(200 * bft.Millisecond)
	for id, r := range c.replies[1] {
		if r[0] != byte(bft.ResultNotNow) {
			t.Fatalf("replica %d: %v", id, r)
		}
	}
	c.pass(20 * bft.Second)
	c.give(c.bundleOf(other, 0, 1, counter.Add(1)))
	c.pass(200 * bft.Millisecond)
	for i := 0; i < 20; i++ {
		c.give(b)
		c.pass(500 * bft.Millisecond)
	}
	for id, r := range c.replies[1] {
		if r[0] != byte(bft.ResultOK) {
			t.Fatalf("10 s of retries after there was room: replica %d still says status %d", id, r[0])
		}
	}
}

// 7. A client repeats an opening that was executed before some replicas restarted.
func TestAttackOldOpeningDrivesViewChanges(t *testing.T) {
	c := started(t, 4, nil)
	b := c.bundle(counter.Add(1))
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
			t.Fatalf("a repeated, answered opening drives replicas out of an honest primary's view:%s", c.describe())
		}
	}
}

// 8. Peers show the vote of the highest number, not the last one made.
func TestAttackLostCommitBelowNewestPrepare(t *testing.T) {
	c := started(t, 4, nil)
	d := c.hosts[3]
	c.dropWhen = func(l letter) bool { return l.to == 3 && (l.kind() == bft.TypeVotes || l.kind() == bft.TypeData) }
	c.commit(2)
	c.pass(100 * bft.Millisecond)
	if _, ok := d.voted(bft.PhasePrepare, 0, 2); !ok {
		t.Fatal("no prepare for 2")
	}
	backup := d.backup()
	p := c.hosts[0].batches[0].Proposal
	c.tell(3, 0, prepare(1, p), 1, 2)
	c.settle()
	if _, ok := d.voted(bft.PhaseCommit, 0, 1); !ok {
		t.Fatal("no commit for 1")
	}
	d.crash()
	d.rollback(backup)
	d.start()
	c.pass(500 * bft.Millisecond)
	if i := d.info(); i.Amnesiac == "" && !i.Starting {
		t.Fatalf("the replica lost its commit for 1, which three peers hold, and signs:%s", c.describe())
	}
}

// 9. Amnesia that peers have shown is forgotten by the next restart.
func TestAttackAmnesiaIsForgotten(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	h.crash()
	h.start()
	v := c.votes(3, 0, commit(5, proposal(c.now, c.bundle(counter.Add(1)))))
	c.answerStart(h, []int{0}, v)
	if h.info().Amnesiac == "" {
		t.Fatal("not detected")
	}
	h.turn()
	h.crash()
	h.start()
	c.answerStart(h, []int{1, 2})
	if i := h.info(); i.Amnesiac == "" && !i.Starting {
		t.Fatal("an amnesiac replica signs again after a restart, without Recover")
	}
}

// 10. A primary always keeps W proposals open whose bodies it withholds for a while.
func TestAttackWithheldBodiesStopTheClockOfSuspicion(t *testing.T) {
	c := started(t, 4, nil)
	c.liars[0], c.hosts[0].down = true, true
	var open []*bft.Bundle
	next := bft.Seq(1)
	proposeHidden := func() {
		b := c.bundleOf(c.ring.NewKey([32]byte{8, byte(next), byte(next >> 8)}), 0, 1, counter.Add(1))
		f := c.prePrepare(0, 0, next, b)
		next++
		open = append(open, b)
		for to := bft.ReplicaID(1); to < 4; to++ {
			_ = c.hand(letter{0, to, f})
		}
		c.settle()
	}
	for len(open) < 5 {
		proposeHidden()
	}
	victim := c.bundle(counter.Add(1))
	c.give(victim, 1, 2, 3)
	for i := 0; i < 300; i++ {
		proposeHidden()
		c.give(open[0], 1, 2, 3)
		open = open[1:]
		c.settle()
		c.pass(150 * bft.Millisecond)
		for _, h := range c.hosts[1:] {
			if h.info().View > 0 {
				t.Logf("suspected after %v", bft.Time(i*150)*bft.Millisecond)
				return
			}
		}
	}
	t.Fatalf("45 s: the victim is censored, and the cluster executes 7 operations a second; nobody suspects:%s", c.describe())
}

// 11. A backup's fat votes make every view-change too large to be sent.
func TestAttackFatVotesMakeViewChangesTooLarge(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.Interval, cfg.Window, cfg.Pipeline = 2048, 4096, 64 })
	h := c.alone(1)
	for s := bft.Seq(1); s <= 4096; s++ {
		_ = c.hand(letter{0, 1, c.frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: c.header(0, 0, s, bft.Null), Body: &bftpb.Body{}})})
		vs := []vote{prepare(s, bft.Null)}
		for len(vs) < 64 {
			vs = append(vs, vote{bft.PhaseCommit, 1 << 60, bft.Digest{1, byte(len(vs))}})
		}
		_ = c.hand(letter{2, 1, c.framed(c.votes(2, 0, vs...))})
		h.sent = h.sent[:0]
	}
	c.wait(5 * bft.Second)
	for _, l := range h.sentKind(bft.TypeViewChange) {
		if len(l.frame) > bft.MaxFrameBytes {
			_, err := c.hosts[3].checker.FromPeer(1, l.frame)
			t.Fatalf("the view-change of an honest replica has %d bytes, a frame %d at most; a peer says: %v (accuses: %v)", len(l.frame), bft.MaxFrameBytes, err, errors.Is(err, bft.ErrInvalid))
		}
	}
	if len(h.sentKind(bft.TypeViewChange)) == 0 {
		t.Fatal("no view-change", c.describe())
	}
}

// 12. A full proposal does not fit Data.
func TestAttackFullProposalCannotBeFetched(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) {
		cfg.MaxBatchBytes, cfg.MaxBundleBytes = bft.MaxProposalBytes, bft.MaxBundleBytes
	})
	c.hosts[3].crash()
	c.liars[0], c.hosts[0].down = true, true
	var bs []*bft.Bundle
	for i := 0; i < 2; i++ {
		k := c.ring.NewKey([32]byte{7, byte(i)})
		bs = append(bs, c.bundleOf(k, 0, 1, make([]byte, bft.MaxBundleBytes-400)))
	}
	p := proposal(c.now, bs...)
	for to := bft.ReplicaID(1); to < 3; to++ {
		for _, b := range bs {
			c.give(b, int(to))
		}
		must(t, c.hand(letter{0, to, c.prePrepareOf(0, 0, 1, p, bs...)}))
	}
	c.settle()
	for to := bft.ReplicaID(1); to < 3; to++ {
		c.tell(to, 0, commit(1, p), 0)
	}
	c.settle()
	if c.hosts[1].info().Executed != 1 {
		t.Fatal("not executed", c.describe())
	}
	c.hosts[3].start()
	c.passUntil(10*bft.Second, "the late replica gets the batch", func() bool { return c.hosts[3].info().Executed == 1 })
}

// 13. One bundle of the largest size, batches of the same size.
func TestAttackLargestBundleBlocksThePool(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.MaxBundleBytes, cfg.MaxBatchBytes = 4096, 4096+64 })
	c.commit(1)
	size := 4096
	b := c.bundleOf(c.ring.NewKey([32]byte{6}), 0, 1, make([]byte, size))
	for len(b.Payload) > 4096 {
		size--
		b = c.bundleOf(c.ring.NewKey([32]byte{6}), 0, 1, make([]byte, size))
	}
	c.give(b)
	c.settle()
	c.mustAnswer(c.invoke(nil, counter.Add(1)), 30*bft.Second)
}

// 14. Two liars grow the checkpoints that are kept without bound.
func TestAttackCheckpointsOfTwoLiars(t *testing.T) {
	c := started(t, 7, nil)
	c.liars[5], c.liars[6] = true, true
	for i := 0; i < 1000; i++ {
		info := bft.CheckpointInfo{Seq: bft.Seq(8 * (1000 + i)), State: bft.Digest{1}, History: bft.Digest{2}}
		for _, s := range []int{5, 6} {
			_ = c.hand(letter{bft.ReplicaID(s), 1, c.framed(c.checkpointOf(s, info))})
		}
	}
	if n := c.hosts[1].replica.Sizes()["checkpoints"]; n > 100 {
		t.Fatalf("%d checkpoints of two liars are kept", n)
	}
}

// 15. The primary of the next view pushes the entries of O out of `early`.
func TestAttackEarlyEntriesOfOAreDisplaced(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	b := c.bundle(counter.Add(1))
	c.give(b, 3)
	p := proposal(c.now, b)
	cert := c.certify(0, 1, p, 1, 2)
	vcs := []*bftpb.Envelope{c.viewChange(0, 1, 0, nil, cert), c.viewChange(1, 1, 0, nil, cert), c.viewChange(2, 1, 0, nil, cert)}
	_ = c.handAll(3, vcs...)
	nv := c.newView(1, vcs, c.header(1, 1, 1, p))
	h.slowDisk = true // the new-view is accepted, the prepare not yet durable
	_ = c.hand(letter{1, 3, c.framed(nv)})
	for i := range h.unsynced { // up to the new-view's record
		if h.unsynced[i].Key[0] == 'w' {
			h.sync(i + 1)
			break
		}
	}
	h.crash()
	h.slowDisk = false
	h.start()
	if h.info().View != 1 || h.info().Changing {
		t.Fatal(c.describe())
	}
	_ = c.hand(letter{2, 3, c.prePrepare(2, 2, 1, c.bundleOf(c.ring.NewKey([32]byte{5}), 0, 1, counter.Add(1)))})
	c.answerStart(h, []int{0, 1})
	c.wait(50 * bft.Millisecond)
	c.giveBody(h, 0, b) // what was not durable is fetched again
	c.wait(300 * bft.Millisecond)
	if _, ok := h.voted(bft.PhasePrepare, 1, 1); !ok {
		t.Fatal("the entry of O for 1 is lost: no prepare in view 1")
	}
}

// 16. A replica that is brought up to date by state transfer while an opening waits in its pool.
func TestAttackTransferPastAnOpeningThatWaits(t *testing.T) {
	c := started(t, 4, nil)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	c.commit(20)
	c.dropWhen = nil
	c.pass(5 * bft.Second)
	c.commit(30)
	c.passUntil(20*bft.Second, "converges", c.converged)
}

// 17. Clients that name sessions which do not exist keep new clients out, cheaply.
func TestAttackParkedBundlesKeepNewClientsOut(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	ops := make([][]byte, 256)
	for i := range ops {
		ops[i] = []byte{0}
	}
	flood := func() {
		for k := 0; k < 64; k++ {
			key := c.ring.NewKey([32]byte{40, byte(k)})
			for j := 0; j < 2; j++ {
				c.give(c.seal(key, &bft.Bundle{Client: key.Public(), Session: 1 << 40, First: 1 + 256*uint64(j), Ops: ops, Expires: c.now}))
			}
		}
	}
	flood()
	victim := c.ring.NewKey([32]byte{41})
	b := c.bundleOf(victim, 0, 1, counter.Add(1))
	for i := 0; i < 200; i++ {
		c.give(b)
		c.pass(100 * bft.Millisecond)
		for _, x := range c.hosts[0].batches {
			if x.Bundles[0].Digest == b.Digest {
				return
			}
		}
		flood() // what was dropped is sent again
	}
	t.Fatalf("20 s: a new client gets nothing but Busy: replica 0 sent it %d times; view %d", len(c.hosts[0].busy), c.hosts[0].info().View)
}

// 18. After a restart the mark of reads is above what the view's new-view has proven not to have committed.
func TestAttackMarkRaisedAgainByRestart(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	b := c.bundle(counter.Add(1))
	c.give(b, 3)
	_ = c.hand(letter{0, 3, c.prePrepare(0, 0, 1, b)})
	c.tell(3, 0, prepare(1, proposal(c.now, b)), 1, 2)
	if _, ok := h.voted(bft.PhaseCommit, 0, 1); !ok {
		t.Fatal("no commit")
	}
	vcs := []*bftpb.Envelope{c.viewChange(0, 1, 0, nil), c.viewChange(1, 1, 0, nil), c.viewChange(2, 1, 0, nil)}
	_ = c.handAll(3, vcs...)
	_ = c.hand(letter{1, 3, c.framed(c.newView(1, vcs))})
	must(t, h.replica.Read(1))
	h.turn()
	if len(h.reads) != 1 {
		t.Fatal("read 1 waits", c.describe())
	}
	h.crash()
	h.start()
	h.reads = nil
	c.answerStart(h, []int{0, 1})
	must(t, h.replica.Read(2))
	h.turn()
	c.wait(3 * bft.Second)
	if len(h.reads) != 1 || h.info().Changing {
		t.Fatalf("read 2 is not answered (nothing above 0 has committed), and the replica leaves the view for it: %s", c.describe())
	}
}

// 19. A replica whose state differs still answers reads that came before it found out.
func TestAttackDivergedAnswersWaitingReads(t *testing.T) {
	c := started(t, 4, nil)
	h := c.hosts[3]
	h.corrupt = func(s *bft.Snapshot) { s.State = bft.Digest{66} }
	c.commit(7)
	// 3 prepares 9 with the others, but executes neither 8 nor 9 yet: 8's commits are held back from it.
	held := []letter{}
	c.dropWhen = func(l letter) bool {
		if l.to == 3 && (l.kind() == bft.TypeVotes) {
			held = append(held, l)
			return true
		}
		return l.to == 3 && (l.kind() == bft.TypeData || l.kind() == bft.TypeStatus)
	}
	c.commit(2)
	c.dropWhen = func(l letter) bool { return l.to == 3 && l.kind() == bft.TypeData }
	// The prepares first: the mark rises to 9.
	p := c.hosts[0].batches[8].Proposal
	c.tell(3, 0, prepare(9, p), 1, 2)
	if err := h.replica.Read(1); err != nil {
		t.Fatal(err)
	}
	h.turn()
	if len(h.reads) != 0 {
		t.Fatal("the read did not wait", c.describe())
	}
	first := false // it knew that it had diverged while the read still waited
	for _, l := range held {
		_ = c.hand(l)
		first = first || h.info().Diverged != "" && len(h.reads) == 0
	}
	c.settle()
	i := h.info()
	if first && i.Diverged != "" && len(h.reads) > 0 {
		t.Fatalf("a diverged replica (%s) answered a linearizable read at %d", i.Diverged, i.Executed)
	}
	t.Log(i.Executed, i.Diverged, len(h.reads))
}
