package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The silent primary.
//
// It votes, answers and looks alive, but as primary it proposes nothing, or withholds its proposals and
// new-views from some, or proposes null requests only, so that numbers pass and nothing is in them.
// Nothing it says is wrong, so only time betrays it.
//
// Aims at: the timing of requests that a replica would propose itself (rules 13 and 14), a deadline that
// no other progress moves, new-views that never come (rule 10), helping those who miss what the others
// have (rule 21).
type silent struct {
	reign
	// spared still get what the primary sends, empty: all get null requests instead.
	spared []bool
	empty  bool
	nulls  map[slot][]byte
}

func newSilent(env Env) Adversary {
	s := &silent{reign: newReign(env), spared: make([]bool, env.N), nulls: make(map[slot][]byte)}
	switch {
	case s.chance(40):
		for _, id := range s.Rand.Perm(s.N)[:s.Rand.IntN(s.N)] {
			s.spared[id] = true
		}
	case s.chance(40):
		s.empty = true
	}
	return s
}

// Send implements Adversary.
func (s *silent) Send(out bft.Outbound) []bft.Outbound {
	t := wire.TypeOf(out.Frame)
	if (t != bft.TypePrePrepare && t != bft.TypeNewView) || !s.own(wire.Envelope(out.Frame)) {
		return []bft.Outbound{out}
	}
	if s.empty {
		return s.null(out)
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

// null puts nothing in the place of what is proposed.
func (s *silent) null(out bft.Outbound) []bft.Outbound {
	p, ok := s.proposal(out.Frame)
	if !ok || len(p.list) == 0 {
		return []bft.Outbound{out}
	}
	frame := s.nulls[p.slot()]
	if frame == nil {
		key := p.slot()
		p.become(nil)
		frame = s.put(p)
		s.nulls[key] = frame
	}
	s.lie("null request instead")
	return []bft.Outbound{{To: out.To, Frame: frame}}
}
