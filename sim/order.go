package sim

import (
	"math"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
)

// verdict keeps the first oracle that broke.
type verdict struct {
	fail func(oracle, format string, args ...any)
}

// order watches what honest replicas execute: oracles S1, S2, S3, S4, S7 and T1.
type order struct {
	*verdict
	// latest is the latest agreed time that a replica with a sound clock may have accepted by now;
	// without a clock none is too late.
	latest func() bft.Time
	// log is what was executed at each number from 1, as the first replica to do so did.
	log []entry
	// issued are the payloads of the bundles that each honest client really signed.
	issued map[bft.ClientID]map[bft.Digest]bool
	// bad are the clients that do as they please.
	bad map[bft.ClientID]bool
	// snapshots are the states at checkpoints.
	snapshots map[bft.Seq]bft.Snapshot
	// ops tells where each operation was applied.
	ops map[opKey]appliedOp
	// now has the operations that a replica applied in the batch that it is executing.
	now map[bft.ReplicaID]map[opKey]bool
	// replies are the results that replicas sent.
	replies map[replyKey]bft.Digest
	// values are the values in the results, for stale reads.
	values map[string]bool
	// tally, if set, counts how often operations are executed.
	tally *tally
}

type entry struct {
	digest  bft.Digest
	outcome bft.Digest // of replies and agreed time, zero until the batch was executed once
	time    bft.Time   // agreed, as the first replica to execute it had it
	bundles int
}

type opKey struct {
	session bft.SessionID
	op      uint64
}

type appliedOp struct {
	seq bft.Seq
	op  string
}

type replyKey struct {
	client  bft.ClientID
	session bft.SessionID
	nonce   bft.Nonce
	first   uint64
}

func newOrder(v *verdict) *order {
	return &order{verdict: v, latest: func() bft.Time { return math.MaxInt64 }, issued: make(map[bft.ClientID]map[bft.Digest]bool), bad: make(map[bft.ClientID]bool),
		snapshots: make(map[bft.Seq]bft.Snapshot), ops: make(map[opKey]appliedOp),
		now: make(map[bft.ReplicaID]map[opKey]bool), replies: make(map[replyKey]bft.Digest), values: make(map[string]bool)}
}

// issue notes that a client signed a bundle.
func (o *order) issue(client bft.ClientID, payload []byte) {
	if o.issued[client] == nil {
		o.issued[client] = make(map[bft.Digest]bool)
	}
	o.issued[client][crypto.Hash("issued", payload)] = true
}

// executing checks a batch that replica id is about to execute.
func (o *order) executing(id bft.ReplicaID, b *bft.Batch) {
	o.now[id] = make(map[opKey]bool)
	if d := b.Proposal.Digest(); d != b.Digest {
		o.fail("S1", "replica %d executes number %d as %s, but its proposal is %s", id, b.Seq, b.Digest.Short(), d.Short())
	}
	digests := make([]bft.Digest, len(b.Bundles))
	for i, x := range b.Bundles {
		digests[i] = x.Digest
		o.checkIssued(id, b.Seq, x)
	}
	if d := bft.UpdatedBodyDigest(digests, b.Updates); d != b.Proposal.Body {
		o.fail("S1", "replica %d executes bundles or updates at number %d that are not those of its proposal", id, b.Seq)
	}
	switch next := bft.Seq(len(o.log)) + 1; {
	case b.Seq > next:
		o.fail("S2", "replica %d executes number %d, but no honest one executed %d", id, b.Seq, next)
	case b.Seq == next:
		o.log = append(o.log, entry{digest: b.Digest, bundles: len(b.Bundles)})
	case o.log[b.Seq-1].digest != b.Digest:
		o.fail("S1", "number %d is %s at replica %d, and %s at another honest one", b.Seq, b.Digest.Short(), id, o.log[b.Seq-1].digest.Short())
	}
}

// checkIssued checks that an honest client really signed a bundle (S3).
func (o *order) checkIssued(id bft.ReplicaID, seq bft.Seq, b *bft.Bundle) {
	if o.bad[b.Client] {
		return
	}
	if !o.issued[b.Client][crypto.Hash("issued", b.Payload)] {
		o.fail("S3", "replica %d executes at number %d a bundle that its client never issued (session %d, from %d)", id, seq, b.Session, b.First)
	}
}

