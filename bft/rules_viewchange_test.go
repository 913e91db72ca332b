package bft_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// change is a view change to view 1 as seen by a backup: the view-changes of a quorum and what its
// primary makes of them.
type change struct {
	c          *cluster
	a, b, d    bft.Proposal
	vcs        []*bftpb.Envelope
	o          []*bftpb.Envelope
	stateCert  []*bftpb.Envelope
	aBundle    *bft.Bundle
	signer     int
	view       bft.View
	expectedBy *host
}

// newChange: the newest stable checkpoint among the view-changes is 8; 9 prepared as a, 10 nowhere, 11
// as d in the view that ended. So O has three entries, with a null request between.
func newChange(t *testing.T, n int) *change {
	c := started(t, n, nil)
	c.commit(8)
	c.pass(200 * bft.Millisecond)
	x := &change{c: c, signer: 1, view: 1}
	x.expectedBy = c.alone(2)
	x.aBundle = c.bundle(counter.Add(1))
	second, third := c.bundle(counter.Add(2)), c.bundle(counter.Add(3))
	c.give(x.aBundle, 2)
	x.a, x.b, x.d = proposal(c.now, x.aBundle), proposal(c.now, second), proposal(c.now, third)
	h := c.hosts[2]
	info := bft.CheckpointInfo{Seq: 8, State: h.digests[8].State, History: h.digests[8].History}
	var signers []int
	for i := 0; i < c.quorum(); i++ {
		signers = append(signers, i)
	}
	x.stateCert = c.checkpointCert(info, signers...)
	voters := c.backups(0, c.quorum()-1)
	for i := 0; len(x.vcs) < c.quorum(); i++ {
		switch {
		case i == 2:
			continue
		case len(x.vcs) == 0: // one that lags behind: its checkpoint is genesis
			x.vcs = append(x.vcs, c.viewChange(i, 1, 0, nil))
		case len(x.vcs) == 1:
			x.vcs = append(x.vcs, c.viewChange(i, 1, 8, x.stateCert, c.certify(0, 9, x.a, voters...)))
		default:
			x.vcs = append(x.vcs, c.viewChange(i, 1, 8, x.stateCert, c.certify(0, 11, x.d, voters...)))
		}
	}
	x.o = []*bftpb.Envelope{c.header(1, 1, 9, x.a), c.header(1, 1, 10, bft.Null), c.header(1, 1, 11, x.d)}
	return x
}

