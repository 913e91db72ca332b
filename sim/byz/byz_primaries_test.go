package byz

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// stage is a cluster of four, of which replica 1 is Byzantine: its behaviour is driven by hand-made frames.
type stage struct {
	t       *testing.T
	members []wire.Member
	judge   *wire.Judge
	ring    *crypto.FastRing
	a       Adversary
}

const liar bft.ReplicaID = 1

// timeout is the request timeout on the stage, window its window.
const timeout, window = bft.Second, bft.Seq(16)

func newStage(t *testing.T, behaviour string, seed uint64) *stage {
	t.Helper()
	s := &stage{t: t, ring: crypto.NewFastRing()}
	cluster := crypto.Hash("stage")
	s.judge = &wire.Judge{Cluster: cluster, Interval: 8, Verifier: s.ring}
	for id := range 4 {
		k := s.ring.NewKey([crypto.SeedSize]byte{byte(id + 1)})
		s.members = append(s.members, wire.Member{Self: bft.ReplicaID(id), Cluster: cluster, Signer: k})
		s.judge.Members = append(s.judge.Members, k.Public())
	}
	s.a = New([]string{behaviour}, Env{Member: s.members[liar], N: 4, Plan: NewPlan(4, []bft.ReplicaID{liar}, rand.New(rand.NewPCG(seed, 1))),
		Rand: rand.New(rand.NewPCG(seed, 2)), Timeout: timeout, Interval: 8, Window: window})
	return s
}

// digests lists k digests as a body does.
func digests(from, k int) []byte {
	var list []byte
	for i := range k {
		d := crypto.Hash("bundle", []byte{byte(from + i)})
		list = append(list, d[:]...)
	}
	return list
}

// header makes that of a proposal of these bundles.
func header(view, seq uint64, list []byte) *bftpb.Header {
	p := proposal{header: &bftpb.Header{View: view, Seq: seq, Time: 1_700_000_000_000_000_000 + int64(seq)}}
	p.become(list)
	return p.header
}

// propose has the liar's replica send a fresh proposal, and returns what leaves.
func (s *stage) propose(view, seq uint64, list []byte) []bft.Outbound {
	e := s.members[liar].Seal(bft.TypePrePrepare, wire.Marshal(header(view, seq, list)))
	return s.a.Send(bft.Outbound{To: bft.Everyone, Frame: wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: e, Body: &bftpb.Body{Bundles: list}})})
}

// proposed reads a pre-prepare, which must bear the liar's signature and its own body.
func (s *stage) proposed(frame []byte) (*bftpb.Header, []byte) {
	s.t.Helper()
	var p bftpb.PrePrepare
	if err := wire.Read(bft.TypePrePrepare, frame, &p); err != nil {
		s.t.Fatalf("%s is no pre-prepare", wire.Describe(frame))
	}
	s.signed(p.Header)
	h, err := wire.Header(p.Header)
	if err != nil {
		s.t.Fatal(err)
	}
	list := p.Body.GetBundles()
	if d := bodyDigest(list); len(list) > 0 && !bytes.Equal(d[:], h.Body) {
		s.t.Fatal("the body is not the one that the header names")
	}
	return h, list
}

// signed fails the test unless the liar signed e.
func (s *stage) signed(e *bftpb.Envelope) {
	s.t.Helper()
	m := &s.members[liar]
	if e.Signer != uint32(liar) || !s.ring.Verify(m.Signer.Public(), bft.SigningBytes(m.Cluster, m.Epoch, bft.MessageType(e.Type), e.Payload), crypto.Signature(e.Signature)) {
		s.t.Fatalf("a %v that the liar did not sign", bft.MessageType(e.Type))
	}
}

// told checks that the lie of this name was noted.
func (s *stage) told(name string) {
	s.t.Helper()
	if told := s.a.Told(); !slices.Contains(told, name) {
		s.t.Fatalf("it told the lies %q, not %q", told, name)
	}
}

