package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Duplicated requests.
//
// The primary orders what it has ordered before: the requests of an earlier batch again, before or after
// the new ones, or one request twice within a batch. Each bears its client's genuine signature, so as a
// proposal of requests nothing is wrong with it. Who executed it as it stands would take the money from
// the account twice.
//
// Aims at: rule 24: each number of a session is executed once, and a retry is answered from the cache;
// a body in which a request stands twice is no body.
type duplicate struct {
	reign
	// recent are the bundles of the newest own proposals.
	recent []byte
}

func newDuplicate(env Env) Adversary { return &duplicate{reign: newReign(env)} }

// Send implements Adversary.
func (a *duplicate) Send(out bft.Outbound) []bft.Outbound {
	a.note(wire.Envelope(out.Frame))
	p, ok := a.proposal(out.Frame)
	if !ok || len(p.list) == 0 {
		return []bft.Outbound{out}
	}
	list, lie := p.list, "requests of another batch again"
	if p.header.Seq%16 == 15 {
		lie = "request twice in a batch"
	}
	frame := a.inPlace(out.Frame, lie, func() []byte {
		old := a.old(list)
		switch {
		case lie == "request twice in a batch":
			list = append(slices.Clone(list), list[:32]...)
		case len(old) == 0:
			return nil
		case a.chance(50):
			list = append(old, list...)
		default:
			list = append(slices.Clone(list), old...)
		}
		p.become(list)
		return a.put(p)
	})
	return []bft.Outbound{{To: out.To, Frame: frame}}
}

// old returns one to four bundles that were proposed before, and remembers these.
func (a *duplicate) old(list []byte) []byte {
	var old []byte
	for range 1 + a.Rand.IntN(4) {
		if n := len(a.recent) / 32; n > 0 {
			i := 32 * a.Rand.IntN(n)
			if d := a.recent[i : i+32]; !holds(old, d) && !holds(list, d) {
				old = append(old, d...)
			}
		}
	}
	a.recent = append(a.recent, list...)
	a.recent = a.recent[max(0, len(a.recent)-8*32):]
	return old
}

// holds tells whether a list of digests has one.
func holds(list, digest []byte) bool {
	return slices.ContainsFunc(slices.Collect(slices.Chunk(list, 32)), func(d []byte) bool { return slices.Equal(d, digest) })
}
