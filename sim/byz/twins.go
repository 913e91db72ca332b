package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Twins.
//
// A replica was cloned: a virtual machine restored from an image while the first one still ran, or a key
// copied to a second server. Two instances now live under one name and one key, each with a disk of its
// own, and each follows the protocol to the letter. Together they are Byzantine: both vote, both are the
// primary of their view, and they never hear of each other. The network does the rest: in each view it
// splits the cluster, one twin and some of the others on one side, the other twin and the rest on the
// other, so that each side takes the twin that it sees for the only one. When the network is healed, each
// twin still speaks only to its side of the others.
//
// The idea is that of Bano, Sonnino, Chursin, Perelman, Li, Ching and Malkhi, "Twins: BFT Systems Made
// Robust" (2021); package sim also enumerates such splits, see sim.Twins.
//
// Aims at: quorums that have an honest replica in common (rules 1 and 7), certificates of distinct
// signers (rule 2); the twins themselves are saved by nothing, as they break rule 19.
type twins struct {
	base
	// view is the highest view of which a message was seen on its way.
	view uint64
	// said are the new-views of this instance's own.
	said map[crypto.Digest]bool
	// awake tells which of the two has started: the first, the second.
	awake [2]bool
	// held is what waits for the other to start.
	held []bft.Outbound
}

func newTwins(env Env) Adversary {
	return &twins{base: newBase(env), said: make(map[crypto.Digest]bool)}
}

// Send implements Adversary: nothing that is signed leaves before both have started, as the second would be told
// what the first has signed, and find out that it is not alone.
func (a *twins) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	if wire.TypeOf(out.Frame) == bft.TypeNewView {
		a.said[crypto.Hash("twin", e.Payload)] = true
	}
	if !a.awake[0] || !a.awake[1] {
		a.lie("waits for its twin")
		a.held = append(a.held, out)
		return nil
	}
	return []bft.Outbound{out}
}

// Inject implements Adversary: what waited leaves.
func (a *twins) Inject(bft.Time) []bft.Outbound {
	if len(a.held) == 0 || !a.awake[0] || !a.awake[1] {
		return nil
	}
	out := a.held
	a.held = nil
	a.lie("waited for its twin")
	return out
}

// Receive implements Adversary: what would tell it that it has a twin does not reach it.
func (a *twins) Receive(_ bft.ReplicaID, frame []byte) bool {
	switch wire.TypeOf(frame) {
	case bft.TypeNewView:
		e := wire.Envelope(frame)
		if a.own(e) && !a.said[crypto.Hash("twin", e.Payload)] {
			a.lie("deaf to its twin")
			return false
		}
	case bft.TypeStatus:
		var s bftpb.Status
		if wire.Read(bft.TypeStatus, frame, &s) == nil && s.AnswersStart && len(s.Newest) > 0 {
			a.lie("deaf to its twin")
			return false
		}
	}
	return true
}

// Schedule implements Adversary: what would pass from one side of the view to the other is lost.
func (a *twins) Schedule(p Passing) Fate {
	if !a.awake[0] || !a.awake[1] {
		a.watch(p)
		return Fate{} // the others are there to be started with
	}
	if v, ok := viewOf(p.Frame); ok {
		a.view = max(a.view, v)
	}
	sides := a.Plan.side(a.view, false)
	if a.side(sides, p.From, p.FromInstance) == a.side(sides, p.To, p.ToInstance) {
		return Fate{}
	}
	twin := a.Plan.accomplice(p.From) || a.Plan.accomplice(p.To)
	// One view in three splits only the twins, so that what one side decided meets the other.
	if !twin && a.view%3 == 2 {
		return Fate{}
	}
	a.lie("twins kept apart")
	return Fate{Lose: true}
}

// watch looks for the first status of each twin that says that it has started.
func (a *twins) watch(p Passing) {
	var s bftpb.Status
	if p.From != a.Self || wire.Read(bft.TypeStatus, p.Frame, &s) != nil || s.Starting || s.AnswersStart {
		return
	}
	if p.FromInstance < a.N {
		a.awake[0] = true
	} else {
		a.awake[1] = true
	}
}

// side is where an instance stands: the first of each twins on one side, the second on the other, and of
// the honest replicas some here, some there.
func (a *twins) side(sides []bool, id bft.ReplicaID, instance int) bool {
	if a.Plan.accomplice(id) {
		return instance >= a.N
	}
	return sides[id]
}

// viewOf is the view that a frame belongs to, if it says one.
func viewOf(frame []byte) (uint64, bool) {
	e := wire.Envelope(frame)
	if e == nil {
		return 0, false
	}
	switch bft.MessageType(e.Type) {
	case bft.TypePrePrepare:
		if h, err := wire.Header(e); err == nil {
			return h.View, true
		}
	case bft.TypeVotes:
		if v, err := wire.Votes(e); err == nil {
			return v.View, true
		}
	case bft.TypeViewChange:
		if v, err := wire.ViewChange(e); err == nil {
			return v.View, true
		}
	case bft.TypeNewView:
		if v, err := wire.NewView(e); err == nil {
			return v.View, true
		}
	}
	return 0, false
}
