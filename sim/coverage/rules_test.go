package coverage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/sim/internal/gocmd"
)

func TestCitedRules(t *testing.T) {
	for text, want := range map[string][]int{
		"nothing (rule of thumb)":                 nil,
		"as rule 7 says":                          {7},
		"Rules 7 and 8":                           {7, 8},
		"(rules 10, 12, 15, 21)":                  {10, 12, 15, 21},
		"keeps one session (rules 24 to 28).":     {24, 25, 26, 27, 28},
		"rules 1, 3 to 5, and 9":                  {1, 3, 4, 5, 9},
		"rule 5's bound, then rule 5 and rule\n4": {4, 5},
		"rule 0 and rule 34, rule 2024":           nil,
		"rules 1 and 2 of 40":                     {1, 2},
		"overrule 5":                              nil,
	} {
		if got := citedRules(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

const source = `package sample

// About the file (rule 1).

// kind is documented by rule 2.
type kind struct {
	a int // a field, rule 3
}

const limit = 4 // rule 4

// use of rule 5.
func (k *kind) use(x int) int {
	// Before a statement, rule 6.
	if x > 0 {
		x++ // at its end, rule 7
		return x
	}
	switch x {
	case 1:
		// In a clause, rule 8.
		x = 2
	default: // rule 9
		x = 3
	}
	return x
	// At the end of a block, rule 10.
}

func other() {
	f := func() {
		// In a function literal, rule 11.
		println()
	}
	f()
}

type (
	// pair is in a group, rule 12.
	pair struct{}
	last struct{}
)

func (pair) one() { println() }
`

// sample writes the source to a tree of its own.
func sample(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "pkg"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"sample.go": source, "sample_test.go": "package sample\n\n// rule 13\n",
		"more.go": "package sample\n\nfunc (k *kind) elsewhere() { println() }\n"} {
		if err := os.WriteFile(filepath.Join(root, "pkg", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCitationsFindTheirCode(t *testing.T) {
	cited, err := citations(sample(t), []string{"pkg"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cited {
		line := fmt.Sprintf("%v %s", c.rules, c.name)
		for _, r := range c.code {
			line += fmt.Sprintf(" %d-%d", r.from.line, r.to.line)
		}
		got = append(got, line)
	}
	want := []string{"[1] ", "[2] kind 13-28", "[3] kind", "[4] limit", "[5] kind.use 13-28", "[6] kind.use 15-18", "[7] kind.use 16-16",
		"[8] kind.use 22-22", "[9] kind.use 24-24", "[10] kind.use 13-28", "[11] other 33-33", "[12] pair 44-44"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// profileOf is a profile in which the given lines of the sample are blocks with these counts.
func profileOf(t *testing.T, counts ...[3]int) profile {
	t.Helper()
	text := "mode: atomic\nexample.org/other/pkg/sample.go:1.1,99.1 1 7\n"
	for _, c := range counts {
		text += fmt.Sprintf("%s/pkg/sample.go:%d.2,%d.90 1 %d\n", gocmd.Module, c[0], c[1], c[2])
	}
	p, err := readProfile(strings.NewReader(text), gocmd.Module)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRulesAreMatchedWithBlocks(t *testing.T) {
	cited, err := citations(sample(t), []string{"pkg"})
	if err != nil {
		t.Fatal(err)
	}
	p := profileOf(t, [3]int{13, 15, 9}, [3]int{16, 17, 0}, [3]int{21, 22, 4}, [3]int{24, 24, 0}, [3]int{26, 26, 9}, [3]int{31, 31, 0}, [3]int{33, 33, 0}, [3]int{44, 44, 2})
	r := match(&RulesOptions{First: 1, Last: 5}, cited, p)
	type seen struct {
		places, code, entered int
		times                 uint64
		blocks, ran           int
	}
	for n, want := range map[int]seen{
		1: {1, 0, 0, 0, 0, 0}, 2: {1, 1, 1, 9, 5, 3}, 3: {1, 0, 0, 0, 0, 0}, 4: {1, 0, 0, 0, 0, 0}, 5: {1, 1, 1, 9, 5, 3}, 6: {1, 1, 1, 9, 2, 1},
		7: {1, 1, 0, 0, 1, 0}, 8: {1, 1, 1, 4, 1, 1}, 9: {1, 1, 0, 0, 1, 0}, 11: {1, 1, 0, 0, 1, 0}, 12: {1, 1, 1, 2, 1, 1}, 13: {},
	} {
		x := r.Rules[n-1]
		if got := (seen{x.Places, x.Code, x.Entered, x.Times, x.Blocks, x.Ran}); got != want || x.Number != n {
			t.Errorf("rule %d: %+v, want %+v", n, got, want)
		}
	}
	if got := r.Never(); !slices.Equal(got, []int{7, 9, 11}) {
		t.Errorf("never entered: %v", got)
	}
	if got := r.Uncited(); !slices.Equal(got[:4], []int{1, 3, 4, 13}) || len(got) != 3+lastRule-12 {
		t.Errorf("not cited at code: %v", got)
	}
	text := r.String()
	for _, part := range []string{"seeds 1..5: 6 of 9 that are cited at code, of 33", "never entered: 7, 9, 11\n", "  rule 9: pkg/sample.go:23 kind.use\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func TestProfilesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "pkg/a.go:1.1,2.2 1 1\n", "mode: set\npkg/a.go:1.1,2.2\n", "mode: set\nnothing\n"} {
		if _, err := readProfile(strings.NewReader(text), "pkg"); err == nil {
			t.Errorf("%q is read as a profile", text)
		}
	}
}

// TestRulesOfRealRuns is all of it: build, run, profile, match.
func TestRulesOfRealRuns(t *testing.T) {
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var steps []string
	r, err := Rules(ctx, RulesOptions{Root: root, First: 1, Last: 2, Jobs: 1, Progress: func(s string) { steps = append(steps, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"build", "seeds 1..2", "profile"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
	for _, n := range []int{1, 9, 11, 16, 19, 24, 27} { // no run does without these
		if x := r.Rules[n-1]; x.Entered == 0 || x.Times == 0 || len(x.Functions) == 0 {
			t.Errorf("rule %d was not entered: %+v", n, x)
		}
	}
	for _, x := range r.Rules {
		if x.Ran > x.Blocks || x.Entered > x.Code || x.Code > x.Places || x.Entered+len(x.Idle) != x.Code {
			t.Errorf("rule %d: %+v", x.Number, x)
		}
	}
}

func TestRulesThatCannotBeMeasured(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Rules(ctx, RulesOptions{Root: root, First: 1, Last: 1, Jobs: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	for _, o := range []RulesOptions{{Root: root, First: 2, Last: 1, Jobs: 1}, {Root: root, First: 1, Last: 1}} {
		if _, err := Rules(t.Context(), o); err == nil {
			t.Errorf("%+v is run", o)
		}
	}
	if _, err := Rules(t.Context(), RulesOptions{Root: t.TempDir(), First: 1, Last: 1, Jobs: 1}); err == nil {
		t.Error("a tree without a core is measured")
	}
}
