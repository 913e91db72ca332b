package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// A new-view with altered O.
//
// The new primary has a quorum of view-changes, and they determine what it must propose again. It
// proposes something else: null requests where something had prepared, the same with another time, two
// numbers exchanged, one fewer or one more than there should be. What it replaces may have been executed
// already. So that somebody is left who has not, the accomplices keep votes and answers from one honest
// replica as long as an honest primary leads. Who enters the view without comparing votes for the
// altered O, and the one left behind executes it.
//
// Aims at: rule 7: backups recompute O by the same function and compare every entry.
type alteredO struct {
	newViews
	behind []bool
}

func newAlteredO(env Env) Adversary { return &alteredO{newViews: newNewViews(env)} }

// Schedule implements Adversary: one honest replica is left behind.
func (a *alteredO) Schedule(p Passing) Fate {
	if f := a.reign.Schedule(p); f.Lose || !a.first() || a.Plan.accomplice(p.To) {
		return f
	}
	if a.behind == nil {
		a.behind = a.Plan.side(0, true)
	}
	if !a.behind[p.To] {
		return Fate{}
	}
	switch wire.TypeOf(p.Frame) {
	case bft.TypeVotes:
		v, err := wire.Votes(wire.Envelope(p.Frame))
		if err != nil || v.View > 0 && a.Plan.accomplice(a.primary(v.View)) {
			return Fate{}
		}
	case bft.TypeData:
		var d bftpb.Data
		if wire.Read(bft.TypeData, p.Frame, &d) != nil || len(d.Committed)+len(d.Checkpoint) == 0 && d.Part == nil {
			return Fate{}
		}
	case bft.TypeCheckpoint:
	default:
		return Fate{}
	}
	a.lie("one left behind")
	return Fate{Lose: true}
}

// Send implements Adversary.
func (a *alteredO) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypeViewChange && a.own(e):
		a.learn(e)
	case t == bft.TypeNewView && a.own(e):
		frame := a.inPlace(out.Frame, "altered O", func() []byte {
			v, err := wire.NewView(e)
			if err != nil {
				return nil
			}
			o, ok := a.determine(v.ViewChanges)
			if !ok {
				return nil
			}
			o.props = a.alter(o.props)
			a.fill(v, o)
			return a.seal(bft.TypeNewView, wire.Marshal(v))
		})
		return []bft.Outbound{{To: out.To, Frame: frame}}
	}
	return []bft.Outbound{out}
}

// alter makes another O.
func (a *alteredO) alter(props []bft.Proposal) []bft.Proposal {
	last := len(props) - 1
	how := a.Rand.IntN(8)
	if how == 0 || last < 0 {
		return append(props, bft.Null) // one more than there should be
	}
	changed := false
	switch how {
	case 1:
	case 2:
		changed = props[0] != props[last]
		props[0], props[last] = props[last], props[0]
	case 3, 4:
		for i := range props {
			if props[i] != bft.Null {
				props[i].Time++
				changed = true
			}
		}
	default:
		for i := range props {
			changed = changed || props[i] != bft.Null
			props[i] = bft.Null
		}
	}
	if !changed {
		return props[:last] // one fewer
	}
	return props
}
