package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// newViews is what behaviours have in common that lie in new-views: they know the view-changes that were
// sent, and how O follows from them (OSDI'99 §4.4).
type newViews struct {
	reign
	// changes are the view-changes that were seen, by digest.
	changes map[bft.Digest]*bftpb.Envelope
	// order has their digests, the oldest first.
	order []bft.Digest
}

func newNewViews(env Env) newViews {
	return newViews{reign: newReign(env), changes: make(map[bft.Digest]*bftpb.Envelope)}
}

// Receive implements Adversary: it collects view-changes, and keeps from its replica what it never said itself.
func (a *newViews) Receive(_ bft.ReplicaID, frame []byte) bool {
	switch wire.TypeOf(frame) {
	case bft.TypeViewChange:
		if e := wire.Envelope(frame); e != nil {
			a.learn(e)
		}
	case bft.TypeNewView:
		return !a.own(wire.Envelope(frame))
	}
	return true
}

// learn keeps a view-change.
func (a *newViews) learn(e *bftpb.Envelope) bft.Digest {
	d := wire.Digest(e)
	if a.changes[d] == nil {
		a.changes[d] = e
		a.order = append(a.order, d)
	}
	return d
}

// selection is O: what view-changes determine for the numbers above the highest stable checkpoint.
type selection struct {
	stable uint64
	props  []bft.Proposal
}

// same tells whether two selections are alike.
func (s *selection) same(o selection) bool {
	if s.stable != o.stable || len(s.props) != len(o.props) {
		return false
	}
	for i := range s.props {
		if s.props[i] != o.props[i] {
			return false
		}
	}
	return true
}

// determine computes O. It is false if one of the view-changes is not known.
func (a *newViews) determine(refs []*bftpb.ViewChangeRef) (o selection, ok bool) {
	var top uint64
	best := make(map[uint64]*bftpb.Header)
	for _, r := range refs {
		v, err := wire.ViewChange(a.changes[wire.DigestOf(r.Digest)])
		if err != nil {
			return o, false
		}
		o.stable = max(o.stable, v.Stable)
		for _, p := range v.Prepared {
			if int64(p.PrePrepare) >= int64(len(v.Envelopes)) {
				return o, false
			}
			h, err := wire.Header(v.Envelopes[p.PrePrepare])
			if err != nil {
				return o, false
			}
			top = max(top, p.Seq)
			if b := best[p.Seq]; b == nil || h.View > b.View {
				best[p.Seq] = h
			}
		}
	}
	for seq := o.stable + 1; seq <= top; seq++ {
		prop := bft.Null
		if h := best[seq]; h != nil {
			prop = wire.Proposal(h)
		}
		o.props = append(o.props, prop)
	}
	return o, true
}

// fill makes O the pre-prepares of a new-view.
func (a *newViews) fill(v *bftpb.NewView, o selection) {
	v.PrePrepares = nil
	for i, p := range o.props {
		h := &bftpb.Header{View: v.View, Seq: o.stable + 1 + uint64(i), Time: int64(p.Time)}
		if !p.Body.IsZero() {
			h.Body = p.Body[:]
		}
		v.PrePrepares = append(v.PrePrepares, a.Seal(bft.TypePrePrepare, wire.Marshal(h)))
	}
}

// without makes a view-change of one's own that leaves out some of its certificates: keep tells which stay. It
// is false if that changes nothing.
func (a *newViews) without(e *bftpb.Envelope, keep func(seq uint64) bool) (*bftpb.Envelope, bool) {
	v, err := wire.ViewChange(e)
	if err != nil {
		return nil, false
	}
	n := &bftpb.ViewChange{View: v.View, Stable: v.Stable}
	moved := make(map[uint32]uint32)
	add := func(i uint32) uint32 {
		if _, ok := moved[i]; !ok {
			moved[i] = uint32(len(n.Envelopes))
			n.Envelopes = append(n.Envelopes, v.Envelopes[i])
		}
		return moved[i]
	}
	for _, i := range v.Checkpoint {
		n.Checkpoint = append(n.Checkpoint, add(i))
	}
	for _, p := range v.Prepared {
		if !keep(p.Seq) {
			continue
		}
		q := &bftpb.Prepared{Seq: p.Seq, PrePrepare: add(p.PrePrepare)}
		for _, i := range p.Votes {
			q.Votes = append(q.Votes, add(i))
		}
		n.Prepared = append(n.Prepared, q)
	}
	return a.Seal(bft.TypeViewChange, wire.Marshal(n)), len(n.Prepared) < len(v.Prepared)
}
