package bench

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

func near(got, want, relative float64) bool { return math.Abs(got-want) <= relative*math.Abs(want) }

// The figures of a result follow from the histogram: 1 to 1000 ms once each, over two seconds.
func TestResultFigures(t *testing.T) {
	var w worker
	for ms := range int64(1000) {
		w.record(0, (ms+1)*int64(time.Millisecond))
	}
	h := w.hists[0]
	res := Result{VerifiesPerSecond: 250}
	res.fill(tally{hist: h, errors: map[string]uint64{}, slowest: 1500 * time.Millisecond}, 2*time.Second, 0)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"ops_per_s", res.OpsPerSecond, 500}, {"ops_per_verify", res.OpsPerVerify, 2},
		{"p50", res.P50, 500}, {"p90", res.P90, 900}, {"p99", res.P99, 990}, {"p99.9", res.P999, 999}, {"max", res.Max, 1000},
		{"mean", res.Mean, 500.5}, {"slowest outstanding", res.SlowestOutstanding, 1500},
	} {
		if !near(c.got, c.want, 0.002) { // the histogram has three digits
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
	if res.Ops != 1000 || len(res.Warnings) != 0 {
		t.Errorf("%d operations and warnings %q, want 1000 and none", res.Ops, res.Warnings)
	}
}

// What is out of the bounds of the histogram is counted at its bounds, not lost.
func TestRecordKeepsExtremes(t *testing.T) {
	var w worker
	w.record(0, 0)
	w.record(0, int64(24*time.Hour))
	h := w.hists[0]
	if h.TotalCount() != 2 || h.Min() > 1 || !near(float64(h.Max()), histogramHighest, 0.002) {
		t.Errorf("%d values from %d to %d us, want 2 at the bounds", h.TotalCount(), h.Min(), h.Max())
	}
}

func TestResultWarns(t *testing.T) {
	var res Result
	res.fill(tally{hist: newHistogram(), errors: map[string]uint64{"timeout": 2, "other": 1}, sample: os.ErrDeadlineExceeded}, time.Second, 5)
	res.addViews([]replicaReport{{View: 3}, {View: 2}}, []replicaReport{{View: 3}, {View: 4}})
	text := strings.Join(res.Warnings, "\n")
	for _, want := range []string{"3 operations failed", os.ErrDeadlineExceeded.Error(), "5 operations had no result", "view 3 to 4"} {
		if !strings.Contains(text, want) {
			t.Errorf("the warnings %q do not say %q", text, want)
		}
	}
	if res.OpsPerVerify != 0 || res.P50 != 0 {
		t.Errorf("figures %v and %v of no operation, want 0", res.OpsPerVerify, res.P50)
	}
}

// sampleMeter is a meter that has seen 10 s of a replica and of the load.
func sampleMeter() *meter {
	m := &meter{run: &run{o: &Options{Duration: 10 * time.Second}}, replicas: []replicaReport{{Name: "r0", PID: 7, local: true}, {Name: "far"}}, timeline: []float64{90, 110}}
	second := func(user, system float64) processorTime {
		return processorTime{user: time.Duration(user * float64(time.Second)), system: time.Duration(system * float64(time.Second))}
	}
	before := map[string]float64{"baluarte_operations_executed_total": 100, "baluarte_bundles_executed_total": 1, "baluarte_batches_executed_total": 1}
	after := map[string]float64{"baluarte_operations_executed_total": 1100, "baluarte_bundles_executed_total": 11, "baluarte_batches_executed_total": 6,
		"baluarte_store_commits_total": 10, "baluarte_signatures_made_total": 20, "baluarte_signatures_verified_total": 30, "baluarte_client_signatures_checked_total": 10,
		"baluarte_peer_bytes_received_total": 5000, "baluarte_client_bytes_received_total": 1000, "process_resident_memory_bytes": 64 << 20}
	m.first = sample{own: second(1, 1), ownOK: true, machine: 100 * time.Second, all: true,
		process: make([]processorTime, 2), known: []bool{true, false}, metrics: []map[string]float64{before, nil}}
	m.last = sample{own: second(2, 3), ownOK: true, machine: 110 * time.Second, all: true,
		process: []processorTime{second(4, 1), {}}, known: []bool{true, false}, metrics: []map[string]float64{after, nil}}
	return m
}

func TestResultCosts(t *testing.T) {
	res := Result{Ops: 1_000_000}
	res.addCosts(sampleMeter())
	if len(res.Processes) != 2 || res.Processes[0].Name != "load" || res.Processes[1].Name != "r0" {
		t.Fatalf("processes %+v, want those of the load and the replica on this machine", res.Processes)
	}
	load, r0 := res.Processes[0], res.Processes[1]
	w := r0.Work
	if w == nil || load.Work != nil {
		t.Fatalf("work %v of the replica, %v of the load, want it of the replica alone", w, load.Work)
	}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"load cpu", load.CPUSeconds, 3}, {"load system", load.CPUSystemSeconds, 2}, {"load us/op", load.CPUMicrosPerOp, 3},
		{"replica cpu", r0.CPUSeconds, 5}, {"replica us/op", r0.CPUMicrosPerOp, 5}, {"all us/op", res.CPUMicrosPerOp, 8},
		{"other cores", res.OtherCores, 0.2}, // 10 s of the machine, less 8, over 10 s
		{"ops/bundle", w.OpsPerBundle, 100}, {"ops/batch", w.OpsPerBatch, 200}, {"batches/fsync", w.BatchesPerFsync, 0.5},
		{"fsyncs/op", w.FsyncsPerOp, 0.01}, {"signed/op", w.SignedPerOp, 0.02}, {"verified/op", w.VerifiedPerOp, 0.04},
		{"bytes/op", w.BytesInPerOp, 6}, {"resident", w.ResidentMiB, 64},
	} {
		if !near(c.got, c.want, 1e-9) {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "0.2 cores") {
		t.Errorf("warnings %q, want one of the other processes", res.Warnings)
	}
}

