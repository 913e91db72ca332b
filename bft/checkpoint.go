package bft

import "fmt"

// Checkpoints and the log behind them (OSDI'99 §4.3).

type checkpoints struct {
	own *checkpoint // the newest of this replica, signed
	// mine are the digests of this replica's states by number; said is what it has promised in
	// checkpoints: never a second digest for a number, not even after a repair (rule 22).
	mine, said map[Seq]CheckpointInfo
	// ahead are snapshots of numbers whose execution the host has not reported yet.
	ahead map[Seq]Snapshot
	// votes by number and signer; each signer has at most as many as fit the window.
	votes map[Seq]map[ReplicaID]*checkpoint
	// certified is the newest certificate seen, for a number that may be ahead of this replica.
	certified []*checkpoint
}

func (c *checkpoints) init() {
	c.mine, c.said = map[Seq]CheckpointInfo{}, map[Seq]CheckpointInfo{}
	c.ahead = map[Seq]Snapshot{}
	c.votes = map[Seq]map[ReplicaID]*checkpoint{}
}

// onSnapshot takes the digests of this replica's state at a number. The snapshot is durable, so
// a Checkpoint may promise it (rule 18).
func (r *Replica) onSnapshot(s Snapshot) {
	if s.Seq <= r.stable || s.Seq%r.cfg.Interval != 0 {
		return
	}
	if s.Seq > r.executed {
		// The host may report in any order; the number counts once its execution is reported too.
		r.check.ahead[s.Seq] = s
		return
	}
	info := CheckpointInfo{Seq: s.Seq, State: s.State, History: s.History}
	if old, ok := r.check.mine[s.Seq]; ok {
		if old != info {
			r.diverge(fmt.Sprintf("two runs of this replica gave different states at %d", s.Seq))
		}
		return
	}
	r.check.mine[s.Seq] = info
	if _, said := r.check.said[s.Seq]; !said && r.diverged == "" {
		r.check.said[s.Seq] = info
		r.record(keyCheckpoint(s.Seq), encodeCheckpoint(info))
		r.sayCheckpoint(info)
	}
	r.tryStable(s.Seq)
	if c := r.check.certified; c != nil && c[0].info.Seq == s.Seq {
		r.onCertificate(c)
	}
}

func (r *Replica) sayCheckpoint(info CheckpointInfo) {
	r.signThen(TypeCheckpoint, encodeCheckpoint(info), func(e *Envelope) {
		c := &checkpoint{env: e, info: info}
		if r.check.own == nil || r.check.own.info.Seq <= info.Seq {
			r.check.own = c
		}
		r.send(Everyone, envelopeFrame(e))
		r.countCheckpoint(c)
	})
}

// checkpointAgain signs again what was recorded before a restart.
func (r *Replica) checkpointAgain() {
	for _, s := range sortedSeqs(r.check.said, r.stable) {
		r.sayCheckpoint(r.check.said[s])
	}
}

func (r *Replica) onCheckpoint(c *checkpoint) error {
	s := c.info.Seq
	switch {
	case s <= r.stable:
		return ErrTooOld
	case s%r.cfg.Interval != 0:
		return fmt.Errorf("%w: checkpoint at %d, the interval is %d", ErrInvalid, s, r.cfg.Interval)
	}
	return r.countCheckpoint(c)
}

func (r *Replica) countCheckpoint(c *checkpoint) error {
	s, signer := c.info.Seq, c.env.Signer
	if s <= r.stable {
		return ErrTooOld
	}
	at := r.check.votes[s]
	if at[signer] != nil {
		return ErrNotRelevant
	}
	r.makeRoom(signer)
	if at = r.check.votes[s]; at == nil {
		at = map[ReplicaID]*checkpoint{}
		r.check.votes[s] = at
	}
	at[signer] = c
	r.tryStable(s)
	return nil
}

