package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// reign is what behaviours of a primary have in common: the adversary must lead to do harm, and views
// follow one another. Until the heal, while the network is its too, an honest primary gets a few
// proposals through and then no more, so that views change, without a back-off, until an accomplice
// leads again. The first of the accomplices has this done for all.
type reign struct {
	base
	// begun is the first number that was proposed afresh in a view of an honest primary, granted how many
	// more it may propose. withVotes: it is the votes that get lost, and the accomplices alone have them.
	begun, granted map[uint64]uint64
	withVotes      bool
	// view is the newest that the own replica has shown to be in.
	view uint64
	// sent is the other frame that was made of an own one, so that what is sent again is what was sent.
	sent map[bft.Digest][]byte
}

func newReign(env Env) reign {
	return reign{base: newBase(env), begun: make(map[uint64]uint64), granted: make(map[uint64]uint64), sent: make(map[bft.Digest][]byte)}
}

// leads tells whether the own replica is the primary of the view that it is in.
func (a *reign) leads() bool { return a.primary(a.view) == a.Self }

// first tells whether this accomplice acts for all.
func (a *reign) first() bool { return a.Plan.faulty[0] == a.Self }

// note keeps track of the own replica's view.
func (a *reign) note(e *bftpb.Envelope) {
	if !a.own(e) {
		return
	}
	if h, err := wire.Header(e); err == nil {
		a.view = max(a.view, h.View)
	} else if v, err := wire.Votes(e); err == nil {
		a.view = max(a.view, v.View)
	} else if v, err := wire.ViewChange(e); err == nil {
		a.view = max(a.view, v.View)
	}
}

// over tells whether an honest primary has had its share of a view with this number.
func (a *reign) over(view, seq uint64) bool {
	begun, ok := a.begun[view]
	return ok && seq > begun+a.granted[view]
}

// Schedule implements Adversary: it ends the views of honest primaries.
func (a *reign) Schedule(p Passing) Fate {
	if !a.first() || a.Plan.accomplice(p.To) || a.Plan.accomplice(p.From) {
		return Fate{}
	}
	switch wire.TypeOf(p.Frame) {
	case bft.TypePrePrepare:
		h, err := wire.Header(wire.Envelope(p.Frame))
		if err != nil {
			break
		}
		if _, ok := a.begun[h.View]; !ok {
			a.begun[h.View], a.granted[h.View] = h.Seq, 2+uint64(a.Rand.IntN(8))
		}
		if a.over(h.View, h.Seq) && !a.withVotes {
			a.lie("pre-prepare of another primary lost")
			return Fate{Lose: true}
		}
	case bft.TypeVotes:
		if a.withVotes && a.lateVotes(wire.Envelope(p.Frame)) {
			a.lie("votes in the view of another primary lost")
			return Fate{Lose: true}
		}
	}
	return Fate{}
}

// lateVotes tells whether votes are for what an honest primary proposed after its share.
func (a *reign) lateVotes(e *bftpb.Envelope) bool {
	v, err := wire.Votes(e)
	if err != nil {
		return false
	}
	for _, x := range v.Votes {
		if a.over(v.View, x.Seq) {
			return true
		}
	}
	return false
}

// proposal is an own pre-prepare, taken apart.
type proposal struct {
	header *bftpb.Header
	// list are the digests of the bundles, 32 bytes each.
	list []byte
}

// proposal reads an own pre-prepare.
func (b *base) proposal(frame []byte) (proposal, bool) {
	var p bftpb.PrePrepare
	if wire.Read(bft.TypePrePrepare, frame, &p) != nil || !b.own(p.Header) {
		return proposal{}, false
	}
	h, err := wire.Header(p.Header)
	return proposal{h, bytes.Clone(p.Body.GetBundles())}, err == nil
}

// slot is the number that a proposal is for.
func (p *proposal) slot() slot { return slot{p.header.View, p.header.Seq} }

// become makes it a proposal of these bundles; of none it is the null one.
func (p *proposal) become(list []byte) {
	p.list = list
	if len(list) == 0 {
		p.header.Body, p.header.Time = nil, 0
		return
	}
	d := bodyDigest(list)
	p.header.Body = d[:]
}

// put signs a proposal.
func (b *base) put(p proposal) []byte {
	return wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: b.Seal(bft.TypePrePrepare, wire.Marshal(p.header)), Body: &bftpb.Body{Bundles: p.list}})
}

// inPlace returns the frame that stands for an own one: the one made before, or else what change makes
// of it, which tells the lie as well. If that is nil the frame stays what it is.
func (a *reign) inPlace(frame []byte, lie string, change func() []byte) []byte {
	d := frameDigest(frame)
	other, ok := a.sent[d]
	if !ok {
		other = change()
		a.sent[d] = other
	}
	if other == nil {
		return frame
	}
	a.lie(lie)
	return other
}

// frameDigest tells frames apart.
func frameDigest(frame []byte) bft.Digest {
	return wire.Digest(&bftpb.Envelope{Payload: frame})
}
