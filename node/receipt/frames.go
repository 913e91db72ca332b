package receipt

import (
	"encoding/binary"
	"errors"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Frames between a client and a replica, beside those of package bft.
const (
	// FrameAsk is a client's question for the signature under one of its operations.
	FrameAsk = 0x98
	// FrameAnswer is the answer.
	FrameAnswer = 0x99
)

// Name names an operation of the client that asks: its session, the first number of the bundle in which it was sent,
// and its place in that.
type Name struct {
	Session bft.SessionID
	First   uint64
	Index   uint32
}

const nameBytes = 20

func (n Name) encode(kind byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kind}, uint64(n.Session))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, n.First), n.Index)
}

func decodeName(b []byte) Name {
	return Name{bft.SessionID(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])}
}

// Ask encodes a question.
func Ask(n Name) []byte { return n.encode(FrameAsk) }

var errFrame = errors.New("receipt: malformed frame")

// DecodeAsk reads a question.
func DecodeAsk(frame []byte) (Name, error) {
	if len(frame) != 1+nameBytes || frame[0] != FrameAsk || binary.BigEndian.Uint32(frame[17:]) >= bft.WindowOps {
		return Name{}, errFrame
	}
	return decodeName(frame[1:]), nil
}

// Answer is what a replica says to a question.
type Answer struct {
	Name
	// Known: the replica has executed the bundle lately, and vouches for the rest.
	Known     bool
	Executed  bft.Seq
	Time      bft.Time
	Count     uint32
	Root      bft.Digest
	Signature crypto.Signature
	Path      []bft.Digest
}

// maxPath bounds a path: a bundle has at most bft.WindowOps operations.
const maxPath = 16

// Encode encodes the answer.
func (a *Answer) Encode() []byte {
	b := a.Name.encode(FrameAnswer)
	if !a.Known {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(a.Executed))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Time))
	b = binary.BigEndian.AppendUint32(b, a.Count)
	b = append(append(b, a.Root[:]...), a.Signature[:]...)
	for _, d := range a.Path {
		b = append(b, d[:]...)
	}
	return b
}

// DecodeAnswer reads an answer.
func DecodeAnswer(frame []byte) (*Answer, error) {
	if len(frame) < 1+nameBytes || frame[0] != FrameAnswer {
		return nil, errFrame
	}
	a := &Answer{Name: decodeName(frame[1:])}
	rest := frame[1+nameBytes:]
	if len(rest) == 0 {
		return a, nil
	}
	const fixed = 20 + 32 + 64
	if len(rest) < fixed || (len(rest)-fixed)%32 != 0 || (len(rest)-fixed)/32 > maxPath {
		return nil, errFrame
	}
	a.Known = true
	a.Executed, a.Time = bft.Seq(binary.BigEndian.Uint64(rest)), bft.Time(binary.BigEndian.Uint64(rest[8:]))
	a.Count = binary.BigEndian.Uint32(rest[16:])
	copy(a.Root[:], rest[20:])
	copy(a.Signature[:], rest[52:])
	for rest = rest[fixed:]; len(rest) > 0; rest = rest[32:] {
		a.Path = append(a.Path, bft.Digest(rest[:32]))
	}
	return a, nil
}
