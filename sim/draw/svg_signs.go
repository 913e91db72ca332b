package draw

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// sheet is the style sheet: every colour in light and dark.
func (p *picture) sheet() string {
	var light, dark strings.Builder
	rule := func(selector, property, l, d string) {
		fmt.Fprintf(&light, "%s{%s:%s}", selector, property, l)
		fmt.Fprintf(&dark, "%s{%s:%s}", selector, property, d)
	}
	both := func(selector, l, d string) {
		rule(selector, "fill", l, d)
		rule(selector, "stroke", l, d)
	}
	rule(".page", "fill", "#ffffff", "#14171b")
	rule("text", "stroke", "#ffffff", "#14171b")
	rule(".ink", "fill", "#1b1f24", "#e6e9ed")
	rule(".soft", "fill", "#5a6470", "#9aa4af")
	rule(".bad", "fill", "#d1111f", "#ff5f66")
	rule(".warn", "fill", "#8a5200", "#ffb84d")
	rule(".blue", "fill", "#0b5fc0", "#74b0ff")
	rule(".rule", "stroke", "#d3d9e0", "#343b44")
	rule(".line", "stroke", "#6b7480", "#8d97a3")
	rule(".softline,.foldline,.down", "stroke", "#8b939d", "#79828d")
	rule(".badline,.lie,.cross", "stroke", "#d1111f", "#ff5f66")
	rule(".lie,.hollow", "fill", "#ffffff", "#14171b")
	rule(".amberline", "stroke", "#b26b00", "#ffb84d")
	both(".flag", "#d1111f", "#ff5f66")
	rule(".lane", "fill", "#f4d9a6", "#5c4517")
	rule(".blueline", "stroke", "#0b5fc0", "#74b0ff")
	rule(".call", "fill", "#0b5fc0", "#74b0ff")
	rule(".flagtext", "fill", "#ffffff", "#14171b")
	both(".solid", "#1b1f24", "#e6e9ed")
	both(".good", "#1f7a2e", "#79d984")
	both(".bluesign", "#0b5fc0", "#74b0ff")
	for i, s := range p.styles {
		both(fmt.Sprint(".t", i), s.Light, s.Dark)
		rule(fmt.Sprint("text.n", i), "fill", s.Light, s.Dark)
	}
	for i, c := range viewColours {
		rule(fmt.Sprint(".v", i), "fill", c[0], c[1])
		rule(fmt.Sprint(".changing.v", i), "stroke", c[0], c[1])
	}
	fixed := `text{font-family:system-ui,"Segoe UI",Roboto,Arial,"DejaVu Sans",sans-serif;stroke-width:3px;stroke-linejoin:round;paint-order:stroke}
.bold{font-weight:600}
path{stroke-width:1.5px}
.line,.badline{fill:none}.rule{stroke-width:1px}.softline,.foldline,.amberline,.blueline,.cross{fill:none}
.foldline{stroke-width:1px;stroke-dasharray:1 4}.down{stroke-dasharray:2 5}.lie{stroke-width:1.8px}.cross{stroke-width:2.6px}.call{opacity:.3}.changing{fill-opacity:.25;stroke-width:2px;stroke-dasharray:6 4}text.flat,.flagtext{stroke:none}
`
	for i, s := range p.styles {
		fixed += fmt.Sprintf(".t%d{stroke-width:%spx", i, num(s.Width))
		if len(s.Dash) == 2 {
			fixed += fmt.Sprintf(";stroke-dasharray:%d %d", s.Dash[0], s.Dash[1])
		}
		fixed += "}"
	}
	return fixed + "\n" + light.String() + "\n@media (prefers-color-scheme:dark){" + dark.String() + "}\n"
}

