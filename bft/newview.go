package bft

import (
	"bytes"
	"fmt"
)

// selection is what a quorum of view-changes determines: the numbers from the highest stable
// checkpoint to the highest prepared number, each with its proposal (OSDI'99 §4.4, O).
type selection struct {
	minS, maxS Seq
	props      []Proposal // of minS+1, minS+2, … maxS
	stable     []*checkpoint
}

// selectProposals is the pure function by which primary and backups compute O alike (rule 7):
// for each number the prepared certificate of the highest view wins, numbers without one are
// filled with the null request. Two certificates of one view and number name one proposal, since
// their quorums share an honest replica.
func selectProposals(vcs []*viewChange) selection {
	var o selection
	for _, vc := range vcs {
		if vc.stable > o.minS {
			o.minS, o.stable = vc.stable, vc.cert
		}
	}
	o.maxS = o.minS
	best := map[Seq]*preparedCert{}
	for _, vc := range vcs {
		for _, p := range vc.prepared {
			if p.pre.seq <= o.minS {
				continue
			}
			o.maxS = max(o.maxS, p.pre.seq)
			if b := best[p.pre.seq]; b == nil || p.pre.view > b.pre.view {
				best[p.pre.seq] = p
			}
		}
	}
	for s := o.minS + 1; s <= o.maxS; s++ {
		prop := Null
		if b := best[s]; b != nil {
			prop = b.pre.prop
		}
		o.props = append(o.props, prop)
	}
	return o
}

// newViewDraft is a new-view that its primary is putting together.
type newViewDraft struct {
	view    View
	vcs     []*viewChange
	o       selection
	signing bool
	pres    []*prePrepare
}

// tryNewView begins a new-view once the primary of the next view holds a quorum of view-changes
// for it.
func (r *Replica) tryNewView() {
	c := &r.change
	if !r.changing || !r.isPrimary() || !r.maySign() || c.proposing != nil {
		return
	}
	var vcs []*viewChange
	for id := ReplicaID(0); int(id) < r.n && len(vcs) < r.quorum(); id++ {
		if vc := c.vcs[id]; vc != nil && vc.view == r.view {
			vcs = append(vcs, vc)
		}
	}
	if len(vcs) < r.quorum() {
		return
	}
	c.proposing = &newViewDraft{view: r.view, vcs: vcs, o: selectProposals(vcs)}
	r.continueNewView()
}

// continueNewView signs O once every body in it is held: a pre-prepare is a vote, and there is
// no vote for what is not held and durable (rule 4).
func (r *Replica) continueNewView() {
	d := r.change.proposing
	if d.signing || d.view != r.view || !r.changing {
		return
	}
	for i, p := range d.o.props {
		if !r.holdBody(p.Body, d.o.minS+1+Seq(i)) {
			return
		}
	}
	d.signing = true
	if r.promisedOtherwise(d) {
		r.change.failed = true // the timer of rule 10 goes on to the next view
		return
	}
	for i, p := range d.o.props {
		if seq := d.o.minS + 1 + Seq(i); seq > r.stable {
			r.recordBody(seq, p.Body)
		}
	}
	if len(d.o.props) == 0 {
		r.finishNewView(d)
		return
	}
	for i, p := range d.o.props {
		seq := d.o.minS + 1 + Seq(i)
		if seq > r.stable {
			r.promised(PhasePrePrepare, d.view, seq, p.Digest())
		}
		payload := encodeHeader(d.view, seq, p)
		r.record(keyProposed(seq, d.view), payload)
		r.signThen(TypePrePrepare, payload, func(e *Envelope) {
			if r.change.proposing != d {
				return
			}
			d.pres = append(d.pres, &prePrepare{env: e, view: d.view, seq: seq, prop: p})
			if len(d.pres) == len(d.o.props) {
				r.finishNewView(d)
			}
		})
	}
}

// promisedOtherwise: before a restart this primary signed another O for this view, out of other
// view-changes, and cannot sign a second.
func (r *Replica) promisedOtherwise(d *newViewDraft) bool {
	for i, p := range d.o.props {
		seq := d.o.minS + 1 + Seq(i)
		if old, ok := r.promises[promise{seq, d.view, PhasePrePrepare}]; ok && seq > r.stable && old != p.Digest() {
			return true
		}
	}
	// Beyond this O the view would propose afresh what was promised as part of the other.
	for x := range r.promises {
		if x.view == d.view && x.phase == PhasePrePrepare && x.seq > d.o.maxS {
			return true
		}
	}
	return false
}

