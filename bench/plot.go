package bench

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Formats of Chart.Write.
const (
	SVG = "svg"
	PNG = "png"
)

// Chart is a picture of one or more panels below each other, with a common legend of their lines.
type Chart struct {
	Title string
	// Subtitle has the settings, a line each.
	Subtitle []string
	Panels   []Panel
}

// Panel is one pair of axes.
type Panel struct {
	X, Y  ChartAxis
	Lines []ChartLine
	Marks []ChartMark
}

// ChartAxis is an axis with linear scale from 0, or, if Log is set, with a logarithmic one.
type ChartAxis struct {
	// Label names the quantity and its unit.
	Label string
	Log   bool
	// Ticks, if not nil, are where the axis is labelled.
	Ticks []float64
}

// Strokes of a ChartLine.
const (
	Solid = iota
	Dashed
	Dotted
)

// ChartLine joins points. Lines of the same name, in the same or in different panels, are one in the legend.
type ChartLine struct {
	Name string
	// X and Y have the same length. Points that are not finite, or not positive on a logarithmic axis, are left out.
	X, Y []float64
	// Low and High, if not nil, bound each Y by an interval.
	Low, High []float64
	// Texts, if not nil, stand beside the points.
	Texts []string
	// Color numbers the colours; they begin anew after 8. Stroke is Solid, Dashed or Dotted.
	Color, Stroke int
	// Dots draws a symbol at each point.
	Dots bool
}

// ChartMark is a vertical line at an event.
type ChartMark struct {
	X    float64
	Text string
}

// palette can be told apart by those who do not see all colours.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{86, 180, 233, 255}, {230, 159, 0, 255}, {90, 90, 90, 255}, {140, 86, 75, 255},
}

func (l *ChartLine) color() color.RGBA {
	return palette[((l.Color%len(palette))+len(palette))%len(palette)]
}

func (l *ChartLine) style() draw.LineStyle {
	s := draw.LineStyle{Color: l.color(), Width: vg.Points(1.6)}
	switch l.Stroke {
	case Dashed:
		s.Dashes = []vg.Length{vg.Points(6), vg.Points(3)}
	case Dotted:
		s.Width, s.Dashes = vg.Points(1.2), []vg.Length{vg.Points(1.5), vg.Points(3)}
	}
	return s
}

func (l *ChartLine) glyph() draw.GlyphStyle {
	g := draw.GlyphStyle{Color: l.color(), Radius: vg.Points(2.6), Shape: draw.CircleGlyph{}}
	if l.Stroke != Solid {
		g.Shape = draw.RingGlyph{}
	}
	return g
}

// Sizes of a chart, and of its text in points.
const (
	chartWidth  = 9 * vg.Inch
	panelHeight = 3.9 * vg.Inch
	// pngDPI makes letters readable on screens with many dots.
	pngDPI       = 160
	titleSize    = 14
	subtitleSize = 9
	labelSize    = 11
	tickSize     = 9.5
	legendSize   = 10
	margin       = vg.Length(12)
)

// sans is the style of a text of that size.
func sans(size vg.Length, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size), Handler: plot.DefaultTextHandler}
}

var (
	ink   = color.Gray{40}
	muted = color.Gray{100}
)

// Write draws the chart in one of the formats SVG and PNG. An error says what cannot be drawn, such as a panel
// without any point.
func (c *Chart) Write(w io.Writer, format string) error {
	panels := make([][]*plot.Plot, len(c.Panels))
	for i := range c.Panels {
		p, err := c.Panels[i].plot()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Title, err)
		}
		panels[i] = []*plot.Plot{p}
	}
	legend := c.legend()
	subtitle := wrap(c.Subtitle, sans(subtitleSize, muted), chartWidth-2*margin)
	head := 2*margin + titleSize*1.6 + vg.Length(len(subtitle))*subtitleSize*1.35
	height := head + legend.height() + vg.Length(len(panels))*panelHeight + margin
	var canvas vg.CanvasWriterTo
	switch format {
	case SVG:
		canvas = vgsvg.New(chartWidth, height)
	case PNG:
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, height), vgimg.UseDPI(pngDPI))}
	default:
		return fmt.Errorf("format %q: choose %s or %s", format, SVG, PNG)
	}
	dc := draw.NewCanvas(canvas, chartWidth, height)
	dc.FillPolygon(color.White, []vg.Point{{}, {X: chartWidth}, {X: chartWidth, Y: height}, {Y: height}})
	drawHead(&dc, c.Title, subtitle)
	legend.draw(draw.Crop(dc, margin, -margin, margin, -(height - margin - legend.height())))
	body := draw.Crop(dc, margin, -margin, margin+legend.height(), -head)
	if len(panels) > 0 {
		tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: vg.Points(10)}
		for i, cell := range plot.Align(panels, tiles, body) {
			panels[i][0].Draw(cell[0])
		}
	}
	return writeCanvas(w, canvas, format)
}

