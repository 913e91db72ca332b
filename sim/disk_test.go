package sim

import "testing"

// TestEmptyDiskIsNoticed: a disk that was lost has no birth record either, so the host knows of the loss, whatever peers
// still hold signed by the replica (rule 19).
func TestEmptyDiskIsNoticed(t *testing.T) {
	w, err := newWorld(Plain())
	if err != nil {
		t.Fatal(err)
	}
	h := w.hosts[0]
	for _, lost := range []bool{false, true} {
		if lost {
			h.lose("empty")
		}
		h.start()
		if why := h.replica.Info().Amnesiac; (why != "") != lost {
			t.Errorf("disk lost: %v, amnesiac: %q", lost, why)
		}
		h.up = false
	}
}
