package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Twins enumerated, after Bano, Sonnino, Chursin, Perelman, Li, Ching and Malkhi, "Twins: BFT Systems Made Robust"
// (OPODIS 2021): whatever a Byzantine replica can do in a small cluster, two honest instances with one key and a network
// that splits the cluster anew in each view can do nearly all of it.

// twinN is how many replicas the cluster of an enumeration has: one may be faulty, and runs twice.
const twinN = 4

// twinSplits is into how many pairs of sets the five instances can be divided. There are 2^5 assignments to two
// sets; which of the two is the first does not matter, so the first twin is always in the first. One of the 16
// is no division at all.
const twinSplits = 1 << twinN

// MaxTwinViews bounds TwinsOptions.Views: with more views there are more scenarios than numbers.
const MaxTwinViews = 6

// TwinsOptions say what Twins enumerates.
type TwinsOptions struct {
	// Views is for how many views every division of the instances is tried, 1 to MaxTwinViews.
	Views int
	// First and Last are the numbers of the scenarios to begin and end with, from 0; a Last of 0 is the end.
	First, Last int
	// Every runs each scenario whose number is First plus a multiple of it only; 0 and 1 run all.
	Every int
	// Seed is what delays are drawn from, the same for all scenarios.
	Seed uint64
	// Jobs is how many runs go on at the same time, at least 1.
	Jobs int
}

// TwinsReport is what Twins found.
type TwinsReport struct {
	// Scenarios is how many there are for so many views, Runs how many were run.
	Scenarios int `json:"scenarios"`
	Runs      int `json:"runs"`
	Views     int `json:"views"`
	// Equivocations are the runs in which the twins really signed two things for one view, number and phase.
	Equivocations int `json:"equivocations"`
	// Reached counts the runs by the highest view that an honest replica entered; the last entry has all
	// that went beyond.
	Reached []int `json:"reached"`
	// Failed is the first scenario, by its number, in which an oracle broke.
	Failed *TwinsFailure `json:"failed,omitempty"`
}

// TwinsFailure is a scenario in which an oracle broke.
type TwinsFailure struct {
	// Number repeats it: run Twins from it to it.
	Number   int      `json:"number"`
	Scenario string   `json:"scenario"`
	Failure  *Failure `json:"failure"`
}

// TwinsScenarios is how many scenarios there are for so many views: each replica may be the one that runs twice,
// and each view may divide the instances in each way.
func TwinsScenarios(views int) int {
	count := twinN
	for range views {
		count *= twinSplits
	}
	return count
}

// twinsScenario is one of them.
type twinsScenario struct {
	number int
	twin   bft.ReplicaID
	// splits has for each view the set of the second side, as bits: the replicas by their IDs, then the
	// second twin.
	splits []uint
}

// newTwinsScenario takes a number apart: the twin, then the division of each view, the first view in the
// lowest digits.
func newTwinsScenario(number, views int) twinsScenario {
	s := twinsScenario{number: number, twin: bft.ReplicaID(number % twinN)}
	number /= twinN
	for range views {
		bits := uint(number % twinSplits)
		// The first twin is on the first side: the bits from its own on move up by one.
		low := bits & (1<<s.twin - 1)
		s.splits = append(s.splits, low|bits>>s.twin<<(s.twin+1))
		number /= twinSplits
	}
	return s
}

// apart tells whether two instances are on different sides in a view.
func (s *twinsScenario) apart(view bft.View, a, b endpoint) bool {
	if view >= bft.View(len(s.splits)) {
		return false
	}
	x := s.splits[view]
	return x>>a&1 != x>>b&1
}

// String describes the scenario: in each view who is on which side, the second twin with a prime.
func (s *twinsScenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "twin %d", s.twin)
	for v, split := range s.splits {
		var sides [2][]string
		for i := range twinN + 1 {
			name := fmt.Sprint(i)
			if i == twinN {
				name = fmt.Sprint(s.twin, "'")
			}
			sides[split>>i&1] = append(sides[split>>i&1], name)
		}
		fmt.Fprintf(&b, ", view %d: %s", v, strings.Join(sides[0], " "))
		if len(sides[1]) > 0 {
			fmt.Fprintf(&b, " | %s", strings.Join(sides[1], " "))
		}
	}
	return b.String()
}

// Options are those of a short run: a view lasts for about a request timeout, then its primary is not heard any
// more, so that the next view comes; when all had their time, the network is healed and liveness is demanded.
func (s *twinsScenario) options(seed uint64) Options {
	o := Plain()
	timeout := 100 * millisecond
	o.Seed = seed
	o.Protocol = Protocol{N: twinN, Interval: 16, Window: 32, Pipeline: 2, MaxBatchOps: 2, MaxBundleOps: 1,
		RequestTimeout: timeout, MaxTimeout: timeout, SuspectFloor: timeout * 4 / 5, StatusInterval: timeout * 2 / 5}
	o.Load = Load{Service: "counter", Clients: 2, Outstanding: 1, Keys: 1, Think: timeout / 4, Calls: 2 + 2*len(s.splits), Sequences: 1}
	o.Heal = timeout * 3 / 2 * Duration(len(s.splits))
	o.Behaviours, o.Byzantine = []string{"twins"}, []bft.ReplicaID{s.twin}
	return o
}

// twinsRun is one run of a scenario.
type twinsRun struct {
	twinsScenario
	w     *world
	begun bool // the divisions
	// since is when each view was first entered by somebody.
	since map[bft.View]bft.Time
	// signed is what the twins have signed, both together.
	signed     map[promiseKey]crypto.Digest
	equivocate bool
}

