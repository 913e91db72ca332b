package bench

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Result is what a measurement found, and under which conditions. The names of its JSON are
// stable.
type Result struct {
	// Started is when the measurement was prepared.
	Started time.Time `json:"started"`
	// OpsPerSecond counts the operations that ended within the measured time with f+1 equal results.
	OpsPerSecond float64 `json:"ops_per_s"`
	// Latencies in milliseconds, from the submission by the caller to the result.
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
	Mean float64 `json:"mean_ms"`
	// VerifiesPerSecond is the calibration, OpsPerVerify is OpsPerSecond divided by it.
	VerifiesPerSecond float64 `json:"verifies_per_s"`
	OpsPerVerify      float64 `json:"ops_per_verify"`
	// CalibrationCoreShare is how much of a core the calibration got; 0 where the system does not tell.
	CalibrationCoreShare float64 `json:"calibration_core_share"`

	// OfferedPerSecond is how many operations a second an open loop was to begin; NotSubmitted of those it
	// never did, because too many were outstanding or the load had no time. Both are 0 for a closed loop.
	OfferedPerSecond float64 `json:"offered_ops_per_s"`
	NotSubmitted     uint64  `json:"not_submitted"`
	// Reads and Updates have the parts of a mix.
	Reads   *Part `json:"reads,omitempty"`
	Updates *Part `json:"updates,omitempty"`

	// UnreplicatedOpsPerSecond is the throughput of one server without replicas under the same load, with
	// UnreplicatedCPUMicrosPerOp of all its processes. ReplicationFactor is that throughput divided by
	// OpsPerSecond, of closed loops; ReplicationCPUFactor is CPUMicrosPerOp divided by that of the server, which
	// other processes of the machine bend less. All are 0 if it was not measured. Unreplicated says more.
	UnreplicatedOpsPerSecond   float64    `json:"unreplicated_ops_per_s"`
	UnreplicatedCPUMicrosPerOp float64    `json:"unreplicated_cpu_us_per_op"`
	ReplicationFactor          float64    `json:"replication_factor"`
	ReplicationCPUFactor       float64    `json:"replication_cpu_factor"`
	Unreplicated               *Reference `json:"unreplicated,omitempty"`

	// Ops is the number of operations measured.
	Ops uint64 `json:"ops"`
	// Errors counts the failures by kind.
	Errors map[string]uint64 `json:"errors"`
	// FirstError is the text of the first one.
	FirstError string `json:"first_error,omitempty"`
	// Unanswered operations had not ended 3 s after the end. SlowestOutstanding is the longest latency,
	// in milliseconds, of those that were outstanding at the end and ended later.
	Unanswered         int     `json:"unanswered"`
	SlowestOutstanding float64 `json:"slowest_outstanding_ms"`
	// Timeline is the throughput of each second.
	Timeline []float64 `json:"timeline_ops_per_s"`

	// Processes are the costs of the load process and of the replicas on this machine.
	Processes []Process `json:"processes"`
	// CPUMicrosPerOp is the processor time of all Processes for each operation, in microseconds.
	CPUMicrosPerOp float64 `json:"cpu_us_per_op"`
	// OtherCores is how many cores other processes of this machine used meanwhile; -1 where the system
	// does not tell.
	OtherCores float64 `json:"other_cores"`
	// Usage is the memory and disk use of the load process and of the replicas on this machine, over time.
	Usage []Usage `json:"usage"`
	// ViewFrom and ViewTo are the highest views seen before and after.
	ViewFrom uint64 `json:"view_from"`
	ViewTo   uint64 `json:"view_to"`

	Settings Settings `json:"settings"`
	Machine  Machine  `json:"machine"`
	// Warnings say what takes from the worth of the figures.
	Warnings []string `json:"warnings"`

	// hist is what the latencies were read from; nil in a result that was read from a file.
	hist *hdrhistogram.Histogram
}

// Process is what one process used in the measured time.
type Process struct {
	// Name is that of the replica, or "load".
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// CPUSeconds of processor time, CPUSystemSeconds of it in the kernel, and CPUMicrosPerOp of it for
	// each operation, in microseconds.
	CPUSeconds       float64 `json:"cpu_s"`
	CPUSystemSeconds float64 `json:"cpu_system_s"`
	CPUMicrosPerOp   float64 `json:"cpu_us_per_op"`
	// Work is what a replica counted, if it serves metrics.
	Work *Work `json:"work,omitempty"`
}

