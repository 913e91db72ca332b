package bft_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// unsigned makes a bundle whose client signature does not hold.
func (c *cluster) unsigned(seed byte) *bft.Bundle {
	client := c.ring.NewKey([32]byte{40, seed})
	b := c.bundleOf(client, 0, 1, counter.Add(1))
	sig := b.Signature
	sig[7] ^= 1
	out, err := bft.DecodeBundle(b.Payload, sig, bft.WindowOps, bft.MaxBundleBytes)
	must(c.t, err)
	return out
}

func (h *host) hasChecked(b *bft.Bundle) bool {
	for _, x := range h.checked {
		if x.Digest == b.Digest {
			return true
		}
	}
	return false
}

// TestRule23FreshProposalsAreAuthentic: a backup believes a bundle that its client told it, without a
// signature check, or one whose signature it checked; and no other.
func TestRule23FreshProposalsAreAuthentic(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	heard, told := c.bundle(counter.Add(1)), c.bundle(counter.Add(2))
	c.give(heard, 1)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 1, heard)}))
	if _, ok := h.voted(bft.PhasePrepare, 0, 1); !ok || h.hasChecked(heard) {
		t.Fatal("what the client itself said is verified, or not believed")
	}
	h.slowChecker = true
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 2, told)}))
	_ = c.hand(letter{0, 1, requestFrame(told)})
	if _, ok := h.voted(bft.PhasePrepare, 0, 2); ok || !h.hasChecked(told) {
		t.Fatal("what the primary says of a client is believed unverified")
	}
	h.check(0)
	h.turn()
	if _, ok := h.voted(bft.PhasePrepare, 0, 2); !ok {
		t.Fatal("verified, and not believed")
	}
	// Or the client's own word comes after the proposal.
	third := c.bundle(counter.Add(3))
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 3, third)}))
	c.give(third, 1)
	h.turn()
	if _, ok := h.voted(bft.PhasePrepare, 0, 3); !ok {
		t.Fatal("the client's word came later, and is not believed")
	}
}

// An invalid client signature accuses the primary that proposed it fresh.
func TestRule23InvalidSignatureAccusesTheFreshPrimary(t *testing.T) {
	c, h := backupOf(t, 1)
	bad := c.unsigned(1)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 2, bad)}))
	_ = c.hand(letter{0, 1, c.frame(bft.TypeData, &bftpb.Data{Bundles: []*bftpb.Request{{Payload: bad.Payload, Signature: bad.Signature[:]}}})})
	if _, ok := h.voted(bft.PhasePrepare, 0, 2); ok {
		t.Fatal("a vote for it")
	}
	if i := h.info(); !i.Changing || i.View != 1 {
		t.Fatalf("the primary is not suspected: %+v", i)
	}
}

// And it accuses nobody else: not the primary when a member or the client brought it, however long it lies.
func TestRule23InvalidSignatureAccusesNobodyElse(t *testing.T) {
	c, h := backupOf(t, 1)
	_ = c.hand(letter{3, 1, requestFrame(c.unsigned(2))})
	c.give(c.unsigned(3), 1)
	c.wait(5 * bft.Second)
	if i := h.info(); i.Changing || i.View != 0 {
		t.Fatalf("the primary is suspected for not proposing rubbish: %+v", i)
	}
	if len(h.sentKind(bft.TypeRequest)) != 0 {
		t.Fatal("rubbish is passed on")
	}
	if i := h.info(); i.Pending != 0 {
		t.Fatalf("rubbish is kept: %+v", i)
	}
}

