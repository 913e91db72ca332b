package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Partitions.
//
// Nobody says anything false; the cables do. For a while the replicas are two halves that do not hear each
// other; then one half hears the other and is not heard itself; then a link flaps, up and down faster than
// any timer runs out; then whoever is primary hears everybody, but nobody hears it, so that it goes on
// proposing to the void while the others wait, change views, and find that the next primary is cut off as
// well. Each lasts about a request timeout, so that it ends when the timers of some have just run out and
// those of others have not. At last the network heals, except for the links of the replicas that the
// adversary owns, which go on failing one way.
//
// Aims at: joining f+1 who have left (rule 10), a back-off that has a bound and work that resumes within one
// that does not depend on how long the partition lasted (rule 11), a replica that hears nobody and must not
// drive the others (rule 12), catching up without new requests (rule 21).
type partitions struct {
	base
	// until is when the present state of the network ends, shape what it is.
	until bft.Time
	shape shape
	in    []bool
	view  uint64
	flap  bft.Time
}

// shape is a state of the network.
type shape int

const (
	whole shape = iota
	halves
	oneWay
	flapping
	muted // the primary is not heard
	shapes
)

func newPartitions(env Env) Adversary { return &partitions{base: newBase(env)} }

// Schedule implements Adversary.
func (a *partitions) Schedule(p Passing) Fate {
	if v, ok := viewOf(p.Frame); ok && wire.TypeOf(p.Frame) != bft.TypeViewChange {
		a.view = max(a.view, v)
	}
	if p.Now >= a.until {
		a.turn(p.Now)
	}
	if name := a.cuts(p); name != "" {
		a.lie(name)
		return Fate{Lose: true}
	}
	return Fate{}
}

// turn draws the next state of the network.
func (a *partitions) turn(now bft.Time) {
	a.shape = shape(a.Rand.IntN(int(shapes)))
	a.until = now + a.Timeout/2 + bft.Time(a.Rand.Int64N(int64(3*a.Timeout/2)))
	a.flap = a.Timeout / bft.Time(4+a.Rand.IntN(30))
	a.in = make([]bool, a.N)
	for _, id := range a.Rand.Perm(a.N)[:1+a.Rand.IntN(a.N-1)] {
		a.in[id] = true
	}
}

// cuts names what loses a message now, if anything does.
func (a *partitions) cuts(p Passing) string {
	apart := a.in[p.From] != a.in[p.To]
	switch a.shape {
	case halves:
		if apart {
			return "partition"
		}
	case oneWay:
		if apart && a.in[p.From] {
			return "one-way partition"
		}
	case flapping:
		if apart && p.Now/a.flap%2 == 0 {
			return "flapping link"
		}
	case muted:
		if p.From == a.primary(a.view) {
			return "primary unheard"
		}
	}
	return ""
}
