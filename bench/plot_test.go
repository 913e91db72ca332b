package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// syntheticResult is one measurement with these figures.
func syntheticResult(n, clients, depth int, opsPerSecond, p50 float64) *Result {
	return &Result{Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), OpsPerSecond: opsPerSecond, P50: p50, P90: 1.5 * p50, P99: 2 * p50, P999: 3 * p50, Max: 4 * p50, Mean: 1.1 * p50,
		VerifiesPerSecond: 10_000, OpsPerVerify: opsPerSecond / 10_000, Ops: uint64(10 * opsPerSecond), Errors: map[string]uint64{}, CPUMicrosPerOp: 2e6 / opsPerSecond,
		Timeline: []float64{opsPerSecond * 0.9, opsPerSecond, opsPerSecond * 1.1, opsPerSecond},
		Settings: Settings{N: n, F: (n - 1) / 3, Clients: clients, Depth: depth, Service: KV, Operation: "put", SizeBytes: 16, KeysPerClient: 100,
			WarmupSeconds: 2, DurationSeconds: 10, BundleOps: 128, BatchOps: 1024, CheckpointInterval: 256, Window: 512, Pipeline: 8, RequestTimeoutMS: 1000,
			Crypto: "Ed25519", Durability: "synced", Accepted: "on 2 equal replies", Placement: "4 processes on this machine", FileSystem: "ext4", Version: "v1"},
		Machine: Machine{Processor: "A Processor", Cores: 2, GoMaxProcs: 2, OS: "linux/amd64", Kernel: "6", Go: "go1", LoadGCPercent: 400}}
}

// syntheticUsage adds a track of memory and disk of two processes.
func syntheticUsage(r *Result) *Result {
	r.Settings.DurationSeconds = 1800
	for i, name := range []string{loadName, "r0"} {
		memory := trackOf(1800, func(at float64) float64 { return 60*float64(i+1) + math.Mod(at, 37)/4 })
		u := Usage{Name: name, ResidentMiB: memory}
		if name != loadName {
			u.DiskMiB = trackOf(1800, func(at float64) float64 { return 100 + math.Mod(at, 200) })
		}
		r.Usage = append(r.Usage, u)
	}
	return r
}

// plotCases are results with the texts and colours that their pictures must have.
var plotCases = []struct {
	kind    string
	sources []PlotSource
	texts   []string
	colors  int // of the palette, from its beginning
}{
	{PlotLatency, []PlotSource{{"before", []*Result{syntheticResult(4, 1, 1, 900, 1), syntheticResult(4, 8, 1, 5000, 1.6), syntheticResult(4, 8, 1, 5200, 1.7),
		syntheticResult(4, 64, 1, 20000, 3.1)}}, {"after", []*Result{syntheticResult(4, 1, 1, 1000, 0.9), syntheticResult(4, 64, 1, 40000, 1.5)}}},
		[]string{"Latency against throughput", "throughput (operations/s)", "latency (ms)", "before, p50", "before, p99", "after, p99", "64 clients", "n = 4", "20,000"}, 2},
	{PlotTime, []PlotSource{{"x", []*Result{syntheticResult(4, 8, 4, 9000, 2)}}}, []string{"Throughput over time", "measured time (s)", "depth 4", "checkpoint each 256"}, 1},
	{PlotNodes, []PlotSource{{"x", []*Result{syntheticResult(4, 32, 128, 130000, 20), syntheticResult(7, 32, 128, 80000, 30), syntheticResult(13, 32, 128, 38000, 60)}}},
		[]string{"measured", "as the work of n replicas grows", "as n² does", "processor time (us/operation)", "13", "replicas (n), all on the same cores"}, 1},
	{PlotUsage, []PlotSource{{"x", []*Result{syntheticUsage(syntheticResult(4, 8, 4, 9000, 2))}}},
		[]string{"resident memory (MiB)", "disk (MiB)", "measured time (minutes)", loadName, "r0"}, 2},
}

func TestPlotsSVG(t *testing.T) {
	for _, c := range plotCases {
		var b bytes.Buffer
		if err := WritePlot(&b, c.kind, SVG, c.sources); err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		texts, paths := readSVG(t, b.String())
		for _, want := range c.texts {
			if !strings.Contains(texts, want) {
				t.Errorf("the %s plot does not say %q, but:\n%s", c.kind, want, texts)
			}
		}
		for i := range c.colors {
			want := palette[i]
			if !strings.Contains(strings.ToLower(paths), strings.ToLower(hex(want.R, want.G, want.B))) {
				t.Errorf("the %s plot has no line of colour %d", c.kind, i)
			}
		}
	}
}

func hex(r, g, b uint8) string {
	const digits = "0123456789ABCDEF"
	out := "#"
	for _, v := range []uint8{r, g, b} {
		out += string(digits[v>>4]) + string(digits[v&15])
	}
	return out
}

