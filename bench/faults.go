package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/baluarte-bft/baluarte/bench/fault"
)

// FaultOptions say which fault to show, and under which load. The zero value is not valid, see
// DefaultFaultOptions.
type FaultOptions struct {
	// Fault is the name of one of Faults.
	Fault string
	// Clients and Depth are those of a closed loop of empty operations, as in Options. A Depth of 0 is the
	// one that the fault is shown best with.
	Clients, Depth int
	// Nodes is the number of replicas, 4 to 64.
	Nodes int
	// Warmup, Before, During and After are how long the load runs before the figures are taken, before the fault, with
	// it, and after it has ended.
	Warmup, Before, During, After time.Duration
	// Delay is that of a fault that delays something; 0 chooses one.
	Delay time.Duration
	// Program is the path of bftnode; empty has it built within a checkout; elsewhere the installed one is taken.
	Program string
	// Self is the path of bftbench, which runs replicas with a fault within their process.
	Self string
	// Progress, if not nil, is told now and then what is being done, from one goroutine at a time.
	Progress func(Progress)
}

// DefaultFaultOptions are those of `bftbench faults`: the load of a `bftbench run` without flags.
func DefaultFaultOptions() FaultOptions {
	o := DefaultOptions()
	return FaultOptions{Clients: o.Clients, Nodes: o.Nodes, Warmup: 3 * time.Second, Before: 5 * time.Second,
		During: 7 * time.Second, After: 7 * time.Second}
}

// Validate says what is wrong with o.
func (o *FaultOptions) Validate() error {
	f, ok := faultNamed(o.Fault)
	switch {
	case !ok:
		return fmt.Errorf("there is no fault %q: see those that there are with --list", o.Fault)
	case o.Clients < 1 || o.Clients > MaxClients:
		return fmt.Errorf("%d clients: choose 1 to %d", o.Clients, MaxClients)
	case o.Depth < 0 || o.Depth > maxDepth:
		return fmt.Errorf("a depth of %d: choose 1 to %d, or 0 for that of the fault", o.Depth, maxDepth)
	case o.Clients*o.depth() > MaxOutstanding:
		return fmt.Errorf("%d clients with %d operations outstanding each: at most %d in all are supported", o.Clients, o.depth(), MaxOutstanding)
	case o.Nodes < 4 || o.Nodes > 64:
		return fmt.Errorf("%d nodes: choose 4 to 64", o.Nodes)
	case o.Delay < 0 || o.Delay > fault.MaxDelay:
		return fmt.Errorf("a delay of %v: choose 0 to %v", o.Delay, fault.MaxDelay)
	case o.Delay > 0 && f.delay == nil:
		return fmt.Errorf("the fault %s delays nothing: leave the delay out", f.name)
	case f.inProcess() && o.Self == "":
		return fmt.Errorf("the fault %s needs the path of bftbench", f.name)
	}
	for _, p := range []struct {
		name  string
		v     time.Duration
		least time.Duration
	}{{"warm-up", o.Warmup, 0}, {"time before the fault", o.Before, time.Second}, {"time with the fault", o.During, time.Second}, {"time after the fault", o.After, time.Second}} {
		if p.v < p.least || p.v > time.Hour {
			return fmt.Errorf("a %s of %v: choose %v to 1h", p.name, p.v, p.least)
		}
	}
	return nil
}

// depth is Depth, or the usual one.
func (o *FaultOptions) depth() int {
	if o.Depth > 0 {
		return o.Depth
	}
	return DefaultOptions().Depth
}

// statusTries is how often the replicas are asked how they are, under load, until all answer in time.
const statusTries = 3

// faultRun is one fault under way.
type faultRun struct {
	run
	fo    *FaultOptions
	kind  *faultKind
	nodes *nodes
	load  *faultLoad
	out   *FaultResult
	// primary and victim are replicas: who is primary before the fault, and whom it strikes.
	primary, victim int
	delay           time.Duration
	share           float64 // see firstShare
	attack          *attack
}

