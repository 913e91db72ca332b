package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Borrowed identities.
//
// Who says something, and who it is said by, are two things: the channel tells one, the signature the
// other, and both must agree. It sends what honest replicas signed on its own channel, as it was, and
// under its own name; and it signs things of its own and puts the name of another on them. As primary it
// gives one victim another proposal, and with it the prepares and commits of all the others, which
// they never made. It makes up requests of honest clients, with noise where the signature belongs, passes
// them on, proposes them, and serves them to those who ask what that was; and its clients send such
// requests on their own channels.
//
// Aims at: what a member sends itself must be signed by that member (protocol.md, "Messages"); rule 23: a
// bundle of a fresh proposal came on its own client's channel, or its signature was verified; rule 2
// wherever a vote stands for its signer.
type borrow struct {
	smuggling
	at heights
	// heard are frames that others signed.
	heard [][]byte
	// credulous primaries propose whatever they are told.
	credulous bool
}

func newBorrow(env Env) Adversary {
	a := &borrow{smuggling: newSmuggling(env)}
	a.credulous = a.chance(60)
	return a
}

// Checked implements Adversary.
func (a *borrow) Checked(valid bool) bool {
	if valid || !a.credulous {
		return valid
	}
	a.lie("request taken whose client did not sign it")
	return true
}

// Receive implements Adversary.
func (a *borrow) Receive(from bft.ReplicaID, frame []byte) bool {
	a.at.hear(frame)
	if wire.Envelope(frame) != nil {
		if a.heard = append(a.heard, frame); len(a.heard) > 64 {
			a.heard = a.heard[1:]
		}
	}
	return a.smuggling.Receive(from, frame)
}

// Request implements Adversary.
func (a *borrow) Request(client bft.ClientID, _ []byte) bool {
	a.Plan.meet(client)
	return true
}

// invent makes a request of an honest client; nil as long as none is known.
func (p *Plan) invent(b *base) []byte {
	if known := p.met; len(known) > 0 {
		return invented(b.Rand, known[b.Rand.IntN(len(known))])
	}
	return nil
}

// Send implements Adversary.
func (a *borrow) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) != bft.TypePrePrepare || !a.own(e) {
		return []bft.Outbound{out}
	}
	h, err := wire.Header(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	key := slot{h.View, h.Seq}
	if frame, ok := a.again(h); ok {
		a.lie("proposal with an invented request")
		return []bft.Outbound{{To: out.To, Frame: frame}}
	}
	if _, begun := a.Plan.others[key]; begun || a.chance(25) {
		return a.impersonate(out)
	}
	if request := a.Plan.invent(&a.base); request != nil && a.chance(15) {
		if frame := a.smuggle(out.Frame, request); frame != nil {
			a.lie("proposal with an invented request")
			return []bft.Outbound{{To: out.To, Frame: frame}}
		}
	}
	return []bft.Outbound{out}
}

// impersonate tells a victim another proposal, and that everybody has voted for it.
func (a *borrow) impersonate(out bft.Outbound) []bft.Outbound {
	o, ok := a.instead(out.Frame)
	h, err := wire.Header(o.header)
	if !ok || err != nil {
		return []bft.Outbound{out}
	}
	victim := a.Plan.side(h.View, true)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		if !victim[to] {
			sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
			continue
		}
		sent = append(sent, bft.Outbound{To: to, Frame: o.frame})
		for id := range bft.ReplicaID(a.N) {
			if id != to && id != a.Self {
				a.lie("votes in the name of another")
				sent = append(sent, bft.Outbound{To: to, Frame: a.votesOf(id, slot{h.View, h.Seq}, o.instead)})
			}
		}
	}
	return sent
}

// votesOf makes votes that a replica never cast, with the own signature.
func (b *base) votesOf(id bft.ReplicaID, s slot, digest bft.Digest) []byte {
	v := bftpb.Votes{View: s.view}
	for _, p := range []bft.Phase{bft.PhasePrepare, bft.PhaseCommit} {
		v.Votes = append(v.Votes, &bftpb.Vote{Phase: uint32(p), Seq: s.seq, Digest: digest[:]})
	}
	e := b.Seal(bft.TypeVotes, wire.Marshal(&v))
	e.Signer = uint32(id)
	return b.envelopeFrame(e)
}

// Inject implements Adversary.
func (a *borrow) Inject(bft.Time) []bft.Outbound {
	sent := a.hand("invented request handed out")
	if len(a.heard) > 0 {
		frame := a.heard[a.Rand.IntN(len(a.heard))]
		if e := wire.Envelope(frame); wire.TypeOf(frame) != bft.TypePrePrepare && a.chance(50) {
			a.lie("what another said under the own name")
			e.Signer = uint32(a.Self)
			frame = a.envelopeFrame(e)
		} else {
			a.lie("what another said on the own channel")
		}
		sent = append(sent, bft.Outbound{To: a.peer(), Frame: frame})
	}
	if request := a.Plan.invent(&a.base); request != nil && a.chance(20) {
		a.lie("invented request passed on")
		sent = append(sent, bft.Outbound{To: bft.Everyone, Frame: request})
	}
	d := a.digest()
	a.lie("votes in the name of another")
	return append(sent, bft.Outbound{To: a.peer(), Frame: a.votesOf(a.peer(), slot{a.at.view, a.at.executed + 1}, d)})
}

// impostor is a client that speaks for others.
type impostor struct{ clientBase }

func newImpostor(env ClientEnv) ClientAdversary {
	env.Plan.enlist(env.Key)
	return &impostor{newClientBase(env)}
}

// Inject implements ClientAdversary.
func (c *impostor) Inject(bft.Time) []bft.Outbound {
	known := c.Plan.met
	if len(known) == 0 || !c.chance(30) {
		return nil
	}
	c.lie("request in the name of another client")
	b := opening(c.Rand, known[c.Rand.IntN(len(known))])
	// The own signature is a good one, but not that client's.
	b.Signature = c.ClientEnv.Sign(bft.RequestSigningBytes(c.Cluster, b.Payload))
	return []bft.Outbound{{To: bft.Everyone, Frame: bft.RequestFrame(b, bft.Everyone)}}
}

// Send implements ClientAdversary: now and then the own request has the name of another client in it.
func (c *impostor) Send(out bft.Outbound) []bft.Outbound {
	b := bundleOf(out.Frame)
	known := c.Plan.met
	if b == nil || len(known) == 0 || !c.chance(20) {
		return []bft.Outbound{out}
	}
	c.lie("own request in the name of another client")
	other := known[c.Rand.IntN(len(known))]
	b.Payload = bytes.Replace(b.Payload, b.Client[:], other[:], 1)
	return []bft.Outbound{{To: out.To, Frame: bft.RequestFrame(b, bft.Everyone)}}
}
