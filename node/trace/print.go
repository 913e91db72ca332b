package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Print writes a table for people: a row for the call and one for each replica, times in milliseconds.
func (t *Trace) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s ms", t.subject(), millis(t.Total))
	switch {
	case t.Err != nil:
		b.WriteString(", failed")
	case t.Via >= 0:
		fmt.Fprintf(&b, ", believed once %d replies were alike, divided as %s tells", t.Needed, t.Replicas[t.Via].Name)
	default:
		b.WriteString(", no replica tells how to divide it")
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	t.rows(table)
	if err := table.Flush(); err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimSpace(line) + "\n") // without the space before the first column
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// rows writes the header and the rows of the table.
func (t *Trace) rows(table io.Writer) {
	names, width := []string{"ms", "call"}, 0
	for i := range t.Replicas {
		r := &t.Replicas[i]
		name := r.Name
		if r.Report != nil && r.Report.Primary {
			name += " (primary)"
		}
		names = append(names, name)
	}
	for _, name := range names {
		width = max(width, utf8.RuneCountInString(name))
	}
	for i, name := range names { // numbers stand on the right, names on the left
		names[i] = name + strings.Repeat(" ", width-utf8.RuneCountInString(name))
	}
	fmt.Fprintf(table, "%s\t", names[0])
	for _, p := range Phases {
		fmt.Fprintf(table, "%v\t", p)
	}
	fmt.Fprint(table, "sum\t\n")
	if t.Via >= 0 {
		row(table, names[1], &t.Times, "")
	}
	for i := range t.Replicas {
		row(table, names[i+2], t.Replicas[i].Times, t.Replicas[i].note())
	}
}

// subject is such as "kv operation, number 12 of view 0".
func (t *Trace) subject() string {
	s := t.Kind
	if t.Service != "" {
		s = t.Service + " " + s
	}
	if t.Seq != 0 {
		s += fmt.Sprintf(", number %d of view %d", t.Seq, t.View)
	}
	return s
}

func row(w io.Writer, name string, times *Times, note string) {
	fmt.Fprintf(w, "%s\t", name)
	for _, p := range Phases {
		if times == nil || !times.Known[p] {
			fmt.Fprint(w, "-\t")
		} else {
			fmt.Fprintf(w, "%s\t", millis(times.Of[p]))
		}
	}
	if times == nil {
		fmt.Fprint(w, "-\t")
	} else {
		fmt.Fprintf(w, "%s\t", millis(times.Total()))
	}
	if note != "" {
		note = "  " + note // ends the line, and belongs to no column
	}
	fmt.Fprintf(w, "%s\n", note)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond)) }

// note is what is to be said of a replica.
func (r *Replica) note() string {
	var notes []string
	switch r.Answer {
	case AnswerDifferent:
		notes = append(notes, "its answer differs from the one believed")
	case AnswerRefused:
		notes = append(notes, "it had no room for the call")
	case AnswerUnmatched:
		notes = append(notes, "it answered, but not enough others alike")
	}
	if r.Err != nil {
		notes = append(notes, strings.ReplaceAll(r.Err.Error(), "\n", "; "))
	}
	return strings.Join(notes, "; ")
}

type phaseJSON struct {
	Phase string `json:"phase"`
	// Nanos is missing if the phase was not told apart.
	Nanos *int64 `json:"nanos,omitempty"`
}

type replicaJSON struct {
	ID            int         `json:"id"`
	Name          string      `json:"name"`
	Answer        string      `json:"answer"`
	Late          bool        `json:"late,omitempty"`
	ReceivedNanos int64       `json:"received_nanos,omitempty"`
	Phases        []phaseJSON `json:"phases,omitempty"`
	Report        *Report     `json:"report,omitempty"`
	Error         string      `json:"error,omitempty"`
}

type traceJSON struct {
	Service  string        `json:"service,omitempty"`
	Kind     string        `json:"kind"`
	Nanos    int64         `json:"nanos"`
	Error    string        `json:"error,omitempty"`
	Needed   int           `json:"needed"`
	View     uint64        `json:"view"`
	Number   uint64        `json:"number"`
	Via      int           `json:"via"` // a replica's id, or -1
	Phases   []phaseJSON   `json:"phases,omitempty"`
	Replicas []replicaJSON `json:"replicas"`
}

// MarshalJSON makes one object with everything that Print shows and the steps of each replica; durations
// are whole nanoseconds.
func (t *Trace) MarshalJSON() ([]byte, error) {
	out := traceJSON{Service: t.Service, Kind: t.Kind, Nanos: int64(t.Total), Error: errorText(t.Err), Needed: t.Needed,
		View: t.View, Number: t.Seq, Via: t.Via, Replicas: []replicaJSON{}}
	if t.Via >= 0 {
		out.Phases = t.Times.json()
	}
	for i := range t.Replicas {
		r := &t.Replicas[i]
		x := replicaJSON{ID: r.ID, Name: r.Name, Answer: r.Answer, Late: r.Late, ReceivedNanos: int64(r.Received), Report: r.Report, Error: errorText(r.Err)}
		if r.Times != nil {
			x.Phases = r.Times.json()
		}
		out.Replicas = append(out.Replicas, x)
	}
	return json.Marshal(out)
}

func (t *Times) json() []phaseJSON {
	var out []phaseJSON
	for _, p := range Phases {
		x := phaseJSON{Phase: p.String()}
		if t.Known[p] {
			nanos := int64(t.Of[p])
			x.Nanos = &nanos
		}
		out = append(out, x)
	}
	return out
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
