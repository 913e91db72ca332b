package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// The misapplied batch.
//
// A transition of the state machine goes wrong: the operations of one batch are left out, or applied twice,
// and the replica does not notice. From then on its state is another, and everything that follows is
// built on it, until its checkpoint is compared with the others' and it fetches the right state.
//
// Aims at: checkpoints that cover the state, the one who differs repairs itself and signs no second digest
// (rule 22), f+1 alike for a client (rule 27), exactly once at those who are right (rule 24).
type misapplied struct{ base }

// Execute implements Adversary.
func (a *misapplied) Execute(seq bft.Seq) Execution {
	switch seq % 10 {
	case 3:
		a.lie("batch left out")
		return Execution{Apply: func(exec.StateMachine, exec.Context, []byte) []byte { return []byte{0} }}
	case 7:
		a.lie("batch applied twice")
		return Execution{Apply: func(m exec.StateMachine, ctx exec.Context, op []byte) []byte {
			m.Apply(ctx, op)
			return m.Apply(ctx, op)
		}}
	}
	return Execution{}
}