// In O, under a certificate, and for its own recorded votes a signature is not asked for again: an honest
// signer did so, and asking again could halt the view.
func TestRule23NotDemandedAgain(t *testing.T) {
	t.Run("in O", func(t *testing.T) {
		c := started(t, 4, nil)
		h := c.alone(2)
		b := c.unsigned(1) // heard by f+1 honest ones from the client itself, say
		c.enter(h, 1, c.certify(0, 1, proposal(c.now, b), 1, 3))
		c.giveBody(h, 1, b)
		if _, ok := h.voted(bft.PhasePrepare, 1, 1); !ok || h.info().Changing {
			t.Fatalf("no vote for an entry of O: %+v", h.info())
		}
	})
	t.Run("by the primary of O", func(t *testing.T) {
		c := started(t, 4, nil)
		h := c.alone(1)
		b := c.unsigned(1)
		c.enter(h, 1, c.certify(0, 1, proposal(c.now, b), 2, 3))
		c.giveBody(h, 2, b)
		if len(h.envelopes(bft.TypeNewView)) != 1 {
			t.Fatal("no new-view")
		}
	})
	t.Run("under a certificate", func(t *testing.T) {
		c := started(t, 4, nil)
		h := c.alone(2)
		b := c.unsigned(1)
		must(t, c.hand(letter{1, 2, c.committedData(0, 1, proposal(c.now, b), []*bft.Bundle{b}, 0, 1, 3)}))
		if h.info().Executed != 1 || h.hasChecked(b) {
			t.Fatal("what a quorum committed is doubted")
		}
	})
	t.Run("for its own recorded vote", func(t *testing.T) {
		c := started(t, 4, nil)
		h := c.alone(2)
		b := c.unsigned(1)
		c.give(b, 2)
		must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 1, b)}))
		h.start()
		c.answerStart(h, []int{0, 1})
		if _, ok := h.voted(bft.PhasePrepare, 0, 1); !ok || h.hasChecked(b) {
			t.Fatal("after a restart its own vote is doubted")
		}
	})
}

// The primary verifies before it proposes, whoever told it.
func TestRule23PrimaryVerifiesBeforeItProposes(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(0)
	bad, good := c.unsigned(1), c.bundle(counter.Add(1))
	h.slowChecker = true
	c.give(bad, 0)
	c.give(good, 0)
	h.turn()
	if len(h.envelopes(bft.TypePrePrepare)) != 0 || !h.hasChecked(bad) || !h.hasChecked(good) {
		t.Fatal("it proposes unverified")
	}
	for len(h.unchecked) > 0 {
		h.check(0)
	}
	h.turn()
	for _, l := range h.sentKind(bft.TypePrePrepare) {
		var p bftpb.PrePrepare
		must(t, p.UnmarshalVT(l.frame[1:]))
		if string(p.Body.Bundles) != string(good.Digest[:]) {
			t.Fatal("it proposes a bundle whose signature does not hold")
		}
	}
	if len(h.sentKind(bft.TypePrePrepare)) != 1 {
		t.Fatal("it proposes nothing")
	}
}

// What it votes for, in O or fresh, is the digest with the time: two proposals of one body differ.
func TestRule02VotesNameTheTimeToo(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	b := c.bundle(counter.Add(1))
	c.give(b, 1)
	p, q := proposal(c.now, b), proposal(c.now+1, b)
	must(t, c.hand(letter{0, 1, c.prePrepareOf(0, 0, 1, p, b)}))
	if d, _ := h.voted(bft.PhasePrepare, 0, 1); d != p.Digest() || p.Digest() == q.Digest() {
		t.Fatal("a vote that does not name the time")
	}
	c.tell(1, 0, prepare(1, q), 2, 3)
	if _, ok := h.voted(bft.PhaseCommit, 0, 1); ok {
		t.Fatal("prepares for another time count")
	}
	if err := c.hand(letter{0, 1, c.prePrepareOf(0, 0, 1, q, b)}); !errors.Is(err, bft.ErrInvalid) {
		t.Fatalf("a second pre-prepare with another time: %v", err)
	}
}

