package byz

import (
	"bytes"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The certificate moved to another place.
//
// Every vote in it is genuine, and for something else. To one that lags the accomplices serve what committed at
// another number; what was only prepared, as if it were committed; votes of one view under the name of another;
// their own commits for another epoch or another cluster. In their view-changes they lift what prepared once to a view
// in which an accomplice led, where it would win over what was prepared in between, and to numbers at which
// it was never proposed.
//
// Aims at: rule 2: certificates are bound to view, number, type, epoch and cluster.
type moved struct{ witness }

func newMoved(env Env) Adversary {
	a := &moved{newWitness(env)}
	a.testify = a.lift
	return a
}

// lift puts genuine prepares into certificates of a later view, or of another number.
func (a *moved) lift(t *testimony) bool {
	view, primary, ok := a.ledBelow(t.view)
	if !ok {
		return false
	}
	lifted := false
	for seq := t.stable + 1; seq <= min(a.Plan.shift.top(), t.stable+uint64(a.Window)); seq++ {
		from := slot{view, seq}
		for v := view; from.view == view && v > 0; v-- { // the oldest is what others have replaced
			if _, ok := a.Plan.watch.offers[slot{view - v, seq}]; ok {
				from.view = view - v
			}
		}
		name := "certificate of an older view"
		if a.chance(40) {
			from.seq, name = seq+1, "certificate of another number"
		}
		o, ok := a.Plan.watch.offers[from]
		if !ok || from == (slot{view, seq}) {
			continue
		}
		votes := slices.DeleteFunc(slices.Clone(a.Plan.watch.votes[ballot{from, bft.PhasePrepare, o.digest}]),
			func(e *bftpb.Envelope) bool { return e.Signer == uint32(primary.Self) })
		if len(votes) < a.quorum()-1 {
			continue
		}
		pre := primary.Seal(bft.TypePrePrepare, wire.Marshal(&bftpb.Header{View: view, Seq: seq, Body: o.of, Time: o.time}))
		a.lie(name)
		lifted = true
		t.put(certificate{seq: seq, view: view, pre: pre, votes: votes[:a.quorum()-1]})
	}
	return lifted
}

// Inject implements Adversary: it helps one that lags, in its way.
func (a *moved) Inject(bft.Time) []bft.Outbound {
	if !a.chance(50) {
		return nil
	}
	to := a.peer()
	want := a.Plan.watch.executed[to] + 1
	d := &bftpb.Data{}
	if c := a.misplace(want); c != nil {
		d.Committed = []*bftpb.Committed{c}
		return []bft.Outbound{{To: to, Frame: wire.Frame(bft.TypeData, d)}}
	}
	return nil
}

// misplace makes a commit certificate for a number out of votes for something else.
func (a *moved) misplace(seq uint64) *bftpb.Committed {
	var at slot
	phase, name := bft.PhaseCommit, ""
	how := a.Rand.IntN(4)
	for v := a.Plan.watch.entered + 1; v > 0 && at.seq == 0; v-- {
		for _, x := range []slot{{v - 1, seq}, {v - 1, seq + 1}, {v - 1, max(seq, 2) - 1}} {
			if _, ok := a.Plan.watch.offers[x]; ok && (how != 0 || x.seq != seq) && (how == 0 || x.seq == seq) {
				at = x
				break
			}
		}
	}
	o, ok := a.Plan.watch.offers[at]
	if !ok || o.time != 0 && o.body == nil {
		return nil
	}
	view := at.view
	switch how {
	case 0:
		name = "commits of another number"
	case 1:
		phase, name = bft.PhasePrepare, "prepares as commits"
	case 2:
		view, name = view+1, "commits of another view"
	case 3:
		name = "commits for another epoch and cluster"
	}
	votes := slices.Clone(a.Plan.watch.votes[ballot{at, phase, o.digest}])
	if how == 3 && len(votes) > 0 {
		votes[0] = a.foreign(votes[0])
	}
	if len(votes) < a.quorum() {
		return nil
	}
	a.lie(name)
	return &bftpb.Committed{Seq: seq, View: view, Body: o.of, Time: o.time, Content: &bftpb.Body{Bundles: o.body}, Votes: votes[:a.quorum()]}
}

// foreign is the same vote by this member, for another epoch or in another cluster.
func (a *moved) foreign(e *bftpb.Envelope) *bftpb.Envelope {
	m := a.Member
	if a.chance(50) {
		m.Epoch++
	} else {
		m.Cluster[0] ^= 1
	}
	return m.Seal(bft.TypeVotes, bytes.Clone(e.Payload))
}
