package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Kinds of plots of results.
const (
	// PlotLatency is latency against throughput, a line for each load that clients, depth or rate of which vary.
	PlotLatency = "latency"
	// PlotTime is the throughput of each second.
	PlotTime = "time"
	// PlotNodes is throughput, and processor time of an operation, against the number of replicas.
	PlotNodes = "nodes"
	// PlotUsage is memory and disk use over time.
	PlotUsage = "usage"
)

// PlotKinds lists them.
func PlotKinds() []string { return []string{PlotLatency, PlotTime, PlotNodes, PlotUsage} }

// PlotSource is a set of results with a name, which tells it from others in the same plot.
type PlotSource struct {
	Name    string
	Results []*Result
}

// plotPoint is a set of results of the same load, of one source.
type plotPoint struct {
	source  string
	results []*Result
}

func (p *plotPoint) settings() *Settings { return &p.results[0].Settings }

func (p *plotPoint) mean(of func(*Result) float64) Estimate {
	return estimate(valuesOf(p.results, of))
}

// GuessPlot chooses the kind that shows what differs between results: PlotNodes if the number of replicas does,
// PlotLatency if there are other differences, PlotTime if there are none.
func GuessPlot(sources []PlotSource) string {
	points := gather(sources)
	for _, p := range points {
		if p.settings().N != points[0].settings().N {
			return PlotNodes
		}
	}
	if len(points) > 1 {
		return PlotLatency
	}
	return PlotTime
}

// WritePlot draws a plot of results, see PlotKinds and the constants SVG and PNG. Repeated measurements of the same load
// are drawn as means with intervals of 95 %.
//
// PlotNodes draws the throughput and, below it, the processor time of an operation, each beside two curves through the first point
// of its line, which say how it would go if all replicas share the same cores. An operation is received, verified,
// written and executed by each of the n replicas: if that were all the work, it grows as n, and throughput falls as 1/n ("as the
// work of n replicas grows"). In each batch, every replica also handles the votes of all others: if that were all the work, it
// grows as n², and throughput falls as 1/n². Large batches share votes among many operations, so that measured lines should
// follow the first curve; where they are steeper, what is paid for each batch weighs. The processor time tells that also on a
// machine that does something else besides.
func WritePlot(w io.Writer, kind, format string, sources []PlotSource) error {
	if len(gather(sources)) == 0 {
		return fmt.Errorf("there is no result to plot")
	}
	var c *Chart
	switch kind {
	case PlotLatency:
		c = latencyChart(gather(sources))
	case PlotTime:
		c = timeChart(sources)
	case PlotNodes:
		c = nodesChart(gather(sources))
	case PlotUsage:
		c = usageChart(sources)
	default:
		return fmt.Errorf("kind %q: choose one of %s", kind, strings.Join(PlotKinds(), ", "))
	}
	return c.Write(w, format)
}

// loadKey is what makes two measurements ones of the same load.
func loadKey(s *Settings) string {
	return fmt.Sprint(s.N, s.Service, s.Operation, s.SizeBytes, s.Clients, s.Depth, s.Rate, s.Arrivals, s.Mix, s.Reads, s.Records, s.KeysPerClient, s.BundleOps, s.BatchOps, s.Placement, s.Durability, s.Crypto)
}

// gather puts repeated measurements together, in the order of the first of each.
func gather(sources []PlotSource) []*plotPoint {
	var points []*plotPoint
	for i := range sources {
		at := map[string]*plotPoint{}
		for _, r := range sources[i].Results {
			key := loadKey(&r.Settings)
			p := at[key]
			if p == nil {
				p = &plotPoint{source: sources[i].Name}
				at[key], points = p, append(points, p)
			}
			p.results = append(p.results, r)
		}
	}
	return points
}

// aspect is a setting that may tell lines from each other.
type aspect struct {
	name string
	of   func(*plotPoint) string
}

