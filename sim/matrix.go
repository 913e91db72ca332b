package sim

import (
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// CellOf is one cell of the classification of failures: a class in one of its durations.
type CellOf struct {
	Class    Class       `json:"class"`
	Duration Persistence `json:"duration"`
	// Name is that of the scenario, Story what it does in one line.
	Name  string `json:"name"`
	Story string `json:"story"`
	// Options makes a run in which up to f replicas fail in this way, from a seed.
	Options func(seed uint64) Options `json:"-"`
}

// cellScript is how a cell is made: of a fault, or of behaviours.
type cellScript struct {
	name, story string
	behaviours  []string
	fault       func(o *Options, f *Fault)
}

// scripts are the cells by class, in the order of Persistences.
var scripts = map[Class][3]cellScript{
	ClassCrash: {
		{name: "power cut", story: "killed once, unsynced bytes lost, and restarted a request timeout later",
			fault: func(o *Options, f *Fault) { f.Kind, f.Until = Crash, f.At+o.Protocol.RequestTimeout }},
		{name: "crash loop", story: "killed again and again, also while it is still catching up",
			fault: func(o *Options, f *Fault) {
				f.Kind, f.Every, f.Until = CrashLoop, o.Protocol.RequestTimeout/2, o.Heal
			}},
		{name: "gone", story: "killed, and never back",
			fault: func(_ *Options, f *Fault) { f.Kind, f.Lasts = Crash, Permanent }},
	},
	ClassSendOmission: {
		{name: "lost words", story: "the next messages that it sends are lost",
			fault: func(o *Options, f *Fault) { f.Kind, f.Lasts, f.Count, f.Until = SendOmission, Transient, 20, o.Heal }},
		{name: "loose cable out", story: "what it sends is lost by turns",
			fault: func(o *Options, f *Fault) {
				f.Kind, f.Lasts, f.Every, f.Until = SendOmission, Intermittent, o.Protocol.RequestTimeout/5, o.Heal
			}},
		{name: "mute", story: "all reaches it, nothing leaves it",
			fault: func(_ *Options, f *Fault) { f.Kind, f.Lasts = SendOmission, Permanent }},
	},
	ClassReceiveOmission: {
		{name: "missed words", story: "the next messages to it are lost",
			fault: func(o *Options, f *Fault) { f.Kind, f.Lasts, f.Count, f.Until = ReceiveOmission, Transient, 20, o.Heal }},
		{name: "loose cable in", story: "what is sent to it is lost by turns",
			fault: func(o *Options, f *Fault) {
				f.Kind, f.Lasts, f.Every, f.Until = ReceiveOmission, Intermittent, o.Protocol.RequestTimeout/5, o.Heal
			}},
		{name: "deaf", story: "it talks and hears nothing",
			fault: func(_ *Options, f *Fault) { f.Kind, f.Lasts = ReceiveOmission, Permanent }},
	},
	ClassTiming: {
		{name: "late post", story: "the next messages that it sends come up to two request timeouts late",
			fault: func(o *Options, f *Fault) { f.Kind, f.Count, f.Until = Late, 20, o.Heal }},
		{name: "bursts", story: "its network jitters and its disk is slow, by turns",
			fault: func(o *Options, f *Fault) { f.Kind, f.Every, f.Until = Jitter, o.Protocol.RequestTimeout/3, o.Heal }},
		{name: "dawdler", story: "all that it sends is a quarter of the request timeout late, always just in time",
			fault: func(_ *Options, f *Fault) { f.Kind = Dawdle }},
	},
	ClassValue: {
		{name: "one bit", story: "one bit turns in a vote before it is signed, or in a reply", behaviours: []string{"flipped bit"}},
		{name: "weak memory", story: "bits turn in votes and replies by turns", behaviours: []string{"flipped bit"}},
		{name: "wrong processor", story: "it computes wrong results, as all machines of its make do alike", behaviours: []string{"wrong result"}},
	},
	ClassState: {
		{name: "one batch", story: "the operations of one batch are left out or applied twice", behaviours: []string{"misapplied batch"}},
		{name: "forgetful", story: "now and then a vote leaves without its record, and the power fails", behaviours: []string{"unpersisted vote"}},
		{name: "wrong quorum", story: "it commits without a quorum of prepares, and comes back from each power failure with an older disk",
			behaviours: []string{"wrong quorum rule", "amnesia"}},
	},
	ClassArbitrary: {
		{name: "one lie", story: "one proposal is another for one half of the others", behaviours: []string{"equivocating primary"}},
		{name: "two faces", story: "it equivocates and follows the protocol by turns", behaviours: []string{"equivocating primary"}},
		{name: "conspiracy", story: "equivocation, omitted certificates, wrong replies, the network and the power, by one plan", behaviours: []string{"conspiracy"}},
	},
}

// Cell returns a cell of the classification. It is false if there is no such class or duration.
func Cell(class Class, lasts Persistence) (CellOf, bool) {
	at := slices.Index(Persistences(), lasts)
	s, ok := scripts[class]
	if !ok || at < 0 {
		return CellOf{}, false
	}
	c := CellOf{Class: class, Duration: lasts, Name: s[at].name, Story: s[at].story}
	c.Options = func(seed uint64) Options { return s[at].options(seed, lasts) }
	return c, true
}

// Cells lists all cells, by class and then by duration.
func Cells() []CellOf {
	var out []CellOf
	for _, class := range Classes() {
		for _, lasts := range Persistences() {
			c, _ := Cell(class, lasts)
			out = append(out, c)
		}
	}
	return out
}

// options draws a run with nothing wrong but this cell, at f replicas, the first primary among them.
func (s *cellScript) options(seed uint64, lasts Persistence) Options {
	o := calm(seed)
	ids := lead(bft.MaxFaulty(o.Protocol.N))
	if s.fault == nil {
		o.Behaviours, o.Byzantine, o.Lying = s.behaviours, ids, lasts
		o.demand()
		o.outages()
		return o
	}
	r := stream(seed, "cell")
	f := Fault{Targets: ids, At: Duration(between(r, bft.Time(o.Heal)/20, bft.Time(o.Heal)/4)) / millisecond * millisecond}
	s.fault(&o, &f)
	o.Faults = []Fault{f}
	return o
}

// calm draws a run as Draw does, with no faults and no adversary.
func calm(seed uint64) Options {
	o := Draw(seed)
	o.Faults, o.Behaviours, o.Byzantine, o.Lying, o.Load.BadClients = nil, nil, nil, "", 0
	o.Network.Loss, o.Network.Duplicate, o.Network.Reorder = 0, 0, 0
	return o
}

// lead lists the primaries of the first views.
func lead(count int) []bft.ReplicaID {
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(count) {
		ids = append(ids, id)
	}
	return ids
}

// Beyond returns options of a run in which one replica more than tolerated fails in a class, for good, and
// the oracles of which one must break then: the proof that the bench can fail. They are one more than f
// of n = 3f+1, as with more replicas the quorums have room.
func Beyond(class Class, seed uint64) (Options, []string) {
	o := calm(seed)
	o.Protocol.N, o.Beyond = 4+3*int(seed%2), true
	ids := lead(bft.MaxFaulty(o.Protocol.N) + 1)
	stay := Fault{Lasts: Permanent, Targets: ids, At: o.Heal / 2 / millisecond * millisecond}
	switch class {
	case ClassCrash:
		stay.Kind = Crash
	case ClassSendOmission:
		stay.Kind = SendOmission
	case ClassReceiveOmission:
		stay.Kind = ReceiveOmission
	case ClassTiming:
		stay.Kind, stay.Every = Dawdle, 12*o.Protocol.RequestTimeout
	default:
		o.Byzantine, o.Lying = ids, Permanent
		return beyondLies(o, class)
	}
	o.Faults = []Fault{stay}
	return o, []string{"L1"}
}

// beyondLies is Beyond for the classes in which something wrong is said.
func beyondLies(o Options, class Class) (Options, []string) {
	switch class {
	case ClassValue:
		o.Behaviours = []string{"wrong result"}
		return o, []string{"S5"}
	case ClassState:
		o.Behaviours = []string{"wrong quorum rule"}
		o.Faults = betray(&o)
		return o, []string{"S1"}
	}
	o.Behaviours = []string{"equivocating primary"}
	return o, []string{"S1"}
}

// betray has the network show what commits without prepares are worth. First some honest replicas hear all, and
// nobody hears them, while the others are cut off: what they execute nobody else has prepared. Then they are the
// ones who are cut off, and the rest changes views without them.
func betray(o *Options) []Fault {
	f := bft.ReplicaID(bft.MaxFaulty(o.Protocol.N))
	var trusting, others []bft.ReplicaID
	for i := range f {
		trusting, others = append(trusting, f+1+i), append(others, 2*f+1+i)
	}
	var faults []Fault
	timeout := o.Protocol.RequestTimeout
	for at := timeout; at+4*timeout <= o.Heal; at += 4 * timeout {
		half := at + 2*timeout
		faults = append(faults, Fault{Kind: CutFrom, Targets: trusting, At: at, Until: half}, Fault{Kind: Cut, Targets: others, At: at, Until: half},
			Fault{Kind: Cut, Targets: trusting, At: half, Until: half + 2*timeout})
	}
	return faults
}

// CellResult is what became of the runs of a cell.
type CellResult struct {
	Class    Class       `json:"class"`
	Duration Persistence `json:"duration"`
	Name     string      `json:"name"`
	// Runs is how many there were, Injected how often the fault really hit in all of them.
	Runs     int `json:"runs"`
	Injected int `json:"injected"`
	// OK: every oracle held in every run, and the fault hit in each.
	OK bool `json:"ok"`
	// Failure says what was not OK.
	Failure string `json:"failure,omitempty"`
	// Beyond is the oracle that broke when one replica more than tolerated failed in this class for good;
	// set for the permanent cells.
	Beyond string `json:"beyond,omitempty"`
	// BeyondSeeds is how many seeds that took.
	BeyondSeeds int `json:"beyond_seeds,omitempty"`
}

// beyondTries is how many seeds a guarantee may take to break beyond the budget.
const beyondTries = 60

// Matrix runs all cells, each with the seeds of the campaign, and for each class the proof that the bench
// can fail. The campaign's Options are not used. progress, if set, is told of each cell when it is judged. The error
// says that the simulator itself failed.
func Matrix(c Campaign, progress func(CellResult)) ([]CellResult, error) {
	var out []CellResult
	for _, cell := range Cells() {
		r, err := runCell(c, &cell)
		if err == nil && cell.Duration == Permanent {
			err = r.goBeyond(c.First)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", cell.Class, cell.Duration, err)
		}
		out = append(out, r)
		if progress != nil {
			progress(r)
		}
	}
	return out, nil
}

func runCell(c Campaign, cell *CellOf) (CellResult, error) {
	r := CellResult{Class: cell.Class, Duration: cell.Duration, Name: cell.Name, OK: true}
	missed := 0
	c.Options = cell.Options
	c.each = func(report *Report) {
		hit := injectedIn(report, cell)
		r.Injected += hit
		if hit == 0 {
			missed++
		}
	}
	census, failed, err := Fuzz(c)
	if err != nil {
		return r, err
	}
	r.Runs = census.Runs
	switch {
	case failed != nil:
		r.OK, r.Failure = false, fmt.Sprintf("seed %d: %v", failed.Options.Seed, failed.Failure)
	case r.Injected == 0 || cell.Duration != Transient && missed > 0:
		r.OK, r.Failure = false, fmt.Sprintf("the fault hit in %d of %d runs only", r.Runs-missed, r.Runs)
	}
	return r, nil
}

// injectedIn counts how often the cell's fault hit in a run: faults by their hits, behaviours by their deeds.
func injectedIn(r *Report, cell *CellOf) int {
	for _, x := range r.Stats.Injected {
		if x.Class == cell.Class && x.Lasts == cell.Duration {
			return x.Count
		}
	}
	return 0
}

// goBeyond looks for a seed whose guarantee breaks when one more replica fails than may.
func (r *CellResult) goBeyond(first uint64) error {
	for seed := first; seed < first+beyondTries; seed++ {
		o, must := Beyond(r.Class, seed)
		report, err := Run(o)
		if err != nil {
			return err
		}
		r.BeyondSeeds++
		if f := report.Failure; f != nil && slices.Contains(must, f.Oracle) {
			r.Beyond = f.Oracle
			return nil
		}
	}
	r.OK, r.Failure = false, fmt.Sprintf("with more than f replicas that fail no oracle breaks in %d seeds: the bench cannot fail", beyondTries)
	return nil
}
