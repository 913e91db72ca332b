package bench

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// csvColumns are the header and the cells of a CSV of results. New columns are added at the end only.
var csvColumns = []struct {
	name string
	cell func(*Result) string
}{
	{"started", func(r *Result) string { return r.Started.UTC().Format(time.RFC3339) }},
	{"version", func(r *Result) string { return r.Settings.Version }},
	{"n", func(r *Result) string { return strconv.Itoa(r.Settings.N) }},
	{"f", func(r *Result) string { return strconv.Itoa(r.Settings.F) }},
	{"service", func(r *Result) string { return r.Settings.Service }},
	{"operation", func(r *Result) string { return r.Settings.Operation }},
	{"size_bytes", func(r *Result) string { return strconv.Itoa(r.Settings.SizeBytes) }},
	{"clients", func(r *Result) string { return strconv.Itoa(r.Settings.Clients) }},
	{"depth", func(r *Result) string { return strconv.Itoa(r.Settings.Depth) }},
	{"rate_ops_per_s", func(r *Result) string { return cellOf(r.Settings.Rate) }},
	{"mix", func(r *Result) string { return r.Settings.Mix }},
	{"reads", func(r *Result) string { return r.Settings.Reads }},
	{"bundle_ops", func(r *Result) string { return strconv.Itoa(r.Settings.BundleOps) }},
	{"batch_ops", func(r *Result) string { return strconv.Itoa(r.Settings.BatchOps) }},
	{"checkpoint_interval", func(r *Result) string { return strconv.FormatUint(r.Settings.CheckpointInterval, 10) }},
	{"warmup_s", func(r *Result) string { return cellOf(r.Settings.WarmupSeconds) }},
	{"duration_s", func(r *Result) string { return cellOf(r.Settings.DurationSeconds) }},
	{"ops", func(r *Result) string { return strconv.FormatUint(r.Ops, 10) }},
	{"ops_per_s", func(r *Result) string { return cellOf(r.OpsPerSecond) }},
	{"p50_ms", func(r *Result) string { return cellOf(r.P50) }},
	{"p90_ms", func(r *Result) string { return cellOf(r.P90) }},
	{"p99_ms", func(r *Result) string { return cellOf(r.P99) }},
	{"p999_ms", func(r *Result) string { return cellOf(r.P999) }},
	{"max_ms", func(r *Result) string { return cellOf(r.Max) }},
	{"mean_ms", func(r *Result) string { return cellOf(r.Mean) }},
	{"verifies_per_s", func(r *Result) string { return cellOf(r.VerifiesPerSecond) }},
	{"ops_per_verify", func(r *Result) string { return cellOf(r.OpsPerVerify) }},
	{"offered_ops_per_s", func(r *Result) string { return cellOf(r.OfferedPerSecond) }},
	{"not_submitted", func(r *Result) string { return strconv.FormatUint(r.NotSubmitted, 10) }},
	{"unreplicated_ops_per_s", func(r *Result) string { return cellOf(r.UnreplicatedOpsPerSecond) }},
	{"unreplicated_cpu_us_per_op", func(r *Result) string { return cellOf(r.UnreplicatedCPUMicrosPerOp) }},
	{"replication_factor", func(r *Result) string { return cellOf(r.ReplicationFactor) }},
	{"errors", func(r *Result) string { return strconv.FormatUint(r.ErrorCount(), 10) }},
	{"unanswered", func(r *Result) string { return strconv.Itoa(r.Unanswered) }},
	{"cpu_us_per_op", func(r *Result) string { return cellOf(r.CPUMicrosPerOp) }},
	{"load_cpu_us_per_op", func(r *Result) string { return meanCell(r.loadProcesses(), cpuOf) }},
	{"replica_cpu_us_per_op", func(r *Result) string { return meanCell(r.replicaProcesses(), cpuOf) }},
	{"replica_signed_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.SignedPerOp }) }},
	{"replica_verified_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.VerifiedPerOp }) }},
	{"replica_fsyncs_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.FsyncsPerOp }) }},
	{"replica_bytes_in_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.BytesInPerOp }) }},
	{"replica_bytes_out_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.BytesOutPerOp }) }},
	{"replica_messages_in_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.MessagesInPerOp }) }},
	{"replica_messages_out_per_op", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.MessagesOutPerOp }) }},
	{"replica_ops_per_bundle", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.OpsPerBundle }) }},
	{"replica_ops_per_batch", func(r *Result) string { return workCell(r, func(w *Work) float64 { return w.OpsPerBatch }) }},
	{"replica_rss_highest_mib", func(r *Result) string { return usageCell(r, func(u *Usage) *Track { return u.ResidentMiB }) }},
	{"replica_disk_highest_mib", func(r *Result) string { return usageCell(r, func(u *Usage) *Track { return u.DiskMiB }) }},
	{"other_cores", func(r *Result) string { return cellOf(r.OtherCores) }},
	{"views_changed", func(r *Result) string { return strconv.FormatUint(r.ViewTo-r.ViewFrom, 10) }},
	{"crypto", func(r *Result) string { return r.Settings.Crypto }},
	{"durability", func(r *Result) string { return r.Settings.Durability }},
	{"placement", func(r *Result) string { return r.Settings.Placement }},
	{"file_system", func(r *Result) string { return r.Settings.FileSystem }},
	{"processor", func(r *Result) string { return r.Machine.Processor }},
	{"cores", func(r *Result) string { return strconv.Itoa(r.Machine.Cores) }},
	{"go", func(r *Result) string { return r.Machine.Go }},
	{"warnings", func(r *Result) string { return strings.Join(r.Warnings, "; ") }},
}

