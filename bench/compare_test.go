package bench

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// repeatedOf are measurements of one load with these throughputs, and latencies that go with them.
func repeatedOf(throughputs ...float64) []*Result {
	var results []*Result
	for _, v := range throughputs {
		results = append(results, syntheticResult(4, 32, 128, v, 4096*1000/v))
	}
	return results
}

func TestCompareVerdicts(t *testing.T) {
	base := []float64{1000, 1010, 990, 1005, 995}
	for name, c := range map[string]struct {
		a, b    []float64
		verdict string
		why     string
	}{
		"equal":             {base, []float64{1002, 1008, 991, 1004, 996}, NotTold, "not told apart: throughput"},
		"the same":          {base, base, NotTold, "throughput +0.0 %"},
		"faster":            {base, []float64{1100, 1110, 1090, 1105, 1095}, Faster, "B is faster than A: throughput +10.0 %"},
		"slower":            {base, []float64{900, 910, 890, 905, 895}, Slower, "B is slower than A: throughput -10.0 %"},
		"varies too much":   {[]float64{500, 1500, 1000}, []float64{600, 1600, 1100}, NotTold, "not told apart: throughput"},
		"one measurement":   {base, []float64{2000}, NotTold, "one measurement of a set says nothing"},
		"nothing varies":    {[]float64{1000, 1000}, []float64{1001, 1001}, Faster, "+0.1 %"},
		"unequal variances": {[]float64{1000, 1000.1, 999.9}, []float64{1500, 2500, 3500}, NotTold, "not told apart"},
	} {
		got, err := Compare(repeatedOf(c.a...), repeatedOf(c.b...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Verdict != c.verdict || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %q, %q, want %q with %q", name, got.Verdict, got.Why, c.verdict, c.why)
		}
		few := strings.Contains(strings.Join(got.Warnings, "\n"), "at least 3 of each")
		if want := min(len(c.a), len(c.b)) < 3; few != want {
			t.Errorf("%s: it warns %q, want that there are too few measurements: %v", name, got.Warnings, want)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Less latency and less processor time are faster, although the figure falls.
func TestCompareLatencies(t *testing.T) {
	c, err := Compare(repeatedOf(1000, 1010, 990), repeatedOf(2000, 2020, 1980))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range c.Differences {
		names[d.Name] = true
		if d.Verdict != Faster || (d.Percent > 0) != strings.HasPrefix(d.Name, "ops") || d.Low == nil || *d.Low > d.Percent || *d.High < d.Percent {
			t.Errorf("%s of twice the speed: %+v, want it faster, within its interval", d.Name, d)
		}
	}
	for _, name := range []string{"ops_per_s", "ops_per_verify", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "cpu_us_per_op"} {
		if !names[name] {
			t.Errorf("nothing is said of %s", name)
		}
	}
	if names["unreplicated_ops_per_s"] {
		t.Error("it compares what was not measured")
	}
}

// The interval is Welch's. By hand: the variances are 1 of 3 values and 4 of 5 values, so the standard error is
// sqrt(1/3 + 4/5).
func TestWelch(t *testing.T) {
	half, ok := welch([]float64{-1, 0, 1}, []float64{-1, -1, 1, 3, 3})
	degrees := math.Pow(1.0/3+4.0/5, 2) / (1.0/9/2 + 16.0/25/4)
	if want := quantileT(degrees) * math.Sqrt(1.0/3+4.0/5); !ok || math.Abs(half-want) > 1e-9 {
		t.Errorf("it extends to %v (%v), want %v", half, ok, want)
	}
	if math.Abs(quantileT(4)-2.776445) > 1e-5 {
		t.Errorf("t of 4 degrees is %v, want 2.776445", quantileT(4))
	}
}

// Where operations are offered at a rate, the throughput says nothing, and the median decides.
func TestCompareOfferedRate(t *testing.T) {
	sets := [2][]*Result{repeatedOf(1000, 1010, 990), repeatedOf(2000, 2020, 1980)}
	for _, set := range sets {
		for _, r := range set {
			r.Settings.Rate, r.OpsPerSecond = 500, 500
		}
	}
	c, err := Compare(sets[0], sets[1])
	if err != nil {
		t.Fatal(err)
	}
	if c.Verdict != Faster || !strings.Contains(c.Why, "latency p50") {
		t.Errorf("%q: %q, want it faster by the median", c.Verdict, c.Why)
	}
}

// What else differs is named: within one set it is an error, between them a warning; versions are what is compared.
func TestCompareConditions(t *testing.T) {
	a, b := repeatedOf(1000, 1010, 990), repeatedOf(1000, 1010, 990)
	for _, r := range b {
		r.Settings.Depth, r.Settings.Version, r.Machine.Cores = 64, "v2", 8
		r.Warnings = []string{"busy"}
	}
	c, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.SettingsDiffer) != 1 || c.SettingsDiffer[0] != "depth: 128 | 64" || len(c.MachineDiffers) != 1 || c.MachineDiffers[0] != "cores: 2 | 8" {
		t.Errorf("settings %q and machines %q differ, want the depth and the cores", c.SettingsDiffer, c.MachineDiffers)
	}
	text := strings.Join(c.Warnings, "\n")
	for _, want := range []string{"depth: 128 | 64", "cores: 2 | 8", "3 of 3 measurements of B"} {
		if !strings.Contains(text, want) {
			t.Errorf("the warnings %q do not say %q", text, want)
		}
	}
	var table strings.Builder
	if err := c.WriteTable(&table); err != nil || !strings.Contains(table.String(), "A is version v1, B v2.") {
		t.Errorf("the table (%v) does not say the versions:\n%s", err, &table)
	}
	if _, err := Compare(a, append(repeatedOf(1), b...)); err == nil || !strings.Contains(err.Error(), "file B") || !strings.Contains(err.Error(), "depth: 128 | 64") {
		t.Errorf("a set of two loads: %v, want an error that names what differs", err)
	}
	if _, err := Compare(nil, b); err == nil {
		t.Error("nothing was compared")
	}
}
