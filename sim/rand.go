package sim

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// stream returns the random numbers of one part of a run. Streams of different names are
// independent: a part that draws more numbers than before does not shift those of another.
func stream(seed uint64, name string) *rand.Rand {
	d := seedOf(seed, name)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(d[:8]), binary.BigEndian.Uint64(d[8:16])))
}

// seedOf derives 32 bytes from the root seed, by name.
func seedOf(seed uint64, name string) crypto.Digest {
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], seed)
	return crypto.Hash("baluarte/sim-seed", s[:], []byte(name))
}

// chance is true with probability percent/100.
func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// between draws a time of [lo, hi].
func between(r *rand.Rand, lo, hi bft.Time) bft.Time {
	if hi <= lo {
		return lo
	}
	return lo + bft.Time(r.Int64N(int64(hi-lo)+1))
}

// pick draws one of xs.
func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }
