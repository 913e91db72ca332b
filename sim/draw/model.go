package draw

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// All times are virtual, in nanoseconds since the run began.
const (
	// Forever as the end of a mark or a band means that it lasts as long as the run.
	Forever int64 = math.MaxInt64
	// Everyone as the line of a mark means that it concerns the whole system.
	Everyone = -1

	// MaxTime is the latest time that can be drawn, some 104 days: what a browser counts exactly.
	MaxTime int64 = 1<<53 - 1
	// MaxLines, MaxMessages, MaxMarks and MaxTypes bound what one diagram takes.
	MaxLines    = 100
	MaxMessages = 200_000
	MaxMarks    = 200_000
	MaxTypes    = 60
)

// Run is what is drawn: everything that happened, or what Window left of it.
type Run struct {
	// Title is the heading, such as "seed 7".
	Title string
	// Notes tell what the run is about and what is seen in it, a paragraph each.
	Notes []string
	// From and Until bound what is drawn. Both 0: from the first to the last thing that happens.
	From, Until int64
	// Lines are who takes part, replicas first, then clients.
	Lines []Line
	// Messages, Marks and Bands may stand in any order.
	Messages []Message
	Marks    []Mark
	Bands    []Band
	// Failure is the oracle that broke, if one did: its Kind is the oracle's name, such as S1.
	Failure *Mark
}

// Line is a replica or a client.
type Line struct {
	Name   string // such as r0 or c0
	Client bool
	// Byzantine tells that it belongs to the adversary.
	Byzantine bool
}

// Message is a message on its way from one line to another.
type Message struct {
	// From and To are indices of Run.Lines.
	From, To int
	// Sent and Arrived are when it left and when it was delivered. Of a lost one Arrived is when it
	// would have been, or 0 if nobody knows.
	Sent, Arrived int64
	Lost          bool
	// Type selects the colour: pre-prepare, prepare, commit, ...; see the legend of a diagram.
	Type string
	// View and Seq are what the message is about, 0 where it is about none.
	View, Seq uint64
	// Text is the message in one line. Detail is all that it carries, in lines of any number.
	Text, Detail string
	// Lie tells that the adversary made or altered it.
	Lie bool
}

// Mark is something that happens at one line, or to all.
type Mark struct {
	// Line is an index of Run.Lines, or Everyone.
	Line int
	// At is when it happens, or begins. Until is when it ends, 0 for what happens in a moment.
	At, Until int64
	// Kind selects the sign. Known are crash, down, start, pause, fault, partition, lie, execute,
	// sign, snapshot, install, call, result and phase; any other is drawn as a dot. A crash, or down,
	// with an Until breaks the line for so long.
	Kind string
	// Text says what happened, in a line or a few. An execute's short label is its Seq.
	Text string
	Seq  uint64
}

// Band is the time that a line spends in a view, or, if Changing is set, on the way into it.
type Band struct {
	Line        int
	From, Until int64
	View        uint64
	Changing    bool
}

// ends is when the message is out of the way.
func (m *Message) ends() int64 { return max(m.Sent, m.Arrived) }

// ends is when the mark is over.
func (m *Mark) ends() int64 { return max(m.At, m.Until) }

// Validate says what is wrong with r first, in one line.
func (r *Run) Validate() error {
	switch {
	case len(r.Lines) == 0 || len(r.Lines) > MaxLines:
		return fmt.Errorf("draw: the run has %d lines: give 1 to %d replicas and clients", len(r.Lines), MaxLines)
	case len(r.Messages) > MaxMessages:
		return fmt.Errorf("draw: %d messages, a diagram takes %d: draw a window of the run", len(r.Messages), MaxMessages)
	case len(r.Marks) > MaxMarks:
		return fmt.Errorf("draw: %d marks, a diagram takes %d: draw a window of the run", len(r.Marks), MaxMarks)
	case r.From < 0 || r.Until > MaxTime || r.Until < r.From:
		return fmt.Errorf("draw: the window from %d to %d ns is none: it must begin at 0 or later and end after it begins", r.From, r.Until)
	case r.Until == r.From && r.Until != 0:
		return fmt.Errorf("draw: the window from %d to %d ns is empty: let it end after it begins", r.From, r.Until)
	}
	for i, l := range r.Lines {
		if l.Name == "" {
			return fmt.Errorf("draw: line %d has no name: give it one, such as r%d", i, i)
		}
		if slices.ContainsFunc(r.Lines[:i], func(o Line) bool { return o.Name == l.Name }) {
			return fmt.Errorf("draw: two lines are named %q: names must differ", l.Name)
		}
	}
	if err := r.validateMessages(); err != nil {
		return err
	}
	for i := range r.Marks {
		if err := r.validateMark(&r.Marks[i], fmt.Sprint("mark ", i)); err != nil {
			return err
		}
	}
	if r.Failure != nil {
		if err := r.validateMark(r.Failure, "the failure"); err != nil {
			return err
		}
	}
	for i, b := range r.Bands {
		if b.Line < 0 || b.Line >= len(r.Lines) {
			return fmt.Errorf("draw: band %d is on line %d: there are %d lines", i, b.Line, len(r.Lines))
		}
		if b.From < 0 || b.From > MaxTime || b.Until < b.From || b.Until > MaxTime && b.Until != Forever {
			return fmt.Errorf("draw: band %d lasts from %d to %d ns: it must end after it begins, or at Forever", i, b.From, b.Until)
		}
	}
	return nil
}

