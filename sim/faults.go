package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// Class is a class of failure, after Cristian and after Tanenbaum & van Steen.
type Class string

// The classes.
const (
	ClassCrash           Class = "crash"
	ClassSendOmission    Class = "send omission"
	ClassReceiveOmission Class = "receive omission"
	ClassTiming          Class = "timing"
	ClassValue           Class = "value"
	ClassState           Class = "state transition"
	ClassArbitrary       Class = "arbitrary"
)

// Classes lists the classes, from the mildest to the worst.
func Classes() []Class {
	return []Class{ClassCrash, ClassSendOmission, ClassReceiveOmission, ClassTiming, ClassValue, ClassState, ClassArbitrary}
}

// Persistence is how long a fault lasts: its duration in the classification.
type Persistence string

// The durations.
const (
	// Transient faults happen once and do not come again.
	Transient Persistence = "transient"
	// Intermittent ones come and go.
	Intermittent Persistence = "intermittent"
	// Permanent ones stay, beyond the heal and until the end of the run.
	Permanent Persistence = "permanent"
)

// Persistences lists the durations, the shortest first.
func Persistences() []Persistence { return []Persistence{Transient, Intermittent, Permanent} }

// FaultKind is a fault that the environment brings about.
type FaultKind string

// The kinds of faults.
const (
	// Crash ends the process at once. What was not synced is lost, but for a prefix. It restarts
	// from its disk when the fault ends; if permanent, never.
	Crash FaultKind = "crash"
	// Blackout crashes all replicas at the same moment.
	Blackout FaultKind = "blackout"
	// CrashLoop crashes again and again, Every apart and soon after each restart.
	CrashLoop FaultKind = "crash loop"
	// CrashOn crashes a replica each time it signs or sends a message of the type On: before or after
	// the signature is reported, or when some peers were sent it and others were not. It restarts
	// soon. Without Targets all replicas do so.
	CrashOn FaultKind = "crash on"
	// DiskLoss crashes, and the replica comes back after a while with the disk that On says: "empty",
	// "older", which the host notices, or "older unnoticed". It is faulty for good: it may stay amnesiac
	// until an operator replaces it.
	DiskLoss FaultKind = "disk loss"
	// Pause stops the process and continues it later, as SIGSTOP and SIGCONT do.
	Pause FaultKind = "pause"
	// Cut loses every message between Targets and the other replicas, both ways.
	Cut FaultKind = "cut"
	// CutFrom loses every message from Targets to the other replicas, and CutTo every one to them.
	CutFrom FaultKind = "cut from"
	CutTo   FaultKind = "cut to"
	// SendOmission loses what Targets send, ReceiveOmission what is sent to them, to and from replicas
	// and clients: the next Count messages if transient, in turns of Every if intermittent, all if permanent;
	// only messages of the type On, if it is set.
	SendOmission    FaultKind = "send omission"
	ReceiveOmission FaultKind = "receive omission"
	// Lossy loses a third of all messages and delays the others.
	Lossy FaultKind = "lossy"
	// Late delays the next Count messages that Targets send, each by up to two request timeouts.
	Late FaultKind = "late"
	// Jitter delays all that Targets send by up to half a request timeout and slows their disks, in turns
	// of Every.
	Jitter FaultKind = "jitter"
	// Dawdle delays all that Targets send by Every, or by a quarter of the request timeout, so that they are always
	// just in time.
	Dawdle FaultKind = "dawdle"
	// ClockJump puts the wall clocks of Targets forward by an hour at At, and back at Until.
	ClockJump FaultKind = "clock jump"
	// Drift makes the wall clocks of Targets run a tenth too fast.
	Drift FaultKind = "drift"
	// SlowDisk makes syncing take twenty times as long at Targets.
	SlowDisk FaultKind = "slow disk"
	// SlowMachine makes executing a batch take up to a tenth of the request timeout at Targets: what
	// the others have executed, and f+1 of them told the client, these do not know yet.
	SlowMachine FaultKind = "slow machine"
)

// kindOf says what a kind of fault is and takes.
type kindInfo struct {
	class       Class
	lasts       []Persistence // which it can have
	targets     bool          // it needs targets
	faulty      bool          // who has it counts toward f
	crashOnType bool          // On is the type of a message that binds
}