// arrow draws a line with a head, and a text for the pointer.
func (p *picture) arrow(class string, x0, y0, x1, y1 float64, title string) {
	d := math.Hypot(x1-x0, y1-y0)
	if d == 0 {
		return
	}
	const long, half = 8.0, 3.1
	ux, uy := (x1-x0)/d, (y1-y0)/d
	bx, by := x1-ux*long, y1-uy*long
	p.printf("<g class=\"%s\">%s<path d=\"M%s %sL%s %s\"/><path stroke-dasharray=\"none\" d=\"M%s %sL%s %sL%s %sZ\"/></g>\n", class, hover(title), num(x0), num(y0), num(bx), num(by),
		num(x1), num(y1), num(bx-uy*half), num(by+ux*half), num(bx+uy*half), num(by-ux*half))
}

// lostArrow draws a line that ends in a cross.
func (p *picture) lostArrow(class string, x0, y0, x1, y1 float64, title string) {
	p.printf("<g class=\"%s\">%s<path d=\"M%s %sL%s %s\"/><path stroke-dasharray=\"none\" d=\"M%s %sl8 8m0 -8l-8 8\"/></g>\n", class, hover(title), num(x0), num(y0), num(x1), num(y1), num(x1-4), num(y1-4))
}

// shaft draws a line without a head: the message arrives after the picture's end.
func (p *picture) shaft(class string, x0, y0, x1, y1 float64, title string) {
	p.printf("<g class=\"%s\">%s<path d=\"M%s %sL%s %s\"/></g>\n", class, hover(title), num(x0), num(y0), num(x1), num(y1))
}

func hover(title string) string {
	if title == "" {
		return ""
	}
	return "<title>" + esc(title) + "</title>"
}

// ends is where a message's arrow begins and where it ends: short of the receiver if it is lost. What
// reaches out of the picture is cut at its edge.
func (p *picture) ends(m *Message) (x0, y0, x1, y1 float64) {
	end := m.ends()
	if m.Lost && end == m.Sent {
		end += p.flight
	}
	y0, y1 = p.lineY(m.From), p.lineY(m.To)
	// Along the true axis, which is straight between its points only: good enough at the edges.
	x0, x1 = p.x(m.Sent), p.x(end)
	part := func(t int64) float64 { return float64(t-m.Sent) / float64(max(1, end-m.Sent)) }
	a, b := y0, y1
	if m.Sent < p.from {
		y0 = a + (b-a)*part(p.from)
	}
	if end > p.to {
		y1 = a + (b-a)*part(p.to)
	}
	if m.Lost {
		x1, y1 = x0+(x1-x0)*0.6, y0+(y1-y0)*0.6
	}
	return x0, y0, x1, y1
}

func (p *picture) messages() {
	for _, lies := range []bool{false, true} { // lies on top
		for i := range p.shown {
			m := &p.shown[i]
			if m.Lie != lies {
				continue
			}
			class := fmt.Sprint("t", p.typeOf[m.Type])
			if m.Lie {
				class = "lie"
			}
			x0, y0, x1, y1 := p.ends(m)
			title := fmt.Sprintf("%s → %s %s: %s", p.run.Lines[m.From].Name, p.run.Lines[m.To].Name, m.Type, firstLine(m.Text))
			switch {
			case m.ends() > p.to:
				p.shaft(class, x0, y0, x1, y1, title)
			case m.Lost:
				p.lostArrow(class, x0, y0, x1, y1, title+" (lost)")
			default:
				p.arrow(class, x0, y0, x1, y1, title)
			}
		}
	}
}

