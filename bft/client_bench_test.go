package bft

import (
	"fmt"
	"testing"

	"github.com/baluarte-bft/baluarte/crypto"
)

// BenchmarkClient is the way of bundles of 1 and 128 operations through Invoke, the bundle, the replies of all four
// replicas (for 128 one in full and three digests) and the results. Signing is not included.
func BenchmarkClient(b *testing.B) {
	for _, ops := range []int{1, 128} {
		b.Run(fmt.Sprint(ops), func(b *testing.B) {
			cfg := rigConfig(4)
			cfg.Key = crypto.NewFastRing().NewKey([32]byte{7}).Public()
			c, err := NewClient(cfg)
			if err != nil {
				b.Fatal(err)
			}
			results := make([][]byte, ops)
			for i := range results {
				results[i] = make([]byte, 9)
			}
			b.ReportAllocs()
			b.ResetTimer()
			ended := 0
			for done := 0; done < b.N; {
				k := min(256, b.N-done)
				b.StopTimer()
				replies := repliesAhead(c, k, results)
				b.StartTimer()
				for i := range k {
					ended += clientRound(b, c, ops, replies[i])
				}
				done += k
			}
			if ended != b.N*ops {
				b.Fatalf("%d of %d ended", ended, b.N*ops)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ended), "ns/operation")
		})
	}
}

// repliesAhead makes what four replicas will say to the client's next k bundles, with these results.
func repliesAhead(c *Client, k int, results [][]byte) [][4][]byte {
	all := make([][4][]byte, k)
	b := Bundle{Session: c.session, First: c.next}
	if c.phase == phaseNone { // the first bundle opens the session 5
		d := crypto.Hash("baluarte/client-nonce", c.cfg.Seed[:], make([]byte, 8))
		copy(b.Nonce[:], d[:])
	}
	for i := range all {
		for id := range ReplicaID(4) {
			all[i][id] = ReplyFrame(id, 0, &b, 5, results, c.replier)
		}
		b.Session = 5
		b.First += uint64(len(results))
	}
	return all
}

// clientRound has the client's calls sent and answered, and returns how many have ended.
func clientRound(b *testing.B, c *Client, ops int, replies [4][]byte) (ended int) {
	op := [16]byte{}
	now := c.now + Microsecond
	c.Tick(now, rigClock)
	for i := range ops {
		if err := c.Invoke(CallID(i), op[:], CallOptions{Deadline: now + 10*Second}); err != nil {
			b.Fatal(err)
		}
	}
	ready, _ := c.Ready()
	c.Signed(ready.Sign[0].ID, crypto.Signature{})
	c.Ready()
	for id, frame := range replies {
		_ = c.Step(ReplicaID(id), frame) // those after f+1 are not relevant
		ready, _ = c.Ready()
		for _, r := range ready.Results {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			ended++
		}
	}
	return ended
}