// TestRule07NewViewIsComparedEntryByEntry: backups compute min-s, max-s and O themselves; whatever is
// otherwise in the primary's new-view, they refuse it whole.
func TestRule07NewViewIsComparedEntryByEntry(t *testing.T) {
	for _, n := range []int{4, 6} {
		for _, k := range []struct {
			name  string
			spoil func(x *change)
		}{
			{"", func(*change) {}},
			{"a prepared proposal left out", func(x *change) { x.o = x.o[:2] }},
			{"nothing carried over", func(x *change) { x.o = nil }},
			{"an entry too many", func(x *change) { x.o = append(x.o, x.c.header(1, 1, 12, x.b)) }},
			{"a null entry too many", func(x *change) { x.o = append(x.o, x.c.header(1, 1, 12, bft.Null)) }},
			{"null for a prepared one", func(x *change) { x.o[0] = x.c.header(1, 1, 9, bft.Null) }},
			{"a request for a null one", func(x *change) { x.o[1] = x.c.header(1, 1, 10, x.b) }},
			{"another proposal", func(x *change) { x.o[2] = x.c.header(1, 1, 11, x.b) }},
			{"another time", func(x *change) { x.o[0] = x.c.header(1, 1, 9, bft.Proposal{Body: x.a.Body, Time: x.a.Time + 1}) }},
			{"entries out of order", func(x *change) { x.o[0], x.o[1] = x.o[1], x.o[0] }},
			{"an entry twice", func(x *change) { x.o[1] = x.o[0] }},
			{"a gap", func(x *change) { x.o = []*bftpb.Envelope{x.o[0], x.o[2]} }},
			{"a lower min-s", func(x *change) { x.o = append([]*bftpb.Envelope{x.c.header(1, 1, 8, bft.Null)}, x.o...) }},
			{"a higher min-s", func(x *change) { x.o = x.o[1:] }},
			{"an entry of the old view", func(x *change) { x.o[0] = x.c.header(0, 0, 9, x.a) }},
			{"an entry by another", func(x *change) { x.o[0] = x.c.header(3, 1, 9, x.a) }},
			{"an entry without its signature", func(x *change) { x.o[0].Signature[0] ^= 1 }},
			{"a view-change too few", func(x *change) { x.vcs = x.vcs[:len(x.vcs)-1] }},
			{"a view-change twice", func(x *change) { x.vcs[len(x.vcs)-1] = x.vcs[1] }},
			{"a view-change too many", func(x *change) { x.vcs = append(x.vcs, x.c.viewChange(2, 1, 0, nil)) }},
			{"a view-change to another view", func(x *change) {
				e := x.c.viewChange(int(x.vcs[0].Signer), 5, 0, nil)
				_ = x.c.handAll(2, e)
				x.vcs[0] = e
			}},
			{"a view-change under another's name", func(x *change) { x.vcs[0].Signer = 2 }},
			{"not by the primary", func(x *change) { x.signer = 3 }},
		} {
			x := newChange(t, n)
			h := x.expectedBy
			_ = x.c.handAll(2, x.vcs...)
			if i := h.info(); i.View != 1 || !i.Changing {
				t.Fatalf("n=%d: %+v", n, i)
			}
			k.spoil(x)
			p := &bftpb.NewView{View: uint64(x.view), PrePrepares: x.o}
			for _, e := range x.vcs {
				d := digestOf(e)
				p.ViewChanges = append(p.ViewChanges, &bftpb.ViewChangeRef{Signer: e.Signer, Digest: d[:]})
			}
			err := x.c.handAll(2, x.c.envelope(x.signer, bft.TypeNewView, p))
			x.c.giveBody(h, 1, x.aBundle)
			_, voted := h.voted(bft.PhasePrepare, 1, 9)
			switch good := k.name == ""; {
			case good && (err != nil || h.info().Changing || !voted):
				t.Fatalf("n=%d: the right new-view is refused: %v", n, err)
			case !good && (!h.info().Changing || voted):
				t.Errorf("n=%d: accepted with %s", n, k.name)
			case !good && !errors.Is(err, bft.ErrInvalid) && k.name != "a view-change under another's name":
				t.Errorf("n=%d: %s is not held against the primary: %v", n, k.name, err)
			}
		}
	}
}

// Rule 7: for each number the certificate of the highest view wins, whoever shows it.
func TestRule07TheHighestViewsCertificateWins(t *testing.T) {
	for _, first := range []bool{true, false} {
		c := started(t, 4, nil)
		h := c.alone(0)
		old, young := c.bundle(counter.Add(1)), c.bundle(counter.Add(2))
		p, q := proposal(c.now, old), proposal(c.now, young)
		x, y := c.certify(1, 1, p, 0, 2), c.certify(2, 1, q, 0, 1)
		if !first {
			x, y = y, x
		}
		vcs := []*bftpb.Envelope{c.viewChange(1, 3, 0, nil, x), c.viewChange(2, 3, 0, nil, y), c.viewChange(3, 3, 0, nil)}
		_ = c.handAll(0, vcs...)
		if err := c.handAll(0, c.newView(3, vcs, c.header(3, 3, 1, p))); !errors.Is(err, bft.ErrInvalid) {
			t.Fatalf("the lower view's certificate is taken: %v", err)
		}
		d := started(t, 4, nil)
		g := d.alone(0)
		_ = d.handAll(0, vcs...)
		must(t, d.handAll(0, d.newView(3, vcs, d.header(3, 3, 1, q))))
		d.giveBody(g, 3, young)
		if dig, ok := g.voted(bft.PhasePrepare, 3, 1); !ok || dig != q.Digest() {
			t.Fatal("the higher view's certificate is not taken")
		}
		_ = h
	}
}

