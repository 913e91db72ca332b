package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
)

// Mission is a long time under faults, over which dependability is measured.
type Mission struct {
	Seed uint64
	// Replicas is n, at least 4.
	Replicas int
	// Hours of virtual time, 1 to MaxMission. Each is a run with a cluster of its own.
	Hours int
	// Within is the time within which a correct answer must come; what takes longer is a failure of the service.
	Within Duration
	// Every is the mean time between two faults of one class at one replica, For how long one lasts in the mean; both
	// are drawn exponentially. Every 0: no such faults.
	Every, For Duration
	// Classes are those of the faults.
	Classes []Class
	// Lies gives f replicas to the adversary, with a behaviour drawn anew for each hour.
	Lies bool
	// OutageEvery and OutageFor: all replicas are down at the end of each OutageEvery, for OutageFor. 0: never.
	OutageEvery, OutageFor Duration
	// Jobs is how many hours run beside each other.
	Jobs int
	// Done, if set, is called after each hour.
	Done func()
}

// MaxMission bounds Mission.Hours.
const MaxMission = 10_000

// hour is the length of one run.
const hour = 3600 * second

// MissionClasses are the classes of faults of the environment that a Mission can have.
func MissionClasses() []Class {
	return []Class{ClassCrash, ClassSendOmission, ClassReceiveOmission, ClassTiming}
}

// lyingBehaviours are what a replica of the adversary does for an hour: one for each of the classes of lies, and more.
var lyingBehaviours = []string{"wrong replies", "wrong result", "misapplied batch", "equivocating primary", "prepare equivocation", "silent primary"}

func (m *Mission) validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("sim: "+format, args...))
		}
	}
	bad(m.Replicas >= 4 && m.Replicas <= 31, "replicas: %d is not within 4 to 31", m.Replicas)
	bad(m.Hours >= 1 && m.Hours <= MaxMission, "hours: %d is not within 1 to %d", m.Hours, MaxMission)
	bad(m.Within >= 100*millisecond && m.Within <= 600*second, "within: %v is not within 100ms and 10m", m.Within)
	bad(m.Every == 0 || m.Every >= 60*second, "every: %v is neither 0 nor at least 1m", m.Every)
	bad(m.Every == 0 || m.For >= 100*millisecond && m.For <= hour, "for: %v is not within 100ms and 1h", m.For)
	bad(m.OutageEvery == 0 || m.OutageEvery >= 10*second && m.OutageFor >= millisecond && m.OutageFor < m.OutageEvery,
		"outages of %v every %v: at least 10s apart, 1ms long, and shorter than the time between them", m.OutageFor, m.OutageEvery)
	bad(m.Jobs >= 1, "jobs: %d, at least 1 is needed", m.Jobs)
	for _, c := range m.Classes {
		bad(slices.Contains(MissionClasses(), c), "class %q is none of %s", c, listed(MissionClasses()))
	}
	return errors.Join(errs...)
}

// Run runs the mission. The error says that it is no good, or that the simulator itself has failed.
func (m *Mission) Run() (*Dependability, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	hours := make([]missionHour, m.Hours)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(m.Jobs, m.Hours) {
		wg.Go(func() {
			for k := range next {
				hours[k].run(m, k)
				if m.Done != nil {
					m.Done()
				}
			}
		})
	}
	for k := range hours {
		next <- k
	}
	close(next)
	wg.Wait()
	return m.sum(hours)
}

// missionHour is one of the runs.
type missionHour struct {
	options Options
	outages []Stretch // in which some client waited too long
	answers int
	lies    []Duration // when they were told
	report  *Report
	err     error
}

func (h *missionHour) run(m *Mission, k int) {
	h.options = m.hour(k)
	clients := make([]missionClient, h.options.Load.Clients)
	first := h.options.endpoints() - len(clients)
	h.options.Observe = func(e *Event) {
		if e.Kind == KindLie && Duration(e.At) < hour {
			h.lies = append(h.lies, Duration(e.At))
		}
		if e.From < first || e.Kind != KindCall && e.Kind != KindResult {
			return
		}
		c := &clients[e.From-first]
		now := min(Duration(e.At), hour)
		switch {
		case e.Kind == KindCall:
			if !c.waits {
				c.waits, c.since = true, now
			}
		case strings.HasSuffix(e.Text(), ", <nil>"): // answered; one that was given up leaves its caller waiting
			h.answers++
			h.waited(c, now, m.Within)
			c.waits = false
		}
	}
	if h.report, h.err = Run(h.options); h.err != nil {
		return
	}
	for i := range clients {
		h.waited(&clients[i], hour, m.Within)
	}
}

// missionClient is since when a client waits for an answer.
type missionClient struct {
	waits bool
	since Duration
}

func (h *missionHour) waited(c *missionClient, until, within Duration) {
	if missed, ok := Missed(Stretch{c.since, until}, within); c.waits && ok {
		h.outages = append(h.outages, missed)
	}
}

