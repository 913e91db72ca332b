package sim

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/coverage"
)

// Coverage is what runs exercised: where honest replicas stood when they received messages, of which types, and which
// faults were in force.
type Coverage struct {
	Faults   *coverage.Faults   `json:"faults"`
	Messages *coverage.Messages `json:"messages"`
}

// NewCoverage makes an empty one.
func NewCoverage() *Coverage {
	return &Coverage{coverage.NewFaults(), coverage.NewMessages()}
}

func (c *Coverage) merge(o *Coverage) error {
	if err := c.Faults.Merge(o.Faults); err != nil {
		return err
	}
	return c.Messages.Merge(o.Messages)
}

// Cover runs a campaign and says what its runs exercised, beside what Fuzz says of them.
func Cover(c Campaign) (*Coverage, *Census, *Report, error) {
	total := NewCoverage()
	var failed error
	options := c.Options
	if options == nil {
		options = Draw
	}
	c.Options = func(seed uint64) Options {
		o := options(seed)
		o.Cover = NewCoverage()
		return o
	}
	c.each = func(r *Report) {
		if err := total.merge(r.Options.Cover); err != nil && failed == nil {
			failed = err
		}
	}
	census, report, err := Fuzz(c)
	if err == nil {
		err = failed
	}
	return total, census, report, err
}

// class is the class of failure that the adversary's behaviours belong to, the worst of them.
func (o *Options) class() Class {
	worst := ClassValue
	for _, name := range o.Behaviours {
		switch b, _ := byz.Find(name); b.Role {
		case byz.Value:
		case byz.State:
			if worst == ClassValue {
				worst = ClassState
			}
		default:
			worst = ClassArbitrary
		}
	}
	return worst
}

// inForce are the kinds of faults that go on, of the adversary and of the environment.
func (w *world) inForce() coverage.InForce {
	var all coverage.InForce
	add := func(class Class, lasts Persistence) {
		kind, err := coverage.Fault(string(class), string(lasts))
		if err != nil {
			w.broken("%v", err)
		}
		all |= kind
	}
	if len(w.opts.Behaviours) > 0 {
		add(w.opts.class(), w.opts.lying())
	}
	for _, f := range w.active {
		add(f.Class(), f.Persistence())
	}
	return all
}

// activate notes that a fault has begun, or ended.
func (w *world) activate(f *Fault, on bool) {
	if on {
		w.active = append(w.active, f)
	} else {
		w.active = slices.DeleteFunc(w.active, func(x *Fault) bool { return x == f })
	}
}

// cover notes a message that the replica has received.
func (h *host) cover(m *message) {
	c := h.w.opts.Cover
	if c == nil || !h.honest() {
		return
	}
	info := h.replica.Info()
	stage := h.tracker.Stage(&info)
	c.Faults.Note(stage, h.w.inForce())
	c.Messages.Note(stage, bft.MessageType(m.frame[0]))
	h.tracker.Received(m.frame)
}
