package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// Duration is a span of virtual time in nanoseconds. In JSON it is a string as time.Duration prints it.
type Duration bft.Time

// String prints d as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText makes d a string in JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

const (
	microsecond = Duration(bft.Microsecond)
	millisecond = Duration(bft.Millisecond)
	second      = Duration(bft.Second)
)

// Options say everything about a run. Draw makes them from a seed.
type Options struct {
	// Seed is the root of all that is drawn, during the run too.
	Seed uint64 `json:"seed"`
	// Protocol is the configuration of the replicas.
	Protocol Protocol `json:"protocol"`
	// Load is what the clients do.
	Load Load `json:"load"`
	// Network is how messages travel.
	Network Network `json:"network"`
	// Machine is how fast disks and processors are, and how far clocks disagree.
	Machine Machine `json:"machine"`
	// Heal is when the faults have ended and liveness is demanded.
	Heal Duration `json:"heal"`
	// Faults happen before Heal.
	Faults []Fault `json:"faults"`
	// Behaviours are how the Byzantine replicas and the bad clients behave, all at once; see byz.Names.
	Behaviours []string `json:"behaviours"`
	// Byzantine are the replicas that belong to the adversary, at most f unless Beyond is set.
	Byzantine []bft.ReplicaID `json:"byzantine"`
	// Lying is how long: Transient is one lie of each replica, Intermittent by turns of a request timeout.
	Lying Persistence `json:"lying,omitempty"`
	// Beyond allows more than f faulty replicas, to see what happens then.
	Beyond bool `json:"beyond,omitempty"`
	// Demand are the oracles that end the run when they break; empty: all. Without L1 the run ends by itself.
	Demand []string `json:"demand,omitempty"`
	// Lies are the numbers of the lies that are told, of all that the adversary would tell; nil: all.
	Lies Ranges `json:"lies,omitempty"`
	// Drops are messages that are lost, besides those that chance and faults lose.
	Drops []Drop `json:"drops,omitempty"`
	// Signatures are "fast" (keyed hashes) or "ed25519".
	Signatures string `json:"signatures"`
	// Service, if set, is a service under test: the honest clients call it.
	Service *Service `json:"-"`
	// Trace, if set, gets a line for each thing that happens.
	Trace io.Writer `json:"-"`
	// Cover, if set, counts what the run exercises.
	Cover *Coverage `json:"-"`
	// Observe, if set, is told of each thing that happens.
	Observe func(*Event) `json:"-"`
}

// Drop is messages that are lost, by their numbers on the way from one endpoint to another: the replicas
// by their IDs, then the twins, then the clients.
type Drop struct {
	From     int    `json:"from"`
	To       int    `json:"to"`
	Messages Ranges `json:"messages"`
}

// Protocol is the part of bft.Config that differs between runs.
type Protocol struct {
	N              int      `json:"n"`
	Interval       bft.Seq  `json:"interval"`
	Window         bft.Seq  `json:"window"`
	Pipeline       bft.Seq  `json:"pipeline"`
	MaxBatchOps    int      `json:"max_batch_ops"`
	MaxBundleOps   int      `json:"max_bundle_ops"`
	RequestTimeout Duration `json:"request_timeout"`
	MaxTimeout     Duration `json:"max_timeout"`
	SuspectFloor   Duration `json:"suspect_floor"`
	StatusInterval Duration `json:"status_interval"`
}

// Load is what the clients do. Each has Outstanding callers, who think for up to Think between
// the end of an operation and the next.
type Load struct {
	// Service is "kv", "counter" or "counter-passive", which is replicated passively.
	Service     string `json:"service"`
	Clients     int    `json:"clients"`
	Outstanding int    `json:"outstanding"`
	// Keys is the number of keys (kv), few so that operations meet.
	Keys  int      `json:"keys"`
	Think Duration `json:"think"`
	// Of 100 operations so many are reads of the three kinds; the others write.
	Linearizable int `json:"linearizable_percent"`
	Stale        int `json:"stale_percent"`
	Ordered      int `json:"ordered_percent"`
	// Sequences is how many numbers must be executed before the clients stop.
	Sequences bft.Seq `json:"sequences"`
	// For, if set, is how long after the heal the load goes on, instead of until Sequences are executed.
	For Duration `json:"for,omitempty"`
	// State is how many bytes the state has besides what the operations make of it: above bft.PartSize it travels in
	// several parts.
	State int `json:"state,omitempty"`
	// BadClients are clients of the adversary: nobody waits for them.
	// They have keys of their own, and behave as the Behaviours of the run say.
	BadClients int `json:"bad_clients"`
	// Calls is how many calls each client makes at most; 0: as many as there is time for.
	Calls int `json:"calls,omitempty"`
	// Crashes is how many honest clients crash before Heal, the last ones, and never come back: fewer than Clients.
	Crashes int `json:"crashes,omitempty"`
	// Semantics are how often an operation may be executed.
	Semantics
}

