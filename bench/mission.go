package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/baluarte-bft/baluarte/sim"
)

// MissionOptions say how long a cluster of real processes is watched, and which faults it has. The zero value is not valid,
// see DefaultMissionOptions.
type MissionOptions struct {
	// Seed is what the faults are drawn from: their classes, replicas, and times. When exactly they take place, and what
	// becomes of them, is up to the machine.
	Seed uint64
	// Clients have one call outstanding each, and pause for Think after it.
	Clients int
	Think   time.Duration
	// Nodes is the number of replicas, 4 to 64.
	Nodes int
	// Time is how long the service is watched.
	Time time.Duration
	// Within is the time within which a correct answer must come; what takes longer is a failure of the service.
	Within time.Duration
	// Every is the mean time between the end of a fault and the next one, For how long one lasts in the mean; both are
	// drawn exponentially, and no fault lasts longer than four times For.
	Every, For time.Duration
	// Classes are those of the faults, of sim.MissionClasses.
	Classes []sim.Class
	// Program is the path of bftnode; empty has it built within a checkout; elsewhere the installed one is taken.
	Program string
	// Progress, if not nil, is told now and then what is being done, from one goroutine at a time.
	Progress func(Progress)
}

// DefaultMissionOptions are those of a `bftbench dependability` without flags.
func DefaultMissionOptions() MissionOptions {
	return MissionOptions{Seed: 1, Clients: 4, Think: 20 * time.Millisecond, Nodes: 4, Time: 3 * time.Minute, Within: 2 * time.Second,
		Every: 4 * time.Second, For: 3 * time.Second, Classes: sim.MissionClasses()}
}

// The bounds of a mission, beside those of other loads.
const (
	maxMission   = 24 * time.Hour
	maxLasting   = 4 // times MissionOptions.For
	shortestMean = 100 * time.Millisecond
	// missionSpan is the time over which reliability is told.
	missionSpan = time.Minute
)

// Validate says what is wrong with o.
func (o *MissionOptions) Validate() error {
	switch {
	case o.Clients < 1 || o.Clients > MaxClients:
		return fmt.Errorf("%d clients: choose 1 to %d", o.Clients, MaxClients)
	case o.Nodes < 4 || o.Nodes > 64:
		return fmt.Errorf("%d nodes: choose 4 to 64", o.Nodes)
	case len(o.Classes) == 0:
		return fmt.Errorf("no class of faults: choose some of %q", sim.MissionClasses())
	}
	for _, c := range o.Classes {
		if !slices.Contains(sim.MissionClasses(), c) {
			return fmt.Errorf("there is no class of faults %q: choose some of %q", c, sim.MissionClasses())
		}
	}
	for _, p := range []struct {
		name           string
		v, least, most time.Duration
	}{{"time", o.Time, time.Second, maxMission}, {"pause of the clients", o.Think, 0, time.Minute}, {"bound for an answer", o.Within, 100 * time.Millisecond, 10 * time.Minute},
		{"mean time between faults", o.Every, shortestMean, time.Hour}, {"mean time of a fault", o.For, shortestMean, time.Hour}} {
		if p.v < p.least || p.v > p.most {
			return fmt.Errorf("a %s of %v: choose %v to %v", p.name, p.v, p.least, p.most)
		}
	}
	return nil
}

// MissionFault is a fault as it took place.
type MissionFault struct {
	// Class is one of sim.MissionClasses, What what was done.
	Class sim.Class `json:"class"`
	What  string    `json:"what"`
	// Replica is whom it struck, by name.
	Replica string `json:"replica"`
	// From and Till are seconds since the beginning of the mission.
	From float64 `json:"from_s"`
	Till float64 `json:"till_s"`
}

// MissionResult is what came of a mission.
type MissionResult struct {
	sim.Dependability
	Seed uint64 `json:"seed"`
	// Events are the faults, in their order.
	Events []MissionFault `json:"events"`
	// Safety compares what callers were told with what the replicas hold at the end.
	Safety   FaultSafety `json:"safety"`
	Machine  Machine     `json:"machine"`
	Warnings []string    `json:"warnings,omitempty"`
}

// Holds tells whether no answer was wrong, and all that was acknowledged is there, once, at all replicas.
func (res *MissionResult) Holds() bool { return res.Wrong == 0 && res.Safety.Holds() }

// WriteTable prints the result for people.
func (res *MissionResult) WriteTable(w io.Writer) error {
	if _, err := res.WriteTo(w); err != nil {
		return err
	}
	s := &res.Safety
	verdict := "all replicas agree"
	if !s.Agree {
		verdict = "THE REPLICAS DIFFER"
	}
	_, err := fmt.Fprintf(w, "\ncounted   %s acknowledged, %s with open outcome; the replicas executed %s; %s\nmachine   %s\n", group(float64(s.Acknowledged)),
		group(float64(s.Unknown)), group(float64(s.Counter)), verdict, res.Machine.text())
	for _, warning := range res.Warnings {
		if err == nil {
			_, err = fmt.Fprintln(w, "warning:", warning)
		}
	}
	return err
}

// RunMission starts a cluster of real processes, has clients call it while one fault comes after the other, and tells how
// dependable the service was. When ctx ends before, it ends everything that it started, and returns the context's error.
func RunMission(ctx context.Context, o MissionOptions) (*MissionResult, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	base := DefaultOptions()
	base.Clients, base.Depth, base.Nodes, base.Program, base.Warmup, base.Duration = o.Clients, 1, o.Nodes, o.Program, 0, o.Time
	m := &mission{run: run{o: &base, result: &Result{}, progress: o.Progress}, mo: &o, out: &MissionResult{Seed: o.Seed}}
	if m.progress == nil {
		m.progress = func(Progress) {}
	}
	defer m.end()
	for _, step := range []func(context.Context) error{m.prepareCluster, m.dial, m.settle, m.watch, m.judge} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return m.out, nil
}