func writeCanvas(w io.Writer, canvas vg.CanvasWriterTo, format string) error {
	if format != SVG {
		_, err := canvas.WriteTo(w)
		return err
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	// Not every viewer has these fonts, and those without take one with serifs if none is named.
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")))
	return err
}

// drawHead writes the title and below it the settings.
func drawHead(dc *draw.Canvas, title string, subtitle []string) {
	const bold = 3 // as golang.org/x/image/font counts weights
	at := vg.Point{X: margin, Y: dc.Max.Y - margin - titleSize}
	style := sans(titleSize, ink)
	style.Font.Weight = bold
	dc.FillText(style, at, title)
	at.Y -= titleSize * 0.4
	for _, line := range subtitle {
		at.Y -= subtitleSize * 1.35
		dc.FillText(sans(subtitleSize, muted), at, line)
	}
}

// wrap breaks lines between words where they are wider than that.
func wrap(lines []string, style text.Style, width vg.Length) []string {
	var out []string
	for _, line := range lines {
		present := ""
		for _, word := range strings.Fields(line) {
			longer := strings.TrimSpace(present + " " + word)
			if present != "" && style.Width(longer) > width {
				out, longer = append(out, present), word
			}
			present = longer
		}
		out = append(out, present)
	}
	return out
}

// plot makes the axes and lines of a panel.
func (p *Panel) plot() (*plot.Plot, error) {
	g := plot.New()
	p.X.apply(&g.X)
	p.Y.apply(&g.Y)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{225}, color.Gray{240}
	g.Add(grid)
	drawn := 0
	for i := range p.Lines {
		n, err := p.add(g, &p.Lines[i])
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", p.Lines[i].Name, err)
		}
		drawn += n
	}
	if drawn == 0 {
		return nil, fmt.Errorf("nothing to draw of %s", p.Y.Label)
	}
	p.X.limit(&g.X)
	p.Y.limit(&g.Y)
	for i := range p.Marks {
		if err := addMark(g, &p.Marks[i]); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// add draws a line, and returns how many points it has.
func (p *Panel) add(g *plot.Plot, l *ChartLine) (int, error) {
	if len(l.X) != len(l.Y) || l.Low != nil && (len(l.Low) != len(l.Y) || len(l.High) != len(l.Y)) || l.Texts != nil && len(l.Texts) != len(l.Y) {
		return 0, fmt.Errorf("%d values, %d positions, %d and %d bounds, %d texts: give as many of each", len(l.Y), len(l.X), len(l.Low), len(l.High), len(l.Texts))
	}
	points, bars, labels := plotter.XYs{}, errorBars{}, plotter.XYLabels{}
	for i := range l.X {
		if !p.X.holds(l.X[i]) || !p.Y.holds(l.Y[i]) {
			continue
		}
		at := plotter.XY{X: l.X[i], Y: l.Y[i]}
		points = append(points, at)
		if l.Low != nil && p.Y.holds(l.Low[i]) && p.Y.holds(l.High[i]) && l.High[i] > l.Low[i] {
			bars.XYs = append(bars.XYs, at)
			bars.YErrors = append(bars.YErrors, struct{ Low, High float64 }{at.Y - l.Low[i], l.High[i] - at.Y})
		}
		if l.Texts != nil {
			labels.XYs, labels.Labels = append(labels.XYs, at), append(labels.Labels, l.Texts[i])
		}
	}
	if len(points) == 0 {
		return 0, nil
	}
	g.Add(&plotter.Line{XYs: points, LineStyle: l.style()})
	if l.Dots || len(points) == 1 {
		g.Add(&plotter.Scatter{XYs: points, GlyphStyle: l.glyph()})
	}
	if len(bars.XYs) > 0 {
		b, err := plotter.NewYErrorBars(bars)
		if err != nil {
			return 0, err
		}
		b.LineStyle = draw.LineStyle{Color: l.color(), Width: vg.Points(1)}
		g.Add(b)
	}
	if len(labels.XYs) > 0 {
		t, err := plotter.NewLabels(labels)
		if err != nil {
			return 0, err
		}
		for i := range t.TextStyle {
			t.TextStyle[i] = sans(subtitleSize, l.color())
		}
		t.Offset = vg.Point{X: 5, Y: -3 - subtitleSize}
		g.Add(t)
	}
	return len(points), nil
}

// errorBars are points with their bounds.
type errorBars struct {
	plotter.XYs
	plotter.YErrors
}

// addMark draws a vertical line through the panel, with its text at the top.
func addMark(g *plot.Plot, m *ChartMark) error {
	top := g.Y.Max
	g.Add(&plotter.Line{XYs: plotter.XYs{{X: m.X, Y: g.Y.Min}, {X: m.X, Y: top}},
		LineStyle: draw.LineStyle{Color: muted, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(2), vg.Points(2)}}})
	t, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: m.X, Y: top}}, Labels: []string{m.Text}})
	if err != nil {
		return err
	}
	t.TextStyle[0] = sans(subtitleSize, muted)
	t.Offset = vg.Point{X: 4, Y: -subtitleSize}
	g.Add(t)
	return nil
}

// holds tells whether a value can be drawn.
func (a *ChartAxis) holds(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!a.Log || v > 0)
}
