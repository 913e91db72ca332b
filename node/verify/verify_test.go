package verify

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/crypto"
)

func claims(n, keys int, first uint64) []crypto.Claim {
	out := make([]crypto.Claim, n)
	for i := range out {
		key := crypto.NewKeyFromSeed([32]byte{byte(i % keys), 1})
		msg := binary.BigEndian.AppendUint64(make([]byte, 100), first+uint64(i))
		out[i] = crypto.Claim{Key: key.Public(), Msg: msg, Sig: key.Sign(msg)}
	}
	return out
}

// Verdicts are right, each claim's own, whatever is batched with whatever.
func TestVerdicts(t *testing.T) {
	for _, workers := range []int{1, 4} {
		p := New(crypto.NewEd25519(64), workers, 1<<16, 1<<14)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(g), 1))
				cs := claims(60, 4, uint64(g)*1000)
				want := make([]bool, len(cs))
				for i := range cs {
					if want[i] = r.IntN(8) != 0; !want[i] {
						cs[i].Msg = append(slices.Clone(cs[i].Msg), 1)
					}
				}
				var inner sync.WaitGroup
				for len(cs) > 0 {
					n := min(len(cs), 1+r.IntN(7))
					part, expect := cs[:n], want[:n]
					cs, want = cs[n:], want[n:]
					inner.Add(1)
					if !p.Submit(Job{part, func(valid []bool) {
						defer inner.Done()
						if !slices.Equal(valid, expect) {
							t.Errorf("got %v, want %v", valid, expect)
						}
					}}, g%2 == 0) {
						t.Error("refused")
						inner.Done()
					}
				}
				inner.Wait()
			}()
		}
		wg.Wait()
		p.Drain()
		if s := p.Stats(); s.Waiting != 0 || s.Claims != 8*60 {
			t.Errorf("%+v", s)
		}
	}
}

// A claim that held is not verified again; one that did not is.
func TestSeen(t *testing.T) {
	p := New(crypto.NewEd25519(64), 1, 1024, 1024)
	cs := claims(4, 2, 0)
	cs[3].Sig[0] ^= 1
	for range 3 {
		var got []bool
		p.Submit(Job{cs, func(v []bool) { got = slices.Clone(v) }}, true)
		p.Drain()
		if !slices.Equal(got, []bool{true, true, true, false}) {
			t.Fatal(got)
		}
	}
	if s := p.Stats(); s.Known != 6 || s.Invalid != 3 || s.Claims != 6 {
		t.Fatalf("%+v", s)
	}
	// The same signature under another message or key is another claim.
	cs[0].Msg = slices.Clone(cs[1].Msg)
	cs[2].Key = cs[1].Key
	p.Submit(Job{cs, func(v []bool) {
		if v[0] || !v[1] || v[2] || v[3] {
			t.Error(v)
		}
	}}, true)
	p.Drain()
}

// What waits is bounded.
func TestRefuses(t *testing.T) {
	p := New(crypto.NewEd25519(64), 1, batchClaims, 1024)
	cs := claims(batchClaims, 2, 0)
	hold, started := make(chan struct{}), make(chan struct{})
	p.Submit(Job{cs[:1], func([]bool) { close(started); <-hold }}, false)
	<-started
	if !p.Submit(Job{cs, func([]bool) {}}, false) {
		t.Error("refused while there was room")
	}
	if p.Submit(Job{cs[:1], func([]bool) { t.Error("verified what was refused") }}, false) {
		t.Error("took more than fits")
	}
	close(hold)
	p.Drain()
	if s := p.Stats(); s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkPool(b *testing.B) {
	for _, senders := range []int{1, 3, 64} {
		b.Run(fmt.Sprintf("%d-senders", senders), func(b *testing.B) {
			p := New(crypto.NewEd25519(256), 2, 1<<16, 0)
			cs := claims(4096, min(senders, 200), 0)
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range senders {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := g; i < b.N; i += senders {
						c := cs[i%len(cs) : i%len(cs)+1]
						for done := make(chan struct{}); ; {
							if p.Submit(Job{c, func([]bool) { close(done) }}, true) {
								<-done
								break
							}
						}
					}
				}()
			}
			wg.Wait()
			s := p.Stats()
			b.ReportMetric(float64(s.Claims)/float64(max(s.Batches, 1)), "claims/batch")
		})
	}
}
