package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

func list(r exec.Reader, start, end []byte) string {
	var b bytes.Buffer
	for k, v := range r.Scan(start, end) {
		fmt.Fprintf(&b, "%q=%x ", k, v)
	}
	return b.String()
}

// The store of a service is the map that memstore is, whatever its cache holds at the moment; and so are its
// snapshots.
func TestServiceStoreIsAMap(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	s, _ := mustOpen(t, mem, "/r", nil)
	for seed, most := range []int{0, 700, 5000, serviceCacheBytes} {
		r := rand.New(rand.NewPCG(uint64(seed), 5))
		got, err := s.Service("map")
		if err != nil {
			t.Fatal(err)
		}
		st := got.(*serviceStore)
		st.most = most
		want := memstore.New()
		key := func() []byte { return fmt.Appendf(nil, "%02d", r.IntN(60)) }
		type pair struct{ got, want exec.StoreSnapshot }
		var snaps []pair
		for i := range 3000 {
			k := key()
			switch n := r.IntN(100); {
			case n < 60:
				v := bytes.Repeat([]byte{byte(i)}, r.IntN(100))
				got.Set(k, v)
				want.Set(k, v)
			case n < 75:
				got.Delete(k)
				want.Delete(k)
			case n < 77:
				end := key()
				got.DeleteRange(k, end)
				want.DeleteRange(k, end)
			case n < 78:
				got.DeleteRange(nil, nil)
				want.DeleteRange(nil, nil)
			case n < 80:
				snaps = append(snaps, pair{got.Snapshot(), want.Snapshot()})
			case n < 83:
				end := key()
				if a, b := list(got, k, end), list(want, k, end); a != b {
					t.Fatalf("cache of %d, step %d: [%s, %s) is %s, want %s", most, i, k, end, a, b)
				}
			default:
				a, okA := got.Get(k)
				if b, okB := want.Get(k); okA != okB || !bytes.Equal(a, b) {
					t.Fatalf("cache of %d, step %d: %s is %x %v, want %x %v", most, i, k, a, okA, b, okB)
				}
			}
			if st.bytes > max(most, 1000) {
				t.Fatalf("a cache of %d bytes holds %d", most, st.bytes)
			}
		}
		for _, p := range snaps {
			if a, b := list(p.got, nil, nil), list(p.want, nil, nil); a != b {
				t.Fatalf("cache of %d: a snapshot has %s, want %s", most, a, b)
			}
			k := key()
			if a, okA := p.got.Get(k); okA {
				if b, _ := p.want.Get(k); !bytes.Equal(a, b) {
					t.Errorf("cache of %d: a snapshot has %x for %s, want %x", most, a, k, b)
				}
			}
			if err := p.got.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := list(got, nil, nil), list(want, nil, nil); a != b {
			t.Fatalf("cache of %d: %s, want %s", most, a, b)
		}
	}
	mustClose(t, s)
}

// A scan beside writes sees what was written before some moment, and nothing of what came after: here
// keys are written from the last to the first, against the order in which the cache is written out.
func TestScanBesideWritesIsOfOneMoment(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	s, _ := mustOpen(t, mem, "/r", nil)
	st, err := s.Service("a")
	if err != nil {
		t.Fatal(err)
	}
	st.(*serviceStore).most = 2000 // written out now and then besides
	const keys, rounds = 20, 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for round := range rounds {
			for k := keys - 1; k >= 0; k-- {
				st.Set([]byte{byte(k)}, []byte{byte(round)})
			}
		}
	})
	wg.Go(func() {
		for range rounds {
			least := -1
			for _, v := range st.Scan(nil, nil) {
				if int(v[0]) < least {
					t.Errorf("round %d of a later key beside round %d of an earlier one", v[0], least)
				}
				least = int(v[0])
			}
		}
	})
	wg.Wait()
	mustClose(t, s)
}

// BenchmarkServicePut puts values into a hot set of 32,000 keys, with a snapshot every 200,000.
func BenchmarkServicePut(b *testing.B) {
	for _, size := range []int{16, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			dir := b.TempDir()
			mustInit(b, nil, dir)
			s, _ := mustOpen(b, nil, dir, nil)
			st, err := s.Service("kv")
			if err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			value := make([]byte, size)
			key := make([]byte, 0, 16)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				key = fmt.Appendf(key[:0], "key%08d", r.IntN(32000))
				st.Set(key, value)
				if i%200000 == 199999 {
					if err := st.Snapshot().Close(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			mustClose(b, s)
		})
	}
}