// to returns the frames of a type that reach a replica.
func to(out []bft.Outbound, id bft.ReplicaID, t bft.MessageType) [][]byte {
	var frames [][]byte
	for _, o := range out {
		if (o.To == id || o.To == bft.Everyone) && wire.TypeOf(o.Frame) == t {
			frames = append(frames, o.Frame)
		}
	}
	return frames
}

// change makes the view-change of a member to a view, with prepared certificates of these numbers in
// view 0, of bundles after their number.
func (s *stage) change(id bft.ReplicaID, view uint64, seqs ...uint64) *bftpb.Envelope {
	v := &bftpb.ViewChange{View: view}
	add := func(e *bftpb.Envelope) uint32 {
		v.Envelopes = append(v.Envelopes, e)
		return uint32(len(v.Envelopes) - 1)
	}
	for _, seq := range seqs {
		h := header(0, seq, digests(int(seq), 1))
		p := &bftpb.Prepared{Seq: seq, PrePrepare: add(s.members[0].Seal(bft.TypePrePrepare, wire.Marshal(h)))}
		d := wire.Proposal(h).Digest()
		for _, voter := range []int{1, 2} {
			votes := &bftpb.Votes{Votes: []*bftpb.Vote{{Phase: uint32(bft.PhasePrepare), Seq: seq, Digest: d[:]}}}
			p.Votes = append(p.Votes, add(s.members[voter].Seal(bft.TypeVotes, wire.Marshal(votes))))
		}
		v.Prepared = append(v.Prepared, p)
	}
	return s.members[id].Seal(bft.TypeViewChange, wire.Marshal(v))
}

// newView has the liar lead a view: its replica sends its view-change and the new-view that follows from these,
// in which the proposals of O are right. It returns what leaves instead of the new-view.
func (s *stage) newView(view uint64, changes ...*bftpb.Envelope) (*bftpb.NewView, []bft.Outbound) {
	s.t.Helper()
	nv := &bftpb.NewView{View: view}
	right := newNewViews(Env{Member: s.members[liar], N: 4})
	for _, e := range changes {
		d := right.learn(e)
		nv.ViewChanges = append(nv.ViewChanges, &bftpb.ViewChangeRef{Signer: e.Signer, Digest: d[:]})
		frame := wire.Frame(bft.TypeViewChange, e)
		if e.Signer == uint32(liar) {
			s.a.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
		} else if !s.a.Receive(bft.ReplicaID(e.Signer), frame) {
			s.t.Fatal("its replica does not get a view-change")
		}
	}
	o, ok := right.determine(nv.ViewChanges)
	if !ok {
		s.t.Fatal("the view-changes do not determine O")
	}
	right.fill(nv, o)
	s.a.Told()
	e := s.members[liar].Seal(bft.TypeNewView, wire.Marshal(nv))
	return nv, s.a.Send(bft.Outbound{To: bft.Everyone, Frame: wire.Frame(bft.TypeNewView, e)})
}

// contents are the proposals of O, by number.
func contents(t *testing.T, nv *bftpb.NewView) map[uint64]bft.Proposal {
	t.Helper()
	o := make(map[uint64]bft.Proposal)
	for _, e := range nv.PrePrepares {
		h, err := wire.Header(e)
		if err != nil {
			t.Fatal(err)
		}
		o[h.Seq] = wire.Proposal(h)
	}
	return o
}

func TestEquivocatingPrimaryDividesTheHonest(t *testing.T) {
	s := newStage(t, "equivocating primary", 1)
	for seq := uint64(1); ; seq++ {
		out := s.propose(1, seq, digests(0, 3))
		if len(out) == 1 && seq < 100 {
			continue // this one it left as it was
		}
		s.told("conflicting pre-prepare")
		told := make(map[bft.Digest]int)
		for _, id := range []bft.ReplicaID{0, 2, 3} {
			frames := to(out, id, bft.TypePrePrepare)
			if len(frames) != 1 {
				t.Fatalf("replica %d is told %d proposals", id, len(frames))
			}
			h, _ := s.proposed(frames[0])
			told[wire.Proposal(h).Digest()]++
		}
		if len(told) != 2 {
			t.Fatalf("the honest are told %d proposals, want two", len(told))
		}
		return
	}
}

