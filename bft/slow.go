package bft

// A primary that keeps each request waiting for just less than rule 13 allows would leave little of a cluster whose
// clients wait for their answers: what they have outstanding, divided by that time. So backups also watch how
// long requests wait in the mean, and suspect a primary that is slow for a while, not for a moment (rule 14).

const (
	// slowWindows is how many windows of SuspectFloor, in a row of those in which anything was ordered, must be
	// slow: a pause is none of them.
	slowWindows = 4
	// slowShare is what part of SuspectFloor is tolerated in the mean, where round trips are short.
	slowShare = 8
	// slowTrips is the multiple of the quorum's round trip that is tolerated in the mean: a number under way must
	// commit, the clients' distances differ, and a pre-prepare travels.
	slowTrips = 4
	// slowAgreements is the multiple of the time that agreement takes.
	slowAgreements = 2
	// quickWindows is how many windows in a row must be quick before a tolerance that was doubled is halved.
	quickWindows = 64
	// maxDoubled bounds how often the tolerance doubles: by then it is far beyond d.
	maxDoubled = 8
	// maxWatchedClients bounds the clients of one window.
	maxWatchedClients = 1024
)

// punctual watches how long requests wait for a fresh pre-prepare that may be voted for, in time in which the
// primary has room to propose.
//
// Clients count alike, for one that keeps its requests from the primary makes them late itself: only if more than
// half of the clients wait too long, the primary is to blame.
type punctual struct {
	from    Time // slotTime at which the window began
	waits   map[ClientID]waited
	slow    int  // slow windows in a row
	quick   int  // quick ones in a row
	empty   int  // ones in a row in which nothing was ordered
	doubled uint // how often the tolerance has been doubled
	// agreeing is how long agreement takes, smoothed; agreements is how many there were in this window, and agreedIn what
	// they took together.
	agreeing   Time
	agreements int
	agreedIn   Time
}

// waited is how many bundles of a client were ordered, and their waits together.
type waited struct {
	bundles int
	sum     Time
}

// ordered notes how long the bundles of a fresh proposal have waited for it.
func (p *pool) ordered(list []Digest) {
	for _, d := range list {
		if x := p.all[d]; x != nil && (x.stage == &p.fresh || x.stage == &p.passed) {
			x.timed, x.waited = true, p.slotTime-x.from
		}
	}
}

// turned counts the bundles of a number whose turn has come, after it was held up for some time by a number below: a
// gap is the primary's debt as much as a late proposal. Bundles that nobody knew of waited for nothing.
func (p *pool) turned(bundles []*Bundle, held Time) {
	t := &p.punctual
	for _, b := range bundles {
		x := p.all[b.Digest]
		if x == nil || !x.timed {
			continue
		}
		w, known := t.waits[b.Client]
		if !known && len(t.waits) >= maxWatchedClients {
			continue
		}
		if t.waits == nil {
			t.waits = map[ClientID]waited{}
		}
		t.waits[b.Client] = waited{w.bundles + 1, w.sum + x.waited + held}
	}
}

// begin begins a new window: another primary is judged by its own. If the last one was slow when it ended, whoever
// suspected it, the tolerance doubles.
func (t *punctual) begin(now Time) {
	if t.slow > 0 && t.doubled < maxDoubled {
		t.doubled++
	}
	t.from, t.slow, t.quick, t.empty, t.agreeing, t.agreements, t.agreedIn = now, 0, 0, 0, 0, 0, 0
	clear(t.waits)
}

// late tells how many of the clients waited longer than tolerated in the mean.
func (t *punctual) late(tolerated Time) (late int) {
	for _, w := range t.waits {
		if w.sum > Time(w.bundles)*tolerated {
			late++
		}
	}
	return late
}

// agreed notes how long a number took from this replica's acceptance until it was committed. What it waited for
// numbers below is not agreement.
func (t *punctual) agreed(took Time) {
	t.agreements, t.agreedIn = t.agreements+1, t.agreedIn+took
	if t.agreeing == 0 {
		t.agreeing = took
	}
	t.agreeing += (took - t.agreeing) / 16
}

// tolerated is how long requests may wait in the mean: a multiple of the round trip, or of what agreement takes here
// anyway, as under full load. It doubles with each primary that went for it, for the fault may lie nearer, and halves
// after a time of quick ones.
//
// Whoever waits for its answers so keeps at least a third of the throughput: of the time for a request, agreement is a
// third of what the primary can make of it.
func (r *Replica) tolerated() Time {
	t := &r.pool.punctual
	// A stall of the disk is in both: what is judged is compared with agreement in the same time.
	agreeing := t.agreeing
	if t.agreements > 0 {
		agreeing = max(agreeing, t.agreedIn/Time(t.agreements))
	}
	return max(slowTrips*r.quorumRTT(), r.cfg.SuspectFloor/slowShare, slowAgreements*agreeing) << t.doubled
}

// judge judges the primary at the end of each window.
func (r *Replica) judge() {
	p := &r.pool
	t := &p.punctual
	if p.slotTime-t.from < r.cfg.SuspectFloor {
		return
	}
	clients, tolerated := len(t.waits), r.tolerated()
	late, less := t.late(tolerated), t.late(tolerated/2)
	t.from, t.agreements, t.agreedIn = p.slotTime, 0, 0
	clear(t.waits)
	switch {
	case clients == 0: // nothing was ordered: rule 13 times that
		if t.empty++; t.empty >= slowWindows {
			t.slow = 0
		}
		return
	case 2*late > clients:
		t.slow, t.quick = t.slow+1, 0
	case t.doubled > 0 && 2*less <= clients:
		t.slow = 0
		if t.quick++; t.quick == quickWindows {
			t.quick = 0
			t.doubled--
		}
	default:
		t.slow, t.quick = 0, 0
	}
	t.empty = 0
}

// complains tells whether this replica finds the primary slow. It says so in its statuses, and alone it stays: one
// that leaves a view in which the others go on is of no use to anybody, and it may be slow itself.
func (r *Replica) complains() bool {
	// Beyond twice d rule 13 suspects by itself.
	return !r.changing && !r.isPrimary() && r.pool.punctual.slow >= slowWindows && r.tolerated() < 2*r.suspectAfter()
}

// tooSlow: f+1 complain, this replica among them. More must not be asked for: the primary may be quick towards all
// but f+1 of the correct ones, whose votes every quorum wants.
func (r *Replica) tooSlow() bool {
	if r.judge(); !r.complains() {
		return false
	}
	n := 1
	for i := range r.help.peers {
		if p := &r.help.peers[i]; ReplicaID(i) != r.cfg.Self && p.slow && p.view == r.view && !p.changing && r.now-p.heardAt < 4*r.cfg.StatusInterval {
			n++
		}
	}
	return n >= r.weak()
}
