package sim

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// Each behaviour of the environment, and each accident, lies, and every oracle holds all the same.
func TestBehavioursOfTheEnvironment(t *testing.T) {
	count := map[byz.Role]int{}
	for _, b := range byz.All() {
		if b.Role != byz.Environment && b.Role != byz.Value && b.Role != byz.State {
			continue
		}
		count[b.Role]++
		t.Run(b.Name, func(t *testing.T) {
			lies := 0
			for _, seed := range []uint64{2, 3} {
				lies += runOK(t, Under(seed, b.Name)).LieCount()
			}
			if lies == 0 {
				t.Error("it never lied")
			}
			if len(b.Defences) == 0 && b.Why == "" {
				t.Error("it names no defence, and does not say why")
			}
		})
	}
	if count[byz.Environment] != 5 || count[byz.Value] < 2 || count[byz.State] < 5 {
		t.Errorf("there are %v, want 5 of the environment and accidents of both classes", count)
	}
}

// Whoever has just started must not sign before a quorum has told what it holds: the oracle says so.
func TestS8SigningAfterAStart(t *testing.T) {
	got := broken(t, plain(), func(w *world) {
		for _, h := range w.hosts { // as if all that they were told had been meant for another start
			h.oath = newOath(h.oath.boot + 1)
		}
	})
	if got != "S8" {
		t.Errorf("%s breaks, want S8", got)
	}
}

// The power fails for all at once, within the faults, and counts toward nobody's budget.
func TestOutagesOnDemand(t *testing.T) {
	o := Under(3, "failing disks")
	dark := 0
	for _, f := range o.Faults {
		if f.Kind == Blackout {
			dark++
		}
	}
	if dark == 0 {
		t.Error("the power does not fail")
	}
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
	if n := len(faultyAt(&o, o.Heal/2)); n > bft.MaxFaulty(o.Protocol.N) {
		t.Errorf("%d replicas are faulty", n)
	}
}
