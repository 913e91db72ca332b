package bft

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/crypto"
)

// View numbers the regimes of an epoch; the primary of view v is replica v mod n (OSDI'99 §4.1).
type View uint64

// Seq is a sequence number: the place of a proposal in the total order. Genesis is 0 and is stable.
type Seq uint64

// Epoch numbers the memberships of a cluster, from 0.
type Epoch uint64

// ReplicaID is the index of a replica in the member list of its epoch.
type ReplicaID uint32

// ClientID is the public key of a client.
type ClientID = crypto.PublicKey

// SessionID names a session of a client. It comes from the replicated state; 0 is no session.
type SessionID uint64

// Digest is a SHA-256 digest.
type Digest = crypto.Digest

// Time is a number of nanoseconds: since the Unix epoch where it is agreed time or a wall
// clock, since an arbitrary start where it is the logical time of Tick.
type Time int64

// Units of Time.
const (
	Microsecond Time = 1000
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
)

// LSN numbers the records that a replica makes durable, from 1, in the order in which it
// asks for them.
type LSN uint64

// Nonce is drawn by a client for each session it opens.
type Nonce [16]byte

// MessageType is the first byte of a frame, and part of what an envelope's signature covers.
type MessageType uint8

// The messages of protocol.md. Types below typeFirstUnsigned travel in envelopes.
const (
	TypeRequest MessageType = iota + 1
	TypePrePrepare
	TypeVotes
	TypeCheckpoint
	TypeViewChange
	TypeNewView
	TypeStatus
	TypeFetch
	TypeData
	TypeQuery
	TypeAnswer
	TypeReply
	TypeBusy
	typeEnd
)

var typeNames = [typeEnd]string{"", "request", "pre-prepare", "votes", "checkpoint", "view-change",
	"new-view", "status", "fetch", "data", "query", "answer", "reply", "busy"}

// String gives the name of t as in the message table of DESIGN.md.
func (t MessageType) String() string {
	if t == 0 || t >= typeEnd {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return typeNames[t]
}

// Phase tells a prepare from a commit.
type Phase uint8

// The phases in which a replica votes. PhasePrePrepare never stands on the wire: it is the
// primary's vote for its own proposal.
const (
	PhasePrepare    Phase = 1
	PhaseCommit     Phase = 2
	PhasePrePrepare Phase = 3
)

// String names the phase.
func (p Phase) String() string {
	switch p {
	case PhasePrepare:
		return "prepare"
	case PhaseCommit:
		return "commit"
	case PhasePrePrepare:
		return "pre-prepare"
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Bundle is what one request carries: operations of one client, under one signature.
// It is immutable once decoded.
type Bundle struct {
	// Digest covers payload and signature, so that a certificate binds both.
	Digest Digest
	// Client signs the bundle.
	Client ClientID
	// Session is 0 if the bundle opens a session, which (Client, Nonce) then names.
	Session SessionID
	Nonce   Nonce
	// NotAfter is the agreed time after which the opening is refused.
	NotAfter Time
	// First is the sequence number, from 1, of Ops[0]; the others follow without gaps.
	First uint64
	Ops   [][]byte
	// AnsweredBelow: the client has the results of all operations below it.
	AnsweredBelow uint64
	// Expires is the agreed time after which no operation of the bundle is executed; 0: never.
	Expires Time
	// Close ends the session after this bundle.
	Close bool
	// Claim is what an opening asks of its session; nil: nothing.
	Claim *Claim

	// Payload and Signature are as they were received.
	Payload   []byte
	Signature crypto.Signature
}

// Size is the number of bytes that a bundle occupies on the wire and, roughly, in memory.
func (b *Bundle) Size() int { return len(b.Payload) + len(b.Signature) }

// Opens tells whether the bundle opens a session.
func (b *Bundle) Opens() bool { return b.Session == 0 }

// Proposal is what replicas vote for: a body and the agreed time of its execution.
type Proposal struct {
	Body Digest // zero for the null request
	Time Time   // 0 for the null request
}

// Null is the proposal that executes nothing; it reads as the last agreed time.
var Null Proposal

// Digest is what votes and certificates name. It does not cover the view, so that a proposal
// keeps its digest when a new view proposes it again (protocol.md, "Proposal digest").
func (p Proposal) Digest() Digest {
	var t [8]byte
	putUint64(t[:], uint64(p.Time))
	return crypto.Hash("baluarte/proposal", p.Body[:], t[:])
}

func putUint64(b []byte, v uint64) {
	for i := 7; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
}

// BodyDigest is the digest of a body: the digests of its bundles, in order. The empty body is
// the null request's and has the zero digest.
func BodyDigest(bundles []Digest) Digest {
	if len(bundles) == 0 {
		return Digest{}
	}
	h := crypto.NewHasher("baluarte/body")
	for i := range bundles {
		h.Digest(bundles[i])
	}
	return h.Sum()
}

// UpdatedBodyDigest is the digest of a body that has updates beside its bundles, for services that are
// replicated passively. Without updates it is BodyDigest.
func UpdatedBodyDigest(bundles []Digest, updates []byte) Digest {
	d := BodyDigest(bundles)
	if len(updates) == 0 {
		return d
	}
	return crypto.Hash("baluarte/body with updates", d[:], updates)
}
