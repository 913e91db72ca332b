package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/client"
)

const (
	// dialTimeout bounds the connecting of all clients, dialAtOnce how many connect at a time.
	dialTimeout = 60 * time.Second
	dialAtOnce  = 8
)

// run is one measurement under way.
type run struct {
	o       *Options
	cluster *cluster
	clients []*client.Client
	// unreplicated: cluster is one server without replicas.
	unreplicated bool
	// observer asks the replicas how they are, beside the load.
	observer *client.Client
	result   *Result
	progress func(Progress)
}

// Run makes one measurement. When ctx ends before, it ends everything that it started, and returns
// the context's error.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &run{o: &o, result: &Result{}, progress: o.Progress}
	if r.progress == nil {
		r.progress = func(Progress) {}
	}
	defer func() {
		r.closeClients()
		if r.cluster != nil {
			r.say("ending the cluster")
			r.cluster.stop()
		}
	}()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.describe()
	if err := r.dial(ctx); err != nil {
		return nil, err
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	if r.o.Reference {
		if r.cluster.own {
			r.say("ending the cluster")
			r.cluster.stop()
		}
		if err := r.measureReference(ctx); err != nil {
			return nil, err
		}
	}
	return r.result, nil
}

func (r *run) say(phase string) { r.progress(Progress{Phase: phase}) }

// open calibrates, and then starts or opens the cluster: the calibration wants an idle machine.
func (r *run) open(ctx context.Context) error {
	var program string
	var err error
	if r.o.Dir != "" {
		r.cluster, err = useCluster(r.o.Dir)
	} else {
		if r.o.Program == "" {
			r.say("building bftnode")
		}
		r.cluster, program, err = prepare(ctx, r.o)
	}
	if err != nil {
		return err
	}
	r.say("counting signature verifications of one idle core")
	calibration, err := Calibrate(ctx, r.o.Calibration)
	if err != nil {
		return err
	}
	r.result.VerifiesPerSecond, r.result.CalibrationCoreShare = calibration.VerifiesPerSecond, calibration.CoreShare
	if share := calibration.CoreShare; share > 0 && share < idleShare {
		r.warn("the machine was not idle before the load: the calibration got %.0f %% of a core", 100*share)
	}
	if !r.cluster.own {
		return nil
	}
	r.say("starting the cluster")
	return r.cluster.start(ctx, program, r.o)
}

func (r *run) warn(format string, args ...any) {
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(format, args...))
}

// dial connects all clients, and the observer.
func (r *run) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var err error
	if r.observer, err = r.dialOne(ctx); err != nil {
		return err
	}
	r.say(fmt.Sprintf("connecting %d clients", r.o.Clients))
	r.clients = make([]*client.Client, r.o.Clients)
	errs := make([]error, r.o.Clients)
	slots := make(chan struct{}, dialAtOnce)
	var wg sync.WaitGroup
	for i := range r.clients {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.clients[i], errs[i] = r.dialOne(ctx)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("client %d of %d: %w", i+1, r.o.Clients, err)
		}
	}
	return nil
}

// dialOne connects a client with a new key to all replicas that can be reached.
func (r *run) dialOne(ctx context.Context) (*client.Client, error) {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	var opts []client.Option
	if r.unreplicated {
		opts = append(opts, client.Unreplicated())
	}
	return client.Dial(ctx, r.cluster.manifest, key, opts...)
}

func (r *run) closeClients() {
	var wg sync.WaitGroup
	for _, c := range append(r.clients, r.observer) {
		if c != nil {
			// Close has no error of interest here: all calls have ended or are counted.
			wg.Go(func() { _ = c.Close() })
		}
	}
	wg.Wait()
	r.clients, r.observer = nil, nil
}

