package sim

import (
	"math"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// Each behaviour of a primary lies, and every oracle holds all the same.
func TestBehavioursOfPrimaries(t *testing.T) {
	count := 0
	for _, b := range byz.All() {
		if b.Role != byz.Primary {
			continue
		}
		count++
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
	if count < 13 {
		t.Errorf("%d behaviours of primaries, want 13", count)
	}
}

func TestT1AgreedTime(t *testing.T) {
	execute := func(o *order, seq bft.Seq, at bft.Time) {
		b := testBatch(o, seq, "a", at)
		o.executing(0, b)
		o.executed(0, b, &exec.Outcome{Executed: bft.Executed{Seq: seq, Time: at}})
	}
	v, heard := listen()
	o := newOrder(v)
	o.latest = func() bft.Time { return 10 }
	execute(o, 1, 4)
	execute(o, 2, 4)
	execute(o, 3, 10)
	if len(*heard) != 0 {
		t.Fatalf("complains of a good history: %q", *heard)
	}
	execute(o, 4, 9)
	expect(t, *heard, "T1", "goes back")

	v, heard = listen()
	o = newOrder(v)
	execute(o, 1, math.MaxInt64) // without a clock none is too late
	if len(*heard) != 0 {
		t.Fatalf("complains without a clock: %q", *heard)
	}
	v, heard = listen()
	o = newOrder(v)
	o.latest = func() bft.Time { return 10 }
	execute(o, 1, 11)
	expect(t, *heard, "T1", "beyond what a sound clock allows")
}
