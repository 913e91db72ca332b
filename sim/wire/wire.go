// Package wire reads and makes the frames of package bft for those who look at them from
// outside: the simulator's oracles and its adversaries. It is written against the wire format
// (bftpb) and not against the code of bft, so that a mistake there is not repeated here.
package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// message is what bftpb generates.
type message interface {
	MarshalVT() ([]byte, error)
	UnmarshalVT([]byte) error
}

// Frame encodes m as a frame of type t.
func Frame(t bft.MessageType, m message) []byte { return append([]byte{byte(t)}, Marshal(m)...) }

// Marshal encodes m.
func Marshal(m message) []byte {
	b, err := m.MarshalVT()
	if err != nil {
		panic("wire: encoding: " + err.Error()) // no message of bftpb can fail to encode
	}
	return b
}

// TypeOf is the type of a frame, 0 if it is empty.
func TypeOf(frame []byte) bft.MessageType {
	if len(frame) == 0 {
		return 0
	}
	return bft.MessageType(frame[0])
}

// errFrame is what all readers here return for bytes that they cannot read.
var errFrame = errors.New("wire: frame does not decode")

// Read decodes the frame's body into m. The frame must be of type t.
func Read(t bft.MessageType, frame []byte, m message) error {
	if TypeOf(frame) != t || m.UnmarshalVT(frame[1:]) != nil {
		return errFrame
	}
	return nil
}

// Envelope returns the envelope that a frame of votes, a checkpoint, a view-change, a new-view or
// a pre-prepare consists of, and nil if it has none.
func Envelope(frame []byte) *bftpb.Envelope {
	switch t := TypeOf(frame); t {
	case bft.TypeVotes, bft.TypeCheckpoint, bft.TypeViewChange, bft.TypeNewView:
		var e bftpb.Envelope
		if Read(t, frame, &e) == nil {
			return &e
		}
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		if Read(t, frame, &p) == nil {
			return p.Header
		}
	}
	return nil
}

// Header decodes the payload of a pre-prepare.
func Header(e *bftpb.Envelope) (*bftpb.Header, error) {
	h := &bftpb.Header{}
	return h, payload(bft.TypePrePrepare, e, h)
}

// Votes decodes the payload of votes.
func Votes(e *bftpb.Envelope) (*bftpb.Votes, error) {
	v := &bftpb.Votes{}
	return v, payload(bft.TypeVotes, e, v)
}

// Checkpoint decodes the payload of a checkpoint.
func Checkpoint(e *bftpb.Envelope) (*bftpb.Checkpoint, error) {
	c := &bftpb.Checkpoint{}
	return c, payload(bft.TypeCheckpoint, e, c)
}

// ViewChange decodes the payload of a view-change.
func ViewChange(e *bftpb.Envelope) (*bftpb.ViewChange, error) {
	v := &bftpb.ViewChange{}
	return v, payload(bft.TypeViewChange, e, v)
}

// NewView decodes the payload of a new-view.
func NewView(e *bftpb.Envelope) (*bftpb.NewView, error) {
	v := &bftpb.NewView{}
	return v, payload(bft.TypeNewView, e, v)
}

func payload(t bft.MessageType, e *bftpb.Envelope, m message) error {
	if e == nil || e.Type != uint32(t) || m.UnmarshalVT(e.Payload) != nil {
		return errFrame
	}
	return nil
}

// Proposal is what a header proposes.
func Proposal(h *bftpb.Header) bft.Proposal {
	p := bft.Proposal{Time: bft.Time(h.Time)}
	copy(p.Body[:], h.Body)
	return p
}

// DigestOf reads a digest; of a field of any other length than a digest's it makes the zero digest.
func DigestOf(b []byte) (d bft.Digest) {
	if len(b) == len(d) {
		copy(d[:], b)
	}
	return d
}

// Digest identifies an envelope as bft does; that of none is zero.
func Digest(e *bftpb.Envelope) bft.Digest {
	if e == nil {
		return bft.Digest{}
	}
	x := bft.Envelope{Type: bft.MessageType(e.Type), Signer: bft.ReplicaID(e.Signer), Epoch: bft.Epoch(e.Epoch), Payload: e.Payload}
	copy(x.Signature[:], e.Signature)
	return x.Digest()
}

// Member is what one member needs to sign envelopes.
type Member struct {
	Self    bft.ReplicaID
	Cluster bft.Digest
	Epoch   bft.Epoch
	Signer  crypto.Signer
}

// Seal signs a payload as the member.
func (m *Member) Seal(t bft.MessageType, payload []byte) *bftpb.Envelope {
	sig := m.Signer.Sign(bft.SigningBytes(m.Cluster, m.Epoch, t, payload))
	return &bftpb.Envelope{Type: uint32(t), Signer: uint32(m.Self), Epoch: uint64(m.Epoch), Payload: payload, Signature: sig[:]}
}

// Signed is what bft.SigningBytes encodes.
type Signed struct {
	Cluster bft.Digest
	Epoch   uint64
	Type    bft.MessageType
	Payload []byte
}

// ParseSigned takes apart what a member signs.
func ParseSigned(b []byte) (*Signed, error) {
	var fields [5][]byte
	for i := range fields {
		if len(b) < 4 {
			return nil, errFrame
		}
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if n > len(b)-4 {
			return nil, errFrame
		}
		fields[i], b = b[4:4+n], b[4+n:]
	}
	if len(b) != 0 || !bytes.Equal(fields[0], []byte("baluarte/envelope")) || len(fields[1]) != 32 || len(fields[2]) != 8 || len(fields[3]) != 1 {
		return nil, fmt.Errorf("wire: what is signed is no envelope")
	}
	s := &Signed{Cluster: DigestOf(fields[1]), Type: bft.MessageType(fields[3][0]), Payload: fields[4]}
	for _, x := range fields[2] {
		s.Epoch = s.Epoch<<8 | uint64(x)
	}
	return s, nil
}
