package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

func TestRule15ExecutesAndServesWhileChangingViews(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(3)
	h := c.alone(3)
	accepted := c.bundle(counter.Add(1))
	c.give(accepted, 3)
	must(t, c.hand(letter{0, 3, c.prePrepare(0, 0, 4, accepted)}))
	_ = c.handAll(3, c.viewChange(0, 1, 0, nil), c.viewChange(2, 1, 0, nil))
	if !h.info().Changing {
		t.Fatal("it did not join")
	}
	c.tell(3, 0, commit(4, proposal(c.now, accepted)), 0, 1, 2)
	if i := h.info(); i.Executed != 4 || !i.Changing {
		t.Fatalf("what a quorum has committed is not executed: %+v", i)
	}
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	must(t, c.hand(letter{1, 3, c.committedData(0, 5, p, []*bft.Bundle{b}, 0, 1, 2)}))
	if i := h.info(); i.Executed != 5 || !i.Changing {
		t.Fatalf("what a certificate proves is not executed: %+v", i)
	}
	h.sent = nil
	must(t, c.hand(letter{1, 3, c.frame(bft.TypeFetch, &bftpb.Fetch{Kind: 4, From: 4, To: 5})}))
	if len(h.sentKind(bft.TypeData)) != 1 {
		t.Fatal("it does not serve what it has")
	}
	must(t, c.hand(letter{1, 3, c.frame(bft.TypeStatus, &bftpb.Status{Starting: true, Boot: 5, Sent: 1})}))
	for _, l := range h.sentKind(bft.TypeStatus) {
		var s bftpb.Status
		must(t, s.UnmarshalVT(l.frame[1:]))
		if s.AnswersStart && s.Boot == 5 {
			return
		}
	}
	t.Fatal("it does not answer a status")
}

// A new primary that crashes between signing its pre-prepares and its new-view must not stumble over its
// own promises when other view-changes than before reach it.
func TestRule16NewPrimaryRestartsBeforeItsNewView(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			t.Fatal(p)
		}
	}()
	c := started(t, 4, nil)
	h := c.alone(1)
	b, b2 := c.bundle(counter.Add(1)), c.bundle(counter.Add(2))
	c.give(b, 1)
	c.give(b2, 1)
	p, q := proposal(c.now, b), proposal(c.now, b2)
	// Members 2 and 3 know that 2 prepared, and of 1 nothing; member 0 knows that 1 prepared.
	with2 := c.certify(0, 2, q, 2, 3)
	c.giveBodies(h, b, b2)
	h.slowSigner = true
	_ = c.handAll(1, c.viewChange(2, 1, 0, nil, with2), c.viewChange(3, 1, 0, nil, with2))
	for len(h.unsigned) > 0 && h.unsigned[0].Type != bft.TypePrePrepare { // its own view-change
		h.sign(0)
		h.turn()
	}
	c.giveBody(h, 2, b2)
	if len(h.unsigned) == 0 || h.unsigned[0].Type != bft.TypePrePrepare {
		t.Fatalf("no pre-prepares of O are being signed: %d requests", len(h.unsigned))
	}
	h.slowSigner = false
	h.start()
	c.answerStart(h, []int{0, 2})
	c.give(b, 1)
	c.give(b2, 1)
	_ = c.handAll(1, c.viewChange(0, 1, 0, nil, c.certify(0, 1, p, 2, 3)), c.viewChange(2, 1, 0, nil, with2))
	c.giveBody(h, 0, b)
	c.giveBody(h, 2, b2)
	// Whether it can still lead view 1 or not, it goes on.
	c.wait(100 * bft.Millisecond)
	if h.info().Changing {
		_ = c.handAll(1, c.viewChange(3, 1, 0, nil))
		c.wait(h.info().Timeout + 50*bft.Millisecond)
		if h.info().View < 2 {
			t.Fatalf("it neither leads view 1 nor leaves it: %+v", h.info())
		}
	}
}

// Before the crash O had two numbers, afterwards other view-changes determine one: what the view
// would then propose afresh for the second was promised otherwise.
func TestRule16LongerOBeforeTheCrash(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	b, b2, b3 := c.bundle(counter.Add(1)), c.bundle(counter.Add(2)), c.bundle(counter.Add(3))
	c.give(b, 1)
	c.give(b2, 1)
	one := c.certify(0, 1, proposal(c.now, b), 2, 3)
	two := c.certify(0, 2, proposal(c.now, b2), 2, 3)
	c.giveBodies(h, b, b2)
	h.slowSigner = true
	_ = c.handAll(1, c.viewChange(2, 1, 0, nil, one, two), c.viewChange(3, 1, 0, nil, one))
	for len(h.unsigned) > 0 && h.unsigned[0].Type != bft.TypePrePrepare { // its own view-change
		h.sign(0)
		h.turn()
	}
	if len(h.unsigned) != 2 {
		t.Fatalf("%d pre-prepares of O are being signed, not 2", len(h.unsigned))
	}
	h.slowSigner = false
	h.start()
	c.answerStart(h, []int{0, 2})
	c.give(b, 1)
	c.give(b3, 1)
	_ = c.handAll(1, c.viewChange(0, 1, 0, nil, one), c.viewChange(3, 1, 0, nil, one))
	c.giveBody(h, 0, b)
	c.wait(100 * bft.Millisecond) // it would stop on its own assertion
	if i := h.info(); i.View != 1 || !i.Changing {
		t.Fatalf("it leads view 1 against its own promise: %+v", i)
	}
	c.wait(h.info().Timeout + 50*bft.Millisecond)
	if h.info().View < 2 {
		t.Fatalf("it does not leave view 1: %+v", h.info())
	}
}
