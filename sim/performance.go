package sim

import (
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// leastShare is how much of the throughput without an attack must be left under it: oracle P1.
const leastShare = 0.30

// Loaded is a cluster under more load than it can carry, in which every signature, sync, batch and byte takes its
// time: what P1 is measured on. Nothing goes wrong in it.
func Loaded(seed uint64) Options {
	o := Plain()
	o.Seed = seed
	o.Protocol.Interval, o.Protocol.Window, o.Protocol.Pipeline, o.Protocol.MaxBatchOps, o.Protocol.MaxBundleOps = 64, 256, 1, 64, 64
	o.Protocol.MaxTimeout = 4 * second
	// More wait than are ordered while a primary may keep a request waiting: what counts is what the cluster can do, not
	// how long a caller waits.
	o.Load = Load{Service: "counter", Clients: 8, Outstanding: 200, Keys: 1, Sequences: 1, For: 3 * second}
	o.Network = Network{Delay: millisecond, Jitter: 200 * microsecond, Bandwidth: 100_000_000}
	o.Machine.Sync = 4 * millisecond
	o.Heal = 0
	return o
}

// Share runs a cluster under load with and without f replicas that behave in some way, the first primary among
// them, and returns how much of the throughput is left. The report is that of the run under attack.
func Share(seed uint64, behaviour string) (float64, *Report, error) {
	calm := Loaded(seed)
	without, err := Run(calm)
	if err != nil {
		return 0, nil, err
	}
	if without.OK() && without.Stats.Measured == 0 {
		without.Outcome, without.Failure = "failed", &Failure{Oracle: "P1", Detail: "nothing was measured without an attack either"}
	}
	if !without.OK() {
		return 0, without, nil
	}
	o := Loaded(seed)
	o.Behaviours = []string{behaviour}
	for id := range bft.ReplicaID(bft.MaxFaulty(o.Protocol.N)) {
		o.Byzantine = append(o.Byzantine, id)
	}
	service := o.Load.Service
	o.demand()
	if o.Load.Service != service { // compare like with like
		calm.Load.Service = o.Load.Service
		if without, err = Run(calm); err != nil || !without.OK() {
			return 0, without, err
		}
	}
	with, err := Run(o)
	if err != nil {
		return 0, nil, err
	}
	share := float64(with.Stats.Measured) / float64(without.Stats.Measured)
	if with.OK() && share < leastShare {
		with.Outcome = "failed"
		with.Failure = &Failure{Oracle: "P1", At: with.Stats.Virtual, Detail: fmt.Sprintf("%d operations under attack, %d without it: %.0f %%, at least %.0f %% are demanded",
			with.Stats.Measured, without.Stats.Measured, 100*share, 100*leastShare)}
	}
	return share, with, nil
}

// BehaviourResult is what came of a behaviour.
type BehaviourResult struct {
	Number int    `json:"number,omitempty"`
	Name   string `json:"name"`
	Role   string `json:"role"`
	Runs   int    `json:"runs"`
	// Sent is how often it lied, Refused and Outvoted what became of its lies: see Stats. What was endured counts
	// as outvoted: the others did without.
	Sent     int `json:"sent"`
	Refused  int `json:"refused"`
	Outvoted int `json:"outvoted"`
	// Throughput is the share that is left under the attack, see Share.
	Throughput float64 `json:"throughput"`
	// Loaded is how often it lied under load: 0 if there is no occasion without faults, and then the share says little.
	Loaded int `json:"lies_under_load"`
	// Defences are the mutants without which it does harm.
	Defences []string `json:"defences"`
	OK       bool     `json:"ok"`
	// Failure says what went wrong.
	Failure string `json:"failure,omitempty"`
}

// Behaviour runs a behaviour under seeds, and under load. It is OK if it really lied, every oracle held, and enough of
// the throughput was left.
func Behaviour(number int, name, role string, defences []string, seeds []uint64) (*BehaviourResult, error) {
	out := &BehaviourResult{Number: number, Name: name, Role: role, Defences: slices.Concat([]string{}, defences), OK: true}
	fail := func(r *Report, how string) {
		if out.OK {
			out.OK, out.Failure = false, fmt.Sprintf("seed %d%s: %v", r.Options.Seed, how, r.Failure)
		}
	}
	for _, seed := range seeds {
		r, err := Run(Under(seed, name))
		if err != nil {
			return nil, err
		}
		out.Runs++
		out.Sent += r.Stats.Deeds
		out.Refused += r.Stats.Refused
		out.Outvoted += r.Stats.Outvoted + r.Stats.Endured
		if !r.OK() {
			fail(r, "")
		}
	}
	share, r, err := Share(seeds[0], name)
	if err != nil {
		return nil, err
	}
	if out.Throughput, out.Loaded = share, r.Stats.Deeds; !r.OK() {
		fail(r, ", under load")
	}
	if out.OK && out.Sent == 0 {
		out.OK, out.Failure = false, "it never lied"
	}
	return out, nil
}
