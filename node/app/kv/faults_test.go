package kv_test

import (
	"math/rand/v2"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// 1,000 seeds: go test ./node/app/kv -run TestUnderFaults -simtest.seeds=1..1000
func TestUnderFaults(t *testing.T) {
	operation := func(r *rand.Rand, _ int) []byte {
		if r.IntN(20) == 0 {
			return []byte("nonsense")
		}
		return draw(r)
	}
	query := func(r *rand.Rand, _ int) []byte { return ask(r) }
	simtest.Run(t, kv.New, 8, simtest.Operations(operation), simtest.Queries(query))
}
