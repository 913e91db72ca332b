package sim

import (
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// TestPassiveUnderFaults runs seeds with all their faults and liars.
func TestPassiveUnderFaults(t *testing.T) {
	for seed := range uint64(12) {
		runOK(t, DrawPassive(seed+1))
	}
}

// TestPassivePrimaryKilledAtRandomMoments: the primary of the first view dies at a moment of its own in each run, and that of the
// second later on. Each update is applied once (S4), replicas do not differ (S2, S7), and what the clients were told is what the
// number says at the end (S5, D1).
func TestPassivePrimaryKilledAtRandomMoments(t *testing.T) {
	replaced, busy := 0, 0
	for seed := range uint64(100) {
		o := Plain()
		o.Seed, o.Load.Service, o.Protocol.Pipeline, o.Heal = seed+1, passiveCounter, 1, 2*second
		o.Load.Clients, o.Load.Outstanding, o.Load.Think, o.Load.Ordered, o.Load.Sequences = 3, 2, 4*millisecond, 10, MinSequences
		r := stream(o.Seed, "kills")
		first := Duration(between(r, 1, bft.Time(500*millisecond)))
		back := first + 100*millisecond + Duration(between(r, 1, bft.Time(700*millisecond))) // some before anybody has noticed
		again := back + Duration(between(r, 1, bft.Time(300*millisecond)))
		o.Faults = []Fault{{Kind: Crash, Targets: []bft.ReplicaID{0}, At: first, Until: back},
			{Kind: Crash, Targets: []bft.ReplicaID{1}, At: again, Until: o.Heal}}
		working := false
		o.Observe = func(e *Event) {
			// It hit while updates were computed or on their way: the primary had something to propose.
			if e.Kind == KindDeliver && e.At <= bft.Time(first) && e.At > bft.Time(first-10*millisecond) {
				working = working || strings.HasPrefix(e.Text(), "request")
			}
		}
		report := runOK(t, o)
		if report.Stats.Views > 0 {
			replaced++
		}
		if working {
			busy++
		}
	}
	if replaced < 50 || busy < 50 {
		t.Errorf("of 100 runs %d replaced the primary, and it had work in %d", replaced, busy)
	}
}

// TestLyingUpdate: backups do not vote for an update that cannot have come of its operation.
func TestLyingUpdate(t *testing.T) {
	for seed := range uint64(6) {
		if r := runOK(t, Under(seed+1, "lying update")); r.LieCount() > 0 && r.Stats.ViewChanges == 0 {
			t.Errorf("seed %d: nobody left the liar's view", seed+1)
		}
	}
}