var kinds = map[FaultKind]kindInfo{
	Crash:           {class: ClassCrash, lasts: []Persistence{Transient, Permanent}, targets: true, faulty: true},
	Blackout:        {class: ClassCrash, lasts: []Persistence{Transient}},
	CrashLoop:       {class: ClassCrash, lasts: []Persistence{Intermittent}, targets: true, faulty: true},
	CrashOn:         {class: ClassCrash, lasts: []Persistence{Intermittent}, crashOnType: true},
	DiskLoss:        {class: ClassCrash, lasts: []Persistence{Permanent}, targets: true, faulty: true},
	Pause:           {class: ClassTiming, lasts: []Persistence{Transient}, targets: true, faulty: true},
	Cut:             {class: ClassSendOmission, lasts: []Persistence{Transient}, targets: true},
	CutFrom:         {class: ClassSendOmission, lasts: []Persistence{Transient}, targets: true},
	CutTo:           {class: ClassReceiveOmission, lasts: []Persistence{Transient}, targets: true},
	SendOmission:    {class: ClassSendOmission, lasts: Persistences(), targets: true, faulty: true},
	ReceiveOmission: {class: ClassReceiveOmission, lasts: Persistences(), targets: true, faulty: true},
	Lossy:           {class: ClassSendOmission, lasts: []Persistence{Intermittent}},
	Late:            {class: ClassTiming, lasts: []Persistence{Transient}, targets: true},
	Jitter:          {class: ClassTiming, lasts: []Persistence{Intermittent}, targets: true},
	Dawdle:          {class: ClassTiming, lasts: []Persistence{Permanent}, targets: true, faulty: true},
	ClockJump:       {class: ClassTiming, lasts: []Persistence{Transient}, targets: true, faulty: true},
	Drift:           {class: ClassTiming, lasts: []Persistence{Permanent}, targets: true, faulty: true},
	SlowDisk:        {class: ClassTiming, lasts: []Persistence{Intermittent, Permanent}, targets: true},
	SlowMachine:     {class: ClassTiming, lasts: []Persistence{Intermittent, Permanent}, targets: true},
}

