package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Skipped numbers and floods beyond the high watermark.
//
// The primary leaves a number out. What it proposes above the gap prepares and commits, but nothing of
// it can be executed before the gap is filled, and nobody can fill it in this view: the requests are
// ordered, nobody need time them any more, and yet they are not done. Until the heal the accomplices also
// have the commits above the gap reach a single honest replica, so that the next view must find them
// above a number of which nobody knows anything. Besides, the primary floods: proposals for numbers
// beyond anybody's high watermark, to be kept until their time comes.
//
// Aims at: the time from the pre-prepare to the execution, not to the commit (rule 13), null requests
// for the gaps of O (OSDI'99 §4.4, rule 7), watermarks and the bound on what is kept (rule 6).
type skip struct {
	reign
	// ahead is how many numbers were skipped in the own view so far, moved where each own number went.
	ahead map[uint64]uint64
	moved map[slot]uint64
	// gaps are the lowest numbers that accomplices skipped in a view, as the others see them.
	gaps map[uint64]gap
	// stable is the highest low watermark that was heard of.
	stable uint64
}

// gap is the lowest number that was skipped in a view.
type gap struct {
	next    uint64 // the number that no gap is expected below
	lowest  uint64 // 0: none so far
	favour  bft.ReplicaID
	starved bool
}

func newSkip(env Env) Adversary {
	return &skip{reign: newReign(env), ahead: make(map[uint64]uint64), moved: make(map[slot]uint64), gaps: make(map[uint64]gap)}
}

// Receive implements Adversary.
func (a *skip) Receive(_ bft.ReplicaID, frame []byte) bool {
	var s bftpb.Status
	if wire.TypeOf(frame) == bft.TypeStatus && wire.Read(bft.TypeStatus, frame, &s) == nil {
		a.stable = max(a.stable, s.Stable)
	}
	return true
}

// Send implements Adversary.
func (a *skip) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypePrePrepare:
		if p, ok := a.proposal(out.Frame); ok {
			return []bft.Outbound{{To: out.To, Frame: a.move(p, out.Frame)}}
		}
	case t == bft.TypeVotes && a.own(e):
		return []bft.Outbound{{To: out.To, Frame: a.votes(e, out.Frame)}}
	}
	return []bft.Outbound{out}
}

// move gives a proposal the number that it shall have.
func (a *skip) move(p proposal, frame []byte) []byte {
	key := p.slot()
	seq, ok := a.moved[key]
	if !ok {
		if a.chance(15) {
			a.ahead[key.view] += 1 + uint64(a.Rand.IntN(2))
		}
		seq = key.seq + a.ahead[key.view]
		a.moved[key] = seq
	}
	if seq == key.seq {
		return frame
	}
	a.lie("number skipped")
	p.header.Seq = seq
	return a.put(p)
}

// votes makes own votes those for the numbers that the others know.
func (a *skip) votes(e *bftpb.Envelope, frame []byte) []byte {
	v, err := wire.Votes(e)
	if err != nil || a.ahead[v.View] == 0 {
		return frame
	}
	for _, x := range v.Votes {
		if seq, ok := a.moved[slot{v.View, x.Seq}]; ok {
			x.Seq = seq
		}
	}
	a.lie("votes for skipped numbers")
	return a.seal(bft.TypeVotes, wire.Marshal(v))
}

// Schedule implements Adversary.
func (a *skip) Schedule(p Passing) Fate {
	if f := a.reign.Schedule(p); f.Lose || !a.first() {
		return f
	}
	switch wire.TypeOf(p.Frame) {
	case bft.TypePrePrepare:
		if h, err := wire.Header(wire.Envelope(p.Frame)); err == nil && a.Plan.accomplice(p.From) {
			a.see(h.View, h.Seq)
		}
	case bft.TypeVotes:
		if a.starves(p) {
			a.lie("commit above a gap lost")
			return Fate{Lose: true}
		}
	}
	return Fate{}
}

// see notes the first gap in what an accomplice proposes. The first number of a view may follow an O.
func (a *skip) see(view, seq uint64) {
	g, ok := a.gaps[view]
	if !ok {
		honest := a.Plan.honest()
		g = gap{next: seq, favour: honest[a.Rand.IntN(len(honest))], starved: a.chance(60)}
	}
	if seq > g.next && g.lowest == 0 {
		g.lowest = g.next
	}
	g.next = max(g.next, seq+1)
	a.gaps[view] = g
}

// starves tells whether a message has commits above a gap that its receiver shall not get.
func (a *skip) starves(p Passing) bool {
	if a.Plan.accomplice(p.To) || a.Plan.accomplice(p.From) {
		return false
	}
	v, err := wire.Votes(wire.Envelope(p.Frame))
	if err != nil {
		return false
	}
	g := a.gaps[v.View]
	if g.lowest == 0 || !g.starved || p.To == g.favour {
		return false
	}
	for _, x := range v.Votes {
		if x.Phase == uint32(bft.PhaseCommit) && x.Seq > g.lowest {
			return true
		}
	}
	return false
}

// Inject implements Adversary: the flood.
func (a *skip) Inject(bft.Time) []bft.Outbound {
	if !a.leads() || !a.chance(20) {
		return nil
	}
	var sent []bft.Outbound
	for range 1 + a.Rand.IntN(8) {
		h := &bftpb.Header{View: a.view, Seq: a.stable + uint64(a.Window) + 1 + uint64(a.Rand.IntN(int(3*a.Window)))}
		a.lie("proposal beyond the high watermark")
		sent = append(sent, bft.Outbound{To: bft.Everyone, Frame: a.put(proposal{header: h})})
	}
	return sent
}
