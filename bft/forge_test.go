package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// A liar owns its key and can sign anything with it. What follows builds, by hand and from the wire
// format alone, every message that a member can send, true or false.

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type wire interface {
	MarshalVT() ([]byte, error)
}

func (c *cluster) encode(m wire) []byte {
	b, err := m.MarshalVT()
	must(c.t, err)
	return b
}

func (c *cluster) frame(kind bft.MessageType, m wire) []byte {
	return append([]byte{byte(kind)}, c.encode(m)...)
}

// envelope has a member sign a payload.
func (c *cluster) envelope(signer int, kind bft.MessageType, payload wire) *bftpb.Envelope {
	return c.envelopeAt(signer, kind, c.cfg.Cluster, c.cfg.Epoch, payload)
}

func (c *cluster) envelopeAt(signer int, kind bft.MessageType, cluster bft.Digest, epoch bft.Epoch, payload wire) *bftpb.Envelope {
	b := c.encode(payload)
	sig := c.keys[signer].Sign(bft.SigningBytes(cluster, epoch, kind, b))
	return &bftpb.Envelope{Type: uint32(kind), Signer: uint32(signer), Epoch: uint64(epoch), Payload: b, Signature: sig[:]}
}

// framed is the frame of an envelope that travels by itself.
func (c *cluster) framed(e *bftpb.Envelope) []byte { return c.frame(bft.MessageType(e.Type), e) }

// proposal of bundles at a time; without bundles it is the null proposal.
func proposal(at bft.Time, bundles ...*bft.Bundle) bft.Proposal {
	if len(bundles) == 0 {
		return bft.Null
	}
	return bft.Proposal{Body: bft.BodyDigest(digestsOf(bundles)), Time: at}
}

func digestsOf(bundles []*bft.Bundle) (ds []bft.Digest) {
	for _, b := range bundles {
		ds = append(ds, b.Digest)
	}
	return ds
}

func joined(ds []bft.Digest) (b []byte) {
	for _, d := range ds {
		b = append(b, d[:]...)
	}
	return b
}

func pbHeader(v bft.View, s bft.Seq, p bft.Proposal) *bftpb.Header {
	h := &bftpb.Header{View: uint64(v), Seq: uint64(s), Time: int64(p.Time)}
	if !p.Body.IsZero() {
		h.Body = p.Body[:]
	}
	return h
}

// header is the signed header of a pre-prepare.
func (c *cluster) header(signer int, v bft.View, s bft.Seq, p bft.Proposal) *bftpb.Envelope {
	return c.envelope(signer, bft.TypePrePrepare, pbHeader(v, s, p))
}

// prePrepare is the frame of a fresh proposal of bundles, at the present time.
func (c *cluster) prePrepare(signer int, v bft.View, s bft.Seq, bundles ...*bft.Bundle) []byte {
	return c.prePrepareOf(signer, v, s, proposal(c.now, bundles...), bundles...)
}

func (c *cluster) prePrepareOf(signer int, v bft.View, s bft.Seq, p bft.Proposal, bundles ...*bft.Bundle) []byte {
	return c.frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: c.header(signer, v, s, p), Body: &bftpb.Body{Bundles: joined(digestsOf(bundles))}})
}

// vote names what a member votes for.
type vote struct {
	phase  bft.Phase
	seq    bft.Seq
	digest bft.Digest
}

func prepare(s bft.Seq, p bft.Proposal) vote { return vote{bft.PhasePrepare, s, p.Digest()} }
func commit(s bft.Seq, p bft.Proposal) vote  { return vote{bft.PhaseCommit, s, p.Digest()} }

func pbVotes(v bft.View, vs ...vote) *bftpb.Votes {
	p := &bftpb.Votes{View: uint64(v)}
	for i := range vs {
		p.Votes = append(p.Votes, &bftpb.Vote{Phase: uint32(vs[i].phase), Seq: uint64(vs[i].seq), Digest: vs[i].digest[:]})
	}
	return p
}

