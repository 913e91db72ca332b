package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// figure is a number of a result that repeated measurements are summed up and compared by.
type figure struct {
	name  string // in the JSON
	title string
	unit  string
	// lower tells that less of it is better.
	lower bool
	of    func(*Result) float64 // 0 where it is not known
}

var figures = []figure{
	{"ops_per_s", "throughput", "ops/s", false, func(r *Result) float64 { return r.OpsPerSecond }},
	{"ops_per_verify", "throughput in verifications", "", false, func(r *Result) float64 { return r.OpsPerVerify }},
	{"p50_ms", "latency p50", "ms", true, func(r *Result) float64 { return r.P50 }},
	{"p90_ms", "latency p90", "ms", true, func(r *Result) float64 { return r.P90 }},
	{"p99_ms", "latency p99", "ms", true, func(r *Result) float64 { return r.P99 }},
	{"p999_ms", "latency p99.9", "ms", true, func(r *Result) float64 { return r.P999 }},
	{"cpu_us_per_op", "processor time", "us/op", true, func(r *Result) float64 { return r.CPUMicrosPerOp }},
	{"unreplicated_ops_per_s", "throughput of one server", "ops/s", false, func(r *Result) float64 { return r.UnreplicatedOpsPerSecond }},
	{"replication_factor", "replication factor", "", true, func(r *Result) float64 { return r.ReplicationFactor }},
}

// Estimate is the mean of a figure over repeated measurements, with the interval that holds the true mean with a
// probability of 95 %, by Student's t. Of one measurement, and of equal ones, Low and High are the mean.
type Estimate struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// N is the number of measurements.
	N int `json:"n"`
}

// confidence is the probability of all intervals.
const confidence = 0.95

// quantileT is how many standard errors the interval extends to each side.
func quantileT(degrees float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: degrees}.Quantile(1 - (1-confidence)/2)
}

func estimate(values []float64) Estimate {
	e := Estimate{N: len(values)}
	if e.N == 0 {
		return e
	}
	e.Mean = stat.Mean(values, nil)
	half := 0.0
	if e.N > 1 {
		half = quantileT(float64(e.N-1)) * stat.StdErr(stat.StdDev(values, nil), float64(e.N))
	}
	e.Low, e.High = e.Mean-half, e.Mean+half
	return e
}

// Repeated is what repeated measurements of the same load found. The figures at its top are means.
type Repeated struct {
	OpsPerSecond      float64 `json:"ops_per_s"`
	P50               float64 `json:"p50_ms"`
	P90               float64 `json:"p90_ms"`
	P99               float64 `json:"p99_ms"`
	P999              float64 `json:"p999_ms"`
	VerifiesPerSecond float64 `json:"verifies_per_s"`
	OpsPerVerify      float64 `json:"ops_per_verify"`
	// UnreplicatedOpsPerSecond is 0 if it was not measured each time.
	UnreplicatedOpsPerSecond float64 `json:"unreplicated_ops_per_s"`
	// Summary holds the mean and interval of each figure, by its name in the JSON of a result.
	Summary map[string]Estimate `json:"summary"`
	// Measurements are what it was found from, in the order in which they were made.
	Measurements []*Result `json:"measurements"`
}

// Summarize sums up repeated measurements, of which there must be one at least.
func Summarize(results []*Result) *Repeated {
	mean := func(of func(*Result) float64) float64 { return estimate(valuesOf(results, of)).Mean }
	rep := &Repeated{Summary: map[string]Estimate{}, Measurements: results,
		VerifiesPerSecond: mean(func(r *Result) float64 { return r.VerifiesPerSecond })}
	for _, f := range figures {
		if v := valuesOf(results, f.of); len(v) == len(results) {
			rep.Summary[f.name] = estimate(v)
		}
	}
	s := rep.Summary
	rep.OpsPerSecond, rep.OpsPerVerify = s["ops_per_s"].Mean, s["ops_per_verify"].Mean
	rep.UnreplicatedOpsPerSecond = s["unreplicated_ops_per_s"].Mean
	rep.P50, rep.P90, rep.P99, rep.P999 = s["p50_ms"].Mean, s["p90_ms"].Mean, s["p99_ms"].Mean, s["p999_ms"].Mean
	return rep
}

// valuesOf are the figures of those results that know it.
func valuesOf(results []*Result, of func(*Result) float64) []float64 {
	var values []float64
	for _, r := range results {
		if v := of(r); v > 0 && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	return values
}

// WriteTable writes means and intervals, and the conditions of the first measurement, for people.
func (rep *Repeated) WriteTable(w io.Writer) error {
	first := rep.Measurements[0]
	t := newTable(w)
	t.row("FIGURE", fmt.Sprintf("MEAN OF %d", len(rep.Measurements)), "UNIT", "95 % INTERVAL", "LEAST", "MOST")
	for _, f := range figures {
		e, ok := rep.Summary[f.name]
		if !ok {
			continue
		}
		least, most := math.Inf(1), math.Inf(-1)
		for _, v := range valuesOf(rep.Measurements, f.of) {
			least, most = min(least, v), max(most, v)
		}
		t.row(f.title, number(e.Mean), cmp.Or(f.unit, "-"), number(e.Low)+" to "+number(e.High), number(least), number(most))
	}
	if err := t.end(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t = newTable(w)
	for _, line := range first.Settings.lines() {
		t.row(line[0], line[1])
	}
	t.row("machine", first.Machine.text())
	if err := t.end(); err != nil {
		return err
	}
	return rep.writeWarnings(w)
}

func (rep *Repeated) writeWarnings(w io.Writer) error {
	for i, res := range rep.Measurements {
		for _, warning := range res.Warnings {
			if _, err := fmt.Fprintf(w, "warning: measurement %d: %s\n", i+1, warning); err != nil {
				return err
			}
		}
	}
	return nil
}

// number writes large numbers in groups, and small ones with three digits.
func number(v float64) string {
	const rounds = 999.5 // to 1,000
	if math.Abs(v) >= rounds {
		return group(v)
	}
	return short(v)
}

// offered tells whether the load offered operations at a rate, which fixes the throughput.
func (res *Result) offered() bool { return res.Settings.Rate > 0 }
