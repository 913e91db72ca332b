package bft

// View changes (OSDI'99 §4.4 and §4.5.2).

type change struct {
	// vcs has the view-change of the highest view of each member, this one included.
	vcs map[ReplicaID]*viewChange
	// extra are view-changes that the new-view whose turn it is names, fetched by digest.
	extra map[Digest]*viewChange
	// used are those of the present view's new-view, kept to serve those who come later.
	used []*viewChange
	// quorumAt is when a quorum of view-changes for this view or higher was held; 0: not yet (rule 10).
	quorumAt Time
	backoff  uint
	why      Suspicion // why this replica last left a view of its own accord
	left     View      // which it was
	halved   View      // the view in which the back-off was last reduced
	newView  *newView
	// proposing is the new-view that this replica, as primary, is putting together.
	proposing *newViewDraft
	// draft is the payload of the newest new-view of this replica's own.
	draft []byte
	// offered are new-views that wait for view-changes, the newest of each member: none can
	// push out another's.
	offered map[ReplicaID]*newView
	// turn is the one of them whose view-changes are being fetched, since turnAt.
	turn       *newView
	turnAt     Time
	failed     bool // the primary of this view has offered an invalid new-view
	progressed bool // a number proposed fresh in this view was executed
	failures   uint // failed views, for rule 5's bound into the past, which has no maximum
	lookedAt   Time // when the log was last searched for proposals that wait too long
}

func (c *change) init(n int) {
	c.vcs, c.extra = make(map[ReplicaID]*viewChange, n), map[Digest]*viewChange{}
	c.offered = make(map[ReplicaID]*newView, n)
}

// lookInterval is how often the log is searched for proposals that wait too long.
const lookInterval = 20 * Millisecond

// progress shrinks the back-off, at most once per view (rule 11).
func (c *change) progress(v View) {
	c.progressed = true
	if c.halved == v && c.backoff+c.failures > 0 {
		return
	}
	c.halved = v
	if c.backoff > 0 {
		c.backoff--
	}
	if c.failures > 0 {
		c.failures--
	}
}

// timeout is the request timeout with its back-off, which doubles per failed view up to a bound.
func (r *Replica) timeout() Time {
	t := r.cfg.RequestTimeout
	for i := uint(0); i < r.change.backoff && t < r.cfg.MaxTimeout; i++ {
		t *= 2
	}
	return min(t, r.cfg.MaxTimeout)
}

// suspectAfter is d of rule 14: how long a primary with room to propose may take. It is a
// multiple of the round trip that a quorum reaches, not the request timeout: a slow primary is
// a faulty one. It backs off as the timeout does.
func (r *Replica) suspectAfter() Time {
	d := max(8*r.quorumRTT(), r.cfg.SuspectFloor)
	for i := uint(0); i < r.change.backoff && d < r.timeout(); i++ {
		d *= 2
	}
	return min(d, r.timeout())
}

// tickView suspects a primary that lets accepted proposals or reads wait, and gives up a view
// change that does not end.
func (r *Replica) tickView() {
	if !r.maySign() {
		return
	}
	t := r.timeout()
	if r.changing {
		if r.change.quorumAt != 0 && r.now-r.change.quorumAt > t {
			r.change.why, r.change.left = SuspectedChange, r.view
			r.fail()
			r.enterChange(r.view + 1)
		}
		return
	}
	if r.behind() {
		// What does not execute here for want of state is no fault of the primary: its time begins anew.
		for _, x := range r.slots {
			x.since = max(r.now, 1)
		}
		r.reads.begin(r.now)
		return
	}
	if len(r.reads.waiting) > 0 && r.now-r.reads.waiting[0].since > t {
		r.reads.waiting[0].since = r.now
		r.suspect(SuspectedRead)
		return
	}
	if r.now-r.change.lookedAt < lookInterval {
		return
	}
	r.change.lookedAt = r.now
	// A number that is committed but not executed counts too: the primary has left a gap below it.
	for _, x := range r.slots {
		if x.seq > r.delivered && x.since != 0 && (x.pre != nil && x.pre.view == r.view || x.done != nil) && r.now-x.since > t {
			r.suspect(SuspectedStuck)
			return
		}
	}
}

// behind tells that this replica lacks certified state and so cannot judge the primary.
func (r *Replica) behind() bool {
	c := r.check.certified
	return r.fetchS.on || r.installing || r.delivered < r.stable || c != nil && r.delivered < c[0].info.Seq
}

// Suspicion is why a replica left a view of its own accord.
type Suspicion uint8

// The suspicions.
const (
	SuspectedNothing Suspicion = iota
	SuspectedForged            // the primary proposed a bundle whose signature does not hold (rule 23)
	SuspectedSilent            // a request was not proposed, though it was passed on (rule 13)
	SuspectedSlow              // requests waited too long in the mean (rule 14)
	SuspectedRead              // a read waits for a number that is not executed (rule 13)
	SuspectedStuck             // a proposal is not executed within the request timeout (rule 13)
	SuspectedChange            // the view change did not end in time (rule 10)
	SuspectedUpdate            // the updates that it proposed are not in order, or void time and again
)

