package draw

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of a still picture, in pixels at its natural size: it is as wide as the text of a
// document, so that its own text keeps its size there.
const (
	stillWidth = 1000.0
	right      = stillWidth - 14
	rowPitch   = 54.0
	bandHalf   = 13.0
	textSize   = 11.5
)

// SVG writes the run as a still picture for a document or for print; it adapts to light and dark. It
// shows some 150 messages at most: of more it leaves out the least telling, and says below which.
func SVG(w io.Writer, run Run) error {
	if err := run.Validate(); err != nil {
		return err
	}
	p := newPicture(&run)
	p.heading()
	p.frame()
	p.bands()
	p.ticks()
	p.lines()
	p.messages()
	p.marks()
	p.labels()
	p.failure()
	p.footer()
	return p.finish(w)
}

// picture is an SVG in the making.
type picture struct {
	run      *Run
	shown    []Message // what is left of the messages, in order
	note     string    // how they were thinned out
	styles   []style
	typeOf   map[string]int
	axis     *axis
	body     bytes.Buffer
	taken    []box // where text stands
	top      float64
	bottom   float64
	y        float64 // how far the heading has come
	lanes    int     // of what concerns everyone, above the lines
	from, to int64
	flight   int64
	gutter   float64 // where the lines begin, right of their names
}

type box struct{ x0, y0, x1, y1 float64 }

func newPicture(run *Run) *picture {
	p := &picture{run: run, typeOf: make(map[string]int), flight: run.flight()}
	p.from, p.to = run.extent()
	p.gutter = 76
	for _, l := range run.Lines {
		p.gutter = min(170, max(p.gutter, wide(l.Name, 13)+24))
	}
	p.shown, p.note = thin(run.inOrder(), still)
	p.styles = usedStyles(p.shown)
	for i, s := range p.styles {
		p.typeOf[s.Name] = i
	}
	p.axis = newAxis(p.shown, p.drawnMarks(), p.from, p.to, p.flight)
	return p
}

// drawnMarks are the run's marks without signatures, which are many and say little from afar.
func (p *picture) drawnMarks() []Mark {
	var out []Mark
	for _, m := range p.run.Marks {
		if m.Kind != "sign" && m.At <= p.to && m.ends() >= p.from {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b Mark) int { return sign(a.At - b.At) })
	return out
}

func (p *picture) x(t int64) float64 {
	return p.gutter + p.axis.at(min(max(t, p.from), p.to))*(right-p.gutter)
}

func (p *picture) lineY(line int) float64 {
	y := p.top + 30 + rowPitch*float64(line)
	if p.run.Lines[line].Client && line > 0 {
		y += 10 // a little apart from the replicas
	}
	return y
}

// printf adds to the picture.
func (p *picture) printf(format string, args ...any) { fmt.Fprintf(&p.body, format, args...) }

// num prints a coordinate.
func num(v float64) string {
	s := strconv.FormatFloat(math.Round(v*10)/10, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}

// esc makes a text safe for XML.
func esc(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(clean(s))) // a Builder takes everything
	return b.String()
}

// wide estimates the width of a text, generously, for no one knows the reader's fonts.
func wide(s string, size float64) float64 {
	return float64(len([]rune(s))) * size * 0.55
}

