package teach

import (
	"fmt"
	"slices"
	"strings"
)

// stage is where processes of a model act: it has a clock, carries their messages and writes
// down what happens. Times are virtual milliseconds.
type stage struct {
	title string
	lines []string // the names of the processes
	liars []bool
	// delay is what a message takes, at least 1.
	delay int64

	now   int64
	num   int
	queue []event
	rows  []row
}

// event is something that will happen; num orders those of one moment.
type event struct {
	at  int64
	num int
	do  func()
}

// rowKind is what a row of a space-time diagram shows.
type rowKind int

const (
	rowMessage rowKind = iota
	rowMark
	rowCrash
	rowUp
)

// row is a message or a mark.
type row struct {
	kind     rowKind
	from, to int // of a message; the line of a mark is from
	sent, at int64
	lost     bool
	lie      bool
	text     string
}

func newStage(title string, lines ...string) *stage {
	return &stage{title: title, lines: lines, liars: make([]bool, len(lines)), delay: 5}
}

// after has do happen in d.
func (s *stage) after(d int64, do func()) {
	s.num++
	e := event{s.now + d, s.num, do}
	i, _ := slices.BinarySearchFunc(s.queue, e, func(a, b event) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.num - b.num
	})
	s.queue = slices.Insert(s.queue, i, e)
}

// run lets everything happen until the given time, or until nothing is left to do.
func (s *stage) run(until int64) {
	for len(s.queue) > 0 && s.queue[0].at <= until {
		e := s.queue[0]
		s.queue = s.queue[1:]
		s.now = e.at
		e.do()
	}
	s.now = max(s.now, until)
}

// send carries a message; got runs when it arrives.
func (s *stage) send(from, to int, text string, got func()) { s.sendIn(s.delay, from, to, text, got) }

// sendIn carries a message that takes d.
func (s *stage) sendIn(d int64, from, to int, text string, got func()) {
	sent, lie := s.now, s.liars[from]
	s.after(d, func() {
		s.rows = append(s.rows, row{kind: rowMessage, from: from, to: to, sent: sent, at: s.now, text: text, lie: lie})
		if got != nil {
			got()
		}
	})
}

// lose sends a message that does not arrive.
func (s *stage) lose(from, to int, text string) {
	s.rows = append(s.rows, row{kind: rowMessage, from: from, to: to, sent: s.now, at: s.now, lost: true, text: text, lie: s.liars[from]})
}

// mark writes something down at a line.
func (s *stage) mark(line int, format string, args ...any) {
	s.rows = append(s.rows, row{kind: rowMark, from: line, sent: s.now, at: s.now, text: fmt.Sprintf(format, args...)})
}

// crash ends a process's line.
func (s *stage) crash(line int, text string) {
	s.rows = append(s.rows, row{kind: rowCrash, from: line, sent: s.now, at: s.now, text: text})
}

// up continues it.
func (s *stage) up(line int, text string) {
	s.rows = append(s.rows, row{kind: rowUp, from: line, sent: s.now, at: s.now, text: text})
}

// draw makes a small space-time diagram in text: time goes down, each process has a column.
func (s *stage) draw() []string {
	gap := s.gap()
	at := func(line int) int { return 9 + line*gap }
	var out []string
	if s.title != "" {
		out = append(out, "", s.title)
	}
	head := canvas{}
	head.put(0, "    ms")
	for i, name := range s.lines {
		head.put(max(7, at(i)-width(name)/2), name)
	}
	out = append(out, head.String())
	down := make([]bool, len(s.lines))
	for _, r := range s.rows {
		var c canvas
		c.put(0, fmt.Sprintf("%6d", r.at))
		for i := range s.lines {
			if !down[i] {
				c.put(at(i), "│")
			}
		}
		switch r.kind {
		case rowMessage:
			s.arrow(&c, r, at(r.from), at(r.to), gap)
		case rowMark:
			c.put(at(r.from), "● "+r.text)
		case rowCrash:
			c.put(at(r.from), "✗ "+r.text)
			down[r.from] = true
		case rowUp:
			c.put(at(r.from), "○ "+r.text)
			down[r.from] = false
		}
		out = append(out, c.String())
	}
	return out
}

// gap is the distance of two columns: room for the longest label between two neighbours.
func (s *stage) gap() int {
	gap := 16
	for _, r := range s.rows {
		switch {
		case r.kind != rowMessage:
		case r.lost: // cut at four fifths
			gap = max(gap, (width(r.text)+6)*5/4)
		default:
			gap = max(gap, width(r.text)+7)
		}
	}
	return min(gap, 76/max(1, len(s.lines)-1))
}

// arrow draws a message, its label beside the sender. A lost one ends in ×.
func (s *stage) arrow(c *canvas, r row, a, b, gap int) {
	if r.from == r.to {
		c.put(a, "⟲ "+r.text)
		return
	}
	if r.lost {
		b = a + (b-a)/max(1, (b-a)/gap, (a-b)/gap)*4/5
	}
	lo, hi := min(a, b)+1, max(a, b)-1
	c.put(lo, strings.Repeat("─", hi-lo+1))
	label := r.text
	if r.lie {
		label = "!" + label
	}
	if a < b {
		c.put(lo+2, label)
		c.put(hi, tip(r.lost, ">"))
	} else {
		c.put(hi-1-width(label), label)
		c.put(lo, tip(r.lost, "<"))
	}
}

func tip(lost bool, head string) string {
	if lost {
		return "×"
	}
	return head
}

// canvas is a line of text that is written to at any column.
type canvas []rune

func (c *canvas) put(at int, s string) {
	for _, r := range s {
		for len(*c) <= at {
			*c = append(*c, ' ')
		}
		if at >= 0 {
			(*c)[at] = r
		}
		at++
	}
}

func (c canvas) String() string { return strings.TrimRight(string(c), " ") }
