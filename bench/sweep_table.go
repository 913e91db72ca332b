package bench

import (
	"fmt"
	"io"
)

// WriteSweep writes one line for each result, and then the conditions that all of them share, for people. There must
// be one result at least.
func WriteSweep(w io.Writer, results []*Result) error {
	t := newTable(w)
	t.row("N", "SERVICE", "OPERATION", "BYTES", "CLIENTS", "DEPTH", "RATE", "OPS/S", "OPS/VERIFY", "P50 MS", "P99 MS", "P99.9 MS", "MAX MS", "CPU US/OP", "ERRORS", "NOTES")
	for _, r := range results {
		s := &r.Settings
		rate, depth := "-", "-"
		if s.Rate > 0 {
			rate = number(s.Rate)
		} else {
			depth = fmt.Sprint(s.Depth)
		}
		t.row(fmt.Sprint(s.N), s.Service, s.Operation, fmt.Sprint(s.SizeBytes), fmt.Sprint(s.Clients), depth, rate, group(r.OpsPerSecond),
			fmt.Sprintf("%.2f", r.OpsPerVerify), short(r.P50), short(r.P99), short(r.P999), short(r.Max), short(r.CPUMicrosPerOp),
			fmt.Sprint(r.ErrorCount()), fmt.Sprint(len(r.Warnings)))
	}
	if err := t.end(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	first := results[0]
	t = newTable(w)
	for _, line := range first.Settings.lines() {
		// These are in the lines above.
		if line[0] != "cluster" && line[0] != "load" {
			t.row(line[0], line[1])
		}
	}
	t.row("version", first.Settings.Version)
	t.row("machine", first.Machine.text())
	if err := t.end(); err != nil {
		return err
	}
	for i, r := range results {
		for _, warning := range r.Warnings {
			if _, err := fmt.Fprintf(w, "warning: line %d: %s\n", i+1, warning); err != nil {
				return err
			}
		}
	}
	return nil
}
