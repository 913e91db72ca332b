package bft

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// The durable records. A key is a kind, then big-endian numbers, so that the records of one kind
// stand in order and those below a checkpoint are one range.

type recordKind byte

const (
	recAccepted   recordKind = 'a' // number, view → pre-prepare envelope: the prepare is promised
	recProposed   recordKind = 'o' // number, view → pre-prepare payload of this replica as primary
	recBody       recordKind = 'b' // number, body digest → bundles
	recPrepared   recordKind = 'p' // number, view → prepared certificate: the commit is promised
	recCommitted  recordKind = 'c' // number → commit certificate
	recCheckpoint recordKind = 'k' // number → payload of the own checkpoint
	recStable     recordKind = 's' // → certificate of the stable checkpoint
	recViewChange recordKind = 'v' // → payload of the newest own view-change
	recNewView    recordKind = 'w' // → envelope of the newest accepted new-view
	recDraft      recordKind = 'd' // → payload of the newest own new-view
	recUsed       recordKind = 'u' // → view-changes of the newest accepted new-view
	recAmnesiac   recordKind = 'm' // → why this replica signs no more
)

// cutKinds are cut behind a stable checkpoint.
var cutKinds = [...]recordKind{recAccepted, recProposed, recBody, recPrepared, recCommitted, recCheckpoint}

func keySeq(k recordKind, s Seq) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(k)}, uint64(s))
}

func keySeqView(k recordKind, s Seq, v View) []byte {
	return binary.BigEndian.AppendUint64(keySeq(k, s), uint64(v))
}

func keyAccepted(s Seq, v View) []byte { return keySeqView(recAccepted, s, v) }
func keyProposed(s Seq, v View) []byte { return keySeqView(recProposed, s, v) }
func keyPrepared(s Seq, v View) []byte { return keySeqView(recPrepared, s, v) }
func keyBody(s Seq, d Digest) []byte   { return append(keySeq(recBody, s), d[:]...) }
func keyCommitted(s Seq) []byte        { return keySeq(recCommitted, s) }
func keyCheckpoint(s Seq) []byte       { return keySeq(recCheckpoint, s) }
func keyStable() []byte                { return []byte{byte(recStable)} }
func keyViewChange() []byte            { return []byte{byte(recViewChange)} }
func keyNewView() []byte               { return []byte{byte(recNewView)} }
func keyDraft() []byte                 { return []byte{byte(recDraft)} }
func keyUsed() []byte                  { return []byte{byte(recUsed)} }
func keyAmnesiac() []byte              { return []byte{byte(recAmnesiac)} }

func encodeStable(cert []*checkpoint) []byte {
	p := bftpb.CheckpointRecord{Seq: uint64(cert[0].info.Seq)}
	for _, c := range cert {
		p.Votes = append(p.Votes, c.env.pb())
	}
	return mustMarshal(&p)
}

// encodeNewViewRecord keeps the new-view's envelope and max-s, below which nothing is fresh.
func encodeNewViewRecord(nv *newView, maxS Seq) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(maxS)), mustMarshal(nv.env.pb())...)
}

