package trace

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Frames between a client and a replica, beside those of package bft. A traced call is wrapped, so
// that what is ordered, signed and executed is the same to the byte.
const (
	// FrameCall: an id of the client's choice, a count of attempts, and a frame of package bft.
	FrameCall = 0x90
	// FrameReply: the id, a Report, and the frame of package bft that answers.
	FrameReply = 0x91
	// FrameAsk: the id of a call that the replica has not answered; how far is it?
	FrameAsk = 0x92
	// FrameReport answers FrameAsk: the id and a Report.
	FrameReport = 0x93
)

const (
	callHead  = 1 + 8 + 1
	replyHead = 1 + 8 + 2
	// maxReport bounds an encoded Report, in bytes.
	maxReport = 4096
	// MaxAttempts is how often a call is sent wrapped to one replica; after that it is sent as any other.
	MaxAttempts = 255
)

// Step is something that a replica does for a call.
type Step string

// The steps of a replica, in their usual order. The proposal may come before the request does.
const (
	Verified  Step = "verified"  // the client's signature holds; mostly the primary checks it
	Proposed  Step = "proposed"  // the primary has put it into a proposal
	Accepted  Step = "accepted"  // the proposal has left the primary, or come to a backup, which votes for it
	Prepared  Step = "prepared"  // a quorum has accepted the proposal
	Committed Step = "committed" // a quorum is prepared: the order is final
	Released  Step = "released"  // of a read: all that it must reflect is executed
	Executing Step = "executing" // the service begins with the batch or the frame of reads
	Executed  Step = "executed"  // it has ended
	Replied   Step = "replied"   // the reply is handed to the network
	Refused   Step = "refused"   // it had no room for the call
)

// rank orders the steps that follow each other at every honest replica; the other steps have none.
var rank = map[Step]int{Proposed: 1, Accepted: 2, Prepared: 3, Committed: 4, Released: 4, Executing: 5, Executed: 6, Replied: 7, Verified: 0, Refused: 0}

// Event is a step and when it was taken, since the replica received the call.
type Event struct {
	Step Step          `json:"step"`
	At   time.Duration `json:"nanos"` // negative: before
}

// Report is what a replica says of a call. Nothing in it is proven.
type Report struct {
	// Attempt of the client's that it received first.
	Attempt int `json:"attempt"`
	// Read: the call was not ordered.
	Read bool `json:"read,omitempty"`
	// View and Seq are where it was ordered; Seq is 0 while it is not.
	View uint64 `json:"view"`
	Seq  uint64 `json:"number"`
	// Primary: the replica was the primary of View.
	Primary bool `json:"primary,omitempty"`
	// Events in the order of Step's constants, each step once at most.
	Events []Event `json:"events"`
}

// At returns when a step was taken, and whether it was.
func (r *Report) At(s Step) (time.Duration, bool) {
	for _, e := range r.Events {
		if e.Step == s {
			return e.At, true
		}
	}
	return 0, false
}

var errFrame = errors.New("trace: malformed frame")

// CallFrame wraps the frame of a call: its attempt-th, counted from 1, to that replica.
func CallFrame(id uint64, attempt int, frame []byte) []byte {
	b := make([]byte, 0, callHead+len(frame))
	b = binary.BigEndian.AppendUint64(append(b, FrameCall), id)
	return append(append(b, byte(attempt)), frame...)
}

// ParseCall reads what CallFrame made. The inner frame is a part of b.
func ParseCall(b []byte) (id uint64, attempt int, frame []byte, err error) {
	if len(b) <= callHead || b[0] != FrameCall || b[9] == 0 {
		return 0, 0, nil, errFrame
	}
	return binary.BigEndian.Uint64(b[1:]), int(b[9]), b[callHead:], nil
}

// AskFrame asks how far a call is.
func AskFrame(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{FrameAsk}, id) }

// ParseAsk reads what AskFrame made.
func ParseAsk(b []byte) (id uint64, err error) {
	if len(b) != 9 || b[0] != FrameAsk {
		return 0, errFrame
	}
	return binary.BigEndian.Uint64(b[1:]), nil
}

// ReplyFrame wraps the frame that answers a call, with the replica's times.
func ReplyFrame(id uint64, r *Report, frame []byte) []byte {
	return append(reportFrame(FrameReply, id, r, len(frame)), frame...)
}

// ReportFrame answers AskFrame.
func ReportFrame(id uint64, r *Report) []byte { return reportFrame(FrameReport, id, r, 0) }

func reportFrame(kind byte, id uint64, r *Report, more int) []byte {
	report, err := json.Marshal(r)
	if err != nil || len(report) > maxReport { // numbers and a dozen names
		panic(fmt.Sprintf("trace: a report of %d bytes: %v", len(report), err))
	}
	b := make([]byte, 0, replyHead+len(report)+more)
	b = binary.BigEndian.AppendUint64(append(b, kind), id)
	b = binary.BigEndian.AppendUint16(b, uint16(len(report)))
	return append(b, report...)
}

// ParseReply reads what ReplyFrame or ReportFrame made: frame is empty after the latter, and otherwise a part of
// b. A report that no replica makes is an error, but the frame is returned all the same.
func ParseReply(b []byte) (id uint64, r *Report, frame []byte, err error) {
	if len(b) < replyHead || b[0] != FrameReply && b[0] != FrameReport {
		return 0, nil, nil, errFrame
	}
	id = binary.BigEndian.Uint64(b[1:])
	size := int(binary.BigEndian.Uint16(b[9:]))
	if size > maxReport || size > len(b)-replyHead {
		return 0, nil, nil, errFrame
	}
	frame = b[replyHead+size:]
	r = new(Report)
	if err := json.Unmarshal(b[replyHead:replyHead+size], r); err != nil {
		return id, nil, frame, fmt.Errorf("%w: %v", errFrame, err)
	}
	if err := r.valid(); err != nil {
		return id, nil, frame, err
	}
	return id, r, frame, nil
}

// longest is more than any call takes: what is beyond is nonsense, and differences of what is within do not overflow.
const longest = 30 * 24 * time.Hour

// valid refuses a report that contradicts itself.
func (r *Report) valid() error {
	if r.Attempt < 0 || r.Attempt > MaxAttempts {
		return fmt.Errorf("trace: attempt %d", r.Attempt)
	}
	last, at, seen := 0, -longest, map[Step]bool{}
	for _, e := range r.Events {
		k, known := rank[e.Step]
		switch {
		case !known || seen[e.Step]:
			return errors.New("trace: an unknown or repeated step")
		case e.At < -longest || e.At > longest:
			return errors.New("trace: a step at an impossible time")
		case k == 0:
		case k < last || e.At < at:
			return errors.New("trace: the steps are out of order")
		default:
			last, at = k, e.At
		}
		seen[e.Step] = true
	}
	return nil
}