// askAll asks until all replicas have answered, within scrapeTimeout: one that has just started may not be connected yet.
func (r *run) askAll(ctx context.Context) ([]replicaReport, int) {
	until := time.Now().Add(scrapeTimeout)
	for {
		replicas, silent := askReplicas(ctx, r.observer, r.cluster)
		if silent == 0 || ctx.Err() != nil || time.Now().After(until) {
			return replicas, silent
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// measure puts on the load and fills in the result.
func (r *run) measure(ctx context.Context) error {
	replicas, silent := r.askAll(ctx)
	if silent > 0 {
		r.warn("%d of %d replicas did not say how they are before the load", silent, len(replicas))
	}
	r.describeReplicas(replicas)
	if err := r.fill(ctx); err != nil {
		return err
	}
	l := r.o.newLoad(r.clients)
	m := &meter{run: r, replicas: replicas, ctx: ctx, load: l}
	unanswered := l.run(ctx, m.tick)
	err := m.finish()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	after, silent := askReplicas(ctx, r.observer, r.cluster)
	if silent > 0 {
		r.warn("%d of %d replicas did not say how they are after the load", silent, len(after))
	}
	r.closeClients()
	t := l.tally()
	r.result.fill(t, r.o.Duration, unanswered)
	r.result.fillLoad(t, l, r.o)
	r.result.addCosts(m)
	r.result.addViews(replicas, after)
	r.result.Warnings = append(r.result.Warnings, r.cluster.said()...)
	if r.result.Ops == 0 {
		return noOperations(t)
	}
	return nil
}

// fill puts the records that the load reads.
func (r *run) fill(ctx context.Context) error {
	if !r.o.needsRecords() {
		return nil
	}
	records := r.o.records()
	issues := make([]issue, len(r.clients))
	for i, c := range r.clients {
		issues[i] = r.o.issue(c)
	}
	return fillRecords(ctx, records, issues, func(put int) {
		r.say(fmt.Sprintf("loading records: %d of %d", put, records.count))
	})
}

// newLoad makes the load of all clients, whose time begins now.
func (o *Options) newLoad(clients []*client.Client) *load {
	work, clock := o.workload(), newClock(o.Warmup, o.Duration)
	if o.Rate > 0 {
		l := newOpenLoad(o, clock)
		for _, c := range clients {
			l.addOpen(o.openLimit(), work, o.issue(c))
		}
		return l
	}
	l := newLoad(clock)
	for _, c := range clients {
		l.add(o.Depth, work, o.issue(c))
	}
	return l
}

var errNothingMeasured = errors.New("nothing was measured")

func noOperations(t tally) error {
	if t.sample != nil {
		return fmt.Errorf("%w: no operation succeeded within the measured time: %w", errNothingMeasured, t.sample)
	}
	return fmt.Errorf("%w: no operation ended within the measured time: choose a longer duration, or see the logs of the replicas", errNothingMeasured)
}

// meter looks at the load while it runs: samples at the ends of the measured time, and the throughput of each
// second. Samples are taken on goroutines of their own, so that slow ones do not hold up the rest.
type meter struct {
	run      *run
	ctx      context.Context
	load     *load
	replicas []replicaReport

	first, last       sample
	samples           sync.WaitGroup
	started, finished bool
	profiles          *profiler
	usage             *usageWatch
	err               error

	lastNow   int64 // of the last tick
	lastCount uint64
	bucketAt  int64 // begin of the present second of the timeline, and what had been completed then
	bucket    uint64
	timeline  []float64
}

// tick is called about each sampleEvery by load.run.
func (m *meter) tick(now int64, completed uint64) {
	c, o := m.load.clock, m.run.o
	if now >= c.from && !m.started {
		m.started = true
		m.begin()
		m.bucketAt, m.bucket = now, completed
	}
	if now >= c.to && !m.finished {
		m.finished = true
		m.end()
	}
	if m.started && now-m.bucketAt >= int64(time.Second) {
		m.timeline = append(m.timeline, rate(completed-m.bucket, now-m.bucketAt))
		m.bucketAt, m.bucket = now, completed
	}
	p := Progress{Phase: "warming up", Elapsed: time.Duration(now), Total: o.Warmup, OpsPerSecond: rate(completed-m.lastCount, now-m.lastNow)}
	if m.started {
		p.Phase, p.Elapsed, p.Total = "measuring", time.Duration(now-c.from), o.Duration
	}
	m.run.progress(p)
	m.lastNow, m.lastCount = now, completed
}

func rate(n uint64, nanoseconds int64) float64 {
	if nanoseconds <= 0 {
		return 0
	}
	return float64(n) * float64(time.Second) / float64(nanoseconds)
}

func (m *meter) begin() {
	m.samples.Go(func() { m.first = takeSample(m.ctx, m.replicas) })
	m.usage = watchUsage(m.run.cluster.dir, m.replicas)
	if dir := m.run.o.Profiles; dir != "" {
		m.profiles, m.err = startProfiles(m.ctx, dir, m.run.cluster, m.replicas, m.run.o.Duration)
	}
}

func (m *meter) end() {
	if m.profiles != nil {
		m.err = m.profiles.stop()
	}
	m.usage.stop()
	m.samples.Wait() // the first one
	m.samples.Go(func() { m.last = takeSample(m.ctx, m.replicas) })
}

// finish waits for what was begun.
func (m *meter) finish() error {
	m.usage.stop()
	m.samples.Wait()
	if m.profiles != nil {
		m.err = errors.Join(m.err, m.profiles.stop())
		for _, note := range m.profiles.wait() {
			m.run.warn("%s", note)
		}
	}
	return m.err
}
