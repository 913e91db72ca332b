package bft

import (
	"fmt"
	"slices"
)

// The normal case (OSDI'99 §4.2): pre-prepare, prepare, commit.

// onPrePrepare takes the primary's fresh proposal.
func (r *Replica) onPrePrepare(p *prePrepare) error {
	switch {
	case p.view < r.view || p.seq <= r.stable:
		return ErrTooOld
	case p.seq > r.high()+r.cfg.Window || p.view > r.view+1:
		return ErrTooNew
	case p.env.Signer == r.cfg.Self:
		return ErrNotRelevant
	}
	r.help.newest[p.env.Signer].seePrePrepare(p)
	if p.view > r.view || r.changing || p.seq > r.high() {
		return r.keepEarly(p)
	}
	return r.acceptFresh(p)
}

// keepEarly keeps a pre-prepare that comes before its time: the watermarks and views of replicas
// move at different moments (rule 6). One per number, in the newest view.
func (r *Replica) keepEarly(p *prePrepare) error {
	// What belongs to the present view, above all an entry of its O, gives way to nothing.
	if old := r.early[p.seq]; old != nil && (old.view == r.view || p.view != r.view && old.view >= p.view) {
		return ErrNotRelevant
	}
	r.early[p.seq] = p
	return nil
}

func (r *Replica) retryEarly() {
	if r.changing {
		return
	}
	for _, s := range sortedSeqs(r.early, 0) {
		p := r.early[s]
		switch {
		case p.view < r.view || s <= r.stable:
			delete(r.early, s)
		case p.view == r.view && s <= r.high():
			delete(r.early, s)
			if p.body == nil {
				r.takeOver(p)
			} else {
				_ = r.acceptFresh(p) // its sender is not here to be told
			}
		}
	}
}

// acceptFresh accepts a proposal of the present view within the watermarks.
func (r *Replica) acceptFresh(p *prePrepare) error {
	if p.seq <= r.inO {
		return fmt.Errorf("%w: fresh proposal for %d, which the new-view of %d has settled", ErrInvalid, p.seq, r.view)
	}
	s := r.slot(p.seq)
	if s.pre != nil && s.pre.view == p.view {
		if s.dig != p.digest() {
			return fmt.Errorf("%w: second pre-prepare for view %d number %d", ErrInvalid, p.view, p.seq)
		}
		return ErrNotRelevant
	}
	if s.done != nil && s.done.view > p.view {
		return ErrTooOld
	}
	if s.done != nil && s.done.prop.Digest() != p.digest() {
		return fmt.Errorf("%w: pre-prepare for %d, which committed something else", ErrInvalid, p.seq)
	}
	if len(p.updates) > 0 && !r.cfg.Passive {
		return fmt.Errorf("%w: proposal %d has updates, but no service here is replicated passively", ErrInvalid, p.seq)
	}
	if !r.timely(p.prop) {
		return fmt.Errorf("%w: agreed time of %d is too far from this replica's clock", ErrNotRelevant, p.seq)
	}
	r.adopt(s, p, false)
	r.tryAccept(s)
	return nil
}

// timely checks the agreed time of a fresh proposal, once (rule 5). The bound into the past
// grows with each failed view, so that the slowest honest clock comes to be acceptable.
func (r *Replica) timely(p Proposal) bool {
	if p == Null {
		return true
	}
	behind := r.cfg.ClockBehind << min(r.change.failures, 20)
	return p.Time <= r.clock+r.cfg.ClockAhead && p.Time >= r.clock-behind
}

// adopt makes p the proposal of its number in this view. A view's votes are counted anew.
func (r *Replica) adopt(s *slot, p *prePrepare, inO bool) {
	s.pre, s.dig, s.inO = p, p.digest(), inO
	s.full, s.accepted, s.committing, s.sound = false, false, false, false
	s.since = max(r.now, 1)
	if p.body != nil {
		if b := r.learnBody(p.prop.Body, content{p.body, p.updates}); b != nil {
			p.updates = b.updates // one copy
		}
	}
}

