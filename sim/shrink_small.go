package sim

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// smallWorlds is how many small clusters are tried before a large one is made small; enough is how many failures
// among them.
const (
	smallWorlds = 400
	enough      = 6
)

// restart looks for the failure in small clusters: the same adversary among four replicas with little to do, and
// a few faults. What fails there is far smaller than what a cluster of nine, in which hundreds of
// messages are lost, can be made in as many runs. Of several it takes the one that fails first: the less there was
// before, the less there is to read. It tells whether it found one.
func (x *shrinking) restart(worlds int) bool {
	var best Options
	var first *Report
	found := 0
	for seed := uint64(1); seed <= uint64(worlds) && found < enough; seed++ {
		o := smallWorld(seed, &x.best)
		if r := x.fails(&o); r != nil {
			found++
			if first == nil || r.Failure.At < first.Failure.At {
				best, first = o, r
			}
		}
		x.tell()
	}
	if first != nil {
		x.best, x.report = best, first
	}
	return first != nil
}

// smallWorld draws a run of four replicas under the adversary of another run, with up to three faults.
func smallWorld(seed uint64, like *Options) Options {
	o := Plain()
	o.Seed, o.Behaviours, o.Lying, o.Demand, o.Signatures = seed, slices.Clone(like.Behaviours), like.Lying, like.Demand, like.Signatures
	r := stream(seed, "small world")
	o.Load.Clients, o.Load.Keys = 1+r.IntN(2), 1
	o.Load.Think = pick(r, 5*millisecond, 20*millisecond, 100*millisecond)
	if like.Load.Linearizable > 0 {
		o.Load.Linearizable = pick(r, 0, 20, 50)
	}
	o.Load.Semantics, o.Network.ClientLoss = like.Load.Semantics, like.Network.ClientLoss
	if like.Load.Crashes > 0 {
		o.Load.Clients, o.Load.Crashes = 2, 1
	}
	if like.Load.BadClients > 0 {
		o.Load.BadClients = 1
	}
	if len(like.Byzantine) > 0 {
		first := r.IntN(o.Protocol.N)
		count := 1
		if like.Beyond {
			o.Beyond, count = true, min(len(like.Byzantine), o.Protocol.N-1)
		}
		for i := range count {
			o.Byzantine = append(o.Byzantine, bft.ReplicaID((first+i)%o.Protocol.N))
		}
		slices.Sort(o.Byzantine)
	}
	o.demand()
	for range r.IntN(4) {
		f := drawFault(r, &o)
		f.At, f.Until = f.At/(10*millisecond)*10*millisecond, f.Until/(10*millisecond)*10*millisecond
		with := o
		with.Faults = append(slices.Clone(o.Faults), f)
		if with.Validate() == nil {
			o = with
		}
	}
	o.outages()
	return o
}
