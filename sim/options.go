package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
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
	// Adversary is the name of the behaviour of the Byzantine replicas, see byz.Names; empty: none.
	Adversary string `json:"adversary"`
	// Byzantine are the replicas that belong to the adversary, at most f.
	Byzantine []bft.ReplicaID `json:"byzantine"`
	// Signatures are "fast" (keyed hashes) or "ed25519".
	Signatures string `json:"signatures"`
	// Trace, if set, gets a line for each thing that happens.
	Trace io.Writer `json:"-"`
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
	// Service is "kv" or "counter".
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
	// BadClients sign badly: their bundles travel on their own channels, but verify nowhere.
	BadClients int `json:"bad_clients"`
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

// Draw chooses the options of a seed.
func Draw(seed uint64) Options {
	r := stream(seed, "options")
	o := Options{Seed: seed, Signatures: "fast"}
	p := &o.Protocol
	p.N = 4 + r.IntN(7)
	p.Interval = pick(r, bft.Seq(8), 12, 16, 32)
	p.Window = p.Interval * pick(r, bft.Seq(2), 2, 3, 4)
	p.Pipeline = 1 + bft.Seq(r.IntN(8))
	p.MaxBundleOps = pick(r, 1, 4, 16)
	p.MaxBatchOps = p.MaxBundleOps * pick(r, 1, 2, 8)
	o.Network = Network{
		Delay: pick(r, 100*microsecond, millisecond, 5*millisecond), Jitter: pick(r, 100*microsecond, millisecond, 5*millisecond),
		Loss: pick(r, 0, 0, 1, 5), Duplicate: pick(r, 0, 1, 5), Reorder: pick(r, 0, 1, 10),
	}
	o.Machine = Machine{
		Sync: pick(r, 200*microsecond, millisecond, 5*millisecond), Snapshot: pick(r, millisecond, 20*millisecond),
		Sign: 50 * microsecond, Verify: 40 * microsecond, Execute: pick(r, 20*microsecond, 200*microsecond),
		Turn: pick(r, 5*microsecond, 50*microsecond, 500*microsecond), Skew: pick(r, 0, 10*millisecond, 300*millisecond),
	}
	p.RequestTimeout = pick(r, 300*millisecond, 500*millisecond, second)
	p.MaxTimeout = p.RequestTimeout * pick(r, Duration(2), 4, 8)
	p.SuspectFloor = p.RequestTimeout * Duration(pick(r, 20, 40)) / 100
	p.StatusInterval = pick(r, 50*millisecond, 100*millisecond, 200*millisecond)
	o.Heal = p.RequestTimeout * pick(r, Duration(5), 8, 12)
	o.Load = drawLoad(r.Uint64(), o.Heal)
	drawAdversary(&o)
	o.Faults = drawFaults(&o)
	return o
}

func drawLoad(seed uint64, heal Duration) Load {
	r := stream(seed, "load")
	l := Load{Service: pick(r, "kv", "kv", "counter"), Clients: 2 + r.IntN(4), Outstanding: 1 + r.IntN(3), Keys: 1 + r.IntN(4)}
	l.Linearizable, l.Stale, l.Ordered = pick(r, 0, 10, 40), pick(r, 0, 5), pick(r, 5, 20)
	l.Sequences = bft.Seq(110 + r.IntN(60))
	// So that the load lasts for about as long as the faults.
	l.Think = 2 * heal * Duration(l.Clients*l.Outstanding) / Duration(l.Sequences)
	return l
}

func drawAdversary(o *Options) {
	r := stream(o.Seed, "adversary options")
	f := bft.MaxFaulty(o.Protocol.N)
	if !chance(r, 75) {
		return
	}
	o.Adversary = byz.Names()[r.IntN(len(byz.Names()))]
	if o.Adversary == byz.BadSignature {
		o.Load.BadClients = 1
	}
	// Most attacks need a primary, and the first views are the ones that every run sees.
	count := 1 + r.IntN(f)
	first := bft.ReplicaID(r.IntN(2))
	if chance(r, 25) {
		first = bft.ReplicaID(r.IntN(o.Protocol.N))
	}
	o.Byzantine = append(o.Byzantine, first)
	for len(o.Byzantine) < count {
		if id := bft.ReplicaID(r.IntN(o.Protocol.N)); !slices.Contains(o.Byzantine, id) {
			o.Byzantine = append(o.Byzantine, id)
		}
	}
	slices.Sort(o.Byzantine)
}

// Validate says what is wrong with o, all at once.
func (o *Options) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("sim: "+format, args...))
		}
	}
	n := o.Protocol.N
	bad(n >= 4 && n <= bft.MaxMembers, "n: %d is not within 4 to %d", n, bft.MaxMembers)
	bad(o.Load.Service == "kv" || o.Load.Service == "counter", "service: %q is neither kv nor counter", o.Load.Service)
	bad(o.Load.Clients >= 1 && o.Load.Outstanding >= 1 && o.Load.Keys >= 1, "load: clients, outstanding and keys must be at least 1")
	bad(o.Load.BadClients >= 0, "load: bad clients: %d is negative", o.Load.BadClients)
	bad(min(o.Load.Linearizable, o.Load.Stale, o.Load.Ordered) >= 0 && o.Load.Linearizable+o.Load.Stale+o.Load.Ordered <= 100,
		"load: the percentages of reads are not within 0 to 100 together")
	bad(max(o.Network.Loss, o.Network.Duplicate, o.Network.Reorder) <= 100 && min(o.Network.Loss, o.Network.Duplicate, o.Network.Reorder) >= 0,
		"network: a percentage is not within 0 to 100")
	bad(o.Signatures == "fast" || o.Signatures == "ed25519", "signatures: %q is neither fast nor ed25519", o.Signatures)
	bad(o.Adversary == "" || slices.Contains(byz.Names(), o.Adversary), "adversary: %q is none of %v", o.Adversary, byz.Names())
	bad((o.Adversary == "") == (len(o.Byzantine) == 0), "byzantine: an adversary needs replicas, and they an adversary")
	if n >= 4 {
		bad(len(o.Byzantine) <= bft.MaxFaulty(n), "byzantine: %d replicas, but %d of %d may be faulty", len(o.Byzantine), bft.MaxFaulty(n), n)
		for i, id := range o.Byzantine {
			bad(int(id) < n && slices.Index(o.Byzantine, id) == i, "byzantine: replica %d does not exist or stands twice", id)
		}
		for _, f := range o.Faults {
			errs = append(errs, f.validate(o))
		}
		errs = append(errs, checkBudget(o))
	}
	return errors.Join(errs...)
}

// byzantine tells whether replica id belongs to the adversary.
func (o *Options) byzantine(id bft.ReplicaID) bool { return slices.Contains(o.Byzantine, id) }
