package byz

import "github.com/baluarte-bft/baluarte/bft"

// isolation is what the accomplices do to have a replica that lags: before the heal they lose what the
// honest ones send to one of them, to one after another, each for so long that the others go on without
// it. Nobody else is touched, so that there is something to lag behind. The first accomplice does it.
type isolation struct {
	victims []bft.ReplicaID
	turn    bft.Time // of one victim; it is left alone in the last fifth
}

func newIsolation(env *Env) isolation {
	return isolation{victims: env.Plan.honest(), turn: 5 * env.Timeout}
}

// hits tells whether a message is to be lost: one from an honest replica to the victim of the moment.
func (i *isolation) hits(env *Env, p Passing) bool {
	if env.Self != env.Plan.faulty[0] || env.Plan.accomplice(p.From) || len(i.victims) == 0 {
		return false
	}
	victim := i.victims[int(p.Now/i.turn)%len(i.victims)]
	return p.To == victim && p.Now%i.turn < i.turn*4/5
}
