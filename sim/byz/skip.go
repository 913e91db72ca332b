package byz

import (
	"bytes"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Skipped numbers and floods beyond the high watermark.
//
// The primary leaves a number out. What it proposes above the gap prepares and commits, but nothing of
// it can be executed before the gap is filled, and nobody can fill it in this view: the requests are
// ordered, nobody need time them any more, and yet they are not done. Until the heal the accomplices also
// have the commits above the gap reach a single honest replica, so that the next view must find them
// above a number of which nobody knows anything. Besides, the primary floods: proposals for numbers beyond
// anybody's high watermark, to be kept until their time comes.
//
// Aims at: the time from the pre-prepare to the execution, not to the commit (rule 13), null requests
// for the gaps of O (OSDI'99 §4.4, rule 7), watermarks and the bound on what is kept (rule 6).
type skip struct {
	lively
	// skipped are the own views with a gap.
	skipped map[uint64]bool
	// gaps are the lowest numbers that accomplices skipped in a view, as the others see them.
	gaps map[uint64]gap
	// waiting are the bundles that clients sent and nobody proposed yet, the oldest first.
	waiting []bft.Digest
}

// gap is the lowest number that was skipped in a view.
type gap struct {
	next    uint64 // the number that no gap is expected below
	lowest  uint64 // 0: none so far
	favour  bft.ReplicaID
	starved bool
}

func newSkip(env Env) Adversary {
	return &skip{lively: newLively(env), skipped: make(map[uint64]bool), gaps: make(map[uint64]gap)}
}

// Request implements Adversary.
func (a *skip) Request(_ bft.ClientID, frame []byte) bool {
	var r bftpb.Request
	if wire.Read(bft.TypeRequest, frame, &r) != nil || len(r.Signature) != len(crypto.Signature{}) {
		return true
	}
	b, err := bft.DecodeBundle(r.Payload, crypto.Signature(r.Signature), bft.WindowOps, bft.MaxBundleBytes)
	if err == nil && len(a.waiting) < 256 && !slices.Contains(a.waiting, b.Digest) {
		a.waiting = append(a.waiting, b.Digest)
	}
	return true
}

// Receive implements Adversary: requests that are passed on, what others propose, and the end of its own view.
func (a *skip) Receive(from bft.ReplicaID, frame []byte) bool {
	switch wire.TypeOf(frame) {
	case bft.TypeRequest:
		a.Request(bft.ClientID{}, frame)
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		if wire.Read(bft.TypePrePrepare, frame, &p) == nil {
			a.cover(p.Body.GetBundles())
		}
		if h, err := wire.Header(p.Header); err == nil {
			a.view = max(a.view, h.View)
		}
	case bft.TypeNewView:
		if v, err := wire.NewView(wire.Envelope(frame)); err == nil {
			a.view = max(a.view, v.View)
		}
	}
	return a.lively.Receive(from, frame)
}

// cover notes that bundles were proposed.
func (a *skip) cover(list []byte) {
	for d := range slices.Chunk(list, 32) {
		a.waiting = slices.DeleteFunc(a.waiting, func(x bft.Digest) bool { return bytes.Equal(x[:], d) })
	}
}

// Send implements Adversary.
func (a *skip) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) == bft.TypeViewChange && a.own(e) && a.leads() && a.skipped[a.view] {
		a.lie("withheld view-change") // its replica despairs of the gap, too
		return nil
	}
	p, ok := a.proposal(out.Frame)
	if !ok {
		return a.lively.Send(out)
	}
	a.note(e)
	a.cover(p.list)
	jump := uint64(0)
	if _, again := a.moved[p.slot()]; !again && a.chance(15) {
		jump = 1 + uint64(a.Rand.IntN(2))
		a.skipped[a.view] = true
	}
	return []bft.Outbound{{To: out.To, Frame: a.move(p, out.Frame, jump, "number skipped")}}
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

// Inject implements Adversary: the flood, and above a gap all that waits, for what is proposed nobody asks for.
func (a *skip) Inject(now bft.Time) []bft.Outbound {
	a.now = now
	if !a.leads() {
		return nil
	}
	var sent []bft.Outbound
	if a.skipped[a.view] && len(a.waiting) > 0 {
		var list []byte
		for _, d := range a.waiting {
			list = append(list, d[:]...)
		}
		if p, ok := a.next(list); ok {
			a.lie("proposal above a gap")
			sent = append(sent, bft.Outbound{To: bft.Everyone, Frame: a.put(p)})
			a.waiting = nil
		}
	}
	if !a.chance(20) {
		return sent
	}
	for range 1 + a.Rand.IntN(8) {
		h := &bftpb.Header{View: a.view, Seq: a.stable + uint64(a.Window) + 1 + uint64(a.Rand.IntN(int(3*a.Window)))}
		a.lie("proposal beyond the high watermark")
		sent = append(sent, bft.Outbound{To: bft.Everyone, Frame: a.put(proposal{header: h})})
	}
	return sent
}
