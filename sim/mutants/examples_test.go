package mutants

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/baluarte-bft/baluarte/sim"
)

var allExamples = flag.Bool("all", false, "build the mutants of all kept scripts, not of three")

// What a kept script may have, so that it fits a screen.
const (
	maxLines   = 20
	maxColumns = 100
)

// few are the examples whose mutants are built in each test run, for a build takes some seconds: one of
// the agreement, one of the view change, one of the clients.
var few = []string{"two-quorums-one-liar", "certificate-forgotten", "stale-read"}

// example is a script that is kept in sim/testdata.
type example struct {
	name, file, text string
	script           *sim.Script
}

func examples(t *testing.T) []example {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.sim"))
	if err != nil {
		t.Fatal(err)
	}
	var out []example
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := sim.ParseScript(strings.NewReader(string(text)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, example{strings.TrimSuffix(filepath.Base(file), ".sim"), file, string(text), s})
	}
	return out
}

// TestExamplesAreShort: a script is kept for people to read, with its story at its head.
func TestExamplesAreShort(t *testing.T) {
	ms := all(t)
	var shown []string
	for _, x := range examples(t) {
		lines := strings.Split(strings.TrimSuffix(x.text, "\n"), "\n")
		if len(lines) > maxLines {
			t.Errorf("%s: %d lines, more than %d", x.file, len(lines), maxLines)
		}
		for i, line := range lines {
			if n := utf8.RuneCountInString(line); n > maxColumns {
				t.Errorf("%s:%d: %d columns, more than %d", x.file, i+1, n, maxColumns)
			}
		}
		if n := len(x.script.Notes); n < 2 || n > 6 {
			t.Errorf("%s: a story of %d lines, want 2 to 6", x.file, n)
		}
		if (x.script.Mutant == "") != (x.script.Expect == "ok") {
			t.Errorf("%s: mutant %q, expect %q: the right protocol is ok, a mutant breaks an oracle", x.file, x.script.Mutant, x.script.Expect)
		}
		if x.script.Mutant == "" {
			continue
		}
		if _, err := Choose(ms, []string{x.script.Mutant}); err != nil {
			t.Errorf("%s: %v", x.file, err)
		}
		if !slices.Contains(shown, x.script.Mutant) {
			shown = append(shown, x.script.Mutant)
		}
	}
	if len(shown) < 8 {
		t.Errorf("only %d mutants have an example: %q", len(shown), shown)
	}
}

// TestExamplesAreTold: the document names each script, its mutant and its oracle in one row.
func TestExamplesAreTold(t *testing.T) {
	told, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range examples(t) {
		row := fmt.Sprintf("| [%s](../sim/testdata/%s.sim) | %s | %s |", x.name, x.name, x.script.Mutant, x.script.Expect)
		if x.script.Mutant != "" && !strings.Contains(string(told), row) {
			t.Errorf("docs/examples.md lacks the row %s", row)
		}
	}
}

// TestExamplesHoldWithTheRightProtocol: what breaks a mutant breaks nothing else, whatever oracle is watched.
func TestExamplesHoldWithTheRightProtocol(t *testing.T) {
	for _, x := range examples(t) {
		o := x.script.Options
		o.Demand = nil
		report, err := sim.Run(o)
		if err != nil {
			t.Fatalf("%s: %v", x.file, err)
		}
		if !report.OK() {
			t.Errorf("%s: %v", x.file, report.Failure)
		}
		// What the story is about must have happened here too, or its end would prove nothing.
		if len(o.Byzantine) > 0 && report.Stats.Deeds == 0 {
			t.Errorf("%s: with the right protocol the adversary never lies", x.file)
		}
		if len(o.Faults) > 0 && len(report.Stats.Injected) == 0 {
			t.Errorf("%s: with the right protocol no fault hits", x.file)
		}
	}
}

// TestExamplesBreakTheirMutants replays the scripts with the protocols that they are about, in processes of their own:
// the expected oracle breaks, in the same way on one processor and on two.
func TestExamplesBreakTheirMutants(t *testing.T) {
	built := make(map[string]string)
	tried := 0
	for _, x := range examples(t) {
		mutant := x.script.Mutant
		if mutant == "" || !*allExamples && !slices.Contains(few, x.name) {
			continue
		}
		tried++
		if built[mutant] == "" {
			built[mutant] = filepath.Join(t.TempDir(), "bftsim")
			if err := Build(t.Context(), mutant, built[mutant]); err != nil {
				t.Fatalf("%s: %v", x.file, err)
			}
		}
		one, two := replay(t, built[mutant], x.file, 1), replay(t, built[mutant], x.file, 2)
		if one.Failure == nil || one.Failure.Oracle != x.script.Expect {
			t.Errorf("%s: with the mutant %s it ends with %+v, want that %s breaks; see docs/examples.md for how to make it anew",
				x.file, mutant, one.Failure, x.script.Expect)
		}
		if one.TraceHash == "" || one.TraceHash != two.TraceHash {
			t.Errorf("%s: the trace hash is %q on one processor and %q on two", x.file, one.TraceHash, two.TraceHash)
		}
	}
	if tried < len(few) {
		t.Errorf("%d examples were replayed, want at least %q", tried, few)
	}
}

// outcome is what bftsim run --json prints of a run.
type outcome struct {
	TraceHash string       `json:"trace_hash"`
	Failure   *sim.Failure `json:"failure"`
}

// replay has a program run a script on so many processors.
func replay(t *testing.T, program, file string, processors int) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "run", file, "--json")
	cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", processors))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%s: %v", file, err)
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatalf("%s: %v in %.200q", file, err, out)
	}
	return o
}
