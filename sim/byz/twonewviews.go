package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Two valid new-views for one view.
//
// View-changes differ, and any quorum of them makes a valid new-view. The accomplices see to it that
// they differ in what matters: the votes for the last proposals of an honest primary get lost on the way
// to all but them, so that they alone can prove that these prepared. The new primary then sends two
// view-changes of its own, one with these certificates and one without some of them, and two new-views, each
// with a correct O: one half of the honest replicas gets the one, the other half the other. A little later
// each half hears of the other new-view too.
//
// Aims at: one new-view for a view: who has entered it does so no second time (OSDI'99 §4.4, rule 17);
// quorums that intersect in an honest replica, which no half outvotes.
type twoNewViews struct {
	newViews
	// pairs are the new-views of each own view, true and other, as frames.
	pairs map[uint64]*pair
	// newest is the pair that each half shall soon hear the rest of.
	newest *pair
	asked  []question
}

type pair struct {
	view         uint64
	truth, other []byte
	side         []bool
	again        int // how often each half is still told what the other was
}

// question is a peer that wants view-changes.
type question struct {
	from    bft.ReplicaID
	digests []byte
}

func newTwoNewViews(env Env) Adversary {
	a := &twoNewViews{newViews: newNewViews(env), pairs: make(map[uint64]*pair)}
	a.withVotes = true
	return a
}

// Receive implements Adversary.
func (a *twoNewViews) Receive(from bft.ReplicaID, frame []byte) bool {
	var f bftpb.Fetch
	if wire.TypeOf(frame) == bft.TypeFetch && wire.Read(bft.TypeFetch, frame, &f) == nil && len(f.Digests) > 0 && len(a.asked) < a.N {
		a.asked = append(a.asked, question{from, f.Digests})
	}
	return a.newViews.Receive(from, frame)
}

// Send implements Adversary.
func (a *twoNewViews) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypeViewChange && a.own(e):
		a.learn(e)
	case t == bft.TypeNewView && a.own(e):
		v, err := wire.NewView(e)
		if err != nil {
			break
		}
		p, known := a.pairs[v.View]
		if !known {
			p = a.second(v, out.Frame)
			a.pairs[v.View], a.newest = p, p
		}
		if p == nil {
			break
		}
		var sent []bft.Outbound
		for _, to := range a.receivers(out) {
			frame := p.truth
			if p.side[to] {
				a.lie("second new-view")
				frame = p.other
			}
			sent = append(sent, bft.Outbound{To: to, Frame: frame})
		}
		return sent
	}
	return []bft.Outbound{out}
}

// second makes another new-view for a view, out of other view-changes; nil if O would be the same.
func (a *twoNewViews) second(v *bftpb.NewView, frame []byte) *pair {
	truth, ok := a.determine(v.ViewChanges)
	if !ok {
		return nil
	}
	for _, refs := range a.alternatives(v) {
		o, ok := a.determine(refs)
		if !ok || o.same(truth) {
			continue
		}
		n := &bftpb.NewView{View: v.View, ViewChanges: refs}
		a.fill(n, o)
		return &pair{view: v.View, truth: frame, other: a.seal(bft.TypeNewView, wire.Marshal(n)), side: a.Plan.side(v.View, false), again: 3}
	}
	return nil
}

// alternatives lists other quorums of view-changes than that of a new-view: with the own one altered, or with
// one exchanged for one that was not taken.
func (a *twoNewViews) alternatives(v *bftpb.NewView) [][]*bftpb.ViewChangeRef {
	var list [][]*bftpb.ViewChangeRef
	exchange := func(i int, signer uint32, d bft.Digest) {
		refs := slices.Clone(v.ViewChanges)
		refs[i] = &bftpb.ViewChangeRef{Signer: signer, Digest: d[:]}
		list = append(list, refs)
	}
	for i, r := range v.ViewChanges {
		if r.Signer != uint32(a.Self) {
			continue
		}
		own := a.changes[wire.DigestOf(r.Digest)]
		if own == nil {
			continue
		}
		lowest := a.lowest(own)
		for _, keep := range []func(uint64) bool{
			func(seq uint64) bool { return seq != lowest }, func(seq uint64) bool { return seq%2 == 0 }, func(uint64) bool { return false },
		} {
			if e, ok := a.without(own, keep); ok {
				exchange(i, r.Signer, a.learn(e))
			}
		}
	}
	for _, d := range a.order {
		e := a.changes[d]
		c, err := wire.ViewChange(e)
		if err != nil || c.View != v.View || slices.ContainsFunc(v.ViewChanges, func(r *bftpb.ViewChangeRef) bool { return r.Signer == e.Signer }) {
			continue
		}
		for i := range v.ViewChanges {
			exchange(i, e.Signer, d)
		}
	}
	return list
}

// lowest is the lowest number of which a view-change proves that it prepared in the last view of an honest
// primary after its share; 0 if it proves none.
func (a *twoNewViews) lowest(e *bftpb.Envelope) uint64 {
	v, err := wire.ViewChange(e)
	if err != nil {
		return 0
	}
	for _, p := range v.Prepared {
		if h, err := wire.Header(v.Envelopes[p.PrePrepare]); err == nil && (a.over(h.View, h.Seq) || !a.first()) {
			return p.Seq
		}
	}
	return 0
}

// Inject implements Adversary: the view-changes that are asked for, and to each half what the other was told.
func (a *twoNewViews) Inject(bft.Time) []bft.Outbound {
	var sent []bft.Outbound
	for _, q := range a.asked {
		d := &bftpb.Data{}
		for i := 0; i+32 <= len(q.digests); i += 32 {
			if e := a.changes[wire.DigestOf(q.digests[i:i+32])]; a.own(e) {
				d.ViewChanges = append(d.ViewChanges, e)
			}
		}
		if len(d.ViewChanges) > 0 {
			a.lie("second view-change served")
			sent = append(sent, bft.Outbound{To: q.from, Frame: wire.Frame(bft.TypeData, d)})
		}
	}
	a.asked = nil
	p := a.newest
	if p == nil || p.again == 0 || p.view != a.view {
		return sent
	}
	p.again--
	for to := range bft.ReplicaID(a.N) {
		if to == a.Self {
			continue
		}
		frame := p.other
		if p.side[to] {
			frame = p.truth
		}
		a.lie("both new-views")
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}
