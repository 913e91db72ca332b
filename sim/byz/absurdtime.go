package byz

import (
	"math"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Absurd agreed time.
//
// What the replicas take for the time is what the primary proposes, as far as a quorum finds it
// acceptable. This one proposes the far future, in which every session and every request has expired,
// the far past, the end of all time, no time at all for a batch that has one; and between these it
// hops to and fro within what is acceptable, so that time would run backwards if it were not clamped.
//
// Aims at: rule 5: the agreed time of a fresh proposal lies within bounds around the clock of whoever votes
// for it, and at execution it never goes back.
type absurdTime struct{ reign }

func newAbsurdTime(env Env) Adversary { return &absurdTime{newReign(env)} }

// Send implements Adversary.
func (a *absurdTime) Send(out bft.Outbound) []bft.Outbound {
	a.note(wire.Envelope(out.Frame))
	p, ok := a.proposal(out.Frame)
	if !ok || p.header.Time == 0 {
		return []bft.Outbound{out}
	}
	lie := "time that runs backwards"
	if p.header.Seq%8 == 7 {
		lie = "absurd time"
	}
	frame := a.inPlace(out.Frame, lie, func() []byte {
		now := p.header.Time
		if lie == "absurd time" {
			p.header.Time = [...]int64{now + 3600*int64(bft.Second), now - 3600*int64(bft.Second), math.MaxInt64, math.MinInt64, 1, -1}[a.Rand.IntN(6)]
		} else {
			p.header.Time = now - a.Rand.Int64N(int64(bft.Second))
		}
		return a.put(p)
	})
	return []bft.Outbound{{To: out.To, Frame: frame}}
}
