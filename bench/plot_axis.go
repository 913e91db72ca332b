package bench

import (
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// apply sets the looks of an axis.
func (a *ChartAxis) apply(to *plot.Axis) {
	to.Label.Text, to.Label.Padding = a.Label, vg.Points(5)
	rotation, x, y := to.Label.TextStyle.Rotation, to.Label.TextStyle.XAlign, to.Label.TextStyle.YAlign
	to.Label.TextStyle = sans(labelSize, ink)
	to.Label.TextStyle.Rotation, to.Label.TextStyle.XAlign, to.Label.TextStyle.YAlign = rotation, x, y
	x, y = to.Tick.Label.XAlign, to.Tick.Label.YAlign
	to.Tick.Label = sans(tickSize, ink)
	to.Tick.Label.XAlign, to.Tick.Label.YAlign = x, y
	to.Tick.LineStyle.Color, to.LineStyle.Color = muted, muted
	to.Padding = 0
	switch {
	case a.Ticks != nil:
		to.Tick.Marker = fixedTicks(a.Ticks)
	case a.Log:
		to.Tick.Marker = plot.TickerFunc(logTicks)
	default:
		to.Tick.Marker = plot.TickerFunc(linearTicks)
	}
	if a.Log {
		to.Scale = plot.LogScale{}
	}
}

// headRoom is left beyond the highest value.
const headRoom = 1.05

// limit widens the axis beyond what is drawn: from 0 on a linear one, so that lengths are true, and to round
// numbers on a logarithmic one, so that at least two are labelled. One with fixed ticks reaches a little beyond them.
func (a *ChartAxis) limit(to *plot.Axis) {
	switch {
	case len(a.Ticks) > 0:
		low, high := slices.Min(a.Ticks), slices.Max(a.Ticks)
		room := max((headRoom-1)*(high-low), 0.5)
		to.Min, to.Max = low-room, high+room
	case a.Log:
		to.Min, to.Max = roundDown(to.Min), roundUp(to.Max)
	default:
		to.Min, to.Max = min(0, to.Min), to.Max*headRoom
	}
	if to.Max <= to.Min {
		to.Max = to.Min + 1
	}
}

// roundDown is the next number at or below v of the form 1, 2 or 5 times a power of ten, for a positive v.
func roundDown(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2} {
		if m*power <= v {
			return m * power
		}
	}
	return power
}

// roundUp is the next one at or above v.
func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

// linearTicks labels round numbers, three to nine of them.
func linearTicks(low, high float64) []plot.Tick {
	const most = 8 // steps
	step := roundUp((high - low) / most)
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high; i++ {
		// A product has less of an error than a sum, and the text shows none.
		ticks = append(ticks, plot.Tick{Value: i * step, Label: tickText(i * step)})
	}
	return ticks
}

// logTicks labels 1, 2 and 5 times the powers of ten, or those alone where that would be too many.
func logTicks(low, high float64) []plot.Tick {
	const few = 2.5 // decades
	all := math.Log10(high/low) <= few
	var ticks []plot.Tick
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for m := 1.0; m < 10; m++ {
			t := plot.Tick{Value: m * power}
			if m == 1 || all && (m == 2 || m == 5) {
				t.Label = tickText(t.Value)
			}
			if t.Value >= low*0.999 && t.Value <= high*1.001 {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// fixedTicks are at given values.
type fixedTicks []float64

// Ticks is for the axis.
func (f fixedTicks) Ticks(float64, float64) []plot.Tick {
	ticks := make([]plot.Tick, len(f))
	for i, v := range f {
		ticks[i] = plot.Tick{Value: v, Label: tickText(v)}
	}
	return ticks
}

func tickText(v float64) string {
	if math.Abs(v) >= 1000 {
		return group(v)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// chartLegend is the list of the lines, in columns below the panels.
type chartLegend struct {
	lines   []*ChartLine
	columns int
	width   vg.Length // of a column
}

const (
	legendRow    = vg.Length(legendSize * 1.5)
	legendSample = vg.Length(26) // of the line
	legendGap    = vg.Length(18)
)

// legend lists each named line once.
func (c *Chart) legend() *chartLegend {
	l := &chartLegend{columns: 1}
	seen := map[string]bool{}
	widest := vg.Length(0)
	for i := range c.Panels {
		for j := range c.Panels[i].Lines {
			line := &c.Panels[i].Lines[j]
			if line.Name == "" || seen[line.Name] {
				continue
			}
			seen[line.Name] = true
			l.lines = append(l.lines, line)
			style := sans(legendSize, ink)
			widest = max(widest, style.Width(line.Name))
		}
	}
	l.width = legendSample + 6 + widest + legendGap
	l.columns = max(1, min(int((chartWidth-2*margin)/l.width), len(l.lines)))
	return l
}

func (l *chartLegend) rows() int { return (len(l.lines) + l.columns - 1) / l.columns }

func (l *chartLegend) height() vg.Length {
	if len(l.lines) == 0 {
		return 0
	}
	return vg.Length(l.rows())*legendRow + 8
}

// draw writes the lines row by row.
func (l *chartLegend) draw(dc draw.Canvas) {
	for i, line := range l.lines {
		x := dc.Min.X + vg.Length(i%l.columns)*l.width
		y := dc.Max.Y - 8 - vg.Length(i/l.columns)*legendRow - legendRow/2
		dc.StrokeLine2(line.style(), x, y, x+legendSample, y)
		if line.Dots {
			dc.DrawGlyph(line.glyph(), vg.Point{X: x + legendSample/2, Y: y})
		}
		dc.FillText(sans(legendSize, color.Color(ink)), vg.Point{X: x + legendSample + 6, Y: y - legendSize*0.35}, line.Name)
	}
}