// labels names arrows where there is room, in the last gap before the receiver: there the arrows of a
// broadcast have parted. Of many it names the lies and those that begin something.
func (p *picture) labels() {
	order := make([]*Message, len(p.shown))
	for i := range p.shown {
		order[i] = &p.shown[i]
	}
	rank := func(m *Message) int {
		switch {
		case m.Lie:
			return 0
		case m.Type == "new-view" || m.Type == "view-change" || m.Type == "pre-prepare":
			return 1
		case p.styles[p.typeOf[m.Type]].Quiet > 0:
			return 3
		}
		return 2
	}
	slices.SortStableFunc(order, func(a, b *Message) int { return cmp.Compare(rank(a), rank(b)) })
	for _, m := range order {
		x0, y0, x1, y1 := p.ends(m)
		if math.Abs(y1-y0) < rowPitch/2 {
			continue
		}
		// The middle of the gap before the receiver; of one that is lost, of the arrow.
		dy := math.Copysign(rowPitch/2, y1-y0)
		if m.Lost {
			dy = (y1 - y0) / 2
		}
		k := (y1 - dy - y0) / (y1 - y0)
		class := fmt.Sprint("n", p.typeOf[m.Type])
		if m.Lie {
			class = "bad"
		}
		p.label(x0+(x1-x0)*k, y1-dy+4, 10.5, class, "middle", name(m))
	}
}

// name is a message's label.
func name(m *Message) string {
	if m.Seq == 0 {
		return m.Type
	}
	return fmt.Sprint(m.Type, " ", m.Seq)
}

// assignLanes puts what concerns everyone into lanes above the lines, so that none hides another, and returns the
// lane of each in the order of drawnMarks. What does not fit into three stands in the last.
func (p *picture) assignLanes() []int {
	var until []int64
	var of []int
	for _, m := range p.drawnMarks() {
		if m.Line >= 0 {
			continue
		}
		lane := slices.IndexFunc(until, func(t int64) bool { return t < m.At })
		if lane < 0 {
			lane = min(len(until), 2)
		}
		if lane == len(until) {
			until = append(until, 0)
		}
		until[lane] = max(until[lane], m.ends())
		of = append(of, lane)
	}
	p.lanes = len(until)
	return of
}

// rankOf is 1 for signs that stand above the others, and are each drawn.
func rankOf(m *Mark) int {
	switch m.Kind {
	case "crash", "down", "lie", "start":
		return 1
	}
	return 0
}

func (p *picture) marks() {
	lanes, lastX := p.assignLanes(), make(map[string]float64)
	var order []Mark
	for _, m := range p.drawnMarks() {
		if m.Line < 0 {
			p.everyone(&m, lanes[0])
			lanes = lanes[1:]
		} else {
			order = append(order, m)
		}
	}
	slices.SortStableFunc(order, func(a, b Mark) int { return cmp.Compare(rankOf(&a), rankOf(&b)) })
	for _, m := range order {
		x, y := p.x(m.At), p.lineY(m.Line)
		if m.Until > m.At && m.Kind != "crash" && m.Kind != "down" {
			p.lasting(&m)
		}
		key := fmt.Sprint(m.Line, m.Kind)
		last, any := lastX[key]
		if m.At < p.from || any && x-last < 3 && rankOf(&m) == 0 {
			continue
		}
		lastX[key] = x
		p.glyph(m.Kind, x, y)
		switch m.Kind {
		case "execute":
			if m.Seq > 0 {
				p.label(x, y+16, 10, "ink", "middle", fmt.Sprint(m.Seq))
			}
		case "crash":
			p.label(x+9, y-7, textSize, "bad bold", "start", "crash")
		}
	}
}

// everyone marks what concerns the whole system, in a lane below the axis.
func (p *picture) everyone(m *Mark, lane int) {
	x, y := p.x(m.At), p.top-16*float64(p.lanes-lane)
	text, class := firstLine(m.Text), "blue"
	if text == "" {
		text = m.Kind
	}
	if m.Until > m.At {
		class = "ink flat"
		p.printf("<rect class=\"lane\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"14\"/>\n", num(x), num(y), num(max(2, p.x(m.Until)-x)))
	} else if m.At >= p.from {
		p.printf("<path class=\"blueline\" stroke-dasharray=\"4 4\" d=\"M%s %sV%s\"/>\n", num(x), num(y), num(p.bottom))
	}
	p.label(x+4, y+11, textSize, class, "start", cut(text, textSize, max(60, right-x-8)))
}

