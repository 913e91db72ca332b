package sim

import (
	"runtime"
	"testing"
)

// Every cell is named, hits, and holds; beyond the budget an oracle breaks for every class.
func TestMatrix(t *testing.T) {
	cells, err := Matrix(Campaign{First: 1, Last: 2, Jobs: runtime.GOMAXPROCS(0)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(Classes()) * len(Persistences()); len(cells) != want {
		t.Fatalf("%d cells, want %d", len(cells), want)
	}
	seen := map[string]bool{}
	for _, c := range cells {
		t.Logf("%-18s %-13s %-16s runs %d injected %d beyond %s after %d seeds %s", c.Class, c.Duration, c.Name, c.Runs, c.Injected, c.Beyond, c.BeyondSeeds, c.Failure)
		if !c.OK || c.Runs != 2 || c.Injected == 0 {
			t.Errorf("%s, %s: %+v", c.Class, c.Duration, c)
		}
		if (c.Duration == Permanent) != (c.Beyond != "") {
			t.Errorf("%s, %s: beyond the budget %q breaks", c.Class, c.Duration, c.Beyond)
		}
		if c.Name == "" || seen[c.Name] {
			t.Errorf("%s, %s has the name %q, which must be one of its own", c.Class, c.Duration, c.Name)
		}
		seen[c.Name] = true
	}
}

// A transient fault is one fault.
func TestTransientLiesAreOneEach(t *testing.T) {
	for _, class := range []Class{ClassValue, ClassState, ClassArbitrary} {
		cell, ok := Cell(class, Transient)
		if !ok {
			t.Fatalf("there is no cell of %s", class)
		}
		o := cell.Options(3)
		if r := runOK(t, o); r.Stats.Deeds == 0 || r.Stats.Deeds > len(o.Byzantine) {
			t.Errorf("%s: %d lies of %d replicas", class, r.Stats.Deeds, len(o.Byzantine))
		}
	}
	if _, ok := Cell("nonsense", Transient); ok {
		t.Error("there is a cell of nonsense")
	}
}
