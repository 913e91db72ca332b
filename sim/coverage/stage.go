package coverage

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Stage is where a replica stands: in which phase of the normal case its lowest open number is, or in
// which stage of a view change, of a recovery or of a failure the replica itself.
type Stage uint8

// The stages.
const (
	// StageIdle: nothing is open.
	StageIdle Stage = iota
	// StageAccepted: the lowest number that is not committed was proposed by this replica, or it has
	// sent its prepare.
	StageAccepted
	// StagePrepared: it has sent its commit for that number.
	StagePrepared
	// StageCommitted: all it knows to be proposed is committed, but not all is executed.
	StageCommitted
	// StageInherited: the view is new, and some number that its new-view settled is not committed.
	StageInherited
	// StageLeft: it has left its view, but has not heard a quorum say so.
	StageLeft
	// StageQuorum: a quorum has left; the new-view is awaited.
	StageQuorum
	// StageNewView: a quorum has left, and it is for this replica to send the new-view.
	StageNewView
	// StageTransfer: it fetches the state of a checkpoint.
	StageTransfer
	// StageStarting: it has started, and signs nothing until others have said what they hold signed by it.
	StageStarting
	// StageAmnesiac: it has lost records, and signs nothing.
	StageAmnesiac
	// StageDiverged: its state differs from the quorum's, and it repairs itself.
	StageDiverged
	stageEnd
)

var stageNames = [stageEnd]string{"idle", "accepted", "prepared", "committed", "inherited proposals", "view left",
	"quorum has left", "owes a new-view", "state transfer", "starting", "amnesiac", "diverged"}

// String names the stage.
func (s Stage) String() string {
	if s >= stageEnd {
		return fmt.Sprintf("stage %d", uint8(s))
	}
	return stageNames[s]
}

// Tracker tells the stage of one replica from the messages that it sends and receives and from its
// own report. Make one with NewTracker for each start of a replica: what it knows is lost with it.
type Tracker struct {
	self bft.ReplicaID
	n    int
	// accepted and prepared are the highest numbers for which the replica sent a pre-prepare or
	// prepare, or a commit, in the view that it was in last.
	view               bft.View
	accepted, prepared bft.Seq
	// left is the highest view that each member has left for.
	left []bft.View
	// settled is the highest number in the new-view of a view.
	settled    bft.Seq
	settledFor bft.View
	// fetching is the checkpoint whose state was asked for last.
	fetching bft.Seq
}

// NewTracker makes the tracker of replica self of n.
func NewTracker(self bft.ReplicaID, n int) *Tracker {
	return &Tracker{self: self, n: n, left: make([]bft.View, n)}
}

const fetchState = 5 // the kind of Fetch that asks for parts of a state

// Sent notes a frame that the replica sends.
func (t *Tracker) Sent(frame []byte) {
	switch wire.TypeOf(frame) {
	case bft.TypePrePrepare:
		if h, err := wire.Header(orEmpty(wire.Envelope(frame))); err == nil {
			t.enter(bft.View(h.View))
			t.accepted = max(t.accepted, bft.Seq(h.Seq))
		}
	case bft.TypeVotes:
		e := wire.Envelope(frame)
		if e == nil || e.Signer != uint32(t.self) {
			return // passed on
		}
		v, err := wire.Votes(e)
		if err != nil {
			return
		}
		t.enter(bft.View(v.View))
		for _, x := range v.Votes {
			if bft.Phase(x.Phase) == bft.PhaseCommit {
				t.prepared = max(t.prepared, bft.Seq(x.Seq))
			} else {
				t.accepted = max(t.accepted, bft.Seq(x.Seq))
			}
		}
	case bft.TypeViewChange, bft.TypeNewView:
		t.noteChange(frame)
	case bft.TypeFetch:
		var f bftpb.Fetch
		if wire.Read(bft.TypeFetch, frame, &f) == nil && f.Kind == fetchState {
			t.fetching = max(t.fetching, bft.Seq(f.From))
		}
	}
}

// Received notes a frame that the replica is about to take.
func (t *Tracker) Received(frame []byte) {
	if k := wire.TypeOf(frame); k == bft.TypeViewChange || k == bft.TypeNewView {
		t.noteChange(frame)
	}
}

func orEmpty(e *bftpb.Envelope) *bftpb.Envelope {
	if e == nil {
		return &bftpb.Envelope{}
	}
	return e
}

// enter forgets what was said in lower views.
func (t *Tracker) enter(v bft.View) {
	if v > t.view {
		t.view, t.accepted, t.prepared = v, 0, 0
	}
}

func (t *Tracker) noteChange(frame []byte) {
	e := wire.Envelope(frame)
	if e == nil {
		return
	}
	if wire.TypeOf(frame) == bft.TypeViewChange {
		if vc, err := wire.ViewChange(e); err == nil && int(e.Signer) < t.n {
			t.left[e.Signer] = max(t.left[e.Signer], bft.View(vc.View))
		}
		return
	}
	nv, err := wire.NewView(e)
	if err != nil || bft.View(nv.View) < t.settledFor {
		return
	}
	t.settledFor, t.settled = bft.View(nv.View), 0
	for _, pre := range nv.PrePrepares {
		if h, err := wire.Header(pre); err == nil {
			t.settled = max(t.settled, bft.Seq(h.Seq))
		}
	}
}

// Stage tells where the replica stands, given its report. Where several stages apply, that counts
// which keeps the replica most from the normal case.
func (t *Tracker) Stage(info *bft.Info) Stage {
	t.enter(info.View)
	switch {
	case info.Amnesiac != "":
		return StageAmnesiac
	case info.Starting:
		return StageStarting
	case info.Diverged != "":
		return StageDiverged
	case t.fetching > info.Executed:
		return StageTransfer
	case info.Changing:
		return t.changing(info)
	case t.settledFor == info.View && info.Committed < t.settled:
		return StageInherited
	case t.prepared > info.Committed:
		return StagePrepared
	case t.accepted > info.Committed:
		return StageAccepted
	case info.Executed < info.Committed:
		return StageCommitted
	}
	return StageIdle
}

// changing tells the stage of a view change. Who has left for a higher view has left this one too.
func (t *Tracker) changing(info *bft.Info) Stage {
	gone := 0
	for id, v := range t.left {
		if v >= info.View || bft.ReplicaID(id) == t.self {
			gone++
		}
	}
	switch {
	case gone < bft.Quorum(t.n):
		return StageLeft
	case bft.Primary(info.View, t.n) == t.self:
		return StageNewView
	}
	return StageQuorum
}