// mission is one under way.
type mission struct {
	run
	mo      *MissionOptions
	nodes   *nodes
	callers []*missionCaller
	out     *MissionResult
	begin   time.Time
}

// end ends all that was started.
func (m *mission) end() {
	m.closeClients()
	if m.nodes != nil {
		m.say("ending the cluster")
		m.nodes.stop()
	}
	if m.cluster != nil {
		m.cluster.stop()
	}
}

// prepareCluster makes and starts the replicas, with proxies between all.
func (m *mission) prepareCluster(ctx context.Context) error {
	if m.o.Program == "" {
		m.say("building bftnode")
	}
	var program string
	var err error
	if m.cluster, program, err = prepare(ctx, m.o); err != nil {
		return err
	}
	m.say("starting the cluster")
	if m.nodes, err = newNodes(m.cluster, m.o.Nodes, program, true); err != nil {
		return err
	}
	return m.nodes.startAll()
}

// settle waits until all replicas take part, and each client has had an answer.
func (m *mission) settle(ctx context.Context) error {
	m.say("waiting for the replicas")
	if err := m.nodes.awaitActive(ctx, &m.run); err != nil {
		return err
	}
	m.describe()
	m.out.Machine = m.result.Machine
	for i, c := range m.clients {
		x := &missionCaller{service: c.Service(Counter)}
		m.callers = append(m.callers, x)
		within, cancel := context.WithTimeout(ctx, upTimeout)
		err := x.call(within)
		cancel()
		if err != nil {
			return fmt.Errorf("client %d of %d has no answer before any fault: %w", i+1, len(m.clients), err)
		}
	}
	return nil
}

// judge makes the figures, and compares what callers were told with what the replicas hold.
func (m *mission) judge(ctx context.Context) error {
	m.say("comparing the replicas")
	ended := time.Now()
	d, s := &m.out.Dependability, &m.out.Safety
	*d = sim.Dependability{Time: sim.Duration(m.mo.Time), Replicas: m.mo.Nodes, Within: sim.Duration(m.mo.Within), Span: sim.Duration(missionSpan)}
	var failures []sim.Stretch
	for _, x := range m.callers {
		failures = append(failures, x.failures...)
		d.Answers, d.Wrong = d.Answers+int(x.answers), d.Wrong+x.wrong
		s.Acknowledged, s.Unknown = s.Acknowledged+x.answers, s.Unknown+x.unknown
	}
	var faults []sim.FaultStretch
	for _, e := range m.out.Events {
		faults = append(faults, sim.FaultStretch{Class: e.Class, Stretch: sim.Stretch{From: virtual(e.From), Till: virtual(e.Till)}})
	}
	d.Figure(failures, faults)
	w, err := newWitness(m.cluster.manifest)
	if err != nil {
		return err
	}
	defer w.close()
	if s.Replicas, s.Agree, err = w.await(ctx); err != nil {
		return err
	}
	s.AgreedMS = milliseconds(time.Since(ended))
	value, err := readCounter(ctx, &m.run)
	if err != nil {
		return err
	}
	s.compare(value)
	m.out.Warnings = append(m.result.Warnings, append(m.nodes.deaths(), m.cluster.said()...)...)
	return nil
}

// virtual is a time in seconds as the figures have it.
func virtual(seconds float64) sim.Duration { return sim.Duration(seconds * float64(time.Second)) }

// watch has the clients call, and the faults happen, for the time of the mission.
func (m *mission) watch(ctx context.Context) error {
	calling, stop := context.WithCancel(ctx)
	defer stop()
	m.begin = time.Now()
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		callAll(calling, m.callers, m.begin, m.mo, over)
	}()
	err := m.faults(ctx)
	if err == nil {
		err = m.pass(ctx, "no fault", m.mo.Time)
	}
	close(over)
	if err == nil {
		m.say("waiting for the last answers")
		select {
		case <-done:
		case <-time.After(drainTimeout + m.mo.Within):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	stop()
	<-done
	return err
}

// faults has one fault after the other begin and end. Each ends, whatever happens.
func (m *mission) faults(ctx context.Context) error {
	for _, f := range drawMission(m.mo) {
		if err := m.pass(ctx, "no fault", f.at); err != nil {
			return err
		}
		e := MissionFault{Class: f.class, What: f.what, Replica: m.nodes.replicas[f.replica].name, From: time.Since(m.begin).Seconds()}
		err := f.begin(m.nodes)
		if err == nil {
			err = m.pass(ctx, f.what+" of "+e.Replica, f.until)
		}
		if err = errors.Join(err, f.end(m.nodes)); err != nil {
			return err
		}
		e.Till = time.Since(m.begin).Seconds()
		m.out.Events = append(m.out.Events, e)
	}
	return nil
}

// pass lets time pass until so long after the beginning.
func (m *mission) pass(ctx context.Context, phase string, until time.Duration) error {
	over := time.After(until - time.Since(m.begin))
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	last, count := time.Now(), m.answered()
	for {
		select {
		case <-ticker.C:
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		now, n := time.Now(), m.answered()
		m.progress(Progress{Phase: phase, Elapsed: now.Sub(m.begin), Total: m.mo.Time, OpsPerSecond: rate(n-count, int64(now.Sub(last)))})
		last, count = now, n
	}
}

// answered is how many calls have been answered so far.
func (m *mission) answered() uint64 {
	n := uint64(0)
	for _, x := range m.callers {
		n += x.progress.Load()
	}
	return n
}
