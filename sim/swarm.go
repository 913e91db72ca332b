package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// Draw chooses the options of a seed: the cluster, its machines and its network, the load, the faults,
// and how the adversary behaves. Each part has its own stream of the seed.
func Draw(seed uint64) Options { return DrawFor(seed, 0) }

// DrawFor is Draw for so many replicas, at least 4; 0: as many as the seed says.
func DrawFor(seed uint64, replicas int) Options {
	o := Options{Seed: seed, Signatures: "fast"}
	drawProtocol(&o)
	if replicas != 0 {
		o.Protocol.N = replicas
	}
	drawMachines(&o)
	o.Load = drawLoad(seed, o.Heal)
	drawBulk(&o)
	drawSemantics(&o)
	drawAdversary(&o)
	o.Faults = drawFaults(&o)
	o.outages()
	return o
}

func drawProtocol(o *Options) {
	r := stream(o.Seed, "protocol options")
	p := &o.Protocol
	p.N = 4 + r.IntN(7)
	p.Interval = pick(r, bft.Seq(8), 12, 16, 32)
	p.Window = p.Interval * pick(r, bft.Seq(2), 2, 3, 4)
	p.Pipeline = 1 + bft.Seq(r.IntN(8))
	p.MaxBundleOps = pick(r, 1, 4, 16)
	p.MaxBatchOps = p.MaxBundleOps * pick(r, 1, 2, 8)
	p.RequestTimeout = pick(r, 300*millisecond, 500*millisecond, second)
	p.MaxTimeout = p.RequestTimeout * pick(r, Duration(2), 4, 8)
	p.SuspectFloor = p.RequestTimeout * Duration(pick(r, 20, 40)) / 100
	p.StatusInterval = pick(r, 50*millisecond, 100*millisecond, 200*millisecond)
	o.Heal = p.RequestTimeout * pick(r, Duration(5), 8, 12)
}

func drawMachines(o *Options) {
	r := stream(o.Seed, "network options")
	o.Network = Network{
		Delay: pick(r, 100*microsecond, millisecond, 5*millisecond), Jitter: pick(r, 100*microsecond, millisecond, 5*millisecond),
		Loss: pick(r, 0, 0, 1, 5), Duplicate: pick(r, 0, 1, 5), Reorder: pick(r, 0, 1, 10),
	}
	r = stream(o.Seed, "machine options")
	o.Machine = Machine{
		Sync: pick(r, 200*microsecond, millisecond, 5*millisecond), Snapshot: pick(r, millisecond, 20*millisecond),
		Sign: 50 * microsecond, Verify: 40 * microsecond, Execute: pick(r, 20*microsecond, 200*microsecond),
		Turn: pick(r, 5*microsecond, 50*microsecond, 500*microsecond), Skew: pick(r, 0, 10*millisecond, 300*millisecond),
	}
}

func drawLoad(seed uint64, heal Duration) Load {
	r := stream(seed, "load options")
	l := Load{Service: pick(r, "kv", "kv", "counter"), Clients: 2 + r.IntN(4), Outstanding: 1 + r.IntN(3), Keys: 1 + r.IntN(4)}
	l.Linearizable, l.Stale, l.Ordered = pick(r, 0, 10, 40), pick(r, 0, 5), pick(r, 5, 20)
	l.Sequences = bft.Seq(110 + r.IntN(60))
	// So that the load lasts for about as long as the faults.
	l.Think = 2 * heal * Duration(l.Clients*l.Outstanding) / Duration(l.Sequences) / millisecond * millisecond
	return l
}

// drawBulk gives some runs a state that takes a while to transfer, longer than checkpoints are apart.
func drawBulk(o *Options) {
	r := stream(o.Seed, "bulk")
	if chance(r, 4) {
		o.Load.State, o.Network.Bandwidth = pick(r, 300_000, 600_000, 1_200_000), pick(r, int64(4_000_000), 20_000_000)
	}
}