func TestVictimIsToldBothStories(t *testing.T) {
	s := newStage(t, "equivocation to a victim", 1)
	for seq := uint64(1); ; seq++ {
		out := s.propose(1, seq, digests(0, 3))
		if len(out) == 1 && seq < 100 {
			continue
		}
		s.told("pre-prepare for a victim")
		victims := 0
		for _, id := range []bft.ReplicaID{0, 2, 3} {
			frames := to(out, id, bft.TypePrePrepare)
			truth, _ := s.proposed(frames[len(frames)-1])
			if wire.Proposal(truth) != wire.Proposal(header(1, seq, digests(0, 3))) {
				t.Errorf("replica %d is not told the truth at last", id)
			}
			if len(frames) == 2 {
				victims++
				other, _ := s.proposed(frames[0])
				if other.View != 1 || other.Seq != seq || wire.Proposal(other) == wire.Proposal(truth) {
					t.Error("the other proposal is not one for the same slot")
				}
			}
		}
		if victims != 1 {
			t.Fatalf("%d victims", victims)
		}
		return
	}
}

func TestPrimaryPreparesItsOwnProposal(t *testing.T) {
	s := newStage(t, "prepare of the primary", 1)
	out := s.propose(1, 1, digests(0, 2))
	s.told("prepare of the primary")
	frames := to(out, 2, bft.TypeVotes)
	if len(frames) != 1 || len(to(out, 2, bft.TypePrePrepare)) != 1 {
		t.Fatalf("%d frames, want a pre-prepare and a prepare", len(out))
	}
	e := wire.Envelope(frames[0])
	s.signed(e)
	v, err := wire.Votes(e)
	d := wire.Proposal(header(1, 1, digests(0, 2))).Digest()
	if err != nil || v.View != 1 || len(v.Votes) != 1 || v.Votes[0].Phase != uint32(bft.PhasePrepare) || wire.DigestOf(v.Votes[0].Digest) != d {
		t.Errorf("the votes are %v, %v", v, err)
	}
	for seq := uint64(2); len(out) > 0 && seq < 100; seq++ {
		out = s.propose(1, seq, digests(0, 2))
	}
	if len(out) > 0 {
		t.Error("it never goes quiet")
	}
}

func TestAlteredODiffers(t *testing.T) {
	for seed := range uint64(12) {
		s := newStage(t, "altered O", seed)
		right, out := s.newView(1, s.change(0, 1, 1, 2), s.change(1, 1, 2, 3), s.change(2, 1, 1))
		s.told("altered O")
		e := wire.Envelope(out[0].Frame)
		s.signed(e)
		if err := s.judge.NewView(e); err != nil {
			t.Errorf("seed %d: the new-view shows by its form that it is wrong: %v", seed, err)
		}
		nv, err := wire.NewView(e)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := contents(t, right), contents(t, nv); fmt.Sprint(a) == fmt.Sprint(b) {
			t.Errorf("seed %d: O is what it should be", seed)
		}
		// Said again it is the same.
		again := s.a.Send(bft.Outbound{To: 3, Frame: wire.Frame(bft.TypeNewView, s.members[liar].Seal(bft.TypeNewView, wire.Marshal(right)))})
		if !bytes.Equal(again[0].Frame, out[0].Frame) {
			t.Errorf("seed %d: the new-view is another when it is sent again", seed)
		}
		if s.a.Receive(2, out[0].Frame) {
			t.Errorf("seed %d: its replica is shown what it never said", seed)
		}
	}
}