// run runs the scenario.
func (s *twinsScenario) run(seed uint64) (*twinsRun, *Report, error) {
	w, err := newWorld(s.options(seed))
	if err != nil {
		return nil, nil, err
	}
	t := &twinsRun{twinsScenario: *s, w: w, since: make(map[bft.View]bft.Time), signed: make(map[promiseKey]crypto.Digest)}
	w.brief, w.net.decide = true, t.decide
	r, err := w.run()
	return t, r, err
}

// decide is what the network does: it divides the instances as the view of the sender says, and does not carry
// what its primary sends when the view has had its time.
func (t *twinsRun) decide(m *message) byz.Fate {
	from := t.w.hosts[m.from]
	if from.id == t.twin {
		t.note(m.frame)
		t.watch(m)
	}
	if t.w.net.healed || !from.up || !t.started() {
		return byz.Fate{}
	}
	now, info := t.w.q.now, from.replica.Info()
	if _, known := t.since[info.View]; !known {
		t.since[info.View] = now
	}
	over := info.View < bft.View(len(t.splits)) && !info.Changing && info.Primary == from.id &&
		now > t.since[info.View]+bft.Time(t.w.opts.Protocol.RequestTimeout)
	return byz.Fate{Lose: over || t.apart(info.View, m.from, m.to)}
}

// started tells whether all instances have started: one that never heard of the others says nothing (rule 19), and
// is no twin.
func (t *twinsRun) started() bool {
	t.begun = t.begun || !slices.ContainsFunc(t.w.hosts, func(h *host) bool { return !h.up || h.replica.Info().Starting })
	return t.begun
}

// watch lets the twins look out for each other, which they do by their statuses. What they would have the network do
// does not count: the scenario says that.
func (t *twinsRun) watch(m *message) {
	if wire.TypeOf(m.frame) != bft.TypeStatus {
		return
	}
	for _, h := range t.w.hosts {
		if h.liar != nil {
			h.liar.Schedule(byz.Passing{Now: t.w.q.now, From: t.twin, To: t.w.hosts[m.to].id, FromInstance: int(m.from), ToInstance: int(m.to), Frame: m.frame})
			h.liar.Told()
		}
	}
}

// note looks whether the twins contradict each other.
func (t *twinsRun) note(frame []byte) {
	if t.equivocate {
		return
	}
	e := wire.Envelope(frame)
	if e == nil || e.Signer != uint32(t.twin) {
		return
	}
	for _, c := range claims(e) {
		if was, ok := t.signed[c.key]; ok && was != c.digest {
			t.equivocate = true
		}
		t.signed[c.key] = c.digest
	}
}

// Twins runs every scenario of two instances with one key in a cluster of four: every choice of the replica that
// runs twice, and for each of the first views every division of the five instances into at most two sets.
// It stops at the first in which an oracle breaks. progress, if set, is told how many scenarios are done, of how
// many. The error says that the options are no good, or that the simulator itself failed.
func Twins(o TwinsOptions, progress func(done, total int)) (*TwinsReport, error) {
	if o.Views < 1 || o.Views > MaxTwinViews {
		return nil, fmt.Errorf("sim: twins: %d views: give 1 to %d", o.Views, MaxTwinViews)
	}
	all := TwinsScenarios(o.Views)
	if o.Last == 0 {
		o.Last = all - 1
	}
	if o.First < 0 || o.First > o.Last || o.Last >= all || o.Every < 0 {
		return nil, fmt.Errorf("sim: twins: scenarios %d to %d, every %d: there are 0 to %d", o.First, o.Last, o.Every, all-1)
	}
	o.Every, o.Jobs = max(1, o.Every), max(1, o.Jobs)
	e := &enumeration{TwinsOptions: o, next: o.First, progress: progress,
		report: TwinsReport{Scenarios: all, Views: o.Views, Reached: make([]int, o.Views+1)}}
	var workers sync.WaitGroup
	for range o.Jobs {
		workers.Go(func() {
			for e.one() {
			}
		})
	}
	workers.Wait()
	return &e.report, e.err
}

// enumeration is a run of Twins.
type enumeration struct {
	TwinsOptions
	progress func(done, total int)
	mu       sync.Mutex
	next     int
	ended    bool
	report   TwinsReport
	err      error
}

// one runs the next scenario. It is false when there is nothing more to do.
func (e *enumeration) one() bool {
	e.mu.Lock()
	number := e.next
	if e.ended || number > e.Last {
		e.mu.Unlock()
		return false
	}
	e.next += e.Every
	e.mu.Unlock()

	s := newTwinsScenario(number, e.Views)
	t, r, err := s.run(e.Seed)

	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.err, e.ended = fmt.Errorf("sim: twins: scenario %d (%s): %w", number, &s, err), true
		return false
	}
	e.add(t, r)
	if e.progress != nil {
		e.progress(e.report.Runs, (e.Last-e.First)/e.Every+1)
	}
	return !e.ended
}

// add counts a run. Scenarios that are run at the same time may fail together: the lowest number is kept.
func (e *enumeration) add(t *twinsRun, r *Report) {
	e.report.Runs++
	if t.equivocate {
		e.report.Equivocations++
	}
	e.report.Reached[min(int(r.Stats.Views), e.Views)]++
	if r.OK() {
		return
	}
	e.ended = true
	if f := e.report.Failed; f == nil || f.Number > t.number {
		e.report.Failed = &TwinsFailure{Number: t.number, Scenario: t.String(), Failure: r.Failure}
	}
}