// drawAdversary chooses who lies and how: one behaviour mostly, now and then two at once.
func drawAdversary(o *Options) {
	r := stream(o.Seed, "adversary options")
	f := bft.MaxFaulty(o.Protocol.N)
	if !chance(r, 75) {
		return
	}
	names := byz.Drawn()
	o.Behaviours = []string{names[r.IntN(len(names))]}
	if other := names[r.IntN(len(names))]; chance(r, 25) && other != o.Behaviours[0] {
		o.Behaviours = append(o.Behaviours, other)
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
	o.Lying = pick(r, Permanent, Permanent, Permanent, Permanent, Intermittent, Transient)
	o.demand()
}

// Under chooses the options of a seed as Draw does, but for the adversary: f replicas, one of the first two
// primaries among them, behave in the given ways from beginning to end. Other faults are left as far as
// the budget allows.
func Under(seed uint64, behaviours ...string) Options {
	o := Draw(seed)
	r := stream(seed, "under")
	o.Behaviours, o.Lying, o.Load.BadClients = behaviours, Permanent, 0
	o.Byzantine = []bft.ReplicaID{bft.ReplicaID(r.IntN(2))}
	for len(o.Byzantine) < bft.MaxFaulty(o.Protocol.N) {
		if id := bft.ReplicaID(r.IntN(o.Protocol.N)); !slices.Contains(o.Byzantine, id) {
			o.Byzantine = append(o.Byzantine, id)
		}
	}
	slices.Sort(o.Byzantine)
	o.demand()
	o.Faults = slices.DeleteFunc(o.Faults, func(f Fault) bool { return f.counts() })
	o.outages()
	return o
}

// demand gives the behaviours what they need: clients of their own, a service.
func (o *Options) demand() {
	for _, name := range o.Behaviours {
		b, ok := byz.Find(name)
		if !ok {
			continue
		}
		if b.Client != nil {
			o.Load.BadClients = max(1, o.Load.BadClients)
		}
		if b.Service != "" {
			o.Load.Service = b.Service
		}
		if b.Passive {
			o.replicatePassively()
		}
		if b.Ed25519 && chance(stream(o.Seed, "signatures"), 50) {
			o.Signatures = "ed25519"
		}
	}
}

// outages has the power fail, if a behaviour is at its worst then: the primary is cut off for a while, and when
// the views have changed, or are changing, all replicas lose power at once. It counts toward nobody's budget.
func (o *Options) outages() {
	if !slices.ContainsFunc(o.Behaviours, func(name string) bool { b, _ := byz.Find(name); return b.Outages }) {
		return
	}
	r := stream(o.Seed, "outages")
	timeout := o.Protocol.RequestTimeout
	for at := timeout / 2; at+2*timeout < o.Heal; at += 2 * timeout {
		dark := at + Duration(between(r, bft.Time(timeout)/5, 2*bft.Time(timeout)))/millisecond*millisecond
		o.Faults = append(o.Faults,
			Fault{Kind: Cut, Targets: []bft.ReplicaID{bft.ReplicaID(r.IntN(o.Protocol.N))}, At: at, Until: at + timeout},
			Fault{Kind: Blackout, At: dark, Until: min(o.Heal, dark+timeout/5)})
	}
	slices.SortStableFunc(o.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// drawFaults draws a schedule. What would exceed the budget is left out.
func drawFaults(o *Options) []Fault {
	r := stream(o.Seed, "faults")
	var faults []Fault
	// Whole milliseconds, for whoever reads them; and before the budget is asked, for two that only just follow each
	// other may overlap then.
	whole := func(f Fault) Fault {
		f.At, f.Until = f.At/millisecond*millisecond, f.Until/millisecond*millisecond
		return f
	}
	add := func(f Fault) {
		with := *o
		with.Faults = append(slices.Clone(faults), whole(f))
		if checkBudget(&with) == nil {
			faults = with.Faults
		}
	}
	for range r.IntN(8) {
		add(drawFault(r, o))
	}
	if r := stream(o.Seed, "storm"); chance(r, 35) {
		for _, f := range drawStorm(r, o) {
			faults = append(faults, whole(f))
		}
	}
	if r := stream(o.Seed, "permanent fault"); chance(r, 25) {
		add(drawPermanent(r, o))
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return int(min(1, max(-1, a.At-b.At))) })
	return faults
}

func drawFault(r *rand.Rand, o *Options) Fault {
	f := Fault{Kind: pick(r, Crash, Crash, Crash, CrashOn, CrashOn, CrashOn, CrashLoop, Pause, Pause, Cut, Cut, CutFrom, CutTo, SendOmission,
		ReceiveOmission, SendOmission, ReceiveOmission, Lossy, Late, Jitter, ClockJump, SlowDisk, SlowMachine, SlowMachine, Blackout)}
	f.At = Duration(between(r, 0, bft.Time(o.Heal)*9/10))
	long := o.Protocol.RequestTimeout * pick(r, Duration(1), 2, 4)
	f.Until = min(o.Heal, f.At+Duration(between(r, 1000, bft.Time(long))))
	f.detail(r, o)
	if slices.Contains([]FaultKind{CrashOn, CrashLoop, SlowMachine}, f.Kind) {
		f.Until = min(o.Heal, f.At+2*long)
	}
	return f
}

// drawPermanent draws a fault that stays until the end.
func drawPermanent(r *rand.Rand, o *Options) Fault {
	f := Fault{Kind: pick(r, Crash, DiskLoss, DiskLoss, SendOmission, ReceiveOmission, Dawdle, Drift, SlowDisk, SlowMachine), Lasts: Permanent}
	f.At = Duration(between(r, 0, bft.Time(o.Heal)*9/10))
	f.detail(r, o)
	return f
}

// detail draws what its kind of fault needs: whom it hits, and how.
func (f *Fault) detail(r *rand.Rand, o *Options) {
	n, timeout := o.Protocol.N, o.Protocol.RequestTimeout
	// The primaries of the first views are the targets that matter most.
	f.Targets = []bft.ReplicaID{pick(r, 0, 0, 1, 2, bft.ReplicaID(r.IntN(n)))}
	switch f.Kind {
	case Cut, CutFrom, CutTo, SlowDisk, SlowMachine, Late, Jitter:
		count := 1 + r.IntN(n/2)
		if f.Kind == SlowMachine {
			count = n - bft.MaxFaulty(n) - 1
		}
		for len(f.Targets) < count {
			if id := bft.ReplicaID(r.IntN(n)); !slices.Contains(f.Targets, id) {
				f.Targets = append(f.Targets, id)
			}
		}
		slices.Sort(f.Targets)
	case Lossy, Blackout:
		f.Targets = nil
	}
	switch f.Kind {
	case CrashOn:
		f.On = pick(r, crashTypes...)
	case DiskLoss:
		f.On = pick(r, diskLosses...)
	case CrashLoop, Jitter:
		f.Every = timeout / pick(r, Duration(2), 5, 20)
	case Late:
		f.Count = 1 + r.IntN(20)
	case SendOmission, ReceiveOmission:
		if f.Lasts == "" {
			f.Lasts = pick(r, Transient, Intermittent)
		}
		if chance(r, 40) {
			f.On = pick(r, crashTypes...)
		}
		switch f.Lasts {
		case Transient:
			f.Count = 1 + r.IntN(30)
		case Intermittent:
			f.Every = timeout / pick(r, Duration(2), 5, 20)
		}
	}
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
