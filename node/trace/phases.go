package trace

import (
	"slices"
	"time"
)

// Phase is one of the five parts of a call's time; see the package.
type Phase int

// The phases, in the order in which a call goes through them.
const (
	Request Phase = iota
	Coordination
	Agreement
	Execution
	Response
	phaseCount
)

var phaseNames = [phaseCount]string{"request", "coordination", "agreement", "execution", "response"}

// String names the phase.
func (p Phase) String() string { return phaseNames[p] }

// Phases are all of them, in order.
var Phases = [phaseCount]Phase{Request, Coordination, Agreement, Execution, Response}

// Times are the durations of the phases.
type Times struct {
	Of [phaseCount]time.Duration
	// Known: the phase was told apart. The time of one that was not is in a neighbour's.
	Known [phaseCount]bool
}

// Total is the sum of all phases.
func (t *Times) Total() (sum time.Duration) {
	for _, d := range t.Of {
		sum += d
	}
	return sum
}

// complete tells whether all five phases were told apart.
func (t *Times) complete() bool { return !slices.Contains(t.Known[:], false) }

// Seen is what the client itself measured of one replica, since the call began.
type Seen struct {
	// First and Sent: when the call was first sent to this replica, and when it was sent in the attempt that the
	// replica reports.
	First, Sent time.Duration
	// Received is when its reply came.
	Received time.Duration
}

// split divides the time until a reply came. It is false if the report does not fit.
func split(r *Report, seen Seen) (t Times, ok bool) {
	replied, ok := r.At(Replied)
	way := seen.Received - seen.Sent - replied
	if !ok || replied < 0 || way < 0 {
		return t, false
	}
	forth := way / 2
	// Where the phases end, since the replica received the call. A read is not agreed on: its replies are compared.
	ends := [phaseCount]Step{Coordination: Accepted, Agreement: Committed, Execution: Executed}
	if r.Read {
		ends[Coordination], ends[Agreement] = Released, Released
	}
	t.Of[Request], t.Known[Request] = seen.First+forth, true
	// What went by between attempts was spent on finding an order, or a state to read.
	before := seen.Sent - seen.First
	at := time.Duration(0)
	for p := Coordination; p <= Execution; p++ {
		end, told := r.At(ends[p])
		if !told {
			continue
		}
		end = min(max(end, at), replied)
		t.Of[p], t.Known[p] = end-at, true
		at = end
	}
	if t.Known[Coordination] {
		t.Of[Coordination] += before
	} else {
		t.Of[Request] += before
	}
	t.Of[Response], t.Known[Response] = replied-at+way-forth, true
	return t, true
}
