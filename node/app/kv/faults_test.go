package kv_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

func TestUnderFaults(t *testing.T) {
	key := func(r *rand.Rand) []byte { return fmt.Appendf(nil, "k%d", r.IntN(5)) }
	value := func(r *rand.Rand) []byte { return fmt.Appendf(nil, "v%d", r.IntN(3)) }
	operation := func(r *rand.Rand, _ int) []byte {
		switch r.IntN(6) {
		case 0:
			return kv.Create(key(r), value(r))
		case 1:
			return kv.Delete(key(r))
		case 2:
			return kv.CompareAndSet(key(r), value(r), value(r))
		case 3:
			return key(r) // which is no operation
		}
		return kv.Put(key(r), value(r))
	}
	get := func(r *rand.Rand, _ int) []byte { return kv.Get(key(r)) }
	simtest.Run(t, kv.New, 8, simtest.Operations(operation), simtest.Queries(get))
}
