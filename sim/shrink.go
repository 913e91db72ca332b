package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
)

// Shrink says how a failing run is made small.
type Shrink struct {
	// Options are the failing run.
	Options Options
	// Oracle, if set, is the one that is to break, instead of the one that breaks first in the run. If others break
	// before it in the end, the script has them passed over.
	Oracle string
	// Runs bounds the number of runs that are made; 0: 3,000.
	Runs int
	// Progress, if set, is told after each run how many were made and how large the smallest failing one is.
	Progress func(runs, size int)
}

// ErrNoFailure: there is nothing to shrink, for every oracle holds.
var ErrNoFailure = errors.New("sim: the run does not fail: there is nothing to shrink")

// shrinking is the state of a Shrink.
type shrinking struct {
	Shrink
	oracle string
	best   Options
	report *Report
	made   int
	told   int // of them, to Progress
	// tried are the options that were run, so that nothing is run twice.
	tried map[string]bool
	err   error
}

// Do looks for the failure in small clusters under the same adversary, and makes what it has found, or else the run
// itself, smaller for as long as the same oracle breaks: fewer faults, lies, messages, requests and replicas, a plainer
// network and machine, a shorter time. It returns the smallest as a script, and its report; ErrNoFailure if no
// oracle breaks, or Oracle does not.
func (s Shrink) Do() (*Script, *Report, error) {
	x := &shrinking{Shrink: s, best: s.Options, tried: make(map[string]bool)}
	if x.Runs == 0 {
		x.Runs = 3000
	}
	if err := x.begin(); err != nil {
		return nil, nil, err
	}
	for before := -1; before != x.size(&x.best) && x.made < x.Runs && x.err == nil; {
		before = x.size(&x.best)
		x.round()
	}
	return x.script(), x.report, x.err
}

// begin finds the failure that is made small: that of the run or, if the oracle that is wanted does not break in
// it, one of a small cluster under the same adversary.
func (x *shrinking) begin() error {
	report, err := Run(x.best)
	if err != nil {
		return err
	}
	if report.OK() {
		return ErrNoFailure
	}
	x.oracle, x.report = report.Failure.Oracle, report
	if x.Oracle == "" || x.Oracle == x.oracle {
		x.restart(min(smallWorlds, x.Runs/4))
		return x.err
	}
	x.oracle, x.best.Demand = x.Oracle, []string{x.Oracle}
	if x.restart(min(smallWorlds, x.Runs/4)) || x.err != nil {
		return x.err
	}
	if report, err = Run(x.best); err == nil && report.OK() {
		err = ErrNoFailure
	}
	x.report = report
	return err
}

// round tries everything once.
func (x *shrinking) round() {
	x.groups()
	x.faults()
	x.lies()
	x.fewer()
	x.lists()
	x.numbers()
	x.losses()
	x.seeds()
}

// try runs a candidate that is smaller than the best, and takes it if it fails in the same way.
func (x *shrinking) try(change func(o *Options)) bool {
	o := clone(&x.best)
	change(&o)
	report := x.fails(&o)
	if report != nil {
		x.best, x.report = o, report
	}
	x.tell()
	return report != nil
}

// fails runs a candidate that is smaller than the best and was not run before. It returns the report if the oracle
// breaks, nil if it does not.
func (x *shrinking) fails(o *Options) *Report {
	if x.err != nil || x.made >= x.Runs || x.size(o) >= x.size(&x.best) || o.Validate() != nil {
		return nil
	}
	key := text(&Script{Options: *o})
	if x.tried[key] {
		return nil
	}
	x.tried[key] = true
	x.made++
	report, err := Run(*o)
	if err != nil {
		x.err = err
		return nil
	}
	if report.OK() || report.Failure.Oracle != x.oracle {
		return nil
	}
	return report
}

// tell reports how far it is.
func (x *shrinking) tell() {
	if x.Progress != nil && x.made > x.told {
		x.told = x.made
		x.Progress(x.made, x.size(&x.best))
	}
}

