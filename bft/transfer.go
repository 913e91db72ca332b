package bft

import "math/bits"

// State transfer: the snapshot of a certified checkpoint, whole, part by part, each checked
// against the certified digest on arrival (OSDI'99 §5.3 has it by levels; see DESIGN.md).

type stateFetch struct {
	on      bool
	cert    []*checkpoint
	total   uint32 // 0: not known yet
	got     uint32 // parts below it are staged
	from    ReplicaID
	asked   Time
	tries   int
	waiting Time // since when this replica is behind a certificate without getting on
	reached Seq  // delivered as of then
	// cut are the peers that answered with a certificate because their logs no longer reach back, a bit each
	// (MaxMembers are 64).
	cut uint64
}

const (
	partsAhead      = 8
	maxPartPatience = 500 * Millisecond
)

// partPatience is how long a peer may take for a part.
func (r *Replica) partPatience() Time { return min(maxPartPatience, r.cfg.RequestTimeout) }

// tickStateFetch starts a transfer when catching up by batches gets nowhere, and asks another
// peer when one does not answer.
func (r *Replica) tickStateFetch() {
	f := &r.fetchS
	if f.on && !r.installing && r.diverged == "" && r.delivered >= f.cert[0].info.Seq {
		*f = stateFetch{} // batches were faster
	}
	if f.on {
		if !r.installing && r.now-f.asked > r.partPatience() {
			r.askParts(true)
		}
		return
	}
	cert := r.check.certified
	if cert == nil || r.delivered >= cert[0].info.Seq && r.diverged == "" {
		f.waiting = 0
		return
	}
	if f.waiting == 0 || r.delivered > f.reached {
		f.waiting, f.reached = max(r.now, 1), r.delivered
		f.cut = 0
	}
	// Batches cannot lead to a checkpoint whose log is cut here too, or at f+1 peers, one of whom is honest:
	// no use trying them first.
	hopeless := r.delivered < r.stable || bits.OnesCount64(f.cut) >= r.weak()
	if (hopeless || r.now-f.waiting > 10*r.cfg.StatusInterval) && r.delivered == r.executed && r.delivered < cert[0].info.Seq {
		r.fetchStateOf(cert)
	}
}

// heardCut notes that a peer has only a certificate for what this replica lacks.
func (r *Replica) heardCut(from ReplicaID, cert []*checkpoint) {
	f := &r.fetchS
	if cert[0].info.Seq <= r.delivered || f.on {
		return
	}
	f.cut |= 1 << from
}

// fetchStateOf begins to fetch the state that cert certifies.
func (r *Replica) fetchStateOf(cert []*checkpoint) {
	f := &r.fetchS
	if r.installing || f.on {
		return // askParts goes on to the newest when nothing comes of the one that is on
	}
	*f = stateFetch{on: true, cert: cert, from: cert[uint64(r.cfg.Self)%uint64(len(cert))].env.Signer}
	r.askParts(false)
}

// askParts asks for the next parts; another asks a different peer: those who signed the
// certificate come first, for they have it.
func (r *Replica) askParts(another bool) {
	f := &r.fetchS
	f.asked = r.now
	if another {
		f.tries++
		// What has begun to come is given up only when nobody has the rest of it.
		if newest := r.check.certified; (f.got == 0 || f.tries%len(f.cert) == 0) && newest[0].info.Seq > f.cert[0].info.Seq {
			*f = stateFetch{on: true, cert: newest, tries: f.tries, asked: r.now}
		}
		f.from = f.cert[(uint64(r.cfg.Self)+uint64(f.tries))%uint64(len(f.cert))].env.Signer
	}
	if f.from == r.cfg.Self {
		f.tries++
		f.from = f.cert[(uint64(r.cfg.Self)+uint64(f.tries))%uint64(len(f.cert))].env.Signer
	}
	r.send(f.from, fetchFrame(&fetch{kind: fetchState, from: f.cert[0].info.Seq, to: Seq(f.got)}))
}

