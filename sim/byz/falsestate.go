package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// False checkpoints.
//
// At every checkpoint each replica says which state it has, so that the log behind it can be cut. The
// accomplices all name the same state, one that nobody has, and say so a moment before the others
// finish counting; now and then they also claim a checkpoint far ahead. If it were enough that a
// quorum speaks of the same number, a log would be cut behind a state that no disk holds, and whoever
// lags would fetch it.
//
// Aims at: rule 20: state is believed only by a certificate, in which a quorum of distinct members
// name the same digest (OSDI'99 §4.3); rule 22: who differs from the quorum repairs itself.
type falseState struct{ base }

// Send implements Adversary.
func (a *falseState) Send(out bft.Outbound) []bft.Outbound {
	if e := wire.Envelope(out.Frame); wire.TypeOf(out.Frame) == bft.TypeCheckpoint && a.own(e) {
		if c, err := wire.Checkpoint(e); err == nil && len(c.State) > 0 { // another behaviour may have bent it
			return a.checkpoint(out, c)
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
