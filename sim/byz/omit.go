package byz

// The view-change that omits prepared certificates.
//
// What is committed must survive the view change, although the accomplices deny that they ever
// prepared it: their view-changes hold no prepared certificate, and now and then not even their
// stable checkpoint. Or they come up with the oldest certificate that they have for a number,
// genuine, but of a lower view than another one that they keep back. To make that count they shift
// a partition, so that the fewest replicas that there can be know what was executed.
//
// Aims at: the quorum of view-changes (rule 7), certificates kept across views and restarts until
// one of a higher view replaces them (rule 9), the choice of the highest view.
type omit struct {
	witness
	// oldest are the certificates of the lowest view that were seen, by number.
	oldest map[uint64]certificate
}

func newOmit(env Env) Adversary {
	a := &omit{witness: newWitness(env), oldest: make(map[uint64]certificate)}
	a.testify = a.forget
	return a
}

// forget removes certificates from what a view-change says, or puts old ones in their places.
func (a *omit) forget(t *testimony) bool {
	if len(t.prepared) == 0 {
		return false
	}
	if a.chance(50) {
		a.lie("view-change without its certificates")
		t.prepared = nil
		if t.stable > 0 && a.chance(30) {
			a.lie("view-change without its stable checkpoint")
			t.stable, t.checkpoint = 0, nil
		}
		return true
	}
	older := false
	for i, now := range t.prepared {
		old, ok := a.oldest[now.seq]
		if !ok || old.view > now.view {
			a.oldest[now.seq], old = now, now
		}
		if old.view < now.view {
			older = true
			t.prepared[i] = old
			a.lie("view-change with an old certificate")
		}
	}
	return older
}
