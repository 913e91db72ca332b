package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// False heights.
//
// Replicas tell each other where they stand. To some it says that it is far ahead, in numbers, in
// stable checkpoints, in views, so that they believe to lag, ask it for what does not exist, and stop to
// judge its work as primary; to others that it has nothing at all and has only just started, so that they
// send it everything again and again. The times that it echoes are wrong, so that the way to it seems to
// take forever, or less than nothing. And as primary it soon proposes nothing more, for who believes to lag
// does not wait for proposals.
//
// Aims at: rule 20: what one peer says chooses whom to ask, and is not believed; rule 14: the round
// trip that a quorum of peers reaches, which f liars cannot stretch; rule 13: a primary that proposes
// nothing is suspected by everybody who is not proven to lag.
type falseHeights struct {
	base
	// ahead are told that it is far ahead, the others that it is far behind.
	ahead []bool
	// left are the proposals until this primary goes quiet.
	left int
}

func newFalseHeights(env Env) Adversary {
	a := &falseHeights{base: newBase(env), ahead: make([]bool, env.N), left: 5 + env.Rand.IntN(20)}
	for id := range a.ahead {
		a.ahead[id] = a.chance(70)
	}
	return a
}

// Send implements Adversary.
func (a *falseHeights) Send(out bft.Outbound) []bft.Outbound {
	switch wire.TypeOf(out.Frame) {
	case bft.TypeStatus:
		var s bftpb.Status
		if wire.Read(bft.TypeStatus, out.Frame, &s) == nil && out.To != bft.Everyone {
			return []bft.Outbound{{To: out.To, Frame: wire.Frame(bft.TypeStatus, a.status(&s, out.To))}}
		}
	case bft.TypePrePrepare:
		if a.left--; a.left < 0 && a.own(wire.Envelope(out.Frame)) {
			a.lie("withheld pre-prepare")
			return nil
		}
	}
	return []bft.Outbound{out}
}

func (a *falseHeights) status(s *bftpb.Status, to bft.ReplicaID) *bftpb.Status {
	if a.ahead[to] {
		a.lie("far ahead")
		s.Executed += 1 << 40
		s.Stable, s.Held, s.Prepared, s.Committed = s.Executed-uint64(a.Interval), 0, 0, 0
		s.Echo, s.EchoDelay = 1, 0 // as if the answer had taken since the beginning of time
		if a.chance(20) {
			a.lie("view far ahead")
			s.View += 1 << 20
		}
		return s
	}
	a.lie("far behind")
	s.Stable, s.Executed, s.Held, s.Prepared, s.Committed = 0, 0, 0, 0, 0
	s.EchoDelay = -1 << 40
	if a.chance(50) {
		a.lie("started anew")
		s.Starting, s.Boot = true, a.Rand.Uint64()
	}
	return s
}
