package bench

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// mixes are the core workloads of YCSB (Cooper et al., SoCC'10, §4) that have reads and updates only: the
// share of reads of each, in percent.
var mixes = map[string]int{"A": 50, "B": 95, "C": 100}

// mixNames lists the mixes for people.
func mixNames() string { return strings.Join(slices.Sorted(maps.Keys(mixes)), ", ") }

// zipfianConstant is YCSB's.
const zipfianConstant = 0.99

// mix reads and updates records that are chosen by a scrambled zipfian distribution. An update puts a whole
// new value.
type mix struct {
	records
	readPercent int
	zipfian     *zipfian
	// place of each rank: the popular records are spread over the keys.
	place []int
}

func newMix(o *Options) mix {
	r := o.records()
	return mix{records: r, readPercent: mixes[o.Mix], zipfian: newZipfian(r.count, zipfianConstant),
		place: rand.New(rand.NewPCG(1, 0)).Perm(r.count)}
}

func (m mix) source(client, slot int) source {
	values := rand.NewPCG(slotSeed(client, slot), 0)
	random := rand.New(values)
	get, put := m.gets(), m.puts(values)
	return func() operation {
		record := uint64(m.place[m.zipfian.rank(random.Float64())])
		if random.IntN(100) < m.readPercent {
			return operation{read, get.of(record, 0)}
		}
		return operation{update, put.of(record, random.Uint64())}
	}
}

func (m mix) check(k kind, result []byte) error {
	if k == read {
		return m.checkRead(result)
	}
	return checkDone(result)
}

// zipfian draws ranks 0 to n-1, rank i with a probability in proportion to 1/(i+1)^theta, by the
// approximation of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD'94): exact for
// the first two ranks, close for the others, and a few operations for each draw.
type zipfian struct {
	n                        float64
	zeta, second, alpha, eta float64
}

// newZipfian takes n from 1 and theta within (0, 1).
func newZipfian(n int, theta float64) *zipfian {
	z := &zipfian{n: float64(n), second: 1 + math.Pow(0.5, theta), alpha: 1 / (1 - theta)}
	for i := n; i >= 1; i-- { // the small ones first, for precision
		z.zeta += math.Pow(float64(i), -theta)
	}
	if n > 2 { // below, the first two ranks are all there are
		z.eta = (1 - math.Pow(2/z.n, 1-theta)) / (1 - z.second/z.zeta)
	}
	return z
}

// rank maps u, uniform in [0, 1), to a rank.
func (z *zipfian) rank(u float64) int {
	switch x := u * z.zeta; {
	case x < 1:
		return 0
	case x < z.second:
		return min(1, int(z.n)-1)
	}
	return min(int(z.n*math.Pow(z.eta*u-z.eta+1, z.alpha)), int(z.n)-1)
}
