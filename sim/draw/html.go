package draw

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
)

// The page's parts. The script stands in two files for the reader, in one element of the page.
var (
	//go:embed viewer.html
	page string
	//go:embed viewer.css
	sheet string
	//go:embed viewer.js
	viewer string
	//go:embed controls.js
	controls string
)

var script = viewer + controls

// HTML writes the run as one page that needs nothing else: no server, no network, no other file. Its
// address takes what to show, so that a place in a run can be pointed at: #m=12 selects message 12
// (counted from 0 in the order of sending), #k=3 a mark, #from=1.2s&until=1.3s a stretch of time.
//
// What the run says never becomes markup or code: it is data to the page, whose policy moreover
// admits no script and no style but its own, and nothing from elsewhere.
func HTML(w io.Writer, run Run) error {
	if err := run.Validate(); err != nil {
		return err
	}
	data, err := pack(&run)
	if err != nil {
		return err
	}
	policy := fmt.Sprintf("default-src 'none'; base-uri 'none'; form-action 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'", sum(script), sum(sheet))
	_, err = strings.NewReplacer(
		"{{policy}}", policy,
		"{{title}}", html.EscapeString(clean(run.Title)),
		"{{sheet}}", sheet,
		"{{data}}", string(data),
		"{{script}}", script,
	).WriteString(w, page)
	return err
}

// sum is the hash by which a page's policy names a script or a style.
func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(h[:])
}

// packed is the run as the page reads it. Texts stand once in Strings; messages and marks are rows of
// numbers, one after the other, for a run of 20,000 messages is to stay a small file.
type packed struct {
	Title   string       `json:"title"`
	Notes   []string     `json:"notes"`
	From    int64        `json:"from"`
	Until   int64        `json:"until"`
	Flight  int64        `json:"flight"` // of most messages
	Lines   []packedLine `json:"lines"`
	Types   []style      `json:"types"`
	Kinds   []string     `json:"kinds"`
	Views   [][2]string  `json:"views"` // the bands' colours
	Strings []string     `json:"strings"`
	// Messages: from, to, sent since the one before, time on the way (-1: nobody knows), flags (1
	// lost, 2 lie), type, view, number, text, detail.
	Messages []any `json:"messages"`
	// Marks: line, at, until (-1: for ever), kind, text, number.
	Marks []any `json:"marks"`
	// Bands: line, from, until (-1: for ever), view, 1 if the replica is only on its way into it.
	Bands []any `json:"bands"`
	// Failure is the last of Marks.
	Failure bool `json:"failure"`
}

type packedLine struct {
	Name      string `json:"name"`
	Client    bool   `json:"client,omitempty"`
	Byzantine bool   `json:"byzantine,omitempty"`
}

// pack encodes the run so that it can stand in a script element: encoding/json writes <, > and &
// as escapes.
func pack(r *Run) ([]byte, error) {
	from, until := r.extent()
	p := packed{Title: clean(r.Title), Notes: []string{}, From: from, Until: until, Flight: r.flight(), Kinds: []string{}, Strings: []string{}, Messages: []any{}, Marks: []any{}, Bands: []any{}}
	for _, n := range r.Notes {
		p.Notes = append(p.Notes, clean(n))
	}
	for _, l := range r.Lines {
		p.Lines = append(p.Lines, packedLine{clean(l.Name), l.Client, l.Byzantine})
	}
	p.Views = viewColours
	texts := index{&p.Strings, make(map[string]int)}
	p.messages(r, &texts)
	kinds := index{&p.Kinds, make(map[string]int)}
	marks := r.Marks
	if r.Failure != nil {
		p.Failure = true
		marks = append(marks[:len(marks):len(marks)], *r.Failure)
	}
	for _, m := range marks {
		p.Marks = append(p.Marks, m.Line, m.At, finite(m.Until), kinds.of(m.Kind), texts.of(m.Text), exact(m.Seq))
	}
	for _, b := range r.Bands {
		changing := 0
		if b.Changing {
			changing = 1
		}
		p.Bands = append(p.Bands, b.Line, b.From, finite(b.Until), exact(b.View), changing)
	}
	return json.Marshal(&p)
}

func (p *packed) messages(r *Run, texts *index) {
	p.Types = append([]style{}, usedStyles(r.Messages)...) // a list in JSON, also when there is none
	typeOf := make(map[string]int)
	for i := range p.Types {
		typeOf[p.Types[i].Name] = i
		p.Types[i].Name = clean(p.Types[i].Name)
	}
	last := int64(0)
	for _, m := range r.inOrder() {
		flags, way := 0, m.Arrived-m.Sent
		if m.Lost {
			flags |= 1
			if way <= 0 {
				way = -1
			}
		}
		if m.Lie {
			flags |= 2
		}
		p.Messages = append(p.Messages, m.From, m.To, m.Sent-last, way, flags, typeOf[m.Type], exact(m.View), exact(m.Seq), texts.of(m.Text), texts.of(m.Detail))
		last = m.Sent
	}
}

// index gives each text its place in a list.
type index struct {
	list *[]string
	at   map[string]int
}

func (x *index) of(s string) int {
	i, ok := x.at[s]
	if !ok {
		i = len(*x.list)
		x.at[s] = i
		*x.list = append(*x.list, clean(s))
	}
	return i
}

// finite is the end of a mark or a band, -1 for Forever.
func finite(t int64) int64 {
	if t == Forever {
		return -1
	}
	return t
}

// exact is a number that a browser shows as it is: those above 2^53, which only liars use, as text.
func exact(n uint64) any {
	if n > uint64(MaxTime) {
		return fmt.Sprint(n)
	}
	return n
}
