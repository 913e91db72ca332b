package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s\n(-rewrite writes it, to be compared)", path, got, want)
	}
}

// tableResult is a measurement with everything that a table can show.
func tableResult() *Result {
	r := syntheticUsage(syntheticResult(4, 32, 128, 123456, 33.2))
	slope := 0.25
	r.Usage[1].ResidentMiB.PerMinute = &slope
	work := &Work{OpsPerBundle: 128, OpsPerBatch: 1000, SignedPerOp: 0.0015, VerifiedPerOp: 0.012, FsyncsPerOp: 0.001, BytesInPerOp: 40, BytesOutPerOp: 12.5,
		MessagesInPerOp: 0.013, MessagesOutPerOp: 0.014, BatchesPerFsync: 0.7, GCPerSecond: 1.5}
	r.Processes = []Process{{Name: loadName, PID: 1, CPUSeconds: 4, CPUSystemSeconds: 1, CPUMicrosPerOp: 3.2},
		{Name: "r0", PID: 2, CPUSeconds: 3, CPUSystemSeconds: 0.5, CPUMicrosPerOp: 2.5, Work: work}, {Name: "r1", PID: 3, CPUSeconds: 2, CPUMicrosPerOp: 1.5}}
	r.Errors, r.Warnings = map[string]uint64{"timeout": 2}, []string{"mind this"}
	return r
}

