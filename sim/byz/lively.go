package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// lively is a primary that makes proposals besides those of its replica, and so gives all of them their
// numbers: what the replica proposes moves up.
type lively struct {
	reign
	// top is the highest number that was proposed in an own view, moved where each own number went.
	top   map[uint64]uint64
	moved map[slot]uint64
	// now is the time when it was last told, clock by how much that which the replica proposes is ahead of it; 0
	// before it has proposed anything.
	now   bft.Time
	clock int64
	// stable and executed are the highest that peers said of themselves.
	stable, executed uint64
}

func newLively(env Env) lively {
	return lively{reign: newReign(env), top: make(map[uint64]uint64), moved: make(map[slot]uint64)}
}

// Receive implements Adversary.
func (a *lively) Receive(_ bft.ReplicaID, frame []byte) bool {
	var s bftpb.Status
	if wire.TypeOf(frame) == bft.TypeStatus && wire.Read(bft.TypeStatus, frame, &s) == nil {
		a.stable, a.executed = max(a.stable, s.Stable), max(a.executed, s.Executed)
	}
	return true
}

// begin notes where the numbers of an own view begin: above its O, and above what is executed.
func (a *lively) begin(e *bftpb.Envelope) {
	v, err := wire.NewView(e)
	if err != nil || !a.own(e) {
		return
	}
	if _, ok := a.top[v.View]; ok {
		return
	}
	top := max(a.executed, a.stable)
	for _, p := range v.PrePrepares {
		if h, err := wire.Header(p); err == nil {
			top = max(top, h.Seq)
		}
	}
	a.top[v.View] = top
}

// number is that of a proposal of the replica: its own or a higher one, jump numbers above the last.
func (a *lively) number(key slot, jump uint64) uint64 {
	seq, ok := a.moved[key]
	if !ok {
		seq = max(key.seq, a.top[key.view]+1+jump)
		a.top[key.view], a.moved[key] = seq, seq
	}
	return seq
}

// next makes a proposal of one's own, for the number that follows: of these bundles, or the null one. It is
// false where no proposal would be taken, or no time is known for it.
func (a *lively) next(list []byte) (proposal, bool) {
	seq := a.top[a.view] + 1
	if !a.leads() || seq > a.stable+uint64(a.Window) || len(list) > 0 && a.clock == 0 {
		return proposal{}, false
	}
	a.top[a.view] = seq
	p := proposal{header: &bftpb.Header{View: a.view, Seq: seq, Time: int64(a.now) + a.clock}}
	p.become(list)
	return p, true
}

// votes makes own votes those for the numbers that the others know.
func (a *lively) votes(e *bftpb.Envelope, frame []byte) []byte {
	v, err := wire.Votes(e)
	if err != nil {
		return frame
	}
	changed := false
	for _, x := range v.Votes {
		if seq, ok := a.moved[slot{v.View, x.Seq}]; ok && seq != x.Seq {
			x.Seq, changed = seq, true
		}
	}
	if !changed {
		return frame
	}
	a.lie("votes for numbers that moved")
	return a.seal(bft.TypeVotes, wire.Marshal(v))
}

// Send implements Adversary.
func (a *lively) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypePrePrepare:
		if p, ok := a.proposal(out.Frame); ok {
			return []bft.Outbound{{To: out.To, Frame: a.move(p, out.Frame, 0, "number moved")}}
		}
	case t == bft.TypeNewView:
		a.begin(e)
	case t == bft.TypeVotes && a.own(e):
		return []bft.Outbound{{To: out.To, Frame: a.votes(e, out.Frame)}}
	}
	return []bft.Outbound{out}
}

// move gives a proposal the number that it shall have.
func (a *lively) move(p proposal, frame []byte, jump uint64, lie string) []byte {
	key := p.slot()
	if p.header.Time != 0 {
		a.clock = p.header.Time - int64(a.now)
	}
	seq := a.number(key, jump)
	if seq == key.seq {
		return frame
	}
	a.lie(lie)
	p.header.Seq = seq
	return a.put(p)
}

// Inject implements Adversary: null requests, so that something is always being proposed.
func (a *lively) Inject(now bft.Time) []bft.Outbound {
	a.now = now
	if _, begun := a.top[a.view]; !begun {
		return nil
	}
	if a.top[a.view] > a.executed+4 {
		return nil // what is proposed shall commit, too
	}
	p, ok := a.next(nil)
	if !ok {
		return nil
	}
	a.lie("null request beside")
	return []bft.Outbound{{To: bft.Everyone, Frame: a.put(p)}}
}
