package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// tallyOf has these latencies, in milliseconds, of reads and of updates.
func tallyOf(reads, updates []int64) tally {
	w := &worker{}
	for _, ms := range reads {
		w.record(read, ms*int64(time.Millisecond))
	}
	for _, ms := range updates {
		w.record(update, ms*int64(time.Millisecond))
	}
	w.ended = uint64(len(reads) + len(updates))
	l := newLoad(newClock(0, time.Second))
	l.workers = []*worker{w}
	return l.tally()
}

// Names that others read do not change.
func TestResultNames(t *testing.T) {
	data, err := json.Marshal(&Result{})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ops_per_s", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "verifies_per_s", "ops_per_verify", "cpu_us_per_op",
		"offered_ops_per_s", "not_submitted", "unreplicated_ops_per_s", "unreplicated_cpu_us_per_op", "replication_factor", "replication_cpu_factor", "errors", "settings", "machine", "warnings"} {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestResultOfMix(t *testing.T) {
	o := DefaultMix()
	o.Duration = 2 * time.Second
	ta := tallyOf([]int64{1, 1, 1}, []int64{8})
	var res Result
	res.fill(ta, o.Duration, 0)
	res.fillLoad(ta, newLoad(newClock(0, o.Duration)), &o)
	if res.Ops != 4 || res.OpsPerSecond != 2 || res.Reads == nil || res.Reads.Ops != 3 || res.Reads.P99 > 1.01 || res.Updates == nil || res.Updates.Ops != 1 || res.Updates.P50 < 7.9 {
		t.Errorf("%+v with reads %+v and updates %+v, want 3 of 1 ms and one of 8 ms", res, res.Reads, res.Updates)
	}
	if res.OfferedPerSecond != 0 {
		t.Errorf("%v offered in a closed loop, want 0", res.OfferedPerSecond)
	}
	ta = tallyOf([]int64{1}, nil)
	if res.fillLoad(ta, newLoad(newClock(0, o.Duration)), &o); res.Updates != nil {
		t.Errorf("updates %+v of a mix without, want none", res.Updates)
	}
}

// The throughput of an open loop is of what ended within the measured time, its latencies of what began.
func TestResultOfOpenLoop(t *testing.T) {
	o := DefaultOptions()
	o.Rate, o.Duration = 10, 2*time.Second
	ta := tallyOf(nil, []int64{1, 2, 3})
	ta.ended = 4
	l := newOpenLoad(&o, newClock(0, o.Duration))
	l.pacer.offered, l.pacer.missed = 20, 5
	res := Result{VerifiesPerSecond: 4}
	res.fill(ta, o.Duration, 0)
	res.fillLoad(ta, l, &o)
	if res.Ops != 4 || res.OpsPerSecond != 2 || res.OpsPerVerify != 0.5 || res.OfferedPerSecond != 10 || res.NotSubmitted != 5 || res.Max < 2.9 {
		t.Errorf("%+v, want 4 operations of 10 offered a second", res)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "never submitted") {
		t.Errorf("warnings %q, want one of those that were not submitted", res.Warnings)
	}
}

func TestResultTakesReference(t *testing.T) {
	ref := &Result{OpsPerSecond: 300, CPUMicrosPerOp: 2, Ops: 600, Settings: Settings{DurationSeconds: 2}, Warnings: []string{"slow"}}
	res := Result{OpsPerSecond: 100, CPUMicrosPerOp: 8}
	res.takeReference(ref)
	if res.ReplicationFactor != 3 || res.ReplicationCPUFactor != 4 || res.UnreplicatedOpsPerSecond != 300 || res.UnreplicatedCPUMicrosPerOp != 2 || res.Unreplicated.DurationSeconds != 2 {
		t.Errorf("%+v, want a factor of 3", res)
	}
	if len(res.Warnings) != 1 || res.Warnings[0] != "the server without replicas: slow" {
		t.Errorf("warnings %q, want that of the server", res.Warnings)
	}
	open := Result{OpsPerSecond: 100, OfferedPerSecond: 100}
	if open.takeReference(ref); open.ReplicationFactor != 0 || open.ReplicationCPUFactor != 0 {
		t.Errorf("a factor of %v between two loads of the same rate, want none", open.ReplicationFactor)
	}
}

// The table says what kind of load it was.
func TestLoadInTheTable(t *testing.T) {
	open := DefaultOptions()
	open.Rate, open.Seed = 2500, 9
	even := open
	even.Arrivals = ArrivalsEven
	reads := DefaultOptions()
	reads.Service, reads.Size, reads.Read = KV, 16, ReadStale
	writes := reads
	writes.Read = ""
	for want, o := range map[string]Options{
		"32 clients x 128 outstanding, counter add of 0 bytes":                                                            DefaultOptions(),
		"32 clients, 2500 operations/s offered, poisson arrivals of seed 9, counter add of 0 bytes":                       open,
		"32 clients, 2500 operations/s offered, even arrivals, counter add of 0 bytes":                                    even,
		"32 clients x 128 outstanding, kv stale read of 16 bytes, 1000 keys":                                              reads,
		"32 clients x 128 outstanding, kv put of 16 bytes, 1000 keys each":                                                writes,
		"32 clients x 128 outstanding, YCSB mix A (50 % linearizable reads) of 10000 records of 1000 bytes, zipfian 0.99": DefaultMix(),
	} {
		s := Settings{Clients: o.Clients, Depth: o.Depth, Service: o.Service, Operation: o.operation(), SizeBytes: o.Size}
		s.describeLoad(&o)
		if got := s.loadText(); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	res := Result{OfferedPerSecond: 2500, NotSubmitted: 3, Reads: &Part{Ops: 7}, Updates: &Part{Ops: 8}, Errors: map[string]uint64{}}
	res.takeReference(&Result{OpsPerSecond: 1234})
	var b bytes.Buffer
	if err := res.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nreads ", "(7 operations)", "\nupdates ", "(8 operations)", "2,500 ops/s, of which 3 were never submitted", "\nreplication ", "1,234 ops/s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table does not have %q:\n%s", want, b.String())
		}
	}
}