func (c *cluster) votes(signer int, v bft.View, vs ...vote) *bftpb.Envelope {
	return c.envelope(signer, bft.TypeVotes, pbVotes(v, vs...))
}

// tell hands votes of members to a replica, each on its own channel.
func (c *cluster) tell(to bft.ReplicaID, v bft.View, x vote, signers ...int) {
	c.t.Helper()
	for _, s := range signers {
		_ = c.hand(letter{bft.ReplicaID(s), to, c.framed(c.votes(s, v, x))})
	}
}

// checkpointOf is a member's checkpoint.
func (c *cluster) checkpointOf(signer int, i bft.CheckpointInfo) *bftpb.Envelope {
	return c.envelope(signer, bft.TypeCheckpoint, &bftpb.Checkpoint{Seq: uint64(i.Seq), State: i.State[:], History: i.History[:], ScheduledEnd: uint64(i.ScheduledEnd)})
}

func (c *cluster) checkpointCert(i bft.CheckpointInfo, signers ...int) (es []*bftpb.Envelope) {
	for _, s := range signers {
		es = append(es, c.checkpointOf(s, i))
	}
	return es
}

// prepared is a prepared certificate in the making.
type prepared struct {
	header *bftpb.Envelope
	seq    bft.Seq
	votes  []*bftpb.Envelope
}

// certify makes the prepared certificate of a proposal, with prepares of the given members.
func (c *cluster) certify(v bft.View, s bft.Seq, p bft.Proposal, voters ...int) prepared {
	x := prepared{header: c.header(int(bft.Primary(v, c.n())), v, s, p), seq: s}
	for _, i := range voters {
		x.votes = append(x.votes, c.votes(i, v, prepare(s, p)))
	}
	return x
}

// backups gives k members that are not the primary of v, the lowest first.
func (c *cluster) backups(v bft.View, k int) (ids []int) {
	for i := 0; i < c.n() && len(ids) < k; i++ {
		if bft.ReplicaID(i) != bft.Primary(v, c.n()) {
			ids = append(ids, i)
		}
	}
	return ids
}

func pbViewChange(v bft.View, stable bft.Seq, cert []*bftpb.Envelope, certs ...prepared) *bftpb.ViewChange {
	p := &bftpb.ViewChange{View: uint64(v), Stable: uint64(stable)}
	add := func(e *bftpb.Envelope) uint32 {
		p.Envelopes = append(p.Envelopes, e)
		return uint32(len(p.Envelopes) - 1)
	}
	for _, e := range cert {
		p.Checkpoint = append(p.Checkpoint, add(e))
	}
	for _, x := range certs {
		pc := &bftpb.Prepared{Seq: uint64(x.seq), PrePrepare: add(x.header)}
		for _, e := range x.votes {
			pc.Votes = append(pc.Votes, add(e))
		}
		p.Prepared = append(p.Prepared, pc)
	}
	return p
}

func (c *cluster) viewChange(signer int, v bft.View, stable bft.Seq, cert []*bftpb.Envelope, certs ...prepared) *bftpb.Envelope {
	return c.envelope(signer, bft.TypeViewChange, pbViewChange(v, stable, cert, certs...))
}

// newView is the primary's new-view over view-changes, with O as given.
func (c *cluster) newView(v bft.View, vcs []*bftpb.Envelope, o ...*bftpb.Envelope) *bftpb.Envelope {
	p := &bftpb.NewView{View: uint64(v), PrePrepares: o}
	for _, e := range vcs {
		d := digestOf(e)
		p.ViewChanges = append(p.ViewChanges, &bftpb.ViewChangeRef{Signer: e.Signer, Digest: d[:]})
	}
	return c.envelope(int(bft.Primary(v, c.n())), bft.TypeNewView, p)
}

