package byz

import "github.com/baluarte-bft/baluarte/bft"

// isolation is what the accomplices do to have a replica that lags: until the heal they lose what the
// honest ones send to it. Nobody else is touched, so that there is something to lag behind. The first
// accomplice does it.
type isolation struct{ victim bft.ReplicaID }

// newIsolation chooses the victim. Whoever lags asks one of those who signed the certificate first, by
// its own number; if there is one who would ask an accomplice, it is taken.
func newIsolation(env *Env) isolation {
	honest := env.Plan.honest()
	i := isolation{victim: honest[len(honest)-1]}
	for _, id := range honest {
		if env.Plan.accomplice(id % bft.ReplicaID(bft.Quorum(env.N))) {
			i.victim = id
		}
	}
	return i
}

// hits tells whether a message is to be lost: one from an honest replica to the victim, once the run has begun.
func (i *isolation) hits(env *Env, p Passing) bool {
	return env.Self == env.Plan.faulty[0] && p.To == i.victim && !env.Plan.accomplice(p.From) && p.Now > env.Timeout/2
}
