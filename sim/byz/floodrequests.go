package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
)

// Floods of requests.
//
// The client has the right to ask, and asks as fast as it can: bundles as large as they may be, each with
// a signature that holds; for sessions that do not exist yet, for numbers behind its window, openings
// by the hundred, reads that wait for what may have committed. It does not wait for answers. Whoever keeps
// all of that in a line serves nobody else.
//
// Aims at: rule 26: admission is bounded by what recent throughput executes, in equal shares for the
// clients, and Busy never stops a timer; rule 24: sessions and openings of a key have a quota (oracle R1
// for the memory, L1 for the other clients).
type floodRequests struct {
	clientBase
	count uint64
	// left are the requests until it has had enough.
	left int
}

func newFloodRequests(env ClientEnv) ClientAdversary {
	return &floodRequests{clientBase: newClientBase(env), left: 3600}
}

// Inject implements ClientAdversary.
func (c *floodRequests) Inject(bft.Time) []bft.Outbound {
	if c.left <= 0 || !c.chance(3) {
		return nil
	}
	kind := c.Rand.IntN(8)
	to := bft.ReplicaID(bft.Everyone)
	if c.chance(20) {
		to = bft.ReplicaID(c.Rand.IntN(c.N))
	}
	var sent []bft.Outbound
	for range 900 {
		c.left--
		c.count++
		frame, name := c.one(kind)
		c.lie("flood of " + name)
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}

// one makes a request of a kind, like no other before.
func (c *floodRequests) one(kind int) (frame []byte, name string) {
	b := opening(c.Rand, c.Key)
	switch kind {
	case 1:
		// Large ones: they wait until it is sure that the session does not come.
		*b = bft.Bundle{Client: c.Key, Session: bft.SessionID(1 + c.Rand.Uint64N(1<<40)), First: 1 + c.count, Ops: b.Ops}
		b.Ops[0] = append(b.Ops[0], make([]byte, 8192)...)
		return c.signed(b), "requests of unknown sessions"
	case 2:
		// One operation for each that fits: how many that is depends on the run, and too many are refused.
		for range c.Rand.IntN(16) {
			b.Ops = append(b.Ops, operation(c.Rand))
		}
		b.Ops[0] = append(b.Ops[0], make([]byte, 4096)...)
		return c.signed(b), "large bundles"
	}
	if kind > 3 {
		return c.signed(b), "openings"
	}
	q := bft.Query{ID: c.count, Consistency: bft.Linearizable, Ops: b.Ops, Replier: bft.Everyone}
	return bft.QueryFrame(&q), "reads"
}
