package bft

// What a replica lacks it fetches by digest, and what it holds it serves: bundles, bodies,
// view-changes and committed ranges. An answer is believed for its digest or certificate, never
// for its sender (rule 20).

type wantKind uint8

const (
	wantBundle wantKind = iota
	wantBody
	wantViewChange
)

// want is something that is being fetched. It is asked of one peer after another.
type want struct {
	kind   wantKind
	digest Digest
	seq    Seq // the slot that needs it
	since  Time
	asked  Time // 0: not yet
	tries  int
	gone   bool
}

const (
	// fetchPatience: what a client has sent to all usually arrives by itself a moment later.
	fetchPatience = 5 * Millisecond
	fetchRetry    = 100 * Millisecond
	maxWants      = 1 << 14
	// maxTries: what nobody has is given up, until something asks for it again.
	maxTries = 64
)

func (r *Replica) want(kind wantKind, d Digest, s *slot) {
	if r.wanted[d] != nil || len(r.wanted) >= maxWants {
		return
	}
	w := &want{kind: kind, digest: d, since: r.now}
	if s != nil {
		w.seq = s.seq
	}
	r.wanted[d] = w
	r.wantNext = min(r.wantNext, r.now)
	r.wantOrder = append(r.wantOrder, w)
}

func (r *Replica) unwant(d Digest) {
	if w := r.wanted[d]; w != nil {
		w.gone = true
		delete(r.wanted, d)
	}
}

// flushWants asks for what is due, in few messages.
func (r *Replica) flushWants() {
	if len(r.wantOrder) == 0 || r.now < r.wantNext {
		return
	}
	r.wantNext = r.now + fetchRetry
	due := map[ReplicaID]*[3][]Digest{}
	keep := r.wantOrder[:0]
	for _, w := range r.wantOrder {
		if w.gone || w.tries > maxTries || w.seq != 0 && w.seq <= r.stable {
			delete(r.wanted, w.digest)
			continue
		}
		keep = append(keep, w)
		next := w.asked + fetchRetry
		if w.tries == 0 && w.kind == wantBundle {
			next = w.since + fetchPatience
		}
		if r.now < next && (w.tries > 0 || w.kind == wantBundle) {
			r.wantNext = min(r.wantNext, next)
			continue
		}
		to := r.askedFor(w)
		if due[to] == nil {
			due[to] = &[3][]Digest{}
		}
		if len(due[to][w.kind]) < maxFetchDigests {
			w.tries++
			w.asked = r.now
			due[to][w.kind] = append(due[to][w.kind], w.digest)
		}
	}
	r.wantOrder = keep
	kinds := [3]fetchKind{fetchBundles, fetchBodies, fetchViewChanges}
	for to := ReplicaID(0); int(to) < r.n; to++ {
		if q := due[to]; q != nil {
			for k, ds := range q {
				if len(ds) > 0 {
					r.send(to, fetchFrame(&fetch{kind: kinds[k], digests: ds}))
				}
			}
		}
	}
}

// askedFor names the peer for the next try: the primary first, then the others in turn.
func (r *Replica) askedFor(w *want) ReplicaID {
	to := ReplicaID((uint64(r.primary()) + uint64(w.tries)) % uint64(r.n))
	if to == r.cfg.Self {
		w.tries++
		to = ReplicaID((uint64(to) + 1) % uint64(r.n))
	}
	return to
}

// arrived tells that a bundle is now in the pool.
func (r *Replica) arrived(d Digest) {
	if r.wanted[d] == nil {
		return
	}
	r.unwant(d)
	r.retrySoon()
	r.change.retry(r)
}

// onFetch serves what is asked for, as far as it is held and fits a frame.
func (r *Replica) onFetch(from ReplicaID, f *fetch) error {
	if !r.help.mayServe(from, r.now) {
		return ErrBusy
	}
	d, room := &data{}, MaxFrameBytes-1<<16
	switch f.kind {
	case fetchBundles:
		for _, id := range f.digests {
			if b := r.findBundle(id); b != nil && room >= b.Size() {
				room -= b.Size() + 16
				d.bundles = append(d.bundles, b)
			}
		}
	case fetchBodies:
		for _, id := range f.digests {
			if b := r.bodies[id]; b != nil && room >= b.size() {
				room -= b.size() + 16
				d.bodies = append(d.bodies, b.content)
			}
		}
	case fetchViewChanges:
		for _, id := range f.digests {
			if vc := r.change.byDigest(id); vc != nil && room >= len(vc.env.Payload) {
				room -= len(vc.env.Payload) + 128
				d.viewChanges = append(d.viewChanges, vc)
			}
		}
	case fetchCommitted:
		r.serveCommitted(f, d, MaxFrameBytes/2)
	case fetchState:
		r.serveState(from, f)
		return nil
	}
	if len(d.bundles)+len(d.bodies)+len(d.viewChanges)+len(d.committed)+len(d.checkpoint) > 0 {
		r.send(from, dataFrame(d))
	}
	return nil
}

