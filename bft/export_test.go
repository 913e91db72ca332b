package bft

import "time"

// Sizes gives the number of entries of every map, list and window that peers or clients can make
// grow, for the test that they are bounded.
func (r *Replica) Sizes() map[string]int {
	votes := 0
	for _, at := range r.check.votes {
		votes += len(at)
	}
	return map[string]int{
		"slots": len(r.slots), "early": len(r.early), "bodies": len(r.bodies), "wanted": len(r.wanted), "wantOrder": len(r.wantOrder),
		"held": len(r.held), "lacking": len(r.lacking), "promises": len(r.promises), "pool": len(r.pool.all), "clients": len(r.pool.clients),
		"recent": len(r.pool.recent), "sessions": len(r.pool.sessions), "checkpoints": votes, "view-changes": len(r.change.vcs),
		"extra": len(r.change.extra), "offered": len(r.change.offered), "reads": len(r.reads.waiting), "pending": len(r.out.pending),
		"waiting": len(r.out.waiting), "messages": len(r.out.messages),
	}
}

// Duration prints a time in failures of tests.
func (t Time) Duration() string { return time.Duration(t).String() }
