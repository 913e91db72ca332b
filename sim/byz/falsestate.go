package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// False checkpoints.
//
// The accomplices certify a state that nobody has, all the same one, for their own checkpoints
// and for numbers far ahead, and serve damaged parts of snapshots to those who fetch one.
//
// Aims at: checkpoints compared by digest and counted by distinct signers (rule 20), parts checked
// against the certificate, one that lags being led astray.
type falseState struct{ base }

// Send implements Adversary.
func (a *falseState) Send(out bft.Outbound) []bft.Outbound {
	switch e := wire.Envelope(out.Frame); wire.TypeOf(out.Frame) {
	case bft.TypeCheckpoint:
		if c, err := wire.Checkpoint(e); err == nil && a.own(e) {
			return a.checkpoint(out, c)
		}
	case bft.TypeData:
		var d bftpb.Data
		if wire.Read(bft.TypeData, out.Frame, &d) == nil && d.Part != nil && len(d.Part.Data) > 0 {
			a.lie("damaged part of a snapshot")
			d.Part.Data = bytes.Clone(d.Part.Data)
			d.Part.Data[a.Rand.IntN(len(d.Part.Data))] ^= 1
			return []bft.Outbound{{To: out.To, Frame: wire.Frame(bft.TypeData, &d)}}
		}
	}
	return []bft.Outbound{out}
}

func (a *falseState) checkpoint(out bft.Outbound, c *bftpb.Checkpoint) []bft.Outbound {
	a.lie("false checkpoint")
	c.State = bytes.Clone(c.State)
	c.State[0] ^= 1
	sent := []bft.Outbound{{To: out.To, Frame: a.seal(bft.TypeCheckpoint, wire.Marshal(c))}}
	if a.chance(30) {
		a.lie("checkpoint of a number far ahead")
		c.Seq *= 2
		sent = append(sent, bft.Outbound{To: out.To, Frame: a.seal(bft.TypeCheckpoint, wire.Marshal(c))})
	}
	return sent
}
