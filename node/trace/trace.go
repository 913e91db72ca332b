package trace

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// How a replica answered a call, in Replica.Answer.
const (
	AnswerAlike     = "alike"     // as those on whose word the result was believed
	AnswerDifferent = "different" // otherwise: it lies, is broken, or a read met another state
	AnswerRefused   = "refused"   // it had no room
	AnswerUnmatched = "unmatched" // it answered, but not enough answers were alike
	AnswerNone      = "none"
)

// Trace is where the time of one call went.
type Trace struct {
	// Service and Kind ("operation" or the read's consistency) are what was called.
	Service, Kind string
	// Total is the time of the call, from the client's first step to its result.
	Total time.Duration
	// Err is how the call failed, or nil.
	Err error
	// Needed is how many replies had to be alike.
	Needed int
	// View and Seq are where the call was ordered, as Via says; Seq is 0 for a read, or if it is not known.
	View, Seq uint64
	// Via is the replica whose reply completed the result and whose durations divide Times; -1 if no
	// replica's can: then Times is all zero.
	Via int
	// Times add up to Total, unless Via is -1.
	Times Times
	// Replicas by number.
	Replicas []Replica
}

// Replica is a call as one replica had it.
type Replica struct {
	ID   int
	Name string
	// Answer is one of the constants.
	Answer string
	// Late: it answered after the call had ended.
	Late bool
	// Times until its reply came add up to Received, which is 0 if none came; nil if there is none, or its report is not believed.
	Times    *Times
	Received time.Duration
	// Report is what it said, or nil.
	Report *Report
	// Err is why there are no times.
	Err error
}

// Observation is what a client has seen of a call. Its durations are since the call began.
type Observation struct {
	Service, Kind string
	Total         time.Duration
	Err           error
	Needed        int
	Replicas      []Observed
}

// Observed is what it has seen of one replica.
type Observed struct {
	Name string
	// Sent is when the call was sent to it, each attempt.
	Sent []time.Duration
	// Answered: a reply came, at Received. Said stands for what it says; replies with the same one are alike, and an
	// empty one is a refusal.
	Answered bool
	Received time.Duration
	Said     string
	// Report came with the reply or, if there was none, in answer to FrameAsk. Bad is why it is not believed.
	Report *Report
	Bad    error
	// Down is why the replica is not connected, or nil.
	Down error
}

var (
	errNotSent = errors.New("nothing was sent to it")
	errNoFit   = errors.New("its times do not fit between request and reply: not believed")
)

// New divides the time of a call.
func New(o *Observation) *Trace {
	t := &Trace{Service: o.Service, Kind: o.Kind, Total: o.Total, Err: o.Err, Needed: o.Needed, Via: -1}
	said := believed(o)
	for i := range o.Replicas {
		t.Replicas = append(t.Replicas, replica(i, o, said))
	}
	for _, i := range inOrder(t.Replicas, o.Needed) {
		r := &t.Replicas[i]
		if t.Via >= 0 && (t.Replicas[t.Via].Times.complete() || !r.Times.complete()) {
			continue
		}
		t.Via, t.Times = i, *r.Times
	}
	if t.Via >= 0 {
		via := &t.Replicas[t.Via]
		t.View, t.Seq = via.Report.View, via.Report.Seq
		t.Times.Of[Response] += o.Total - via.Received
	}
	return t
}

// believed is what enough replies say alike that came before the call ended; the first of those that do, and empty
// if there is none.
func believed(o *Observation) string {
	count := map[string]int{}
	for i := range o.Replicas {
		if r := &o.Replicas[i]; r.Answered && r.Said != "" && r.Received <= o.Total {
			if count[r.Said]++; count[r.Said] >= o.Needed && o.Err == nil {
				return r.Said
			}
		}
	}
	return ""
}

// inOrder are the replicas whose times may divide the call's: first the one whose reply completed the result, then
// those before it, the latest first, then those after it.
func inOrder(all []Replica, needed int) []int {
	var ids []int
	for i := range all {
		if r := &all[i]; r.Answer == AnswerAlike && !r.Late {
			ids = append(ids, i)
		}
	}
	slices.SortStableFunc(ids, func(a, b int) int { return int(all[a].Received - all[b].Received) })
	k := min(needed, len(ids))
	slices.Reverse(ids[:k])
	return slices.DeleteFunc(ids, func(i int) bool { return all[i].Times == nil })
}

func replica(i int, o *Observation, said string) Replica {
	x := &o.Replicas[i]
	r := Replica{ID: i, Name: x.Name, Answer: AnswerNone, Report: x.Report}
	if !x.Answered {
		r.Err = x.missing()
		return r
	}
	r.Received = x.Received
	r.Late = x.Received > o.Total
	switch {
	case x.Said == "":
		r.Answer = AnswerRefused
		return r
	case said == "":
		r.Answer = AnswerUnmatched
	case x.Said == said:
		r.Answer = AnswerAlike
	default:
		r.Answer = AnswerDifferent
	}
	if x.Report == nil || x.Report.Attempt < 1 || x.Report.Attempt > len(x.Sent) {
		if r.Err = x.Bad; r.Err == nil {
			r.Err = errNoFit
		}
		return r
	}
	times, ok := split(x.Report, Seen{First: x.Sent[0], Sent: x.Sent[x.Report.Attempt-1], Received: x.Received})
	if !ok {
		r.Err = errNoFit
		return r
	}
	r.Times = &times
	return r
}

// missing says why a replica has not answered.
func (x *Observed) missing() error {
	switch {
	case x.Down != nil:
		return x.Down
	case len(x.Sent) == 0:
		return errNotSent
	case x.Bad != nil:
		return x.Bad
	case x.Report == nil:
		return errors.New("connected, but it says nothing of the call")
	}
	last := Event{Step: "received"}
	for _, e := range x.Report.Events {
		if e.At >= last.At {
			last = e
		}
	}
	return fmt.Errorf("no answer yet, its last step was %q", last.Step)
}