// readSVG reads the texts and the styles of paths.
func readSVG(t *testing.T, svg string) (texts, paths string) {
	t.Helper()
	root := false
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no SVG: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			root = root || x.Name.Local == "svg"
			for _, a := range x.Attr {
				if x.Name.Local == "path" && a.Name.Local == "style" {
					paths += a.Value + "\n"
				}
			}
		case xml.CharData:
			texts += string(x) + "\n"
		}
	}
	if !root {
		t.Fatal("it has no svg element")
	}
	return texts, paths
}

func TestPlotsPNG(t *testing.T) {
	for _, c := range plotCases {
		var b bytes.Buffer
		if err := WritePlot(&b, c.kind, PNG, c.sources); err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		picture, err := png.Decode(&b)
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		for i := range c.colors {
			if n := pixels(picture, i); n < 100 {
				t.Errorf("the %s plot has %d pixels of colour %d, want a line", c.kind, n, i)
			}
		}
	}
}

// pixels counts those of one colour of the palette.
func pixels(picture image.Image, color int) (n int) {
	wr, wg, wb, _ := palette[color].RGBA()
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			if r, g, b, _ := picture.At(x, y).RGBA(); r == wr && g == wg && b == wb {
				n++
			}
		}
	}
	return n
}

func TestPlotRefuses(t *testing.T) {
	some := plotCases[1].sources
	for name, c := range map[string]struct {
		kind, format string
		sources      []PlotSource
		want         string
	}{
		"nothing":       {PlotTime, SVG, nil, "no result"},
		"kind":          {"pie", SVG, some, "choose one of"},
		"format":        {PlotTime, "gif", some, "choose svg or png"},
		"without usage": {PlotUsage, SVG, some, "nothing to draw of resident memory"},
	} {
		var b bytes.Buffer
		if err := WritePlot(&b, c.kind, c.format, c.sources); err == nil || !strings.Contains(err.Error(), c.want) || b.Len() != 0 {
			t.Errorf("%s: it says %v and writes %d bytes, want %q and none", name, err, b.Len(), c.want)
		}
	}
	bad := Chart{Panels: []Panel{{Lines: []ChartLine{{Name: "l", X: []float64{1}, Y: []float64{1, 2}}}}}}
	if err := bad.Write(io.Discard, SVG); err == nil || !strings.Contains(err.Error(), `line "l"`) {
		t.Errorf("a line of 2 values at 1 position: %v, want an error that names it", err)
	}
}

// Values that cannot be drawn are left out, also zeros on a logarithmic axis, and marks and single points are drawn.
func TestChartOfOddValues(t *testing.T) {
	c := Chart{Title: "odd", Panels: []Panel{{X: ChartAxis{Label: "x"}, Y: ChartAxis{Label: "y", Log: true}, Marks: []ChartMark{{2, "killed"}},
		Lines: []ChartLine{{Name: "a", X: []float64{1, 2, 3, 4}, Y: []float64{0, math.NaN(), math.Inf(1), 7}}, {Name: "b", X: []float64{0, 5}, Y: []float64{0.001, 1e6}, Color: -3}}}}}
	var b bytes.Buffer
	if err := c.Write(&b, SVG); err != nil {
		t.Fatal(err)
	}
	texts, _ := readSVG(t, b.String())
	for _, want := range []string{"killed", "\na\n", "\nb\n", "1,000,000", "0.001"} {
		if !strings.Contains(texts, want) {
			t.Errorf("the picture does not say %q, but %q", want, texts)
		}
	}
	if strings.Contains(b.String(), "NaN") {
		t.Error("the picture has a NaN")
	}
}

func TestGuessPlot(t *testing.T) {
	for i, want := range []string{PlotLatency, PlotTime, PlotNodes} {
		if got := GuessPlot(plotCases[i].sources); got != want {
			t.Errorf("it chooses %s for %s", got, want)
		}
	}
	repeated := []PlotSource{{"x", []*Result{syntheticResult(4, 1, 1, 10, 1), syntheticResult(4, 1, 1, 11, 1)}}}
	if got := GuessPlot(repeated); got != PlotTime {
		t.Errorf("it chooses %s for repeated measurements of one load, want %s", got, PlotTime)
	}
}

// The curves beside the measured line begin at its first point.
func TestPowerCurve(t *testing.T) {
	for power, want := range map[float64]float64{-1: 250, -2: 62.5, 1: 4000} {
		l := powerCurve(&ChartLine{X: []float64{4, 8, 16}, Y: []float64{1000, 1, 1}}, "c", Dashed, power)
		last := len(l.X) - 1
		if l.X[0] != 4 || l.Y[0] != 1000 || l.X[last] != 16 || math.Abs(l.Y[last]-want) > 1e-9 {
			t.Errorf("to the power of %v it goes from (%v, %v) to (%v, %v), want (4, 1000) to (16, %v)", power, l.X[0], l.Y[0], l.X[last], l.Y[last], want)
		}
	}
}
