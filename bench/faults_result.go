package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// FaultResult is what happened to a cluster under load when one thing went wrong. The names of its JSON are stable.
type FaultResult struct {
	// Fault is its name, Short what it does, Target to whom.
	Fault  string `json:"fault"`
	Short  string `json:"does"`
	Target string `json:"target"`
	// DelayMS is that of the fault, if it delays something, in milliseconds.
	DelayMS float64 `json:"delay_ms,omitempty"`
	// NotToleratedMS is the shortest delay that was tried before, if that was to be found, and cost the primary its office.
	NotToleratedMS float64 `json:"not_tolerated_ms,omitempty"`

	// Throughputs, operations a second, and what they are of that before the fault.
	BeforeOpsPerSecond float64 `json:"before_ops_per_s"`
	DuringOpsPerSecond float64 `json:"during_ops_per_s"`
	AfterOpsPerSecond  float64 `json:"after_ops_per_s"`
	DuringRatio        float64 `json:"during_ratio"`
	AfterRatio         float64 `json:"after_ratio"`
	// LowestRatio is that of the worst second of the fault.
	LowestRatio float64 `json:"lowest_second_ratio"`
	// Before, During and After are the latencies of what ended in each phase.
	Before Latency `json:"before"`
	During Latency `json:"during"`
	After  Latency `json:"after"`

	// GapMS is the longest time without any result that began during the fault, GapAtMS when, since the fault.
	GapMS   float64 `json:"gap_ms"`
	GapAtMS float64 `json:"gap_at_ms"`
	// FirstMS is the time from the fault to the first result of an operation that was submitted after it; -1: none came.
	FirstMS float64 `json:"first_result_ms"`
	// Recovery90MS is the time from the fault to the first second with 90 % of the throughput before; -1: there was none.
	Recovery90MS float64 `json:"recovery_90_ms"`

	// ViewBefore and ViewAfter are the highest views before the fault and at the end.
	ViewBefore uint64 `json:"view_before"`
	ViewAfter  uint64 `json:"view_after"`
	// Errors that callers saw from the fault on, by kind, ErrorsBefore until then.
	Errors       map[string]uint64 `json:"errors"`
	ErrorsBefore map[string]uint64 `json:"errors_before"`
	FirstError   string            `json:"first_error,omitempty"`

	Safety FaultSafety `json:"safety"`
	// Attacker is what the client did that the fault is, if it is one.
	Attacker *FaultAttacker `json:"attacker,omitempty"`
	// Checks are what the project promises for this fault.
	Checks []FaultCheck `json:"checks"`

	// Series is the throughput of each SeriesStepMS; the fault begins with entry SeriesFault and ends with entry SeriesEnd.
	Series       []float64 `json:"series_ops_per_s"`
	SeriesStepMS float64   `json:"series_step_ms"`
	SeriesFault  int       `json:"series_fault"`
	SeriesEnd    int       `json:"series_end"`

	Settings Settings `json:"settings"`
	Machine  Machine  `json:"machine"`
	Warnings []string `json:"warnings"`
}

