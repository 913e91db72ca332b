package wire

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Judge verifies certificates on its own (oracle S6): with its own quorum and its own reading of
// rules 1, 2, 7 and 20, so that a replica which believes too little proof is found out by what
// it shows to others.
type Judge struct {
	Cluster  bft.Digest
	Members  []crypto.PublicKey
	Interval bft.Seq
	Verifier crypto.Verifier

	known map[bft.Digest]bool // envelopes that were verified before, by digest
}

// quorum is the least number of which any two sets share a correct member: with f of n faulty,
// 2q − n ≥ f+1.
func (j *Judge) quorum() int {
	n := len(j.Members)
	f := (n - 1) / 3
	q := 0
	for 2*q-n < f+1 {
		q++
	}
	return q
}

// signed checks type, signer and signature of an envelope.
func (j *Judge) signed(e *bftpb.Envelope, t bft.MessageType) error {
	if e == nil || e.Type != uint32(t) {
		return fmt.Errorf("a %v is missing", t)
	}
	if int64(e.Signer) >= int64(len(j.Members)) || len(e.Signature) != crypto.SignatureSize {
		return fmt.Errorf("%v by a stranger, %d", t, e.Signer)
	}
	d := Digest(e)
	if good, ok := j.known[d]; ok && good {
		return nil
	}
	var sig crypto.Signature
	copy(sig[:], e.Signature)
	if !j.Verifier.Verify(j.Members[e.Signer], bft.SigningBytes(j.Cluster, bft.Epoch(e.Epoch), t, e.Payload), sig) {
		return fmt.Errorf("%v that %d did not sign", t, e.Signer)
	}
	if j.known == nil {
		j.known = make(map[bft.Digest]bool)
	}
	j.known[d] = true
	return nil
}

// distinct counts the envelopes' signers, each once.
func distinct(es []*bftpb.Envelope) int {
	seen := make(map[uint32]bool, len(es))
	for _, e := range es {
		seen[e.Signer] = true
	}
	return len(seen)
}

// voted tells whether votes have the one that is wanted.
func voted(v *bftpb.Votes, phase bft.Phase, seq uint64, digest bft.Digest) bool {
	for _, x := range v.Votes {
		if x.Phase == uint32(phase) && x.Seq == seq && DigestOf(x.Digest) == digest {
			return true
		}
	}
	return false
}

// Votes checks that a quorum's worth of distinct members, want of them and none of those in
// except, voted for the digest.
func (j *Judge) votes(es []*bftpb.Envelope, phase bft.Phase, view, seq uint64, digest bft.Digest, want int, except uint32) error {
	for _, e := range es {
		if err := j.signed(e, bft.TypeVotes); err != nil {
			return err
		}
		v, err := Votes(e)
		if err != nil {
			return err
		}
		if v.View != view || !voted(v, phase, seq, digest) {
			return fmt.Errorf("votes of %d that have no %v of number %d in view %d", e.Signer, phase, seq, view)
		}
		if phase == bft.PhasePrepare && e.Signer == except {
			return fmt.Errorf("a prepare of the primary %d counted (rule 1)", e.Signer)
		}
	}
	if n := distinct(es); n < want {
		return fmt.Errorf("%v certificate of number %d in view %d with %d distinct signers, %d needed", phase, seq, view, n, want)
	}
	return nil
}

// Prepared checks a prepared certificate (rule 1).
func (j *Judge) Prepared(pre *bftpb.Envelope, votes []*bftpb.Envelope) error {
	if err := j.signed(pre, bft.TypePrePrepare); err != nil {
		return err
	}
	h, err := Header(pre)
	if err != nil {
		return err
	}
	primary := uint32(h.View % uint64(len(j.Members)))
	if pre.Signer != primary {
		return fmt.Errorf("pre-prepare of number %d in view %d by %d, who is not its primary", h.Seq, h.View, pre.Signer)
	}
	return j.votes(votes, bft.PhasePrepare, h.View, h.Seq, Proposal(h).Digest(), j.quorum()-1, primary)
}

// Committed checks a commit certificate.
func (j *Judge) Committed(c *bftpb.Committed) error {
	p := bft.Proposal{Body: DigestOf(c.Body), Time: bft.Time(c.Time)}
	return j.votes(c.Votes, bft.PhaseCommit, c.View, c.Seq, p.Digest(), j.quorum(), 0)
}