// The same as computed by a primary: it proposes what the highest view prepared.
func TestRule07PrimaryProposesTheHighestViewsCertificate(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	old, young := c.bundle(counter.Add(1)), c.bundle(counter.Add(2))
	c.give(old, 3)
	c.give(young, 3)
	p, q := proposal(c.now, old), proposal(c.now, young)
	_ = c.handAll(3, c.viewChange(0, 3, 0, nil, c.certify(2, 2, q, 0, 1)), c.viewChange(1, 3, 0, nil, c.certify(1, 2, p, 0, 2)), c.viewChange(2, 3, 0, nil))
	c.giveBody(h, 0, young)
	c.giveBody(h, 0, old)
	got := h.envelopes(bft.TypeNewView)
	if len(got) != 1 {
		t.Fatalf("%d new-views", len(got))
	}
	var nv bftpb.NewView
	must(t, nv.UnmarshalVT(got[0].Payload))
	want := [][]byte{c.encode(pbHeader(3, 1, bft.Null)), c.encode(pbHeader(3, 2, q))}
	if len(nv.PrePrepares) != 2 || !bytes.Equal(nv.PrePrepares[0].Payload, want[0]) || !bytes.Equal(nv.PrePrepares[1].Payload, want[1]) {
		t.Fatal("O is not null, q")
	}
}

func TestRule08AVoidViewChangeCountsForNothing(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	bad := c.certify(0, 1, p, 1, 3)
	bad.votes[1] = c.votes(3, 0, prepare(1, p))
	bad.votes[1].Signature[9] ^= 1
	void := c.viewChange(3, 1, 0, nil, bad)
	if err := c.handAll(2, void); !errors.Is(err, bft.ErrInvalid) {
		t.Fatalf("a view-change with an invalid part: %v", err)
	}
	if err := c.handAll(2, c.viewChange(0, 1, 0, nil)); err != nil {
		t.Fatal(err)
	}
	if h.info().Changing {
		t.Fatal("the void view-change counts among f+1")
	}
	vcs := []*bftpb.Envelope{c.viewChange(0, 1, 0, nil), c.viewChange(1, 1, 0, nil), void}
	_ = c.handAll(2, vcs[1])
	// A new-view that stands on it is refused whole: the void one is asked for, and is as void as before.
	_ = c.handAll(2, c.newView(1, vcs))
	c.wait(20 * bft.Millisecond)
	err := c.hand(letter{1, 2, c.frame(bft.TypeData, &bftpb.Data{ViewChanges: []*bftpb.Envelope{void}})})
	if !errors.Is(err, bft.ErrInvalid) || !h.info().Changing {
		t.Fatalf("a new-view on a void view-change is entered: %v", err)
	}
	// It hides no other one, not even a valid one of the same member.
	good := c.viewChange(3, 1, 0, nil, c.certify(0, 1, p, 1, 3))
	must(t, c.handAll(2, good))
}

// TestRule08VoidOneHidesNoOther: the valid view-changes beside a void one still make a new-view.
func TestRule08VoidOneHidesNoOther(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	bad := c.certify(0, 1, p, 2, 3)
	bad.header.Signature[9] ^= 1
	_ = c.handAll(1, c.viewChange(0, 1, 0, nil, bad), c.viewChange(2, 1, 0, nil), c.viewChange(3, 1, 0, nil))
	if len(h.envelopes(bft.TypeNewView)) != 1 {
		t.Fatal("no new-view from its own and two valid view-changes")
	}
}

