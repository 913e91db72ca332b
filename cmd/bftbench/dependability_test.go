package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bench"
)

func TestBadDependabilityUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"argument":      {"dependability", "now"},
		"no clients":    {"dependability", "--clients", "0"},
		"no time":       {"dependability", "--time", "0s"},
		"no bound":      {"dependability", "--within", "0s"},
		"unknown class": {"dependability", "--classes", "crash,earthquake"},
		"no class":      {"dependability", "--classes", ","},
		"no pause":      {"dependability", "--every", "0s"},
		"too few":       {"dependability", "--nodes", "3"},
	} {
		code, stdout, stderr := runLine(t, false, args...)
		if code != codeUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "bftbench: ") {
			t.Errorf("%s: exit code %d, output %q, it says %q, want one line", name, code, stdout, stderr)
		}
	}
}

// One command line has four processes of which one is stopped now and then, and prints the figures.
func TestDependability(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := runLine(t, true, "dependability", "--time", "3s", "--classes", "timing", "--every", "100ms", "--for", "200ms",
		"--within", "10m", "--bftnode", program, "--json")
	if code != codeOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var res bench.MissionResult
	if err := json.Unmarshal([]byte(stdout), &res); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if !res.Holds() || res.Answers == 0 || res.Failures != 0 || res.Availability != 1 || len(res.Events) == 0 || len(res.Faults) != 1 || res.Faults[0].Masked != len(res.Events) {
		t.Errorf("%+v", res)
	}
	if !strings.Contains(stderr, "waiting for the replicas") || !strings.Contains(stderr, " of r") {
		t.Errorf("progress %q, want the faults shown", stderr)
	}
}
