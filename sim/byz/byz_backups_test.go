package byz

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// votes makes the frame of a member's votes, all for one digest.
func (s *stage) votes(id bft.ReplicaID, at slot, digest bft.Digest, phases ...bft.Phase) []byte {
	b := newBase(Env{Member: s.members[id], N: 4})
	return b.votesFrame(at, digest, phases...)
}

// preprepare makes the frame of a proposal by the primary of its view, and its digest.
func (s *stage) preprepare(at slot, list []byte) ([]byte, bft.Digest) {
	h := header(at.view, at.seq, list)
	e := s.members[at.view%4].Seal(bft.TypePrePrepare, wire.Marshal(h))
	return wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: e, Body: &bftpb.Body{Bundles: list}}), wire.Proposal(h).Digest()
}

// send has the liar's replica send a frame to all.
func (s *stage) send(frame []byte) []bft.Outbound {
	return s.a.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
}

// pass shows the network's adversary a frame, and tells whether it is lost.
func (s *stage) pass(now bft.Time, from, to bft.ReplicaID, frame []byte) bool {
	return s.a.Schedule(Passing{Now: now, From: from, To: to, FromInstance: int(from), ToInstance: int(to), Frame: frame}).Lose
}

// read reads the votes in a frame, which the liar must have signed.
func (s *stage) read(frame []byte) *bftpb.Votes {
	s.t.Helper()
	e := wire.Envelope(frame)
	s.signed(e)
	v, err := wire.Votes(e)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// leaving has the liar's replica send a view-change, and returns the one that leaves, which the liar signed.
func (s *stage) leaving(e *bftpb.Envelope) *bftpb.Envelope {
	s.t.Helper()
	out := s.send(wire.Frame(bft.TypeViewChange, e))
	if len(out) != 1 {
		s.t.Fatalf("%d frames leave instead of a view-change", len(out))
	}
	got := wire.Envelope(out[0].Frame)
	s.signed(got)
	return got
}

// until makes stages of ever other seeds until try is content with one.
func until(t *testing.T, behaviour string, try func(s *stage) bool) {
	t.Helper()
	for seed := range uint64(200) {
		if try(newStage(t, behaviour, seed)) {
			return
		}
	}
	t.Fatalf("%s never did what it is for", behaviour)
}

var prepareAndCommit = []bft.Phase{bft.PhasePrepare, bft.PhaseCommit}

func TestPrepareEquivocationNamesTwoDigests(t *testing.T) {
	s := newStage(t, "prepare equivocation", 1)
	_, digest := s.preprepare(slot{0, 1}, digests(0, 2))
	out := s.send(s.votes(liar, slot{0, 1}, digest, bft.PhasePrepare))
	s.told("votes for something else")
	named := make(map[bft.Digest]int)
	for _, id := range []bft.ReplicaID{0, 2, 3} {
		for _, frame := range to(out, id, bft.TypeVotes) {
			named[wire.DigestOf(s.read(frame).Votes[0].Digest)]++
		}
	}
	if len(named) != 2 || named[digest] != 2 {
		t.Errorf("three replicas are told of the digests %v, want the true one twice and another", named)
	}
}

func TestCommitForTheUnpreparedComesAtOnce(t *testing.T) {
	s := newStage(t, "commit for the unprepared", 1)
	frame, digest := s.preprepare(slot{0, 1}, digests(0, 2))
	if !s.a.Receive(0, frame) {
		t.Fatal("its replica does not get the pre-prepare")
	}
	out := s.a.Inject(1)
	s.told("commit for what is not prepared")
	right := 0
	for _, id := range []bft.ReplicaID{0, 2, 3} {
		for _, f := range to(out, id, bft.TypeVotes) {
			v := s.read(f)
			if len(v.Votes) != 1 || v.Votes[0].Phase != uint32(bft.PhaseCommit) || v.Votes[0].Seq != 1 {
				t.Errorf("it says %s, want a commit of number 1", wire.Describe(f))
			}
			if wire.DigestOf(v.Votes[0].Digest) == digest {
				right++
			}
		}
	}
	if right == 0 || len(s.a.Inject(2)) != 0 {
		t.Errorf("%d of 3 are told a commit for what was proposed; it is said once", right)
	}
}

func TestWithheldCommits(t *testing.T) {
	s := newStage(t, "withheld commits", 1)
	out := s.send(s.votes(liar, slot{0, 1}, crypto.Hash("x"), prepareAndCommit...))
	s.told("withheld commits")
	victims := 0
	for _, id := range []bft.ReplicaID{0, 2, 3} {
		frames := to(out, id, bft.TypeVotes)
		if len(frames) != 1 {
			t.Fatalf("replica %d gets %d votes", id, len(frames))
		}
		if v := s.read(frames[0]); len(v.Votes) == 1 && v.Votes[0].Phase == uint32(bft.PhasePrepare) {
			victims++
		}
	}
	if victims != 1 {
		t.Errorf("%d replicas get the prepare without the commit, want f = 1", victims)
	}
}

// cell is a service with one value.
type cell struct {
	exec.StateMachine
	value []byte
}

func (c *cell) Apply(_ exec.Context, op []byte) []byte {
	c.value = op
	return nil
}

func (c *cell) Query(context.Context, []byte) ([]byte, error) { return c.value, nil }

func TestStaleAnswers(t *testing.T) {
	s := newStage(t, "withheld commits", 1)
	m := s.a.Machine("cell", &cell{value: []byte("old")})
	answer := func() string {
		now, err := m.Query(t.Context(), []byte("q"))
		if err != nil {
			t.Fatal(err)
		}
		frames := s.a.Reply(bft.ClientID{}, wire.Frame(bft.TypeAnswer, &bftpb.Answer{Id: 1, Results: [][]byte{append([]byte{0}, now...)}}))
		var r bftpb.Answer
		if err := wire.Read(bft.TypeAnswer, frames[0], &r); err != nil {
			t.Fatal(err)
		}
		return string(r.Results[0][1:])
	}
	if got := answer(); got != "old" || len(s.a.Told()) != 0 {
		t.Errorf("it answers %q before there was a change", got)
	}
	m.Apply(exec.Context{}, []byte("new"))
	if got := answer(); got != "old" {
		t.Errorf("it answers %q after the change, want the state before", got)
	}
	s.told("stale answer")
}

func TestReplayPrefersOldVotes(t *testing.T) {
	s := newStage(t, "replay", 1)
	digest := crypto.Hash("x")
	old := s.votes(liar, slot{0, 7}, digest, bft.PhasePrepare)
	if out := s.send(old); len(out) != 1 || !bytes.Equal(out[0].Frame, old) || len(s.a.Told()) != 0 {
		t.Fatal("the first vote is not what its replica says")
	}
	out := s.send(s.votes(liar, slot{3, 7}, digest, bft.PhasePrepare))
	s.told("vote of an old view instead of a new one")
	if len(out) != 1 || !bytes.Equal(out[0].Frame, old) {
		t.Errorf("it says %s, want the vote of view 0", wire.Describe(out[0].Frame))
	}
	if out := s.send(s.votes(liar, slot{3, 7}, crypto.Hash("y"), bft.PhasePrepare)); len(s.read(out[0].Frame).Votes) != 1 || len(s.a.Told()) != 0 {
		t.Error("a vote for something new is not said")
	}
}

func TestOldQuorumNamesTheViewChangesOfAnEarlierView(t *testing.T) {
	s := newStage(t, "old view-change quorum", 1)
	var old bftpb.NewView
	old.View = 2
	for _, id := range []bft.ReplicaID{0, 2, 3} {
		e := s.change(id, 2)
		d := wire.Digest(e)
		old.ViewChanges = append(old.ViewChanges, &bftpb.ViewChangeRef{Signer: e.Signer, Digest: d[:]})
		s.pass(1, id, (id+1)%4, wire.Frame(bft.TypeViewChange, e))
	}
	old.PrePrepares = append(old.PrePrepares, nullProposal(slot{2, 1}, &s.members[2]))
	s.pass(2, 2, 3, wire.Frame(bft.TypeNewView, s.members[2].Seal(bft.TypeNewView, wire.Marshal(&old))))
	s.a.(*oldQuorum).Plan.shift.worked = 2
	s.a.Told()
	out := s.send(wire.Frame(bft.TypeNewView, s.members[liar].Seal(bft.TypeNewView, wire.Marshal(&bftpb.NewView{View: 5}))))
	s.told("new-view from view-changes of an earlier view")
	e := wire.Envelope(out[0].Frame)
	s.signed(e)
	got, err := wire.NewView(e)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.ViewChanges {
		if !bytes.Equal(r.Digest, old.ViewChanges[i].Digest) {
			t.Errorf("it names %x, which is not of the earlier view change", r.Digest)
		}
	}
	if err := s.judge.NewView(e); err != nil || got.View != 5 || len(got.PrePrepares) != 1 {
		t.Errorf("the new-view is not in order by itself: %v, %s", err, wire.Describe(out[0].Frame))
	}
	sent := s.a.Inject(3)
	if len(to(sent, 0, bft.TypeData)) != 1 {
		t.Error("the old view-changes are not handed out")
	}
}

func TestForgedCertificatesAreForged(t *testing.T) {
	hows := make(map[string]bool)
	until(t, "forged certificates", func(s *stage) bool {
		var o other
		for seq := uint64(1); seq < 100 && o.header == nil; seq++ {
			s.propose(1, seq, digests(0, 3))
			o = s.a.(*forge).Plan.others[slot{1, seq}]
		}
		h, err := wire.Header(o.header)
		if err != nil {
			t.Fatal(err)
		}
		s.a.Receive(2, s.votes(2, slot{1, h.Seq}, o.instead, bft.PhasePrepare))
		v, ok := read(s.leaving(s.change(liar, 5)))
		if !ok || len(v.prepared) != 1 || len(v.prepared[0].votes) != bft.Quorum(4)-1 {
			t.Fatalf("%+v, want one certificate of a quorum less one", v)
		}
		if err := s.judge.Prepared(v.prepared[0].pre, v.prepared[0].votes); err == nil {
			t.Error("the certificate is a good one")
		}
		for _, name := range s.a.Told() {
			hows[name] = true
		}
		for _, e := range v.prepared[0].votes {
			if e.Signer == uint32(liar) {
				t.Error("a vote in the name of the primary of the view")
			}
		}
		return hows["prepared certificate with votes repeated"] && hows["prepared certificate with votes by strangers"] && hows["prepared certificate with votes unsigned"]
	})
}

// prepared shows the network's adversary a proposal and all prepares for it.
func (s *stage) prepared(at slot) bft.Digest {
	frame, digest := s.preprepare(at, digests(int(at.seq), 1))
	s.pass(1, bft.ReplicaID(at.view%4), 2, frame)
	for id := range bft.ReplicaID(4) {
		if id != bft.ReplicaID(at.view%4) {
			s.pass(2, id, 0, s.votes(id, at, digest, bft.PhasePrepare))
		}
	}
	return digest
}

func TestMovedCertificates(t *testing.T) {
	until(t, "moved certificates", func(s *stage) bool {
		s.prepared(slot{0, 1})
		v, ok := read(s.leaving(s.change(liar, 2)))
		if !ok {
			t.Fatal("the view-change has holes")
		}
		if len(v.prepared) == 0 {
			return false
		}
		s.told("certificate of an older view")
		c := v.prepared[0]
		if x, err := wire.Votes(c.votes[0]); c.view != 1 || err != nil || x.View != 0 {
			t.Errorf("a certificate of view %d out of votes of view %d, want 1 and 0", c.view, x.GetView())
		}
		if s.judge.Prepared(c.pre, c.votes) == nil {
			t.Error("the certificate is a good one")
		}
		for i, e := range c.votes {
			if w, err := wire.Votes(e); err != nil || s.judge.Prepared(v.prepared[0].pre, c.votes[i:i+1]) == nil || w.Votes[0].Seq != 1 {
				t.Error("a vote that is not genuine")
			}
		}
		return true
	})
}

func TestMovedCommitCertificates(t *testing.T) {
	seen := make(map[string]bool)
	until(t, "moved certificates", func(s *stage) bool {
		for _, seq := range []uint64{1, 2} {
			d := s.prepared(slot{0, seq})
			for id := range bft.ReplicaID(4) {
				s.pass(3, id, (id+1)%4, s.votes(id, slot{0, seq}, d, bft.PhaseCommit))
			}
		}
		s.a.Told()
		for _, o := range s.a.Inject(4) {
			var d bftpb.Data
			if wire.Read(bft.TypeData, o.Frame, &d) != nil || len(d.Committed) != 1 {
				t.Fatalf("%s, want a commit certificate", wire.Describe(o.Frame))
			}
			for _, name := range s.a.Told() {
				seen[name] = true
				// The judge takes the epoch from the envelope: it cannot know that there is no other one.
				if name != "commits for another epoch and cluster" && s.judge.Committed(d.Committed[0]) == nil {
					t.Errorf("%s: the certificate is a good one", name)
				}
			}
		}
		return len(seen) == 4
	})
}

func TestOmittedCertificates(t *testing.T) {
	until(t, "omitted certificates", func(s *stage) bool {
		e := s.change(liar, 1, 1, 2)
		got := s.leaving(e)
		v, ok := read(got)
		if !ok || len(v.prepared) != 0 {
			return false
		}
		s.told("view-change without its certificates")
		if err := s.judge.ViewChange(got); err != nil {
			t.Errorf("what is left is not in order: %v", err)
		}
		if again := s.leaving(e); !same(again, got) {
			t.Error("said again it is another view-change")
		}
		d, was := wire.Digest(got), wire.Digest(e)
		nv := &bftpb.NewView{View: 1, ViewChanges: []*bftpb.ViewChangeRef{{Signer: uint32(liar), Digest: was[:]}}}
		out := s.send(wire.Frame(bft.TypeNewView, s.members[liar].Seal(bft.TypeNewView, wire.Marshal(nv))))
		if x, err := wire.NewView(wire.Envelope(out[0].Frame)); err != nil || !bytes.Equal(x.ViewChanges[0].Digest, d[:]) {
			t.Error("the own new-view does not name the view-change that was sent")
		}
		return true
	})
}

func TestMadeUpCertificates(t *testing.T) {
	s := newStage(t, "made-up certificates", 1)
	s.prepared(slot{0, 1})
	got := s.leaving(s.change(liar, 2, 1))
	s.told("made-up prepared certificate")
	v, ok := read(got)
	if !ok || len(v.prepared) != 1 || v.prepared[0].view != 1 || len(v.prepared[0].votes) != 2 {
		t.Fatalf("%s, want one certificate of view 1 with two votes", wire.DescribePayload(bft.TypeViewChange, got.Payload))
	}
	if h, err := wire.Header(v.prepared[0].pre); err != nil || wire.Proposal(h) != bft.Null {
		t.Error("the certificate is not of the null request")
	}
	if s.judge.ViewChange(got) == nil {
		t.Error("the judge takes it")
	}
}

func TestOneInvalidPart(t *testing.T) {
	names := make(map[string]bool)
	until(t, "one invalid part", func(s *stage) bool {
		s.prepared(slot{0, 3})
		e := s.change(liar, 2, 1, 2)
		if err := s.judge.ViewChange(e); err != nil {
			t.Fatal(err)
		}
		got := s.leaving(e)
		if s.judge.ViewChange(got) == nil {
			t.Error("the judge takes it")
		}
		for _, name := range s.a.Told() {
			names[name] = true
		}
		return names["one bad signature among good ones"] && names["certificate without votes behind an invalid one"]
	})
}

func TestStormOfViewChanges(t *testing.T) {
	s := newStage(t, "storm of view changes", 1)
	frame := s.votes(liar, slot{2, 1}, crypto.Hash("x"), bft.PhasePrepare)
	out := s.send(frame)
	s.told("view-change out of turn")
	changes := to(out, 0, bft.TypeViewChange)
	if len(changes) != 1 || len(to(out, 0, bft.TypeVotes)) != 1 {
		t.Fatalf("%d frames leave, want the votes and a view-change", len(out))
	}
	e := wire.Envelope(changes[0])
	if v, err := wire.ViewChange(e); err != nil || v.View != 3 || s.judge.ViewChange(e) != nil {
		t.Errorf("%s is not a view-change to view 3 that is in order", wire.Describe(changes[0]))
	}
	if out := s.send(frame); len(out) != 1 {
		t.Error("it leaves one view twice")
	}
}

func TestFarFutureViewIsLedByAnAccomplice(t *testing.T) {
	s := newStage(t, "far-future view", 1)
	for now := range bft.Time(200) {
		for _, o := range s.a.Inject(now) {
			e := wire.Envelope(o.Frame)
			s.signed(e)
			v, err := wire.ViewChange(e)
			if err != nil {
				continue
			}
			if v.View < 1<<22 || v.View%4 != uint64(liar) || s.judge.ViewChange(e) != nil {
				t.Fatalf("%s: not a view-change to a far view that the liar leads", wire.Describe(o.Frame))
			}
			s.told("view-change to a far-future view")
			return
		}
	}
	t.Error("it claims nothing")
}

func TestHalfHeardRequests(t *testing.T) {
	s := newStage(t, "half-heard requests", 1)
	plan := s.a.(*halfHeard).Plan
	client := NewClient([]string{"half-heard requests"}, ClientEnv{N: 4, Plan: plan, Rand: rand.New(rand.NewPCG(1, 3))})
	if was := (crypto.Signature{1}); client.Sign(nil, was) == was {
		t.Error("the signature is a good one")
	}
	request := bft.RequestFrame(opening(plan.r, bft.ClientID{1}), 0)
	b := bundleOf(request)
	out := client.Send(bft.Outbound{To: bft.Everyone, Frame: request})
	if len(out) != 3 || len(to(out, liar, bft.TypeRequest)) != 1 {
		t.Fatalf("%d replicas are told, want the accomplice and two others", len(out))
	}
	s.propose(1, 5, b.Digest[:])
	d := wire.Proposal(header(1, 5, b.Digest[:])).Digest()
	votes := s.send(s.votes(liar, slot{1, 5}, d, prepareAndCommit...))
	s.told("withheld votes")
	if v := s.read(votes[0].Frame); len(v.Votes) != 1 || v.Votes[0].Phase != uint32(bft.PhasePrepare) {
		t.Error("its commit leaves")
	}
	if out := s.send(s.votes(liar, slot{2, 5}, d, prepareAndCommit...)); len(out) != 0 {
		t.Error("it votes in the next view")
	}
}

// A part is a quorum with the accomplices; the next one has all who were cut off, and no more of the others than
// a quorum needs.
func TestPartsOfTheShiftingPartition(t *testing.T) {
	for n := 4; n <= 13; n++ {
		t.Run(fmt.Sprint("n = ", n), func(t *testing.T) {
			var faulty []bft.ReplicaID
			for id := range bft.MaxFaulty(n) {
				faulty = append(faulty, bft.ReplicaID(id))
			}
			s := newShift(NewPlan(n, faulty, rand.New(rand.NewPCG(1, uint64(n)))), bft.Second)
			s.begin(actWork, 1)
			first := append([]bool(nil), s.present...)
			s.begin(actShift, 2)
			count, both := 0, 0
			for id := range n {
				if first[id] {
					count++
				}
				if first[id] && s.present[id] {
					both++
				}
				if !first[id] && !s.present[id] {
					t.Errorf("replica %d is in no part", id)
				}
			}
			if q := bft.Quorum(n); count != q || both != 2*q-n {
				t.Errorf("a part of %d, and %d in both, want %d and %d", count, both, q, 2*q-n)
			}
		})
	}
}

func TestShiftingPartitionCutsAndHeals(t *testing.T) {
	s := newStage(t, "omitted certificates", 1)
	plan := s.a.(*omit).Plan
	plan.shift.begin(actWork, 10)
	lost := 0
	for _, from := range plan.honest() {
		for _, to := range plan.honest() {
			if from != to && s.pass(20, from, to, s.votes(from, slot{0, 1}, crypto.Hash("x"), bft.PhasePrepare)) {
				lost++
			}
		}
	}
	if lost != 4 {
		t.Errorf("%d of 6 links between three honest replicas are cut, want those of one of them", lost)
	}
	s.told("message lost between the parts of a network")
	if s.pass(20+timeout, liar, plan.honest()[0], []byte{byte(bft.TypeStatus)}) {
		t.Error("it goes on after the heal, when it is asked about its own messages only")
	}
}
