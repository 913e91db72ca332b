package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// The wrong result.
//
// A processor computes one operation in some circumstances wrongly, as the division of a famous one did. The
// state stays right, but what the replica says of it is not: on some operations always, on others never. All
// machines of the same make are wrong alike, and with more than f of them a client believes it.
//
// Aims at: f+1 alike for a client (rule 27). The results are part of the history that a checkpoint covers (rule
// 32), so the replica finds out by itself that it differs from the quorum (rule 22).
type wrongResults struct{ base }

// Execute implements Adversary.
func (a *wrongResults) Execute(seq bft.Seq) Execution {
	if seq%2 == 0 {
		return Execution{}
	}
	a.lie("wrong result")
	return Execution{Apply: func(m exec.StateMachine, ctx exec.Context, op []byte) []byte {
		return wrongResult(append([]byte{0}, m.Apply(ctx, op)...))[1:]
	}}
}