// holdBody tells whether a body and all its bundles are held, and asks for what is not.
func (r *Replica) holdBody(d Digest, seq Seq) bool {
	if d.IsZero() || seq <= r.stable {
		return true
	}
	b := r.bodies[d]
	if b == nil {
		r.want(wantBody, d, nil)
		return false
	}
	all := true
	for i, id := range b.list {
		if b.bundles[i] == nil {
			if x := r.findBundle(id); x != nil {
				r.place(b, i, x)
			}
		}
		if b.bundles[i] == nil {
			r.want(wantBundle, id, nil)
			all = false
		}
	}
	return all
}

func (r *Replica) finishNewView(d *newViewDraft) {
	// Signatures come back in any order.
	pres := make([]*prePrepare, len(d.pres))
	for _, p := range d.pres {
		pres[p.seq-d.o.minS-1] = p
	}
	var refs []vcRef
	for _, vc := range d.vcs {
		refs = append(refs, vcRef{vc.env.Signer, vc.digest})
	}
	payload := encodeNewView(d.view, refs, pres)
	r.change.draft = payload
	r.record(keyDraft(), payload) // there is one new-view per view, its bytes durable, as with view-changes
	r.signThen(TypeNewView, payload, func(e *Envelope) {
		if r.change.proposing != d {
			return
		}
		r.send(Everyone, envelopeFrame(e))
		r.enterView(&newView{env: e, view: d.view, refs: refs, pres: pres}, d.vcs, d.o)
	})
}

// onNewView takes the new primary's new-view, from it or from anyone who holds it.
func (r *Replica) onNewView(nv *newView) error {
	c := &r.change
	switch {
	case nv.view < r.view || nv.view == r.view && !r.changing:
		return ErrTooOld
	case nv.view == r.view && c.failed:
		return ErrNotRelevant
	}
	if nv.env.Signer == r.cfg.Self && !bytes.Equal(nv.env.Payload, c.draft) {
		r.becomeAmnesiac("a peer holds a new-view of this replica that its records lack")
		return ErrNotRelevant
	}
	if old := c.offered[nv.env.Signer]; old != nil && old.view >= nv.view {
		if old == c.turn {
			_ = r.tryEnter(old) // asks again for what was given up
		}
		return ErrNotRelevant
	}
	if old := c.offered[nv.env.Signer]; old != nil {
		r.unwantRefs(old)
	}
	c.offered[nv.env.Signer] = nv
	if err := r.tryEnter(nv); err != nil {
		return err
	}
	r.takeTurns()
	return nil
}

// tryEnter checks the offered new-view once all its view-changes are held (rules 7 and 8).
func (r *Replica) tryEnter(nv *newView) error {
	c := &r.change
	var vcs []*viewChange
	for _, ref := range nv.refs {
		vc := c.byDigest(ref.digest)
		if vc == nil {
			if nv == c.turn {
				r.want(wantViewChange, ref.digest, nil)
			}
			continue
		}
		if vc.env.Signer != ref.signer || vc.view != nv.view {
			return r.refuseNewView(nv, "names a view-change of another member or view")
		}
		vcs = append(vcs, vc)
	}
	if len(vcs) < len(nv.refs) {
		return nil
	}
	o := selectProposals(vcs)
	if why := compareO(nv, o); why != "" {
		return r.refuseNewView(nv, why)
	}
	r.enterView(nv, vcs, o)
	return nil
}

// compareO says in what the primary's O differs from the one that its view-changes determine.
func compareO(nv *newView, o selection) string {
	if len(nv.pres) != len(o.props) {
		return fmt.Sprintf("has %d proposals, its view-changes determine %d", len(nv.pres), len(o.props))
	}
	for i, p := range nv.pres {
		if p.seq != o.minS+1+Seq(i) || p.prop != o.props[i] {
			return fmt.Sprintf("proposes something else for %d", o.minS+1+Seq(i))
		}
	}
	return ""
}

// unwantRefs gives up the view-changes that a new-view named; whatever else names them asks again.
func (r *Replica) unwantRefs(nv *newView) {
	for _, ref := range nv.refs {
		r.unwant(ref.digest)
	}
}

