package baluarte_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/mutants"
	"github.com/baluarte-bft/baluarte/sim/teach"
)

// What docs/simulator.md and docs/bugs.md list is held against what there is: a list in prose that nobody
// checks is soon out of date.

const simulatorDoc = "docs/simulator.md"

// tableUnder returns the rows of the first table of a document whose head begins with a cell, without the head.
func tableUnder(t *testing.T, file, first string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	within := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch row := strings.HasPrefix(line, "|"); {
		case row && !within && cells[0] == first:
			within = true
		case within && !row:
			return rows
		case within && !strings.HasPrefix(line, "|---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table that begins with %q", file, first)
	}
	return rows
}

// column returns one cell of each row.
func column(rows [][]string, k int) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r[k])
	}
	return out
}

// equal complains if two lists differ.
func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: the document has\n%q\nand there is\n%q", what, got, want)
	}
}

var code = regexp.MustCompile("`([^`]+)`")

// codes lists what stands between backquotes.
func codes(s string) []string {
	var out []string
	for _, m := range code.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}

func TestDocBehaviours(t *testing.T) {
	var catalogue, accidents []string
	for _, b := range byz.All() {
		if b.Number == 0 {
			accidents = append(accidents, fmt.Sprintf("%s | %s | %s", b.Name, b.Role, strings.Join(b.Defences, ", ")))
		} else {
			catalogue = append(catalogue, fmt.Sprintf("%d | %s | %s | %s", b.Number, b.Name, b.Role, strings.Join(b.Defences, ", ")))
		}
	}
	all, err := mutants.All()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range tableUnder(t, simulatorDoc, "no") {
		got = append(got, strings.Join([]string{r[0], r[1], r[2], r[4]}, " | "))
		if len(r[3]) < 20 {
			t.Errorf("%s: what it tries is %q", r[1], r[3])
		}
		for _, name := range strings.Split(r[4], ", ") {
			if !slices.ContainsFunc(all, func(m *mutants.Mutant) bool { return m.Name == name }) {
				t.Errorf("%s: there is no mutant %s", r[1], name)
			}
		}
	}
	equal(t, "behaviours", got, catalogue)
	got = nil
	for _, r := range tableUnder(t, simulatorDoc, "behaviour") {
		got = append(got, strings.Join([]string{r[0], r[1], r[3]}, " | "))
	}
	equal(t, "accidents", got, accidents)
}

func TestDocFaults(t *testing.T) {
	var kinds []string
	for _, k := range sim.FaultKinds() {
		kinds = append(kinds, "`"+string(k)+"`")
	}
	equal(t, "kinds of faults", column(tableUnder(t, simulatorDoc, "kind"), 0), kinds)

	// A kind can have a duration if the options do not refuse it for that.
	can := func(k sim.FaultKind, lasts sim.Persistence) bool {
		o := sim.Plain()
		o.Faults = []sim.Fault{{Kind: k, Lasts: lasts}}
		err := o.Validate()
		return err == nil || !strings.Contains(err.Error(), "it is one of")
	}
	rows := tableUnder(t, simulatorDoc, "class")
	if len(rows) != 4 {
		t.Fatalf("%d classes of faults of the environment, want 4", len(rows))
	}
	for i, r := range rows {
		class := sim.Classes()[i]
		if r[0] != string(class) {
			t.Errorf("class %q, want %q", r[0], class)
		}
		for j, lasts := range sim.Persistences() {
			var want []string
			for _, k := range sim.FaultKinds() {
				if (&sim.Fault{Kind: k}).Class() == class && can(k, lasts) {
					want = append(want, string(k))
				}
			}
			got := codes(r[j+1])
			slices.Sort(got)
			equal(t, string(class)+", "+string(lasts), got, want)
		}
	}
}