func (s Suspicion) String() string {
	names := [...]string{"", "it proposed a request with a signature that does not hold", "it did not propose a request",
		"requests waited too long in the mean", "a read waits for what is not executed", "a proposal was not executed in time",
		"the view change did not end in time", "it proposed an update that is not in order"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// suspect leaves the present view.
func (r *Replica) suspect(why Suspicion) {
	if r.changing || !r.maySign() {
		return
	}
	r.change.why, r.change.left = why, r.view
	r.fail()
	r.enterChange(r.view + 1)
}

// fail backs off if the view that ends was of no use (rule 11).
func (r *Replica) fail() {
	if r.change.progressed {
		return
	}
	r.change.failures++
	if r.timeout() < r.cfg.MaxTimeout {
		r.change.backoff++
	}
}

// enterChange promises to vote in no view below v and tells what has prepared here
// (OSDI'99 §4.4). There is one view-change per view: its bytes are durable and sent again as
// they are (rule 10).
func (r *Replica) enterChange(v View) {
	if !r.maySign() || v <= r.view && r.changing || v < r.view {
		return
	}
	r.flushVotes() // what this turn voted belongs to the old view
	r.view, r.changing = v, true
	c := &r.change
	c.quorumAt, c.newView, c.proposing, c.failed, c.progressed = 0, nil, nil, false, false
	clear(c.extra)
	c.forget(r.view)
	r.forgetWants()
	var prepared []*preparedCert
	for _, s := range sortedSeqs(r.slots, r.stable) {
		if p := r.slots[s].prepared; p != nil && s <= r.high() {
			prepared = append(prepared, p)
		}
	}
	payload := encodeViewChange(v, r.stable, r.stableCrt, prepared)
	r.record(keyViewChange(), payload)
	r.sayViewChange(payload)
}

func (r *Replica) sayViewChange(payload []byte) {
	r.signThen(TypeViewChange, payload, func(e *Envelope) {
		vc, err := parseViewChange(e)
		if err != nil {
			panic("bft: own view-change: " + err.Error())
		}
		r.send(Everyone, envelopeFrame(e))
		_ = r.addViewChange(vc)
	})
}

func (r *Replica) onViewChange(vc *viewChange) error {
	signer := vc.env.Signer
	if n := &r.help.newest[signer]; n.vc == nil || n.vc.view < vc.view {
		n.vc = vc
	}
	return r.addViewChange(vc)
}

// addViewChange keeps the view-change of the highest view of each member.
func (r *Replica) addViewChange(vc *viewChange) error {
	c := &r.change
	if old := c.vcs[vc.env.Signer]; old != nil && old.view >= vc.view {
		return ErrNotRelevant
	}
	if vc.view < r.view || vc.view == r.view && !r.changing {
		return ErrTooOld
	}
	c.vcs[vc.env.Signer] = vc
	if len(vc.cert) > 0 {
		r.onCertificate(vc.cert)
	}
	r.joinChange()
	r.noteQuorum()
	r.tryNewView()
	c.retry(r)
	return nil
}

// joinChange: f+1 members that have left for higher views include an honest one; this replica
// joins the smallest of these views, even if no timer of its own has run out (OSDI'99 §4.5.2).
func (r *Replica) joinChange() {
	count, smallest := 0, View(0)
	for id, vc := range r.change.vcs {
		if id != r.cfg.Self && vc.view > r.view {
			if count++; count == 1 || vc.view < smallest {
				smallest = vc.view
			}
		}
	}
	if count >= r.weak() {
		r.enterChange(smallest)
	}
}

// noteQuorum starts the timer of rule 10.
func (r *Replica) noteQuorum() {
	if !r.changing || r.change.quorumAt != 0 {
		return
	}
	count := 0
	for _, vc := range r.change.vcs {
		if vc.view >= r.view {
			count++
		}
	}
	if count >= r.quorum() {
		r.change.quorumAt = max(r.now, 1)
	}
}

func (c *change) byDigest(d Digest) *viewChange {
	for _, vc := range c.vcs {
		if vc.digest == d {
			return vc
		}
	}
	for _, vc := range c.used {
		if vc.digest == d {
			return vc
		}
	}
	return c.extra[d]
}

// forget drops the new-views of views below v.
func (c *change) forget(v View) {
	for id, nv := range c.offered {
		if nv.view < v {
			delete(c.offered, id)
		}
	}
}

// forgetWants drops what a view wanted; the next one asks for what it needs itself. So a flood
// of proposals or new-views that name what nobody has ends with the view of its author.
func (r *Replica) forgetWants() {
	clear(r.wanted)
	r.wantOrder = nil
}

// retry continues what waited for something that has just arrived.
func (c *change) retry(r *Replica) {
	if c.proposing != nil {
		r.continueNewView()
	}
	for id := ReplicaID(0); int(id) < r.n; id++ {
		if nv := c.offered[id]; nv != nil {
			_ = r.tryEnter(nv) // who sent it is not here to be told
		}
	}
}