var (
	aspectSource  = aspect{"source", func(p *plotPoint) string { return p.source }}
	aspectN       = aspect{"n", func(p *plotPoint) string { return fmt.Sprintf("n = %d", p.settings().N) }}
	aspectWhat    = aspect{"operation", func(p *plotPoint) string { return p.settings().Service + " " + p.settings().Operation }}
	aspectSize    = aspect{"size", func(p *plotPoint) string { return fmt.Sprintf("%d bytes", p.settings().SizeBytes) }}
	aspectClients = aspect{"clients", func(p *plotPoint) string { return plural(p.settings().Clients, "client") }}
	aspectDepth   = aspect{"depth", func(p *plotPoint) string { return fmt.Sprintf("depth %d", p.settings().Depth) }}
	aspectRate    = aspect{"rate", func(p *plotPoint) string {
		if p.settings().Rate == 0 {
			return "closed loop"
		}
		return number(p.settings().Rate) + "/s offered"
	}}
	aspectBundle = aspect{"bundle", func(p *plotPoint) string { return fmt.Sprintf("bundles of %d", p.settings().BundleOps) }}
)

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// distinct counts the values of an aspect.
func (a *aspect) distinct(points []*plotPoint) int {
	seen := map[string]bool{}
	for _, p := range points {
		seen[a.of(p)] = true
	}
	return len(seen)
}

// lineOf names points by those aspects that differ among all, and what they have in common.
func lineOf(points []*plotPoint, aspects []aspect) func(*plotPoint) string {
	var differing []aspect
	for _, a := range aspects {
		if a.distinct(points) > 1 {
			differing = append(differing, a)
		}
	}
	return func(p *plotPoint) string {
		var parts []string
		for _, a := range differing {
			if v := a.of(p); v != "" {
				parts = append(parts, v)
			}
		}
		return strings.Join(parts, ", ")
	}
}

// linesBy groups points by name, in the order of the first of each.
func linesBy(points []*plotPoint, name func(*plotPoint) string) (names []string, lines [][]*plotPoint) {
	at := map[string]int{}
	for _, p := range points {
		key := name(p)
		i, ok := at[key]
		if !ok {
			i = len(lines)
			at[key], names, lines = i, append(names, key), append(lines, nil)
		}
		lines[i] = append(lines[i], p)
	}
	return names, lines
}

// subtitle has the settings that all points share, and the machine.
func subtitle(points []*plotPoint) []string {
	common := func(aspects ...aspect) string {
		var parts []string
		for _, a := range aspects {
			if v := a.of(points[0]); a.distinct(points) == 1 && v != "" {
				parts = append(parts, v)
			}
		}
		return strings.Join(parts, ", ")
	}
	aspects := []aspect{aspectN, aspectWhat, aspectSize, aspectClients}
	if points[0].settings().Rate == 0 {
		aspects = append(aspects, aspectDepth)
	} else {
		aspects = append(aspects, aspectRate)
	}
	first := common(append(aspects, aspectBundle,
		aspect{"checkpoint", func(p *plotPoint) string { return fmt.Sprintf("checkpoint each %d", p.settings().CheckpointInterval) }},
		aspect{"time", func(p *plotPoint) string {
			return fmt.Sprintf("%g s measured after %g s", p.settings().DurationSeconds, p.settings().WarmupSeconds)
		}})...)
	text := func(of func(*Result) string) aspect {
		return aspect{"", func(p *plotPoint) string { return of(p.results[0]) }}
	}
	second := common(text(func(r *Result) string { return r.Settings.Durability }), text(func(r *Result) string { return r.Settings.Crypto }))
	third := common(text(func(r *Result) string { return r.Settings.Placement }), text(func(r *Result) string {
		return fmt.Sprintf("%d cores of %s", r.Machine.Cores, cmp.Or(r.Machine.Processor, r.Machine.OS))
	}), text(func(r *Result) string { return "version " + r.Settings.Version }))
	lines := []string{first, second, third}
	return slices.DeleteFunc(lines, func(s string) bool { return s == "" })
}