// Work is what a replica did for its clients, by its own count, around the measured time.
type Work struct {
	OpsPerBundle     float64 `json:"ops_per_bundle"`
	OpsPerBatch      float64 `json:"ops_per_batch"`
	SignedPerOp      float64 `json:"signed_per_op"`
	VerifiedPerOp    float64 `json:"verified_per_op"` // signatures of clients and members
	FsyncsPerOp      float64 `json:"fsyncs_per_op"`
	BytesInPerOp     float64 `json:"bytes_in_per_op"`
	BytesOutPerOp    float64 `json:"bytes_out_per_op"`
	MessagesInPerOp  float64 `json:"messages_in_per_op"` // from and to clients and members
	MessagesOutPerOp float64 `json:"messages_out_per_op"`
	BundlesRefused   float64 `json:"bundles_refused"` // for now, for lack of room
	FramesDropped    float64 `json:"frames_dropped"`  // from and to peers
	ResidentMiB      float64 `json:"resident_mib"`    // at the end
	GCPerSecond      float64 `json:"gc_per_s"`
	BatchesPerFsync  float64 `json:"batches_per_fsync"`
}

// Settings are the conditions that were chosen.
type Settings struct {
	N             int    `json:"n"`
	F             int    `json:"f"`
	Clients       int    `json:"clients"`
	Depth         int    `json:"depth"`
	Service       string `json:"service"`
	Operation     string `json:"operation"`
	SizeBytes     int    `json:"size_bytes"`
	KeysPerClient int    `json:"keys_per_client,omitempty"`
	// Rate, Arrivals and Seed are those of an open loop, whose Depth is 0.
	Rate     float64 `json:"rate_ops_per_s,omitempty"`
	Arrivals string  `json:"arrivals,omitempty"`
	Seed     uint64  `json:"seed,omitempty"`
	// LatencyFrom says when a latency begins.
	LatencyFrom string `json:"latency_from"`
	// Mix is that of YCSB, Reads the consistency of its reads, Records how many values all clients share.
	Mix                string  `json:"mix,omitempty"`
	Reads              string  `json:"reads,omitempty"`
	Records            int     `json:"records,omitempty"`
	WarmupSeconds      float64 `json:"warmup_s"`
	DurationSeconds    float64 `json:"duration_s"`
	BundleOps          int     `json:"bundle_ops"`
	BatchOps           int     `json:"batch_ops,omitempty"`
	CheckpointInterval uint64  `json:"checkpoint_interval"`
	Window             uint64  `json:"window"`
	Pipeline           uint64  `json:"pipeline"`
	RequestTimeoutMS   float64 `json:"request_timeout_ms"`
	Crypto             string  `json:"crypto"`
	Durability         string  `json:"durability"`
	Accepted           string  `json:"accepted"`
	Placement          string  `json:"placement"`
	FileSystem         string  `json:"file_system,omitempty"`
	Profiled           bool    `json:"profiled"`
	Version            string  `json:"version"`
}

// Machine is where the load process ran.
type Machine struct {
	Processor  string `json:"processor,omitempty"`
	Cores      int    `json:"cores"`
	GoMaxProcs int    `json:"gomaxprocs"`
	OS         string `json:"os"`
	Kernel     string `json:"kernel,omitempty"`
	Go         string `json:"go"`
	// LoadGCPercent is GOGC of the load process.
	LoadGCPercent int `json:"load_gc_percent"`
}

