package main

import (
	"encoding/xml"
	"errors"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/sim/teach"
)

func TestDrawPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.html")
	_, diag, err := call("draw", "--seed", "3", "--until", "1s", "-o", file)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<title>seed 3 · space-time diagram</title>", `"name":"pre-prepare"`, `"name":"commit"`, `"name":"r0"`, `"name":"c0"`, `"execute"`, "body: "} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if !strings.HasPrefix(diag, file+": ") || !strings.HasSuffix(diag, " messages\n") {
		t.Errorf("it says %q", diag)
	}
}

// TestDrawScript draws what a script says, with its notes.
func TestDrawScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "small-world.sim")
	if err := os.WriteFile(script, []byte("# One of\n# four is silent.\nseed 5\nload sequences=2\nheal 300ms\nadversary silent primary by r0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, err := call("draw", script, "--svg", "-o", "-")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal([]byte(out), new(struct{})); err != nil {
		t.Errorf("not well-formed: %v", err)
	}
	for _, want := range []string{">small world</title>", "One of four is silent.", "The adversary owns r0: silent primary."} {
		if !strings.Contains(out, want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
}

// TestDrawScenario draws what a teaching scenario shows.
func TestDrawScenario(t *testing.T) {
	s := teach.All()[0]
	out, _, err := call("draw", s.Name, "-o", "-")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "<title>"+html.EscapeString(s.Title)) {
		t.Errorf("the page of %s does not bear its title", s.Name)
	}
	if _, _, err := call("draw", s.Name, "--mutant", "no-join"); err == nil || !strings.Contains(err.Error(), "teaching scenario") {
		t.Errorf("a scenario with a mutant: %v", err)
	}
}

// TestDrawMutant draws a run of a wrong protocol, whatever becomes of it.
func TestDrawMutant(t *testing.T) {
	out, _, err := call("draw", "--seed", "2", "--mutant", "quorum-too-small", "--until", "2s", "-o", "-")
	if err != nil && !errors.Is(err, errFailed) {
		t.Fatal(err)
	}
	if !strings.Contains(out, "<title>seed 2, mutant quorum-too-small ·") || !strings.Contains(out, `"name":"prepare"`) {
		t.Errorf("no page of the mutant, but %d bytes: %.200q", len(out), out)
	}
}

func TestDrawUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"draw"}, "give --seed N"},
		{[]string{"draw", "--seed", "3", "--from", "2s", "--until", "1s"}, "ends after it begins"},
		{[]string{"draw", "--seed", "3", "--from", "1h", "-o", "-"}, "--from 1h0m0s: the run ends at "},
		{[]string{"draw", "--seed", "3", "--until", "10ms", "-o", filepath.Join(t.TempDir(), "no", "such", "place")}, "make that directory, or name another file with --output"},
		{[]string{"draw", "--seed", "3", "--mutant", "no-such-mutant"}, "no-such-mutant"},
	} {
		_, _, err := call(c.args...)
		if err == nil || errors.Is(err, errFailed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}