// Stable checks a checkpoint certificate for number seq; genesis needs none.
func (j *Judge) Stable(seq uint64, es []*bftpb.Envelope) error {
	if seq == 0 {
		return nil
	}
	if len(es) == 0 {
		return fmt.Errorf("no certificate for the stable checkpoint %d", seq)
	}
	for _, e := range es {
		if err := j.signed(e, bft.TypeCheckpoint); err != nil {
			return err
		}
		c, err := Checkpoint(e)
		if err != nil {
			return err
		}
		if c.Seq != seq || string(e.Payload) != string(es[0].Payload) {
			return fmt.Errorf("checkpoint certificate for %d whose parts disagree", seq)
		}
	}
	if n := distinct(es); n < j.quorum() {
		return fmt.Errorf("checkpoint certificate for %d with %d distinct signers, %d needed", seq, n, j.quorum())
	}
	return nil
}

// ViewChange checks all that a view-change claims.
func (j *Judge) ViewChange(e *bftpb.Envelope) error {
	if err := j.signed(e, bft.TypeViewChange); err != nil {
		return err
	}
	v, err := ViewChange(e)
	if err != nil {
		return err
	}
	at := func(indices []uint32) ([]*bftpb.Envelope, error) {
		var out []*bftpb.Envelope
		for _, i := range indices {
			if int64(i) >= int64(len(v.Envelopes)) {
				return nil, fmt.Errorf("view-change of %d that names envelope %d of %d", e.Signer, i, len(v.Envelopes))
			}
			out = append(out, v.Envelopes[i])
		}
		return out, nil
	}
	es, err := at(v.Checkpoint)
	if err == nil {
		err = j.Stable(v.Stable, es)
	}
	for i := 0; err == nil && i < len(v.Prepared); i++ {
		p := v.Prepared[i]
		var pre, votes []*bftpb.Envelope
		if pre, err = at([]uint32{p.PrePrepare}); err != nil {
			break
		}
		if votes, err = at(p.Votes); err == nil {
			err = j.Prepared(pre[0], votes)
		}
		if h, herr := Header(pre[0]); err == nil && (herr != nil || h.View >= v.View || h.Seq <= v.Stable) {
			err = fmt.Errorf("view-change of %d to view %d with a certificate that does not belong there", e.Signer, v.View)
		}
	}
	return err
}

// NewView checks that a new-view names a quorum of distinct view-changes and that its
// pre-prepares are its primary's.
func (j *Judge) NewView(e *bftpb.Envelope) error {
	if err := j.signed(e, bft.TypeNewView); err != nil {
		return err
	}
	v, err := NewView(e)
	if err != nil {
		return err
	}
	seen := make(map[uint32]bool)
	for _, r := range v.ViewChanges {
		if int64(r.Signer) >= int64(len(j.Members)) {
			return fmt.Errorf("new-view %d from a view-change of a stranger, %d", v.View, r.Signer)
		}
		seen[r.Signer] = true
	}
	if len(seen) != j.quorum() || len(v.ViewChanges) != j.quorum() {
		return fmt.Errorf("new-view %d from %d distinct view-changes, %d needed (rule 7)", v.View, len(seen), j.quorum())
	}
	for _, p := range v.PrePrepares {
		if err := j.signed(p, bft.TypePrePrepare); err != nil {
			return err
		}
		if h, err := Header(p); err != nil || h.View != v.View || p.Signer != e.Signer {
			return fmt.Errorf("new-view %d with a pre-prepare of another view or signer", v.View)
		}
	}
	return nil
}

// Frame checks every certificate in a frame that an honest replica sends.
func (j *Judge) Frame(frame []byte) error {
	switch TypeOf(frame) {
	case bft.TypeViewChange:
		return j.ViewChange(Envelope(frame))
	case bft.TypeNewView:
		return j.NewView(Envelope(frame))
	case bft.TypeData:
		var d bftpb.Data
		if err := Read(bft.TypeData, frame, &d); err != nil {
			return err
		}
		for _, c := range d.Committed {
			if err := j.Committed(c); err != nil {
				return err
			}
		}
		if len(d.Checkpoint) > 0 {
			c, err := Checkpoint(d.Checkpoint[0])
			if err != nil {
				return err
			}
			return j.Stable(c.Seq, d.Checkpoint)
		}
	}
	return nil
}
