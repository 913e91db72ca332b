package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// watch is what accomplices learn from the network, which shows them every message between replicas
// until it is healed, and afterwards their own.
type watch struct {
	n    int
	last []byte // the frame that was read last: a broadcast passes once for each receiver
	said heard
	// views are the highest views that replicas have told of, executed what they say that they have executed.
	views, executed []uint64
	// changing tells who says that it has left for a view that it has not entered.
	changing []bool
	// entered is the highest view of which a new-view was seen.
	entered uint64
	// offers are what primaries proposed, the first for each slot.
	offers map[slot]offer
	// votes are envelopes by what they vote for, the first of each signer.
	votes map[ballot][]*bftpb.Envelope
	// newViews are the new-views of each view, the first one.
	newViews map[uint64]*bftpb.NewView
	// viewChanges are those that were seen, by digest.
	viewChanges map[bft.Digest]*bftpb.Envelope
	// stable is the newest checkpoint certificate that was seen to come about, and its number.
	stable     []*bftpb.Envelope
	stableSeq  uint64
	checkpoint map[string][]*bftpb.Envelope // by payload
}

// heard is what a frame says, as far as accomplices care.
type heard struct {
	kind   bft.MessageType
	signer bft.ReplicaID
	view   uint64
	// seqs are the numbers that it is about, commit and prepare whether it has such votes.
	low, high       uint64
	commit, prepare bool
	// proof: it is data with commit certificates, checkpoints or parts of a snapshot.
	proof bool
}

// offer is what a primary proposed.
type offer struct {
	header *bftpb.Envelope
	digest bft.Digest
	body   []byte // digests of its bundles; nil in a new-view
	time   int64
	of     []byte // digest of the body
}

// ballot is something to vote for.
type ballot struct {
	slot
	phase  bft.Phase
	digest bft.Digest
}

func newWatch(n int) *watch {
	return &watch{n: n, views: make([]uint64, n), executed: make([]uint64, n), changing: make([]bool, n), offers: make(map[slot]offer),
		votes: make(map[ballot][]*bftpb.Envelope), newViews: make(map[uint64]*bftpb.NewView),
		viewChanges: make(map[bft.Digest]*bftpb.Envelope), checkpoint: make(map[string][]*bftpb.Envelope)}
}

// see reads a frame that a replica sends.
func (w *watch) see(from bft.ReplicaID, frame []byte) heard {
	if len(frame) > 0 && len(w.last) > 0 && &w.last[0] == &frame[0] {
		return w.said
	}
	w.last, w.said = frame, heard{kind: wire.TypeOf(frame), signer: from}
	h := &w.said
	switch h.kind {
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		if wire.Read(bft.TypePrePrepare, frame, &p) == nil {
			w.proposed(h, p.Header, p.Body.GetBundles())
		}
	case bft.TypeVotes:
		w.voted(h, wire.Envelope(frame))
	case bft.TypeCheckpoint:
		w.checkpointed(wire.Envelope(frame))
	case bft.TypeViewChange:
		e := wire.Envelope(frame)
		if v, err := wire.ViewChange(e); err == nil {
			h.view = v.View
			w.viewChanges[wire.Digest(e)] = e
			w.views[from], w.changing[from] = max(w.views[from], v.View), true
		}
	case bft.TypeNewView:
		e := wire.Envelope(frame)
		if v, err := wire.NewView(e); err == nil {
			h.view = v.View
			w.entered = max(w.entered, v.View)
			if w.newViews[v.View] == nil {
				w.newViews[v.View] = v
			}
			for _, p := range v.PrePrepares {
				w.proposed(&heard{}, p, nil)
			}
		}
	case bft.TypeStatus:
		var s bftpb.Status
		if wire.Read(bft.TypeStatus, frame, &s) == nil {
			h.view = s.View
			w.views[from], w.changing[from], w.executed[from] = max(w.views[from], s.View), s.Changing, s.Executed
		}
	case bft.TypeData:
		var d bftpb.Data
		if wire.Read(bft.TypeData, frame, &d) == nil {
			h.proof = len(d.Committed)+len(d.Checkpoint) > 0 || d.Part != nil
		}
	}
	return *h
}

// proposed notes a proposal.
func (w *watch) proposed(h *heard, e *bftpb.Envelope, body []byte) {
	x, err := wire.Header(e)
	if err != nil {
		return
	}
	h.view, h.low, h.high = x.View, x.Seq, x.Seq
	key := slot{x.View, x.Seq}
	if _, known := w.offers[key]; !known {
		w.offers[key] = offer{header: e, digest: wire.Proposal(x).Digest(), body: body, time: x.Time, of: x.Body}
	}
}

// voted notes votes.
func (w *watch) voted(h *heard, e *bftpb.Envelope) {
	v, err := wire.Votes(e)
	if err != nil || len(v.Votes) == 0 {
		return
	}
	h.view, h.low = v.View, v.Votes[0].Seq
	if int(e.Signer) < w.n {
		w.views[e.Signer] = max(w.views[e.Signer], v.View)
	}
	for _, x := range v.Votes {
		h.low, h.high = min(h.low, x.Seq), max(h.high, x.Seq)
		h.commit = h.commit || x.Phase == uint32(bft.PhaseCommit)
		h.prepare = h.prepare || x.Phase == uint32(bft.PhasePrepare)
		key := ballot{slot{v.View, x.Seq}, bft.Phase(x.Phase), wire.DigestOf(x.Digest)}
		if !signedBy(w.votes[key], e.Signer) {
			w.votes[key] = append(w.votes[key], e)
		}
	}
}

// checkpointed notes a checkpoint and the certificate that it completes.
func (w *watch) checkpointed(e *bftpb.Envelope) {
	c, err := wire.Checkpoint(e)
	if err != nil {
		return
	}
	key := string(e.Payload)
	if !signedBy(w.checkpoint[key], e.Signer) {
		w.checkpoint[key] = append(w.checkpoint[key], e)
	}
	if all := w.checkpoint[key]; len(all) >= bft.Quorum(w.n) && c.Seq > w.stableSeq {
		w.stable, w.stableSeq = all[:bft.Quorum(w.n)], c.Seq
	}
}

// committed tells whether a quorum has sent commits for one proposal of a slot.
func (w *watch) committed(s slot) bool {
	p, ok := w.offers[s]
	return ok && len(w.votes[ballot{s, bft.PhaseCommit, p.digest}]) >= bft.Quorum(w.n)
}

// newest is the highest view below another one of which a new-view was seen; false if there is none.
func (w *watch) newest(below uint64) (uint64, bool) {
	view := uint64(0)
	for v := range w.newViews { // a maximum: the order does not matter
		if v < below {
			view = max(view, v)
		}
	}
	return view, view > 0
}

// signedBy tells whether one of the envelopes is by a signer.
func signedBy(es []*bftpb.Envelope, signer uint32) bool {
	for _, e := range es {
		if e.Signer == signer {
			return true
		}
	}
	return false
}

// same tells whether two envelopes are the same one.
func same(a, b *bftpb.Envelope) bool {
	return a.Type == b.Type && a.Signer == b.Signer && bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Signature, b.Signature)
}

// listener is an adversary that listens to the network, and lets it be.
type listener struct{ base }

func newListener(env Env) listener {
	env.Plan.watching()
	return listener{newBase(env)}
}

// Schedule implements Adversary.
func (a *listener) Schedule(p Passing) Fate {
	a.Plan.watch.see(p.From, p.Frame)
	return Fate{}
}
