package sim

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// Each behaviour that attacks state, resources or replies, and each of a client, lies, and every oracle
// holds all the same.
func TestBehavioursOfStateAndClients(t *testing.T) {
	count := 0
	for _, b := range byz.All() {
		if b.Number < 26 || b.Number > 40 {
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
	if count != 15 {
		t.Errorf("%d behaviours, want 15", count)
	}
}

// What a replica sends to one who asks without end breaks R2, and only that.
func TestR2Answers(t *testing.T) {
	w, err := newWorld(Draw(1))
	if err != nil {
		t.Fatal(err)
	}
	h := w.hosts[0]
	data, status := []byte{byte(bft.TypeData), 0}, []byte{byte(bft.TypeStatus), 0}
	for range answersAtOnce {
		w.resources.answered(h, bft.Outbound{To: 1, Frame: data})
		w.resources.answered(h, bft.Outbound{To: 2, Frame: data})
		w.resources.answered(h, bft.Outbound{To: 3, Frame: status})
		w.resources.answered(h, bft.Outbound{To: 3, Frame: status})
	}
	if w.failure != nil {
		t.Fatalf("complains of %v", w.failure)
	}
	w.q.now += bft.Second / answersASecond
	w.resources.answered(h, bft.Outbound{To: 1, Frame: data})
	if w.failure != nil {
		t.Fatalf("complains although time has passed: %v", w.failure)
	}
	w.resources.answered(h, bft.Outbound{To: 1, Frame: data})
	if w.failure == nil || w.failure.Oracle != "R2" {
		t.Fatalf("does not complain: %v", w.failure)
	}
}

// A replica that verifies for nothing breaks R2.
func TestR2Work(t *testing.T) {
	w, err := newWorld(Draw(1))
	if err != nil {
		t.Fatal(err)
	}
	w.resources.judge(w.hosts)
	if w.failure != nil {
		t.Fatalf("complains before anything happened: %v", w.failure)
	}
	w.resources.of[1].work.Verified(2, 1<<20)
	w.resources.judge(w.hosts)
	if w.failure == nil || w.failure.Oracle != "R2" {
		t.Fatalf("does not complain: %v", w.failure)
	}
}
