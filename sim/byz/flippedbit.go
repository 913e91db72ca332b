package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The flipped bit.
//
// Nobody means harm. A cell of the memory is weak, and now and then a bit turns in what the replica is about
// to say: in the digest of a vote before it is signed, so that the signature is good and the vote is not; or
// in a result on its way to a client. The checksums of disks and networks come too late: what they guard
// is wrong already.
//
// Aims at: votes that count only for the digest that they name (rules 1 and 2), f+1 alike for a client
// (rule 27).
type flippedBit struct{ base }

// Send implements Adversary.
func (a *flippedBit) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) != bft.TypeVotes || !a.own(e) || !a.chance(20) {
		return []bft.Outbound{out}
	}
	v, err := wire.Votes(e)
	if err != nil || len(v.Votes) == 0 {
		return []bft.Outbound{out}
	}
	x := v.Votes[a.Rand.IntN(len(v.Votes))]
	x.Digest = a.flip(x.Digest)
	a.lie("flipped bit in a vote")
	return []bft.Outbound{{To: out.To, Frame: a.seal(bft.TypeVotes, wire.Marshal(v))}}
}

// Reply implements Adversary.
func (a *flippedBit) Reply(_ bft.ClientID, frame []byte) [][]byte {
	var r bftpb.Reply
	if wire.Read(bft.TypeReply, frame, &r) != nil || !a.chance(50) {
		return [][]byte{frame}
	}
	switch {
	case len(r.Results) > 0 && len(r.Results[0]) > 0:
		r.Results[0] = a.flip(r.Results[0])
	case len(r.Digest) > 0:
		r.Digest = a.flip(r.Digest)
	default:
		return [][]byte{frame}
	}
	a.lie("flipped bit in a reply")
	return [][]byte{wire.Frame(bft.TypeReply, &r)}
}

// flip returns b with another last bit: of a number or a text the last character, so that it still looks
// like one.
func (a *flippedBit) flip(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) > 0 {
		b[len(b)-1] ^= 1
	}
	return b
}
