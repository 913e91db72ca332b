package bench

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// Ranks come as often as the distribution has it: exactly for the first two, closely for the others.
func TestZipfian(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 1000} {
		z := newZipfian(n, zipfianConstant)
		random := rand.New(rand.NewPCG(1, uint64(n)))
		const draws = 400_000
		counts := make([]int, n)
		for range draws {
			counts[z.rank(random.Float64())]++ // within bounds, or it panics
		}
		zeta := 0.0
		for i := range n {
			zeta += 1 / math.Pow(float64(i+1), zipfianConstant)
		}
		cumulated, want := 0.0, 0.0
		for i := range n {
			p := 1 / math.Pow(float64(i+1), zipfianConstant) / zeta
			share := float64(counts[i]) / draws
			if i < 2 && math.Abs(share-p) > 0.003 {
				t.Errorf("%d ranks: rank %d has a share of %.4f, want %.4f", n, i, share, p)
			}
			cumulated, want = cumulated+share, want+p
			if math.Abs(cumulated-want) > 0.03 {
				t.Fatalf("%d ranks: the first %d have a share of %.4f, want %.4f", n, i+1, cumulated, want)
			}
		}
		if last := z.rank(math.Nextafter(1, 0)); last != n-1 {
			t.Errorf("%d ranks: the last one is %d", n, last)
		}
	}
}

// The mixes have their shares of reads, the hottest record the share that the distribution has for it, and the
// service takes what they send.
func TestMixes(t *testing.T) {
	for name, percent := range map[string]int{"A": 50, "B": 95, "C": 100} {
		machine, err := kv.New(memstore.New())
		if err != nil {
			t.Fatal(err)
		}
		o := DefaultMix()
		o.Mix, o.Records, o.Size = name, 500, 20
		work := o.workload()
		put := o.records().puts(rand.NewPCG(1, 1))
		for i := range o.Records {
			if err := checkDone(machine.Apply(app.Context{}, put.of(uint64(i), 0))); err != nil {
				t.Fatal(err)
			}
		}
		next := work.source(3, 4)
		reads, hottest := 0, map[string]int{}
		const draws = 20_000
		for range draws {
			op := next()
			var result []byte
			if op.kind == read {
				reads++
				if result, err = machine.Query(t.Context(), op.payload); err != nil {
					t.Fatal(err)
				}
				hottest[string(op.payload)]++
			} else {
				result = machine.Apply(app.Context{}, op.payload)
			}
			if err := work.check(op.kind, result); err != nil {
				t.Fatal(err)
			}
		}
		if share := 100 * float64(reads) / draws; math.Abs(share-float64(percent)) > 1 {
			t.Errorf("mix %s: %.1f %% reads, want %d", name, share, percent)
		}
		most := 0
		for _, n := range hottest {
			most = max(most, n)
		}
		if share, want := float64(most)/float64(reads), 1/newZipfian(500, zipfianConstant).zeta; math.Abs(share-want) > want/10 {
			t.Errorf("mix %s: the hottest record has a share of %.3f of the reads, want %.3f", name, share, want)
		}
		if string(work.source(3, 4)().payload) == string(work.source(3, 5)().payload) && string(work.source(3, 4)().payload) == string(work.source(4, 4)().payload) {
			t.Errorf("mix %s: all slots begin alike", name)
		}
	}
}

// Popular records are spread over the keys, each at a place of its own.
func TestMixIsScrambled(t *testing.T) {
	o := DefaultMix()
	m := newMix(&o)
	seen, inOrder := map[int]bool{}, 0
	for rank, place := range m.place {
		seen[place] = true
		if rank > 0 && place == m.place[rank-1]+1 {
			inOrder++
		}
	}
	if len(seen) != o.Records || inOrder > 10 {
		t.Errorf("%d of %d records are chosen at all, %d beside the next one, want all in disorder", len(seen), o.Records, inOrder)
	}
}

func TestReadsAreChecked(t *testing.T) {
	machine, err := kv.New(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	get := func(key string) []byte {
		result, err := machine.Query(t.Context(), kv.Get([]byte(key)))
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	machine.Apply(app.Context{}, kv.Put([]byte("k"), []byte("1234")))
	work := recordReads{records{count: 1, size: 4}}
	if err := work.check(read, get("k")); err != nil {
		t.Error(err)
	}
	missing := get("nothing")
	for name, err := range map[string]error{"missing": work.check(read, missing), "size": recordReads{records{size: 5}}.check(read, get("k")), "garbage": work.check(read, []byte{9, 9})} {
		if err == nil || !strings.Contains(err.Error(), "wrong result") {
			t.Errorf("%s: %v, want a wrong result", name, err)
		}
	}
	if err := (recordReads{records{size: 4, stale: true}}).check(read, missing); err != nil {
		t.Errorf("a stale read may come before the record: %v", err)
	}
}