// Latency is of the operations that ended in one phase, in milliseconds.
type Latency struct {
	Ops uint64  `json:"ops"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// FaultSafety compares what callers were told with what the replicas hold at the end.
type FaultSafety struct {
	// Acknowledged operations had a result, of Unknown ones the callers were told that the outcome is open.
	Acknowledged uint64 `json:"acknowledged"`
	Unknown      uint64 `json:"unknown"`
	// Counter is what a linearizable read said after the load: how many operations were executed. Lost are those
	// acknowledged that are not among them, Surplus those executed that nobody asked for, or more than once.
	Counter uint64 `json:"counter"`
	Lost    uint64 `json:"lost"`
	Surplus uint64 `json:"surplus"`
	// Agree: all replicas, those too that were faulty, came to the same state. AgreedMS is how long after the load that
	// took, in milliseconds.
	Agree    bool           `json:"replicas_agree"`
	AgreedMS float64        `json:"replicas_agreed_after_ms"`
	Replicas []FaultReplica `json:"replicas"`
}

// Holds tells whether nothing was lost, executed twice, or differs.
func (s *FaultSafety) Holds() bool { return s.Lost == 0 && s.Surplus == 0 && s.Agree }

// FaultReplica is the state of one replica at the end, by its own answer.
type FaultReplica struct {
	Name     string `json:"name"`
	Answered bool   `json:"answered"`
	Executed uint64 `json:"executed"`
	Counter  uint64 `json:"counter"`
}

// FaultAttacker is what a client did that is the fault.
type FaultAttacker struct {
	// Sent counts bundles with forged signatures, each replica apart; Submitted and Results the operations of a client
	// whose signatures hold.
	Sent      uint64 `json:"forged_bundles_sent,omitempty"`
	Submitted uint64 `json:"operations_submitted,omitempty"`
	Results   uint64 `json:"results,omitempty"`
	// CutOff is how often a replica ended its connection, Reason why the last time, Connected how many
	// replicas it was connected to when the fault ended.
	CutOff    uint64 `json:"cut_off"`
	Reason    string `json:"cut_off_reason,omitempty"`
	Connected int    `json:"connected_at_end"`
	// Checked counts the signatures of clients that the replicas verified during the fault, all of them together.
	Checked float64 `json:"client_signatures_checked"`
}

// FaultCheck is one promise.
type FaultCheck struct {
	Name string `json:"name"`
	// Value is what was measured, Bound what is promised, both for people.
	Value string `json:"value"`
	Bound string `json:"bound"`
	Holds bool   `json:"holds"`
}

// Holds tells whether all checks do.
func (res *FaultResult) Holds() bool {
	for _, c := range res.Checks {
		if !c.Holds {
			return false
		}
	}
	return true
}

// struck is whom the fault struck, and how.
func (res *FaultResult) struck() string {
	s := res.Target
	if res.DelayMS > 0 {
		s += fmt.Sprintf(", by %s ms", short(res.DelayMS))
	}
	if res.NotToleratedMS > 0 {
		s += fmt.Sprintf(" (%s ms cost it its office)", short(res.NotToleratedMS))
	}
	return s
}

// seriesStep is the resolution of FaultResult.Series.
const seriesStep = 100 * time.Millisecond

func latencyOf(h *hdrhistogram.Histogram) Latency {
	l := Latency{Ops: uint64(h.TotalCount())}
	if l.Ops > 0 {
		const microsPerMilli = 1000.0
		l.P50, l.P99, l.Max = float64(h.ValueAtQuantile(50))/microsPerMilli, float64(h.ValueAtQuantile(99))/microsPerMilli, float64(h.Max())/microsPerMilli
	}
	return l
}

// fillSeries takes over what happened over time.
func (res *FaultResult) fillSeries(s *faultSeries, first time.Duration) {
	res.BeforeOpsPerSecond = s.between(s.warmup, s.before)
	res.DuringOpsPerSecond = s.between(s.before, s.during)
	res.AfterOpsPerSecond = s.between(s.during, s.after)
	ratio := func(v float64) float64 {
		if res.BeforeOpsPerSecond == 0 {
			return 0
		}
		return v / res.BeforeOpsPerSecond
	}
	res.DuringRatio, res.AfterRatio = ratio(res.DuringOpsPerSecond), ratio(res.AfterOpsPerSecond)
	res.LowestRatio = res.DuringRatio
	for at := s.before; at+time.Second <= s.during; at += faultBucket {
		res.LowestRatio = min(res.LowestRatio, ratio(s.between(at, at+time.Second)))
	}
	gap, at := s.gap()
	res.GapMS, res.GapAtMS = milliseconds(gap), milliseconds(at)
	res.FirstMS, res.Recovery90MS = -1, -1
	if first > 0 {
		res.FirstMS = milliseconds(first - s.before)
	}
	if d, ok := s.recovery(0.9); ok {
		res.Recovery90MS = milliseconds(d)
	}
	res.Series, res.SeriesFault = s.steps(seriesStep)
	res.SeriesStepMS = milliseconds(seriesStep)
	res.SeriesEnd = min(len(res.Series), res.SeriesFault+int((s.during-s.before)/seriesStep))
}

// fillTally takes over what callers were told.
func (res *FaultResult) fillTally(t faultTally) {
	res.Before, res.During, res.After = latencyOf(t.hists[phaseBefore]), latencyOf(t.hists[phaseDuring]), latencyOf(t.hists[phaseAfter])
	res.Safety.Acknowledged, res.Safety.Unknown = t.acknowledged, t.unknown
	res.Errors, res.ErrorsBefore = map[string]uint64{}, map[string]uint64{}
	for p := range t.errors {
		for kind, n := range t.errors[p] {
			if p < phaseDuring {
				res.ErrorsBefore[kind] += n
			} else {
				res.Errors[kind] += n
			}
		}
	}
	if t.sample != nil {
		res.FirstError = t.sample.Error()
	}
}

// compare judges what the replicas hold by what callers were told.
func (s *FaultSafety) compare(counter uint64) {
	s.Counter = counter
	s.Lost, s.Surplus = 0, 0
	if counter < s.Acknowledged {
		s.Lost = s.Acknowledged - counter
	}
	if most := s.Acknowledged + s.Unknown; counter > most {
		s.Surplus = counter - most
	}
}

// check adds one promise.
func (res *FaultResult) check(name string, holds bool, value, bound string, args ...any) {
	res.Checks = append(res.Checks, FaultCheck{Name: name, Value: value, Bound: fmt.Sprintf(bound, args...), Holds: holds})
}

// fillChecks judges what holds for every fault.
func (res *FaultResult) fillChecks() {
	s := &res.Safety
	res.check("nothing acknowledged is lost", s.Lost == 0, fmt.Sprintf("%s of %s", group(float64(s.Lost)), group(float64(s.Acknowledged))), "0")
	res.check("nothing is executed twice", s.Surplus == 0, group(float64(s.Surplus)), "0")
	value := "no"
	if s.Agree {
		value = fmt.Sprintf("%.0f ms after the load", s.AgreedMS)
	}
	res.check("all replicas agree", s.Agree, value, "yes")
}