// The names of the JSON are an interface.
func TestResultJSON(t *testing.T) {
	res := Result{Ops: 1, Errors: map[string]uint64{}}
	res.addCosts(sampleMeter())
	data, err := json.Marshal(&res)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ops_per_s", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "verifies_per_s", "ops_per_verify",
		"ops", "errors", "processes", "cpu_us_per_op", "settings", "machine", "warnings", "timeline_ops_per_s"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("the JSON has no %s: %s", name, data)
		}
	}
	settings, _ := fields["settings"].(map[string]any)
	for _, name := range []string{"n", "clients", "depth", "service", "size_bytes", "warmup_s", "duration_s", "bundle_ops", "checkpoint_interval", "crypto", "durability", "placement"} {
		if _, ok := settings[name]; !ok {
			t.Errorf("the settings have no %s: %v", name, settings)
		}
	}
}

func TestTable(t *testing.T) {
	res := Result{OpsPerSecond: 1234567, P50: 1.5, Ops: 10, Errors: map[string]uint64{"timeout": 2, "overloaded": 1}, VerifiesPerSecond: 20000,
		OpsPerVerify: 61.7, Settings: Settings{N: 4, F: 1, Clients: 32, Depth: 128, Service: Counter, Operation: "add", Crypto: "some", FileSystem: "ext4", Durability: "synced"},
		Warnings: []string{"mind this"}}
	res.addCosts(sampleMeter())
	var b strings.Builder
	if err := res.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1,234,567 ops/s", "61.70 for each verification", "p50 1.5", "overloaded 1, timeout 2", "32 clients x 128 outstanding",
		"synced (ext4)", "PROCESS", "r0", "warning: mind this"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, &b)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		v            float64
		group, short string
	}{{0, "0", "0"}, {999, "999", "999"}, {1000, "1,000", "1000"}, {1234567.8, "1,234,568", "1234568"}, {-1234, "-1,234", "-1234"},
		{12.345, "12", "12.3"}, {0.00012, "0", "0.00012"}, {0.0135, "0", "0.0135"}} {
		if got := group(c.v); got != c.group {
			t.Errorf("group(%v) is %q, want %q", c.v, got, c.group)
		}
		if got := short(c.v); got != c.short {
			t.Errorf("short(%v) is %q, want %q", c.v, got, c.short)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	const text = `# HELP baluarte_busy_total Bundles and reads refused for now.
# TYPE baluarte_busy_total counter
baluarte_busy_total 3
baluarte_peer_bytes_received_total{peer="1"} 1000
baluarte_peer_bytes_received_total{peer="2 or so"} 1.5e3 1700000000
go_gc_duration_seconds{quantile="0.5"} NaN
`
	m, err := parseMetrics(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if m["baluarte_busy_total"] != 3 || m["baluarte_peer_bytes_received_total"] != 2500 {
		t.Errorf("read %v, want 3 and the sum over all labels, 2500", m)
	}
	for _, bad := range []string{"x\n", "x y\n", `x{peer="1" 3` + "\n"} {
		if _, err := parseMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestNoWorkWithoutMetrics(t *testing.T) {
	none := map[string]float64{}
	for _, c := range [][2]map[string]float64{{nil, none}, {none, nil}, {none, none}} {
		if w := workBetween(c[0], c[1], &Options{}); w != nil {
			t.Errorf("work %+v out of nothing", w)
		}
	}
}