// hour are the options of the k-th run.
func (m *Mission) hour(k int) Options {
	seed := seedOf(m.Seed, fmt.Sprint("mission hour ", k))
	o := Options{Seed: uint64(seed[0])<<24 | uint64(seed[1])<<16 | uint64(seed[2])<<8 | uint64(seed[3]), Signatures: "fast", Beyond: true, Heal: hour,
		Demand:   []string{"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "D2", "T1", "A2", "PANIC"},
		Protocol: Protocol{N: m.Replicas, Interval: 32, Window: 128, Pipeline: 4, MaxBatchOps: 16, MaxBundleOps: 4, RequestTimeout: 500 * millisecond, MaxTimeout: 4 * second, SuspectFloor: 200 * millisecond, StatusInterval: 500 * millisecond},
		Network:  Network{Delay: millisecond, Jitter: millisecond},
		Machine:  Machine{Sync: millisecond, Snapshot: 5 * millisecond, Sign: 50 * microsecond, Verify: 40 * microsecond, Execute: 50 * microsecond, Turn: 50 * microsecond},
		Load:     Load{Service: "counter", Clients: 2, Outstanding: 1, Keys: 1, Think: 4 * second, Ordered: 30, Sequences: 1}}
	r := stream(o.Seed, "mission")
	for _, class := range m.Classes {
		for id := range bft.ReplicaID(m.Replicas) {
			if m.Every > 0 {
				o.Faults = append(o.Faults, m.faults(r, class, id)...)
			}
		}
	}
	o.Faults = append(o.Faults, m.blackouts(k)...)
	if m.Lies {
		for f := range bft.MaxFaulty(m.Replicas) {
			o.Byzantine = append(o.Byzantine, bft.ReplicaID(f+r.IntN(m.Replicas))%bft.ReplicaID(m.Replicas))
		}
		slices.Sort(o.Byzantine)
		o.Byzantine = slices.Compact(o.Byzantine)
		o.Behaviours, o.Lying = []string{pick(r, lyingBehaviours...)}, Intermittent
	}
	return o
}

// faults draws those of one class at one replica.
func (m *Mission) faults(r *rand.Rand, class Class, id bft.ReplicaID) (all []Fault) {
	draw := func(mean Duration) Duration { return Duration(r.ExpFloat64() * float64(mean)) }
	for at := draw(m.Every); at < hour; at += draw(m.Every) {
		f := Fault{Targets: []bft.ReplicaID{id}, At: at, Until: min(at+max(draw(m.For), millisecond), hour)}
		switch class {
		case ClassCrash:
			f.Kind = Crash
		case ClassSendOmission:
			f.Kind, f.Lasts, f.Every = SendOmission, Intermittent, 100*millisecond
		case ClassReceiveOmission:
			f.Kind, f.Lasts, f.Every = ReceiveOmission, Intermittent, 100*millisecond
		case ClassTiming:
			f.Kind = Pause
		}
		all = append(all, f)
		at = f.Until // the next one begins after it
	}
	return all
}

// blackouts are the outages of all replicas that fall into hour k.
func (m *Mission) blackouts(k int) (all []Fault) {
	if m.OutageEvery == 0 {
		return nil
	}
	begin := Duration(k) * hour
	for end := (begin/m.OutageEvery + 1) * m.OutageEvery; end-m.OutageFor < begin+hour; end += m.OutageEvery {
		at, until := max(0, end-m.OutageFor-begin), min(end-begin, hour)
		if at < until {
			all = append(all, Fault{Kind: Blackout, At: at, Until: until})
		}
	}
	return all
}

// sum puts the hours together.
func (m *Mission) sum(hours []missionHour) (*Dependability, error) {
	d := &Dependability{Hours: m.Hours, Time: Duration(m.Hours) * hour, Replicas: m.Replicas, Within: m.Within, Span: hour}
	var failures []Stretch
	var faults []FaultStretch
	for k := range hours {
		h := &hours[k]
		if h.err != nil {
			return nil, h.err
		}
		d.Answers += h.answers
		if h.report.Failure != nil {
			d.Wrong++
		}
		// A failure that goes on from one hour to the next is one.
		begin := Duration(k) * hour
		for _, s := range h.outages {
			failures = append(failures, Stretch{begin + s.From, begin + s.Till})
		}
		for _, f := range h.faults() {
			faults = append(faults, FaultStretch{f.Class, Stretch{begin + f.From, begin + f.Till}})
		}
	}
	d.Figure(failures, faults)
	return d, nil
}

// faults are those of an hour, each lie one.
func (h *missionHour) faults() (all []FaultStretch) {
	for i := range h.options.Faults {
		f := &h.options.Faults[i]
		all = append(all, FaultStretch{f.Class(), Stretch{f.At, f.Until}})
	}
	for _, x := range h.report.Stats.Injected {
		if x.Class == ClassValue || x.Class == ClassState || x.Class == ClassArbitrary {
			for _, at := range h.lies {
				all = append(all, FaultStretch{x.Class, Stretch{at, at}})
			}
		}
	}
	return all
}
