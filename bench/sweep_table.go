package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
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
	t = newTable(w)
	for _, line := range sharedLines(results) {
		t.row(line[0], line[1])
	}
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

// sharedLines are the conditions that are the same for all results, and not in the line of each.
func sharedLines(results []*Result) [][2]string {
	conditions := func(r *Result) [][2]string {
		lines := append(r.Settings.lines(), [2]string{"version", r.Settings.Version}, [2]string{"machine", r.Machine.text()})
		for i := range lines {
			lines[i][0] = cmp.Or(lines[i][0], "time") // which follows the load without a name of its own
		}
		return slices.DeleteFunc(lines, func(line [2]string) bool { return line[0] == "cluster" || line[0] == "load" })
	}
	shared := conditions(results[0])
	for _, r := range results[1:] {
		other := conditions(r)
		shared = slices.DeleteFunc(shared, func(line [2]string) bool { return !slices.Contains(other, line) })
	}
	return shared
}
