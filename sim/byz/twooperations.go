package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
)

// Two operations under one number.
//
// A client numbers its operations so that each is executed once. This one signs two different operations
// under one number, openings with one nonce too. Sometimes it sends the one to one half of the replicas
// and the other to the other half, so that honest replicas hold honest-looking requests that
// exclude each other; sometimes it sends both to all, so that the primary may well order both.
//
// Aims at: rule 25: the first one ordered counts, everywhere; rule 24: exactly once by session and number;
// rule 3: which one counts is decided when it is executed, not by who heard what.
type twoOperations struct {
	clientBase
	// others are the second bundles that were made, by the first one's digest: a retry says the same.
	others map[bft.Digest]second
}

// second is the other bundle of a number, and who gets it; nobody in particular means everybody.
type second struct {
	frame []byte
	side  []bool
}

func newTwoOperations(env ClientEnv) ClientAdversary {
	return &twoOperations{clientBase: newClientBase(env), others: make(map[bft.Digest]second)}
}

// Send implements ClientAdversary.
func (c *twoOperations) Send(out bft.Outbound) []bft.Outbound {
	b := bundleOf(out.Frame)
	if b == nil || len(b.Ops) == 0 {
		return []bft.Outbound{out}
	}
	o, ok := c.others[b.Digest]
	if !ok {
		o = c.second(b)
		c.others[b.Digest] = o
	}
	c.lie("second operation under one number")
	if o.side == nil {
		// The one before and the other after, or the other way round.
		both := []bft.Outbound{out, {To: out.To, Frame: o.frame}}
		if c.chance(50) {
			both[0], both[1] = both[1], both[0]
		}
		return both
	}
	var sent []bft.Outbound
	for _, to := range c.receivers(out) {
		frame := out.Frame
		if o.side[to] {
			frame = o.frame
		}
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}

// second makes the other bundle: the same but for its operations.
func (c *twoOperations) second(b *bft.Bundle) second {
	other := *b
	other.Ops = make([][]byte, len(b.Ops))
	for i := range other.Ops {
		other.Ops[i] = operation(c.Rand)
	}
	o := second{frame: c.signed(&other)}
	if c.chance(50) {
		o.side = make([]bool, c.N)
		for _, id := range c.Rand.Perm(c.N)[:c.N/2] {
			o.side[id] = true
		}
	}
	return o
}
