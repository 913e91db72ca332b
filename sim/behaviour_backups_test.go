package sim

import (
	"testing"

	"github.com/baluarte-bft/baluarte/sim/byz"
)

// Each behaviour of backups that is about votes, certificates and view changes lies, and every oracle
// holds all the same.
func TestBehavioursOfBackupsInAgreement(t *testing.T) {
	count := 0
	for _, b := range byz.All() {
		if b.Number < 14 || b.Number > 25 {
			if b.Name != "half-heard requests" {
				continue
			}
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
			if len(b.Defences) == 0 {
				t.Error("it names no defence")
			}
		})
	}
	if count != 13 {
		t.Errorf("%d behaviours, want 13", count)
	}
}
