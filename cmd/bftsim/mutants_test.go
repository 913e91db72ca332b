package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/sim/mutants"
)

func TestMutantsList(t *testing.T) {
	text, _, err := call("mutants", "--list", "--only", "quorum-too-small")
	if err != nil || !strings.HasPrefix(text, "quorum-too-small\n") || !strings.Contains(text, "  breaks   ") {
		t.Errorf("%v:\n%s", err, text)
	}
	text, _, err = call("mutants", "--list", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Mutants []mutants.Mutant }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Mutants) < 13 || list.Mutants[0].Name != "quorum-too-small" || list.Mutants[0].Notices == "" {
		t.Errorf("%d mutants, the first is %+v", len(list.Mutants), list.Mutants)
	}
}

func TestMutantsRefusesWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		`no mutant "nonesuch"`: {"--only", "nonesuch"},
		"--seeds":              {"--seeds", "9..1"},
		"--repeat 0":           {"--repeat", "0"},
		"--jobs 0":             {"--jobs", "0"},
	} {
		if _, _, err := call(append([]string{"mutants"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestMutantsTable(t *testing.T) {
	seeds := uint64(7)
	r := &mutants.Report{Mutants: []mutants.Outcome{
		{Name: "one", Killed: true, By: "S1", SeedsMedian: &seeds, Took: time.Second},
		{Name: "two", Killed: true, By: "TestRule9 (bft)"},
		{Name: "three"},
		{Name: "four", Error: "stale patch 04-four.patch"},
	}}
	var b strings.Builder
	if err := printMutants(&b, r, time.Minute); err != nil {
		t.Fatal(err)
	}
	const want = `MUTANT  KILLED  BY               SEEDS  TOOK
one     yes     S1               7      1s
two     yes     TestRule9 (bft)         0s
three   no                              0s
four    error                           0s

four: stale patch 04-four.patch

killed 2 of 4 in 1m0s
`
	if b.String() != want {
		t.Errorf("printed:\n%s", b.String())
	}
	if s, u := r.Survivors(), r.Unjudged(); len(s) != 1 || s[0] != "three" || len(u) != 1 || u[0] != "four" {
		t.Errorf("survivors %v, unjudged %v", s, u)
	}
	out, err := json.Marshal(r.Mutants[1])
	if err != nil || string(out) != `{"name":"two","killed":true,"by":"TestRule9 (bft)","seeds_median":null}` {
		t.Errorf("%s, %v", out, err)
	}
}