// restore rebuilds the replica from its records. Records come back as they were written: the
// store detects damage; what does not decode here was written by another version.
func (r *Replica) restore(x Restored) error {
	byKind := map[recordKind][]KV{}
	for _, kv := range x.Records {
		if len(kv.Key) == 0 {
			return fmt.Errorf("bft: record without a key")
		}
		k := recordKind(kv.Key[0])
		byKind[k] = append(byKind[k], kv)
	}
	steps := []struct {
		kind recordKind
		read func(Seq, View, KV) error
	}{
		{recStable, r.restoreStable}, {recViewChange, r.restoreViewChange}, {recNewView, r.restoreNewView}, {recUsed, r.restoreUsed}, {recDraft, r.restoreDraft}, {recAmnesiac, r.restoreAmnesiac},
		{recBody, r.restoreBody}, {recAccepted, r.restoreAccepted}, {recProposed, r.restoreProposed}, {recPrepared, r.restorePrepared},
		{recCommitted, r.restoreCommitted}, {recCheckpoint, r.restoreCheckpoint},
	}
	for _, s := range steps {
		for _, kv := range byKind[s.kind] {
			seq, view := keyNumbers(kv.Key)
			if seq != 0 && seq <= r.stable && s.kind != recStable {
				continue
			}
			if err := s.read(seq, view, kv); err != nil {
				return fmt.Errorf("bft: record %x: %w", kv.Key, err)
			}
		}
		delete(byKind, s.kind)
	}
	for k := range byKind {
		return fmt.Errorf("bft: records of unknown kind %q: the directory was written by another version", byte(k))
	}
	r.restoreState(x)
	return nil
}

func keyNumbers(key []byte) (Seq, View) {
	var s Seq
	var v View
	if len(key) >= 9 {
		s = Seq(binary.BigEndian.Uint64(key[1:]))
	}
	if len(key) == 17 {
		v = View(binary.BigEndian.Uint64(key[9:]))
	}
	return s, v
}

// restoreState puts the executed state under the records.
func (r *Replica) restoreState(x Restored) {
	r.executed, r.delivered, r.time = x.Executed, x.Executed, x.Time
	r.reads.mark = max(r.reads.mark, r.stable) // what the records that were cut had in them (rule 27)
	for i := range x.Marks {
		r.pool.learn(&x.Marks[i])
	}
	if x.Executed > r.stable {
		r.onSnapshot(x.Snapshot)
	} else if x.Executed < r.stable {
		// The snapshot of the stable checkpoint is gone; the quorum's is as good.
		r.check.certified = r.stableCrt
	}
	for s, info := range r.check.said {
		if _, ok := r.check.mine[s]; !ok && s < x.Executed {
			r.check.mine[s] = info
		}
	}
	for _, s := range sortedSeqs(r.slots, r.stable) {
		if p := r.slots[s].pre; p != nil && p.view == r.view {
			r.nextSeq = max(r.nextSeq, s+1)
		}
	}
	r.nextSeq = max(r.nextSeq, r.inO+1, r.stable+1)
	for s := range r.slots {
		if k := (promise{s, r.view, PhasePrePrepare}); r.promises[k] != (Digest{}) {
			r.nextSeq = max(r.nextSeq, s+1)
		}
	}
	r.deliver()
}

func (r *Replica) restoreStable(_ Seq, _ View, kv KV) error {
	var p bftpb.CheckpointRecord
	if err := p.UnmarshalVT(kv.Value); err != nil || !p.Strict() || len(p.Votes) == 0 {
		return errRecord
	}
	for _, pe := range p.Votes {
		e, err := envelopeFrom(pe)
		if err != nil {
			return err
		}
		c, err := parseCheckpoint(e)
		if err != nil {
			return err
		}
		r.stableCrt = append(r.stableCrt, c)
	}
	r.stable = r.stableCrt[0].info.Seq
	r.check.certified = r.stableCrt
	return r.checkStable(r.stableCrt)
}

var errRecord = fmt.Errorf("%w: it does not decode; the directory was written by another version", ErrInvalid)

func (r *Replica) restoreViewChange(_ Seq, _ View, kv KV) error {
	var p bftpb.ViewChange
	if err := p.UnmarshalVT(kv.Value); err != nil {
		return errRecord
	}
	r.view, r.changing = View(p.View), true
	payload := bytes.Clone(kv.Value)
	r.start.again = append(r.start.again, func() {
		if r.changing && r.view == View(p.View) {
			r.sayViewChange(payload)
		}
	})
	return nil
}

