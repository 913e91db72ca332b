package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// Masked counts the faults of a class, and those during which, and soon after which, the service did not fail.
type Masked struct {
	Class  Class `json:"class"`
	Faults int   `json:"faults"`
	Masked int   `json:"masked"`
}

// Dependability is what came of a Mission, or of any other time in which a service was watched.
type Dependability struct {
	// Hours of a Mission; 0: another time.
	Hours    int      `json:"hours,omitempty"`
	Time     Duration `json:"time"`
	Replicas int      `json:"replicas"`
	Within   Duration `json:"within"`
	// Answers are calls that were answered, Wrong the answers that were wrong; of a Mission the hours that such an answer, or
	// another broken oracle of safety, has ended.
	Answers int `json:"answers"`
	Wrong   int `json:"wrong"`
	// Failures of the service: times in which some client had no answer within Within. Down is their sum.
	Failures int      `json:"failures"`
	Down     Duration `json:"down"`
	// Availability is the share of the time in which the service did not fail. Reliability is the probability that a Span,
	// begun at a random moment, has no failure.
	Availability float64  `json:"availability"`
	Reliability  float64  `json:"reliability"`
	Span         Duration `json:"reliability_span"`
	// BetweenFailures is the mean time up, Repair the mean time down; 0 without a failure.
	BetweenFailures Duration `json:"mean_time_between_failures"`
	Repair          Duration `json:"mean_time_to_repair"`
	Longest         Duration `json:"longest_failure"`
	// Faults by class; of a liar each lie is one.
	Faults []Masked `json:"faults"`
}

// Stretch is a time from and until which something goes on.
type Stretch struct{ From, Till Duration }

// FaultStretch is when there was a fault of a class.
type FaultStretch struct {
	Class Class
	Stretch
}

// Missed is the part of a wait for an answer in which the service has failed: what is beyond within. The second result is
// false if there is none.
func Missed(wait Stretch, within Duration) (Stretch, bool) {
	return Stretch{wait.From + within, wait.Till}, wait.Till-wait.From > within
}

// Figure makes the figures of what was seen from 0 until d.Time: the failures, in any order and perhaps overlapping, and the
// faults. Time, Within and Span must be set.
func (d *Dependability) Figure(failures []Stretch, faults []FaultStretch) {
	failures = union(failures)
	for _, s := range failures {
		d.Failures++
		d.Down += s.Till - s.From
		d.Longest = max(d.Longest, s.Till-s.From)
	}
	d.Availability = 1 - float64(d.Down)/float64(d.Time)
	d.Reliability = reliable(failures, d.Time, d.Span)
	if d.Failures > 0 {
		d.BetweenFailures, d.Repair = (d.Time-d.Down)/Duration(d.Failures), d.Down/Duration(d.Failures)
	}
	d.Faults = masked(failures, faults, d.Within)
}

// union joins spans that overlap, in order.
func union(all []Stretch) []Stretch {
	slices.SortFunc(all, func(a, b Stretch) int { return int(a.From - b.From) })
	var out []Stretch
	for _, s := range all {
		if k := len(out); k > 0 && s.From <= out[k-1].Till {
			out[k-1].Till = max(out[k-1].Till, s.Till)
			continue
		}
		out = append(out, s)
	}
	return out
}

// reliable is the share of the moments from which the next span has no failure, the whole taken as a ring.
func reliable(failures []Stretch, whole, span Duration) float64 {
	if len(failures) == 0 {
		return 1
	}
	good := Duration(0)
	for i, s := range failures {
		next := failures[(i+1)%len(failures)].From
		if i == len(failures)-1 {
			next += whole
		}
		good += max(0, next-s.Till-span)
	}
	return float64(good) / float64(whole)
}

// masked counts the faults, and those that no failure overlaps, also not within a time after them.
func masked(failures []Stretch, faults []FaultStretch, within Duration) (all []Masked) {
	for _, c := range Classes() {
		x := Masked{Class: c}
		for _, f := range faults {
			if f.Class != c {
				continue
			}
			x.Faults++
			if !slices.ContainsFunc(failures, func(o Stretch) bool { return o.From <= f.Till+within && f.From <= o.Till }) {
				x.Masked++
			}
		}
		if x.Faults > 0 {
			all = append(all, x)
		}
	}
	return all
}

// WriteTo prints the figures for a reader.
func (d *Dependability) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	print := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-24s"+format+"\n", append([]any{name}, args...)...)
	}
	rounded := func(x Duration) string { return time.Duration(x).Round(time.Millisecond).String() }
	length := rounded(d.Time)
	if d.Hours > 0 {
		length = fmt.Sprintf("%d h", d.Hours)
	}
	print("time", "%s, %d replicas, of which %d may be faulty", length, d.Replicas, bft.MaxFaulty(d.Replicas))
	print("answers", "%d, of which wrong %d", d.Answers, d.Wrong)
	print("failures of the service", "%d (no answer within %v)", d.Failures, d.Within)
	print("availability", "%.5f %%, down for %s in all, %s at the longest", 100*d.Availability, rounded(d.Down), rounded(d.Longest))
	spans := "spans of " + rounded(d.Span)
	switch d.Span {
	case hour:
		spans = "hours"
	case 60 * second:
		spans = "minutes"
	}
	if d.Time < d.Span {
		print("reliability", "not told: none of the %s fits into %s", spans, length)
	} else {
		print("reliability", "%.1f %% of the %s that begin at any moment have no failure", 100*d.Reliability, spans)
	}
	if d.Failures > 0 {
		print("between failures", "%s in the mean", rounded(d.BetweenFailures))
		print("to repair", "%s in the mean", rounded(d.Repair))
	}
	if len(d.Faults) > 0 {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\nfaults\thappened\tmasked")
		for _, f := range d.Faults {
			fmt.Fprintf(t, "%s\t%d\t%d\n", f.Class, f.Faults, f.Masked)
		}
		if err := t.Flush(); err != nil {
			return 0, err
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
