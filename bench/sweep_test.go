package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fakeSweep measures nothing, and notes what it was asked to.
func fakeSweep(t *testing.T, repeat int, axes ...string) (*Sweep, *[]string) {
	t.Helper()
	s := &Sweep{Base: DefaultOptions(), Repeat: repeat}
	for _, text := range axes {
		a, err := ParseAxis(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Axes = append(s.Axes, a)
	}
	asked := new([]string)
	s.measure = func(_ context.Context, o Options) (*Result, error) {
		*asked = append(*asked, fmt.Sprintf("%s %d %dx%d n%d r%g", o.Service, o.Size, o.Clients, o.Depth, o.Nodes, o.Rate))
		if o.Progress != nil {
			o.Progress(Progress{Phase: "measuring"})
		}
		return syntheticResult(o.Nodes, o.Clients, o.Depth, 1000, 1), nil
	}
	return s, asked
}

func TestSweepOrder(t *testing.T) {
	for name, c := range map[string]struct {
		repeat int
		axes   []string
		want   []string
	}{
		"none, repeated": {2, nil, []string{"counter 0 32x128 n4 r0", "counter 0 32x128 n4 r0"}},
		"one, repeated": {2, []string{"n=4,7"}, []string{"counter 0 32x128 n4 r0", "counter 0 32x128 n7 r0",
			"counter 0 32x128 n4 r0", "counter 0 32x128 n7 r0"}},
		"two": {1, []string{"clients=1,2", "depth=3,4"}, []string{"counter 0 1x3 n4 r0", "counter 0 1x4 n4 r0", "counter 0 2x3 n4 r0", "counter 0 2x4 n4 r0"}},
		// The counter has no size, whatever that of the others is.
		"services": {1, []string{"size=16", "service=kv,counter"}, []string{"kv 16 32x128 n4 r0", "counter 0 32x128 n4 r0"}},
		"rates":    {1, []string{"rate=10,1e3"}, []string{"counter 0 32x128 n4 r10", "counter 0 32x128 n4 r1000"}},
	} {
		s, asked := fakeSweep(t, c.repeat, c.axes...)
		var phases []string
		s.Base.Progress = func(p Progress) { phases = append(phases, p.Phase) }
		done := 0
		s.Done = func(*Result) { done++ }
		results, err := s.Run(t.Context())
		if err != nil || !slices.Equal(*asked, c.want) || len(results) != len(c.want) || done != len(c.want) {
			t.Errorf("%s: measured %q with %d results, %d done, %v, want %q", name, *asked, len(results), done, err, c.want)
		}
		if last := fmt.Sprintf("%d of %[1]d: measuring", len(c.want)); phases[len(phases)-1] != last {
			t.Errorf("%s: the last phase is %q, want %q", name, phases[len(phases)-1], last)
		}
	}
}

// What a sweep has found is kept when it is interrupted.
func TestSweepEndsWithItsContext(t *testing.T) {
	s, asked := fakeSweep(t, 1, "clients=1,2,3,4")
	ctx, cancel := context.WithCancel(t.Context())
	inner := s.measure
	s.measure = func(ctx context.Context, o Options) (*Result, error) {
		if o.Clients == 3 {
			cancel()
			return nil, ctx.Err()
		}
		return inner(ctx, o)
	}
	results, err := s.Run(ctx)
	if len(results) != 2 || len(*asked) != 2 || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 of 4") {
		t.Errorf("%d results and %v, want 2 and that it was cancelled after them", len(results), err)
	}
}

// One failure does not end a sweep; the first measurement of all, and three in a row, do.
func TestSweepFailures(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		failing       []int // clients of those that fail
		results, left int
	}{
		"one":          {[]int{2}, 4, 0},
		"the first":    {[]int{1}, 0, 4},
		"three in row": {[]int{2, 3, 4}, 1, 1},
		"some":         {[]int{2, 3, 5}, 2, 0},
	} {
		s, _ := fakeSweep(t, 1, "clients=1,2,3,4,5")
		inner, tried := s.measure, 0
		s.measure = func(ctx context.Context, o Options) (*Result, error) {
			tried++
			if slices.Contains(c.failing, o.Clients) {
				return nil, broken
			}
			return inner(ctx, o)
		}
		results, err := s.Run(t.Context())
		if len(results) != c.results || tried != 5-c.left || !errors.Is(err, broken) || !strings.Contains(err.Error(), fmt.Sprintf("measurement %d of 5", c.failing[0])) {
			t.Errorf("%s: %d results of %d tried, %v, want %d of %d and which failed", name, len(results), tried, err, c.results, 5-c.left)
		}
	}
	// A single measurement fails with its own error.
	s, _ := fakeSweep(t, 1)
	s.measure = func(context.Context, Options) (*Result, error) { return nil, broken }
	if _, err := s.Run(t.Context()); err != broken {
		t.Errorf("it fails with %v, want %v as it is", err, broken)
	}
}

func TestSweepRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"clients":        "NAME=VALUE",
		"=1":             "NAME=VALUE",
		"clients=":       "NAME=VALUE",
		"clients=1,,2":   "once",
		"clients=1,1":    "once",
		"clients=some":   "not a number",
		"rate=fast":      "not a number",
		"colour=1":       "clients, depth",
		"service=kv,kv ": "", // read, and refused as a service below
	} {
		if _, err := ParseAxis(text); want != "" && (err == nil || !strings.Contains(err.Error(), want)) || want == "" && err != nil {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for name, c := range map[string]struct {
		repeat int
		dir    string
		axes   []string
		want   string
	}{
		"three axes":    {1, "", []string{"clients=1", "depth=1", "n=4"}, "at most 2"},
		"twice":         {1, "", []string{"n=4", "n=7"}, "twice"},
		"both loops":    {1, "", []string{"rate=5", "depth=7"}, "vary one"},
		"no repetition": {0, "", nil, "repetitions"},
		"too many":      {400, "", []string{"clients=1,2,3"}, "more than 1000"},
		"bad value":     {1, "", []string{"n=4,3"}, "3 nodes"},
		"bad service":   {1, "", []string{"service=kv,kv "}, `"kv "`},
		"n of running":  {1, "x", []string{"n=4,7"}, "running cluster"},
	} {
		s, asked := fakeSweep(t, c.repeat, c.axes...)
		s.Base.Dir = c.dir
		if results, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || results != nil || len(*asked) != 0 {
			t.Errorf("%s: %v after %q, want %q before anything is measured", name, err, *asked, c.want)
		}
	}
}