func TestRule09PreparedCertificateIsKeptAcrossViewsAndRestarts(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	p := proposal(c.now, b)
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 1, b)}))
	c.tell(2, 0, prepare(1, p), 1)
	if _, ok := h.voted(bft.PhaseCommit, 0, 1); !ok {
		t.Fatal("not prepared")
	}
	shows := func(v, in bft.View) {
		t.Helper()
		e := h.envelopes(bft.TypeViewChange)
		if len(e) == 0 {
			t.Fatalf("no view-change to %d", v)
		}
		var vc bftpb.ViewChange
		must(t, vc.UnmarshalVT(e[len(e)-1].Payload))
		if bft.View(vc.View) != v || len(vc.Prepared) != 1 {
			t.Fatalf("the view-change to %d shows %d certificates", vc.View, len(vc.Prepared))
		}
		var head bftpb.Header
		must(t, head.UnmarshalVT(vc.Envelopes[vc.Prepared[0].PrePrepare].Payload))
		if bft.View(head.View) != in || !bytes.Equal(head.Body, p.Body[:]) {
			t.Fatalf("the view-change to %d shows a certificate of view %d", v, head.View)
		}
	}
	// View 1 begins without any word of it: its new-view stands on those who had not prepared.
	c.enter(h, 1)
	shows(1, 0)
	h.sent = nil
	c.enter(h, 2+1)
	shows(3, 0)
	h.start()
	c.answerStart(h, []int{0, 1})
	h.sent = nil
	c.enter(h, 4, c.certify(0, 1, p, 1, 3))
	shows(4, 0)
	// In view 4 it prepares again, with the same digest. From then on that certificate is shown.
	if d, ok := h.voted(bft.PhasePrepare, 4, 1); !ok || d != p.Digest() {
		t.Fatal("O does not keep the proposal digest")
	}
	c.tell(2, 4, prepare(1, p), 1)
	h.sent = nil
	c.enter(h, 5, c.certify(4, 1, p, 1, 3))
	shows(5, 4)
	// A restart finds both certificates, and keeps the one of the higher view.
	h.start()
	c.answerStart(h, []int{0, 1})
	h.sent = nil
	c.enter(h, 7, c.certify(4, 1, p, 1, 3))
	shows(7, 4)
}

func TestRule10OnlyAQuorumsTimerGoesOn(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	c.give(c.bundle(counter.Add(1)), 3)
	c.wait(2 * bft.Second)
	if i := h.info(); i.View != 1 || !i.Changing {
		t.Fatalf("%+v", i)
	}
	c.wait(30 * bft.Second)
	if i := h.info(); i.View != 1 {
		t.Fatalf("without a quorum it went on to view %d", i.View)
	}
	// One more is not a quorum either; and one for a higher view makes it, though not f+1 to be joined.
	_ = c.handAll(3, c.viewChange(0, 1, 0, nil))
	c.wait(30 * bft.Second)
	if i := h.info(); i.View != 1 {
		t.Fatalf("with two of three it went on to view %d", i.View)
	}
	_ = c.handAll(3, c.viewChange(2, 7, 0, nil))
	wait := h.info().Timeout
	c.wait(wait - 10*bft.Millisecond)
	if i := h.info(); i.View != 1 {
		t.Fatal("it did not wait for its timeout")
	}
	c.wait(50 * bft.Millisecond)
	if i := h.info(); i.View != 2 || !i.Changing {
		t.Fatalf("with a quorum, and no new-view, it stays in view %d", i.View)
	}
}

func TestRule10JoinsTheSmallestOfWeakQuorum(t *testing.T) {
	for _, n := range []int{4, 7, 9} {
		c := started(t, n, nil)
		h := c.alone(0)
		f := bft.MaxFaulty(n)
		for i := 1; i <= f; i++ {
			_ = c.handAll(0, c.viewChange(i, bft.View(3+i), 0, nil))
		}
		if h.info().Changing {
			t.Fatalf("n=%d: f alone make it leave", n)
		}
		_ = c.handAll(0, c.viewChange(f+1, 30, 0, nil))
		if i := h.info(); i.View != 4 || !i.Changing {
			t.Fatalf("n=%d: f+1 for views from 4 on, and it is in view %d", n, i.View)
		}
	}
}

// Rule 10: joining also works for view-changes that came while this replica had only just started.
func TestRule10JoinsWhatItHeardWhileStarting(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	h.start()
	must(t, c.handAll(3, c.viewChange(0, 2, 0, nil)))
	must(t, c.handAll(3, c.viewChange(1, 2, 0, nil)))
	c.answerStart(h, []int{0, 1})
	c.wait(100 * bft.Millisecond)
	if i := h.info(); i.Starting || i.View != 2 || !i.Changing {
		t.Fatalf("f+1 have left for view 2, and it stays behind: %+v", i)
	}
}