// (session, number) used twice for different operations: the first one ordered counts, everywhere, and
// both orders of arrival end alike.
func TestRule25FirstOrderedCounts(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	x, y := c.bundleOf(c.client, c.session, 2, counter.Add(10)), c.bundleOf(c.client, c.session, 2, counter.Add(20))
	c.give(x, 0, 1)
	c.give(y, 2, 3)
	c.give(y, 0, 1)
	c.give(x, 2, 3)
	c.settle()
	c.next = 3
	c.mustAnswer(2, 3*bft.Second)
	c.pass(3 * bft.Second)
	first := ""
	for id, r := range c.replies[2] {
		if first == "" {
			first = string(r)
		}
		if string(r) != first {
			t.Fatalf("replica %d answers differently", id)
		}
	}
	c.commit(1)
	for _, h := range c.hosts {
		if i := h.info(); i.Pending != 0 || i.View != 0 {
			t.Fatal(c.describe())
		}
	}
}

// TestRule26AdmissionIsBounded: beyond its share a client is told Busy, and other clients are not.
func TestRule26AdmissionIsBounded(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) {
		cfg.PoolFloor, cfg.MaxBundleOps, cfg.MaxBatchOps = 64, 8, 8
	})
	h := c.alone(1)
	flooder, other := c.ring.NewKey([32]byte{50}), c.ring.NewKey([32]byte{51})
	refused, kept := 0, 0
	for i := 0; i < 500; i++ {
		b := c.seal(flooder, &bft.Bundle{Client: flooder.Public(), Nonce: bft.Nonce{byte(i), byte(i >> 8)}, NotAfter: 1, First: 1, Ops: [][]byte{{1}, {2}}})
		before := len(h.busy)
		c.give(b, 1)
		h.turn()
		if len(h.busy) > before {
			refused++
		} else {
			kept++
		}
	}
	if refused == 0 || kept < c.cfg.PoolFloor/2 || h.info().Pending != kept {
		t.Fatalf("%d refused, %d kept, %d pending", refused, kept, h.info().Pending)
	}
	before := len(h.busy)
	c.give(c.bundleOf(other, 0, 1, counter.Add(1)), 1)
	h.turn()
	if len(h.busy) != before || h.info().Pending != kept+1 {
		t.Fatal("one client's flood shuts another out")
	}
	// A member that passes on a flood fills its own share, and answers for no one else's.
	told := 0
	for i := 0; i < 200; i++ {
		client := c.ring.NewKey([32]byte{52, byte(i)})
		if err := c.hand(letter{3, 1, requestFrame(c.bundleOf(client, 0, 1, counter.Add(1)))}); err == nil {
			told++
		} else if !errors.Is(err, bft.ErrBusy) {
			t.Fatal(err)
		}
	}
	if told == 0 || told > c.cfg.PoolFloor/4 {
		t.Fatalf("a member passed on %d", told)
	}
	client := c.ring.NewKey([32]byte{53})
	if err := c.hand(letter{2, 1, requestFrame(c.bundleOf(client, 0, 1, counter.Add(1)))}); err != nil {
		t.Fatalf("another member's share is taken: %v", err)
	}
}

// Busy never stops a timer: what a replica holds it goes on timing, however many others it refuses.
func TestRule26BusyStopsNoTimer(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) {
		cfg.PoolFloor, cfg.MaxBundleOps, cfg.MaxBatchOps = 8, 4, 4
	})
	c.pass(bft.Second)
	h := c.alone(1)
	first := c.bundle(counter.Add(1))
	c.give(first, 1)
	for i := 0; i < 500; i++ {
		c.wait(10 * bft.Millisecond)
		c.give(c.bundleOf(c.ring.NewKey([32]byte{54, byte(i), byte(i >> 8)}), 0, 1, counter.Add(1)), 1)
		h.turn()
		if h.info().Changing {
			break
		}
	}
	if len(h.busy) == 0 {
		t.Fatal("nothing was refused")
	}
	if !h.info().Changing {
		t.Fatal("under a flood the primary's silence goes unseen")
	}
}

