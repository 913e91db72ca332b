package bft_test

import (
	"math/rand"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// TestChaos loses messages, cuts replicas off and restarts them, never more than f at a time, and
// then demands that all agree and go on. The simulator does this in earnest; this is its small
// sister that runs in a second and needs nothing but this package.
func TestChaos(t *testing.T) {
	for seed := int64(0); seed < 30; seed++ {
		rng := rand.New(rand.NewSource(seed))
		n := 4 + rng.Intn(7)
		c := newCluster(t, n, nil)
		c.pass(200 * bft.Millisecond)
		c.mustAnswer(c.invoke(nil, counter.Add(1)), bft.Second)
		loss, cut := 0.0, map[bft.ReplicaID]bool{}
		c.dropWhen = func(l letter) bool { return cut[l.from] || cut[l.to] || rng.Float64() < loss }
		for step := 0; step < 60; step++ {
			switch rng.Intn(6) {
			case 0:
				loss = []float64{0, 0.05, 0.3}[rng.Intn(3)]
			case 1:
				clear(cut)
				for i := 0; i < rng.Intn(bft.MaxFaulty(n)+1); i++ {
					cut[bft.ReplicaID(rng.Intn(n))] = true
				}
			case 2:
				h := c.hosts[rng.Intn(n)]
				h.start()
			case 3:
				c.pass(bft.Time(rng.Intn(1500)) * bft.Millisecond)
			}
			to := []int(nil)
			if rng.Intn(4) == 0 {
				to = []int{rng.Intn(n)}
			}
			c.invoke(to, counter.Add(1))
			c.pass(bft.Time(rng.Intn(300)) * bft.Millisecond)
		}
		loss = 0
		clear(cut)
		c.pass(5 * bft.Second)
		c.mustAnswer(c.invoke(nil, counter.Add(1)), 10*bft.Second)
		c.pass(3 * bft.Second)
		left := 0
		for _, h := range c.hosts {
			i := h.replica.Info()
			if i.Changing {
				left++ // alone, which is harmless up to f of them
			}
			if left > bft.MaxFaulty(n) || i.Amnesiac != "" || i.Diverged != "" || i.Executed != c.hosts[0].replica.Info().Executed || i.Pending != 0 {
				t.Fatalf("seed %d n %d:%s", seed, n, c.describe())
			}
		}
	}
}
