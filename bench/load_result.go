package bench

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Part is what one kind of operation of a mix found. Latencies are in milliseconds, as those of Result.
type Part struct {
	Ops  uint64  `json:"ops"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
	Mean float64 `json:"mean_ms"`
}

// newPart returns nil for no operations.
func newPart(h *hdrhistogram.Histogram) *Part {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	const microsPerMilli = 1000.0
	quantile := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / microsPerMilli }
	return &Part{Ops: uint64(h.TotalCount()), P50: quantile(50), P90: quantile(90), P99: quantile(99), P999: quantile(99.9),
		Max: float64(h.Max()) / microsPerMilli, Mean: h.Mean() / microsPerMilli}
}

func (p *Part) text() string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms (%s operations)",
		short(p.P50), short(p.P90), short(p.P99), short(p.P999), short(p.Max), group(float64(p.Ops)))
}

// fillLoad takes over what depends on the kind of load. It follows fill.
func (res *Result) fillLoad(t tally, l *load, o *Options) {
	if o.Mix != "" {
		res.Reads, res.Updates = newPart(t.kinds[read]), newPart(t.kinds[update])
	}
	if l.pacer == nil {
		return
	}
	// The latencies are of what began within the measured time, the throughput of what ended within it.
	open := l.openTally()
	res.Ops, res.OpsPerSecond = t.ended, rate(t.ended, int64(o.Duration))
	if res.VerifiesPerSecond > 0 {
		res.OpsPerVerify = res.OpsPerSecond / res.VerifiesPerSecond
	}
	res.OfferedPerSecond, res.NotSubmitted = rate(open.offered, int64(o.Duration)), open.shed
	if open.shed > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%d operations were never submitted, for too many were outstanding or the load had no time for them: the rate is beyond what this sustains, and they are in no latency", open.shed))
	}
}

// describeLoad fills in the conditions of the load.
func (s *Settings) describeLoad(o *Options) {
	s.LatencyFrom = "submission"
	if o.Rate > 0 {
		s.Depth, s.Rate, s.LatencyFrom = 0, o.Rate, "intended start"
		if s.Arrivals = o.Arrivals; s.Arrivals == "" {
			s.Arrivals = ArrivalsPoisson
		}
		if s.Arrivals == ArrivalsPoisson {
			s.Seed = o.Seed
		}
	}
	switch {
	case o.needsRecords():
		s.Records = o.records().count
	case o.Service == KV:
		s.KeysPerClient = o.Keys
	}
	if o.Mix != "" {
		s.Mix, s.Reads = o.Mix, o.Read
		if s.Reads == "" {
			s.Reads = ReadLinearizable
		}
	}
}

// loadText says what the load is.
func (s *Settings) loadText() string {
	text := fmt.Sprintf("%d clients x %d outstanding", s.Clients, s.Depth)
	if s.Rate > 0 {
		text = fmt.Sprintf("%d clients, %s operations/s offered, %s arrivals", s.Clients, short(s.Rate), s.Arrivals)
		if s.Arrivals == ArrivalsPoisson {
			text += fmt.Sprintf(" of seed %d", s.Seed)
		}
	}
	if s.Mix != "" {
		return text + fmt.Sprintf(", YCSB mix %s (%d %% %s reads) of %d records of %d bytes, zipfian %g",
			s.Mix, mixes[s.Mix], s.Reads, s.Records, s.SizeBytes, zipfianConstant)
	}
	text += fmt.Sprintf(", %s %s of %d bytes", s.Service, s.Operation, s.SizeBytes)
	switch {
	case s.Records > 0:
		text += fmt.Sprintf(", %d keys", s.Records)
	case s.KeysPerClient > 0:
		text += fmt.Sprintf(", %d keys each", s.KeysPerClient)
	}
	return text
}

// loadLines are those lines of the table that not every load has.
func (res *Result) loadLines() [][2]string {
	var lines [][2]string
	if res.Reads != nil {
		lines = append(lines, [2]string{"reads", res.Reads.text()})
	}
	if res.Updates != nil {
		lines = append(lines, [2]string{"updates", res.Updates.text()})
	}
	if res.OfferedPerSecond > 0 {
		lines = append(lines, [2]string{"offered", fmt.Sprintf("%s ops/s, of which %s were never submitted; latencies count from the intended start",
			group(res.OfferedPerSecond), group(float64(res.NotSubmitted)))})
	}
	if ref := res.Unreplicated; ref != nil {
		text := fmt.Sprintf("%s ops/s, p50 %s ms, %s us per operation, by one server without replicas (%gs measured)",
			group(ref.OpsPerSecond), short(ref.P50), short(ref.CPUMicrosPerOp), ref.DurationSeconds)
		if res.ReplicationCPUFactor > 0 {
			text = fmt.Sprintf("processor time %s: ", short(res.ReplicationCPUFactor)) + text
		}
		if res.ReplicationFactor > 0 {
			text = fmt.Sprintf("factor %s, ", short(res.ReplicationFactor)) + text
		}
		lines = append(lines, [2]string{"replication", text})
	}
	return lines
}

// Reference is what the same load found on one server without replicas, see package single.
type Reference struct {
	OpsPerSecond float64 `json:"ops_per_s"`
	P50          float64 `json:"p50_ms"`
	P90          float64 `json:"p90_ms"`
	P99          float64 `json:"p99_ms"`
	P999         float64 `json:"p999_ms"`
	Max          float64 `json:"max_ms"`
	Ops          uint64  `json:"ops"`
	// Errors counts the failures by kind.
	Errors          map[string]uint64 `json:"errors"`
	WarmupSeconds   float64           `json:"warmup_s"`
	DurationSeconds float64           `json:"duration_s"`
	CPUMicrosPerOp  float64           `json:"cpu_us_per_op"`
	Processes       []Process         `json:"processes"`
}

// takeReference takes over the result of the reference. It follows the measurement of the cluster.
func (res *Result) takeReference(ref *Result) {
	res.UnreplicatedOpsPerSecond, res.UnreplicatedCPUMicrosPerOp = ref.OpsPerSecond, ref.CPUMicrosPerOp
	// What an open loop achieves is what it was asked for.
	if res.OpsPerSecond > 0 && res.OfferedPerSecond == 0 {
		res.ReplicationFactor = ref.OpsPerSecond / res.OpsPerSecond
	}
	if ref.CPUMicrosPerOp > 0 {
		res.ReplicationCPUFactor = res.CPUMicrosPerOp / ref.CPUMicrosPerOp
	}
	res.Unreplicated = &Reference{OpsPerSecond: ref.OpsPerSecond, P50: ref.P50, P90: ref.P90, P99: ref.P99, P999: ref.P999, Max: ref.Max,
		Ops: ref.Ops, Errors: ref.Errors, WarmupSeconds: ref.Settings.WarmupSeconds, DurationSeconds: ref.Settings.DurationSeconds,
		CPUMicrosPerOp: ref.CPUMicrosPerOp, Processes: ref.Processes}
	for _, warning := range ref.Warnings {
		res.Warnings = append(res.Warnings, "the server without replicas: "+warning)
	}
}