func TestNewViewOfTooFewIsConsistent(t *testing.T) {
	for _, view := range []uint64{1, 5, 9} { // the liar leads each of them, n = 4
		s := newStage(t, "new-view of too few", view)
		_, out := s.newView(view, s.change(0, view, 1, 2, 3), s.change(1, view, 1), s.change(2, view))
		if len(out) != 2 {
			t.Fatalf("view %d: the new-view goes to %d replicas, want all but one", view, len(out))
		}
		e := wire.Envelope(out[0].Frame)
		s.signed(e)
		nv, err := wire.NewView(e)
		if err != nil {
			t.Fatal(err)
		}
		genuine, members := make(map[bft.Digest]bool), make(map[uint32]bool)
		for _, r := range nv.ViewChanges {
			genuine[wire.DigestOf(r.Digest)] = true
			if r.Signer < 4 {
				members[r.Signer] = true
			}
		}
		if len(genuine) != 2 || len(members) != 2 {
			t.Errorf("view %d: it is made of %d view-changes of %d members, want two", view, len(genuine), len(members))
		}
		// Whoever compares O with what remains finds nothing: the one that knew of 1 to 3 is left out.
		if len(nv.PrePrepares) > 1 {
			t.Errorf("view %d: O has %d entries, and the shortest has one", view, len(nv.PrePrepares))
		}
	}
}

func TestTwoNewViewsAreBothValid(t *testing.T) {
	s := newStage(t, "two new-views", 3)
	own := s.change(1, 1, 1, 2)
	// It saw an honest primary propose 1, which begins its share, and must be able to tell.
	_, out := s.newView(1, s.change(0, 1), own, s.change(2, 1))
	s.told("second new-view")
	kinds := make(map[string]*bftpb.NewView)
	for _, o := range out {
		e := wire.Envelope(o.Frame)
		if err := s.judge.NewView(e); err != nil {
			t.Fatal(err)
		}
		nv, err := wire.NewView(e)
		if err != nil {
			t.Fatal(err)
		}
		kinds[string(o.Frame)] = nv
	}
	if len(kinds) != 2 {
		t.Fatalf("%d new-views, want two", len(kinds))
	}
	var os []string
	for _, nv := range kinds { // order does not matter: they are only compared
		os = append(os, fmt.Sprint(contents(t, nv)))
		for _, r := range nv.ViewChanges {
			d := wire.DigestOf(r.Digest)
			if r.Signer != uint32(liar) || d == wire.Digest(own) {
				continue
			}
			s.serves(d)
		}
	}
	if os[0] == os[1] {
		t.Error("both have the same O")
	}
}

// serves checks that the liar hands out its other view-change, and that it is a valid one.
func (s *stage) serves(d bft.Digest) {
	s.t.Helper()
	s.a.Receive(2, wire.Frame(bft.TypeFetch, &bftpb.Fetch{Kind: 3, Digests: d[:]}))
	var data bftpb.Data
	for _, o := range s.a.Inject(bft.Second) {
		if o.To == 2 && wire.TypeOf(o.Frame) == bft.TypeData {
			if err := wire.Read(bft.TypeData, o.Frame, &data); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	s.told("second view-change served")
	if len(data.ViewChanges) != 1 || wire.Digest(data.ViewChanges[0]) != d {
		s.t.Fatal("the second view-change is not to be had")
	}
	if err := s.judge.ViewChange(data.ViewChanges[0]); err != nil {
		s.t.Error(err)
	}
}

// request makes the request of a client.
func request(client bft.ClientID, session uint64) []byte {
	b := &bftpb.Bundle{Client: client[:], Session: session, First: 1, Operations: [][]byte{{1}}}
	return wire.Frame(bft.TypeRequest, &bftpb.Request{Payload: wire.Marshal(b), Signature: make([]byte, crypto.SignatureSize)})
}

func TestOneClientIsCensored(t *testing.T) {
	s := newStage(t, "censored client", 1)
	low, high := bft.ClientID{1}, bft.ClientID{2}
	s.a.Request(low, request(low, 1))
	s.told("censored request")
	if !s.a.Request(high, request(high, 1)) || s.a.Request(low, request(low, 2)) {
		t.Error("not just the one client is censored")
	}
	s.a.Told()
	if s.a.Receive(2, request(low, 1)) {
		t.Error("what a backup passes on is taken")
	}
	s.told("censored request that was passed on")
	if !s.a.Receive(2, request(high, 1)) || len(s.a.Told()) > 0 {
		t.Error("another client's request that is passed on is not taken")
	}
}

func TestPrimaryThatLooksAlive(t *testing.T) {
	s := newStage(t, "censored client", 1)
	s.propose(1, 1, digests(0, 1))
	out := s.a.Inject(bft.Second)
	s.told("null request beside")
	if h, list := s.proposed(out[0].Frame); h.Seq != 2 || h.Time != 0 || len(list) > 0 {
		t.Errorf("beside number 1 it proposes %v of %d bytes, want the null request for 2", h, len(list))
	}
	// What its replica proposes as 2 becomes 3, its votes for 2 those for 3.
	moved := s.propose(1, 2, digests(1, 1))
	if h, _ := s.proposed(moved[0].Frame); h.Seq != 3 {
		t.Errorf("what the replica proposes next has number %d, want 3", h.Seq)
	}
	d := bft.Digest{7}
	b := base{Env: Env{Member: s.members[liar]}}
	votes := s.a.Send(bft.Outbound{To: bft.Everyone, Frame: b.votesFrame(slot{1, 2}, d, bft.PhaseCommit)})
	if v, err := wire.Votes(wire.Envelope(votes[0].Frame)); err != nil || v.Votes[0].Seq != 3 {
		t.Errorf("its commit is %v, %v, want one for 3", v, err)
	}
}

func TestDelayFindsTheTimeout(t *testing.T) {
	s := newStage(t, "delayed pre-prepares", 1)
	late := func(seq uint64) bft.Time {
		e := s.members[liar].Seal(bft.TypePrePrepare, wire.Marshal(header(1, seq, nil)))
		f := s.a.Schedule(Passing{From: liar, To: 2, Frame: wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: e, Body: &bftpb.Body{}})})
		s.told("pre-prepare delayed")
		return f.Delay
	}
	var last bft.Time
	for seq := uint64(1); seq < 30; seq++ {
		d := late(seq)
		if d <= last || d != late(seq) {
			t.Fatalf("number %d is %v late after %v, and the second time %v", seq, d, last, late(seq))
		}
		last = d
	}
	s.a.Send(bft.Outbound{To: bft.Everyone, Frame: wire.Frame(bft.TypeViewChange, s.change(liar, 2))})
	for seq := uint64(30); seq < 60; seq++ {
		if d := late(seq); d > last*2/3 {
			t.Fatalf("deposed at %v, it goes on to %v", last, d)
		}
	}
}

