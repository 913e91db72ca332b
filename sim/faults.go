package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// FaultKind is a class of fault that the environment brings about.
type FaultKind string

// The kinds of faults.
const (
	// Crash ends the process at once. What was not synced is lost, but for a prefix. It restarts
	// from its disk when the fault ends.
	Crash FaultKind = "crash"
	// Blackout crashes all replicas at the same moment.
	Blackout FaultKind = "blackout"
	// Pause stops the process and continues it later, as SIGSTOP and SIGCONT do.
	Pause FaultKind = "pause"
	// Cut loses every message between Targets and the other replicas, both ways.
	Cut FaultKind = "cut"
	// CutFrom loses every message from Targets to the other replicas, and CutTo every one to them.
	CutFrom FaultKind = "cut from"
	CutTo   FaultKind = "cut to"
	// Lossy loses a third of all messages and delays the others.
	Lossy FaultKind = "lossy"
	// CrashOn crashes a replica each time it signs or sends a message of the type On: before or after
	// the signature is reported, or when some peers were sent it and others were not. It restarts
	// soon. Without Targets all replicas do so.
	CrashOn FaultKind = "crash on"
	// SlowDisk makes syncing take twenty times as long at Targets.
	SlowDisk FaultKind = "slow disk"
	// SlowMachine makes executing a batch take up to a tenth of the request timeout at Targets: what
	// the others have executed, and f+1 of them told the client, these do not know yet.
	SlowMachine FaultKind = "slow machine"
)

// Fault is one fault of the environment, on Targets, from At until Until.
type Fault struct {
	Kind    FaultKind       `json:"kind"`
	Targets []bft.ReplicaID `json:"targets,omitempty"`
	// On is the type of the message that a CrashOn waits for, as bft.MessageType prints it.
	On    string   `json:"on,omitempty"`
	At    Duration `json:"at"`
	Until Duration `json:"until"`
}

// String prints the fault for a reader.
func (f Fault) String() string {
	text := string(f.Kind)
	if f.On != "" {
		text += " " + f.On
	}
	if len(f.Targets) > 0 {
		text += fmt.Sprintf(" of %v", f.Targets)
	}
	return fmt.Sprintf("%s, %v to %v", text, f.At, f.Until)
}

// stops tells whether the fault keeps its targets from running: then it counts toward f. What
// happens to all replicas does not count: they come back with what they had promised, nobody
// lies, and nothing is promised about the time until then.
func (f *Fault) stops() bool {
	return f.Kind == Crash || f.Kind == Pause || f.Kind == CrashOn && len(f.Targets) > 0
}

// targets are the replicas that the fault hits.
func (f *Fault) targets(n int) []bft.ReplicaID {
	if len(f.Targets) > 0 {
		return f.Targets
	}
	all := make([]bft.ReplicaID, n)
	for id := range all {
		all[id] = bft.ReplicaID(id)
	}
	return all
}

func (f *Fault) validate(o *Options) error {
	if f.At < 0 || f.Until < f.At || f.Until > o.Heal {
		return fmt.Errorf("sim: fault %v: it is not within 0 and the heal at %v", f, o.Heal)
	}
	for _, id := range f.Targets {
		if int(id) >= o.Protocol.N {
			return fmt.Errorf("sim: fault %v: there is no replica %d", f, id)
		}
	}
	switch f.Kind {
	case Blackout, Lossy:
		if len(f.Targets) != 0 {
			return fmt.Errorf("sim: fault %v: takes no targets", f)
		}
	case CrashOn:
		if !slices.Contains(crashTypes, f.On) {
			return fmt.Errorf("sim: fault %v: needs one of %q to wait for", f, crashTypes)
		}
	case Crash, Pause, Cut, CutFrom, CutTo, SlowDisk, SlowMachine:
		if len(f.Targets) == 0 {
			return fmt.Errorf("sim: fault %v: needs targets", f)
		}
	default:
		return fmt.Errorf("sim: fault of unknown kind %q", f.Kind)
	}
	return nil
}

// crashTypes are the messages at which a replica can be made to crash: those that bind it.
var crashTypes = []string{bft.TypePrePrepare.String(), bft.TypeVotes.String(), bft.TypeCheckpoint.String(),
	bft.TypeViewChange.String(), bft.TypeNewView.String(), bft.TypeStatus.String()}

// checkBudget makes sure that no more than f replicas are Byzantine or stopped at any time.
func checkBudget(o *Options) error {
	for _, f := range o.Faults {
		// The number can only rise when a fault begins.
		if n := len(faultyAt(o, f.At)); n > bft.MaxFaulty(o.Protocol.N) {
			return fmt.Errorf("sim: %d replicas are faulty at %v, but %d of %d may be", n, f.At, bft.MaxFaulty(o.Protocol.N), o.Protocol.N)
		}
	}
	return nil
}