// latencyChart has a median and a 99th percentile for each line. The setting that makes a line go on is, of rate, depth and
// clients, the one with most values; the others tell lines apart.
func latencyChart(points []*plotPoint) *Chart {
	moving := []aspect{aspectRate, aspectDepth, aspectClients}
	most := 0
	for i := range moving {
		if moving[i].distinct(points) > moving[most].distinct(points) {
			most = i
		}
	}
	mover := moving[most]
	aspects := append([]aspect{aspectSource, aspectN, aspectWhat, aspectSize}, slices.Delete(slices.Clone(moving), most, most+1)...)
	names, lines := linesBy(points, lineOf(points, aspects))
	c := &Chart{Title: "Latency against throughput", Subtitle: subtitle(points)}
	panel := Panel{X: ChartAxis{Label: "throughput (operations/s)"}, Y: ChartAxis{Label: "latency (ms)", Log: true}}
	throughput := func(r *Result) float64 { return r.OpsPerSecond }
	for i, line := range lines {
		slices.SortStableFunc(line, func(a, b *plotPoint) int { return cmp.Compare(a.load(), b.load()) })
		median := ChartLine{Name: joined(names[i], "p50"), Color: i, Dots: true}
		tail := ChartLine{Name: joined(names[i], "p99"), Color: i, Stroke: Dashed, Dots: true}
		for _, p := range line {
			x := p.mean(throughput).Mean
			median.add(x, p.mean(func(r *Result) float64 { return r.P50 }))
			tail.add(x, p.mean(func(r *Result) float64 { return r.P99 }))
			text := ""
			if mover.distinct(points) > 1 {
				text = mover.of(p)
			}
			median.Texts = append(median.Texts, text)
		}
		panel.Lines = append(panel.Lines, median, tail)
	}
	c.Panels = []Panel{panel}
	return c
}

// load orders the points of a line.
func (p *plotPoint) load() float64 {
	s := p.settings()
	if s.Rate > 0 {
		return s.Rate
	}
	return float64(s.Clients) * float64(s.Depth)
}

// add appends a point.
func (l *ChartLine) add(x float64, e Estimate) {
	l.X, l.Y, l.Low, l.High = append(l.X, x), append(l.Y, e.Mean), append(l.Low, e.Low), append(l.High, e.High)
}

func joined(name, what string) string {
	if name == "" {
		return what
	}
	return name + ", " + what
}

// nodesChart is throughput against n, above the processor time of an operation; see WritePlot for the curves.
func nodesChart(points []*plotPoint) *Chart {
	names, lines := linesBy(points, lineOf(points, []aspect{aspectSource, aspectWhat, aspectSize, aspectClients, aspectDepth, aspectRate}))
	x := ChartAxis{Label: "replicas (n), all on the same cores"}
	for _, p := range points {
		if n := float64(p.settings().N); !slices.Contains(x.Ticks, n) {
			x.Ticks = append(x.Ticks, n)
		}
	}
	slices.Sort(x.Ticks)
	throughput := Panel{X: x, Y: ChartAxis{Label: "throughput (operations/s)"}}
	work := Panel{X: x, Y: ChartAxis{Label: "processor time (us/operation)"}}
	for i, line := range lines {
		slices.SortStableFunc(line, func(a, b *plotPoint) int { return cmp.Compare(a.settings().N, b.settings().N) })
		throughput.addNodes(i, names[i], line, -1, func(r *Result) float64 { return r.OpsPerSecond })
		work.addNodes(i, names[i], line, 1, func(r *Result) float64 { return r.CPUMicrosPerOp })
	}
	c := &Chart{Title: "Throughput and work against the number of replicas", Subtitle: subtitle(points), Panels: []Panel{throughput}}
	if len(work.Lines) > 0 {
		c.Panels = append(c.Panels, work)
	}
	return c
}

// addNodes adds the measured line, if it has points, and the curves that go with the work of n replicas to this power.
func (p *Panel) addNodes(color int, name string, points []*plotPoint, power float64, of func(*Result) float64) {
	measured := ChartLine{Name: joined(name, "measured"), Color: color, Dots: true}
	for _, point := range points {
		if e := point.mean(of); e.N > 0 {
			measured.add(float64(point.settings().N), e)
		}
	}
	if len(measured.X) == 0 {
		return
	}
	p.Lines = append(p.Lines, measured)
	if len(measured.X) > 1 {
		p.Lines = append(p.Lines, powerCurve(&measured, joined(name, "as the work of n replicas grows"), Dashed, power),
			powerCurve(&measured, joined(name, "as n² does: if votes were all the work"), Dotted, 2*power))
	}
}