func (r *Replica) restoreNewView(_ Seq, _ View, kv KV) error {
	if len(kv.Value) < 8 {
		return errRecord
	}
	var p bftpb.Envelope
	if err := p.UnmarshalVT(kv.Value[8:]); err != nil {
		return errRecord
	}
	e, err := envelopeFrom(&p)
	if err != nil {
		return err
	}
	nv, err := parseNewView(e)
	if err != nil {
		return err
	}
	if nv.view < r.view {
		return nil // a later view change superseded it
	}
	r.view, r.changing, r.change.newView = nv.view, false, nv
	r.inO = Seq(binary.BigEndian.Uint64(kv.Value))
	for _, pre := range nv.pres {
		if pre.seq > r.stable {
			r.early[pre.seq] = pre // taken over again when this replica may vote
		}
	}
	return nil
}

// restoreUsed brings back the view-changes that the present view's new-view names, for those who
// have not entered it yet.
func (r *Replica) restoreUsed(_ Seq, _ View, kv KV) error {
	var p bftpb.Data
	if err := p.UnmarshalVT(kv.Value); err != nil || !p.Strict() {
		return errRecord
	}
	for _, x := range p.ViewChanges {
		e, err := envelopeFrom(x)
		if err != nil {
			return err
		}
		vc, err := parseViewChange(e)
		if err != nil {
			return err
		}
		r.change.used = append(r.change.used, vc)
	}
	return nil
}

func (r *Replica) restoreAmnesiac(_ Seq, _ View, kv KV) error {
	r.amnesiac = string(kv.Value)
	return nil
}

// restoreDraft has the own new-view of the view that is being entered signed and sent again.
func (r *Replica) restoreDraft(_ Seq, _ View, kv KV) error {
	payload := bytes.Clone(kv.Value)
	nv, err := parseNewView(&Envelope{Type: TypeNewView, Payload: payload})
	if err != nil {
		return err
	}
	r.change.draft = payload
	if !r.changing || nv.view != r.view {
		return nil
	}
	block := &newViewDraft{view: nv.view, signing: true}
	r.change.proposing = block
	r.start.again = append(r.start.again, func() {
		r.signThen(TypeNewView, payload, func(e *Envelope) {
			if r.change.proposing != block {
				return
			}
			nv.env = e
			r.send(Everyone, envelopeFrame(e))
			_ = r.onNewView(nv)
		})
	})
	return nil
}

func (r *Replica) restoreBody(s Seq, _ View, kv KV) error {
	var p bftpb.Data
	if err := p.UnmarshalVT(kv.Value); err != nil || !p.Strict() || len(p.Bodies) != 1 {
		return errRecord
	}
	c, err := contentFrom(p.Bodies[0], len(p.Bundles))
	if err != nil {
		return err
	}
	b := r.learnBody(UpdatedBodyDigest(c.list, c.updates), c)
	if b == nil {
		return errRecord
	}
	for i, q := range p.Bundles {
		if len(q.Signature) != 64 || i >= len(c.list) {
			return errRecord
		}
		x, err := DecodeBundle(q.Payload, [64]byte(q.Signature), WindowOps, MaxBundleBytes)
		if err != nil {
			return err
		}
		if b.bundles[i] == nil {
			r.place(b, i, x)
		}
	}
	b.seqs = append(b.seqs, s)
	return nil
}

func (r *Replica) restoreAccepted(s Seq, v View, kv KV) error {
	var pe bftpb.Envelope
	if err := pe.UnmarshalVT(kv.Value); err != nil {
		return errRecord
	}
	e, err := envelopeFrom(&pe)
	if err != nil {
		return err
	}
	p, err := parsePrePrepare(e)
	if err != nil {
		return err
	}
	if err := r.checkPrePrepare(p); err != nil {
		return err
	}
	r.help.newest[e.Signer].seePrePrepare(p)
	phase := PhasePrepare
	if e.Signer == r.cfg.Self {
		phase = PhasePrePrepare
	}
	r.promises[promise{s, v, phase}] = p.digest()
	x := r.slot(s)
	if x.pre == nil || x.pre.view < p.view {
		r.adopt(x, p, s <= r.inO)
		x.full, x.accepted = true, true
	}
	if v == r.view && !r.changing && phase == PhasePrepare {
		r.sayAgain(PhasePrepare, s, p.digest())
	}
	return nil
}

