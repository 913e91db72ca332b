package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Pre-prepares delayed to just under the timeout.
//
// A primary that proposes nothing is deposed; one that proposes everything as late as it dares is not,
// and takes a cluster of milliseconds down to the pace of its timeouts (Clement et al., "Making
// Byzantine fault tolerant systems tolerate Byzantine faults", 2009). This one finds out how far it may
// go: each proposal leaves a little later than the one before, until it is deposed. When it leads again
// it stays just under that.
//
// Aims at: rules 13 and 14: a request that no pre-prepare covers ends in suspicion after a multiple of
// the round trip, not of the request timeout.
type delay struct {
	reign
	// late is by how much the newest proposal is delayed, most what has not led to suspicion, 0 if none has.
	late, most bft.Time
	delays     map[slot]bft.Time
	proposed   bool // in this view
}

func newDelay(env Env) Adversary {
	return &delay{reign: newReign(env), late: env.Timeout / 20, delays: make(map[slot]bft.Time)}
}

// Send implements Adversary: it sees how far it went too far.
func (a *delay) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	a.note(e)
	if wire.TypeOf(out.Frame) == bft.TypeViewChange && a.own(e) && a.proposed {
		a.most, a.proposed = a.late*2/3, false
		a.late = a.most / 2
	}
	return []bft.Outbound{out}
}

// Schedule implements Adversary.
func (a *delay) Schedule(p Passing) Fate {
	if p.From != a.Self || wire.TypeOf(p.Frame) != bft.TypePrePrepare {
		return a.reign.Schedule(p)
	}
	h, err := wire.Header(wire.Envelope(p.Frame))
	if err != nil {
		return Fate{}
	}
	key := slot{h.View, h.Seq}
	late, ok := a.delays[key]
	if !ok {
		if late = a.late * 115 / 100; a.most > 0 {
			late = min(late, a.most)
		}
		a.late, a.delays[key], a.proposed = late, late, true
	}
	a.lie("pre-prepare delayed")
	return Fate{Delay: late}
}
