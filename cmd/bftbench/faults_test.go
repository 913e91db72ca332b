package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bench"
)

func TestBadFaultUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown fault":  {"faults", "earthquake"},
		"twice":          {"faults", "wan", "wan"},
		"no clients":     {"faults", "--clients", "0"},
		"no time":        {"faults", "kill-backup", "--during", "0s"},
		"delay of all":   {"faults", "--delay", "1s"},
		"delay of none":  {"faults", "kill-backup", "--delay", "1s"},
		"list of names":  {"faults", "--list", "wan"},
		"kind of plot":   {"faults", "wan", "--plot", "x.jpeg"},
		"no home":        {"replica"},
		"two homes":      {"replica", "a", "b"},
		"negative delay": {"replica", "a", "--sync-delay", "-1s"},
	} {
		code, stdout, stderr := runLine(t, false, args...)
		if code != codeUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "bftbench: ") {
			t.Errorf("%s: exit code %d, output %q, it says %q, want one line", name, code, stdout, stderr)
		}
	}
}

func TestReplicaWithoutHome(t *testing.T) {
	code, stdout, stderr := runLine(t, false, "replica", filepath.Join(t.TempDir(), "none"))
	if code != codeUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "make the home of a replica") {
		t.Errorf("exit code %d, output %q, it says %q, want one line about the home", code, stdout, stderr)
	}
}

func TestListFaults(t *testing.T) {
	code, stdout, stderr := runLine(t, false, "faults", "--list")
	if code != codeOK || stderr != "" || strings.Count(stdout, "\n") != len(bench.Faults()) || !strings.Contains(stdout, "kill-primary   the primary is killed") {
		t.Errorf("exit code %d, %q, %q, want a line for each fault", code, stdout, stderr)
	}
	code, stdout, _ = runLine(t, false, "faults", "--list", "--json")
	var all []bench.FaultInfo
	if err := json.Unmarshal([]byte(stdout), &all); code != codeOK || err != nil || len(all) != len(bench.Faults()) || all[0] != bench.Faults()[0] {
		t.Errorf("exit code %d, %v, %q, want the faults in JSON", code, err, stdout)
	}
}

func TestPlotPath(t *testing.T) {
	if a, b := plotPath("x.svg", "wan", 1), plotPath("dir.d/x.svg", "wan", 2); a != "x.svg" || b != "dir.d/x-wan.svg" {
		t.Errorf("plots go to %s and %s", a, b)
	}
}

// One command line has a real replica run with a slow disk, and another hold its pre-prepares back, under load, and both agree
// with the others at the end.
func TestFaultsWithinAProcess(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plot := filepath.Join(t.TempDir(), "x.svg")
	for fault, delay := range map[string]string{"slow-disk": "5ms", "slow-primary": "20ms"} {
		code, stdout, stderr := runLine(t, true, "faults", fault, "--delay", delay, "--bftnode", program, "--clients", "2", "--depth", "4",
			"--warmup", "0s", "--before", "1s", "--during", "1s", "--after", "1s", "--plot", plot, "--json")
		if code != codeOK {
			t.Fatalf("%s: exit code %d: %s", fault, code, stderr)
		}
		var results []bench.FaultResult
		if err := json.Unmarshal([]byte(stdout), &results); err != nil || len(results) != 1 {
			t.Fatalf("%s: %v: %s", fault, err, stdout)
		}
		res := &results[0]
		if res.Fault != fault || !res.Safety.Holds() || res.Safety.Acknowledged == 0 || res.DelayMS <= 0 || res.Settings.Clients != 2 {
			t.Errorf("%s: %+v", fault, res)
		}
		if !strings.Contains(stderr, fault+" by "+delay) {
			t.Errorf("%s: progress %q, want the fault shown", fault, stderr)
		}
		if data, err := os.ReadFile(plot); err != nil || !bytes.Contains(data, []byte("<svg")) || !bytes.Contains(data, []byte("fault begins")) {
			t.Errorf("%s: the plot has %d bytes (%v), want an SVG", fault, len(data), err)
		}
	}
}
