package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// backupOf gives one backup that knows the round trip to its peers, so that d is at its floor.
func backupOf(t *testing.T, id bft.ReplicaID) (*cluster, *host) {
	t.Helper()
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	h := c.alone(id)
	if d := h.info().SuspectAfter; d != c.cfg.SuspectFloor {
		t.Fatalf("d is %v", d.Duration())
	}
	return c, h
}

func requestFrame(b *bft.Bundle) []byte { return bft.RequestFrame(b, 0) }

func passedOn(h *host, b *bft.Bundle) (to []bft.ReplicaID) {
	for _, l := range h.sentKind(bft.TypeRequest) {
		if string(l.frame) == string(requestFrame(b)) {
			to = append(to, l.to)
		}
	}
	return to
}

// TestRule13RequestIsPassedOnThenThePrimarySuspected: whoever told of it, a request that the primary does
// not propose goes on to it after d, with its signature verified, and makes it suspect after another d.
func TestRule13RequestIsPassedOnThenThePrimarySuspected(t *testing.T) {
	for _, byMember := range []bool{false, true} {
		c, h := backupOf(t, 2)
		d := h.info().SuspectAfter
		b := c.bundle(counter.Add(1))
		if byMember {
			must(t, c.hand(letter{3, 2, requestFrame(b)}))
		} else {
			c.give(b, 2)
			h.turn()
		}
		c.wait(d)
		if len(passedOn(h, b)) != 0 || h.info().Changing {
			t.Fatal("before d has passed")
		}
		c.wait(20 * bft.Millisecond)
		if to := passedOn(h, b); len(to) != 1 || to[0] != 0 {
			t.Fatalf("after d it is passed on to %v", to)
		}
		if len(h.checked) == 0 || h.checked[len(h.checked)-1].Digest != b.Digest {
			t.Fatal("it was passed on unverified")
		}
		c.wait(d - 20*bft.Millisecond)
		if h.info().Changing {
			t.Fatal("suspected within the second d")
		}
		c.wait(40 * bft.Millisecond)
		if i := h.info(); i.View != 1 || !i.Changing {
			t.Fatalf("after twice d the primary is not suspected: %+v", i)
		}
	}
}

// From the pre-prepare to execution the request timeout runs.
func TestRule13AcceptedProposalIsTimedUntilExecution(t *testing.T) {
	c, h := backupOf(t, 2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 2, b)}))
	c.wait(c.cfg.RequestTimeout - 10*bft.Millisecond)
	if h.info().Changing {
		t.Fatal("suspected too soon")
	}
	c.wait(30 * bft.Millisecond)
	if !h.info().Changing {
		t.Fatal("a proposal that goes nowhere is not timed")
	}
}

// A primary that skips a number lets nothing above it be executed, however well it commits.
func TestRule13SkippedNumberIsTimed(t *testing.T) {
	c, h := backupOf(t, 2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 3, b)})) // 2 never comes
	p := proposal(c.now, b)
	c.tell(2, 0, prepare(3, p), 1, 3)
	c.tell(2, 0, commit(3, p), 0, 1, 3)
	if h.info().Executed != 1 {
		t.Fatal("executed with a gap")
	}
	c.wait(3 * bft.Second)
	if !h.info().Changing {
		t.Fatal("committed, never executed, and nobody suspects the primary")
	}
}

// The same with the whole cluster: the client gets its answer in spite of the primary's gap.
func TestRule13SkippedNumberDoesNotHaltTheCluster(t *testing.T) {
	c := started(t, 4, nil)
	c.liars[0] = true
	c.hosts[0].down = true
	b := c.bundle(counter.Add(1))
	c.give(b)
	c.turnAll()
	frame := c.prePrepare(0, 0, 2, b)
	for _, to := range []bft.ReplicaID{1, 2, 3} {
		must(t, c.hand(letter{0, to, frame}))
	}
	c.settle()
	c.mustAnswer(b.First, 5*bft.Second)
}

