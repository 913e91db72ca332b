package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Prepare equivocation.
//
// The accomplices prepare two things for one number. When one of them leads, it makes two proposals, one for
// each half of the honest replicas, and each half hears the prepares that it is waiting for. When an honest
// one leads there is only one proposal, and half of the replicas hear prepares for something that nobody
// proposed: a number's worth of prepares, but not for one thing. Commits follow the prepares.
//
// Aims at: OSDI'99 §4.2, the quorum: two proposals cannot both be prepared, as one honest replica would have
// had to prepare both; rule 2: votes count for the digest that they name.
type prepareBoth struct{ listener }

func newPrepareBoth(env Env) Adversary { return &prepareBoth{newListener(env)} }

// Send implements Adversary.
func (a *prepareBoth) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	switch wire.TypeOf(out.Frame) {
	case bft.TypePrePrepare:
		return a.propose(out, e)
	case bft.TypeVotes:
		return a.vote(out, e)
	}
	return []bft.Outbound{out}
}

// propose tells each half a proposal of its own, now and then.
func (a *prepareBoth) propose(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	h, err := wire.Header(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	if _, begun := a.Plan.others[slot{h.View, h.Seq}]; !begun && !a.chance(30) {
		return []bft.Outbound{out}
	}
	o, ok := a.instead(out.Frame)
	if !ok {
		return []bft.Outbound{out}
	}
	return a.halves(out, o.frame, h.View, "pre-prepare for something else")
}

// vote tells each half votes of its own.
func (a *prepareBoth) vote(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	v, err := wire.Votes(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	for _, x := range v.Votes {
		d := a.opposite(slot{v.View, x.Seq}, wire.DigestOf(x.Digest))
		x.Digest = d[:]
	}
	return a.halves(out, a.seal(bft.TypeVotes, wire.Marshal(v)), v.View, "votes for something else")
}

// opposite is the other proposal of a slot; where the primary made only one, that of the request that
// nobody sent.
func (a *prepareBoth) opposite(s slot, digest bft.Digest) bft.Digest {
	if o, ok := a.Plan.others[s]; ok {
		if digest == o.instead {
			return o.digest
		}
		return o.instead
	}
	return bft.Null.Digest()
}

// halves sends a frame to one half of the honest replicas, and another one to the other half.
func (b *base) halves(out bft.Outbound, other []byte, view uint64, lie string) []bft.Outbound {
	side := b.Plan.side(view, false)
	var sent []bft.Outbound
	for _, to := range b.receivers(out) {
		frame := out.Frame
		if side[to] {
			frame = other
			b.lie(lie)
		}
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}
