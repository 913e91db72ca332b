package teach

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/baluarte-bft/baluarte/sim/draw"
)

// msNanos is one millisecond of a stage in the time of a diagram.
const msNanos = int64(1_000_000)

// Diagram plays the scenario and returns its space-time diagram: what the text draws in small,
// and for scenarios that draw nothing there a run that stands for the others. Its notes are the story and
// the conclusion.
func (s Scenario) Diagram(o Options) (draw.Run, error) {
	res, err := s.Run(io.Discard, o)
	if err != nil {
		return draw.Run{}, err
	}
	run := draw.Run{}
	if res.run != nil {
		run = *res.run
	}
	run.Title = s.Title
	run.Notes = []string{s.Story}
	for _, f := range res.Facts {
		run.Notes = append(run.Notes, f.Text)
	}
	begin := int64(0)
	for _, st := range res.stages {
		begin = st.into(&run, begin)
	}
	if res.run == nil {
		label(run.Messages)
	}
	return run, run.Validate()
}

// into adds the stage to a run, from the given millisecond on, and returns when the next may begin.
// Processes of one name are the same line.
func (s *stage) into(run *draw.Run, begin int64) (next int64) {
	lines := make([]int, len(s.lines))
	for i, name := range s.lines {
		lines[i] = slices.IndexFunc(run.Lines, func(l draw.Line) bool { return l.Name == name })
		if lines[i] < 0 {
			lines[i] = len(run.Lines)
			run.Lines = append(run.Lines, draw.Line{Name: name, Client: name == "client" || name == "customer"})
		}
		run.Lines[lines[i]].Byzantine = run.Lines[lines[i]].Byzantine || s.liars[i]
	}
	at := func(ms int64) int64 { return (begin + ms) * msNanos }
	if s.title != "" {
		run.Marks = append(run.Marks, draw.Mark{Line: draw.Everyone, At: at(0), Kind: "phase", Text: s.title})
	}
	end := s.now
	for i, r := range s.rows {
		end = max(end, r.at)
		switch {
		case r.kind == rowCrash:
			run.Marks = append(run.Marks, draw.Mark{Line: lines[r.from], At: at(r.at), Until: at(s.upAgain(i)), Kind: "crash", Text: r.text})
		case r.kind == rowUp:
			run.Marks = append(run.Marks, draw.Mark{Line: lines[r.from], At: at(r.at), Kind: "start", Text: r.text})
		case r.kind == rowMark || r.from == r.to:
			run.Marks = append(run.Marks, draw.Mark{Line: lines[r.from], At: at(r.at), Kind: "event", Text: r.text})
		default:
			m := draw.Message{From: lines[r.from], To: lines[r.to], Sent: at(r.sent), Arrived: at(r.at), Lost: r.lost, Lie: r.lie, Type: kindOf(r.text), Text: r.text}
			if r.lost {
				m.Arrived += s.delay * msNanos
			}
			m.Detail = fmt.Sprintf("%s to %s: %s", s.lines[r.from], s.lines[r.to], r.text)
			run.Messages = append(run.Messages, m)
		}
	}
	return begin + end + 10*s.delay
}

// upAgain is when the process of a crash is up again: at the end if it is not.
func (s *stage) upAgain(crash int) int64 {
	end := s.now
	for _, r := range s.rows[crash+1:] {
		if r.kind == rowUp && r.from == s.rows[crash].from {
			return r.at
		}
		end = max(end, r.at)
	}
	return end
}

// label makes the text of each message its type, which is what a diagram writes beside its arrow, unless
// there are too many for a legend.
func label(ms []draw.Message) {
	const most = 16
	texts := make(map[string]bool)
	for _, m := range ms {
		texts[m.Text] = true
	}
	if len(texts) > most {
		return
	}
	for i := range ms {
		ms[i].Type = ms[i].Text
	}
}

// kindOf is the type of a message: its first word, so that messages of one kind have one colour.
func kindOf(text string) string {
	word := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	if len(word) == 0 || len(word[0]) == 1 {
		return "value"
	}
	return strings.ToLower(word[0])
}