// learnBody keeps the content of a body that is proposed in some slot.
func (r *Replica) learnBody(d Digest, c content) *body {
	b := r.bodies[d]
	if b == nil && !d.IsZero() {
		b = &body{content: c, bundles: make([]*Bundle, len(c.list))}
		r.bodies[d] = b
	}
	return b
}

// tryAccept votes for the proposal of s once its body is held and, in a fresh proposal, every
// bundle is authentic (rules 4 and 23). What is missing is fetched.
func (r *Replica) tryAccept(s *slot) {
	if s.accepted || s.pre == nil || s.pre.view != r.view || !r.mayVote() {
		return
	}
	if !s.full && !r.gather(s) {
		r.lacking[s.seq] = struct{}{}
		return
	}
	delete(r.lacking, s.seq)
	s.full = true
	if !s.inO && !r.fits(s.pre.prop.Body) {
		r.giveUp(s)
		return
	}
	if r.cfg.Passive && !s.inO && !r.judged(s) {
		return
	}
	r.accept(s)
}

// retrySoon has the proposals that lacked something looked at again, once for all that this turn brings: a primary
// may have made them many and large.
func (r *Replica) retrySoon() { r.retry = len(r.lacking) > 0 }

// retryAccepts looks again at the proposals that lacked something.
func (r *Replica) retryAccepts() {
	if len(r.lacking) == 0 {
		return
	}
	for _, seq := range sortedSeqs(r.lacking, 0) {
		s := r.slots[seq]
		if s == nil || s.pre == nil || s.pre.view != r.view {
			delete(r.lacking, seq)
			continue
		}
		r.tryAccept(s)
	}
}

// giveUp fetches nothing more for a proposal that is too large, and forgets what was fetched for it. That no vote
// for it comes about is the primary's debt (rule 13).
func (r *Replica) giveUp(s *slot) {
	for _, w := range r.wantOrder {
		if w.seq == s.seq && w.kind == wantBundle {
			r.unwant(w.digest)
		}
	}
	for _, x := range r.bodies[s.pre.prop.Body].bundles {
		if x == nil {
			continue
		}
		if p := r.pool.all[x.Digest]; p != nil && p.seq == 0 && !p.heard && !p.member {
			r.pool.drop(p)
		}
	}
}

// fits checks the bound of a proposal, of as much of it as is held.
func (r *Replica) fits(d Digest) bool {
	b := r.bodies[d]
	if b == nil {
		return true
	}
	size := 0
	for _, x := range b.bundles {
		if x != nil {
			size += x.Size()
		}
	}
	return size <= MaxProposalBytes
}

// gather collects the body of s. It is false while something is missing.
func (r *Replica) gather(s *slot) bool {
	d := s.pre.prop.Body
	if d.IsZero() {
		return true
	}
	b := r.bodies[d]
	if b == nil {
		r.want(wantBody, d, s)
		return false
	}
	if !s.inO && !r.fits(d) {
		r.giveUp(s)
		return false // over the bound whatever else it has: a function of the bytes, the same for all
	}
	all := true
	for i, id := range b.list {
		p := r.pool.all[id]
		if b.bundles[i] == nil {
			x := r.held[id].bundle
			if p != nil {
				x = p.bundle
			}
			if x != nil {
				r.place(b, i, x)
			}
		}
		if b.bundles[i] == nil {
			r.want(wantBundle, id, s)
			all = false
			continue
		}
		if s.inO || len(b.seqs) > 0 {
			continue // an honest replica vouched for it before (rule 23)
		}
		if p == nil {
			p = r.pool.keep(b.bundles[i], r.now)
		}
		if !p.heard && !p.valid {
			r.checkBundle(p)
			all = false
		}
	}
	return all
}

