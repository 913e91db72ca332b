package sim

import (
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/account"
)

// accounts keep what honest replicas hold signed, and find out from it who broke the protocol: oracles A1 and A2.
type accounts struct {
	*verdict
	book *account.Book
}

func newAccounts(w *world) *accounts {
	return &accounts{w.verdict, account.New(account.Manifest{Cluster: w.cluster, Members: w.members, Interval: w.opts.Protocol.Interval, Verifier: w.verifier})}
}

// holds takes a frame that an honest replica sent, or got from somebody who is not.
func (a *accounts) holds(frame []byte) {
	// A frame with an envelope that does not hold was refused as a whole, and one that a Book has no use
	// for proves nothing.
	_ = a.book.AddFrame(frame)
}

// Accusation is a replica that the evidence names.
type Accusation struct {
	Replica bft.ReplicaID `json:"replica"`
	Kind    string        `json:"kind"`
}

// agreement tells whether an oracle that breaks means that honest replicas disagree.
func agreement(oracle string) bool { return oracle == "S1" || oracle == "S2" }

// settle holds the evidence against what is true: it names nobody who is honest (A2), and if agreement broke
// although no more than 2f replicas are faulty, it names more than f (A1).
func (a *accounts) settle(w *world) []Accusation {
	var named []Accusation
	for _, e := range a.book.Culprits() {
		named = append(named, Accusation{e.Culprit, e.Kind.String()})
		if w.hosts[e.Culprit].honest() {
			a.fail("A2", "the evidence names honest replica %d: %v", e.Culprit, e.Kind)
		}
	}
	f := bft.MaxFaulty(w.n)
	if broke := w.failure; broke != nil && agreement(broke.Oracle) && len(w.opts.Byzantine) > f && len(w.opts.Byzantine) <= 2*f && len(named) <= f {
		w.failure = nil
		a.fail("A1", "agreement broke (%v), and the evidence names only %v, of %v", broke, named, w.opts.Byzantine)
	}
	return named
}

// Betrayal chooses options under which agreement may break: more than f and at most 2f replicas lie together, in
// ways that deceive about what was agreed. Only agreement and accountability are demanded.
func Betrayal(seed uint64) Options {
	o := Draw(seed)
	r := stream(seed, "betrayal")
	f := bft.MaxFaulty(o.Protocol.N)
	o.Behaviours = betrayals[r.IntN(len(betrayals))]
	o.Byzantine = []bft.ReplicaID{bft.ReplicaID(r.IntN(2))}
	for t := f + 1 + r.IntN(f); len(o.Byzantine) < t; {
		if id := bft.ReplicaID(r.IntN(o.Protocol.N)); !slices.Contains(o.Byzantine, id) {
			o.Byzantine = append(o.Byzantine, id)
		}
	}
	slices.Sort(o.Byzantine)
	o.Beyond, o.Lying, o.Load.BadClients = true, Permanent, 0
	o.Demand = []string{"S1", "S2", "A1", "A2"}
	o.demand()
	return o
}

// betrayals are the behaviours that break agreement when there are enough accomplices.
var betrayals = [][]string{
	{"equivocating primary"}, {"equivocating primary"}, {"equivocating primary", "omitted certificates"}, {"omitted certificates"},
	{"forged certificates", "equivocating primary"},
}

// Accountability is what came of runs with more than f liars.
type Accountability struct {
	Runs int `json:"runs"`
	// Broken are the runs in which honest replicas disagreed, Named those of them in which more than f culprits were.
	Broken int `json:"agreement_broken"`
	Named  int `json:"more_than_f_named"`
	// Accused is how many replicas were named in all runs, Kinds by what they did.
	Accused int            `json:"accused"`
	Kinds   map[string]int `json:"kinds"`
}

func (a *Accountability) add(r *Report) {
	a.Runs++
	if f := r.Failure; f != nil && agreement(f.Oracle) {
		a.Broken++
		if len(r.Accused) > bft.MaxFaulty(r.Options.Protocol.N) {
			a.Named++
		}
	}
	a.Accused += len(r.Accused)
	for _, x := range r.Accused {
		a.Kinds[x.Kind]++
	}
}

// Account runs Betrayal for the seeds of a campaign. It returns the report of a run in which the evidence did not
// suffice, or named somebody honest; that agreement breaks is what these runs are for.
func Account(c Campaign) (*Accountability, *Report, error) {
	out := &Accountability{Kinds: make(map[string]int)}
	c.Options = Betrayal
	c.expected = func(r *Report) bool { return r.Failure != nil && agreement(r.Failure.Oracle) }
	c.each = out.add
	_, failed, err := Fuzz(c)
	return out, failed, err
}

// String is the summary in a line.
func (a *Accountability) String() string {
	return fmt.Sprintf("%d runs, agreement broke in %d, more than f culprits were named in %d of these", a.Runs, a.Broken, a.Named)
}
