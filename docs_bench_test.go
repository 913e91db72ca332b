package baluarte_test

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/sim"
)

const benchDoc = "docs/benchmarks.md"

// listed are the names in the first column of a table, in their order.
func listed(t *testing.T, first string) []string {
	t.Helper()
	var names []string
	for _, cell := range column(tableUnder(t, benchDoc, first), 0) {
		names = append(names, codes(cell)...)
	}
	return names
}

// TestDocBenchJSON holds the names of fields that programs read against the types that are printed.
func TestDocBenchJSON(t *testing.T) {
	for head, x := range map[string]any{
		"field of a result":      bench.Result{},
		"field of a part":        bench.Part{},
		"field of the reference": bench.Reference{},
		"field of a process":     bench.Process{},
		"field of the work":      bench.Work{},
		"field of the usage":     bench.Usage{},
		"field of a track":       bench.Track{},
		"field of the settings":  bench.Settings{},
		"field of the machine":   bench.Machine{},
		"field of a summary":     bench.Repeated{},
		"field of an estimate":   bench.Estimate{},
		"field of a comparison":  bench.Comparison{},
		"field of a difference":  bench.Difference{},
		"field of a fault":       bench.FaultResult{},
		"field of a phase":       bench.Latency{},
		"field of the safety":    bench.FaultSafety{},
		"field of a replica":     bench.FaultReplica{},
		"field of an attacker":   bench.FaultAttacker{},
		"field of a check":       bench.FaultCheck{},
		"field of a mission":     bench.MissionResult{},
		"field of an event":      bench.MissionFault{},
		"field of the figures":   sim.Dependability{},
	} {
		var want []string
		for f := range reflect.TypeOf(x).Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				want = append(want, name)
			}
		}
		got := listed(t, head)
		slices.Sort(got)
		slices.Sort(want)
		equal(t, head, got, want)
	}
}

// TestDocBenchLists holds the lists of columns, errors and kinds of plots against what there is. The faults are a
// session, and so are run.
func TestDocBenchLists(t *testing.T) {
	var head bytes.Buffer
	if err := bench.WriteCSV(&head, nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "columns", listed(t, "column"), strings.Split(strings.TrimSpace(head.String()), ","))
	equal(t, "kinds of plots", listed(t, "kind"), bench.PlotKinds())
	text, err := os.ReadFile(benchDoc)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "axes", codes(regexp.MustCompile(`An axis is one of [^;]*;`).FindString(string(text))), bench.AxisNames())
	source, err := os.ReadFile("bench/load.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(source), "var errorKinds = ")
	list, _, _ = strings.Cut(list, "\n}\n")
	var want []string
	for _, m := range regexp.MustCompile(`, "([a-z_]+)"\}`).FindAllStringSubmatch(list, -1) {
		want = append(want, m[1])
	}
	equal(t, "kinds of errors", listed(t, "kind of error"), want)
}