// powerCurve is the curve through the first point of a line that goes with this power of n.
func powerCurve(measured *ChartLine, name string, stroke int, power float64) ChartLine {
	const steps = 64
	l := ChartLine{Name: name, Color: measured.Color, Stroke: stroke}
	from, to, y := measured.X[0], measured.X[len(measured.X)-1], measured.Y[0]
	for i := range steps + 1 {
		n := from + (to-from)*float64(i)/steps
		l.X, l.Y = append(l.X, n), append(l.Y, y*math.Pow(n/from, power))
	}
	return l
}

// each calls f for each measurement with its name among the others.
func each(sources []PlotSource, f func(i int, name string, r *Result)) {
	all := []aspect{aspectSource, aspectN, aspectWhat, aspectSize, aspectClients, aspectDepth, aspectRate, aspectBundle}
	points := gather(sources)
	name, i := lineOf(points, all), 0
	for _, p := range points {
		for j, r := range p.results {
			text := name(p)
			if len(p.results) > 1 {
				text = joined(text, fmt.Sprintf("measurement %d", j+1))
			}
			f(i, text, r)
			i++
		}
	}
}

// timeChart is the throughput of each second of each measurement.
func timeChart(sources []PlotSource) *Chart {
	unit, label := timeUnit(sources)
	panel := Panel{X: ChartAxis{Label: label}, Y: ChartAxis{Label: "throughput (operations/s)"}}
	each(sources, func(i int, name string, r *Result) {
		l := ChartLine{Name: name, Color: i}
		for at, v := range r.Timeline {
			const middle = 0.5 // of the second that it is of
			l.X, l.Y = append(l.X, (float64(at)+middle)/unit), append(l.Y, v)
		}
		panel.Lines = append(panel.Lines, l)
	})
	return &Chart{Title: "Throughput over time", Subtitle: subtitle(gather(sources)), Panels: []Panel{panel}}
}

// usageChart is memory above disk, a line for each process of each measurement.
func usageChart(sources []PlotSource) *Chart {
	unit, label := timeUnit(sources)
	time := ChartAxis{Label: label}
	memory := Panel{X: time, Y: ChartAxis{Label: "resident memory (MiB)"}}
	disk := Panel{X: time, Y: ChartAxis{Label: "disk (MiB)"}}
	color := 0
	each(sources, func(_ int, name string, r *Result) {
		for i := range r.Usage {
			u := &r.Usage[i]
			line := ChartLine{Name: u.Name, Color: color}
			if name != "" {
				line.Name = joined(name, u.Name)
			}
			color++
			memory.addTrack(line, u.ResidentMiB, unit)
			disk.addTrack(line, u.DiskMiB, unit)
		}
	})
	c := &Chart{Title: "Memory and disk over time", Subtitle: subtitle(gather(sources)), Panels: []Panel{memory}}
	if len(disk.Lines) > 0 {
		c.Panels = append(c.Panels, disk)
	}
	return c
}

// timeUnit is the unit of a time axis in seconds, and its label: minutes for long measurements.
func timeUnit(sources []PlotSource) (seconds float64, label string) {
	const longSeconds, minute = 600, 60
	for i := range sources {
		for _, r := range sources[i].Results {
			if r.Settings.DurationSeconds >= longSeconds {
				return minute, "measured time (minutes)"
			}
		}
	}
	return 1, "measured time (s)"
}

func (p *Panel) addTrack(line ChartLine, t *Track, unit float64) {
	if t == nil {
		return
	}
	for i, at := range t.AtSeconds {
		line.X, line.Y = append(line.X, at/unit), append(line.Y, t.Samples[i])
	}
	p.Lines = append(p.Lines, line)
}