// cut shortens a text to a width.
func cut(s string, size, width float64) string {
	r := []rune(s)
	if most := max(int(width/(size*0.55)), 1); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// firstLine is what fits on one line.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// label writes a text if there is room for it, and tells whether there was.
func (p *picture) label(x, y, size float64, class, anchor, s string) bool {
	w := wide(s, size)
	left := x
	switch anchor {
	case "middle":
		left = x - w/2
	case "end":
		left = x - w
	}
	b := box{left - 2, y - size, left + w + 2, y + 3}
	if b.x0 < p.gutter-4 || b.x1 > right+12 || slices.ContainsFunc(p.taken, func(o box) bool { return b.x0 < o.x1 && b.x1 > o.x0 && b.y0 < o.y1 && b.y1 > o.y0 }) {
		return false
	}
	p.taken = append(p.taken, b)
	p.printf("<text class=\"%s\" x=\"%s\" y=\"%s\" font-size=\"%s\" text-anchor=\"%s\">%s</text>\n", class, num(x), num(y), num(size), anchor, esc(s))
	return true
}

// text writes a text whatever stands there.
func (p *picture) text(x, y, size float64, class, s string) {
	p.printf("<text class=\"%s\" x=\"%s\" y=\"%s\" font-size=\"%s\">%s</text>\n", class, num(x), num(y), num(size), esc(s))
}

// heading writes title, notes and legend.
func (p *picture) heading() {
	p.y = 24
	p.text(12, p.y, 17, "ink bold", cut(p.run.Title, 17, stillWidth-24))
	for _, n := range p.run.Notes {
		for _, line := range wrap(n, 12.5, stillWidth-24) {
			p.y += 18
			p.text(12, p.y, 12.5, "soft", line)
		}
	}
	p.y += 24
	p.legend()
	p.assignLanes()
	p.top = p.y + 30 + 16*float64(p.lanes)
	p.bottom = p.lineY(len(p.run.Lines)-1) + 32
}

// wrap breaks a text into lines of a width.
func wrap(s string, size, width float64) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(s) {
		word = cut(word, size, width)
		if line != "" && wide(line+" "+word, size) > width {
			out = append(out, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(out, line)
}

// legend explains types and signs.
func (p *picture) legend() {
	x := 12.0
	entry := func(s string, w float64, sample func(x, y float64)) {
		need := w + 8 + wide(s, 12) + 16
		if x+need > stillWidth-4 && x > 12 {
			x = 12
			p.y += 20
		}
		sample(x, p.y-4)
		p.text(x+w+6, p.y, 12, "ink", s)
		x += need
	}
	lies, lost := false, false
	plain := make(map[string]bool)
	for i := range p.shown {
		m := &p.shown[i]
		lies, lost = lies || m.Lie, lost || m.Lost
		plain[m.Type] = plain[m.Type] || !m.Lie
	}
	for i, s := range p.styles {
		if plain[s.Name] {
			entry(s.Name, 30, func(x, y float64) { p.arrow(fmt.Sprint("t", i), x, y, x+30, y, "") })
		}
	}
	if lies {
		entry("a lie", 30, func(x, y float64) { p.arrow("lie", x, y, x+30, y, "") })
	}
	if lost {
		entry("lost", 24, func(x, y float64) { p.lostArrow("softline", x, y, x+18, y, "") })
	}
	seen := make(map[string]bool)
	for _, m := range p.drawnMarks() {
		if m.Line < 0 || seen[m.Kind] {
			continue
		}
		seen[m.Kind] = true
		entry(m.Kind, 14, func(x, y float64) { p.glyph(m.Kind, x+7, y) })
	}
}

// frame names the lines.
func (p *picture) frame() {
	for i, l := range p.run.Lines {
		y := p.lineY(i)
		class := "ink bold"
		switch {
		case l.Byzantine:
			class = "bad bold"
		case l.Client:
			class = "ink"
		}
		p.text(12, y+4.5, 13, class, cut(l.Name, 13, p.gutter-22))
		if l.Byzantine {
			p.text(12, y+17, 9.5, "bad", "Byzantine")
		}
	}
}

func (p *picture) bands() {
	for _, b := range p.run.Bands {
		if b.Until < p.from || b.From > p.to {
			continue
		}
		x0, x1, y := p.x(b.From), p.x(b.Until), p.lineY(b.Line)
		class, name := fmt.Sprint("v", b.View%uint64(len(viewColours))), fmt.Sprint("view ", b.View)
		if b.Changing {
			class, name = class+" changing", "to "+name
		}
		p.printf("<rect class=\"%s\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"/>\n", class, num(x0), num(y-bandHalf), num(max(1, x1-x0)), num(2*bandHalf))
		if x1-x0 > wide(name, 10)+6 {
			p.label(x0+4, y-bandHalf+9.5, 10, "soft", "start", name)
		}
	}
}

// ticks draws the time axis and its folds.
func (p *picture) ticks() {
	y := p.y + 18
	if f := p.run.Failure; f != nil {
		w := wide(f.Kind, 12) + 16 // for the flag
		p.taken = append(p.taken, box{p.x(f.At) - w, y - 14, p.x(f.At) + w, y + 4})
	}
	for _, i := range p.axis.folds {
		a, b := p.axis.t[i], p.axis.t[i+1]
		x := (p.x(a) + p.x(b)) / 2
		p.printf("<path class=\"foldline\" d=\"M%s %sV%s\"/><path class=\"softline\" d=\"M%s %sl5 -11m-1 11l5 -11\"/>\n", num(x), num(y+6), num(p.bottom), num(x-5), num(y+3))
		p.taken = append(p.taken, box{x - 7, y - 12, x + 7, y + 4})
		p.label(x, p.bottom+10, 10, "soft", "middle", "+"+span(b-a))
	}
	for _, t := range p.axis.ticks(9) {
		if x := p.x(t.t); p.label(x+3, y, textSize, "soft", "start", t.text) {
			p.printf("<path class=\"rule\" d=\"M%s %sV%s\"/>\n", num(x), num(y-9), num(p.bottom))
		}
	}
}

// lines draws the lines, broken where who is there is down.
func (p *picture) lines() {
	for i, l := range p.run.Lines {
		var down []Mark
		for _, m := range p.run.Marks {
			if m.Line == i && (m.Kind == "crash" || m.Kind == "down") && m.Until > m.At {
				down = append(down, m)
			}
		}
		slices.SortStableFunc(down, func(a, b Mark) int { return sign(a.At - b.At) })
		class := "line"
		if l.Byzantine {
			class = "badline"
		}
		at := p.from
		part := func(class string, from, until int64) {
			if from, until = max(from, p.from), min(until, p.to); until > from {
				p.printf("<path class=\"%s\" d=\"M%s %sH%s\"/>\n", class, num(p.x(from)), num(p.lineY(i)), num(p.x(until)))
			}
		}
		for _, d := range down {
			if d.Until > at {
				part(class, at, d.At)
				part("down", max(at, d.At), d.Until)
				at = d.Until
			}
		}
		part(class, at, p.to)
	}
}

// footer says what was left out.
func (p *picture) footer() {
	p.y = p.bottom + 12
	say := func(class, s string) {
		for _, line := range wrap(s, 12, stillWidth-24) {
			p.y += 17
			p.text(12, p.y, 12, class, line)
		}
	}
	if f := p.run.Failure; f != nil {
		say("bad", fmt.Sprintf("%s broke at %s: %s", f.Kind, clock(f.At, 1000), firstLine(f.Text)))
	}
	if p.note != "" {
		say("soft", p.note)
	}
	p.y += 12
}

// finish writes the picture with its style sheet.
func (p *picture) finish(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %s %s\" width=\"%s\" height=\"%s\" role=\"img\" aria-labelledby=\"title desc\">\n",
		num(stillWidth), num(p.y), num(stillWidth), num(p.y))
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n", esc(p.run.Title), esc(p.describe()))
	b.WriteString("<style>\n" + p.sheet() + "</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n")
	b.Write(p.body.Bytes())
	b.WriteString("</svg>\n")
	_, err := w.Write(b.Bytes())
	return err
}

// describe says in words what the picture shows.
func (p *picture) describe() string {
	replicas, clients := 0, 0
	for _, l := range p.run.Lines {
		if l.Client {
			clients++
		} else {
			replicas++
		}
	}
	s := fmt.Sprintf("Space-time diagram of %d replicas and %d clients, %s messages from %s to %s.", replicas, clients, grouped(len(p.shown)), clock(p.from, 1000), clock(p.to, 1000))
	return strings.Join(append([]string{s}, p.run.Notes...), " ")
}
