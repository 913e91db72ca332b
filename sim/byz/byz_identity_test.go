package byz

import (
	"bytes"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// vote makes votes of a member.
func (s *stage) vote(id bft.ReplicaID, seq uint64) []byte {
	d := crypto.Hash("voted")
	v := &bftpb.Votes{Votes: []*bftpb.Vote{{Phase: uint32(bft.PhaseCommit), Seq: seq, Digest: d[:]}}}
	return wire.Frame(bft.TypeVotes, s.members[id].Seal(bft.TypeVotes, wire.Marshal(v)))
}

func TestIdentitiesAreBorrowed(t *testing.T) {
	s := newStage(t, "borrowed identities", 1)
	client := s.ring.NewKey([crypto.SeedSize]byte{100}).Public()
	s.a.Request(client, nil)
	heard := s.vote(0, 1)
	s.a.Receive(0, heard)
	own, as, requests := 0, 0, 0
	for _, o := range s.inject(100) {
		if b := bundleOf(o.Frame); b != nil {
			requests++
			if b.Client != client || s.ring.Verify(client, bft.RequestSigningBytes(s.judge.Cluster, b.Payload), b.Signature) {
				t.Error("a request that its client may have signed")
			}
			continue
		}
		e := wire.Envelope(o.Frame)
		switch {
		case bytes.Equal(o.Frame, heard):
			as++
		case e.Signer == uint32(liar) && bytes.Equal(e.Payload, wire.Envelope(heard).Payload):
			own++
			fallthrough
		default:
			if s.holds(e) {
				t.Errorf("%s has the signature of whom it names", wire.Describe(o.Frame))
			}
		}
	}
	if own == 0 || as == 0 || requests == 0 {
		t.Errorf("%d under its own name, %d on its own channel, %d requests", own, as, requests)
	}
}

func TestInventedRequestsAreProposedAndServed(t *testing.T) {
	s := newStage(t, "borrowed identities", 1)
	client := s.ring.NewKey([crypto.SeedSize]byte{100}).Public()
	s.a.Request(client, nil)
	smuggled, impersonated := 0, 0
	for seq := uint64(1); seq < 200 && smuggled*impersonated == 0; seq++ {
		list := digests(int(seq), 2)
		out := s.propose(1, seq, list)
		for _, f := range to(out, 2, bft.TypePrePrepare) {
			_, got := s.proposed(f)
			if len(got) != len(list)+32 {
				continue
			}
			smuggled++
			again := s.propose(1, seq, list)
			if !bytes.Equal(again[0].Frame, f) {
				t.Error("what is sent again is something else")
			}
			s.a.Told()
			s.a.Receive(2, wire.Frame(bft.TypeFetch, &bftpb.Fetch{Kind: 1, Digests: got}))
			var d bftpb.Data
			answer := s.a.Inject(0)
			if wire.Read(bft.TypeData, answer[0].Frame, &d) != nil || answer[0].To != 2 || len(d.Bundles) != 1 {
				t.Fatal("it does not hand out what it proposed")
			}
			s.told("invented request handed out")
			b := bundleOf(wire.Frame(bft.TypeRequest, d.Bundles[0]))
			if b == nil || b.Client != client || !bytes.Equal(b.Digest[:], got[len(list):]) {
				t.Error("it hands out something else")
			}
		}
		for _, id := range []bft.ReplicaID{0, 2, 3} {
			for _, f := range to(out, id, bft.TypeVotes) {
				impersonated++
				if e := wire.Envelope(f); e.Signer == uint32(liar) || e.Signer == uint32(id) || s.holds(e) {
					t.Errorf("%s are not votes in the name of a third", wire.Describe(f))
				}
			}
		}
	}
	if smuggled == 0 || impersonated == 0 {
		t.Errorf("%d invented requests proposed, %d votes of others", smuggled, impersonated)
	}
}

func TestTheHonestAreFramed(t *testing.T) {
	s := newStage(t, "framing the honest", 1)
	s.status(0, 3, 16, 20)
	s.a.Receive(0, s.vote(0, 20))
	s.a.Receive(2, s.vote(2, 20))
	shown, evidence := 0, 0
	for _, o := range s.inject(200) {
		c := s.checker(o.To)
		u, err := c.FromPeer(liar, o.Frame)
		if err == nil {
			_, err = c.Verify(u, s.ring)
		}
		if err == nil {
			t.Fatalf("%s is believed", wire.Describe(o.Frame))
		}
		switch wire.TypeOf(o.Frame) {
		case bft.TypeStatus:
			var st bftpb.Status
			if wire.Read(bft.TypeStatus, o.Frame, &st) != nil || !st.AnswersStart || len(st.Newest) != 1 || st.Newest[0].Signer != uint32(o.To) {
				t.Fatal("it shows nothing to its signer")
			}
			shown++
		default:
			evidence++
		}
	}
	if shown == 0 || evidence == 0 {
		t.Errorf("%d things shown, %d of evidence", shown, evidence)
	}
}

// Accomplices tell the same wrong result.
func TestWrongRepliesAgree(t *testing.T) {
	b := opening(newStage(t, "wrong replies", 1).a.(*wrongReply).Rand, bft.ClientID{1})
	frame := bft.ReplyFrame(liar, 0, b, 7, [][]byte{{0, 0, 'v'}, {0, '5'}}, bft.Everyone)
	var said [2]*bft.Reply
	for i := range said {
		s := newStage(t, "wrong replies", uint64(i))
		out := s.a.Reply(bft.ClientID{1}, frame)
		s.told("wrong reply")
		r, err := bft.DecodeReply(out[0])
		if err != nil || len(out) != 1 {
			t.Fatal(err)
		}
		said[i] = r
	}
	truth, err := bft.DecodeReply(frame)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range truth.Results {
		if bytes.Equal(r, said[0].Results[i]) || !bytes.Equal(said[0].Results[i], said[1].Results[i]) {
			t.Errorf("of %q one says %q, the other %q", r, said[0].Results[i], said[1].Results[i])
		}
	}
}