// WriteCSV writes a header and one line for each result. Figures of replicas are means over those of this
// machine, or the highest of them where the name says so; a cell is empty where nothing is known. The columns keep
// their names and their order from version to version, and new ones come after them.
func WriteCSV(w io.Writer, results []*Result) error {
	c := csv.NewWriter(w)
	row := make([]string, len(csvColumns))
	for i := range csvColumns {
		row[i] = csvColumns[i].name
	}
	if err := c.Write(row); err != nil {
		return err
	}
	for _, r := range results {
		for i := range csvColumns {
			row[i] = csvColumns[i].cell(r)
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// cellOf writes a number as programs read it, with six digits.
func cellOf(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// loadName is the name of the load process among those of a result.
const loadName = "load"

func (res *Result) loadProcesses() []Process { return res.processes(true) }

func (res *Result) replicaProcesses() []Process { return res.processes(false) }

func (res *Result) processes(load bool) []Process {
	var some []Process
	for _, p := range res.Processes {
		if (p.Name == loadName) == load {
			some = append(some, p)
		}
	}
	return some
}

func cpuOf(p *Process) (float64, bool) { return p.CPUMicrosPerOp, true }

func workCell(r *Result, of func(*Work) float64) string {
	return meanCell(r.replicaProcesses(), func(p *Process) (float64, bool) {
		if p.Work == nil {
			return 0, false
		}
		return of(p.Work), true
	})
}

// usageCell is the highest of all replicas.
func usageCell(r *Result, of func(*Usage) *Track) string {
	highest, known := 0.0, false
	for i := range r.Usage {
		if u := &r.Usage[i]; u.Name != loadName && of(u) != nil {
			highest, known = max(highest, of(u).Highest), true
		}
	}
	if !known {
		return ""
	}
	return cellOf(highest)
}

func meanCell(processes []Process, of func(*Process) (float64, bool)) string {
	sum, n := 0.0, 0
	for i := range processes {
		if v, ok := of(&processes[i]); ok {
			sum, n = sum+v, n+1
		}
	}
	if n == 0 {
		return ""
	}
	return cellOf(sum / float64(n))
}
