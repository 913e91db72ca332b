package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The view jump.
//
// The register that holds the view is wrong for a moment. What the replica votes in that moment it votes in
// the next view, or the one after, in which nobody is yet; then the register is right again, and it goes on as
// if nothing had happened, and does not know of the promise.
//
// Aims at: votes that count only in the view that they name (rule 2), views that nobody enters without
// a new-view (rule 7), one member that cannot pull others along (rule 10).
type viewJump struct{ base }

// Send implements Adversary.
func (a *viewJump) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) != bft.TypeVotes || !a.own(e) || !a.chance(25) {
		return []bft.Outbound{out}
	}
	v, err := wire.Votes(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	v.View += uint64(1 + a.Rand.IntN(3))
	a.lie("votes in a view to come")
	return []bft.Outbound{{To: out.To, Frame: a.seal(bft.TypeVotes, wire.Marshal(v))}}
}
