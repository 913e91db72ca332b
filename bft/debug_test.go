package bft

import "fmt"

func (r *Replica) DebugPool() string {
	s := ""
	for _, x := range r.pool.inOrder() {
		stage := "none"
		switch x.stage {
		case &r.pool.fresh:
			stage = "fresh"
		case &r.pool.passed:
			stage = "passed"
		case &r.pool.parked:
			stage = "parked"
		}
		m := r.pool.sessions[x.bundle.Session]
		s += fmt.Sprintf(" [%s session %d first %d ops %d stage %s since %v slot %v heard %v asked %v valid %v seq %d standing %d mark %v low %d d %v]", x.bundle.Digest.Short(), x.bundle.Session, x.bundle.First, len(x.bundle.Ops), stage, x.since.Duration(), r.pool.slotTime.Duration(), x.heard, x.asked, x.valid, x.seq, r.pool.standing(x.bundle), m != nil, 0, r.suspectAfter().Duration())
	}
	return s + fmt.Sprint(" uncommitted ", r.uncommitted(), " lacking ", len(r.lacking), " wants ", len(r.wanted))
}
