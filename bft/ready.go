package bft

import "github.com/baluarte-bft/baluarte/crypto"

// Everyone addresses an Outbound to all other replicas.
const Everyone ReplicaID = 1<<32 - 1

// Ready is what the host must now do. The fields are independent of each other: the host may
// carry them out in any order and beside each other, and reports with Advance, in any order
// too, except that Records are made durable and Batches executed in the order given.
//
// The replica holds back every message, and its own vote, until the record that it binds and
// all earlier ones are durable and the message is signed (rule 16): what is in Messages may
// leave at once.
type Ready struct {
	// Records to make durable. Report the LSN of the last durable one as Done.Persisted.
	Records []Record
	// Sign asks for signatures of this member. Report as Done.Signed.
	Sign []SignRequest
	// Check asks for the client signatures of bundles. Report as Done.Checked.
	Check []*Bundle
	// Messages to send. Loss is tolerated, and reordering too.
	Messages []Outbound
	// Execute are committed batches, in order of Seq without gaps. Report as Done.Executed; a
	// batch that ends a checkpoint interval also asks for Done.Snapshots: a snapshot that fails is
	// tried again until it is durable or a newer one is, for the log is cut behind snapshots only.
	Execute []*Batch
	// Replay are bundles that were executed before: send the cached replies again, if the session
	// still has them, else the refusal that execution would give.
	Replay []*Bundle
	// Busy are bundles that were refused for now: tell their client, if it is connected.
	Busy []*Bundle
	// Reads may now be answered from the executed state, at Executed or later.
	Reads []ReadID
	// Serve asks for parts of the snapshot of a stable checkpoint. Report as Done.Parts.
	Serve []PartRequest
	// Stage are verified parts of a snapshot that is being fetched: keep them.
	Stage []SnapshotPart
	// Install, when set, replaces the executed state by the staged snapshot. Report as Done.Installed.
	Install *Install
	// Update, when set, asks for the updates of a batch that this primary wants to propose, on the state of the number
	// below its own, which is the last that was executed. Report as Done.Updated, however long it takes; meanwhile
	// the state may move on. Its Digest is not set.
	Update *Batch
	// Judge, when set, asks whether the updates of a proposal are in order, on the state of the number below its
	// own, which is the last that was executed. Report as Done.Judged.
	Judge *Batch
	// Stable is the low watermark: snapshots below it are not needed any more.
	Stable Seq
	// Progress tells how far numbers have come, for a host that wants to time them. Nothing needs to be done,
	// and there is no Ready for its sake alone: each step of a number comes with something to do.
	Progress []Progress
}

// Progress is a step of a number in the agreement.
type Progress struct {
	Seq  Seq
	View View
	Step Step
	// Body are the digests of the proposal's bundles. They must not be changed.
	Body []Digest
}

// Step is how far a number has come at one replica, in one view.
type Step uint8

// The steps of a number. One that learns of a commitment from others has only the last.
const (
	// StepProposed: this primary has put the proposal together.
	StepProposed Step = iota
	// StepAccepted: the proposal is seen and its content held. A backup votes for it now; the primary's has left.
	StepAccepted
	// StepPrepared: a quorum has accepted it in this view.
	StepPrepared
	// StepCommitted: a quorum is prepared. It is executed in its turn.
	StepCommitted
)

// Record is one change of the durable store, a map of keys to values in byte order.
type Record struct {
	LSN LSN
	// Key is set to Value, unless To is set: then all keys in [Key, To) are deleted.
	Key   []byte
	Value []byte
	To    []byte
}

// KV is a record as it is found after a restart.
type KV struct{ Key, Value []byte }

// SignRequest asks for the signature of this member over SigningBytes(type, payload).
type SignRequest struct {
	ID      uint64
	Type    MessageType
	Message []byte // what to sign
}

// Outbound is a frame for one replica or for Everyone else.
type Outbound struct {
	To    ReplicaID
	Frame []byte
	// Traced are the calls with CallOptions.Traced that a client's frame carries.
	Traced []CallID
}

// Batch is a committed proposal.
type Batch struct {
	Seq      Seq
	View     View // in which it committed; informative, differs between replicas
	Proposal Proposal
	Digest   Digest // of the proposal
	Bundles  []*Bundle
	// Updates is what the primary computed for services that are replicated passively, in the encoding of package exec.
	Updates []byte
	// Checkpoint: take a snapshot once the batch is executed.
	Checkpoint bool
}

// ReadID is a host's name for a waiting read.
type ReadID uint64

// PartRequest asks for a part of the snapshot taken at Seq, for a peer.
type PartRequest struct {
	To    ReplicaID
	Seq   Seq
	Index uint32
}

// SnapshotPart is one part of a serialised snapshot, of PartSize bytes unless it is the last.
type SnapshotPart struct {
	Seq          Seq
	Index, Total uint32
	Data         []byte
	Path         []Digest // from the part to the root, see StateDigest
}

// Install asks the host to replace the executed state.
type Install struct {
	Seq        Seq
	Checkpoint CheckpointInfo
}

// CheckpointInfo is what a checkpoint certifies.
type CheckpointInfo struct {
	Seq          Seq
	State        Digest // see StateDigest
	History      Digest // root of the history tree
	ScheduledEnd Seq    // end of the epoch; 0: none scheduled
	NextManifest Digest // zero: none
}