// describe fills in the conditions.
func (r *run) describe() {
	o, m := r.o, r.cluster.manifest
	n, p := len(m.Members), &m.Protocol
	s := &r.result.Settings
	r.result.Started = time.Now()
	*s = Settings{N: n, F: bft.MaxFaulty(n), Clients: o.Clients, Depth: o.Depth, Service: o.Service, Operation: o.operation(), SizeBytes: o.Size,
		WarmupSeconds: o.Warmup.Seconds(), DurationSeconds: o.Duration.Seconds(),
		BundleOps: p.BundleOps, CheckpointInterval: p.CheckpointInterval, Window: p.Window, Pipeline: p.Pipeline,
		RequestTimeoutMS: milliseconds(time.Duration(p.RequestTimeout)),
		Crypto:           "Ed25519 by every client and replica, SHA-256, TLS 1.3 on every channel",
		Durability:       "every promise synced to disk before it leaves",
		Accepted:         fmt.Sprintf("on %d equal replies", bft.MaxFaulty(n)+1),
		Placement:        fmt.Sprintf("%d replica processes, made for this run, and the load on this machine", n),
		Profiled:         o.Profiles != "",
	}
	if !r.cluster.own {
		s.Placement = "a cluster that ran before, at the addresses of its manifest"
	}
	s.describeLoad(o)
	home := filepath.Join(r.cluster.dir, m.Members[0].Name)
	if c, err := config.ReadConfig(filepath.Join(home, config.ConfigFile)); err == nil {
		s.BatchOps = c.Limits.BatchOps
		s.FileSystem = fileSystem(home)
	}
	if s.FileSystem == "tmpfs" || s.FileSystem == "ramfs" {
		r.warn("the replicas write to %s, which syncing costs nothing: set TMPDIR to a directory on a disk", s.FileSystem)
	}
	gc := debug.SetGCPercent(100) // tells by setting
	debug.SetGCPercent(gc)
	r.result.Machine = Machine{Processor: processorName(), Cores: runtime.NumCPU(), GoMaxProcs: runtime.GOMAXPROCS(0),
		OS: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernelName(), Go: runtime.Version(), LoadGCPercent: gc}
}

// operation names what is asked.
func (o *Options) operation() string {
	switch {
	case o.Mix != "":
		return "YCSB " + o.Mix
	case o.Read != "":
		return o.Read + " read"
	case o.Service == KV:
		return "put"
	}
	return "add"
}

// describeReplicas adds what only the replicas know.
func (r *run) describeReplicas(replicas []replicaReport) {
	versions := map[string]bool{}
	for i := range replicas {
		if v := replicas[i].Version; v != "" {
			versions[v] = true
		}
		if !r.cluster.own && replicas[i].local {
			r.result.Settings.Placement = "a cluster that ran before, with replicas on this machine"
		}
	}
	for i, v := range slices.Sorted(maps.Keys(versions)) {
		if i > 0 {
			r.result.Settings.Version += ", "
		}
		r.result.Settings.Version += v
	}
	if len(versions) > 1 {
		r.warn("the replicas run different versions")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// fill takes over what the load measured.
func (res *Result) fill(t tally, duration time.Duration, unanswered int) {
	const microsPerMilli = 1000.0
	quantile := func(q float64) float64 { return float64(t.hist.ValueAtQuantile(q)) / microsPerMilli }
	res.hist = t.hist
	res.Ops = uint64(t.hist.TotalCount())
	res.OpsPerSecond = float64(res.Ops) / duration.Seconds()
	if res.Ops > 0 {
		res.P50, res.P90, res.P99, res.P999 = quantile(50), quantile(90), quantile(99), quantile(99.9)
		res.Max, res.Mean = float64(t.hist.Max())/microsPerMilli, t.hist.Mean()/microsPerMilli
	}
	if res.VerifiesPerSecond > 0 {
		res.OpsPerVerify = res.OpsPerSecond / res.VerifiesPerSecond
	}
	res.Errors = t.errors
	if t.sample != nil {
		res.FirstError = t.sample.Error()
	}
	res.Unanswered, res.SlowestOutstanding = unanswered, milliseconds(t.slowest)
	if n := res.ErrorCount(); n > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%d operations failed, the first with: %s", n, res.FirstError))
	}
	if unanswered > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%d operations had no result %v after the end", unanswered, drainTimeout))
	}
}

// ErrorCount is the number of failures of all kinds.
func (res *Result) ErrorCount() uint64 {
	sum := uint64(0)
	for _, n := range res.Errors {
		sum += n
	}
	return sum
}

// addViews notes whether the replicas changed their primary under the load.
func (res *Result) addViews(before, after []replicaReport) {
	for i := range before {
		res.ViewFrom, res.ViewTo = max(res.ViewFrom, before[i].View), max(res.ViewTo, after[i].View)
	}
	if res.ViewTo > res.ViewFrom {
		res.Warnings = append(res.Warnings, fmt.Sprintf("the replicas went from view %d to %d under the load", res.ViewFrom, res.ViewTo))
	}
}

