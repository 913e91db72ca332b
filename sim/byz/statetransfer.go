package byz

import (
	"bytes"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Poisoned state transfer.
//
// A replica that was cut off for long must fetch a whole state, and will have nothing of its own to
// compare it with. So the accomplices see to it that there is one: until the network is healed they cut
// it off from all but themselves. And they offer their help. The certificate that they hand to the one that lags is
// genuine, but its signatures stand in such an order that an accomplice is asked first. What that one
// sends is damaged, cut short, counted wrongly, from another place or for another number, or it comes in
// drips, each just before patience ends, or never.
//
// Aims at: rule 20: each part is checked against the certificate when it comes, whoever sent it; and the
// next peer is asked when one sends nothing or nonsense.
type stateTransfer struct {
	base
	isolation
	// said are the checkpoints that were heard of the newest number, by signer.
	said map[bft.ReplicaID]*bftpb.Envelope
	seq  uint64
	// offered tells who was handed the certificate of seq.
	offered []bool
	// patient liars send sound parts, late; the others never send one.
	patient bool
	// drips are parts that are sent late.
	drips []drip
}

// drip is a frame that waits for its time.
type drip struct {
	due bft.Time
	bft.Outbound
}

func newStateTransfer(env Env) Adversary {
	return &stateTransfer{base: newBase(env), isolation: newIsolation(&env), said: make(map[bft.ReplicaID]*bftpb.Envelope),
		offered: make([]bool, env.N), patient: env.Rand.IntN(100) < 15}
}

// hear keeps a checkpoint.
func (a *stateTransfer) hear(frame []byte) {
	e := wire.Envelope(frame)
	c, err := wire.Checkpoint(e)
	if err != nil || c.Seq < a.seq {
		return
	}
	if c.Seq > a.seq {
		a.seq = c.Seq
		clear(a.said)
		clear(a.offered)
	}
	a.said[bft.ReplicaID(e.Signer)] = e
}

// Receive implements Adversary.
func (a *stateTransfer) Receive(_ bft.ReplicaID, frame []byte) bool {
	a.hear(frame)
	return true
}

// Schedule implements Adversary.
func (a *stateTransfer) Schedule(p Passing) Fate {
	if !a.hits(&a.Env, p) {
		return Fate{}
	}
	a.lie("cut off")
	return Fate{Lose: true}
}

// Send implements Adversary.
func (a *stateTransfer) Send(out bft.Outbound) []bft.Outbound {
	switch wire.TypeOf(out.Frame) {
	case bft.TypeCheckpoint:
		a.hear(out.Frame)
	case bft.TypeData:
		var d bftpb.Data
		if wire.Read(bft.TypeData, out.Frame, &d) == nil && d.Part != nil {
			return a.part(out, &d)
		}
	}
	return []bft.Outbound{out}
}

// part spoils a part of a snapshot in one of the ways of the story.
func (a *stateTransfer) part(out bft.Outbound, d *bftpb.Data) []bft.Outbound {
	p := d.Part
	if a.patient {
		a.lie("dripping part")
		a.drips = append(a.drips, drip{due: -1, Outbound: out})
		return nil
	}
	how := a.Rand.IntN(10)
	switch {
	case how < 5 && len(p.Data) > 0:
		a.lie("poisoned part")
		p.Data = bytes.Clone(p.Data)
		p.Data[a.Rand.IntN(len(p.Data))] ^= 1 << a.Rand.IntN(8)
	case how < 7 && len(p.Data) > 0:
		a.lie("truncated part")
		p.Data = p.Data[:a.Rand.IntN(len(p.Data))]
	case how == 7:
		a.lie("part of a larger state")
		p.Total += 1 + uint32(a.Rand.IntN(1000))
	case how == 8:
		a.lie("part of another number")
		p.Seq += uint64(a.Interval)
	default:
		a.lie("withheld part")
		return nil
	}
	return []bft.Outbound{{To: out.To, Frame: wire.Frame(bft.TypeData, d)}}
}

// Inject implements Adversary: help for whoever lags, and drips when their time has come.
func (a *stateTransfer) Inject(now bft.Time) []bft.Outbound {
	var sent []bft.Outbound
	var left []drip
	for _, d := range a.drips {
		switch {
		case d.due < 0: // its time begins when it is seen here
			d.due = now + 400*bft.Millisecond
			fallthrough
		case d.due > now:
			left = append(left, d)
		default:
			a.lie("dripped part")
			sent = append(sent, d.Outbound)
		}
	}
	a.drips = left
	if cert := a.certificate(); cert != nil {
		for _, to := range a.Plan.honest() {
			if !a.offered[to] {
				a.offered[to] = true
				a.lie("certificate that has the liar asked first")
				sent = append(sent, bft.Outbound{To: to, Frame: wire.Frame(bft.TypeData, &bftpb.Data{Checkpoint: a.ordered(cert, to)})})
			}
		}
	}
	return sent
}

// certificate gathers a quorum's checkpoints like the own one, this at the head; nil if there are too few.
func (a *stateTransfer) certificate() []*bftpb.Envelope {
	own := a.said[a.Self]
	if own == nil {
		return nil
	}
	cert := []*bftpb.Envelope{own}
	for id := range bft.ReplicaID(a.N) {
		if e := a.said[id]; e != nil && id != a.Self && bytes.Equal(e.Payload, own.Payload) && len(cert) < a.quorum() {
			cert = append(cert, e)
		}
	}
	if len(cert) < a.quorum() {
		return nil
	}
	return cert
}

// ordered puts the own checkpoint where a receiver begins to ask.
func (a *stateTransfer) ordered(cert []*bftpb.Envelope, to bft.ReplicaID) []*bftpb.Envelope {
	out := slices.Clone(cert)
	at := int(to) % len(out)
	out[0], out[at] = out[at], out[0]
	return out
}
