package coverage

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// framed is the frame of an envelope of a member; what it says is not checked by a tracker.
func framed(signer bft.ReplicaID, t bft.MessageType, payload []byte) []byte {
	m := wire.Member{Self: signer, Cluster: crypto.Hash("coverage"), Signer: crypto.NewFastRing().NewKey([32]byte{byte(signer)})}
	e := m.Seal(t, payload)
	if t == bft.TypePrePrepare {
		return wire.Frame(t, &bftpb.PrePrepare{Header: e, Body: &bftpb.Body{}})
	}
	return wire.Frame(t, e)
}

func votes(signer bft.ReplicaID, view bft.View, phase bft.Phase, seqs ...uint64) []byte {
	p := &bftpb.Votes{View: uint64(view)}
	for _, s := range seqs {
		p.Votes = append(p.Votes, &bftpb.Vote{Phase: uint32(phase), Seq: s, Digest: make([]byte, 32)})
	}
	return framed(signer, bft.TypeVotes, wire.Marshal(p))
}

func viewChange(signer bft.ReplicaID, view uint64) []byte {
	return framed(signer, bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: view}))
}

func header(signer bft.ReplicaID, view, seq uint64) []byte {
	return framed(signer, bft.TypePrePrepare, wire.Marshal(&bftpb.Header{View: view, Seq: seq}))
}

// TestStagesOfAStory follows replica 1 of 4 through two numbers, a view change and a state transfer.
func TestStagesOfAStory(t *testing.T) {
	tr := NewTracker(1, 4)
	info := bft.Info{Starting: true}
	at := func(what string, want Stage) {
		t.Helper()
		if got := tr.Stage(&info); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	at("started", StageStarting)
	info.Starting = false
	at("heard of the others", StageIdle)
	tr.Sent(votes(1, 0, bft.PhasePrepare, 1, 2))
	at("prepares sent", StageAccepted)
	tr.Sent(votes(3, 0, bft.PhaseCommit, 9))
	at("another's commit passed on", StageAccepted)
	tr.Sent(votes(1, 0, bft.PhaseCommit, 1))
	at("commit sent", StagePrepared)
	info.Committed = 1
	at("1 committed, 2 accepted", StageAccepted)
	tr.Sent(votes(1, 0, bft.PhaseCommit, 2))
	info.Committed, info.Executed = 2, 1
	at("all committed", StageCommitted)
	info.Executed = 2
	at("all executed", StageIdle)

	info.View, info.Changing = 1, true
	tr.Sent(viewChange(1, 1))
	at("left", StageLeft)
	tr.Received(viewChange(0, 1))
	at("one more left", StageLeft)
	tr.Received(viewChange(3, 2))
	at("a quorum left, and 1 is the next primary", StageNewView)
	info.View = 2
	at("left for the view after", StageLeft)
	tr.Received(viewChange(0, 2))
	at("a quorum left for it", StageQuorum)
	nv := &bftpb.NewView{View: 2}
	for seq := uint64(3); seq <= 4; seq++ {
		var p bftpb.PrePrepare
		if err := wire.Read(bft.TypePrePrepare, header(2, 2, seq), &p); err != nil {
			t.Fatal(err)
		}
		nv.PrePrepares = append(nv.PrePrepares, p.Header)
	}
	tr.Received(framed(2, bft.TypeNewView, wire.Marshal(nv)))
	info.Changing = false
	at("entered, O open", StageInherited)
	info.Committed, info.Executed = 4, 4
	at("O executed", StageIdle)
	info.View = 5
	tr.Sent(header(1, 5, 5))
	at("proposed as primary", StageAccepted)

	tr.Sent(wire.Frame(bft.TypeFetch, &bftpb.Fetch{Kind: fetchState, From: 32}))
	at("fetches a state", StageTransfer)
	info.Committed, info.Executed = 32, 32
	at("installed", StageIdle)
	info.Diverged = "differs"
	at("wrong state", StageDiverged)
	info.Amnesiac = "lost records"
	at("lost records too", StageAmnesiac)
}

func TestTrackerIgnoresWhatDoesNotDecode(t *testing.T) {
	tr := NewTracker(1, 4)
	for k := range 20 {
		for _, frame := range [][]byte{{byte(k)}, {byte(k), 255}, {byte(k), 10, 200}, nil} {
			tr.Sent(frame)
			tr.Received(frame)
		}
	}
	tr.Received(viewChange(9, 1)) // a stranger
	if got := tr.Stage(&bft.Info{}); got != StageIdle {
		t.Errorf("%v", got)
	}
}