// serveState asks the host for parts of a snapshot. A host keeps one that is being fetched for a
// while, so that a transfer can end under load, when the stable checkpoint moves on meanwhile.
func (r *Replica) serveState(to ReplicaID, f *fetch) {
	if f.from > r.stable || f.from == 0 {
		return
	}
	for i := Seq(0); i < partsAhead; i++ {
		r.out.serve = append(r.out.serve, PartRequest{To: to, Seq: f.from, Index: uint32(f.to + i)})
	}
}

func (r *Replica) onServed(p ServedPart) {
	switch {
	case p.Part != nil:
		r.send(p.Request.To, dataFrame(&data{part: p.Part}))
	case p.Request.Seq < r.stable && p.Request.Index%partsAhead == 0:
		// It is gone: here is the one that took its place.
		r.send(p.Request.To, dataFrame(&data{checkpoint: r.stableCrt, gone: p.Request.Seq}))
	}
}

// onGone asks somebody else for what the peer that was asked no longer has.
func (r *Replica) onGone(from ReplicaID, s Seq) bool {
	f := &r.fetchS
	if !f.on || r.installing || from != f.from || s != f.cert[0].info.Seq {
		return false
	}
	r.askParts(true)
	return true
}

// onPart checks a part against the certified state and stages it.
func (r *Replica) onPart(from ReplicaID, p *SnapshotPart) bool {
	f := &r.fetchS
	if !f.on || r.installing || p.Seq != f.cert[0].info.Seq || p.Index != f.got || f.total != 0 && p.Total != f.total {
		return false
	}
	if !CheckPart(f.cert[0].info.State, *p) {
		if from == f.from {
			r.askParts(true) // a lie or damage: ask somebody else at once
		}
		return false
	}
	f.total, f.got, f.asked = p.Total, f.got+1, r.now
	r.out.stage = append(r.out.stage, *p)
	switch {
	case f.got == f.total && r.diverged == "" && r.delivered >= p.Seq:
		*f = stateFetch{}
	case f.got == f.total:
		r.installing = true
		r.out.install = &Install{Seq: p.Seq, Checkpoint: f.cert[0].info}
	case f.got%partsAhead == 0:
		f.from = from
		r.askParts(false)
	}
	return true
}

// onInstalled takes the outcome. The log above the checkpoint goes on from there: what is
// already certified above it is executed on the new state (rule 20).
func (r *Replica) onInstalled(x *Installed) {
	f := &r.fetchS
	if !r.installing {
		return
	}
	r.installing = false
	clear(r.check.ahead) // of the state that was replaced
	cert := f.cert
	*f = stateFetch{}
	if !x.OK || x.Seq != cert[0].info.Seq {
		r.fetchStateOf(cert)
		return
	}
	r.executed, r.delivered, r.time = x.Seq, x.Seq, x.Time
	r.pool.sessions = map[SessionID]*SessionMark{}
	for i := range x.Marks {
		r.pool.learn(&x.Marks[i])
	}
	r.diverged = ""
	r.check.mine[x.Seq] = cert[0].info
	for s := range r.check.mine {
		if s > x.Seq {
			delete(r.check.mine, s) // of the state that was replaced
		}
	}
	if x.Seq > r.stable {
		r.makeStable(cert)
	}
	r.forgetUntellable()
	r.restartPool()
	r.deliver()
	r.releaseReads()
}

// forgetUntellable drops what the marks of the installed state cannot tell to be decided, openings
// above all. A client that still waits sends its bundle again; a replica that kept it would pass
// on, and have ordered anew, what was executed in the numbers that it has skipped.
func (r *Replica) forgetUntellable() {
	for _, x := range r.pool.inOrder() {
		if x.bundle.Opens() || len(x.bundle.Ops) == 0 {
			r.pool.drop(x)
		}
	}
}

// dropDecided drops bundles that the installed state has decided.
func (r *Replica) dropDecided() {
	for _, x := range r.pool.inOrder() {
		if r.pool.standing(x.bundle) == decided {
			r.pool.drop(x)
			if x.heard {
				r.out.replay = append(r.out.replay, x.bundle)
			}
		}
	}
}
