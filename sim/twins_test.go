package sim

import (
	"runtime"
	"strings"
	"testing"
)

// TestTwinsOfTwoViews runs one in seven of the scenarios of two views: all of them take some ten seconds.
func TestTwinsOfTwoViews(t *testing.T) {
	done := 0
	r, err := Twins(TwinsOptions{Views: 2, Every: 7, Jobs: runtime.GOMAXPROCS(0)}, func(now, total int) {
		if done++; now != done || total != 147 {
			t.Errorf("%d of %d are done, want %d of 147", now, total, done)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Failed; f != nil {
		t.Fatalf("scenario %d, %s: %v", f.Number, f.Scenario, f.Failure)
	}
	if r.Scenarios != 1024 || r.Runs != 147 || done != r.Runs {
		t.Errorf("%d of %d scenarios were run, %d told", r.Runs, r.Scenarios, done)
	}
	if 2*r.Equivocations < r.Runs {
		t.Errorf("the twins contradicted each other in %d of %d runs", r.Equivocations, r.Runs)
	}
	if 2*r.Reached[0] > r.Runs {
		t.Errorf("the second view was not reached in %d of %d runs", r.Reached[0], r.Runs)
	}
}

// Each number is another scenario: a choice of the twin, and of the sides in each view.
func TestTwinsScenariosAreAllDifferent(t *testing.T) {
	const views = 2
	seen := make(map[string]int)
	for number := range TwinsScenarios(views) {
		s := newTwinsScenario(number, views)
		text := s.String()
		if was, ok := seen[text]; ok {
			t.Fatalf("scenarios %d and %d are both %s", was, number, text)
		}
		seen[text] = number
		for _, split := range s.splits {
			if split>>s.twin&1 != 0 || split >= 1<<(twinN+1) {
				t.Fatalf("scenario %d has the sides %05b, the first twin %d must be on the first", number, split, s.twin)
			}
		}
	}
	if len(seen) != 1024 {
		t.Errorf("%d scenarios, want 4 · 16²", len(seen))
	}
	s := newTwinsScenario(296, views)
	if got, want := s.String(), "twin 0, view 0: 0 1 3 | 2 0', view 1: 0 1 2 0' | 3"; got != want {
		t.Errorf("scenario 296 is %q, want %q", got, want)
	}
	if s.apart(0, 0, 1) || !s.apart(0, 0, 4) || s.apart(0, 2, 4) || s.apart(views, 0, 4) {
		t.Errorf("scenario 296 divides otherwise than it says")
	}
}

func TestTwinsRepeat(t *testing.T) {
	s := newTwinsScenario(296, 2)
	_, first, err := s.run(5)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := s.run(5)
	if err != nil {
		t.Fatal(err)
	}
	if first.TraceHash != second.TraceHash || first.Stats.Events != second.Stats.Events {
		t.Errorf("one scenario has two hashes: %s and %s", first.TraceHash, second.TraceHash)
	}
}

func TestTwinsOptionsAreChecked(t *testing.T) {
	for words, o := range map[string]TwinsOptions{
		"give 1 to 6":                {},
		"7 views":                    {Views: 7},
		"scenarios 5 to 4":           {Views: 1, First: 5, Last: 4},
		"there are 0 to 63":          {Views: 1, Last: 64},
		"every -1":                   {Views: 1, Every: -1},
		"scenarios -1 to 63, every ": {Views: 1, First: -1},
	} {
		if _, err := Twins(o, nil); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want an error with %q", o, err, words)
		}
	}
}