// Entries of O are timed like requests.
func TestRule13EntriesOfOAreTimed(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 1, b)}))
	c.giveBody(h, 0, b)
	c.enter(h, 1, c.certify(0, 1, proposal(c.now, b), 1, 3))
	c.wait(h.info().Timeout + 50*bft.Millisecond)
	if i := h.info(); i.View != 2 || !i.Changing {
		t.Fatalf("%+v", i)
	}
}

// Waiting reads are timed too: a mark that is never reached must not hold them for ever.
func TestRule13WaitingReadsAreTimed(t *testing.T) {
	c, h := backupOf(t, 2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 3, b)}))
	c.tell(2, 0, prepare(3, proposal(c.now, b)), 1, 3)
	must(t, h.replica.Read(1))
	c.wait(3 * bft.Second)
	if !h.info().Changing || len(h.reads) != 0 {
		t.Fatal("a read waits for ever")
	}
}

// A read that has waited through a view change gives the new primary all of its time: else every view would end as it
// begins.
func TestRule13ReadsAreTimedAnewInEachView(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	c.give(b, 2)
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 2, b)}))
	c.tell(2, 0, prepare(2, p), 1, 3)
	for id := range bft.ReadID(3) {
		must(t, h.replica.Read(id))
	}
	c.wait(3 * bft.Second)
	if !h.info().Changing {
		t.Fatal("a read waits for ever")
	}
	one := c.certify(0, 1, h.batches[0].Proposal, 1, 3)
	c.enter(h, 1, one, c.certify(0, 2, p, 1, 3))
	for range 2 {
		c.wait(h.info().Timeout / 2)
		if i := h.info(); i.View != 1 || i.Changing || len(h.reads) != 0 {
			t.Fatalf("the new primary had no time: %+v", i)
		}
	}
	c.wait(h.info().Timeout)
	if !h.info().Changing {
		t.Fatal("a read waits for ever in the second view")
	}
}

// A timer ends once executed state would no longer propose the request.
func TestRule13TimerEndsWhenDecidedOrSuperseded(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	// Two bundles for one number of the session: only one can run, and nobody waits for the other.
	b, other := c.bundleOf(c.client, c.session, 2, counter.Add(5)), c.bundleOf(c.client, c.session, 2, counter.Add(7))
	c.give(b, 0, 1)
	c.give(other, 2, 3)
	c.next = 3
	c.pass(10 * bft.Second)
	for _, h := range c.hosts {
		if i := h.info(); i.Pending != 0 || i.View != 0 || i.Executed > 3 {
			t.Fatalf("%s", c.describe())
		}
	}
	if !c.answered(2) {
		t.Fatal("no answer")
	}
}

// The oldest of each client has its own deadline: censoring one client is seen, however well the others
// are served.
func TestRule13CensoringOneClientIsSeen(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	victim := c.ring.NewKey([32]byte{66})
	v := c.bundleOf(victim, 0, 1, counter.Add(100))
	// The primary is honest but deaf to the victim: what it would get of it is lost.
	c.dropWhen = func(l letter) bool { return l.to == 0 && l.kind() == bft.TypeRequest }
	c.give(v, 1, 2, 3)
	served := 0
	for k := 0; k < 20 && c.hosts[1].info().View == 0; k++ {
		c.mustAnswer(c.invoke(nil, counter.Add(1)), 3*bft.Second)
		c.pass(50 * bft.Millisecond)
		served++
	}
	if served < 5 {
		t.Fatalf("the others were served %d times only", served)
	}
	c.passUntil(3*bft.Second, "the victim is served in another view", func() bool {
		for _, b := range c.hosts[1].batches {
			for _, x := range b.Bundles {
				if x.Digest == v.Digest {
					return c.hosts[1].info().View > 0
				}
			}
		}
		return false
	})
}

