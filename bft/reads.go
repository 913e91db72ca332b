package bft

// Linearizable reads without ordering (rule 27). An operation that any client has seen answered
// committed at some honest replica, so Q replicas let a commit leave for it; a read that is
// answered alike by Q replicas has, in the intersection, an honest one whose mark covers it.

type reading struct {
	// mark is r: the highest number for which this replica may have let a commit leave.
	mark    Seq
	waiting []waitingRead
}

type waitingRead struct {
	id    ReadID
	mark  Seq
	since Time
}

const maxReads = 1 << 14

// mayCommit raises the mark, before the commit leaves.
func (x *reading) mayCommit(s Seq) { x.mark = max(x.mark, s) }

// Read registers a read that has just arrived; Ready.Reads names it once it may be answered.
// ErrBusy: this replica answers no reads now, or too many wait.
func (r *Replica) Read(id ReadID) error {
	if !r.maySign() || r.diverged != "" || r.installing || r.fetchS.on || r.executed < r.stable || len(r.reads.waiting) >= maxReads {
		return ErrBusy
	}
	if r.executed >= r.reads.mark {
		r.out.reads = append(r.out.reads, id)
		return nil
	}
	r.reads.waiting = append(r.reads.waiting, waitingRead{id, r.reads.mark, r.now})
	return nil
}

// releaseReads lets those go whose mark is executed, unless this replica's state is in doubt: then
// they wait for its repair (rule 22).
func (r *Replica) releaseReads() {
	x := &r.reads
	if r.diverged != "" || r.installing {
		return
	}
	keep := x.waiting[:0]
	for _, w := range x.waiting {
		if w.mark <= r.executed {
			r.out.reads = append(r.out.reads, w.id)
		} else {
			keep = append(keep, w)
		}
	}
	x.waiting = keep
}

// begin times the waiting reads from now on: an earlier primary's time is not the present one's (rule 13).
func (x *reading) begin(now Time) {
	for i := range x.waiting {
		x.waiting[i].since = now
	}
}

// lowerMark: a new-view proves that nothing above max-s committed in earlier views, so that
// commits which never came to anything do not hold up reads.
func (r *Replica) lowerMark(maxS Seq) {
	r.reads.mark = min(r.reads.mark, maxS)
	for i := range r.reads.waiting {
		w := &r.reads.waiting[i]
		w.mark = min(w.mark, maxS)
	}
	r.releaseReads()
}
