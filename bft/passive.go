package bft

// Passive replication (protocol.md, its end). The primary alone executes the operations of some services; what it
// orders is the requests and, beside them in the body, the updates that came of them. The core knows the updates as
// bytes that the body's digest covers: package exec makes and reads them, at the host's hands.
//
// An update is computed on the state of the number below its own, so the primary proposes a number once the one below is executed
// (W = 1), and a backup votes for it then, when its host has found the updates to be of that state and in order. A quorum's
// certificate tells of f+1 correct replicas that did, hence that the number below was committed as it was executed; no
// view change can put another one in its place. So under at most f faults no update is ever void, and a body that
// is proposed again in O keeps its updates.

// maxVoids is how often a bundle may be ordered in vain until the primary is to blame.
const maxVoids = 4

// passive is what the host was asked for and has not answered: one thing of each kind at a time, for a service may never
// come back.
type passive struct {
	// drafted is the batch whose updates are being computed.
	drafted *Batch
	judging bool
}

// draft asks for the updates of what waits. The primary does not time the answer: the backups time the primary (rule 13).
func (r *Replica) draft() {
	if r.passive.drafted != nil || r.inFlight() > 0 || !r.couldUpdate() || r.executed != r.nextSeq-1 || r.nextSeq > r.high() || r.clock <= 0 {
		return
	}
	_, bundles := r.pool.batch(&r.cfg, r)
	if len(bundles) == 0 {
		return
	}
	b := &Batch{Seq: r.nextSeq, View: r.view, Proposal: Proposal{Time: r.clock}, Bundles: bundles}
	r.passive.drafted, r.out.update = b, b
}

// couldUpdate tells whether this replica, as primary, could have updates computed: the last committed number is executed.
func (r *Replica) couldUpdate() bool {
	return !r.cfg.Passive || r.executed == r.delivered && !r.installing
}

// onUpdated proposes a batch with its updates, unless the view or the state has moved on. Then the updates are forgotten:
// computing them has changed nothing.
func (r *Replica) onUpdated(u *Updated) {
	b := r.passive.drafted
	if b == nil || u.Seq != b.Seq {
		return
	}
	r.passive.drafted = nil
	if b.View != r.view || b.Seq != r.nextSeq || r.executed != b.Seq-1 || b.Seq > r.high() || !r.isPrimary() || !r.mayVote() || u.Bundles == 0 {
		return
	}
	bundles := b.Bundles[:u.Bundles]
	list := make([]Digest, len(bundles))
	for i, x := range bundles {
		list[i] = x.Digest
	}
	r.proposeNext(content{list, u.Updates}, bundles, b.Proposal.Time)
}

// judged tells whether the updates of a fresh proposal are in order, and asks the host once it can know. Until then something
// is lacking.
func (r *Replica) judged(s *slot) bool {
	if s.sound || s.pre.prop == Null || s.done != nil || r.executed >= s.seq {
		return true // what is certified is not checked again
	}
	r.lacking[s.seq] = struct{}{}
	if r.passive.judging || r.executed != s.seq-1 || !r.couldUpdate() {
		return false
	}
	b := r.bodies[s.pre.prop.Body]
	r.passive.judging = true
	r.out.judge = &Batch{Seq: s.seq, View: s.pre.view, Proposal: s.pre.prop, Digest: s.dig, Bundles: b.bundles, Updates: b.updates}
	return false
}

// onJudged votes for a proposal whose updates are in order, and suspects the primary of one whose are not.
func (r *Replica) onJudged(j *Judged) {
	r.passive.judging = false
	r.retrySoon()
	s := r.slots[j.Seq]
	switch {
	case s == nil || s.pre == nil || s.pre.view != j.View || s.dig != j.Digest || s.pre.view != r.view:
	case j.OK:
		s.sound = true
	case s.done == nil && !s.inO:
		r.suspect(SuspectedUpdate)
	}
}

// afterVoid has bundles that were ordered in vain wait again. A primary under which that happens to one time and again
// censors it.
func (r *Replica) afterVoid(void []Digest) {
	blame := false
	for _, d := range void {
		x := r.pool.all[d]
		if x == nil {
			continue
		}
		x.seq, x.voids = 0, x.voids+1
		if r.pool.move(x, &r.pool.fresh); x.voids >= maxVoids {
			x.voids, blame = 0, true
		}
	}
	if blame && !r.isPrimary() {
		r.suspect(SuspectedUpdate)
	}
}
