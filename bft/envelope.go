package bft

import (
	"bytes"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Envelope is a message that a third party may ever have to believe: its payload bytes exactly
// as they were signed, so that nothing is encoded anew before it is checked (rule 2).
type Envelope struct {
	Type      MessageType
	Signer    ReplicaID
	Epoch     Epoch
	Payload   []byte
	Signature crypto.Signature
}

// SigningBytes is what a member signs: domain, cluster, epoch, type and payload, each with its
// length, so that no envelope can be read as one of another cluster, epoch or type.
func SigningBytes(cluster Digest, epoch Epoch, t MessageType, payload []byte) []byte {
	const domain = "baluarte/envelope"
	b := make([]byte, 0, 64+len(domain)+len(payload))
	b = appendField(b, []byte(domain))
	b = appendField(b, cluster[:])
	var e [8]byte
	putUint64(e[:], uint64(epoch))
	b = appendField(b, e[:])
	b = appendField(b, []byte{byte(t)})
	return appendField(b, payload)
}

// RequestSigningBytes is what a client signs. It binds the cluster and, within the payload, the
// session, but no epoch: a request outlives a change of members.
func RequestSigningBytes(cluster Digest, payload []byte) []byte {
	const domain = "baluarte/request"
	b := make([]byte, 0, 64+len(domain)+len(payload))
	b = appendField(b, []byte(domain))
	b = appendField(b, cluster[:])
	return appendField(b, payload)
}

func appendField(b, field []byte) []byte {
	n := uint32(len(field))
	b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return append(b, field...)
}

// Digest identifies an envelope, signature included.
func (e *Envelope) Digest() Digest {
	var meta [13]byte
	meta[0] = byte(e.Type)
	putUint64(meta[1:9], uint64(e.Epoch))
	meta[9], meta[10], meta[11], meta[12] = byte(e.Signer>>24), byte(e.Signer>>16), byte(e.Signer>>8), byte(e.Signer)
	return crypto.Hash("baluarte/envelope-id", meta[:], e.Payload, e.Signature[:])
}

func (e *Envelope) pb() *bftpb.Envelope {
	return &bftpb.Envelope{Type: uint32(e.Type), Signer: uint32(e.Signer), Epoch: uint64(e.Epoch),
		Payload: e.Payload, Signature: e.Signature[:]}
}

func pbEnvelopes(es []*Envelope) []*bftpb.Envelope {
	out := make([]*bftpb.Envelope, len(es))
	for i, e := range es {
		out[i] = e.pb()
	}
	return out
}

// envelopeFrom checks shape only: fields present and in range.
func envelopeFrom(p *bftpb.Envelope) (*Envelope, error) {
	if p == nil || !p.Strict() {
		return nil, fmt.Errorf("%w: envelope with unknown fields, or missing", ErrInvalid)
	}
	if len(p.Signature) != len(crypto.Signature{}) {
		return nil, fmt.Errorf("%w: signature of %d bytes", ErrInvalid, len(p.Signature))
	}
	if p.Type == 0 || p.Type > uint32(TypeNewView) || p.Type == uint32(TypeRequest) {
		return nil, fmt.Errorf("%w: envelope of type %d", ErrInvalid, p.Type)
	}
	e := &Envelope{Type: MessageType(p.Type), Signer: ReplicaID(p.Signer), Epoch: Epoch(p.Epoch), Payload: p.Payload}
	copy(e.Signature[:], p.Signature)
	return e, nil
}

// bundle codec

// bundleDigest covers payload and signature.
func bundleDigest(payload []byte, sig *crypto.Signature) Digest {
	return crypto.Hash("baluarte/bundle", payload, sig[:])
}

// roomForBundle makes a bundle and the slice of its operations, which are counted before: the bundles of those that call
// one operation at a time are many, and take one allocation.
func roomForBundle(payload []byte, maxOps int) (*Bundle, [][]byte, error) {
	n, err := countField(payload, 6, maxOps)
	if err != nil {
		return nil, nil, err
	}
	if n == 1 {
		one := new(struct {
			Bundle
			op [1][]byte
		})
		return &one.Bundle, one.op[:0], nil
	}
	if n == 0 {
		return new(Bundle), nil, nil
	}
	return new(Bundle), make([][]byte, 0, n), nil
}

// DecodeBundle reads and checks the form of a signed bundle, whose signature is not checked.
func DecodeBundle(payload []byte, sig crypto.Signature, maxOps, maxBytes int) (*Bundle, error) {
	if len(payload) > maxBytes {
		return nil, fmt.Errorf("%w: bundle of %d bytes, the limit is %d", ErrInvalid, len(payload), maxBytes)
	}
	b, ops, err := roomForBundle(payload, maxOps)
	if err != nil {
		return nil, err
	}
	p := bftpb.Bundle{Operations: ops}
	if !decodeBundlePB(&p, payload) {
		return nil, fmt.Errorf("%w: bundle does not decode", ErrInvalid)
	}
	*b = Bundle{Session: SessionID(p.Session), NotAfter: Time(p.NotAfter), First: p.First, Ops: p.Operations,
		AnsweredBelow: p.AnsweredBelow, Expires: Time(p.Expires), Close: p.Close, Payload: payload, Signature: sig}
	if len(p.Client) != len(b.Client) {
		return nil, fmt.Errorf("%w: client key of %d bytes", ErrInvalid, len(p.Client))
	}
	copy(b.Client[:], p.Client)
	switch {
	case b.Opens() && len(p.Nonce) != len(b.Nonce):
		return nil, fmt.Errorf("%w: opening with a nonce of %d bytes", ErrInvalid, len(p.Nonce))
	case !b.Opens() && (len(p.Nonce) != 0 || p.NotAfter != 0):
		return nil, fmt.Errorf("%w: nonce outside an opening", ErrInvalid)
	case len(b.Ops) == 0 && !b.Opens() && !b.Close:
		return nil, fmt.Errorf("%w: bundle of nothing", ErrInvalid)
	case b.First == 0 || b.First > 1<<62 || b.AnsweredBelow > b.First || b.Expires < 0 || b.NotAfter < 0:
		return nil, fmt.Errorf("%w: bundle numbers out of range", ErrInvalid)
	case b.Opens() && b.First != 1:
		return nil, fmt.Errorf("%w: opening that begins at operation %d", ErrInvalid, b.First)
	}
	if b.Claim, err = claimFrom(&p, b.Opens()); err != nil {
		return nil, err
	}
	copy(b.Nonce[:], p.Nonce)
	b.Digest = bundleDigest(payload, &b.Signature)
	return b, nil
}

// wireMessage is a message that can be read too.
type wireMessage interface {
	vtMessage
	UnmarshalVTUnsafe([]byte) error
	Strict() bool
}

// decode reads b into m, which then refers to b. Besides unknown fields it refuses every encoding that is
// longer than need be, such as a field that stands twice: what is kept of a message is kept as it came, and must
// not be larger than what it says.
func decode(m wireMessage, b []byte) bool {
	return m.UnmarshalVTUnsafe(b) == nil && m.Strict() && m.SizeVT() == len(b)
}

// detach gives the envelope a payload of its own: what is kept of a message must not keep the whole frame.
func (e *Envelope) detach() { e.Payload = bytes.Clone(e.Payload) }

// detach returns the bundle in memory of its own.
func (b *Bundle) detach() *Bundle {
	own, err := DecodeBundle(bytes.Clone(b.Payload), b.Signature, len(b.Ops), len(b.Payload))
	if err != nil {
		panic("bft: a bundle does not decode again: " + err.Error())
	}
	return own
}

type vtMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// mustMarshal encodes what this process built; it cannot fail for want of memory or form.
func mustMarshal(m vtMessage) []byte {
	b := make([]byte, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(b); err != nil {
		panic("bft: encoding an own message: " + err.Error())
	}
	return b
}

func frame(t MessageType, m vtMessage) []byte {
	n := m.SizeVT()
	b := make([]byte, 1+n)
	b[0] = byte(t)
	if _, err := m.MarshalToSizedBufferVT(b[1:]); err != nil {
		panic("bft: encoding an own message: " + err.Error())
	}
	return b
}