func digestOf(e *bftpb.Envelope) bft.Digest {
	x := bft.Envelope{Type: bft.MessageType(e.Type), Signer: bft.ReplicaID(e.Signer), Epoch: bft.Epoch(e.Epoch), Payload: e.Payload}
	copy(x.Signature[:], e.Signature)
	return x.Digest()
}

// handAll hands envelopes to a replica, each on its signer's channel; the last error counts.
func (c *cluster) handAll(to bft.ReplicaID, es ...*bftpb.Envelope) (err error) {
	for _, e := range es {
		err = c.hand(letter{bft.ReplicaID(e.Signer), to, c.framed(e)})
	}
	return err
}

// answerStart has members answer a replica that has just started, showing what they hold of it.
func (c *cluster) answerStart(h *host, from []int, newest ...*bftpb.Envelope) {
	for _, i := range from {
		must(c.t, c.hand(letter{bft.ReplicaID(i), h.id, c.frame(bft.TypeStatus, &bftpb.Status{AnswersStart: true, Boot: h.boots, Newest: newest})}))
	}
}

// committedData is a batch with the commits of the given members, as Data carries it.
func (c *cluster) committedData(v bft.View, s bft.Seq, p bft.Proposal, bundles []*bft.Bundle, signers ...int) []byte {
	x := &bftpb.Committed{Seq: uint64(s), View: uint64(v), Time: int64(p.Time), Content: &bftpb.Body{Bundles: joined(digestsOf(bundles))}}
	if !p.Body.IsZero() {
		x.Body = p.Body[:]
	}
	for _, b := range bundles {
		x.Bundles = append(x.Bundles, &bftpb.Request{Payload: b.Payload, Signature: b.Signature[:]})
	}
	for _, i := range signers {
		x.Votes = append(x.Votes, c.votes(i, v, commit(s, p)))
	}
	return c.frame(bft.TypeData, &bftpb.Data{Committed: []*bftpb.Committed{x}})
}

// envelopeIn gives the envelope that a frame consists of, or whose header it carries.
func envelopeIn(frame []byte) (*bftpb.Envelope, bft.ReplicaID) {
	e := &bftpb.Envelope{}
	switch bft.MessageType(frame[0]) {
	case bft.TypeVotes, bft.TypeCheckpoint, bft.TypeViewChange, bft.TypeNewView:
		if e.UnmarshalVT(frame[1:]) != nil {
			return nil, 0
		}
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		if p.UnmarshalVT(frame[1:]) != nil {
			return nil, 0
		}
		e = p.Header
	default:
		return nil, 0
	}
	return e, bft.ReplicaID(e.Signer)
}

// voted tells what a replica voted in view v for s since the test last cleared h.sent.
func (h *host) voted(phase bft.Phase, v bft.View, s bft.Seq) (d bft.Digest, ok bool) {
	for _, l := range h.sent {
		if l.kind() != bft.TypeVotes {
			continue
		}
		e, signer := envelopeIn(l.frame)
		var p bftpb.Votes
		if signer != h.id || p.UnmarshalVT(e.Payload) != nil || bft.View(p.View) != v {
			continue
		}
		for _, x := range p.Votes {
			if bft.Phase(x.Phase) == phase && bft.Seq(x.Seq) == s {
				return bft.Digest(x.Digest), true
			}
		}
	}
	return d, false
}

// envelopes gives the payload-carrying envelopes of a kind that a replica sent, oldest first.
func (h *host) envelopes(kind bft.MessageType) (es []*bftpb.Envelope) {
	for _, l := range h.sent {
		if l.kind() == kind {
			if e, signer := envelopeIn(l.frame); signer == h.id {
				es = append(es, e)
			}
		}
	}
	return es
}

// sentKind gives the frames of a kind that a replica sent.
func (h *host) sentKind(kind bft.MessageType) (ls []letter) {
	for _, l := range h.sent {
		if l.kind() == kind {
			ls = append(ls, l)
		}
	}
	return ls
}