// Done is what the host reports. Zero fields report nothing.
type Done struct {
	// Persisted: all records up to this one are durable.
	Persisted LSN
	Signed    []Signed
	Checked   []Checked
	Executed  []Executed
	Snapshots []Snapshot
	Parts     []ServedPart
	Installed *Installed
	Updated   *Updated
	Judged    *Judged
}

// Updated answers Ready.Update.
type Updated struct {
	Seq Seq
	// Bundles is how many of the batch's bundles, from the first, are to be proposed now; 0: none.
	Bundles int
	// Updates for them, at most MaxUpdateBytes; empty if they need none.
	Updates []byte
}

// Judged answers Ready.Judge.
type Judged struct {
	Seq    Seq
	View   View
	Digest Digest // of the proposal
	// OK: the updates are in order, or the state has moved on, so that it does not matter any more.
	OK bool
}

// Signed answers a SignRequest.
type Signed struct {
	ID        uint64
	Signature crypto.Signature
}

// Checked tells whether the client's signature of a bundle is valid.
type Checked struct {
	Digest Digest
	Valid  bool
}

// Executed reports that a batch was executed.
type Executed struct {
	Seq Seq
	// Time is the agreed time at which it was executed (clamped to be monotone).
	Time Time
	// Marks has every session that the batch opened, used or ended.
	Marks []SessionMark
	// Again are the bundles with a result that is not final: repeated, they are ordered again.
	Again []Digest
	// Void are those of them that wait to be ordered again without being repeated: an update was missing or void.
	Void []Digest
}

// WindowOps is the number of sequence numbers that a session may have open: from the lowest
// that is not yet executed or answered, a number at or above low+WindowOps is refused.
const WindowOps = 1024

// SessionMark is what the core keeps of a session: which operations have been executed.
type SessionMark struct {
	Session SessionID
	Client  ClientID
	// Low is the lowest sequence number that has not been executed; all below are decided.
	Low uint64
	// Bits: bit i%64 of Bits[i/64] tells whether Low+i was executed.
	Bits [WindowOps / 64]uint64
	// Gone: the session has ended; its operations will be refused.
	Gone bool
}

// Decided tells whether the operations [first, first+count) have all been executed.
func (m *SessionMark) Decided(first uint64, count int) bool {
	if m.Gone {
		return true
	}
	for i := 0; i < count; i++ {
		n := first + uint64(i)
		if n < m.Low {
			continue
		}
		d := n - m.Low
		if d >= WindowOps || m.Bits[d/64]&(1<<(d%64)) == 0 {
			return false
		}
	}
	return true
}

// InWindow tells whether the operations [first, first+count) fit the session's window.
func (m *SessionMark) InWindow(first uint64, count int) bool {
	return !m.Gone && first+uint64(count) <= m.Low+WindowOps
}

// Snapshot reports a durable snapshot of the state after Seq.
type Snapshot struct {
	Seq     Seq
	State   Digest
	History Digest
}

// ServedPart answers a PartRequest; a nil Part means that the host does not have it.
type ServedPart struct {
	Request PartRequest
	Part    *SnapshotPart
}

// Installed answers Install.
type Installed struct {
	Seq Seq
	// OK is false if the snapshot could not be used; then it is fetched from another peer.
	OK    bool
	Time  Time          // last agreed time of the installed state
	Marks []SessionMark // all sessions of the installed state
}

// Restored is what a replica is started from. The zero value is a replica at genesis, whose
// host has just written its birth record.
type Restored struct {
	// Records are all records that were durable, in the order of their keys.
	Records []KV
	// LSN of the last of them.
	LSN LSN
	// Executed, Time and Marks describe the state that the executor was restored to: the newest
	// durable snapshot, or genesis.
	Executed Seq
	Time     Time
	Marks    []SessionMark
	// Snapshot is that snapshot's digests, if Executed is not 0.
	Snapshot Snapshot
	// Boot is drawn anew at each start.
	Boot uint64
	// Born: there never was an earlier start. Records that are there all the same are refused.
	Born bool
	// Amnesiac: the host knows that records were lost.
	Amnesiac string
}

// Info is a replica's own view of itself, for status and metrics.
type Info struct {
	View     View
	Primary  ReplicaID
	Changing bool // a view change is under way
	Starting bool // waiting to hear what others hold signed by this replica (rule 19)
	Stable   Seq
	Executed Seq
	// Committed is the highest number without a gap that is known to be committed.
	Committed Seq
	// Amnesiac says why this replica has stopped signing, if it has.
	Amnesiac string
	// Diverged says what differs, if the replica found its state to differ from the quorum's.
	Diverged string
	// Pending is the number of bundles waiting, InFlight that of numbers proposed and not committed.
	Pending, InFlight int
	// Suspicion is why this replica last left a view of its own accord, and Suspected is that view.
	Suspicion Suspicion
	Suspected View
	// SuspectAfter is d of rule 14.
	SuspectAfter Time
	// SuspectMean is how long requests may wait for their proposal in the mean (rule 14).
	SuspectMean Time
	// Timeout is the request timeout with its present back-off.
	Timeout Time
}