func (r *Run) validateMessages() error {
	types := make(map[string]bool)
	for i := range r.Messages {
		m := &r.Messages[i]
		switch {
		case m.From < 0 || m.From >= len(r.Lines) || m.To < 0 || m.To >= len(r.Lines):
			return fmt.Errorf("draw: message %d goes from line %d to line %d: there are %d lines", i, m.From, m.To, len(r.Lines))
		case m.From == m.To:
			return fmt.Errorf("draw: message %d goes from %s to itself: leave it out, or make it a mark", i, r.Lines[m.From].Name)
		case m.Sent < 0 || m.Sent > MaxTime || m.Arrived > MaxTime:
			return fmt.Errorf("draw: message %d is sent at %d and arrives at %d ns: both must be within 0 and %d", i, m.Sent, m.Arrived, MaxTime)
		case m.Arrived < m.Sent && !(m.Lost && m.Arrived == 0):
			return fmt.Errorf("draw: message %d arrives at %d ns, before it was sent at %d: set Arrived, or Lost", i, m.Arrived, m.Sent)
		case m.Type == "":
			return fmt.Errorf("draw: message %d has no type: name one", i)
		}
		if types[m.Type] = true; len(types) > MaxTypes {
			return fmt.Errorf("draw: more than %d types of messages: nobody tells so many colours apart, name fewer", MaxTypes)
		}
	}
	return nil
}

func (r *Run) validateMark(m *Mark, who string) error {
	switch {
	case m.Line < Everyone || m.Line >= len(r.Lines):
		return fmt.Errorf("draw: %s is on line %d: there are %d lines, and Everyone", who, m.Line, len(r.Lines))
	case m.Kind == "":
		return fmt.Errorf("draw: %s has no kind: name one", who)
	case m.At < 0 || m.At > MaxTime || m.Until > MaxTime && m.Until != Forever:
		return fmt.Errorf("draw: %s is at %d until %d ns: both must be within 0 and %d", who, m.At, m.Until, MaxTime)
	case m.Until != 0 && m.Until < m.At:
		return fmt.Errorf("draw: %s ends at %d ns, before it begins at %d: set Until to 0 for a moment", who, m.Until, m.At)
	}
	return nil
}

// Window is what of the run touches the time from until until, both included: messages on their
// way, marks and bands that last into it, the failure if it falls within. What is kept keeps its
// true times; From and Until of the result say where to cut the picture, which ends with the run at the
// latest.
func Window(run Run, from, until int64) Run {
	w := run
	if _, end := run.extent(); end > from {
		until = min(until, end)
	}
	w.From, w.Until = from, until
	w.Messages, w.Marks, w.Bands = nil, nil, nil
	for _, m := range run.Messages {
		if m.Sent <= until && m.ends() >= from {
			w.Messages = append(w.Messages, m)
		}
	}
	for _, m := range run.Marks {
		if m.At <= until && m.ends() >= from {
			w.Marks = append(w.Marks, m)
		}
	}
	for _, b := range run.Bands {
		if b.From <= until && b.Until > from {
			w.Bands = append(w.Bands, b)
		}
	}
	if f := run.Failure; f != nil && (f.At > until || f.ends() < from) {
		w.Failure = nil
	}
	return w
}

// extent is the time that is drawn: From and Until, or all that happens.
func (r *Run) extent() (from, until int64) {
	if r.Until != 0 {
		return r.From, r.Until
	}
	from, until = math.MaxInt64, 0
	at := func(t int64) {
		if t != Forever {
			from, until = min(from, t), max(until, t)
		}
	}
	for i := range r.Messages {
		at(r.Messages[i].Sent)
		at(r.Messages[i].ends())
	}
	for i := range r.Marks {
		at(r.Marks[i].At)
		at(r.Marks[i].ends())
	}
	for _, b := range r.Bands {
		at(b.From)
		at(b.Until)
	}
	if r.Failure != nil {
		at(r.Failure.At)
	}
	if from > until {
		from = 0
	}
	return from, max(until, from+1)
}

// flight is how long a message usually travels, at least 1 ns: the median of those that arrived.
func (r *Run) flight() int64 {
	var all []int64
	for i := range r.Messages {
		if m := &r.Messages[i]; !m.Lost {
			all = append(all, m.Arrived-m.Sent)
		}
	}
	if len(all) == 0 {
		return max(1, (r.Until-r.From)/20)
	}
	slices.Sort(all)
	return max(1, all[len(all)/2])
}

// inOrder returns the messages in the order in which both forms number them, from 0: by the time of
// sending; those sent together as they stand.
func (r *Run) inOrder() []Message {
	ms := slices.Clone(r.Messages)
	slices.SortStableFunc(ms, func(a, b Message) int {
		switch {
		case a.Sent < b.Sent:
			return -1
		case a.Sent > b.Sent:
			return 1
		}
		return 0
	})
	return ms
}

// clean makes a text fit for XML and HTML, which take neither control characters nor broken UTF-8.
// Line breaks and tabs stay.
func clean(s string) string {
	ok := func(c rune) bool {
		return c == '\n' || c == '\t' || c >= 0x20 && c < 0x7f || c >= 0xa0 && c != utf8.RuneError && c != 0xfffe && c != 0xffff && !bidi(c)
	}
	out := make([]rune, 0, len(s))
	for _, c := range s {
		if !ok(c) {
			c = utf8.RuneError
		}
		out = append(out, c)
	}
	return string(out)
}

// bidi tells whether c turns the direction of what follows: a text could disguise itself by it.
func bidi(c rune) bool { return c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 }