func clone(o *Options) Options {
	c := *o
	c.Faults = nil
	for _, f := range o.Faults {
		f.Targets = slices.Clone(f.Targets)
		c.Faults = append(c.Faults, f)
	}
	c.Behaviours, c.Byzantine, c.Lies, c.Drops = slices.Clone(o.Behaviours), slices.Clone(o.Byzantine), slices.Clone(o.Lies), slices.Clone(o.Drops)
	return c
}

func text(s *Script) string {
	var b strings.Builder
	_, _ = s.WriteTo(&b) // a Builder does not fail
	return b.String()
}

// size is how much there is to read and to run: first the lines and words of the script, then how much happens.
func (x *shrinking) size(o *Options) int {
	t := text(&Script{Options: *o})
	told := o.Lies.Count()
	if o.Lies == nil && len(o.Behaviours) > 0 {
		told = 100_000
	}
	lost := 1000 * o.Network.Loss
	for _, d := range o.Drops {
		lost += d.Messages.Count()
	}
	return 1000*(strings.Count(t, "\n")+len(o.Byzantine)+len(o.Faults)+2*o.Protocol.N) + 40*len(strings.Fields(t)) + 20*told + 10*lost + x.work(o)
}

// work is how much happens in a run. That it ends soon is worth a line of the script that says so.
func (x *shrinking) work(o *Options) int {
	calls, short := o.Load.Calls, 0
	if calls == 0 {
		calls = 200
	}
	if o.Load != Plain().Load {
		short -= 1000
	}
	if o.Heal < Plain().Heal {
		short -= 1080
	}
	return o.Load.Clients*o.Load.Outstanding + o.Load.Keys + 10*int(o.Load.Sequences) + calls + 10*int(o.Heal/(100*millisecond)) + short
}

// groups makes whole groups of settings plain, all at once or one by one.
func (x *shrinking) groups() {
	plain := Plain()
	x.try(func(o *Options) {
		o.Network, o.Machine, o.Load, o.Protocol = plain.Network, plain.Machine, plain.Load, plain.Protocol
		o.demand()
	})
	x.try(func(o *Options) { n := o.Protocol.N; o.Protocol = plain.Protocol; o.Protocol.N = n })
	x.try(func(o *Options) { o.Machine = plain.Machine })
	x.try(func(o *Options) { o.Network = plain.Network })
	x.try(func(o *Options) { bad := o.Load.BadClients; o.Load = plain.Load; o.Load.BadClients = bad })
	x.try(func(o *Options) {
		o.Behaviours, o.Byzantine, o.Lies, o.Lying = nil, nil, nil, ""
		o.Load.BadClients = 0
	})
	x.try(func(o *Options) { o.Signatures = "fast" })
	x.try(func(o *Options) { o.Lying = "" })
	x.try(func(o *Options) { o.Beyond = false })
	x.try(func(o *Options) { o.Demand = nil })
	for _, group := range settings {
		for _, s := range group.of {
			x.try(func(o *Options) { _ = s.parse(o, s.print(&plain)) }) // what it printed itself, it reads
		}
	}
}

// faults leaves out faults, and targets of those that stay.
func (x *shrinking) faults() {
	keep(x.best.Faults, func(some []Fault) bool { return x.try(func(o *Options) { o.Faults = slices.Clone(some) }) })
	for i := range x.best.Faults {
		for k := len(x.best.Faults[i].Targets) - 1; k >= 0 && len(x.best.Faults[i].Targets) > 1; k-- {
			x.try(func(o *Options) { o.Faults[i].Targets = slices.Delete(o.Faults[i].Targets, k, k+1) })
		}
	}
}

