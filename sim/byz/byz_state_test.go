package byz

import (
	"bytes"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// checkpoint makes that of a member for a number, of a state.
func (s *stage) checkpoint(id bft.ReplicaID, seq uint64, state string) []byte {
	d := crypto.Hash(state)
	c := &bftpb.Checkpoint{Seq: seq, State: d[:], History: d[:]}
	return wire.Frame(bft.TypeCheckpoint, s.members[id].Seal(bft.TypeCheckpoint, wire.Marshal(c)))
}

// status has the liar hear where a peer stands.
func (s *stage) status(from bft.ReplicaID, view, stable, executed uint64) {
	s.a.Receive(from, wire.Frame(bft.TypeStatus, &bftpb.Status{View: view, Stable: stable, Executed: executed}))
}

// checker is the one of a replica, which says whether the form of a frame is right.
func (s *stage) checker(self bft.ReplicaID) *bft.Checker {
	s.t.Helper()
	cfg := bft.DefaultConfig()
	cfg.Self, cfg.Cluster, cfg.Members = self, s.judge.Cluster, s.judge.Members
	cfg.Interval, cfg.Window = 8, window
	c, err := bft.NewChecker(&cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// holds tells whether the envelope was signed by whom it names.
func (s *stage) holds(e *bftpb.Envelope) bool {
	m := &s.members[e.Signer]
	return s.ring.Verify(m.Signer.Public(), bft.SigningBytes(m.Cluster, bft.Epoch(e.Epoch), bft.MessageType(e.Type), e.Payload), crypto.Signature(e.Signature))
}

// inject collects what a behaviour sends out of turn, in so many tries.
func (s *stage) inject(tries int) []bft.Outbound {
	var out []bft.Outbound
	for i := range tries {
		out = append(out, s.a.Inject(bft.Time(i)*20*bft.Millisecond)...)
	}
	return out
}

func TestFalseCheckpointIsSignedAndFalse(t *testing.T) {
	s := newStage(t, "false checkpoints", 1)
	truth := s.checkpoint(liar, 8, "state")
	out := s.a.Send(bft.Outbound{To: bft.Everyone, Frame: truth})
	s.told("false checkpoint")
	e := wire.Envelope(out[0].Frame)
	s.signed(e)
	was, _ := wire.Checkpoint(wire.Envelope(truth))
	c, err := wire.Checkpoint(e)
	if err != nil || c.Seq != 8 || bytes.Equal(c.State, was.State) {
		t.Errorf("it certifies %v, %v", c, err)
	}
	if votes := []byte{byte(bft.TypeFetch), 8, 1}; !bytes.Equal(s.a.Send(bft.Outbound{Frame: votes})[0].Frame, votes) {
		t.Error("it changes what is no checkpoint")
	}
}

func TestCheckpointsAreWithheldAndLost(t *testing.T) {
	withheld := 0
	for seed := range uint64(8) {
		s := newStage(t, "withheld checkpoints", seed)
		frame := s.checkpoint(liar, 8, "state")
		out := s.a.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
		withheld += 3 - len(out)
		for _, o := range out {
			if !bytes.Equal(o.Frame, frame) {
				t.Error("it changes a checkpoint")
			}
		}
		s.a.Told()
		cert := wire.Frame(bft.TypeData, &bftpb.Data{Checkpoint: []*bftpb.Envelope{wire.Envelope(frame)}})
		for _, f := range [][]byte{s.checkpoint(0, 8, "state"), cert} {
			if !s.a.Schedule(Passing{From: 0, To: 2, Frame: f}).Lose {
				t.Errorf("%s of an honest replica arrives", wire.Describe(f))
			}
			s.told("lost " + wire.TypeOf(f).String())
		}
		votes := wire.Frame(bft.TypeVotes, s.members[0].Seal(bft.TypeVotes, nil))
		if s.a.Schedule(Passing{From: 0, To: 2, Frame: votes}).Lose || len(s.a.Told()) > 0 {
			t.Error("votes are lost too")
		}
	}
	if withheld == 0 {
		t.Error("nobody is left out")
	}
}

func TestStateTransferBeginsAtTheLiar(t *testing.T) {
	s := newStage(t, "poisoned state transfer", 1)
	s.a.Receive(0, s.checkpoint(0, 8, "state"))
	s.a.Receive(3, s.checkpoint(3, 8, "another state"))
	s.a.Send(bft.Outbound{To: bft.Everyone, Frame: s.checkpoint(liar, 8, "state")})
	if out := s.a.Inject(0); len(out) != 0 {
		t.Fatal("it shows a certificate of too few")
	}
	s.a.Receive(2, s.checkpoint(2, 8, "state"))
	out := s.a.Inject(0)
	s.told("certificate that has the liar asked first")
	if len(out) != 3 {
		t.Fatalf("%d certificates, want one for each honest replica", len(out))
	}
	for _, o := range out {
		var d bftpb.Data
		if err := wire.Read(bft.TypeData, o.Frame, &d); err != nil {
			t.Fatal(err)
		}
		if err := s.judge.Stable(8, d.Checkpoint); err != nil {
			t.Errorf("the certificate is no good: %v", err)
		}
		if first := d.Checkpoint[int(o.To)%len(d.Checkpoint)].Signer; first != uint32(liar) {
			t.Errorf("replica %d asks %d first", o.To, first)
		}
	}
	if out := s.a.Inject(0); len(out) != 0 {
		t.Error("it shows the same certificate again")
	}
}

func TestVictimOfStateTransferIsCutOff(t *testing.T) {
	s := newStage(t, "poisoned state transfer", 1)
	lost := func(from, to bft.ReplicaID, at bft.Time) bool {
		return s.a.Schedule(Passing{Now: at, From: from, To: to}).Lose
	}
	if !lost(0, 3, timeout) || !lost(2, 3, timeout) {
		t.Error("the victim hears honest replicas")
	}
	s.told("cut off")
	if lost(0, 3, 0) || lost(liar, 3, timeout) || lost(3, 0, timeout) || lost(0, 2, timeout) || len(s.a.Told()) > 0 {
		t.Error("more is lost than what the honest send to the victim")
	}
}

func TestPartsOfAStateAreSpoiltOrLate(t *testing.T) {
	parts := [][]byte{bytes.Repeat([]byte("state"), 20)}
	ds := []bft.Digest{bft.PartDigest(parts[0])}
	state, path := bft.StateDigest(ds), bft.ProvePart(ds, 0)
	told := make(map[string]bool)
	for seed := range uint64(60) {
		s := newStage(t, "poisoned state transfer", seed)
		d := &bftpb.Data{Part: &bftpb.StatePart{Seq: 8, Total: 1, Data: parts[0], Path: [][]byte{path[0][:]}}}
		frame := wire.Frame(bft.TypeData, d)
		out := s.a.Send(bft.Outbound{To: 3, Frame: frame})
		for _, name := range s.a.Told() {
			told[name] = true
		}
		for _, o := range out {
			var got bftpb.Data
			if err := wire.Read(bft.TypeData, o.Frame, &got); err != nil {
				t.Fatal(err)
			}
			p := bft.SnapshotPart{Seq: bft.Seq(got.Part.Seq), Total: got.Part.Total, Data: got.Part.Data, Path: path}
			if p.Seq == 8 && bft.CheckPart(state, p) {
				t.Fatal("a sound part leaves at once")
			}
		}
		if a := s.a.(*stateTransfer); a.patient {
			if late := slices.Concat(s.a.Inject(0), s.a.Inject(100*bft.Millisecond)); len(late) != 0 {
				t.Error("the drip does not wait")
			}
			if late := s.a.Inject(400 * bft.Millisecond); len(late) != 1 || late[0].To != 3 || !bytes.Equal(late[0].Frame, frame) {
				t.Errorf("%d drips, want the part as it was", len(late))
			}
			s.told("dripped part")
		}
	}
	for _, name := range []string{"poisoned part", "truncated part", "part of a larger state", "part of another number", "dripping part", "withheld part"} {
		if !told[name] {
			t.Errorf("it never told the lie %q", name)
		}
	}
}

func TestHeightsAreFalse(t *testing.T) {
	ahead, behind := 0, 0
	for seed := range uint64(8) {
		s := newStage(t, "false heights", seed)
		for _, id := range []bft.ReplicaID{0, 2, 3} {
			out := s.a.Send(bft.Outbound{To: id, Frame: wire.Frame(bft.TypeStatus, &bftpb.Status{View: 2, Stable: 16, Executed: 20, Held: 3})})
			var got bftpb.Status
			if len(out) != 1 || wire.Read(bft.TypeStatus, out[0].Frame, &got) != nil {
				t.Fatal("no status leaves")
			}
			if _, err := s.checker(id).FromPeer(liar, out[0].Frame); err != nil {
				t.Errorf("the status is refused for its form: %v", err)
			}
			switch told := s.a.Told(); {
			case got.Executed > 1<<30 && slices.Contains(told, "far ahead"):
				ahead++
			case got.Executed == 0 && got.Held == 0 && slices.Contains(told, "far behind"):
				behind++
			default:
				t.Errorf("it says executed %d, and the lies %q", got.Executed, told)
			}
		}
		quiet := false
		for seq := uint64(1); seq < 40 && !quiet; seq++ {
			quiet = len(s.propose(1, seq, digests(0, 1))) == 0
		}
		if !quiet {
			t.Error("it proposes without end")
		}
	}
	if ahead == 0 || behind == 0 {
		t.Errorf("%d are told that it is ahead, %d that it is behind", ahead, behind)
	}
}

// Every message of a flood is well formed and validly signed, and none comes twice.
func TestFloodsAreWellFormed(t *testing.T) {
	s := newStage(t, "floods", 3)
	s.status(0, 2, 16, 20)
	c := s.checker(0)
	out := s.inject(2000)
	seen := make(map[string]bool)
	kinds := make(map[bft.MessageType]int)
	for _, o := range out {
		kinds[wire.TypeOf(o.Frame)]++
		if seen[string(o.Frame)] {
			t.Fatalf("%s comes twice", wire.Describe(o.Frame))
		}
		seen[string(o.Frame)] = true
		u, err := c.FromPeer(liar, o.Frame)
		if err == nil {
			_, err = c.Verify(u, s.ring)
		}
		if err != nil {
			t.Fatalf("%s: %v", wire.Describe(o.Frame), err)
		}
	}
	for _, k := range []bft.MessageType{bft.TypeVotes, bft.TypeCheckpoint, bft.TypeViewChange, bft.TypeNewView, bft.TypePrePrepare, bft.TypeRequest, bft.TypeFetch} {
		if kinds[k] == 0 {
			t.Errorf("no %v", k)
		}
	}
	if told := s.a.Told(); len(told) != len(out) {
		t.Errorf("%d lies for %d messages", len(told), len(out))
	}
}

func TestQuestionsAreSmallAndMany(t *testing.T) {
	s := newStage(t, "amplifying messages", 1)
	if len(s.inject(200)) != 0 {
		t.Fatal("it asks before anything is executed")
	}
	s.status(0, 0, 8, 12)
	c := s.checker(0)
	questions, tooLong, large := 0, 0, 0
	for _, o := range s.inject(400) {
		_, err := c.FromPeer(liar, o.Frame)
		switch {
		case len(o.Frame) > bft.MaxFrameBytes && err != nil:
			tooLong++
		case wire.TypeOf(o.Frame) == bft.TypeFetch && len(o.Frame) < 64 && err == nil:
			questions++
		case wire.TypeOf(o.Frame) == bft.TypeData && len(o.Frame) > 1<<15 && err == nil:
			large++
		default:
			t.Fatalf("%s: %v", wire.Describe(o.Frame), err)
		}
	}
	if questions < asked || tooLong == 0 || large == 0 {
		t.Errorf("%d questions, %d frames that are too long, %d large ones", questions, tooLong, large)
	}
}

// What is wrong within is refused, and what has a signature has a valid one.
func TestMalformedMessagesAreRefused(t *testing.T) {
	s := newStage(t, "malformed messages", 1)
	c := s.checker(0)
	refused, taken := 0, 0
	for range 600 {
		out := s.a.Inject(0)
		if e := wire.Envelope(out[0].Frame); e != nil {
			s.signed(e)
		}
		if _, err := c.FromPeer(liar, out[0].Frame); err != nil {
			refused++
		} else {
			taken++ // votes out of range are drawn, and may be in it
		}
	}
	if refused < 580 {
		t.Errorf("%d are refused, %d taken", refused, taken)
	}
	frame := s.checkpoint(liar, 8, "state")
	broken := 0
	for range 400 {
		for _, o := range s.a.Send(bft.Outbound{To: 0, Frame: bytes.Clone(frame)}) {
			if !bytes.Equal(o.Frame, frame) {
				broken++
				if u, err := c.FromPeer(liar, o.Frame); err == nil {
					if _, err = c.Verify(u, s.ring); err == nil {
						t.Errorf("%x is taken in place of %x", o.Frame, frame)
					}
				}
			}
		}
	}
	if broken == 0 {
		t.Error("nothing was broken")
	}
}