// Rule 10: the primary of the next view makes its new-view of what came while it had only just started.
func TestRule10NewViewOfWhatItHeardWhileStarting(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	h.start()
	for _, i := range []int{0, 2, 3} {
		must(t, c.handAll(1, c.viewChange(i, 1, 0, nil)))
	}
	c.answerStart(h, []int{0, 2})
	c.wait(100 * bft.Millisecond)
	if len(h.envelopes(bft.TypeNewView)) == 0 {
		t.Fatalf("a quorum waits for the new-view: %+v", h.info())
	}
}

func TestRule10OneViewChangePerViewSentAgainAsItIs(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	b := c.bundle(counter.Add(1))
	c.give(b, 3)
	must(t, c.hand(letter{0, 3, c.prePrepare(0, 0, 1, b)}))
	c.wait(2 * bft.Second)
	first := h.envelopes(bft.TypeViewChange)
	if len(first) != 1 {
		t.Fatalf("%d view-changes without anybody asking", len(first))
	}
	behind := c.frame(bft.TypeStatus, &bftpb.Status{Sent: 1})
	for i := 0; i < 3; i++ {
		must(t, c.hand(letter{1, 3, behind}))
		c.wait(200 * bft.Millisecond)
	}
	// What prepares meanwhile, or was learnt, does not change what was said.
	c.tell(3, 0, prepare(1, proposal(c.now, b)), 1, 2)
	again := h.envelopes(bft.TypeViewChange)
	if len(again) < 3 {
		t.Fatal("it is not retransmitted")
	}
	h.start()
	c.answerStart(h, []int{0, 1})
	must(t, c.hand(letter{1, 3, behind}))
	for _, e := range append(again, h.envelopes(bft.TypeViewChange)...) {
		if !bytes.Equal(e.Payload, first[0].Payload) {
			t.Fatal("a second view-change for one view")
		}
	}
	if len(h.envelopes(bft.TypeViewChange)) == 0 {
		t.Fatal("after a restart it is not sent again")
	}
}

func TestRule10NewViewIsRetransmitted(t *testing.T) {
	c := started(t, 4, nil)
	c.hosts[0].crash()
	c.dropWhen = func(l letter) bool { return l.to == 3 && l.kind() == bft.TypeNewView }
	c.invoke(nil, counter.Add(1))
	c.passUntil(5*bft.Second, "a new view of the others", func() bool { return !c.hosts[1].info().Changing && c.hosts[1].info().View == 1 })
	c.dropWhen = nil
	c.passUntil(bft.Second, "the new-view reaches who missed it", func() bool { i := c.hosts[3].info(); return i.View == 1 && !i.Changing })
}

func TestRule11BackOff(t *testing.T) {
	c := started(t, 7, nil)
	h := c.alone(6) // not the primary of any view that follows
	base, most := c.cfg.RequestTimeout, c.cfg.MaxTimeout
	for k, want := range []bft.Time{base, 2 * base, 4 * base, 4 * base, 4 * base} {
		if got := h.info().Timeout; got != min(want, most) {
			t.Fatalf("after %d failed views the timeout is %v", k, got.Duration())
		}
		if d := h.info().SuspectAfter; d > h.info().Timeout {
			t.Fatalf("d is %v", d.Duration())
		}
		c.failViews(h, 1)
	}
	// A number proposed fresh in this view is executed: half of it, and only once per view.
	halves := func(s bft.Seq) bft.Time {
		v := h.info().View
		b := c.bundleOf(c.ring.NewKey([32]byte{8, byte(s)}), 0, 1, counter.Add(1))
		c.give(b, 6)
		p := proposal(c.now, b)
		primary := int(bft.Primary(v, 7))
		must(t, c.hand(letter{bft.ReplicaID(primary), 6, c.prePrepare(primary, v, s, b)}))
		c.tell(6, v, prepare(s, p), c.backups(v, 4)...)
		c.tell(6, v, commit(s, p), 0, 1, 2, 3, 4)
		if h.info().Executed != s {
			t.Fatalf("%d is not executed: %s", s, c.describe())
		}
		return h.info().Timeout
	}
	was := h.info().Timeout
	if got := halves(1); got != was/2 {
		t.Fatalf("after progress the timeout goes from %v to %v", was.Duration(), got.Duration())
	}
	if got := halves(2); got != was/2 {
		t.Fatalf("a second time in one view: %v", got.Duration())
	}
}