func TestSilentPrimaryInAllItsWays(t *testing.T) {
	ways := make(map[string]bool)
	for seed := range uint64(30) {
		s := newStage(t, "silent primary", seed)
		out := s.propose(1, 1, digests(0, 2))
		switch told := s.a.Told(); {
		case len(out) == 0:
			ways["nothing to all"] = true
		case slices.Contains(told, "null request instead"):
			if h, list := s.proposed(out[0].Frame); h.Time != 0 || len(list) > 0 {
				t.Errorf("seed %d: what is proposed instead is not the null request", seed)
			}
			ways["null request"] = true
		default:
			ways["nothing to some"] = true
		}
	}
	if len(ways) != 3 {
		t.Errorf("it has the ways %v, want three", ways)
	}
}

func TestNumbersAreSkipped(t *testing.T) {
	s := newStage(t, "skipped numbers", 1)
	var seqs []uint64
	for seq := uint64(1); seq <= 40; seq++ {
		out := s.propose(1, seq, digests(int(seq), 1))
		h, _ := s.proposed(out[0].Frame)
		seqs = append(seqs, h.Seq)
	}
	s.told("number skipped")
	if !slices.IsSorted(seqs) || seqs[39] == 40 || len(slices.Compact(slices.Clone(seqs))) != 40 {
		t.Errorf("the numbers are %v, want ascending ones with gaps", seqs)
	}
	beyond := false
	for range 100 {
		for _, o := range s.a.Inject(bft.Second) {
			h, _ := s.proposed(o.Frame)
			beyond = beyond || h.Seq > uint64(window)
		}
	}
	if !beyond {
		t.Error("it never proposes beyond the high watermark")
	}
}