// sayAgain repeats a recorded vote of the present view once this replica may sign.
func (r *Replica) sayAgain(phase Phase, s Seq, d Digest) {
	view := r.view
	r.start.again = append(r.start.again, func() {
		if r.view == view && !r.changing && s > r.stable {
			r.vote(phase, s, d)
		}
	})
}

func (r *Replica) restoreProposed(s Seq, v View, kv KV) error {
	p, err := parsePrePrepare(&Envelope{Type: TypePrePrepare, Payload: kv.Value})
	if err != nil {
		return err
	}
	r.promises[promise{s, v, PhasePrePrepare}] = p.digest()
	if v != r.view || r.changing || s <= r.inO {
		return nil
	}
	r.nextSeq = max(r.nextSeq, s+1)
	var c content
	if b := r.bodies[p.prop.Body]; b != nil {
		c = b.content
	}
	r.start.again = append(r.start.again, func() {
		if r.view == v && !r.changing && s > r.stable {
			r.proposeAs(v, s, p.prop, c)
		}
	})
	return nil
}

func (r *Replica) restorePrepared(s Seq, v View, kv KV) error {
	var p bftpb.PreparedRecord
	if err := p.UnmarshalVT(kv.Value); err != nil || !p.Strict() {
		return errRecord
	}
	e, err := envelopeFrom(p.Header)
	if err != nil {
		return err
	}
	pre, err := parsePrePrepare(e)
	if err != nil {
		return err
	}
	c := &preparedCert{pre: pre}
	for _, pv := range p.Votes {
		ve, err := envelopeFrom(pv)
		if err != nil {
			return err
		}
		vs, err := parseVotes(ve)
		if err != nil {
			return err
		}
		c.votes = append(c.votes, vs)
	}
	if err := r.checkPrepared(c); err != nil {
		return err
	}
	r.recall(c.votes)
	r.help.newest[pre.env.Signer].seePrePrepare(pre)
	x := r.slot(s)
	if x.prepared == nil || x.prepared.pre.view < v {
		x.prepared = c
	}
	r.promises[promise{s, v, PhaseCommit}] = pre.digest()
	if r.changing || v >= r.view || s <= r.inO {
		r.reads.mayCommit(s) // else the new-view has proven that it did not commit (rule 27)
	}
	if v == r.view && !r.changing {
		x.committing = x.pre != nil && x.pre.view == v
		r.sayAgain(PhaseCommit, s, pre.digest())
	}
	return nil
}

// recall notes whose votes the certificates hold, to show them to signers that lost theirs (rule 19).
func (r *Replica) recall(vs []*votes) {
	for _, v := range vs {
		r.help.newest[v.env.Signer].seeVotes(v)
	}
}

func (r *Replica) restoreCommitted(s Seq, _ View, kv KV) error {
	var p bftpb.Committed
	if err := p.UnmarshalVT(kv.Value); err != nil || !p.Strict() {
		return errRecord
	}
	c, err := committedFrom(&p)
	if err != nil {
		return err
	}
	if b := r.bodies[c.prop.Body]; b != nil {
		c.bundles, c.updates = b.bundles, b.updates
	}
	if err := r.checkCommitted(c); err != nil {
		return err
	}
	r.recall(c.votes)
	x := r.slot(s)
	x.done, x.bundles = c, c.bundles
	return nil
}

func (r *Replica) restoreCheckpoint(s Seq, _ View, kv KV) error {
	c, err := parseCheckpoint(&Envelope{Type: TypeCheckpoint, Payload: kv.Value})
	if err != nil {
		return err
	}
	r.check.said[s] = c.info
	return nil
}
