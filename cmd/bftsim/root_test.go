package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/sim"
)

// call runs the command line and returns what it wrote.
func call(args ...string) (out, diag string, err error) {
	var o, d bytes.Buffer
	cmd := root(&o, &d)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return o.String(), d.String(), err
}

func TestRunPrintsTheSameHashTwice(t *testing.T) {
	text, _, err := call("run", "--seed", "3")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, _, err := call("run", "--seed", "3", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r sim.Report
	if err := json.Unmarshal([]byte(asJSON), &r); err != nil {
		t.Fatal(err)
	}
	if r.Outcome != "ok" || r.Options.Seed != 3 || r.Options.Protocol.RequestTimeout == 0 || len(r.TraceHash) != 64 {
		t.Errorf("report: %+v", r)
	}
	for _, want := range []string{"seed          3\n", "outcome       ok\n", "trace_hash    " + r.TraceHash + "\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
}

func TestRunTrace(t *testing.T) {
	text, _, err := call("run", "--seed", "3", "--trace")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pre-prepare by ", "prepare 1 ", "commit 1 ", "checkpoint", "reply session", "outcome       ok"} {
		if !strings.Contains(text, want) {
			t.Errorf("the trace lacks %q", want)
		}
	}
}

func TestFuzz(t *testing.T) {
	text, diag, err := call("fuzz", "--seeds", "1..3", "--jobs", "2")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "runs                3, ") || !strings.Contains(text, "outcome             ok") || diag != "" {
		t.Errorf("out:\n%s\ndiag:\n%s", text, diag)
	}
	asJSON, _, err := call("fuzz", "--seeds", "2..2", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal([]byte(asJSON), &r); err != nil || r.Outcome != "ok" || r.Census.Runs != 1 {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestFailureIsOneLineAndACommand(t *testing.T) {
	var out, diag bytes.Buffer
	failed := &sim.Report{Options: sim.Draw(17), Failure: &sim.Failure{Oracle: "S1", At: sim.Duration(2_310_000_000), Detail: "two digests"}}
	if err := conclude(&out, &diag, &sim.Census{Runs: 1}, failed, false, ""); !errors.Is(err, errFailed) {
		t.Errorf("error %v", err)
	}
	if !strings.HasSuffix(out.String(), "FAIL oracle=S1 seed=17 at=2.31s\n") {
		t.Errorf("out: %s", out.String())
	}
	if !strings.Contains(diag.String(), "bftsim run --seed 17\n") {
		t.Errorf("diag: %s", diag.String())
	}
}

// A campaign of runs that do not count does not pass.
func TestCensusIsDemanded(t *testing.T) {
	var out, diag bytes.Buffer
	if err := conclude(&out, &diag, &sim.Census{Runs: 2, Counted: 1}, nil, false, ""); !errors.Is(err, errFailed) {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(diag.String(), "1 of 2 runs") {
		t.Errorf("diag: %s", diag.String())
	}
}

func TestWrongUse(t *testing.T) {
	for _, c := range []struct {
		args  string
		words string
	}{
		{"run", "give --seed N"},
		{"run --seed x", "is not a whole number from 0 on; see bftsim run --help"},
		{"run --seed 1 --fast", "unknown flag"},
		{"run --seed 1 extra", "not both"},
		{"run --seed 1 --trace --json", "--trace prints text"},
		{"run --seed 1 --signatures rsa", "neither fast nor ed25519"},
		{"fuzz", "fuzz needs --seeds A..B"},
		{"fuzz --seeds 7", "as in 1..1000"},
		{"fuzz --seeds 9..7", "as in 1..1000"},
		{"fuzz --seeds 1..2 --jobs 0", "at least 1"},
		{"nonsense", `has no command "nonsense"`},
	} {
		out, _, err := call(strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "\n") || out != "" {
			t.Errorf("%s: error %v, want one line about %q; out %q", c.args, err, c.words, out)
		}
	}
}