// TestRule27ReadWaitsForItsMark: a read that arrives after a commit was let go waits until that number is
// executed; and the mark survives a restart.
func TestRule27ReadWaitsForItsMark(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	h := c.alone(1)
	must(t, h.replica.Read(1))
	h.turn()
	if len(h.reads) != 1 {
		t.Fatal("with nothing under way a read waits")
	}
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	c.give(b, 1)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 2, b)}))
	must(t, h.replica.Read(2))
	h.turn()
	if len(h.reads) != 2 {
		t.Fatal("a prepare alone holds up a read")
	}
	c.tell(1, 0, prepare(2, p), 2, 3)
	if _, ok := h.voted(bft.PhaseCommit, 0, 2); !ok {
		t.Fatal("no commit")
	}
	must(t, h.replica.Read(3))
	h.turn()
	if len(h.reads) != 2 {
		t.Fatal("a read is answered before r is executed")
	}
	h.start()
	h.reads = nil
	c.answerStart(h, []int{0, 2})
	must(t, h.replica.Read(4))
	h.turn()
	if len(h.reads) != 0 {
		t.Fatal("a restart forgets r")
	}
	c.tell(1, 0, commit(2, p), 0, 2, 3)
	if len(h.reads) != 1 || h.reads[0] != 4 {
		t.Fatalf("r is executed, and the answered reads are %v", h.reads)
	}
}

// The mark is raised before the commit leaves: a read between the promise and its departure waits too.
func TestRule27MarkIsRaisedBeforeTheCommitLeaves(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	h := c.alone(1)
	b := c.bundle(counter.Add(1))
	c.give(b, 1)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 2, b)}))
	h.slowDisk = true
	c.tell(1, 0, prepare(2, proposal(c.now, b)), 2, 3)
	must(t, h.replica.Read(1))
	h.turn()
	if len(h.reads) != 0 {
		t.Fatal("the read slips in between")
	}
}

// A new-view proves that nothing above max-s committed, so it lets go of the reads that waited for it.
func TestRule27NewViewLowersTheMark(t *testing.T) {
	for _, prepared2 := range []bool{false, true} {
		c := started(t, 4, nil)
		c.commit(1)
		h := c.alone(2)
		b := c.bundle(counter.Add(1))
		p := proposal(c.now, b)
		c.give(b, 2)
		must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 2, b)}))
		c.tell(2, 0, prepare(2, p), 1, 3)
		must(t, h.replica.Read(1))
		h.turn()
		one := c.certify(0, 1, h.batches[0].Proposal, 1, 3)
		if prepared2 {
			c.enter(h, 1, one, c.certify(0, 2, p, 1, 3))
			if len(h.reads) != 0 {
				t.Fatal("2 may have committed, and the read does not wait for it")
			}
			continue
		}
		c.enter(h, 1, one)
		if len(h.reads) != 1 {
			t.Fatal("2 did not commit anywhere, and the read still waits")
		}
		must(t, h.replica.Read(2))
		h.turn()
		if len(h.reads) != 2 {
			t.Fatal("later reads wait too")
		}
	}
}

// While a read waits for a number that nothing else brings about, the cluster still answers it: here
// everybody prepared 3 and let the commit go, and 2 was never proposed.
func TestRule27ReadsAreAnsweredInTheEnd(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.liars[0] = true
	c.hosts[0].down = true
	b := c.bundle(counter.Add(1))
	c.give(b)
	frame := c.prePrepare(0, 0, 3, b)
	for _, to := range []bft.ReplicaID{1, 2, 3} {
		must(t, c.hand(letter{0, to, frame}))
	}
	c.settle()
	for _, h := range c.hosts[1:] {
		must(t, h.replica.Read(9))
		h.turn()
		if len(h.reads) != 0 {
			t.Fatal("the read does not wait")
		}
	}
	c.passUntil(6*bft.Second, "all answer the read", func() bool {
		return len(c.hosts[1].reads) == 1 && len(c.hosts[2].reads) == 1 && len(c.hosts[3].reads) == 1
	})
}