// Rule 11: how long a partition lasted does not matter for when work resumes.
func TestRule11WorkResumesSoonAfterAnyPartition(t *testing.T) {
	for _, lasts := range []bft.Time{5 * bft.Second, 300 * bft.Second} {
		c := started(t, 4, nil)
		c.commit(3)
		c.dropWhen = func(l letter) bool { return l.from%2 != l.to%2 }
		first := c.invoke(nil, counter.Add(1))
		c.pass(lasts)
		if c.answered(first) {
			t.Fatal("two of four answered")
		}
		c.dropWhen = nil
		c.mustAnswer(first, 3*c.cfg.MaxTimeout)
		c.mustAnswer(c.invoke(nil, counter.Add(1)), 2*c.cfg.MaxTimeout)
	}
}

func TestRule12WhoHearsNobodyDrivesNobody(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(3)
	c.dropWhen = func(l letter) bool { return l.from == 3 || l.to == 3 }
	c.invoke(nil, counter.Add(1))
	c.pass(60 * bft.Second)
	if i := c.hosts[3].info(); i.View > 1 {
		t.Fatalf("alone it has gone through views to %d", i.View)
	}
	c.dropWhen = nil
	for k := 0; k < 20; k++ {
		c.mustAnswer(c.invoke(nil, counter.Add(1)), bft.Second)
		c.pass(100 * bft.Millisecond)
	}
	for _, h := range c.hosts[:3] {
		if i := h.info(); i.View != 0 || i.Changing {
			t.Fatalf("the lonely one has driven the others: %s", c.describe())
		}
	}
	c.passUntil(2*bft.Second, "the lonely one follows all the same", func() bool { return c.hosts[3].info().Executed == c.hosts[0].info().Executed })
}

// giveBodies has a replica hold bodies, as the proposals of an earlier view.
func (c *cluster) giveBodies(h *host, bundles ...*bft.Bundle) {
	for i, b := range bundles {
		must(c.t, c.hand(letter{0, h.id, c.prePrepare(0, 0, bft.Seq(i+1), b)}))
	}
}

// A new-view for a far-future view, whose view-changes nobody has, by a faulty primary: the one that
// everybody waits for is entered all the same.
func TestRule07FarNewViewHidesNoOther(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	far := []*bftpb.Envelope{c.viewChange(0, 1002, 0, nil), c.viewChange(1, 1002, 0, nil), c.viewChange(2, 1002, 0, nil)}
	_ = c.hand(letter{2, 3, c.framed(c.newView(1002, far))}) // 1002 mod 4 = 2
	vcs := []*bftpb.Envelope{c.viewChange(0, 1, 0, nil), c.viewChange(1, 1, 0, nil), c.viewChange(2, 1, 0, nil)}
	_ = c.handAll(3, vcs...)
	must(t, c.hand(letter{1, 3, c.framed(c.newView(1, vcs))}))
	if i := h.info(); i.View != 1 || i.Changing {
		t.Fatalf("view 1 is not entered: %+v", i)
	}
}

// What a replica voted for it keeps although a view begins that does not name it: the next one may (rules 4 and 9).
func TestRule09ABodyVotedForOutlivesAViewWithoutIt(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	p := proposal(c.now, b)
	must(t, c.hand(letter{0, 2, c.prePrepare(0, 0, 1, b)}))
	if _, ok := h.voted(bft.PhasePrepare, 0, 1); !ok {
		t.Fatal("no prepare")
	}
	c.enter(h, 1) // its new-view stands on those who had not prepared
	h.sent = nil
	must(t, c.hand(letter{3, 2, c.frame(bft.TypeFetch, &bftpb.Fetch{Kind: 2, Digests: p.Body[:]})}))
	h.turn()
	for _, l := range h.sentKind(bft.TypeData) {
		var d bftpb.Data
		must(t, d.UnmarshalVT(l.frame[1:]))
		if len(d.Bodies) == 1 && bytes.Equal(d.Bodies[0].Bundles, b.Digest[:]) {
			return
		}
	}
	t.Error("it has the body no more")
}
