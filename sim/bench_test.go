package sim

import "testing"

// BenchmarkRun is a run, of ever another seed: runs a second decide how much a campaign sees.
func BenchmarkRun(b *testing.B) {
	for i := 0; b.Loop(); i++ {
		if r, err := Run(Draw(uint64(i + 1))); err != nil || !r.OK() {
			b.Fatal(err, r)
		}
	}
}
