package bft_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

func passively(c *bft.Config) { c.Passive, c.Pipeline = true, 1 }

// passiveCluster has executed one operation, which opened the client's session.
func passiveCluster(t *testing.T) *cluster {
	t.Helper()
	c := started(t, 4, passively)
	c.commit(1)
	c.pass(100 * bft.Millisecond)
	return c
}

// value is what a replica's counter says.
func (h *host) value() string {
	r := h.machine.Query(context.Background(), [][]byte{counterGet})
	return string(r[0][1:])
}

var counterGet = append([]byte{1, byte(len("counter"))}, "counterget"...)

// hasCommit tells whether a letter has votes with a commit among them.
func hasCommit(l letter) bool {
	e, _ := envelopeIn(l.frame)
	var v bftpb.Votes
	return e != nil && bft.MessageType(e.Type) == bft.TypeVotes && v.UnmarshalVT(e.Payload) == nil &&
		slices.ContainsFunc(v.Votes, func(x *bftpb.Vote) bool { return x.Phase == uint32(bft.PhaseCommit) })
}

// updatedPrePrepare is the first primary's proposal of bundles with updates.
func (c *cluster) updatedPrePrepare(s bft.Seq, updates []byte, bundles ...*bft.Bundle) []byte {
	p := bft.Proposal{Body: bft.UpdatedBodyDigest(digestsOf(bundles), updates), Time: c.now}
	return c.frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: c.header(0, 0, s, p), Body: &bftpb.Body{Bundles: joined(digestsOf(bundles)), Updates: updates}})
}

// mustCount waits until the counters of all replicas that are up stand at a number, and nothing waits.
func (c *cluster) mustCount(want string) {
	c.t.Helper()
	c.passUntil(10*bft.Second, "all counters at "+want, func() bool {
		return c.converged() && !slices.ContainsFunc(c.hosts, func(h *host) bool { return !h.down && h.value() != want })
	})
}

// An update is ordered with its request, and applied once by all, the primary included.
func TestPassiveUpdatesAreAppliedOnceByAll(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7} {
		c := started(t, n, passively)
		c.commit(20) // beyond a checkpoint
		c.mustCount("20")
		for _, h := range c.hosts {
			for _, b := range h.batches {
				if len(b.Updates) == 0 || b.Proposal.Body != bft.UpdatedBodyDigest(digestsOf(b.Bundles), b.Updates) {
					t.Fatalf("replica %d executes %+v", h.id, b)
				}
			}
		}
	}
}

// One number is proposed at a time, and several operations of one proposal have their updates in order.
func TestPassiveProposesOneNumberAtATime(t *testing.T) {
	c := passiveCluster(t)
	c.hosts[0].slowUpdates = true
	c.invoke(nil, counter.Add(1))
	for range 3 {
		c.invoke(nil, counter.Add(1), counter.Mul(2))
	}
	if k := len(c.hosts[0].drafted); k != 1 {
		t.Fatalf("%d batches are drafted at a time", k)
	}
	c.hosts[0].slowUpdates = false
	c.hosts[0].update()
	c.mustCount("30") // ((1+1+1)·2+1)·2…
	if i := c.hosts[0].info(); i.Executed != 3 {
		t.Fatalf("executed %d: what came meanwhile is one batch", i.Executed)
	}
}

// A primary whose Update does not return is replaced; when it returns after all, what it computed is forgotten, and it can be
// primary again.
func TestPassiveUpdateThatComesTooLate(t *testing.T) {
	c := passiveCluster(t)
	h := c.hosts[0]
	h.slowUpdates = true
	first := c.invoke(nil, counter.Add(5))
	c.mustAnswer(first, 5*bft.Second)
	if h.info().View != 1 || len(h.drafted) != 1 {
		t.Fatalf("%d drafted:%s", len(h.drafted), c.describe())
	}
	h.slowUpdates = false
	h.update()
	c.mustCount("6")
	c.hosts[1].crash()
	c.hosts[2].slowUpdates, c.hosts[3].slowUpdates = true, true
	c.hosts[1].start()
	c.hosts[1].slowUpdates = true
	c.mustAnswer(c.invoke(nil, counter.Add(5)), 20*bft.Second) // only the first replica can propose
	if v := h.info().View; v%4 != 0 || v == 0 {
		t.Fatal(c.describe())
	}
	for _, x := range c.hosts {
		x.slowUpdates = false
		for len(x.drafted) > 0 {
			x.update()
		}
	}
	c.mustCount("11")
}

