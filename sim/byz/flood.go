package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Floods.
//
// Whoever keeps an entry for each thing that it is told of can be told of more things than it has
// memory. In bursts it votes for digests that nobody proposed, in views that never come, for numbers
// near and far; certifies checkpoints without end; leaves for one view after another; announces new
// views that are made of view-changes nobody has seen; proposes bundles that do not exist; passes on
// requests of clients that it made up; and asks for digests that nobody knows. Each message is well
// formed and validly signed, and no two are the same.
//
// Aims at: every queue, window and map has a bound, each peer its share of it (oracle R1); what is
// verified is paid for with bytes (oracle R2); and the work goes on beside it (rules 23 and 26).
type flood struct {
	base
	at    heights
	count uint64
	// left are the messages until it has had enough.
	left int
}

// heights is what a peer last said of where it stands.
type heights struct{ view, stable, executed uint64 }

// hear notes what a status says, if it is one.
func (h *heights) hear(frame []byte) {
	var s bftpb.Status
	if wire.Read(bft.TypeStatus, frame, &s) == nil && s.Executed >= h.executed {
		*h = heights{s.View, s.Stable, s.Executed}
	}
}

func newFlood(env Env) Adversary {
	return &flood{base: newBase(env), left: 2400 / len(env.Plan.faulty)}
}

// Receive implements Adversary.
func (a *flood) Receive(_ bft.ReplicaID, frame []byte) bool {
	a.at.hear(frame)
	return true
}

// Inject implements Adversary.
func (a *flood) Inject(bft.Time) []bft.Outbound {
	if a.left <= 0 || !a.chance(30) {
		return nil
	}
	kind := a.Rand.IntN(7)
	to := bft.ReplicaID(bft.Everyone)
	if a.chance(50) {
		to = a.peer()
	}
	var sent []bft.Outbound
	for range 40 {
		a.left--
		a.count++
		frame, name := a.one(kind)
		a.lie("flood of " + name)
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}

// digest draws one that nothing has.
func (b *base) digest() bft.Digest {
	var d bft.Digest
	for i := range d {
		d[i] = byte(b.Rand.Uint32())
	}
	return d
}

// digests draws some, joined as bodies and fetches have them.
func (b *base) digests(n int) []byte {
	var out []byte
	for range n {
		d := b.digest()
		out = append(out, d[:]...)
	}
	return out
}

// led is the first view above v that this replica leads.
func (b *base) led(v uint64) uint64 {
	for v++; b.primary(v) != b.Self; v++ {
	}
	return v
}

// one makes a message of a kind, like no other before.
func (a *flood) one(kind int) (frame []byte, name string) {
	window := uint64(a.Window)
	seq := a.at.stable + 1 + a.Rand.Uint64N(3*window)
	switch kind {
	case 0:
		v := bftpb.Votes{View: a.at.view + a.Rand.Uint64N(1<<a.Rand.IntN(20))}
		for range 16 {
			d := a.digest()
			v.Votes = append(v.Votes, &bftpb.Vote{Phase: 1 + uint32(a.Rand.IntN(2)), Seq: seq, Digest: d[:]})
			seq++
		}
		return a.seal(bft.TypeVotes, wire.Marshal(&v)), "votes"
	case 1:
		state, history := a.digest(), a.digest()
		c := bftpb.Checkpoint{Seq: uint64(a.Interval) * (1<<30 + a.count), State: state[:], History: history[:]}
		return a.seal(bft.TypeCheckpoint, wire.Marshal(&c)), "checkpoints"
	case 2:
		return a.seal(bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: a.at.view + 1<<30 + a.count})), "view-changes"
	case 3:
		n := bftpb.NewView{View: a.led(a.at.view + a.Rand.Uint64N(1<<10))}
		for id := range uint32(a.quorum()) {
			d := a.digest()
			n.ViewChanges = append(n.ViewChanges, &bftpb.ViewChangeRef{Signer: id, Digest: d[:]})
		}
		return a.seal(bft.TypeNewView, wire.Marshal(&n)), "new-views"
	case 4:
		list := a.digests(1 + a.Rand.IntN(32))
		body := bodyDigest(list)
		h := bftpb.Header{View: a.led(a.at.view) - uint64(a.N)*a.Rand.Uint64N(2), Seq: seq, Body: body[:], Time: 1 + a.Rand.Int64N(1<<60)}
		return wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: a.Seal(bft.TypePrePrepare, wire.Marshal(&h)), Body: &bftpb.Body{Bundles: list}}), "pre-prepares"
	case 5:
		return invented(a.Rand, bft.ClientID(a.digest())), "requests of nobody"
	}
	return wire.Frame(bft.TypeFetch, &bftpb.Fetch{Kind: 1 + uint32(a.Rand.IntN(3)), Digests: a.digests(1 + a.Rand.IntN(64))}), "fetches"
}
