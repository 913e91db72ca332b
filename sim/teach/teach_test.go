package teach

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// played keeps what scenarios have shown with seed 1: those of the engine take a while.
var played = map[string]struct {
	res  Result
	text string
}{}

// play runs a scenario with seed 1, once.
func play(t *testing.T, s Scenario) (Result, string) {
	t.Helper()
	if p, ok := played[s.Name]; ok {
		return p.res, p.text
	}
	p := played[s.Name]
	p.res, p.text = playSeed(t, s, 1)
	played[s.Name] = p
	return p.res, p.text
}

func playSeed(t *testing.T, s Scenario, seed uint64) (Result, string) {
	t.Helper()
	var text bytes.Buffer
	res, err := s.Run(&text, Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return res, text.String()
}

// TestFacts compares every fact of every scenario with what theory and literature say. Who changes
// a model so that it shows something else has to answer here.
func TestFacts(t *testing.T) {
	all := All()
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			want, ok := expected[s.Name]
			if !ok {
				t.Fatal("nothing is expected of this scenario: add what it must show to expected_test.go")
			}
			res, text := play(t, s)
			var got []string
			for _, f := range res.Facts {
				got = append(got, fmt.Sprintf("%s=%v", f.Name, f.Value))
			}
			if !slices.Equal(got, want) {
				t.Errorf("facts:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			checkText(t, res, text)
		})
	}
	for name := range expected {
		if _, err := Find(name); err != nil {
			t.Errorf("facts are expected of %s: %v", name, err)
		}
	}
}

// checkText checks that the printed text says what the result holds, and is fit to be shown.
func checkText(t *testing.T, res Result, text string) {
	t.Helper()
	_, conclusion, ok := strings.Cut(text, "What it shows")
	if !ok {
		t.Fatal("no conclusion")
	}
	flat := strings.Join(strings.Fields(conclusion), " ")
	for _, f := range res.Facts {
		if !strings.Contains(flat, "• "+strings.Join(strings.Fields(f.Text), " ")) {
			t.Errorf("the conclusion does not say %q", f.Text)
		}
	}
	for _, table := range res.Tables {
		for _, r := range table.Rows {
			if len(r) != len(table.Head) {
				t.Errorf("a row of %d cells under a head of %d: %q", len(r), len(table.Head), r)
			}
			if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(strings.Join(r, " ")), " ")) {
				t.Errorf("the text lacks the row %q", r)
			}
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if width(line) > 100 {
			t.Errorf("line %d has %d columns: %s", i+1, width(line), line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("line %d ends in blanks", i+1)
		}
	}
	if i := strings.Index(text, "%!"); i >= 0 {
		t.Errorf("a format is wrong: %s", text[i:min(len(text), i+40)])
	}
}

// TestScenariosAreFitToTeach checks what every scenario has to have.
func TestScenariosAreFitToTeach(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, s := range All() {
		if !kebab.MatchString(s.Name) || seen[s.Name] {
			t.Errorf("%q is not in kebab-case, or stands twice", s.Name)
		}
		seen[s.Name] = true
		if lines := len(wrap(s.Story, columns)); lines < 5 || lines > 12 {
			t.Errorf("%s: a story of %d lines", s.Name, lines)
		}
		if s.Title == "" || s.Group == "" || width(s.Title) > columns {
			t.Errorf("%s: title %q in group %q", s.Name, s.Title, s.Group)
		}
	}
	if _, err := Find("no-such-thing"); err == nil || !strings.Contains(err.Error(), "bftsim list") {
		t.Errorf("Find of an unknown name: %v", err)
	}
}

// TestSameOptionsSameText: a scenario is a function of its options.
func TestSameOptionsSameText(t *testing.T) {
	for _, s := range All() {
		_, a := play(t, s)
		_, b := playSeed(t, s, 1)
		if a != b {
			t.Errorf("%s prints something else the second time", s.Name)
		}
	}
}

// TestOtherSeeds: what a scenario teaches does not depend on what is drawn.
func TestOtherSeeds(t *testing.T) {
	for _, s := range All() {
		if s.Group != "The engine under faults" && s.Name != "repair" && s.Name != "false-positives" {
			continue // draws nothing
		}
		for _, seed := range []uint64{0, 77} {
			res, _ := playSeed(t, s, seed)
			for i, f := range res.Facts {
				if i >= len(expected[s.Name]) || fmt.Sprintf("%s=%v", f.Name, f.Value) != expected[s.Name][i] {
					t.Errorf("%s, seed %d: %s = %v", s.Name, seed, f.Name, f.Value)
				}
			}
		}
	}
}

// TestDiagrams checks that every scenario has a valid diagram, which shows what its stages did.
func TestDiagrams(t *testing.T) {
	for _, s := range All() {
		run, err := s.Diagram(Options{Seed: 1})
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		res, _ := play(t, s)
		if len(run.Messages)+len(run.Marks) == 0 || run.Title != s.Title || len(run.Notes) != 1+len(res.Facts) {
			t.Errorf("%s: %d messages, %d marks, title %q, %d notes", s.Name, len(run.Messages), len(run.Marks), run.Title, len(run.Notes))
		}
	}
}

// TestResultIsJSON checks that programs get the facts by name.
func TestResultIsJSON(t *testing.T) {
	s, err := Find("printer")
	if err != nil {
		t.Fatal(err)
	}
	res, _ := play(t, s)
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Name  string
		Facts []struct {
			Name  string
			Value any
		}
		Tables []Table
	}
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Name != "printer" || len(back.Facts) != len(res.Facts) || len(back.Tables) != 1 || back.Facts[0].Value != float64(8) {
		t.Errorf("read back: %+v", back)
	}
	if res.Value("right") != 0 || res.Value("no such fact") != nil {
		t.Errorf("Value: %v, %v", res.Value("right"), res.Value("no such fact"))
	}
}