func TestTablesAreGolden(t *testing.T) {
	comparison, err := Compare(repeatedOf(1000, 1010, 990), repeatedOf(1200, 1190, 1210))
	if err != nil {
		t.Fatal(err)
	}
	open := syntheticResult(4, 32, 0, 5000, 1.25)
	open.Settings.Rate, open.Settings.Arrivals = 5000, ArrivalsEven
	for name, write := range map[string]func(*strings.Builder) error{
		"result.txt":  func(b *strings.Builder) error { return tableResult().WriteTable(b) },
		"repeat.txt":  func(b *strings.Builder) error { return Summarize(repeatedOf(100_000, 101_000, 99_500)).WriteTable(b) },
		"sweep.txt":   func(b *strings.Builder) error { return WriteSweep(b, []*Result{tableResult(), open}) },
		"compare.txt": func(b *strings.Builder) error { return comparison.WriteTable(b) },
		"results.csv": func(b *strings.Builder) error { return WriteCSV(b, []*Result{tableResult(), open}) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

// Each line of a CSV has a cell for each column, and texts with commas stay in one.
func TestCSV(t *testing.T) {
	r := tableResult()
	r.Warnings = []string{`a "word", and more`, "second\nline"}
	var b strings.Builder
	if err := WriteCSV(&b, []*Result{r, syntheticResult(7, 1, 1, 10, 2)}); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(lines) != 3 {
		t.Fatalf("%d lines, %v, want 3", len(lines), err)
	}
	for name, want := range map[string][2]string{
		"n": {"4", "7"}, "ops_per_s": {"123456", "10"}, "replica_cpu_us_per_op": {"2", ""}, "replica_signed_per_op": {"0.0015", ""},
		"load_cpu_us_per_op": {"3.2", ""}, "replica_rss_highest_mib": {"129", ""}, "replica_disk_highest_mib": {"299", ""}, "warnings": {"a \"word\", and more; second\nline", ""}, "started": {"2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"},
	} {
		at := slices.Index(lines[0], name)
		if at < 0 || lines[1][at] != want[0] || lines[2][at] != want[1] {
			t.Errorf("column %s is number %d with %q and %q, want %q", name, at, lines[1][max(at, 0)], lines[2][max(at, 0)], want)
		}
	}
}

// By hand: the mean of 10, 12 and 14 is 12 with a standard error of 2/sqrt(3), and t of 2 degrees is 4.30265.
func TestEstimate(t *testing.T) {
	e := estimate([]float64{10, 12, 14})
	if half := 4.30265 * 2 / math.Sqrt(3); e.N != 3 || e.Mean != 12 || math.Abs(e.High-12-half) > 1e-4 || math.Abs(12-e.Low-half) > 1e-4 {
		t.Errorf("%+v, want 12 and %v to each side", e, half)
	}
	if e := estimate([]float64{7}); e != (Estimate{Mean: 7, Low: 7, High: 7, N: 1}) {
		t.Errorf("one value: %+v, want it alone", e)
	}
	if e := estimate(nil); e != (Estimate{}) {
		t.Errorf("no value: %+v", e)
	}
}

// All forms that are printed are read again, also after each other.
func TestReadResults(t *testing.T) {
	results := repeatedOf(1000, 1010, 990)
	forms := map[string]any{"one": results[0], "array": results, "repeated": Summarize(results)}
	var all bytes.Buffer
	for name, v := range forms {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(append(data, '\n'))
		got, err := ReadResults(bytes.NewReader(data))
		if want := map[string]int{"one": 1}[name]; err != nil || len(got) != want && (want != 0 || len(got) != 3) {
			t.Errorf("%s: %d results, %v", name, len(got), err)
			continue
		}
		if got[0].OpsPerSecond != 1000 || got[0].Settings != results[0].Settings || got[0].Machine != results[0].Machine {
			t.Errorf("%s: read %+v, want what was written", name, got[0])
		}
	}
	if got, err := ReadResults(&all); err != nil || len(got) != 7 {
		t.Errorf("all after each other: %d results, %v, want 7", len(got), err)
	}
	rep := Summarize(results)
	if rep.OpsPerSecond != 1000 || rep.Summary["ops_per_s"].N != 3 || rep.P99 <= rep.P50 || rep.UnreplicatedOpsPerSecond != 0 {
		t.Errorf("the summary is %+v, want the means of three", rep)
	}
}

func TestReadResultsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "holds no result",
		"[]":                                  "holds no result",
		"[null]":                              "null",
		`{"measurements": []}`:                "holds no result",
		"throughput 5":                        "no results of bftbench",
		`{"ops_per_s": 5}`:                    "no settings",
		`[{"settings":{"n":4}}]`:              "no settings",
		`{"settings":{"n":4,"duration_s":1}}`: "no throughput",
		`{"settings":{"n":"four"}}`:           "no results of bftbench",
		`[{"ops_per_s": 5}`:                   "no results of bftbench",
		`7`:                                   "no results of bftbench",
	} {
		if got, err := ReadResults(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: read %v, %v, want an error with %q", text, got, err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadResultFile(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: %v, want an error that names it", err)
	}
	if _, err := ReadResultFile(path + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}

// A log of histograms is read by the library's own reader, in nanoseconds.
func TestWriteHistograms(t *testing.T) {
	res := tableResult()
	var w worker
	for _, ns := range []int64{1_000, 250_000, 250_000, 1_500_000_000} {
		w.record(0, ns)
	}
	res.hist = w.hists[0]
	var b bytes.Buffer
	if err := WriteHistograms(&b, []*Result{res, res}); err != nil {
		t.Fatal(err)
	}
	reader := hdrhistogram.NewHistogramLogReader(&b)
	for i := range 2 {
		h, err := reader.NextIntervalHistogram()
		if err != nil || h == nil {
			t.Fatalf("interval %d: %v, %v", i, h, err)
		}
		if h.TotalCount() != 4 || !near(float64(h.ValueAtQuantile(50)), 250_000, 0.002) || !near(float64(h.Max()), 1.5e9, 0.002) || h.Min() > 1_100 {
			t.Errorf("interval %d has %d values, median %d, from %d to %d ns", i, h.TotalCount(), h.ValueAtQuantile(50), h.Min(), h.Max())
		}
	}
	if err := WriteHistograms(&b, []*Result{tableResult()}); err == nil {
		t.Error("a result without histogram was written")
	}
}
