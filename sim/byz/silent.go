package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The silent primary.
//
// It votes, answers and looks alive, but as primary it proposes nothing, or withholds its
// proposals and new-views from some. Nothing it says is wrong, so only time betrays it.
//
// Aims at: the timing of requests that the replica would propose itself (rule 13), new-views that
// never come (rule 10), helping those who miss what the others have (rule 21).
type silent struct {
	base
	// spared still get what the primary sends.
	spared []bool
}

func newSilent(env Env) Adversary {
	s := &silent{base: newBase(env), spared: make([]bool, env.N)}
	if s.chance(40) {
		for _, id := range s.Rand.Perm(s.N)[:s.Rand.IntN(s.N)] {
			s.spared[id] = true
		}
	}
	return s
}

// Send implements Adversary.
func (s *silent) Send(out bft.Outbound) []bft.Outbound {
	t := wire.TypeOf(out.Frame)
	if (t != bft.TypePrePrepare && t != bft.TypeNewView) || !s.own(wire.Envelope(out.Frame)) {
		return []bft.Outbound{out}
	}
	var sent []bft.Outbound
	for _, to := range s.receivers(out) {
		if s.spared[to] {
			sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
		} else {
			s.lie("withheld " + t.String())
		}
	}
	return sent
}