// lies leaves out lies.
func (x *shrinking) lies() {
	if len(x.best.Behaviours) == 0 {
		return
	}
	if x.best.Lies == nil {
		told := x.observe(func(e *Event) bool { return e.Kind == KindLie })
		var numbers []int
		for _, e := range told {
			numbers = append(numbers, e.Number)
		}
		x.try(func(o *Options) { o.Lies = RangesOf(numbers) })
	}
	if x.best.Lies != nil {
		keep(x.best.Lies.Numbers(), func(some []int) bool { return x.try(func(o *Options) { o.Lies = RangesOf(some) }) })
	}
	for _, name := range slices.Clone(x.best.Behaviours) {
		x.try(func(o *Options) {
			o.Behaviours = slices.DeleteFunc(o.Behaviours, func(b string) bool { return b == name })
		})
	}
}

// observe runs the best once more and returns the events that match, up to the failure.
func (x *shrinking) observe(match func(e *Event) bool) []Event {
	var out []Event
	o := clone(&x.best)
	o.Observe = func(e *Event) {
		if match(e) {
			out = append(out, *e)
		}
	}
	if _, err := Run(o); err != nil {
		x.err = err
	}
	return out
}

// fewer leaves out replicas: of those that are beyond, the faults are left out too.
func (x *shrinking) fewer() {
	for n := 4; n < x.best.Protocol.N; n++ {
		taken := x.try(func(o *Options) {
			o.Protocol.N = n
			gone := func(id bft.ReplicaID) bool { return int(id) >= n }
			o.Byzantine = slices.DeleteFunc(o.Byzantine, gone)
			if most := bft.MaxFaulty(n); !o.Beyond && len(o.Byzantine) > most {
				o.Byzantine = o.Byzantine[:most]
			}
			for i := range o.Faults {
				o.Faults[i].Targets = slices.DeleteFunc(o.Faults[i].Targets, gone)
			}
			o.Faults = slices.DeleteFunc(o.Faults, func(f Fault) bool { return f.validate(o) != nil })
			o.Drops = nil
		})
		if taken {
			return
		}
	}
}

// lists leaves out Byzantine replicas.
func (x *shrinking) lists() {
	if len(x.best.Byzantine) > 1 {
		keep(x.best.Byzantine, func(some []bft.ReplicaID) bool {
			return len(some) > 0 && x.try(func(o *Options) { o.Byzantine = slices.Clone(some) })
		})
	}
}

// numbers makes numbers and times smaller, first at once, then by halves.
func (x *shrinking) numbers() {
	for _, of := range []func(o *Options) *int{
		func(o *Options) *int { return &o.Load.Clients }, func(o *Options) *int { return &o.Load.Outstanding }, func(o *Options) *int { return &o.Load.Keys },
		func(o *Options) *int { return &o.Network.Loss }, func(o *Options) *int { return &o.Network.Duplicate }, func(o *Options) *int { return &o.Network.Reorder },
		func(o *Options) *int { return &o.Load.Linearizable }, func(o *Options) *int { return &o.Load.Stale }, func(o *Options) *int { return &o.Load.Ordered },
		func(o *Options) *int { return &o.Network.ClientLoss }, func(o *Options) *int { return &o.Load.Crashes }, func(o *Options) *int { return &o.Load.AtMostOnce }, func(o *Options) *int { return &o.Load.AtLeastOnce }, func(o *Options) *int { return &o.Load.Maybe },
	} {
		for _, to := range []int{0, 1, 2, *of(&x.best) / 2} {
			if x.try(func(o *Options) { *of(o) = to }) {
				break
			}
		}
	}
	for _, n := range []bft.Seq{1, 2, 4, 8, x.best.Load.Sequences / 2} {
		x.try(func(o *Options) { o.Load.Sequences = max(1, min(n, o.Load.Sequences)) })
	}
	for _, n := range []int{1, 2, 3, 5, 10, 20} {
		x.try(func(o *Options) { o.Load.Calls = n })
	}
	x.times()
}