// RunFault shows one fault: it makes a cluster of real processes, puts load on it, lets the fault happen, ends it,
// and compares what callers were told with what the replicas hold. A delay that is to be what backups tolerate is found by trying:
// while it costs the primary its office, a shorter one is tried on another cluster. When ctx ends before, it ends everything
// that it started, and returns the context's error.
func RunFault(ctx context.Context, o FaultOptions) (*FaultResult, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	share, refused := firstShare, 0.0
	for try := 1; ; try++ {
		r := newFaultRun(&o, share)
		err := r.whole(ctx)
		switch {
		case errors.Is(err, errDeposed) && try < mostTries:
			share, refused = share*nextShare, milliseconds(r.delay)
			continue
		case errors.Is(err, errMoved) && try < mostTries:
			continue
		case err != nil:
			return nil, err
		}
		r.out.NotToleratedMS = refused
		return r.out, nil
	}
}

const (
	// firstShare of what backups may tolerate at most is tried first, and nextShare of that after it, mostTries times in all.
	firstShare, nextShare = 0.9, 0.75
	mostTries             = 5
)

// errDeposed: the backups left a primary that was to be just fast enough.
var errDeposed = errors.New("the backups left the primary at every delay that was tried: choose one with --delay, or try again on a machine with less load")

// errMoved: another replica than the one with the fault became primary before it began.
var errMoved = errors.New("each time that it was tried the replicas left the primary with the fault before it began: try again on a machine with less load")

func newFaultRun(o *FaultOptions, share float64) *faultRun {
	kind, _ := faultNamed(o.Fault)
	base := DefaultOptions()
	base.Clients, base.Depth, base.Nodes, base.Program = o.Clients, o.depth(), o.Nodes, o.Program
	base.Warmup, base.Duration = o.Warmup, o.Before+o.During+o.After
	r := &faultRun{run: run{o: &base, result: &Result{}, progress: o.Progress}, fo: o, kind: kind, share: share,
		out: &FaultResult{Fault: kind.name, Short: kind.short}, delay: o.Delay}
	if r.progress == nil {
		r.progress = func(Progress) {}
	}
	return r
}