// applied checks that an operation is executed once and at one place (S4).
func (o *order) applied(id bft.ReplicaID, ctx *exec.Context, op []byte) {
	k := opKey{ctx.Session, ctx.Op}
	if o.now[id][k] {
		o.fail("S4", "replica %d applies operation %d of session %d twice at number %d", id, k.op, k.session, ctx.Seq)
	}
	if o.now[id] == nil {
		o.now[id] = make(map[opKey]bool)
	}
	o.now[id][k] = true
	was, ok := o.ops[k]
	switch {
	case !ok:
		o.ops[k] = appliedOp{ctx.Seq, string(op)}
		if o.tally != nil {
			o.tally.executed(id, ctx, op)
		}
	case was.seq != ctx.Seq:
		o.fail("S4", "operation %d of session %d is applied at number %d by replica %d, and was at %d", k.op, k.session, ctx.Seq, id, was.seq)
	case was.op != string(op):
		o.fail("S4", "operation %d of session %d is applied as %q by replica %d, and was as %q", k.op, k.session, op, id, was.op)
	}
}

// executed compares what came of a batch with what came of it elsewhere (S2).
func (o *order) executed(id bft.ReplicaID, b *bft.Batch, out *exec.Outcome) {
	h := crypto.NewHasher("outcome")
	h.Uint64(uint64(out.Executed.Time))
	for i := range out.Replies {
		h.Digest(out.Replies[i].Digest())
	}
	d := h.Sum()
	if b.Seq > bft.Seq(len(o.log)) {
		return // reported before
	}
	e := &o.log[b.Seq-1]
	if e.outcome.IsZero() {
		e.outcome, e.time = d, out.Executed.Time
		o.checkTime(id, b.Seq)
	}
	if e.outcome != d {
		o.fail("S2", "number %d has other results or another time at replica %d than at another honest one", b.Seq, id)
	}
}

// checkTime checks the agreed time of a number (T1, rule 5): it does not go back, and it is not later than what
// a clock allows. A proposal commits only if more than f replicas find its time acceptable, so at least one whose
// clock is sound; and executed later, its time is allowed all the more. There is no such bound into the past: it
// grows with failed views, and a batch may be executed long after it was proposed.
func (o *order) checkTime(id bft.ReplicaID, seq bft.Seq) {
	t := o.log[seq-1].time
	if seq > 1 && t < o.log[seq-2].time {
		o.fail("T1", "agreed time goes back by %v at number %d of replica %d", Duration(o.log[seq-2].time-t), seq, id)
	}
	if most := o.latest(); t > most {
		o.fail("T1", "agreed time of number %d at replica %d is %v beyond what a sound clock allows", seq, id, Duration(t-most))
	}
}

// replied checks that a retry gets the reply that was given before (S4).
func (o *order) replied(id bft.ReplicaID, r *exec.Reply) {
	for _, result := range r.Results {
		if len(result) == 0 {
			return
		}
		switch exec.Status(result[0]) {
		case exec.StatusOK:
			o.values[string(result[1:])] = true
		case exec.StatusFailed:
		default:
			return // a refusal says nothing about what was said before
		}
	}
	k := replyKey{r.Client, r.Session, r.Nonce, r.First}
	d := r.Digest()
	if was, ok := o.replies[k]; ok && was != d {
		o.fail("S4", "replica %d replies to operation %d of session %d otherwise than was replied before", id, r.First, r.Session)
	}
	o.replies[k] = d
}

// snapshot compares the state at a checkpoint with that of the others (S7).
func (o *order) snapshot(id bft.ReplicaID, s bft.Snapshot) {
	was, ok := o.snapshots[s.Seq]
	if !ok {
		o.snapshots[s.Seq] = s
	} else if was != s {
		o.fail("S7", "checkpoint %d has state %s and history %s at replica %d, and %s and %s at another honest one",
			s.Seq, s.State.Short(), s.History.Short(), id, was.State.Short(), was.History.Short())
	}
}

// installed checks a state that came from a peer: some honest replica must have been in it (S7, rule 20).
func (o *order) installed(id bft.ReplicaID, s bft.Snapshot) {
	if _, ok := o.snapshots[s.Seq]; !ok {
		o.fail("S7", "replica %d installs a snapshot of %d, which no honest replica has taken", id, s.Seq)
		return
	}
	o.snapshot(id, s)
}