// Network is how messages travel between Heal's two sides; cuts and lossy periods are faults.
type Network struct {
	// Delay is the least time that a message takes; up to Jitter more is drawn for each.
	Delay  Duration `json:"delay"`
	Jitter Duration `json:"jitter"`
	// Loss, Duplicate and Reorder are percentages of the messages before Heal. A reordered one
	// takes up to ten times as long.
	Loss      int `json:"loss_percent"`
	Duplicate int `json:"duplicate_percent"`
	Reorder   int `json:"reorder_percent"`
	// ClientLoss is the percentage of the messages between clients and replicas that are lost before Heal, besides Loss.
	ClientLoss int `json:"client_loss_percent,omitempty"`
	// Bandwidth is how many bytes an endpoint sends in a second; 0: as many as it likes.
	Bandwidth int64 `json:"bandwidth,omitempty"`
}

// Machine is how fast the replicas' hardware is. Each span is the most that is drawn.
type Machine struct {
	// Sync is what making records durable takes.
	Sync Duration `json:"sync"`
	// Snapshot is what making a snapshot durable takes.
	Snapshot Duration `json:"snapshot"`
	// Sign, Verify and Execute are the costs of one signature, one check, one batch.
	Sign    Duration `json:"sign"`
	Verify  Duration `json:"verify"`
	Execute Duration `json:"execute"`
	// Turn is how long the core gathers inputs before it looks at what is Ready.
	Turn Duration `json:"turn"`
	// Skew is how far clocks are off, either way.
	Skew Duration `json:"skew"`
}

// Oracles lists the oracles that can end a run, see the package comment.
func Oracles() []string {
	return []string{"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "D1", "D2", "L1", "L2", "R1", "R2", "T1", "C1", "A1", "A2", "PANIC"}
}

// The bounds of a run: what one machine can hold and one can wait for.
const (
	maxClients   = 200
	maxCallers   = 1000
	maxKeys      = 10_000
	maxSequences = 1_000_000
	maxFaults    = 1000
	maxSpan      = 3600 * second
	minSpan      = 100 * microsecond
)

// withinBounds says what is too much, or too little to end. What it lets pass can be run.
func (o *Options) withinBounds() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("sim: "+format, args...))
		}
	}
	l, p, m := &o.Load, &o.Protocol, &o.Machine
	bad(p.N >= 4 && p.N <= bft.MaxMembers, "n: %d is not within 4 to %d", p.N, bft.MaxMembers)
	bad(l.Clients >= 1 && l.Outstanding >= 1 && l.Keys >= 1, "load: clients, outstanding and keys must be at least 1")
	bad(max(l.Clients, l.BadClients) <= maxClients && l.BadClients >= 0, "load: %d clients and %d bad ones: at most %d of each", l.Clients, l.BadClients, maxClients)
	bad(l.Outstanding <= maxCallers && l.Keys <= maxKeys && l.Sequences <= maxSequences && l.Calls <= maxSequences,
		"load: at most %d outstanding, %d keys, %d sequences and calls", maxCallers, maxKeys, maxSequences)
	bad(p.Interval >= 1 && p.Window <= bft.MaxWindow && p.MaxBundleOps <= bft.WindowOps && p.MaxBatchOps <= 1<<16,
		"protocol: an interval of at least 1, a window of at most %d, bundles of at most %d and batches of at most %d operations", bft.MaxWindow, bft.WindowOps, 1<<16)
	bad(len(o.Faults) <= maxFaults && len(o.Drops) <= maxFaults, "at most %d faults and %d drops", maxFaults, maxFaults)
	for _, d := range []Duration{o.Heal, l.Think, l.For, o.Network.Delay, o.Network.Jitter, m.Sync, m.Snapshot, m.Sign, m.Verify, m.Execute, m.Turn, m.Skew} {
		bad(d >= 0 && d <= maxSpan, "%v is not within 0 and %v", d, maxSpan)
	}
	for _, d := range []Duration{p.RequestTimeout, p.MaxTimeout, p.SuspectFloor, p.StatusInterval} {
		bad(d >= minSpan && d <= maxSpan, "timeouts: %v is not within %v and %v", d, minSpan, maxSpan)
	}
	for i := range o.Faults {
		every := o.Faults[i].Every
		bad(every == 0 || every >= minSpan, "fault %v: turns of %v, at least %v are needed", &o.Faults[i], every, minSpan)
	}
	return errors.Join(errs...)
}