// What prepared keeps its update in the next view: nobody computes or judges it again.
func TestPassiveUpdateSurvivesAViewChange(t *testing.T) {
	c := passiveCluster(t)
	c.dropWhen = hasCommit
	first := c.invoke(nil, counter.Add(5))
	var before []byte
	for _, h := range c.hosts[1:] {
		if len(h.wanting) == 0 || h.wanting[len(h.wanting)-1].Seq != 2 {
			t.Fatalf("replica %d did not judge", h.id)
		}
		before = h.wanting[len(h.wanting)-1].Updates
		h.wanting = nil
	}
	c.hosts[0].crash()
	c.dropWhen = nil
	for _, h := range c.hosts[1:] {
		h.slowUpdates = true
	}
	c.mustAnswer(first, 10*bft.Second)
	for _, h := range c.hosts[1:] {
		if len(h.wanting) > 0 {
			t.Fatalf("replica %d judges an update of an earlier view again", h.id)
		}
		if last := h.batches[len(h.batches)-1]; !bytes.Equal(last.Updates, before) {
			t.Fatalf("replica %d executes other updates: %x, prepared were %x", h.id, last.Updates, before)
		}
	}
}

// Whoever starts again replays updates from its log, and computes none.
func TestPassiveReplaysUpdates(t *testing.T) {
	c := passiveCluster(t)
	c.commit(5) // below the first checkpoint
	for _, h := range c.hosts {
		h.crash()
	}
	for _, h := range c.hosts {
		h.start()
		h.slowUpdates = true
	}
	c.mustCount("6")
	for _, h := range c.hosts {
		if len(h.drafted) > 0 {
			t.Fatalf("replica %d computes updates", h.id)
		}
	}
}

// A backup does not vote for updates that are not in order, and suspects their primary.
func TestPassiveBackupsSuspectThePrimaryOfABadUpdate(t *testing.T) {
	for name, lie := range map[string]func(*bft.Updated){
		"altered":  func(u *bft.Updated) { u.Updates[len(u.Updates)-1] ^= 1 },
		"left out": func(u *bft.Updated) { u.Updates = nil },
		"stale":    func(u *bft.Updated) { u.Updates[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := passiveCluster(t)
			c.hosts[0].lie = lie
			first := c.invoke(nil, counter.Add(5))
			for _, h := range c.hosts[1:] {
				if i := h.info(); !i.Changing && i.View != 1 || i.Suspicion != bft.SuspectedUpdate {
					t.Fatalf("replica %d: %+v", h.id, i)
				}
			}
			c.mustAnswer(first, 5*bft.Second)
			c.mustCount("6")
		})
	}
}

// Should updates be void all the same, nothing is executed; the requests are ordered again, and
// a primary under which that goes on is replaced.
func TestPassiveVoidProposalIsOrderedAgain(t *testing.T) {
	c := passiveCluster(t)
	for _, h := range c.hosts {
		h.credulous = true
	}
	c.hosts[0].lie = func(u *bft.Updated) { u.Updates[0] ^= 1 }
	first := c.invoke(nil, counter.Add(5))
	c.mustAnswer(first, 10*bft.Second)
	h := c.hosts[1]
	if i := h.info(); i.View != 1 || i.Suspicion != bft.SuspectedUpdate || i.Executed < 3 {
		t.Fatal(c.describe())
	}
	c.mustCount("6")
}

// A backup that lacks the number below waits for it before it judges, and votes then.
func TestPassiveBackupJudgesOnTheStateBefore(t *testing.T) {
	c := passiveCluster(t)
	late := c.hosts[3]
	c.hosts[2].crash() // now every vote is needed
	held := []letter{}
	c.dropWhen = func(l letter) bool {
		if l.to != 3 || !hasCommit(l) {
			return false
		}
		held = append(held, l)
		return true
	}
	one := c.invoke(nil, counter.Add(5)) // commits at the others alone
	two := c.invoke(nil, counter.Add(5))
	if h := late; h.info().Executed != 1 || len(h.wanting) != 2 || c.answered(two) {
		t.Fatalf("%d judged:%s", len(h.wanting), c.describe())
	}
	c.dropWhen = nil
	for _, l := range held {
		c.deliver(l)
	}
	c.settle()
	if !c.answered(one) || !c.answered(two) || late.info().View != 0 || late.wanting[len(late.wanting)-1].Seq != 3 {
		t.Fatal(c.describe())
	}
}

// Updates where no service is replicated passively are proof against the primary, and so are more than
// a body may have.
func TestPassiveUpdatesAreRefusedWhereNoServiceHasThem(t *testing.T) {
	for _, change := range []func(*bft.Config){nil, passively} {
		c := started(t, 4, change)
		c.commit(1)
		h := c.alone(2)
		b := c.bundle(counter.Add(1))
		c.give(b, 2)
		for _, size := range []int{1, bft.MaxUpdateBytes + 1} {
			l := letter{0, 2, c.updatedPrePrepare(2, make([]byte, size), b)}
			err := c.hand(l)
			if wantsValid := change != nil && size == 1; (err == nil) != wantsValid {
				t.Fatalf("passive %v, %d bytes: %v", change != nil, size, err)
			}
		}
		if change != nil && len(h.wanting) == 0 {
			t.Fatal("nothing is judged")
		}
	}
}
