package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// ordered is the report of a replica in which each phase took a time of its own.
func ordered() *Report {
	return &Report{Attempt: 1, View: 2, Seq: 7, Events: []Event{{Accepted, 10 * ms}, {Prepared, 20 * ms}, {Committed, 40 * ms},
		{Executing, 42 * ms}, {Executed, 45 * ms}, {Replied, 46 * ms}}}
}

// observed is a replica that was sent to at 1 ms and whose reply came at the given time.
func observed(name, said string, received time.Duration, r *Report) Observed {
	return Observed{Name: name, Sent: []time.Duration{1 * ms}, Answered: true, Received: received, Said: said, Report: r}
}

func four() *Observation {
	return &Observation{Service: "kv", Kind: "operation", Total: 60 * ms, Needed: 2, Replicas: []Observed{
		observed("r0", "x", 51*ms, ordered()), observed("r1", "x", 57*ms, ordered()),
		observed("r2", "x", 70*ms, ordered()), {Name: "r3", Down: errors.New("connection refused")}}}
}

// The phases are those of the replica whose reply completed the result, and add up to the whole call.
func TestPhasesPartitionTheCall(t *testing.T) {
	x := New(four())
	want := [phaseCount]time.Duration{1*ms + 5*ms, 10 * ms, 30 * ms, 5 * ms, 1*ms + 5*ms + 3*ms}
	if x.Via != 1 || x.Times.Of != want || !x.Times.complete() || x.Times.Total() != x.Total || x.View != 2 || x.Seq != 7 {
		t.Errorf("via %d, %v, sum %v, view %d, number %d", x.Via, x.Times, x.Times.Total(), x.View, x.Seq)
	}
	for i, received := range []time.Duration{51 * ms, 57 * ms, 70 * ms} {
		r := &x.Replicas[i]
		if r.Answer != AnswerAlike || r.Late != (i == 2) || r.Times == nil || r.Times.Total() != received {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if r := &x.Replicas[3]; r.Answer != AnswerNone || r.Times != nil || r.Err == nil || r.Err.Error() != "connection refused" {
		t.Errorf("dead: %+v", r)
	}
}

// What a replica says cannot change how long the call took: it is not believed where it does not fit.
func TestLiesDoNotFit(t *testing.T) {
	long := ordered()
	long.Events[5].At = 56*ms + 1
	early := ordered()
	early.Events = []Event{{Replied, -1}}
	attempt := ordered()
	attempt.Attempt = 2
	for name, lie := range map[string]*Report{"longer than its reply took": long, "before it was asked": early, "another attempt": attempt,
		"nothing": {Attempt: 1}, "none": nil} {
		o := four()
		o.Replicas[1].Report = lie
		x := New(o)
		if r := &x.Replicas[1]; r.Times != nil || r.Err == nil || r.Answer != AnswerAlike {
			t.Errorf("%s: believed: %+v", name, r)
		}
		if x.Via != 0 || x.Times.Total() != x.Total || !x.Times.complete() {
			t.Errorf("%s: via %d, %v", name, x.Via, x.Times)
		}
	}
	// A different answer is none of those that made the result, however soon it came.
	o := four()
	o.Replicas[0].Said = "y"
	o.Replicas[2].Received = 58 * ms
	if x := New(o); x.Replicas[0].Answer != AnswerDifferent || x.Via != 2 {
		t.Errorf("via %d, %+v", x.Via, x.Replicas[0])
	}
	// Without any report nothing is made up.
	o = four()
	for i := range o.Replicas {
		o.Replicas[i].Report = nil
	}
	if x := New(o); x.Via != -1 || x.Times.Total() != 0 {
		t.Errorf("via %d, %v", x.Via, x.Times)
	}
}

// Whatever of the steps a replica knows, the phases add up until its reply.
func TestMissingSteps(t *testing.T) {
	for skip := range 1 << 5 {
		r := ordered()
		r.Events = nil
		for i, e := range ordered().Events {
			if i == 5 || skip>>i&1 == 0 {
				r.Events = append(r.Events, e)
			}
		}
		times, ok := split(r, Seen{First: 1 * ms, Sent: 3 * ms, Received: 60 * ms})
		if !ok || times.Total() != 60*ms {
			t.Errorf("%+v: %v, %v", r.Events, times, ok)
		}
		for _, d := range times.Of {
			if d < 0 {
				t.Errorf("%+v: %v", r.Events, times)
			}
		}
		if told := skip>>0&1 == 0; times.Known[Coordination] != told {
			t.Errorf("%+v: coordination known: %v", r.Events, !told)
		}
	}
	// A proposal that was there before the request costs no time.
	r := ordered()
	r.Events[0].At, r.Events[1].At = -5*ms, -1*ms
	times, ok := split(r, Seen{First: 1 * ms, Sent: 1 * ms, Received: 57 * ms})
	if !ok || times.Of[Coordination] != 0 || times.Of[Agreement] != 40*ms || times.Total() != 57*ms {
		t.Errorf("%v, %v", times, ok)
	}
	// A read is not agreed on; earlier tries count as coordination.
	read := &Report{Attempt: 2, Read: true, Events: []Event{{Released, 1 * ms}, {Executing, 2 * ms}, {Executed, 4 * ms}, {Replied, 4 * ms}}}
	times, ok = split(read, Seen{First: 1 * ms, Sent: 11 * ms, Received: 17 * ms})
	want := [phaseCount]time.Duration{2 * ms, 11 * ms, 0, 3 * ms, 1 * ms}
	if !ok || times.Of != want || !times.complete() {
		t.Errorf("%v, %v", times, ok)
	}
}

func TestFailedCall(t *testing.T) {
	o := four()
	o.Err = errors.New("outcome unknown")
	o.Replicas[1].Answered, o.Replicas[1].Report.Events = false, o.Replicas[1].Report.Events[:2]
	o.Replicas[2].Said = ""
	x := New(o)
	if x.Via != -1 || x.Replicas[0].Answer != AnswerUnmatched || x.Replicas[2].Answer != AnswerRefused {
		t.Errorf("%+v", x)
	}
	if err := x.Replicas[1].Err; err == nil || !strings.Contains(err.Error(), `"prepared"`) {
		t.Errorf("the last step is not told: %v", err)
	}
}

func TestPrint(t *testing.T) {
	o := four()
	o.Replicas[0].Report.Primary = true
	o.Replicas[2].Said = "y"
	o.Replicas[3].Received = math.MinInt64 // of no reply, it means nothing
	var b strings.Builder
	if err := New(o).Print(&b); err != nil {
		t.Fatal(err)
	}
	const want = `kv operation, number 7 of view 2: 60.000 ms, believed once 2 replies were alike, divided as r1 tells
ms            request  coordination  agreement  execution  response     sum
call            6.000        10.000     30.000      5.000     9.000  60.000
r0 (primary)    3.000        10.000     30.000      5.000     3.000  51.000
r1              6.000        10.000     30.000      5.000     6.000  57.000
r2             12.500        10.000     30.000      5.000    12.500  70.000  its answer differs from the one believed
r3                  -             -          -          -         -       -  connection refused
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	data, err := json.Marshal(New(o))
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Nanos  int64
		Via    int
		Phases []struct {
			Phase string
			Nanos *int64
		}
		Replicas []struct {
			Answer, Error string
			Received      *int64 `json:"received_nanos"`
		}
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	sum, names := int64(0), []string{}
	for _, p := range back.Phases {
		names = append(names, p.Phase)
		sum += *p.Nanos
	}
	if sum != back.Nanos || !slices.Equal(names, phaseNames[:]) || back.Replicas[3].Error != "connection refused" || back.Replicas[2].Answer != AnswerDifferent {
		t.Errorf("%s", data)
	}
	for i, r := range back.Replicas {
		if (r.Received != nil) != (i != 3) || r.Received != nil && *r.Received != int64(o.Replicas[i].Received) {
			t.Errorf("replica %d has the wrong received_nanos: %s", i, data)
		}
	}
}

func TestFrames(t *testing.T) {
	inner := []byte{1, 2, 3}
	id, attempt, frame, err := ParseCall(CallFrame(77, 255, inner))
	if err != nil || id != 77 || attempt != 255 || !bytes.Equal(frame, inner) {
		t.Errorf("%d, %d, %x, %v", id, attempt, frame, err)
	}
	id, r, frame, err := ParseReply(ReplyFrame(77, ordered(), inner))
	if err != nil || id != 77 || !bytes.Equal(frame, inner) || r.Seq != 7 || !slices.Equal(r.Events, ordered().Events) {
		t.Errorf("%d, %+v, %x, %v", id, r, frame, err)
	}
	if id, r, frame, err = ParseReply(ReportFrame(78, ordered())); err != nil || id != 78 || len(frame) != 0 || r.View != 2 {
		t.Errorf("%d, %+v, %x, %v", id, r, frame, err)
	}
	if id, err := ParseAsk(AskFrame(79)); err != nil || id != 79 {
		t.Errorf("%d, %v", id, err)
	}
	for name, events := range map[string][]Event{"repeated": {{Accepted, 1}, {Accepted, 2}}, "unknown": {{"dreamt", 1}},
		"backwards": {{Accepted, 2}, {Committed, 1}}, "out of order": {{Committed, 1}, {Accepted, 2}}, "absurd": {{Accepted, longest + 1}}} {
		if _, r, frame, err := ParseReply(ReplyFrame(1, &Report{Attempt: 1, Events: events}, inner)); err == nil || r != nil || !bytes.Equal(frame, inner) {
			t.Errorf("%s: %+v, %x, %v", name, r, frame, err)
		}
	}
}

// Any bytes are taken or refused, and what is taken can be put together with anything.
func FuzzParse(f *testing.F) {
	f.Add(CallFrame(1, 1, []byte{1}), int64(5))
	f.Add(ReplyFrame(1, ordered(), []byte{1}), int64(60*ms))
	f.Add(AskFrame(1), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, received int64) {
		if id, attempt, frame, err := ParseCall(data); err == nil && !bytes.Equal(CallFrame(id, attempt, frame), data) {
			t.Errorf("%x is not canonical", data)
		}
		_, r, _, err := ParseReply(data)
		if err != nil || r == nil {
			return
		}
		received = max(0, min(received, int64(longest)))
		o := four()
		o.Replicas[1].Report, o.Replicas[1].Received = r, time.Duration(received)
		if x := New(o); x.Via >= 0 && x.Times.Total() != x.Total {
			t.Errorf("%+v: %v", r, x.Times)
		}
	})
}
