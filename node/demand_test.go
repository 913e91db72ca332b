package node

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// voteFrame is a member's Votes message as it stands on the wire, for proposals that go by their numbers.
func (r *rig) voteFrame(member int, view bft.View, phase bft.Phase, seqs ...bft.Seq) []byte {
	r.t.Helper()
	pb := bftpb.Votes{View: uint64(view)}
	for _, s := range seqs {
		digest := bft.Digest{byte(s)}
		pb.Votes = append(pb.Votes, &bftpb.Vote{Phase: uint32(phase), Seq: uint64(s), Digest: digest[:]})
	}
	return r.signedVotes(member, &pb)
}

// votesFor is a vote of view 0 for a proposal, as it comes from the channel.
func (r *rig) votesFor(n *Node, member int, phase bft.Phase, seq bft.Seq, digest bft.Digest) *bft.Unverified {
	r.t.Helper()
	u, err := n.checker.FromPeer(bft.ReplicaID(member), r.signedVotes(member,
		&bftpb.Votes{Votes: []*bftpb.Vote{{Phase: uint32(phase), Seq: uint64(seq), Digest: digest[:]}}}))
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func (r *rig) signedVotes(member int, pb *bftpb.Votes) []byte {
	r.t.Helper()
	payload, err := pb.MarshalVT()
	if err != nil {
		r.t.Fatal(err)
	}
	sig := r.keys[member].Sign(bft.SigningBytes(r.core.Cluster, r.core.Epoch, bft.TypeVotes, payload))
	b, err := (&bftpb.Envelope{Type: uint32(bft.TypeVotes), Signer: uint32(member), Payload: payload, Signature: sig[:]}).MarshalVT()
	if err != nil {
		r.t.Fatal(err)
	}
	return append([]byte{byte(bft.TypeVotes)}, b...)
}

// voteOf is the same as it comes from the channel, not verified.
func (r *rig) voteOf(n *Node, member int, view bft.View, phase bft.Phase, seqs ...bft.Seq) *bft.Unverified {
	r.t.Helper()
	u, err := n.checker.FromPeer(bft.ReplicaID(member), r.voteFrame(member, view, phase, seqs...))
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// A backup verifies one prepare beside its own, a primary two, and everybody two commits; the last vote waits.
func TestVotesBeyondTheQuorumAreHeldBack(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	for _, test := range []struct {
		self  int
		phase bft.Phase
		from  []int
		want  []bool
	}{
		{1, bft.PhasePrepare, []int{2, 3}, []bool{true, false}},
		{0, bft.PhasePrepare, []int{1, 2, 3}, []bool{true, true, false}},
		{1, bft.PhaseCommit, []int{0, 2, 3}, []bool{true, true, false}},
	} {
		n, core := r.nodes[test.self], r.coreOf(test.self)
		d := newDemand(&core)
		for i, from := range test.from {
			if got := d.needs(from, 1, r.voteOf(n, from, 0, test.phase, 7), 0); got != test.want[i] {
				t.Errorf("replica %d, %v of %d: needed %v, want %v", test.self, test.phase, from, got, test.want[i])
			}
		}
		last := test.from[len(test.from)-1]
		for _, other := range []struct {
			name string
			u    *bft.Unverified
			from int
			view bft.View
		}{
			{"a retransmission", r.voteOf(n, test.from[0], 0, test.phase, 7), test.from[0], 0},
			{"another number beside it", r.voteOf(n, last, 0, test.phase, 7, 8), last, 0},
			{"another view", r.voteOf(n, last, 1, test.phase, 7), last, 0},
		} {
			if !d.needs(other.from, 1, other.u, other.view) {
				t.Errorf("replica %d, %v: %s is held back", test.self, test.phase, other.name)
			}
		}
		if len(d.tick(0)) != 0 || len(d.tick(0)) != 1 || len(d.tick(0)) != 0 {
			t.Errorf("replica %d, %v: not given back with the second tick, once", test.self, test.phase)
		}
	}
}

// What was held back is given back at once where a vote that was counted on is forged, and what is committed is forgotten.
func TestVotesHeldBackAreReleased(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	n, core := r.nodes[1], r.coreOf(1)
	d := newDemand(&core)
	for s := range bft.Seq(10) {
		d.needs(2, 1, r.voteOf(n, 2, 0, bft.PhasePrepare, s+1), 0)
		d.needs(3, 1, r.voteOf(n, 3, 0, bft.PhasePrepare, s+1), 0)
		if s == 4 {
			d.tick(0)
		}
	}
	if got := d.release(); len(got) != 10 || len(d.release()) != 0 {
		t.Errorf("%d of 10 released", len(got))
	}
	d.tick(9)
	if len(d.tallies) != 1 {
		t.Errorf("%d numbers are counted, 1 is not committed", len(d.tallies))
	}
}

// However much is sent, what is held back and counted is bounded, and beyond that votes are verified as they come.
func TestVotesHeldBackAreBounded(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	n, core := r.nodes[1], r.coreOf(1)
	d := newDemand(&core)
	for s := range bft.Seq(demandTallies + 10) {
		d.needs(2, 1, r.voteOf(n, 2, 0, bft.PhasePrepare, s+1), 0)
		if d.needs(3, 1, r.voteOf(n, 3, 0, bft.PhasePrepare, s+1), 0) != (s >= demandHeld) {
			t.Fatalf("prepare of %d", s+1)
		}
	}
	if len(d.held) != demandHeld || len(d.tallies) != demandTallies {
		t.Errorf("%d held back, %d counted", len(d.held), len(d.tallies))
	}
	if d.tick(0); len(d.tallies) != 0 {
		t.Error("the full count is not begun anew")
	}
}

// Where a vote that was counted on is forged, the one that was held back for it is verified.
func TestForgedVotesHoldNothingUp(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.start(0, 1, 2)
	r.untilActive(0, 1, 2)
	n := r.nodes[1]
	forged := r.voteFrame(3, 0, bft.PhasePrepare, 5)
	forged[len(forged)-1] ^= 1 // of the signature
	before := n.verifier.Stats()
	handler{n}.FromPeer(3, forged)
	handler{n}.FromPeer(2, r.voteFrame(2, 0, bft.PhasePrepare, 5))
	r.until("both votes are verified, and one does not hold", func() bool {
		now := n.verifier.Stats()
		return now.Claims >= before.Claims+2 && now.Invalid == before.Invalid+1
	})
}

// Who is found out, or says two things, or has no vote, is not counted on.
func TestVotesThatCannotBeCountedOn(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.start(0, 1, 2)
	r.untilActive(0, 1, 2)
	n, core := r.nodes[1], r.coreOf(1)
	forged := r.voteFrame(3, 0, bft.PhasePrepare, 5)
	forged[len(forged)-1] ^= 1
	handler{n}.FromPeer(3, forged)
	r.until("the forger is found out", func() bool { return n.peers[3].invalid.Load() == 1 })
	if !n.demand.needs(2, 1, r.voteOf(n, 2, 0, bft.PhasePrepare, 5), 0) {
		t.Error("the honest vote waits for one that does not hold")
	}
	d := newDemand(&core)
	d.needs(0, 1, r.voteOf(n, 0, 0, bft.PhasePrepare, 7), 0)
	if !d.needs(2, 1, r.voteOf(n, 2, 0, bft.PhasePrepare, 7), 0) {
		t.Error("a backup's prepare waits because the primary sent one")
	}
	d = newDemand(&core)
	d.needs(3, 1, r.votesFor(n, 3, bft.PhasePrepare, 7, bft.Digest{1}), 0)
	d.needs(3, 1, r.votesFor(n, 3, bft.PhasePrepare, 7, bft.Digest{2}), 0)
	for _, digest := range []bft.Digest{{1}, {2}} {
		if !d.needs(2, 1, r.votesFor(n, 2, bft.PhasePrepare, 7, digest), 0) {
			t.Errorf("the vote for %d waits for one of a member that says two things", digest[0])
		}
	}
}
