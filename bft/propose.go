package bft

import (
	"cmp"
	"slices"
)

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
	if r.cfg.Passive {
		r.draft()
		return
	}
	for r.inFlight() < r.cfg.Pipeline && r.nextSeq <= r.high() && r.clock > 0 && r.worthwhile() {
		list, bundles := r.pool.batch(&r.cfg, r)
		if len(list) == 0 {
			return
		}
		r.proposeNext(content{list: list}, bundles, r.clock)
	}
}

// proposeNext proposes a body for the next number.
func (r *Replica) proposeNext(c content, bundles []*Bundle, at Time) {
	seq, view := r.nextSeq, r.view
	r.nextSeq++
	prop := Proposal{Body: UpdatedBodyDigest(c.list, c.updates), Time: at}
	b := r.learnBody(prop.Body, c)
	r.fill(b, bundles)
	r.recordBody(seq, prop.Body)
	r.pool.proposed(b, seq)
	r.proposeAs(view, seq, prop, c)
}

// fewOutstanding is the number of operations below which load is light.
const fewOutstanding = 64

// gatherShare is what part of the suspect floor a request may wait beside proposals in flight.
const gatherShare = 4

// worthwhile tells whether what waits is enough for a proposal beside those in flight. With
// nothing in flight anything is. Beside others, half of what was lately outstanding at once, or half of what a
// proposal holds: so the pipeline stays filled, and yet under load batches are few and large. With few outstanding a
// quarter will do: then it is latency that counts. And nothing waits for company for so long that backups, who
// know of it too, would begin to wonder (rule 14).
func (r *Replica) worthwhile() bool {
	p := &r.pool
	p.peak = max(p.peak, float64(p.ops))
	share := p.peak / 2
	if p.peak < fewOutstanding {
		share = p.peak / 4
	}
	return r.inFlight() == 0 || float64(p.waiting) >= share || p.waitingBytes >= r.cfg.MaxBatchBytes/2 ||
		p.waiting > 0 && r.now-p.oldest() >= r.cfg.SuspectFloor/gatherShare
}

// oldest is when the bundle came that has waited longest.
func (p *pool) oldest() Time {
	at := Time(1<<63 - 1)
	for _, s := range [...]*stage{&p.passed, &p.fresh} {
		if s.head != nil {
			at = min(at, s.head.born)
		}
	}
	return at
}

// draft is a batch that is being put together.
type draft struct {
	cfg       *Config
	share     int // operations of one client
	turn      uint64
	taken     map[ClientID]int
	ops, size int
	ids       []Digest
	bundles   []*Bundle
	beyond    []*Bundle // of the shares
	full      bool
}

// take adds a bundle; false if it does not fit. The first one always does.
func (d *draft) take(b *Bundle) bool {
	if len(d.ids) > 0 && (d.ops+len(b.Ops) > d.cfg.MaxBatchOps || d.size+b.Size() > d.cfg.MaxBatchBytes || len(d.ids) >= maxFetchDigests) {
		return false
	}
	d.ops, d.size = d.ops+len(b.Ops), d.size+b.Size()
	d.ids, d.bundles = append(d.ids, b.Digest), append(d.bundles, b)
	return true
}

// consider takes a bundle if its client has not had its share, or notes it as beyond that.
func (d *draft) consider(x *pending) {
	n := d.taken[x.bundle.Client]
	switch {
	case n > 0 && n+max(1, len(x.bundle.Ops)) > d.share:
		d.beyond = append(d.beyond, x.bundle)
		d.taken[x.bundle.Client] = d.cfg.MaxBatchOps + 1 // what it asked for later waits too
	case !d.take(x.bundle):
		d.full = true
	default:
		x.owner.turn = d.turn
		d.taken[x.bundle.Client] = n + max(1, len(x.bundle.Ops))
	}
}

// batch takes what the primary may propose, by arrival, but first no more of each client than an equal share: one
// that asks for much keeps nobody waiting (rule 26). If a batch has no room for all, clients take turns: who was
// served, or came, longest ago is first.
func (p *pool) batch(cfg *Config, r *Replica) ([]Digest, []*Bundle) {
	p.turn++
	d := &draft{cfg: cfg, share: max(1, cfg.MaxBatchOps/max(1, len(p.clients))), turn: p.turn,
		taken: make(map[ClientID]int, min(len(p.clients), cfg.MaxBatchOps))}
	if p.waiting > cfg.MaxBatchOps || p.waitingBytes > cfg.MaxBatchBytes || len(p.all) > maxFetchDigests {
		p.takeInTurn(d, r)
	} else {
		p.takeByArrival(d, r)
	}
	for _, b := range d.beyond {
		if d.full || !d.take(b) {
			break
		}
	}
	return d.ids, d.bundles
}

func (p *pool) takeByArrival(d *draft, r *Replica) {
	for _, stage := range [...]*stage{&p.passed, &p.fresh} {
		for x, next := stage.head, (*pending)(nil); x != nil && !d.full; x = next {
			next = x.next
			if r.ready(x) {
				d.consider(x)
			}
		}
	}
}

func (p *pool) takeInTurn(d *draft, r *Replica) {
	var owners []*clientPool
	for _, stage := range [...]*stage{&p.passed, &p.fresh} {
		for x := stage.head; x != nil; x = x.next {
			if x.owner.listed != p.turn {
				x.owner.listed = p.turn
				owners = append(owners, x.owner)
			}
		}
	}
	slices.SortStableFunc(owners, func(a, b *clientPool) int { return cmp.Compare(a.turn, b.turn) })
	for _, c := range owners {
		for _, x := range slices.Clone(c.order) { // ready may drop one
			if d.full {
				return
			}
			if (x.stage == &p.passed || x.stage == &p.fresh) && r.ready(x) {
				d.consider(x)
			}
		}
	}
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
func (r *Replica) proposeAs(view View, seq Seq, prop Proposal, c content) {
	r.promised(PhasePrePrepare, view, seq, prop.Digest())
	payload := encodeHeader(view, seq, prop)
	r.record(keyProposed(seq, view), payload)
	r.reached(StepProposed, seq, view, prop.Body)
	r.signThen(TypePrePrepare, payload, func(e *Envelope) {
		r.send(Everyone, prePrepareFrame(e, c))
		if r.view != view || r.changing || seq <= r.stable {
			return
		}
		s := r.slot(seq)
		r.adopt(s, &prePrepare{env: e, view: view, seq: seq, prop: prop, body: c.list, updates: c.updates}, false)
		s.full, s.accepted, s.votedAt = true, true, r.now
		r.reached(StepAccepted, seq, view, prop.Body)
		r.tryCommit(s)
	})
}