// TestDocScripts wants every name of a line of settings in the table of lines, and no other.
func TestDocScripts(t *testing.T) {
	rows := tableUnder(t, simulatorDoc, "line")
	names := regexp.MustCompile(`of ([a-z, -]+)$`)
	for _, line := range []string{"protocol", "timeouts", "load", "network", "machine"} {
		i := slices.IndexFunc(rows, func(r []string) bool { return r[0] == "`"+line+"`" })
		if i < 0 {
			t.Errorf("there is no line %q", line)
			continue
		}
		_, err := sim.ParseScript(strings.NewReader(line + " nothing=1"))
		m := names.FindStringSubmatch(fmt.Sprint(err))
		if m == nil {
			t.Fatalf("%s: %v does not list the names", line, err)
		}
		var got []string
		for _, name := range codes(rows[i][1]) {
			if name != "sequences" || !slices.Contains(got, name) {
				got = append(got, name)
			}
		}
		want := strings.Split(m[1], ", ")
		slices.Sort(want)
		got = slices.Compact(slices.Sorted(slices.Values(got)))
		equal(t, line, got, want)
	}
	source, err := os.ReadFile("sim/script.go")
	if err != nil {
		t.Fatal(err)
	}
	_, reader, _ := strings.Cut(string(source), "func (p *parser) line(")
	reader, _, _ = strings.Cut(reader, "\n}\n")
	lines := regexp.MustCompile(`case "([a-z]+)":`).FindAllStringSubmatch(reader, -1)
	for _, m := range lines {
		if !slices.ContainsFunc(rows, func(r []string) bool { return strings.HasPrefix(r[0], "`"+m[1]+" ") || r[0] == "`"+m[1]+"`" }) {
			t.Errorf("a script may have a line %q, of which the document says nothing", m[1])
		}
	}
	if len(lines)+5 != len(rows) {
		t.Errorf("the document has %d lines, and scripts %d", len(rows), len(lines)+5)
	}
	// The one that is shown as written by hand is one.
	found := false
	for _, f := range fences(t, simulatorDoc) {
		if f.info == "" && strings.Contains(f.text, "\nadversary ") {
			found = true
			script, err := sim.ParseScript(strings.NewReader(f.text))
			if err != nil {
				t.Fatalf("line %d: %v", f.line, err)
			}
			if script.Mutant != "" {
				continue // what comes of it with the right protocol is not what it shows
			}
			report, err := sim.Run(script.Options)
			if err != nil || report.Outcome != script.Expect {
				t.Errorf("line %d: expected %q, got %+v, %v", f.line, script.Expect, report, err)
			}
		}
	}
	if !found {
		t.Error("there is no script by hand")
	}
}

// TestDocOracles wants each name with which package sim ends a run to be explained, in the document and in
// the comment of the package.
func TestDocOracles(t *testing.T) {
	calls := regexp.MustCompile(`\b(?:fail|liveness)\("([A-Z]+[0-9]?)"|Oracle: "([A-Z]+[0-9]?)"`)
	named := column(tableUnder(t, simulatorDoc, "name"), 0)
	comment, err := os.ReadFile("sim/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"D1": true} // what L1 and L2 are called in the last phase
	files, err := filepath.Glob("sim/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range calls.FindAllStringSubmatch(string(text), -1) {
			used[m[1]+m[2]] = true
		}
	}
	for name := range used {
		if name != "RESULT" && !slices.Contains(named, name) { // RESULT is simtest's, which explains it
			t.Errorf("oracle %s is not in the table", name)
		}
	}
	for _, name := range named {
		if !used[name] {
			t.Errorf("nothing breaks %s", name)
		}
		if !regexp.MustCompile(`\b` + name + `\b`).Match(comment) {
			t.Errorf("the comment of package sim lacks %s", name)
		}
	}
}

func TestDocScenarios(t *testing.T) {
	var want, got []string
	for _, g := range teach.Groups() {
		want = append(want, g.Title)
		for _, s := range g.Scenarios {
			want = append(want, s.Name)
		}
	}
	for _, r := range tableUnder(t, simulatorDoc, "subject") {
		got = append(append(got, r[0]), codes(r[1])...)
	}
	equal(t, "teaching scenarios", got, want)
}