func TestAboveAGapAllThatWaitsIsProposed(t *testing.T) {
	s := newStage(t, "skipped numbers", 1)
	gap := false
	for seq := uint64(1); !gap && seq < 10; seq++ {
		s.propose(1, seq, digests(int(seq), 1))
		gap = len(s.a.Told()) > 0
	}
	if !gap {
		t.Fatal("no gap in nine numbers: choose another seed")
	}
	client := bft.ClientID{5}
	s.a.Request(client, request(client, 1))
	for _, o := range s.a.Inject(bft.Second) {
		if _, list := s.proposed(o.Frame); len(list) == 32 {
			return
		}
	}
	t.Error("the request is not proposed above the gap")
}

func TestFrontRunnerTurnsBatchesRound(t *testing.T) {
	s := newStage(t, "front-running", 1)
	out := s.propose(1, 1, digests(0, 3))
	s.told("batch turned round")
	_, list := s.proposed(out[0].Frame)
	want := slices.Concat(digests(2, 1), digests(1, 1), digests(0, 1))
	if !bytes.Equal(list, want) {
		t.Error("the batch is not the proposed one, turned round")
	}
	waits := 0
	for i := range byte(2) {
		client := bft.ClientID{i}
		if !s.a.Request(client, request(client, 1)) {
			s.told("request kept waiting")
			waits++
		}
	}
	if waits != 1 {
		t.Errorf("%d of two clients wait, want one", waits)
	}
	if !s.a.Receive(2, request(bft.ClientID{0}, 1)) || !s.a.Receive(2, request(bft.ClientID{1}, 1)) {
		t.Error("what a backup passes on is not taken")
	}
}

func TestRequestsAreDuplicated(t *testing.T) {
	s := newStage(t, "duplicated requests", 1)
	ways := make(map[string]bool)
	for seq := uint64(1); seq <= 64; seq++ {
		now := digests(int(seq), 1)
		out := s.propose(1, seq, now)
		_, list := s.proposed(out[0].Frame)
		told := s.a.Told()
		if len(told) == 0 {
			continue
		}
		if len(list) <= 32 || !holds(list, now) {
			t.Fatalf("number %d: %q, and the batch has %d bytes", seq, told, len(list))
		}
		once := slices.CompactFunc(slices.Collect(slices.Chunk(list, 32)), bytes.Equal)
		if twice := len(once) < len(list)/32; twice != (told[0] == "request twice in a batch") {
			t.Errorf("number %d: %q, and a request stands twice is %v", seq, told, twice)
		}
		ways[told[0]] = true
	}
	if len(ways) != 2 {
		t.Errorf("it has the ways %v, want two", ways)
	}
}

func TestTimeIsAbsurdOrRunsBackwards(t *testing.T) {
	s := newStage(t, "absurd time", 1)
	far := make(map[int64]bool)
	for seq := uint64(1); seq <= 160; seq++ {
		out := s.propose(1, seq, digests(0, 1))
		h, _ := s.proposed(out[0].Frame)
		off := h.Time - header(1, seq, digests(0, 1)).Time
		switch told := s.a.Told(); {
		case slices.Contains(told, "absurd time"):
			far[off] = true
		case slices.Contains(told, "time that runs backwards"):
			if off > 0 || off <= -int64(bft.Second) {
				t.Errorf("number %d is %d ns off, want less than a second back", seq, off)
			}
		default:
			t.Errorf("number %d is proposed as it is", seq)
		}
	}
	if len(far) < 4 {
		t.Errorf("there are %d absurd times, want several", len(far))
	}
}

// An honest primary gets its share, and then nothing: the adversary wants to lead.
func TestReignEndsTheViewsOfHonestPrimaries(t *testing.T) {
	s := newStage(t, "censored client", 1)
	lost := func(from, to bft.ReplicaID, seq uint64) bool {
		e := s.members[0].Seal(bft.TypePrePrepare, wire.Marshal(header(0, seq, nil)))
		return s.a.Schedule(Passing{From: from, To: to, Frame: wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: e, Body: &bftpb.Body{}})}).Lose
	}
	if lost(0, 2, 5) {
		t.Fatal("the first proposal is lost")
	}
	s.a.Told()
	if !lost(0, 2, 16) || lost(0, liar, 16) {
		t.Error("the honest shall lose what comes late, and the liar shall not")
	}
	s.told("pre-prepare of another primary lost")
}