// Who asks for much waits for itself: of each client a batch has an equal share first.
func TestRule26AFloodKeepsNobodyElseWaiting(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.MaxBatchOps, cfg.MaxBundleOps, cfg.Pipeline = 4, 4, 1 })
	c.commit(1)
	for range 40 {
		c.give(c.bundle(counter.Add(1)))
	}
	late := c.bundleOf(c.ring.NewKey([32]byte{5}), 0, 1, counter.Add(1000))
	c.give(late)
	before, at := c.hosts[0].info().Executed, bft.Seq(0)
	c.passUntil(bft.Second, "the late request is executed", func() bool {
		for _, b := range c.hosts[0].batches {
			if slices.ContainsFunc(b.Bundles, func(x *bft.Bundle) bool { return x.Digest == late.Digest }) {
				at = b.Seq
			}
		}
		return at != 0
	})
	if at > before+3 {
		t.Errorf("it is in batch %d, after %d with another client's requests", at, at-before-1)
	}
}

// A request that was signed for another cluster is none here.
func TestRule23ARequestBindsItsCluster(t *testing.T) {
	payload := []byte("payload")
	if bytes.Equal(bft.RequestSigningBytes(crypto.Hash("one"), payload), bft.RequestSigningBytes(crypto.Hash("other"), payload)) {
		t.Error("what is signed does not name the cluster")
	}
	c := started(t, 4, nil)
	b := c.bundle(counter.Add(1))
	foreign := *b
	foreign.Signature = c.client.Sign(bft.RequestSigningBytes(crypto.Hash("other"), b.Payload))
	if c.ring.Verify(b.Client, bft.RequestSigningBytes(c.cfg.Cluster, b.Payload), foreign.Signature) {
		t.Error("a signature for another cluster holds here")
	}
}

// Where a batch holds fewer bundles than there are clients, they take turns: what one asked for long before keeps
// nobody else waiting.
func TestRule26ClientsTakeTurns(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.MaxBatchOps, cfg.MaxBundleOps, cfg.Pipeline = 1, 1, 1 })
	c.commit(1)
	flood := make([]*bft.Bundle, 12)
	for i := range flood {
		flood[i] = c.bundle(counter.Add(1))
		c.give(flood[i])
	}
	late := c.bundleOf(c.ring.NewKey([32]byte{61}), 0, 1, counter.Add(1))
	c.give(late)
	c.passUntil(5*bft.Second, "all are executed", func() bool { return c.hosts[1].info().Executed >= bft.Seq(1+len(flood)+1) })
	var order []bft.Digest
	for _, b := range c.hosts[1].batches {
		for _, x := range b.Bundles {
			order = append(order, x.Digest)
		}
	}
	if at := slices.Index(order, late.Digest); at < 0 || at > 4 {
		t.Errorf("the late one was number %d of %d", at, len(order))
	}
	for i := range flood[1:] {
		if slices.Index(order, flood[i].Digest) > slices.Index(order, flood[i+1].Digest) {
			t.Errorf("the flood lost its order at %d", i)
		}
	}
}

// A replica that a client asks between its execution of a bundle and its core's hearing of that answers too: its host has
// let go of whom to answer.
func TestRule28AskedAfterExecution(t *testing.T) {
	c := newCluster(t, 4, nil)
	h, b, repeated := c.hosts[2], c.bundle(counter.Add(1)), false
	h.watch = func(r *bft.Ready) {
		for _, batch := range r.Execute {
			for _, x := range batch.Bundles {
				if x.Digest != b.Digest || repeated {
					continue
				}
				repeated = true
				u, err := h.checker.FromClient(b.Client, bft.RequestFrame(b, bft.Everyone))
				must(t, err)
				v, err := h.checker.Verify(u, c.ring)
				must(t, err)
				_ = h.replica.Step(v)
			}
		}
	}
	c.give(b)
	c.settle()
	c.mustAnswer(b.First, 3*bft.Second)
	again := 0
	for _, x := range h.replays {
		if x.Digest == b.Digest {
			again++
		}
	}
	if !repeated || again != 1 {
		t.Errorf("repeated %v, answered %d times afterwards", repeated, again)
	}
}