// TestRule14SlowPrimaryIsSuspected: d is a multiple of the round trip, far below the request timeout, so a
// primary that delays every proposal to just under the timeout is replaced.
func TestRule14SlowPrimaryIsSuspected(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	type late struct {
		at bft.Time
		l  letter
	}
	var held []late
	c.dropWhen = func(l letter) bool {
		if l.from == 0 && l.kind() == bft.TypePrePrepare {
			held = append(held, late{c.now + c.cfg.RequestTimeout*9/10, l})
			return true
		}
		return false
	}
	first := c.invoke(nil, counter.Add(1))
	for end := c.now + 4*bft.Second; c.now < end && c.hosts[1].info().View == 0; {
		c.pass(10 * bft.Millisecond)
		for len(held) > 0 && held[0].at <= c.now {
			_ = c.hand(held[0].l)
			held = held[1:]
			c.settle()
		}
	}
	if c.hosts[1].info().View == 0 {
		t.Fatal("a primary just under the timeout stays")
	}
	c.mustAnswer(first, 3*bft.Second)
}

// The round trip counts: with slow links d is longer, or honest primaries would be suspected.
func TestRule14DFollowsTheRoundTripOfAQuorum(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	// Peers answer each status after 50 ms; one of them lies about it, with an echo of long ago.
	for k := 0; k < 40; k++ {
		h.sent = nil
		for len(h.sentKind(bft.TypeStatus)) == 0 {
			c.wait(10 * bft.Millisecond)
		}
		var asked bftpb.Status
		must(t, asked.UnmarshalVT(h.sentKind(bft.TypeStatus)[0].frame[1:]))
		c.wait(50 * bft.Millisecond)
		for _, from := range []bft.ReplicaID{0, 2, 3} {
			s := &bftpb.Status{Sent: int64(c.now), Echo: asked.Sent}
			if from == 3 {
				s.Echo = 1
			}
			must(t, c.hand(letter{from, 1, c.frame(bft.TypeStatus, s)}))
		}
	}
	if d := h.info().SuspectAfter; d < 390*bft.Millisecond || d > 410*bft.Millisecond {
		t.Fatalf("with a round trip of 50 ms d is %v", d.Duration())
	}
}

// It counts only while the primary has room to propose: fewer than W numbers uncommitted.
func TestRule14NoRoomNoSuspicion(t *testing.T) {
	c, h := backupOf(t, 2)
	for s := bft.Seq(2); s < 2+c.cfg.Pipeline; s++ {
		b := c.bundle(counter.Add(1))
		c.give(b, 2)
		must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, s, b)}))
	}
	waiting := c.bundle(counter.Add(1))
	c.give(waiting, 2)
	c.wait(c.cfg.RequestTimeout - 10*bft.Millisecond)
	if h.info().Changing || len(passedOn(h, waiting)) != 0 {
		t.Fatal("the primary has no room and is suspected for not proposing more")
	}
	c.wait(50 * bft.Millisecond)
	if !h.info().Changing {
		t.Fatal("what it did propose goes nowhere, and it stays")
	}
}

func TestRule14BacksOffWithTheTimeout(t *testing.T) {
	c := started(t, 7, nil)
	c.commit(1)
	c.pass(bft.Second)
	h := c.alone(6)
	if d := h.info().SuspectAfter; d != c.cfg.SuspectFloor {
		t.Fatalf("d is %v", d.Duration())
	}
	c.failViews(h, 2)
	if d := h.info().SuspectAfter; d != 4*c.cfg.SuspectFloor && d != 2*c.cfg.SuspectFloor {
		t.Fatalf("after failed views d is %v", d.Duration())
	}
	before := h.info().SuspectAfter
	c.failViews(h, 1)
	if d := h.info().SuspectAfter; d != 2*before {
		t.Fatalf("after one more d goes from %v to %v", before.Duration(), d.Duration())
	}
}

// A process that was stopped learns nothing about its peers from the time that it missed.
func TestRule14PausedReplicaBlamesNobody(t *testing.T) {
	c, h := backupOf(t, 2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	h.turn()
	c.now += 20 * bft.Second
	c.wait(50 * bft.Millisecond)
	if h.info().Changing {
		t.Fatal("a pause of its own is held against the primary")
	}
}