// maxTurn is how long the view-changes of one offered new-view are fetched while others wait.
const maxTurn = 500 * Millisecond

// takeTurns has the view-changes that offered new-views name fetched for one of them at a time, in turns: what is held
// for them is bounded in all, and no offer, whatever it names, keeps another out for long (rule 10).
func (r *Replica) takeTurns() {
	c := &r.change
	current := c.turn != nil && c.offered[c.turn.env.Signer] == c.turn
	if len(c.offered) == 0 || current && r.now-c.turnAt < min(maxTurn, r.cfg.RequestTimeout) {
		return
	}
	first := ReplicaID(0)
	if c.turn != nil {
		first = c.turn.env.Signer + 1
		r.unwantRefs(c.turn)
	}
	for i := range ReplicaID(r.n) {
		if nv := c.offered[(first+i)%ReplicaID(r.n)]; nv != nil {
			c.turn, c.turnAt = nv, r.now
			break
		}
	}
	c.forgetUnnamed()
	_ = r.tryEnter(c.turn) // who sent it is not here to be told
}

// forgetUnnamed forgets the view-changes that were fetched for another new-view than the one whose turn it is.
func (c *change) forgetUnnamed() {
	named := map[Digest]bool{}
	for _, ref := range c.turn.refs {
		named[ref.digest] = true
	}
	for d := range c.extra {
		if !named[d] {
			delete(c.extra, d)
		}
	}
}

// refuseNewView: an invalid new-view is proof against its primary. If it is the one awaited, the
// view has failed; no other new-view for it is looked at.
func (r *Replica) refuseNewView(nv *newView, why string) error {
	delete(r.change.offered, nv.env.Signer)
	r.unwantRefs(nv)
	if nv.view == r.view {
		r.change.failed = true
	}
	return fmt.Errorf("%w: new-view of %d %s", ErrInvalid, nv.view, why)
}

// enterView begins a view with the proposals that its new-view has settled.
func (r *Replica) enterView(nv *newView, vcs []*viewChange, o selection) {
	r.flushVotes()
	c := &r.change
	r.view, r.changing = nv.view, false
	c.newView, c.used, c.proposing, c.failed, c.progressed, c.quorumAt = nv, vcs, nil, false, false, 0
	clear(c.extra)
	c.forget(r.view + 1)
	r.forgetWants()
	for id, vc := range c.vcs {
		if vc.view <= nv.view {
			delete(c.vcs, id)
		}
	}
	r.record(keyNewView(), encodeNewViewRecord(nv, o.maxS))
	r.record(keyUsed(), dataFrame(&data{viewChanges: vcs})[1:])
	r.inO = o.maxS
	r.lowerMark(o.maxS)
	r.reads.begin(r.now)
	for s, x := range r.slots {
		delete(r.lacking, s)
		x.since = r.now
	}
	r.nextSeq = max(o.maxS, r.delivered, r.stable) + 1
	if o.minS > r.stable {
		r.onCertificate(o.stable)
	}
	for s := range r.early {
		if r.early[s].view < r.view {
			delete(r.early, s)
		}
	}
	for _, p := range nv.pres {
		if p.seq > r.stable {
			r.takeOver(p)
		}
	}
	r.dropUnvoted()
	r.restartPool()
	r.retryEarly()
	r.propose()
}

// dropUnvoted forgets the bodies of proposals of earlier views that this replica never voted for (rule 4 keeps the
// others).
func (r *Replica) dropUnvoted() {
	named := map[Digest]bool{}
	for _, s := range r.slots {
		if s.done != nil || s.pre != nil && s.pre.view == r.view {
			named[s.proposal().Body] = true
		}
		if s.pre != nil && s.pre.view == r.view {
			named[s.pre.prop.Body] = true
		}
	}
	for d, b := range r.bodies {
		if len(b.seqs) == 0 && !named[d] {
			r.dropBody(d)
		}
	}
}

// takeOver accepts a proposal of the view's new-view; it is timed like a fresh one, but neither
// its time nor its bundles' signatures are checked again (rules 5 and 23).
func (r *Replica) takeOver(p *prePrepare) {
	if p.seq > r.high() {
		r.early[p.seq] = p
		return
	}
	s := r.slot(p.seq)
	if s.pre != nil && s.pre.view == p.view {
		return
	}
	r.adopt(s, p, true)
	r.tryAccept(s)
}