// Validate says what is wrong with o, all at once.
func (o *Options) Validate() error {
	if err := o.withinBounds(); err != nil {
		return err
	}
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("sim: "+format, args...))
		}
	}
	n := o.Protocol.N
	bad(o.Load.Service == "kv" || o.Load.Service == "counter" || o.Load.Service == passiveCounter || o.Load.Service == ownService && o.Service != nil, "service: %q is neither kv nor counter nor counter-passive", o.Load.Service)
	bad(o.Load.Calls == 0 || o.Load.For > 0 || o.Load.Sequences <= 1 || bft.Seq(o.Load.Calls*o.Load.Clients) >= o.Load.Sequences, "load: %d clients with %d calls each never execute %d numbers",
		o.Load.Clients, o.Load.Calls, o.Load.Sequences)
	bad(o.Load.State >= 0 && o.Load.State <= 16<<20, "load: a state of %d bytes is not within 0 to 16 MiB", o.Load.State)
	bad(min(o.Load.Linearizable, o.Load.Stale, o.Load.Ordered) >= 0 && o.Load.Linearizable+o.Load.Stale+o.Load.Ordered <= 100,
		"load: the percentages of reads are not within 0 to 100 together")
	bad(!o.Load.mixed() || !o.passive(), "load: of what is replicated passively all is called exactly once, for executions are not counted")
	bad(o.Load.Crashes >= 0 && o.Load.Crashes < o.Load.Clients, "load: %d of %d clients crash: fewer must than there are", o.Load.Crashes, o.Load.Clients)
	bad(min(o.Load.AtMostOnce, o.Load.AtLeastOnce, o.Load.Maybe) >= 0 && o.Load.AtMostOnce+o.Load.AtLeastOnce+o.Load.Maybe <= 100,
		"load: the percentages of call semantics are not within 0 to 100 together")
	bad(max(o.Network.Loss, o.Network.Duplicate, o.Network.Reorder, o.Network.ClientLoss) <= 100 && min(o.Network.Loss, o.Network.Duplicate, o.Network.Reorder, o.Network.ClientLoss) >= 0,
		"network: a percentage is not within 0 to 100")
	bad(o.Signatures == "fast" || o.Signatures == "ed25519", "signatures: %q is neither fast nor ed25519", o.Signatures)
	bad(o.Lying == "" || slices.Contains(Persistences(), o.Lying), "lying: %q is none of %s", o.Lying, listed(Persistences()))
	bad(o.Network.Bandwidth >= 0 && o.Load.Calls >= 0, "load or network: calls and bandwidth must not be negative")
	for _, name := range o.Demand {
		bad(slices.Contains(Oracles(), name) || o.Service != nil, "demand: there is no oracle %q; there are %s", name, listed(Oracles()))
	}
	for _, name := range o.Behaviours {
		_, ok := byz.Find(name)
		bad(ok, "behaviour: %q is none of %s", name, listed(byz.Names()))
	}
	bad((len(o.Behaviours) == 0) == (len(o.Byzantine) == 0), "byzantine: a behaviour needs replicas, and they a behaviour")
	if n >= 4 {
		bad(o.Beyond || len(o.Byzantine) <= bft.MaxFaulty(n), "byzantine: %d replicas, but %d of %d may be faulty (beyond allows it)", len(o.Byzantine), bft.MaxFaulty(n), n)
		for i, id := range o.Byzantine {
			bad(int(id) < n && slices.Index(o.Byzantine, id) == i, "byzantine: replica %d does not exist or stands twice", id)
		}
		for _, f := range o.Faults {
			errs = append(errs, f.validate(o))
		}
		errs = append(errs, checkBudget(o))
		for _, d := range o.Drops {
			bad(min(d.From, d.To) >= 0 && max(d.From, d.To) < o.endpoints(), "drops: there is no endpoint %d or %d, the last is %d", d.From, d.To, o.endpoints()-1)
		}
	}
	return errors.Join(errs...)
}

// byzantine tells whether replica id belongs to the adversary.
func (o *Options) byzantine(id bft.ReplicaID) bool { return slices.Contains(o.Byzantine, id) }

// lying is how long the adversary lies.
func (o *Options) lying() Persistence {
	if o.Lying == "" {
		return Permanent
	}
	return o.Lying
}

// twins are the replicas that run twice.
func (o *Options) twins() []bft.ReplicaID {
	for _, name := range o.Behaviours {
		if b, ok := byz.Find(name); ok && b.Twin {
			return o.Byzantine
		}
	}
	return nil
}

// instances are the replicas that run, by their IDs, the twins at the end.
func (o *Options) instances() []bft.ReplicaID {
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(o.Protocol.N) {
		ids = append(ids, id)
	}
	return append(ids, o.twins()...)
}

// endpoints is how many processes there are.
func (o *Options) endpoints() int { return len(o.instances()) + o.Load.Clients + o.Load.BadClients }

// listed is a list of names for a reader.
func listed[T ~string](names []T) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}
