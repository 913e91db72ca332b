package bft

// inFlight is the number of proposals that are not committed yet.
func (r *Replica) inFlight() Seq {
	if r.nextSeq <= r.delivered+1 {
		return 0
	}
	return r.nextSeq - 1 - r.delivered
}

// propose orders what waits: at once while fewer than W numbers are in flight, otherwise it
// lets requests gather (architecture.md, "What makes it fast", 6). It never waits for a full batch.
func (r *Replica) propose() {
	if !r.isPrimary() || !r.mayVote() {
		return
	}
	for r.inFlight() < r.cfg.Pipeline && r.nextSeq <= r.high() && r.clock > 0 && r.worthwhile() {
		list, bundles := r.pool.batch(&r.cfg, r)
		if len(list) == 0 {
			return
		}
		seq, view := r.nextSeq, r.view
		r.nextSeq++
		prop := Proposal{Body: BodyDigest(list), Time: r.clock}
		b := r.learnBody(prop.Body, list)
		r.fill(b, bundles)
		r.recordBody(seq, prop.Body)
		r.pool.proposed(b, seq)
		r.proposeAs(view, seq, prop, list)
	}
}

// fewOutstanding is the number of operations below which load is light.
const fewOutstanding = 64

// worthwhile tells whether what waits is enough for a proposal beside those in flight. With
// nothing in flight anything is. Beside others, half of what was lately outstanding at once, or half of what a
// proposal holds: so the pipeline stays filled, and yet under load batches are few and large. With few outstanding a
// quarter will do: then it is latency that counts.
func (r *Replica) worthwhile() bool {
	p := &r.pool
	p.peak = max(p.peak, float64(p.ops))
	share := p.peak / 2
	if p.peak < fewOutstanding {
		share = p.peak / 4
	}
	return r.inFlight() == 0 || float64(p.waiting) >= share || p.waitingBytes >= r.cfg.MaxBatchBytes/2
}

// batch takes what the primary may propose, by arrival, but first no more of each client than an equal share: one
// that asks for much keeps nobody waiting (rule 26).
func (p *pool) batch(cfg *Config, r *Replica) (ids []Digest, bundles []*Bundle) {
	ops, size := 0, 0
	take := func(b *Bundle) (fits bool) {
		if len(ids) > 0 && (ops+len(b.Ops) > cfg.MaxBatchOps || size+b.Size() > cfg.MaxBatchBytes || len(ids) >= maxFetchDigests) {
			return false
		}
		ops, size = ops+len(b.Ops), size+b.Size()
		ids, bundles = append(ids, b.Digest), append(bundles, b)
		return true
	}
	share := max(1, cfg.MaxBatchOps/max(1, len(p.clients)))
	taken := make(map[ClientID]int, min(len(p.clients), cfg.MaxBatchOps))
	var beyond []*Bundle
	for _, stage := range [...]*stage{&p.passed, &p.fresh} {
		for x, next := stage.head, (*pending)(nil); x != nil; x = next {
			next = x.next
			if !r.ready(x) {
				continue
			}
			n := taken[x.bundle.Client]
			switch {
			case n > 0 && n+max(1, len(x.bundle.Ops)) > share:
				beyond = append(beyond, x.bundle)
				taken[x.bundle.Client] = cfg.MaxBatchOps + 1 // what it asked for later waits too
			case !take(x.bundle):
				return ids, bundles
			default:
				taken[x.bundle.Client] = n + max(1, len(x.bundle.Ops))
			}
		}
	}
	for _, b := range beyond {
		if !take(b) {
			break
		}
	}
	return ids, bundles
}

// ready tells whether the primary may propose a bundle: its signature holds, and it is not decided.
func (r *Replica) ready(x *pending) bool {
	if !x.valid {
		r.checkBundle(x)
		return false
	}
	if x.again || r.pool.standing(x.bundle) != decided {
		return true
	}
	r.pool.drop(x)
	if x.heard {
		r.out.replay = append(r.out.replay, x.bundle)
	}
	return false
}

// proposeAs promises and sends a fresh pre-prepare. It counts as this replica's vote, so it
// leaves behind its record and body (rules 4 and 16).
func (r *Replica) proposeAs(view View, seq Seq, prop Proposal, list []Digest) {
	r.promised(PhasePrePrepare, view, seq, prop.Digest())
	payload := encodeHeader(view, seq, prop)
	r.record(keyProposed(seq, view), payload)
	r.signThen(TypePrePrepare, payload, func(e *Envelope) {
		r.send(Everyone, prePrepareFrame(e, list))
		if r.view != view || r.changing || seq <= r.stable {
			return
		}
		s := r.slot(seq)
		r.adopt(s, &prePrepare{env: e, view: view, seq: seq, prop: prop, body: list}, false)
		s.full, s.accepted, s.votedAt = true, true, r.now
		r.tryCommit(s)
	})
}
