package byz

import (
	"bytes"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// A flipped vote is one digest off by a bit, under a good signature.
func TestFlippedBitIsOneBit(t *testing.T) {
	d := crypto.Hash("d")
	until(t, "flipped bit", func(s *stage) bool {
		out := s.send(s.votes(liar, slot{0, 1}, d, prepareAndCommit...))
		if len(s.a.Told()) == 0 {
			return false
		}
		wrong := 0
		for _, v := range s.read(out[0].Frame).Votes {
			for i := range v.Digest {
				for x := v.Digest[i] ^ d[i]; x != 0; x &= x - 1 {
					wrong++
				}
			}
		}
		if wrong != 1 {
			t.Errorf("%d bits are wrong, want 1", wrong)
		}
		return true
	})
	reply := wire.Frame(bft.TypeReply, &bftpb.Reply{Results: [][]byte{{0, '7'}}})
	until(t, "flipped bit", func(s *stage) bool {
		out := s.a.Reply(bft.ClientID{}, reply)
		if len(s.a.Told()) == 0 {
			return false
		}
		var r bftpb.Reply
		if err := wire.Read(bft.TypeReply, out[0], &r); err != nil || !bytes.Equal(r.Results[0], []byte{0, '6'}) {
			t.Errorf("the reply has %q, want another last bit: %v", r.Results, err)
		}
		return true
	})
}

// sum is a service that adds one for each operation.
type sum struct {
	exec.StateMachine
	n byte
}

func (m *sum) Apply(exec.Context, []byte) []byte {
	m.n++
	return []byte{'0' + m.n}
}

func TestAccidentsOfExecution(t *testing.T) {
	for _, c := range []struct {
		behaviour, lie string
		seq            bft.Seq
		state          byte
		result         string
	}{
		{"wrong result", "wrong result", 1, 1, "2"},
		{"misapplied batch", "batch left out", 3, 0, "\x00"},
		{"misapplied batch", "batch applied twice", 7, 2, "2"},
	} {
		s := newStage(t, c.behaviour, 1)
		e := s.a.Execute(c.seq)
		s.told(c.lie)
		m := &sum{}
		if got := e.Apply(m, exec.Context{}, nil); string(got) != c.result || m.n != c.state {
			t.Errorf("%s: the result is %q and the state %d, want %q and %d", c.lie, got, m.n, c.result, c.state)
		}
		if e := s.a.Execute(c.seq + 1); e.Apply != nil || len(s.a.Told()) > 0 {
			t.Errorf("%s: the next number is wrong too", c.behaviour)
		}
	}
}

func TestViewJumpVotesInAViewToCome(t *testing.T) {
	until(t, "view jump", func(s *stage) bool {
		out := s.send(s.votes(liar, slot{4, 1}, crypto.Hash("d"), bft.PhasePrepare))
		v := s.read(out[0].Frame).View
		if told := len(s.a.Told()) > 0; told != (v > 4) || v > 7 {
			t.Errorf("it votes in view %d, and says that it lies: %v", v, told)
		}
		return v > 4
	})
}

// A power failure follows a record that was not persisted, and only then.
func TestUnpersistedVotes(t *testing.T) {
	lost, crashes := false, 0
	s := newStage(t, "unpersisted vote", 1)
	for seq := range bft.Seq(300) {
		if e := s.a.Execute(seq); e.Crash {
			if !lost {
				t.Fatal("the power fails although nothing is lost")
			}
			crashes++
			lost = false
		}
		lost = !s.a.Sync(nil) || lost
	}
	if crashes == 0 {
		t.Error("the power never failed")
	}
}

func TestSkippedCheckTakesAll(t *testing.T) {
	s := newStage(t, "skipped check", 1)
	if !s.a.Checked(true) || !s.a.Verified(true) || len(s.a.Told()) != 0 {
		t.Error("good signatures are a lie")
	}
	if !s.a.Checked(false) || !s.a.Verified(false) {
		t.Error("it checks")
	}
	s.told("client signature not checked")
}

// The disk is always one that was before, never one that was not.
func TestAmnesiaFindsAnOlderDisk(t *testing.T) {
	s := newStage(t, "amnesia", 1)
	if got := s.a.Records(nil); got != nil || len(s.a.Told()) != 0 {
		t.Fatal("it forgets before its first start")
	}
	for n := 1; n <= 20; n++ {
		records := make([]bft.KV, n)
		if got := s.a.Records(records); len(got) >= n {
			t.Errorf("start %d finds %d records, all there are", n, len(got))
		}
		s.told("older disk")
	}
}

func TestWrongQuorumCommitsAtOnce(t *testing.T) {
	s := newStage(t, "wrong quorum rule", 1)
	d := crypto.Hash("d")
	out := s.send(s.votes(liar, slot{0, 1}, d, bft.PhasePrepare))
	s.told("commit without a quorum of prepares")
	if len(out) != 2 {
		t.Fatalf("%d frames leave, want the prepare and the commit", len(out))
	}
	if v := s.read(out[1].Frame); len(v.Votes) != 1 || v.Votes[0].Phase != uint32(bft.PhaseCommit) || v.Votes[0].Seq != 1 || !bytes.Equal(v.Votes[0].Digest, d[:]) {
		t.Errorf("it commits to %v", v)
	}
	if out := s.send(s.votes(liar, slot{0, 1}, d, bft.PhaseCommit)); len(out) != 1 || len(s.a.Told()) != 0 {
		t.Error("a commit in time is a lie")
	}
	out = s.propose(1, 2, digests(0, 2))
	if len(out) != 2 || s.read(out[1].Frame).Votes[0].Seq != 2 {
		t.Error("the primary does not commit to what it has just proposed")
	}
}