// whole does all of it.
func (r *faultRun) whole(ctx context.Context) error {
	defer r.end()
	for _, step := range []func(context.Context) error{r.prepareCluster, r.dial, r.settle, r.measureFault, r.judge} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// seeks tells whether the delay is to be found.
func (r *faultRun) seeks() bool { return r.kind.tune != nil && r.fo.Delay == 0 }

// deposed tells whether the replicas have left the view in which the fault began.
func (r *faultRun) deposed(ctx context.Context) bool {
	reports, _ := askReplicas(ctx, r.observer, r.cluster)
	for i := range reports {
		if reports[i].View > r.out.ViewBefore {
			return true
		}
	}
	return false
}

// end ends all that was started.
func (r *faultRun) end() {
	if r.attack != nil {
		r.attack.end()
	}
	if r.load != nil {
		r.load.stop.Store(true)
	}
	r.closeClients()
	if r.nodes != nil {
		r.say("ending the cluster")
		r.nodes.stop()
	}
	if r.cluster != nil {
		r.cluster.stop()
	}
}

// prepareCluster makes and starts the replicas.
func (r *faultRun) prepareCluster(ctx context.Context) error {
	if r.o.Program == "" {
		r.say("building bftnode")
	}
	var program string
	var err error
	if r.cluster, program, err = prepare(ctx, r.o); err != nil {
		return err
	}
	r.say("starting the cluster")
	if r.nodes, err = newNodes(r.cluster, r.o.Nodes, program, r.kind.links); err != nil {
		return err
	}
	if r.delay == 0 && r.kind.delay != nil {
		r.delay = r.kind.delay(r.cluster.manifest)
	}
	if r.kind.inProcess() {
		if r.nodes.self, err = exec.LookPath(r.fo.Self); err != nil {
			return fmt.Errorf("no program %s: name that of bftbench", r.fo.Self)
		}
		// View 0 begins with replica 0 as primary.
		r.nodes.faultyArgs[0] = []string{r.kind.flag, r.delay.String()}
	}
	return r.nodes.startAll()
}

// settle waits until all replicas take part, and notes the conditions.
func (r *faultRun) settle(ctx context.Context) error {
	r.say("waiting for the replicas")
	if err := r.nodes.awaitActive(ctx, &r.run); err != nil {
		return err
	}
	r.describe()
	reports, _ := askReplicas(ctx, r.observer, r.cluster)
	r.describeReplicas(reports)
	r.out.Settings, r.out.Machine = r.result.Settings, r.result.Machine
	return nil
}

// choose asks who is primary, and finds the replica that the fault strikes.
func (r *faultRun) choose(ctx context.Context) ([]replicaReport, error) {
	var reports []replicaReport
	silent := r.o.Nodes
	for try := 0; try < statusTries && silent > 0; try++ {
		if reports, silent = askReplicas(ctx, r.observer, r.cluster); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if silent > 0 {
		return nil, fmt.Errorf("%d of %d replicas did not say how they are before the fault: try again on a machine with less load", silent, len(reports))
	}
	for i := range reports {
		r.out.ViewBefore = max(r.out.ViewBefore, reports[i].View)
	}
	n := len(reports)
	r.primary = int(r.out.ViewBefore % uint64(n))
	r.victim = r.primary
	role := "primary"
	if r.kind.backup {
		r.victim, role = (r.primary+1)%n, "backup"
	}
	if r.kind.inProcess() && r.primary != 0 {
		return nil, errMoved
	}
	r.out.Target = fmt.Sprintf("%s (%s)", r.nodes.replicas[r.victim].name, role)
	if r.kind.target != "" {
		r.out.Target = r.kind.target
	}
	return reports, nil
}

// measureFault puts on the load, and has the fault begin and end.
func (r *faultRun) measureFault(ctx context.Context) error {
	o := r.fo
	issues := make([]submit, len(r.clients))
	for i, c := range r.clients {
		s := c.Service(Counter)
		// Ended by closing the client; see Options.issue.
		issues[i] = func(done func([]byte, error)) error { return s.Submit(context.Background(), nil, done) }
	}
	r.load = newFaultLoad(issues, r.o.Depth, o.Warmup+o.Before+o.During+o.After+stepSlack)
	r.load.start()
	at := faultSeries{}
	if err := r.awaitResult(ctx); err != nil {
		return err
	}
	if err := r.pass(ctx, "warming up", o.Warmup); err != nil {
		return err
	}
	r.load.enter(phaseBefore)
	at.warmup = time.Duration(r.load.now())
	if err := r.pass(ctx, "before the fault", o.Before); err != nil {
		return err
	}
	if err := r.strike(ctx, &at); err != nil {
		return err
	}
	if err := r.pass(ctx, "after the fault", o.After); err != nil {
		return err
	}
	at.after = time.Duration(r.load.now())
	unanswered := r.load.end(drainTimeout)
	r.closeLoad()
	at.counts = r.load.counts()
	r.out.fillSeries(&at, time.Duration(r.load.firstAfter.Load()))
	r.out.fillTally(r.load.tally())
	if unanswered > 0 {
		r.warn("%d operations had no result %v after the load", unanswered, drainTimeout)
	}
	if r.out.BeforeOpsPerSecond == 0 {
		return errors.New("no operation succeeded before the fault: try again with less load, or longer before it")
	}
	return nil
}

// strike has the fault begin, last and end.
func (r *faultRun) strike(ctx context.Context, at *faultSeries) error {
	reports, err := r.choose(ctx)
	if err != nil {
		return err
	}
	if r.seeks() {
		r.delay = r.kind.tune(r, reports)
	}
	r.out.DelayMS = milliseconds(r.delay)
	phase := r.kind.name
	if r.delay > 0 {
		phase += " by " + r.delay.String()
	}
	checked := r.checkedSignatures(ctx, reports)
	at.before = time.Duration(r.load.now())
	r.load.strike()
	if err := r.kind.begin(ctx, r); err != nil {
		return err
	}
	if err := r.pass(ctx, phase, r.fo.During); err != nil {
		return err
	}
	r.load.enter(phaseAfter)
	at.during = time.Duration(r.load.now())
	if r.attack != nil {
		r.out.Attacker = r.attack.stopped()
	}
	if err := r.kind.end(ctx, r); err != nil {
		return err
	}
	// Asking takes its time, and so comes after the end of the fault.
	if r.attack != nil {
		r.out.Attacker.Checked = r.checkedSignatures(ctx, reports) - checked
	}
	if r.seeks() && r.deposed(ctx) {
		return errDeposed
	}
	return nil
}

// stepSlack is how much longer than its phases a load may last: the steps between them take their time too, such as that of
// a process to end.
const stepSlack = 2 * time.Minute

// awaitResult waits until the load has its first result.
func (r *faultRun) awaitResult(ctx context.Context) error {
	give := time.After(upTimeout)
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for r.load.completed.Load() == 0 {
		select {
		case <-ticker.C:
		case <-give:
			return fmt.Errorf("no operation succeeded within %v: try again with less load", upTimeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// closeLoad closes the clients of the load, so that each of their calls ends.
func (r *faultRun) closeLoad() {
	observer := r.observer
	r.observer = nil
	r.closeClients()
	r.observer = observer
}

// pass lets time pass under load.
func (r *faultRun) pass(ctx context.Context, phase string, d time.Duration) error {
	begin, over := time.Now(), time.After(d)
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	last, count := r.load.now(), r.load.completed.Load()
	for {
		select {
		case <-ticker.C:
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		now, n := r.load.now(), r.load.completed.Load()
		r.progress(Progress{Phase: phase, Elapsed: time.Since(begin), Total: d, OpsPerSecond: rate(n-count, now-last)})
		last, count = now, n
	}
}

// checkedSignatures is how many signatures of clients the replicas have verified.
func (r *faultRun) checkedSignatures(ctx context.Context, reports []replicaReport) float64 {
	sum := 0.0
	if !r.kind.attacks() {
		return 0
	}
	for i := range reports {
		if reports[i].HTTP != "" {
			sum += scrape(ctx, reports[i].HTTP)["baluarte_client_signatures_checked_total"]
		}
	}
	return sum
}

// judge compares what callers were told with what the replicas hold.
func (r *faultRun) judge(ctx context.Context) error {
	r.say("comparing the replicas")
	ended := time.Now()
	w, err := newWitness(r.cluster.manifest)
	if err != nil {
		return err
	}
	defer w.close()
	s := &r.out.Safety
	if s.Replicas, s.Agree, err = w.await(ctx); err != nil {
		return err
	}
	s.AgreedMS = milliseconds(time.Since(ended))
	value, err := readCounter(ctx, &r.run)
	if err != nil {
		return err
	}
	s.compare(value)
	reports, silent := askReplicas(ctx, r.observer, r.cluster)
	if silent > 0 {
		r.warn("%d of %d replicas did not say how they are at the end", silent, len(reports))
	}
	for i := range reports {
		r.out.ViewAfter = max(r.out.ViewAfter, reports[i].View)
	}
	r.out.fillChecks()
	if r.kind.checks != nil {
		r.kind.checks(r.out, r.cluster.manifest)
	}
	r.out.Warnings = append(r.result.Warnings, append(r.nodes.deaths(), r.cluster.said()...)...)
	if n := r.out.ViewAfter - r.out.ViewBefore; n > 0 && !r.kind.changes {
		r.out.Warnings = append(r.out.Warnings, fmt.Sprintf("the replicas went from view %d to %d, which this fault alone need not cause", r.out.ViewBefore, r.out.ViewAfter))
	}
	return nil
}