// accept records proposal and body, and promises the prepare; the primary's pre-prepare takes
// its place (rule 1).
func (r *Replica) accept(s *slot) {
	s.accepted, s.votedAt = true, r.now
	r.reached(StepAccepted, s.seq, r.view, s.pre.prop.Body)
	r.recordBody(s.seq, s.pre.prop.Body)
	if s.pre.env.Signer == r.cfg.Self {
		r.promised(PhasePrePrepare, r.view, s.seq, s.dig)
	}
	r.record(keyAccepted(s.seq, r.view), encodeEnvelope(s.pre.env))
	if !r.isPrimary() {
		r.vote(PhasePrepare, s.seq, s.dig)
	}
	if b := r.bodies[s.pre.prop.Body]; b != nil && !s.inO {
		r.pool.ordered(b.list)
	}
	r.pool.proposed(r.bodies[s.pre.prop.Body], s.seq)
	r.tryCommit(s)
}

// recordBody makes the content of a proposal durable, once for each number.
func (r *Replica) recordBody(s Seq, d Digest) {
	b := r.bodies[d]
	if b == nil {
		return
	}
	for _, x := range b.seqs {
		if x == s {
			return
		}
	}
	b.seqs = append(b.seqs, s)
	r.record(keyBody(s, d), encodeBody(b))
}

// onVotes takes prepares and commits of one peer.
func (r *Replica) onVotes(v *votes) error {
	if v.view > r.view+1<<20 {
		return ErrTooNew
	}
	r.help.newest[v.env.Signer].seeVotes(v)
	if v.env.Signer == r.cfg.Self {
		return ErrNotRelevant
	}
	return r.countVotes(v)
}

// countVotes notes votes, this replica's own included, and acts on what they complete. For each
// signer, phase and number the vote of the highest view is kept.
func (r *Replica) countVotes(v *votes) error {
	signer, used := v.env.Signer, false
	for _, x := range v.votes {
		if x.seq <= r.stable || x.seq > r.high()+r.cfg.Window {
			continue
		}
		s := r.slot(x.seq)
		recs := s.prepares
		if x.phase == PhaseCommit {
			recs = s.commits
		}
		old := &recs[signer]
		if old.votes != nil && old.view >= v.view {
			continue
		}
		*old = voteBy{v.view, x.digest, v}
		used = true
		if x.phase == PhasePrepare {
			r.tryCommit(s)
		} else {
			r.tryDeliver(s, v.view, x.digest)
		}
	}
	if !used {
		return ErrNotRelevant
	}
	return nil
}

// tryCommit promises the commit once the proposal is prepared: Q−1 distinct backups sent a
// prepare for it in this view (OSDI'99 §4.2; rule 1). The certificate is durable before the
// commit leaves, so that it survives into view changes (rule 9).
func (r *Replica) tryCommit(s *slot) {
	if s.committing || !s.accepted || s.pre.view != r.view || !r.mayVote() {
		return
	}
	var room [MaxMembers]*votes // allocated only once they are a certificate
	cert := preparedCert{pre: s.pre, votes: room[:0]}
	primary := r.primary()
	for i := range s.prepares {
		p := &s.prepares[i]
		if ReplicaID(i) != primary && p.votes != nil && p.view == r.view && p.digest == s.dig && len(cert.votes) < r.quorum()-1 {
			cert.votes = append(cert.votes, p.votes)
		}
	}
	if len(cert.votes) < r.quorum()-1 {
		return
	}
	s.prepared, s.committing = &preparedCert{pre: s.pre, votes: append([]*votes(nil), cert.votes...)}, true
	r.record(keyPrepared(s.seq, r.view), encodePrepared(s.prepared))
	r.reached(StepPrepared, s.seq, r.view, s.pre.prop.Body)
	r.vote(PhaseCommit, s.seq, s.dig)
	r.reads.mayCommit(s.seq)
}

