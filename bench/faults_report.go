package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// barWidth is the length of the longest bar, in characters, and barLines about how many bars there are.
	barWidth = 50
	barLines = 40
)

// WriteTable writes the result for people: the throughput over time with a bar a line, and the figures.
func (res *FaultResult) WriteTable(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s: %s\n\n", res.Fault, res.Short); err != nil {
		return err
	}
	if err := res.writeBars(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := newTable(w)
	t.row("struck", res.struck())
	t.row("throughput", fmt.Sprintf("%s before, %s during (%.0f %%, lowest second %.0f %%), %s after (%.0f %%) ops/s", group(res.BeforeOpsPerSecond),
		group(res.DuringOpsPerSecond), 100*res.DuringRatio, 100*res.LowestRatio, group(res.AfterOpsPerSecond), 100*res.AfterRatio))
	t.row("latency p50/p99/max", fmt.Sprintf("%s before, %s during, %s after, in ms", res.Before.text(), res.During.text(), res.After.text()))
	t.row("longest gap", fmt.Sprintf("%.0f ms without a result, %.0f ms after the fault", res.GapMS, res.GapAtMS))
	t.row("back", fmt.Sprintf("first new result after %s; 90 %% of the throughput after %s", orNever(res.FirstMS), orNever(res.Recovery90MS)))
	t.row("views", fmt.Sprintf("%d before, %d at the end", res.ViewBefore, res.ViewAfter))
	errs := Result{Errors: res.Errors}
	text := errs.errorText()
	if res.FirstError != "" {
		text += "; the first: " + res.FirstError
	}
	t.row("errors", text)
	s := &res.Safety
	t.row("counted", fmt.Sprintf("%s acknowledged, %s with open outcome; the replicas executed %s", group(float64(s.Acknowledged)), group(float64(s.Unknown)), group(float64(s.Counter))))
	if a := res.Attacker; a != nil {
		t.row("the client", a.text())
	}
	for _, c := range res.Checks {
		verdict := "holds"
		if !c.Holds {
			verdict = "DOES NOT HOLD"
		}
		t.row(c.Name, fmt.Sprintf("%s (bar: %s): %s", c.Value, c.Bound, verdict))
	}
	for _, line := range res.Settings.lines() {
		t.row(line[0], line[1])
	}
	t.row("machine", res.Machine.text())
	if err := t.end(); err != nil {
		return err
	}
	for _, warning := range res.Warnings {
		if _, err := fmt.Fprintln(w, "warning:", warning); err != nil {
			return err
		}
	}
	return nil
}

func (l *Latency) text() string {
	if l.Ops == 0 {
		return "none"
	}
	return short(l.P50) + "/" + short(l.P99) + "/" + short(l.Max)
}

func (a *FaultAttacker) text() string {
	s := fmt.Sprintf("submitted %s operations, %s had a result", group(float64(a.Submitted)), group(float64(a.Results)))
	if a.Sent > 0 {
		s = fmt.Sprintf("sent %s forged bundles; the replicas checked %s signatures of clients", group(float64(a.Sent)), group(a.Checked))
	}
	s += fmt.Sprintf("; cut off %d times, connected to %d at the end", a.CutOff, a.Connected)
	if a.Reason != "" {
		s += ", the last time: " + a.Reason
	}
	return s
}

func orNever(ms float64) string {
	if ms < 0 {
		return "never"
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// writeBars draws the throughput over time. Steps are joined so that there are about barLines, with the fault
// between two of them.
func (res *FaultResult) writeBars(w io.Writer) error {
	if len(res.Series) == 0 {
		return nil
	}
	join := max(1, (len(res.Series)+barLines-1)/barLines)
	type line struct {
		at   float64 // seconds since the fault
		rate float64
		mark string
	}
	var lines []line
	for i := res.SeriesFault % join; i+join <= len(res.Series); i += join {
		sum := 0.0
		for _, v := range res.Series[i : i+join] {
			sum += v
		}
		l := line{at: float64(i-res.SeriesFault) * res.SeriesStepMS / 1000, rate: sum / float64(join)}
		switch {
		case i == res.SeriesFault:
			l.mark = "  <- the fault begins"
		case i <= res.SeriesEnd && res.SeriesEnd < i+join && res.SeriesEnd < len(res.Series):
			l.mark = "  <- and ends"
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		return nil
	}
	most := slices.MaxFunc(lines, func(a, b line) int { return int(a.rate - b.rate) }).rate
	if _, err := fmt.Fprintf(w, "%7s %10s\n", "S", "OPS/S"); err != nil {
		return err
	}
	for _, l := range lines {
		bar := 0
		if most > 0 {
			bar = int(l.rate/most*barWidth + 0.5)
		}
		text := fmt.Sprintf("%7.1f %10s %s%s", l.at, group(l.rate), strings.Repeat("#", bar), l.mark)
		if _, err := fmt.Fprintln(w, strings.TrimRight(text, " ")); err != nil {
			return err
		}
	}
	return nil
}