// TestDocJSON holds the shapes that are shown against the types that are printed.
func TestDocJSON(t *testing.T) {
	shapes := map[string][]any{
		"`run --seed N`, `run FILE`": {sim.Report{}, sim.Failure{}, sim.Accusation{}},
		"`run NAME`":                 {teach.Result{}, teach.Fact{}, teach.Table{}},
		"`list`":                     {teach.Scenario{}},
		"`matrix`":                   {sim.CellResult{}},
		"`behaviours`":               {sim.BehaviourResult{}},
		"`mutants`":                  {mutants.Outcome{}},
		"`accountability`":           {sim.Accountability{}},
		"`twins`":                    {sim.TwinsReport{}, sim.TwinsFailure{}},
	}
	outer := []string{"scenarios", "cells", "behaviours", "mutants", "accountability", "failed"}
	field := regexp.MustCompile(`"([a-z_]+)"`)
	checked := 0
	for _, r := range tableUnder(t, simulatorDoc, "command") {
		var want, got []string
		for _, x := range shapes[r[0]] {
			for f := range reflect.TypeOf(x).Fields() {
				if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" && name != "" {
					want = append(want, name)
				}
			}
		}
		if want == nil {
			continue
		}
		checked++
		for _, m := range field.FindAllStringSubmatch(codes(r[1])[0], -1) {
			if slices.Contains(want, m[1]) || !slices.Contains(outer, m[1]) {
				got = append(got, m[1])
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		equal(t, r[0], slices.Compact(got), slices.Compact(want))
	}
	if checked < 8 {
		t.Errorf("only %d shapes are checked", checked)
	}
}

// TestKeptScripts runs the scripts that are kept: each is short, tells its story, and comes out as it says. What
// one shows with a mutant does not happen with the protocol as it is.
func TestKeptScripts(t *testing.T) {
	files, err := filepath.Glob("sim/testdata/*.sim")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script, err := sim.ParseScript(bytes.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		long := slices.ContainsFunc(lines, func(l string) bool { return utf8.RuneCountInString(l) > 100 })
		if len(lines) > 20 || long || len(script.Notes) == 0 || script.Expect == "" {
			t.Errorf("%s: a script has a story, says what to expect, and has at most 20 lines of 100 columns", file)
		}
		want := script.Expect
		if script.Mutant != "" {
			want = "ok"
		}
		report, err := sim.Run(script.Options)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got := "ok"
		if f := report.Failure; f != nil {
			got = f.Oracle
		}
		if got != want {
			t.Errorf("%s: got %s, want %s: %v", file, got, want, report.Failure)
		}
	}
}

// TestDocBugs wants the tests that docs/bugs.md names to exist.
func TestDocBugs(t *testing.T) {
	tests := map[string][]string{} // by directory
	for _, f := range sources(t) {
		for _, d := range f.file.Decls {
			if x, ok := d.(*ast.FuncDecl); ok && f.test && x.Recv == nil && strings.HasPrefix(x.Name.Name, "Test") {
				tests[f.dir] = append(tests[f.dir], x.Name.Name)
			}
		}
	}
	command := regexp.MustCompile(`^go test (?:-\S+ )*(\S+)(?: -\S+)*? -run '?([^' ]+)`)
	for _, r := range tableUnder(t, "docs/bugs.md", "what") {
		how := codes(r[len(r)-1])
		if strings.HasPrefix(r[len(r)-1], "by reading") {
			continue
		}
		if len(how) == 0 {
			t.Errorf("%s\nhas no command", r[0])
			continue
		}
		m := command.FindStringSubmatch(strings.ReplaceAll(how[0], `\|`, "|"))
		if m == nil {
			if strings.HasPrefix(how[0], "go test") && !strings.Contains(how[0], "-count") {
				t.Errorf("%s: which test is that?", how[0])
			}
			continue
		}
		for name := range strings.SplitSeq(m[2], "|") {
			if !slices.ContainsFunc(tests[filepath.Clean(m[1])], func(x string) bool { return strings.Contains(x, name) }) {
				t.Errorf("%s: there is no test %s", how[0], name)
			}
		}
	}
}

// TestDocExtensions builds the simulator with the scenario, the behaviour and the oracle that the document shows,
// and uses them.
func TestDocExtensions(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	put := func(path, text string) {
		at := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, path)] = at
	}
	change := func(path, old, with string) {
		text, err := os.ReadFile(path)
		if err != nil || strings.Count(string(text), old) != 1 {
			t.Fatalf("%s: %q stands there %d times, %v", path, old, strings.Count(string(text), old), err)
		}
		put(path, strings.Replace(string(text), old, with, 1))
	}
	shown := 0
	for _, f := range fences(t, simulatorDoc) {
		lang, path, _ := strings.Cut(f.info, " ")
		if lang == "go" && path != "" {
			put(path, f.text)
			shown++
		}
		if lang == "go" && strings.HasPrefix(f.text, "var backups = []Behaviour{\n") {
			change("sim/byz/backups.go", "var backups = []Behaviour{\n", strings.TrimSuffix(f.text, "}\n"))
			shown++
		}
	}
	if shown != 5 {
		t.Fatalf("%d files and entries are shown, want 5", shown)
	}
	change("sim/teach/teach.go", "redundancyScenarios()", "append(redundancyScenarios(), parityScenarios()...)")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want, program string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: want %q, got %v\n%s", strings.Join(args, " "), want, err, out)
		}
	}
	program := filepath.Join(dir, "bftsim")
	run("", "go", "build", "-overlay", overlay, "-o", program, "./cmd/bftsim")
	if t.Failed() {
		return
	}
	run("1 of 1 behaviours ok", program, "behaviours", "--only", "cold shoulder", "--seeds", "1..2")
	run("Of two flipped bits 0 of 28 ways are noticed.", program, "run", "parity")
	run("ok ", "go", "test", "-overlay", overlay, "-count=1", "./sim", "-run", "^TestS10")
}