// tryDeliver forms a commit certificate: Q commits for one proposal in one view, whatever view
// this replica is in (rule 15).
func (r *Replica) tryDeliver(s *slot, v View, d Digest) {
	if s.done != nil {
		return
	}
	var room [MaxMembers]*votes
	cert := room[:0]
	for i := range s.commits {
		c := &s.commits[i]
		if c.votes != nil && c.view == v && c.digest == d && len(cert) < r.quorum() {
			cert = append(cert, c.votes)
		}
	}
	if len(cert) < r.quorum() {
		return
	}
	if s.pre == nil || s.dig != d || !s.full {
		return // the body is fetched with the certificate, by status (help.go)
	}
	c := &committed{seq: s.seq, view: v, prop: s.pre.prop, votes: append([]*votes(nil), cert...)}
	if b := r.bodies[c.prop.Body]; b != nil {
		c.body, c.updates, c.bundles = b.list, b.updates, b.bundles
	}
	r.settle(s, c)
}

// settle notes a commit certificate, whose body is held, and hands out what is now in order.
func (r *Replica) settle(s *slot, c *committed) {
	s.done, s.bundles, s.doneAt = c, c.bundles, r.now
	if s.since == 0 {
		s.since = max(r.now, 1)
	}
	if !c.prop.Body.IsZero() {
		b := r.learnBody(c.prop.Body, content{c.body, c.updates})
		c.updates = b.updates
		r.fill(b, c.bundles)
		r.recordBody(s.seq, c.prop.Body)
	}
	r.record(keyCommitted(s.seq), encodeCommitted(c))
	r.reached(StepCommitted, s.seq, c.view, c.prop.Body)
	r.deliver()
}

// deliver hands committed batches to the host, in order and without gaps.
func (r *Replica) deliver() {
	if r.installing {
		return
	}
	for {
		s := r.slots[r.delivered+1]
		if s == nil || s.done == nil || s.seq > r.high()+r.cfg.Window {
			break
		}
		r.delivered++
		if s.accepted && !s.inO && s.pre.view == r.view {
			r.pool.punctual.agreed(max(0, s.doneAt-s.votedAt)) // a certificate may come before the vote
			r.pool.turned(s.bundles, r.now-s.doneAt)
		}
		r.out.execute = append(r.out.execute, &Batch{Seq: s.seq, View: s.done.view, Proposal: s.done.prop, Digest: s.done.prop.Digest(),
			Bundles: s.bundles, Updates: s.done.updates, Checkpoint: s.seq%r.cfg.Interval == 0})
	}
	if r.nextSeq <= r.delivered {
		r.nextSeq = r.delivered + 1
	}
}

// onExecuted takes the host's report of an executed batch.
func (r *Replica) onExecuted(x *Executed) {
	if x.Seq != r.executed+1 || x.Seq > r.delivered {
		if r.installing || x.Seq <= r.executed {
			return // of a state that has been replaced meanwhile
		}
		panic(fmt.Sprintf("bft: the host executed %d after %d", x.Seq, r.executed))
	}
	r.executed, r.time = x.Seq, x.Time
	if s := r.slots[x.Seq]; s != nil {
		for _, b := range s.bundles {
			if p := r.pool.all[b.Digest]; p != nil && p.heardAgain && !slices.Contains(x.Void, b.Digest) {
				r.out.replay = append(r.out.replay, b)
			}
		}
		r.pool.executed(s.bundles, x)
		// Progress of the view itself, not of what it inherited, lets the back-off shrink (rule 11).
		if s.pre != nil && s.pre.view == r.view && !s.inO && !r.changing && len(x.Void) == 0 {
			r.change.progress(r.view)
		}
	}
	r.applyMarks(x.Marks)
	if r.cfg.Passive {
		r.afterVoid(x.Void)
		r.retrySoon() // a proposal may wait for this number
	}
	r.releaseReads()
	if s, ok := r.check.ahead[x.Seq]; ok {
		delete(r.check.ahead, x.Seq)
		r.onSnapshot(s)
	}
}