// library indexes the bundles of the bodies in the log.
type library map[Digest]shelf

type shelf struct {
	bundle *Bundle
	bodies int
}

// place puts a bundle into a body.
func (r *Replica) place(b *body, i int, x *Bundle) {
	b.bundles[i] = x
	s := r.held[x.Digest]
	if s.bundle == nil {
		s.bundle = x
	}
	s.bodies++
	r.held[x.Digest] = s
}

// fill places what is missing in a body.
func (r *Replica) fill(b *body, bundles []*Bundle) {
	for i := range b.bundles {
		if b.bundles[i] == nil {
			r.place(b, i, bundles[i])
		}
	}
}

func (r *Replica) dropBody(d Digest) {
	for _, x := range r.bodies[d].bundles {
		if x == nil {
			continue
		}
		s := r.held[x.Digest]
		if s.bodies--; s.bodies == 0 {
			delete(r.held, x.Digest)
		} else {
			r.held[x.Digest] = s
		}
	}
	delete(r.bodies, d)
}

// findBundle looks in the pool and in the bodies of the log.
func (r *Replica) findBundle(id Digest) *Bundle {
	if p := r.pool.all[id]; p != nil {
		return p.bundle
	}
	return r.held[id].bundle
}

// serveCommitted gives certified batches; for numbers that have been cut from the log, the
// checkpoint certificate that replaces them (rule 21).
func (r *Replica) serveCommitted(f *fetch, d *data, room int) {
	if f.from <= r.stable {
		d.checkpoint = r.stableCrt
		return
	}
	for s := f.from; s <= f.to && len(d.committed) < maxCommitted; s++ {
		x := r.slots[s]
		if x == nil || x.done == nil {
			return
		}
		size := 256 + len(x.done.votes)*256 + 32*len(x.done.body) + len(x.done.updates)
		for _, v := range x.done.votes {
			size += len(v.env.Payload)
		}
		for _, b := range x.done.bundles {
			size += b.Size() + 16
		}
		if size > room {
			return
		}
		room -= size
		d.committed = append(d.committed, x.done)
	}
}

// onData takes what was asked for, or proofs that came unasked: each stands for itself.
func (r *Replica) onData(from ReplicaID, d *data) error {
	used := false
	for _, b := range d.bundles {
		if r.wanted[b.Digest] == nil {
			continue
		}
		used = true
		if r.pool.all[b.Digest] == nil {
			b = b.detach()
			r.pool.keep(b, r.now)
			if r.pool.standing(b) != proposable {
				r.pool.move(r.pool.all[b.Digest], &r.pool.parked)
			}
		}
		r.arrived(b.Digest)
	}
	for _, c := range d.bodies {
		id := UpdatedBodyDigest(c.list, c.updates)
		if r.wanted[id] != nil && distinctDigests(c.list) {
			used = true
			r.learnBody(id, c)
			r.unwant(id)
			r.retrySoon()
			r.change.retry(r)
		}
	}
	for _, vc := range d.viewChanges {
		if r.wanted[vc.digest] != nil {
			used = true
			r.unwant(vc.digest)
			r.change.extra[vc.digest] = vc
			r.change.retry(r)
		}
	}
	for _, c := range d.committed {
		used = r.onCommitted(c) || used
	}
	if len(d.checkpoint) > 0 {
		used = r.onCertificate(d.checkpoint) || used
		r.heardCut(from, d.checkpoint)
	}
	if d.part != nil {
		used = r.onPart(from, d.part) || used
	}
	if d.gone != 0 {
		used = r.onGone(from, d.gone) || used
	}
	if len(d.committed) > 0 && used {
		r.catchUp(from)
	}
	if !used {
		return ErrNotRelevant
	}
	return nil
}

// onCommitted takes a batch with its commit certificate.
func (r *Replica) onCommitted(c *committed) bool {
	if c.seq <= r.stable || c.seq <= r.delivered || c.seq > r.high()+r.cfg.Window {
		return false
	}
	s := r.slot(c.seq)
	if s.done != nil {
		return false
	}
	byDigest := make(map[Digest]*Bundle, len(c.bundles))
	for _, b := range c.bundles {
		byDigest[b.Digest] = b
	}
	bundles := make([]*Bundle, len(c.body))
	for i, d := range c.body {
		if bundles[i] = r.findBundle(d); bundles[i] != nil {
			continue
		}
		if byDigest[d] == nil {
			return false
		}
		bundles[i] = byDigest[d].detach()
	}
	for _, v := range c.votes {
		v.env.detach()
	}
	c.bundles = bundles
	r.settle(s, c)
	return true
}