// lasting draws what lasts: the bar of a call on its line, the hatching of a pause, and below the line
// the bracket of a fault.
func (p *picture) lasting(m *Mark) {
	x0, x1, y := p.x(m.At), p.x(m.Until), p.lineY(m.Line)
	switch m.Kind {
	case "call":
		p.printf("<rect class=\"call\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"8\"/>\n", num(x0), num(y-4), num(x1-x0))
	case "pause":
		var d strings.Builder
		for x := x0; x < x1-4; x += 6 {
			fmt.Fprintf(&d, "M%s %sl5 -10", num(x), num(y+5))
		}
		p.printf("<path class=\"amberline\" d=\"M%s %sH%s%s\"/>\n", num(x0), num(y), num(x1), d.String())
		p.label(x0+8, y-7, textSize, "warn", "start", "pause")
	default:
		dash := ""
		if m.Kind == "partition" {
			dash = " stroke-dasharray=\"7 4\""
		}
		b := y + bandHalf + 1
		p.printf("<path class=\"amberline\"%s d=\"M%s %sH%s\"/><path class=\"amberline\" d=\"M%s %sv10M%s %sv10\"/>\n", dash, num(x0), num(b), num(x1), num(x0), num(b-5), num(x1), num(b-5))
		if text := firstLine(m.Text); text != "" {
			p.label(x0+6, b+12, textSize, "warn", "start", cut(text, textSize, max(60, right-x0-10)))
		}
	}
}

// glyph draws the sign of a kind of mark.
func (p *picture) glyph(kind string, x, y float64) {
	sign := func(class, d string) {
		p.printf("<path class=\"%s\" d=\"M%s %s%s\"/>\n", class, num(x), num(y), d)
	}
	switch kind {
	case "crash", "down":
		sign("cross", "m-6 -6l12 12m0 -12l-12 12")
	case "start":
		sign("good", "m-4 -5.5l10 5.5l-10 5.5z")
	case "lie":
		sign("lie", "m0 -6.5l6.5 6.5l-6.5 6.5l-6.5 -6.5z")
	case "execute":
		sign("solid", "m-2.5 -2.5h5v5h-5z")
	case "snapshot":
		sign("line hollow", "m-5 -4h10v8h-10zv3h10")
	case "install":
		sign("line hollow", "m-5 -4h10l-5 9z")
	case "call":
		sign("bluesign", "m-3 -4.5l7 4.5l-7 4.5z")
	case "result":
		sign("blueline hollow", "m3 -4.5l-7 4.5l7 4.5z")
	case "pause":
		sign("amberline", "m-3 -5v10m6 0v-10")
	case "fault", "partition":
		sign("amberline hollow", "m0 -6l6 11h-12z")
	default:
		sign("solid", "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0")
	}
}

// failure plants the flag.
func (p *picture) failure() {
	f := p.run.Failure
	if f == nil || f.At < p.from || f.At > p.to {
		return
	}
	x, y := p.x(f.At), p.y+4
	w := wide(f.Kind, 12) + 14
	dir := 1.0
	if x+w > right+8 {
		dir = -1
	}
	p.printf("<path class=\"badline\" d=\"M%s %sV%s\"/>", num(x), num(y), num(p.bottom))
	p.printf("<path class=\"flag\" d=\"M%s %sh%sl%s 8l%s 8h%sz\"/>\n", num(x), num(y), num(dir*w), num(-dir*5), num(dir*5), num(-dir*w))
	p.printf("<text class=\"flagtext bold\" x=\"%s\" y=\"%s\" font-size=\"12\" text-anchor=\"middle\">%s</text>\n", num(x+dir*(w-5)/2), num(y+12.5), esc(f.Kind))
	if f.Line >= 0 {
		p.printf("<circle class=\"cross\" cx=\"%s\" cy=\"%s\" r=\"9\"/>\n", num(x), num(p.lineY(f.Line)))
	}
}