// busyCores is how much of other processes a measurement may have beside it without a warning.
const busyCores = 0.1

// addCosts takes over what the processes used between the two samples.
func (res *Result) addCosts(m *meter) {
	res.Timeline, res.Usage = m.timeline, m.usage.stop()
	res.OtherCores = -1
	first, last := &m.first, &m.last
	all := time.Duration(0)
	if first.ownOK && last.ownOK {
		used := last.own.since(first.own)
		res.addProcess(Process{Name: loadName, PID: os.Getpid()}, used)
		all += used.sum()
	}
	complete := true
	for i := range m.replicas {
		if !first.known[i] || !last.known[i] {
			complete = complete && !m.replicas[i].local
			continue
		}
		used := last.process[i].since(first.process[i])
		all += used.sum()
		res.addProcess(Process{Name: m.replicas[i].Name, PID: m.replicas[i].PID,
			Work: workBetween(first.metrics[i], last.metrics[i], m.run.o)}, used)
	}
	if first.all && last.all && complete {
		res.OtherCores = max(0, (last.machine-first.machine-all).Seconds()/m.run.o.Duration.Seconds())
		if res.OtherCores > busyCores {
			res.Warnings = append(res.Warnings, fmt.Sprintf("other processes used %.1f cores meanwhile", res.OtherCores))
		}
	}
}

func (res *Result) addProcess(p Process, used processorTime) {
	p.CPUSeconds, p.CPUSystemSeconds = used.sum().Seconds(), used.system.Seconds()
	if res.Ops > 0 {
		p.CPUMicrosPerOp = float64(used.sum().Microseconds()) / float64(res.Ops)
	}
	res.CPUMicrosPerOp += p.CPUMicrosPerOp
	res.Processes = append(res.Processes, p)
}

// workBetween is what a replica counted between two readings of its metrics, for each operation that it
// executed between them; nil if there are no two readings, or it executed none.
func workBetween(first, last map[string]float64, o *Options) *Work {
	if first == nil || last == nil {
		return nil
	}
	count := func(names ...string) float64 {
		sum := 0.0
		for _, n := range names {
			sum += last[n] - first[n]
		}
		return sum
	}
	// Reads without ordering are not executed; a read that is repeated counts again.
	executed := count("baluarte_operations_executed_total")
	ops := executed + count("baluarte_reads_answered_total")
	if ops <= 0 {
		return nil
	}
	ratio := func(a, b float64) float64 {
		if b <= 0 {
			return 0
		}
		return a / b
	}
	const mebibyte = 1 << 20
	batches, fsyncs := count("baluarte_batches_executed_total"), count("baluarte_store_commits_total")
	return &Work{
		OpsPerBundle:     ratio(executed, count("baluarte_bundles_executed_total")),
		OpsPerBatch:      ratio(executed, batches),
		SignedPerOp:      count("baluarte_signatures_made_total") / ops,
		VerifiedPerOp:    count("baluarte_signatures_verified_total", "baluarte_client_signatures_checked_total") / ops,
		FsyncsPerOp:      fsyncs / ops,
		BatchesPerFsync:  ratio(batches, fsyncs),
		BytesInPerOp:     count("baluarte_client_bytes_received_total", "baluarte_peer_bytes_received_total") / ops,
		BytesOutPerOp:    count("baluarte_client_bytes_sent_total", "baluarte_peer_bytes_sent_total") / ops,
		MessagesInPerOp:  count("baluarte_client_frames_received_total", "baluarte_peer_frames_received_total") / ops,
		MessagesOutPerOp: count("baluarte_client_frames_sent_total", "baluarte_peer_frames_sent_total") / ops,
		BundlesRefused:   count("baluarte_busy_total"),
		FramesDropped:    count("baluarte_peer_frames_dropped_total", "baluarte_peer_frames_unsent_total"),
		ResidentMiB:      last["process_resident_memory_bytes"] / mebibyte,
		GCPerSecond:      count("go_gc_duration_seconds_count") / o.Duration.Seconds(),
	}
}
