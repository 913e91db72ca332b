package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Malformed messages.
//
// Most attacks on a protocol are attacks on its decoder. What the replica says is cut in the middle,
// has a bit turned, claims to be longer than it is, or of another type, or has a field that nobody
// knows. Harder to see are messages that are sound on the outside, with a valid signature, and wrong
// within: a view-change whose certificates point behind the end of their list, votes for number zero or
// without a digest, too many of them or none, a part of a state of which there are fewer parts than its
// index says, a question of a kind that does not exist. Clients are answered in the same way.
//
// Aims at: nothing is used before it is checked, unknown fields and types are refused (protocol.md,
// "Messages"); an invalid part voids its message (rule 8), and never the process that reads it.
type malformed struct{ base }

// Send implements Adversary: the sound frame is followed by its broken twin, or is replaced by it.
func (a *malformed) Send(out bft.Outbound) []bft.Outbound {
	if !a.chance(15) {
		return []bft.Outbound{out}
	}
	a.lie("broken " + wire.TypeOf(out.Frame).String())
	broken := bft.Outbound{To: out.To, Frame: a.broken(out.Frame)}
	if a.chance(10) {
		return []bft.Outbound{broken}
	}
	return []bft.Outbound{out, broken}
}

// Reply implements Adversary.
func (a *malformed) Reply(_ bft.ClientID, frame []byte) [][]byte {
	if !a.chance(30) {
		return [][]byte{frame}
	}
	a.lie("broken " + wire.TypeOf(frame).String())
	return [][]byte{a.broken(frame)}
}

// broken damages the bytes of a frame.
func (a *malformed) broken(frame []byte) []byte {
	f := bytes.Clone(frame)
	at := a.Rand.IntN(len(f))
	switch a.Rand.IntN(7) {
	case 0:
		return f[:at]
	case 1:
		f[at] ^= 1 << a.Rand.IntN(8)
	case 2:
		f[0] = byte(a.Rand.IntN(20))
	case 3:
		return append(f, 0xfa, 0x01, 0x01, 0x00) // field 31, one byte long
	case 4:
		return append(f[:at], 0xff, 0xff, 0xff, 0xff, 0x0f) // a length without bytes
	case 5:
		return append(f[:at], f[:at]...)
	default:
		for i := 1; i < len(f); i++ {
			f[i] = byte(a.Rand.Uint32())
		}
	}
	return f
}

// Inject implements Adversary: messages that are wrong within.
func (a *malformed) Inject(bft.Time) []bft.Outbound {
	frame, name := a.within()
	a.lie(name)
	to := bft.ReplicaID(bft.Everyone)
	if a.chance(50) {
		to = a.peer()
	}
	return []bft.Outbound{{To: to, Frame: frame}}
}

func (a *malformed) within() ([]byte, string) {
	far := 1 + uint32(a.Rand.IntN(1<<a.Rand.IntN(31)))
	d := a.digest()
	switch a.Rand.IntN(9) {
	case 0:
		v := bftpb.ViewChange{View: 1 + a.Rand.Uint64N(8), Stable: uint64(a.Interval), Checkpoint: []uint32{0, far}}
		return a.seal(bft.TypeViewChange, wire.Marshal(&v)), "view-change with a bad index of a checkpoint"
	case 1:
		v := bftpb.ViewChange{View: 1 + a.Rand.Uint64N(8), Prepared: []*bftpb.Prepared{{Seq: 1, PrePrepare: far, Votes: []uint32{far}}}}
		return a.seal(bft.TypeViewChange, wire.Marshal(&v)), "view-change with a bad index of a pre-prepare"
	case 2:
		h := a.Seal(bft.TypePrePrepare, wire.Marshal(&bftpb.Header{View: uint64(a.Self), Seq: 1, Body: d[:], Time: 1}))
		v := bftpb.ViewChange{View: 1 << 20, Prepared: []*bftpb.Prepared{{Seq: 1, Votes: []uint32{far}}}, Envelopes: []*bftpb.Envelope{h}}
		return a.seal(bft.TypeViewChange, wire.Marshal(&v)), "view-change with a bad index of a vote"
	case 3:
		var v bftpb.Votes
		for i := range a.Rand.IntN(2) * 40 {
			v.Votes = append(v.Votes, &bftpb.Vote{Phase: 1, Seq: uint64(i), Digest: d[:]})
		}
		return a.seal(bft.TypeVotes, wire.Marshal(&v)), "votes, too many or none"
	case 4:
		v := bftpb.Votes{Votes: []*bftpb.Vote{{Phase: uint32(a.Rand.IntN(5)), Seq: a.Rand.Uint64(), Digest: d[:a.Rand.IntN(33)]}}}
		return a.seal(bft.TypeVotes, wire.Marshal(&v)), "votes out of range"
	case 5:
		p := &bftpb.StatePart{Seq: uint64(a.Interval), Index: far, Total: far - 1, Data: d[:], Path: [][]byte{d[:], d[:3]}}
		return wire.Frame(bft.TypeData, &bftpb.Data{Part: p}), "part beyond the end"
	case 6:
		return wire.Frame(bft.TypeFetch, &bftpb.Fetch{Kind: uint32(a.Rand.IntN(3)) * 100, Digests: d[:31], From: 1 << 63}), "fetch of nothing"
	case 7:
		s := bftpb.Status{Executed: 1 << 63, Stable: 1 << 63, Newest: []*bftpb.Envelope{{Type: far, Payload: d[:]}}}
		return wire.Frame(bft.TypeStatus, &s), "status out of range"
	}
	n := bftpb.NewView{View: a.led(a.Rand.Uint64N(8)), PrePrepares: []*bftpb.Envelope{{Type: far}}}
	for range a.quorum() {
		n.ViewChanges = append(n.ViewChanges, &bftpb.ViewChangeRef{Signer: far, Digest: d[:]})
	}
	return a.seal(bft.TypeNewView, wire.Marshal(&n)), "new-view of strangers"
}