// times ends the run as early as it fails, and rounds.
func (x *shrinking) times() {
	for _, d := range []Duration{100 * millisecond, 200 * millisecond, 500 * millisecond, second, x.best.Heal / 2, x.best.Heal / second * second} {
		x.try(func(o *Options) {
			o.Heal = d
			for i := range o.Faults {
				o.Faults[i].At, o.Faults[i].Until = min(d, o.Faults[i].At), min(d, o.Faults[i].Until)
			}
		})
	}
	for i := range x.best.Faults {
		for _, unit := range []Duration{second, 100 * millisecond, 10 * millisecond} {
			x.try(func(o *Options) { o.Faults[i].At = o.Faults[i].At / unit * unit })
			x.try(func(o *Options) { o.Faults[i].Until = o.Faults[i].Until / unit * unit })
		}
	}
}

// losses replaces chance by the messages that were lost, and leaves out those that do not matter.
func (x *shrinking) losses() {
	if x.best.Network.Loss > 0 {
		lost := x.observe(func(e *Event) bool { return e.Kind == KindLose })
		x.try(func(o *Options) { o.Network.Loss, o.Drops = 0, dropsOf(lost) })
	}
	type one struct{ from, to, number int }
	var all []one
	for _, d := range x.best.Drops {
		for _, n := range d.Messages.Numbers() {
			all = append(all, one{d.From, d.To, n})
		}
	}
	keep(all, func(some []one) bool {
		return x.try(func(o *Options) {
			o.Drops = nil
			for _, s := range some {
				o.Drops = addDrop(o.Drops, s.from, s.to, s.number)
			}
		})
	})
}

func dropsOf(lost []Event) []Drop {
	var drops []Drop
	for _, e := range lost {
		drops = addDrop(drops, e.From, e.To, e.Number)
	}
	return drops
}

// addDrop adds a message to a list of drops. Those of one link come in their order.
func addDrop(drops []Drop, from, to, number int) []Drop {
	i := slices.IndexFunc(drops, func(d Drop) bool { return d.From == from && d.To == to })
	if i < 0 {
		return append(drops, Drop{from, to, Ranges{{number, number}}})
	}
	if !drops[i].Messages.Has(number) {
		drops[i].Messages = RangesOf(append(drops[i].Messages.Numbers(), number))
	}
	return drops
}

// seeds tries whether another seed needs fewer lies or faults: it does not count as smaller by itself.
func (x *shrinking) seeds() {
	for seed := uint64(1); seed <= 5; seed++ {
		if len(fmt.Sprint(seed)) >= len(fmt.Sprint(x.best.Seed)) || x.best.Load.Sequences < 2 {
			return
		}
		x.try(func(o *Options) { o.Seed, o.Load.Sequences = seed, o.Load.Sequences-1 })
	}
}

// keep finds a small part of all that still does: it leaves out halves, quarters and so on, down to single ones
// (Zeller's ddmin). do tells whether a part is enough, and is called with fewer each time it was.
func keep[T any](all []T, do func(some []T) bool) {
	if len(all) == 0 || do(nil) {
		return
	}
	for parts := 2; len(all) > 1; {
		chunk := (len(all) + parts - 1) / parts
		left := false
		for from := 0; from < len(all); {
			to := min(from+chunk, len(all))
			some := slices.Concat(all[:from], all[to:])
			if len(some) > 0 && do(some) {
				all, left = some, true
				continue // what followed stands here now
			}
			from = to
		}
		if chunk == 1 && !left {
			return
		}
		parts = min(len(all), parts*2)
	}
}

// script writes the best down, with what its lies were and how it ended.
func (x *shrinking) script() *Script {
	f := x.report.Failure
	first, _, _ := strings.Cut(f.Detail, "\n")
	s := &Script{Options: x.best, Expect: f.Oracle, Notes: []string{fmt.Sprintf("%s at %v: %s", f.Oracle, f.At, first)}}
	var told []string
	for _, l := range x.report.Stats.Lies {
		told = append(told, fmt.Sprintf("%s (%d)", l.Name, l.Count))
	}
	if len(told) > 0 {
		s.Notes = append(s.Notes, "Lies: "+strings.Join(told, ", "))
	}
	return s
}