// makeRoom bounds the numbers for which checkpoints of one signer are kept: beyond the window a
// newer one displaces its oldest. A quorum far ahead is recognised by its newest checkpoints.
func (r *Replica) makeRoom(signer ReplicaID) {
	limit := int(2*r.cfg.Window/r.cfg.Interval) + 1
	var mine []Seq
	for _, x := range sortedSeqs(r.check.votes, 0) {
		if r.check.votes[x][signer] != nil {
			mine = append(mine, x)
		}
	}
	for ; len(mine) >= limit; mine = mine[1:] {
		delete(r.check.votes[mine[0]], signer)
		if len(r.check.votes[mine[0]]) == 0 {
			delete(r.check.votes, mine[0])
		}
	}
}

// tryStable looks for Q equal checkpoints at s.
func (r *Replica) tryStable(s Seq) {
	groups := map[CheckpointInfo][]*checkpoint{}
	at := r.check.votes[s]
	largest, total := 0, len(at)
	for id := ReplicaID(0); int(id) < r.n; id++ {
		if c := at[id]; c != nil {
			g := append(groups[c.info], c)
			groups[c.info] = g
			largest = max(largest, len(g))
			if len(g) == r.quorum() {
				r.onCertificate(g)
				return
			}
		}
	}
	if total > 0 && largest+r.n-total < r.quorum() {
		r.diverge(fmt.Sprintf("no state at %d can reach a quorum: the replicas disagree", s))
	}
}

// onCertificate takes a checkpoint certificate. If this replica has that state, the checkpoint is
// stable; if its state differs, it is wrong and repairs itself; else it is behind.
func (r *Replica) onCertificate(cert []*checkpoint) bool {
	info := cert[0].info
	if info.Seq <= r.stable || info.Seq%r.cfg.Interval != 0 {
		return false
	}
	for _, c := range cert {
		c.env.detach()
	}
	if r.check.certified == nil || r.check.certified[0].info.Seq < info.Seq {
		r.check.certified = cert
	}
	mine, have := r.check.mine[info.Seq]
	switch {
	case have && mine == info:
		r.makeStable(cert)
	case have:
		r.diverge(fmt.Sprintf("the state at %d differs from the quorum's", info.Seq))
		r.fetchStateOf(cert)
	case info.Seq > r.high():
		// The others have moved on by more than a window: their logs no longer reach back to here.
		r.fetchStateOf(cert)
	default:
		// Catching up by batches is tried first; see tickStateFetch.
	}
	return true
}

// diverge stops this replica from serving until it has repaired itself (rule 22).
func (r *Replica) diverge(why string) {
	if r.diverged == "" {
		r.diverged = why
	}
}

// makeStable moves the low watermark and cuts the log behind it. The state at the checkpoint is
// durable here (rule 18).
func (r *Replica) makeStable(cert []*checkpoint) {
	s := cert[0].info.Seq
	r.stable, r.stableCrt, r.diverged = s, cert, ""
	r.record(keyStable(), encodeStable(cert))
	for _, k := range cutKinds {
		r.erase(keySeq(k, 0), keySeq(k, s+1))
	}
	for x := range r.slots {
		if x <= s {
			delete(r.slots, x)
		}
	}
	for x := range r.promises {
		if x.seq <= s {
			delete(r.promises, x)
		}
	}
	for x := range r.check.mine {
		if x < s {
			delete(r.check.mine, x)
		}
	}
	for x := range r.check.said {
		if x <= s {
			delete(r.check.said, x)
		}
	}
	for x := range r.check.votes {
		if x <= s {
			delete(r.check.votes, x)
		}
	}
	r.cutBodies(s)
	if r.nextSeq <= s {
		r.nextSeq = s + 1
	}
	r.retryEarly()
	r.propose()
}

func (r *Replica) cutBodies(stable Seq) {
	inUse := map[Digest]bool{}
	for _, s := range r.slots {
		if s.pre != nil {
			inUse[s.pre.prop.Body] = true
		}
		if s.done != nil {
			inUse[s.done.prop.Body] = true
		}
		if s.prepared != nil {
			inUse[s.prepared.pre.prop.Body] = true
		}
	}
	for d, b := range r.bodies {
		keep := b.seqs[:0]
		for _, x := range b.seqs {
			if x > stable {
				keep = append(keep, x)
			}
		}
		b.seqs = keep
		if len(keep) == 0 && !inUse[d] {
			r.dropBody(d)
		}
	}
}
