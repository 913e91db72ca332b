package account

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// statement is a signed envelope that was read: its signer is a member and its signature holds.
type statement struct {
	env    *bftpb.Envelope
	kind   bft.MessageType
	signer bft.ReplicaID
	view   bft.View // not of a checkpoint

	seq    bft.Seq      // of a pre-prepare or checkpoint
	prop   bft.Proposal // of a pre-prepare
	digest bft.Digest   // of prop
	votes  []vote
	info   bft.CheckpointInfo
	change *viewChange
	renew  *newView

	counted bool // the Book has it in its index
}

// vote is one of those in an envelope of votes.
type vote struct {
	phase  bft.Phase
	seq    bft.Seq
	digest bft.Digest
}

// votesFor tells whether s are votes of which one is want, in view v.
func (s *statement) votesFor(v bft.View, want vote) bool {
	if s.kind != bft.TypeVotes || s.view != v {
		return false
	}
	for _, x := range s.votes {
		if x == want {
			return true
		}
	}
	return false
}

// Bounds of what is read. Honest messages stay far below them; beyond, checking a lie could be
// made costly.
const (
	maxVotes    = 64               // in one envelope
	maxSeq      = bft.Seq(1) << 62 // as in bft
	maxNewViews = bft.MaxWindow    // pre-prepares in one new-view
)

// reader verifies and reads envelopes, each once.
type reader struct {
	m      Manifest
	quorum int
	known  map[sealKey]*statement
}

// sealKey finds an envelope again without hashing its payload. No second payload has the same
// signature, but whoever does not hold the key may pretend so: the payload is compared too.
type sealKey struct {
	kind, signer uint32
	signature    crypto.Signature
}

func newReader(m Manifest) *reader {
	if m.Verifier == nil {
		m.Verifier = crypto.NewEd25519(bft.MaxMembers)
	}
	return &reader{m: m, quorum: m.quorum(), known: make(map[sealKey]*statement)}
}

var errMissing = errors.New("account: an envelope is missing")

// seen returns what was read of an envelope before, nil if it is new. The key is the one to keep it under.
func (r *reader) seen(e *bftpb.Envelope) (key sealKey, s *statement) {
	key = sealKey{kind: e.Type, signer: e.Signer}
	if copy(key.signature[:], e.Signature); len(e.Signature) != crypto.SignatureSize {
		return key, nil
	}
	if s = r.known[key]; s != nil && s.env.Epoch == e.Epoch && bytes.Equal(s.env.Payload, e.Payload) {
		return key, s
	}
	return key, nil
}

// read returns what e says. The same envelope gives the same statement.
func (r *reader) read(e *bftpb.Envelope) (*statement, error) {
	if e == nil {
		return nil, errMissing
	}
	key, s := r.seen(e)
	if s != nil {
		return s, nil
	}
	if len(e.Signature) != crypto.SignatureSize {
		return nil, fmt.Errorf("account: signature of %d bytes", len(e.Signature))
	}
	t := bft.MessageType(e.Type)
	switch {
	case e.Type > uint32(bft.TypeNewView):
		return nil, fmt.Errorf("account: no envelope has type %d", e.Type)
	case int64(e.Signer) >= int64(len(r.m.Members)):
		return nil, fmt.Errorf("account: %v by %d, who is not one of %d members", t, e.Signer, len(r.m.Members))
	case e.Epoch != uint64(r.m.Epoch):
		return nil, fmt.Errorf("account: %v of epoch %d; the manifest is that of epoch %d", t, e.Epoch, r.m.Epoch)
	}
	if !r.m.Verifier.Verify(r.m.Members[e.Signer], bft.SigningBytes(r.m.Cluster, r.m.Epoch, t, e.Payload), key.signature) {
		return nil, fmt.Errorf("account: %v that member %d did not sign", t, e.Signer)
	}
	s = &statement{env: e, kind: t, signer: bft.ReplicaID(e.Signer)}
	if err := r.decode(s); err != nil {
		return nil, err
	}
	r.known[key] = s
	return s, nil
}

// readAs reads an envelope that must be of one of the kinds.
func (r *reader) readAs(e *bftpb.Envelope, kinds ...bft.MessageType) (*statement, error) {
	if e == nil {
		return nil, errMissing
	}
	for _, k := range kinds {
		if e.Type == uint32(k) {
			return r.read(e)
		}
	}
	return nil, fmt.Errorf("account: a %v where there must be a %v", bft.MessageType(e.Type), kinds[0])
}

// decode reads the payload of s.
func (r *reader) decode(s *statement) error {
	switch s.kind {
	case bft.TypePrePrepare:
		return s.decodeHeader()
	case bft.TypeVotes:
		return s.decodeVotes()
	case bft.TypeCheckpoint:
		return s.decodeCheckpoint()
	case bft.TypeViewChange:
		return r.decodeViewChange(s)
	case bft.TypeNewView:
		return r.decodeNewView(s)
	}
	return fmt.Errorf("account: a %v is no statement", s.kind)
}

func (s *statement) malformed() error {
	return fmt.Errorf("account: %v of member %d that does not decode", s.kind, s.signer)
}

func (s *statement) decodeHeader() error {
	h, err := wire.Header(s.env)
	if err != nil || !h.Strict() || len(h.Body) != 0 && len(h.Body) != crypto.DigestSize {
		return s.malformed()
	}
	s.view, s.seq, s.prop = bft.View(h.View), bft.Seq(h.Seq), wire.Proposal(h)
	if s.seq == 0 || s.seq > maxSeq || s.prop.Time < 0 || s.prop.Body.IsZero() != (s.prop.Time == 0) || len(h.Body) != 0 && s.prop.Body.IsZero() {
		return s.malformed()
	}
	s.digest = s.prop.Digest()
	return nil
}

func (s *statement) decodeVotes() error {
	v, err := wire.Votes(s.env)
	if err != nil || !v.Strict() || len(v.Votes) == 0 || len(v.Votes) > maxVotes {
		return s.malformed()
	}
	s.view, s.votes = bft.View(v.View), make([]vote, len(v.Votes))
	for i, x := range v.Votes {
		p := bft.Phase(x.Phase)
		if x.Phase != uint32(p) || p != bft.PhasePrepare && p != bft.PhaseCommit || len(x.Digest) != crypto.DigestSize ||
			x.Seq == 0 || bft.Seq(x.Seq) > maxSeq {
			return s.malformed()
		}
		s.votes[i] = vote{p, bft.Seq(x.Seq), wire.DigestOf(x.Digest)}
	}
	return nil
}

func (s *statement) decodeCheckpoint() error {
	c, err := wire.Checkpoint(s.env)
	if err != nil || !c.Strict() || len(c.State) != crypto.DigestSize || len(c.History) != crypto.DigestSize ||
		len(c.NextManifest) != 0 && len(c.NextManifest) != crypto.DigestSize || bft.Seq(c.Seq) > maxSeq {
		return s.malformed()
	}
	s.seq = bft.Seq(c.Seq)
	s.info = bft.CheckpointInfo{Seq: s.seq, State: wire.DigestOf(c.State), History: wire.DigestOf(c.History),
		ScheduledEnd: bft.Seq(c.ScheduledEnd), NextManifest: wire.DigestOf(c.NextManifest)}
	return nil
}
