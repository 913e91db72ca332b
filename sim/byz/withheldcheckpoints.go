package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Withheld checkpoints.
//
// A replica that never learns that a checkpoint is stable may not go past its high watermark, however
// well everything else goes. The accomplices tell their checkpoints to some and not to others, never
// pass a certificate on, and as long as the network is theirs they lose the checkpoints of the honest
// ones too. One after another all come to a halt with a full log. When the network is healed nobody has
// a reason to take another checkpoint: unless what was said once is said again, that is the end.
//
// Aims at: rule 21: a replica that is behind catches up even when no new request comes, here from
// checkpoints and certificates that its peers send again because its status lacks them.
type withheldCheckpoints struct {
	base
	// told still get the own checkpoints.
	told []bool
}

func newWithheldCheckpoints(env Env) Adversary {
	a := &withheldCheckpoints{base: newBase(env), told: make([]bool, env.N)}
	for _, id := range a.Rand.Perm(a.N)[:a.Rand.IntN(a.N/2)] {
		a.told[id] = true
	}
	return a
}

// certifies tells whether a frame says that a checkpoint is stable, or helps to prove it.
func certifies(frame []byte) bool {
	switch wire.TypeOf(frame) {
	case bft.TypeCheckpoint:
		return true
	case bft.TypeData:
		var d bftpb.Data
		return wire.Read(bft.TypeData, frame, &d) == nil && len(d.Checkpoint) > 0
	}
	return false
}

// Send implements Adversary.
func (a *withheldCheckpoints) Send(out bft.Outbound) []bft.Outbound {
	if !certifies(out.Frame) {
		return []bft.Outbound{out}
	}
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		if a.told[to] {
			sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
		} else {
			a.lie("withheld " + wire.TypeOf(out.Frame).String())
		}
	}
	return sent
}

// Schedule implements Adversary.
func (a *withheldCheckpoints) Schedule(p Passing) Fate {
	if a.Self != a.Plan.faulty[0] || a.Plan.accomplice(p.From) || !certifies(p.Frame) {
		return Fate{}
	}
	a.lie("lost " + wire.TypeOf(p.Frame).String())
	return Fate{Lose: true}
}