// FaultKinds lists the kinds in the order of their names.
func FaultKinds() []FaultKind {
	var out []FaultKind
	for k := range kinds {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Fault is one fault of the environment, on Targets, from At until Until.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Lasts is how long; empty for the only or the first duration that the kind has.
	Lasts   Persistence     `json:"lasts,omitempty"`
	Targets []bft.ReplicaID `json:"targets,omitempty"`
	// On is the type of the messages that are meant, as bft.MessageType prints it, or see DiskLoss.
	On string `json:"on,omitempty"`
	// Count is how many messages a transient omission or delay hits.
	Count int `json:"count,omitempty"`
	// Every is how long an intermittent fault is on, and then off; of a dawdler, how late it is.
	Every Duration `json:"every,omitempty"`
	At    Duration `json:"at"`
	// Until is when it ends. A permanent fault does not.
	Until Duration `json:"until,omitempty"`
}

// Class is the class of failure that the fault belongs to.
func (f *Fault) Class() Class { return kinds[f.Kind].class }

// Persistence is how long the fault lasts.
func (f *Fault) Persistence() Persistence {
	if k, known := kinds[f.Kind]; known && f.Lasts == "" {
		return k.lasts[0]
	}
	return f.Lasts
}

// permanent tells whether the fault never ends.
func (f *Fault) permanent() bool { return f.Persistence() == Permanent }

// over tells whether the fault has ended at time t.
func (f *Fault) over(t Duration) bool { return !f.permanent() && t > f.Until }

// String prints the fault for a reader.
func (f Fault) String() string {
	text := string(f.Kind)
	if f.On != "" {
		text += " " + f.On
	}
	if len(f.Targets) > 0 {
		text += fmt.Sprintf(" of %v", f.Targets)
	}
	if f.Count > 0 {
		text += fmt.Sprintf(", %d messages", f.Count)
	}
	if f.Every > 0 && f.Kind == Dawdle {
		text += fmt.Sprintf(", by %v", f.Every)
	} else if f.Every > 0 {
		text += fmt.Sprintf(", by turns of %v", f.Every)
	}
	if f.permanent() {
		return fmt.Sprintf("%s, from %v on", text, f.At)
	}
	return fmt.Sprintf("%s, %v to %v", text, f.At, f.Until)
}

// counts tells whether the fault's targets count toward f. What happens to all replicas does not: they
// come back with what they had promised, nobody lies, and nothing is promised about the time until then.
// Nor do cuts and delays that end: before the heal the network owes nothing.
func (f *Fault) counts() bool {
	k := kinds[f.Kind]
	return k.faulty || f.Kind == CrashOn && len(f.Targets) > 0 || f.permanent() && f.Kind != SlowDisk && f.Kind != SlowMachine
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
	k, ok := kinds[f.Kind]
	if !ok {
		return fmt.Errorf("sim: fault of unknown kind %q, there are %q", f.Kind, FaultKinds())
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("sim: fault %v: "+format, append([]any{f}, args...)...)
	}
	if !slices.Contains(k.lasts, f.Persistence()) {
		return bad("it is one of %q, not %s", k.lasts, f.Lasts)
	}
	if f.permanent() {
		if f.Until != 0 {
			return bad("a permanent one does not end")
		}
	} else if f.Until < f.At || f.Until > o.Heal {
		return bad("it is not within 0 and the heal at %v", o.Heal)
	}
	if f.At < 0 || f.At > o.Heal {
		return bad("it does not begin within 0 and the heal at %v", o.Heal)
	}
	for _, id := range f.Targets {
		if int(id) >= o.Protocol.N {
			return bad("there is no replica %d", id)
		}
	}
	if k.targets && len(f.Targets) == 0 {
		return bad("needs targets")
	}
	if !k.targets && !k.crashOnType && len(f.Targets) != 0 {
		return bad("takes no targets")
	}
	return f.validateDetails(bad)
}

func (f *Fault) validateDetails(bad func(format string, args ...any) error) error {
	count := f.Kind == Late || (f.Kind == SendOmission || f.Kind == ReceiveOmission) && f.Persistence() == Transient
	every := f.Kind == CrashLoop || f.Kind == Jitter || (f.Kind == SendOmission || f.Kind == ReceiveOmission) && f.Persistence() == Intermittent
	switch {
	case f.Kind == CrashOn && !slices.Contains(crashTypes, f.On):
		return bad("needs one of %q to wait for", crashTypes)
	case f.Kind == DiskLoss && !slices.Contains(diskLosses, f.On):
		return bad("needs one of %q", diskLosses)
	case f.Kind != CrashOn && f.Kind != DiskLoss && f.Kind != SendOmission && f.Kind != ReceiveOmission && f.On != "":
		return bad("does not wait for messages of a type")
	case count != (f.Count > 0):
		return bad("needs a count of messages if it is transient and hits some, and only then")
	case every != (f.Every > 0) && f.Kind != Dawdle || f.Every < 0:
		return bad("needs a time for its turns if it comes and goes, and only then")
	}
	return nil
}

// crashTypes are the messages at which a replica can be made to crash: those that bind it.
var crashTypes = []string{bft.TypePrePrepare.String(), bft.TypeVotes.String(), bft.TypeCheckpoint.String(),
	bft.TypeViewChange.String(), bft.TypeNewView.String(), bft.TypeStatus.String()}

// diskLosses are what a replica may come back with.
var diskLosses = []string{"empty", "older", "older unnoticed"}

// errBudget says that more replicas are faulty than may be.
var errBudget = errors.New("more replicas are faulty than the protocol tolerates")

// checkBudget makes sure that no more than f replicas are faulty at any time, unless the options want
// to show what happens then.
func checkBudget(o *Options) error {
	if o.Beyond {
		return nil
	}
	for _, f := range o.Faults {
		// The number can only rise when a fault begins.
		if n := len(faultyAt(o, f.At)); n > bft.MaxFaulty(o.Protocol.N) {
			return fmt.Errorf("sim: %w: %d replicas are faulty at %v, but %d of %d may be (beyond allows it)", errBudget, n, f.At, bft.MaxFaulty(o.Protocol.N), o.Protocol.N)
		}
	}
	return nil
}

// faultyAt lists the replicas that are Byzantine or count as faulty at time t.
func faultyAt(o *Options, t Duration) []bft.ReplicaID {
	out := slices.Clone(o.Byzantine)
	for i := range o.Faults {
		f := &o.Faults[i]
		if !f.counts() || t < f.At || f.over(t) {
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
