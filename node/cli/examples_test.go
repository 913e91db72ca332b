package cli

import (
	"strings"
	"testing"
)

// The examples of a program are commands that it has.
func TestExamplesOfOwnServices(t *testing.T) {
	factory := Counter().New
	for name, c := range map[string]struct {
		services   []Service
		want, lack string
	}{
		"auction": {[]Service{{Name: "auction", New: factory}}, "auction invoke auction OPERATION\n  auction query auction QUESTION", "kv"},
		"adder":   {[]Service{{Name: "plain", New: factory}, Counter()}, "adder counter --help", "kv"},
		"bftnode": {[]Service{Counter(), KV()}, "bftnode kv put a 1\n  bftnode kv get a", "counter"},
	} {
		p := &Program{Name: name, Services: c.services}
		example := p.root().Example
		if !strings.Contains(example, c.want) || strings.Contains(example, c.lack) {
			t.Errorf("%s: %s", name, example)
		}
		shell := p.shellCommand().Long
		if first, _, _ := strings.Cut(p.firstCalls()[0], " "); !strings.Contains(shell, first) || strings.Contains(shell, c.lack) {
			t.Errorf("%s: %s", name, shell)
		}
	}
}

// Of a service that cannot be called selftest says so, once, and how it could be.
func TestSelfTestWithoutCalls(t *testing.T) {
	var out strings.Builder
	s := &selfTest{program: &Program{Services: []Service{{Name: "auction"}, {Name: "other", Asked: true}}}, out: &out}
	for round := range rounds {
		s.services(t.Context(), round)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "auction ") || !strings.Contains(got, "not called: give its Service a SelfTest") {
		t.Errorf("%q", got)
	}
	if len(s.result.NotCalled) != 1 || s.result.NotCalled[0] != "auction" || len(s.result.Checks) != 0 {
		t.Errorf("%+v", s.result)
	}
}
