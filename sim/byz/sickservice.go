package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// A sick service.
//
// The protocol is in order, but the service that it replicates is not, on up to f of the machines: it has
// a bug that shows on their processor, or uses the order of a map, so that now and then the same operation
// leaves another state and gives another result than elsewhere. At times it hangs and the replica answers
// nothing for a few request timeouts. At times it eats all memory and is killed; it comes back, executes the
// same batch, and may be killed again.
//
// Aims at: f+1 alike before a client believes (rule 27), a checkpoint digest that differs from the quorum's
// and the repair of whoever has it (rule 22), states and parts that are believed by certificate only (rule
// 20), a replier who does not deliver (rule 28), and the others, who must not wait for the slowest.
type sickService struct {
	base
	next   bft.Seq // that something befalls
	killed int     // how often more the same batch kills it
}

func newSickService(env Env) Adversary {
	a := &sickService{base: newBase(env)}
	a.next = bft.Seq(1 + a.Rand.IntN(8))
	return a
}

// Execute implements Adversary.
func (a *sickService) Execute(seq bft.Seq) Execution {
	if seq < a.next {
		return Execution{}
	}
	if a.killed > 0 {
		a.killed--
		a.lie("out of memory")
		return Execution{Crash: true}
	}
	a.next = seq + 1
	switch draw := a.Rand.IntN(60); {
	case draw == 0:
		a.next, a.killed = seq, a.Rand.IntN(3)
		a.lie("out of memory")
		return Execution{Crash: true}
	case draw < 3:
		a.lie("service hangs")
		return Execution{Delay: bft.Time(1+a.Rand.IntN(3)) * a.Timeout}
	}
	// The services of accomplices are one program: they are wrong about the same batches, and alike.
	switch seq % 6 {
	case 1:
		a.lie("nondeterministic result")
		return Execution{Apply: otherResult}
	case 4:
		a.lie("nondeterministic state")
		return Execution{Apply: lostOperation}
	}
	return Execution{}
}

// otherResult applies an operation, and gives a result that is not the others'.
func otherResult(m exec.StateMachine, ctx exec.Context, op []byte) []byte {
	return wrongResult(append([]byte{0}, m.Apply(ctx, op)...))[1:]
}

// lostOperation leaves an operation out, and says that all is well.
func lostOperation(exec.StateMachine, exec.Context, []byte) []byte { return []byte{0} }