// faultyAt lists the replicas that are Byzantine or stopped at time t.
func faultyAt(o *Options, t Duration) []bft.ReplicaID {
	out := slices.Clone(o.Byzantine)
	for i := range o.Faults {
		f := &o.Faults[i]
		if !f.stops() || t < f.At || t > f.Until {
			continue
		}
		for _, id := range f.Targets {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// drawFaults draws a schedule. What would exceed the budget is left out.
func drawFaults(o *Options) []Fault {
	r := stream(o.Seed, "faults")
	var faults []Fault
	for range r.IntN(8) {
		f := drawFault(r, o)
		with := *o
		with.Faults = append(slices.Clone(faults), f)
		if checkBudget(&with) == nil {
			faults = with.Faults
		}
	}
	if chance(r, 35) {
		faults = append(faults, drawStorm(r, o)...)
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return int(min(1, max(-1, a.At-b.At))) })
	return faults
}

func drawFault(r *rand.Rand, o *Options) Fault {
	n := o.Protocol.N
	f := Fault{Kind: pick(r, Crash, Crash, Crash, CrashOn, CrashOn, CrashOn, Pause, Pause, Cut, Cut, CutFrom, CutTo, Lossy, SlowDisk, SlowMachine, SlowMachine, Blackout)}
	f.At = Duration(between(r, 0, bft.Time(o.Heal)*9/10))
	long := o.Protocol.RequestTimeout * pick(r, Duration(1), 2, 4)
	f.Until = min(o.Heal, f.At+Duration(between(r, 1000, bft.Time(long))))
	switch f.Kind {
	case Crash, CrashOn, Pause:
		// The primaries of the first views are the targets that matter most.
		f.Targets = []bft.ReplicaID{pick(r, 0, 0, 1, 2, bft.ReplicaID(r.IntN(n)))}
		if f.Kind == CrashOn {
			f.On = pick(r, crashTypes...)
			f.Until = min(o.Heal, f.At+2*long)
		}
	case Cut, CutFrom, CutTo, SlowDisk, SlowMachine:
		count := 1 + r.IntN(n/2)
		if f.Kind == SlowMachine {
			count = n - bft.MaxFaulty(n) - 1
			f.Until = min(o.Heal, f.At+2*long)
		}
		for len(f.Targets) < count {
			if id := bft.ReplicaID(r.IntN(n)); !slices.Contains(f.Targets, id) {
				f.Targets = append(f.Targets, id)
			}
		}
		slices.Sort(f.Targets)
	}
	return f
}

// drawStorm draws faults that belong together: the primary is cut off, so that views change, messages
// get lost, so that replicas know different things, and all crash again and again in the midst of it.
func drawStorm(r *rand.Rand, o *Options) []Fault {
	from := Duration(between(r, bft.Time(o.Heal)/20, bft.Time(o.Heal)*6/10))
	until := func(timeouts int) Duration {
		return min(o.Heal, from+o.Protocol.RequestTimeout*Duration(timeouts))
	}
	storm := []Fault{{Kind: Cut, Targets: []bft.ReplicaID{0}, At: from, Until: until(1 + r.IntN(3))}}
	if chance(r, 60) {
		storm = append(storm, Fault{Kind: Lossy, At: from, Until: until(1 + r.IntN(4))})
	}
	on := pick(r, bft.TypePrePrepare, bft.TypeVotes, bft.TypeViewChange, bft.TypeNewView, bft.TypeNewView, bft.TypeCheckpoint)
	return append(storm, Fault{Kind: CrashOn, On: on.String(), At: from, Until: until(2 + r.IntN(5))})
}

// schedule puts the faults on the queue, and the heal.
func (w *world) schedule() {
	for i := range w.opts.Faults {
		f := &w.opts.Faults[i]
		w.q.at(bft.Time(f.At), func() { w.begin(f) })
		w.q.at(bft.Time(f.Until), func() { w.end(f) })
	}
	w.q.at(bft.Time(w.opts.Heal), w.heal)
}

func (w *world) begin(f *Fault) {
	w.trace.note(w.q.now, kindFault, -1, -1, func() string { return "begins: " + f.String() })
	w.stats.Faults++
	switch f.Kind {
	case Crash:
		for _, id := range f.Targets {
			w.hosts[id].crash()
		}
	case Blackout:
		for _, h := range w.hosts {
			h.crash()
		}
	case CrashOn:
		for _, id := range f.targets(w.n) {
			w.hosts[id].armed = f
		}
	case Pause:
		for _, id := range f.Targets {
			w.hosts[id].pause(bft.Time(f.Until))
		}
	case Cut, CutFrom, CutTo:
		w.net.cut(f, +1)
	case Lossy:
		w.net.lossy++
	case SlowDisk:
		for _, id := range f.Targets {
			w.hosts[id].disk.slow++
		}
	case SlowMachine:
		for _, id := range f.Targets {
			w.hosts[id].slow++
		}
	}
}

func (w *world) end(f *Fault) {
	w.trace.note(w.q.now, kindFault, -1, -1, func() string { return "ends: " + f.String() })
	switch f.Kind {
	case Crash:
		for _, id := range f.Targets {
			w.hosts[id].start()
		}
	case Blackout:
		for _, h := range w.hosts {
			h.start()
		}
	case CrashOn:
		for _, id := range f.targets(w.n) {
			if w.hosts[id].armed == f {
				w.hosts[id].armed = nil
			}
			w.hosts[id].start()
		}
	case Cut, CutFrom, CutTo:
		w.net.cut(f, -1)
	case Lossy:
		w.net.lossy--
	case SlowDisk:
		for _, id := range f.Targets {
			w.hosts[id].disk.slow--
		}
	case SlowMachine:
		for _, id := range f.Targets {
			w.hosts[id].slow--
		}
	case Pause:
		// The process goes on by itself, see host.pause.
	}
}
