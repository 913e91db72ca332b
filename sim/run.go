package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// world is one run.
type world struct {
	opts     Options
	n        int
	q        queue
	net      *network
	trace    *trace
	stats    Stats
	cluster  bft.Digest
	members  []crypto.PublicKey
	verifier crypto.Verifier
	hosts    []*host
	clients  []*clientHost
	byKey    map[bft.ClientID]endpoint
	plan     *byz.Plan

	verdict   *verdict
	order     *order
	promises  *promises
	history   history
	resources *resources
	accounts  *accounts
	written   map[string]bool // "key value" of every put and swap that was called

	phase    phase
	stopping bool   // callers make no more calls
	brief    bool   // the run ends when the replicas are level
	lost     []bool // replicas whose disk is lost, in the last phase
	// chances are the lies that could be told so far, lies those that were, by name; inflicted are the
	// faults that really hit.
	chances   int
	lies      map[string]int
	inflicted map[cell]int
	active    []*Fault // those that go on
	viewThen  bft.View // the highest view at the heal
	failure   *Failure
	err       error
}

// phase is what a run has come to.
type phase int

const (
	phaseFaults phase = iota
	phaseLoad         // healed, the load goes on until enough numbers were executed
	phaseDrain        // the calls that are outstanding end
	phaseLevel        // replicas catch up
	phaseLoss         // f disks are lost, the others start again and answer the last reads
	phaseOver
)

// unknownAfter bounds the check of a history, in time of the wall clock.
const unknownAfter = 3 * time.Second

// Run runs a simulation to its end or to the first oracle that breaks. The error says that the
// options are no good, or that the simulator itself has failed.
func Run(o Options) (*Report, error) {
	w, err := newWorld(o)
	if err != nil {
		return nil, err
	}
	return w.run()
}

// newWorld makes a run that is ready to begin.
func newWorld(o Options) (*world, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	w := &world{opts: o, n: o.Protocol.N, byKey: make(map[bft.ClientID]endpoint), written: make(map[string]bool),
		lies: make(map[string]int), inflicted: make(map[cell]int)}
	w.trace = newTrace(&w.opts)
	if err := w.build(); err != nil {
		return nil, err
	}
	w.schedule()
	return w, nil
}

// run lets everything happen.
func (w *world) run() (*Report, error) {
	for w.failure == nil && w.err == nil && w.phase != phaseOver && w.guarded(w.q.step) {
		w.stats.Events++
	}
	if w.err != nil {
		return nil, w.err
	}
	if w.failure == nil {
		if w.order.tally != nil {
			w.order.tally.complete(&w.history)
		}
		w.checkHistory()
	}
	return w.report(), nil
}

// guarded runs f. A panic of the protocol's assertions is a failure of the oracle that they
// stand for, and of the run, not of the simulator.
func (w *world) guarded(f func() bool) (more bool) {
	defer func() {
		if p := recover(); p != nil {
			w.verdict.fail("PANIC", "%v\n%s", p, stack())
			more = true
		}
	}()
	return f()
}

// build makes the cluster as it is at time 0.
func (w *world) build() error {
	o := &w.opts
	w.cluster = crypto.Hash("baluarte/sim-cluster", []byte(fmt.Sprint(o.Seed)))
	w.lost = make([]bool, w.n)
	w.verdict = &verdict{fail: w.fail}
	ids := o.instances()
	w.net = newNetwork(&w.q, o, &w.stats, ids, o.endpoints())
	w.net.deliver, w.net.decide, w.net.hit = w.deliver, w.decide, w.injected
	w.net.lost = func(m *message) { w.trace.frame(w.q.now, KindLose, m) }
	w.plan = byz.NewPlan(w.n, o.Byzantine, stream(o.Seed, "plan"))
	newKey := w.keys()
	var signers []crypto.Signer
	for id := range w.n {
		s := newKey(fmt.Sprint("replica key ", id))
		signers = append(signers, s)
		w.members = append(w.members, s.Public())
	}
	w.order = newOrder(w.verdict)
	if o.Load.Semantics.mixed() {
		w.order.tally = newTally(w.verdict)
	}
	w.order.latest = func() bft.Time {
		return epochStart + w.q.now + bft.Time(o.Machine.Skew) + bft.DefaultConfig().ClockAhead
	}
	cfg := w.config(0)
	w.resources = newResources(w.verdict, &cfg, len(ids))
	w.accounts = newAccounts(w)
	w.promises = newPromises(w.verdict, &wire.Judge{Cluster: w.cluster, Members: w.members, Interval: o.Protocol.Interval, Verifier: w.verifier}, w.n)
	for i := range o.Load.Clients + o.Load.BadClients {
		bad := i >= o.Load.Clients
		c, err := newClientHost(w, i, newKey(fmt.Sprint("client key ", i)), bad)
		if err != nil {
			return err
		}
		if bad {
			c.corrupt()
		}
		w.clients = append(w.clients, c)
		w.byKey[c.key] = c.endpoint()
		w.order.bad[c.key] = bad
	}
	for at, id := range ids {
		h := newHost(w, endpoint(at), id, signers[id])
		if o.byzantine(h.id) {
			h.corrupt()
		}
		w.hosts = append(w.hosts, h)
		w.q.after(between(h.r, 0, 20*bft.Millisecond), h.start)
	}
	for _, c := range w.clients {
		c.start()
	}
	return nil
}

// keys returns what makes keys by name, of the kind that the options want.
func (w *world) keys() func(name string) crypto.Signer {
	if w.opts.Signatures == "ed25519" {
		w.verifier = crypto.NewEd25519(64)
		return func(name string) crypto.Signer { return crypto.NewKeyFromSeed(seedOf(w.opts.Seed, name)) }
	}
	ring := crypto.NewFastRing()
	w.verifier = ring
	return func(name string) crypto.Signer { return ring.NewKey(seedOf(w.opts.Seed, name)) }
}

// corrupt gives a replica to the adversary, who gets the chance to send something out of turn now and then.
func (h *host) corrupt() {
	w, o := h.w, &h.w.opts
	r := stream(o.Seed, fmt.Sprint("adversary ", h.at))
	h.liar = byz.New(o.Behaviours, byz.Env{Member: wire.Member{Self: h.id, Cluster: w.cluster, Signer: h.signer}, N: w.n, Plan: w.plan, Rand: r,
		Timeout: bft.Time(o.Protocol.RequestTimeout), Interval: o.Protocol.Interval, Window: o.Protocol.Window})
	h.lies = newLiar(w, h.at, stream(o.Seed, fmt.Sprint("lies ", h.at)))
	w.often(h.r, func() {
		if h.up {
			out := h.liar.Inject(w.q.now)
			if h.tells() {
				for _, m := range h.lies.sent(nil, true, out) {
					h.transmit(m)
				}
			}
		}
	})
}

// often does something again and again.
func (w *world) often(r *rand.Rand, do func()) {
	var again func()
	again = func() {
		do()
		w.q.after(between(r, 5*bft.Millisecond, 50*bft.Millisecond), again)
	}
	w.q.after(between(r, 0, 50*bft.Millisecond), again)
}

// decide asks the adversary what the network shall do with a message between replicas: with any before
// the heal, as nothing is promised about the network then, and with its own afterwards.
func (w *world) decide(m *message) byz.Fate {
	var fate byz.Fate
	for _, h := range w.hosts {
		if h.liar == nil || w.net.healed && m.from != h.at && m.to != h.at {
			continue
		}
		f := h.liar.Schedule(byz.Passing{Now: w.q.now, From: w.hosts[m.from].id, To: w.hosts[m.to].id, FromInstance: int(m.from), ToInstance: int(m.to), Frame: m.frame})
		if h.tells() {
			fate.Lose, fate.Delay = fate.Lose || f.Lose, max(fate.Delay, f.Delay)
		}
	}
	return fate
}

// config is the configuration of one replica.
func (w *world) config(id bft.ReplicaID) bft.Config {
	c := bft.DefaultConfig()
	p := &w.opts.Protocol
	c.Self, c.Cluster, c.Members = id, w.cluster, w.members
	c.Interval, c.Window, c.Pipeline = p.Interval, p.Window, p.Pipeline
	c.MaxBatchOps, c.MaxBundleOps = p.MaxBatchOps, p.MaxBundleOps
	if w.opts.passive() {
		c.Passive, c.Pipeline = true, 1
	}
	// A small pool, so that a client of the adversary can fill its share of it (rule 26).
	c.MaxBundleBytes, c.MaxBatchBytes, c.MaxPoolBytes, c.PoolFloor = 32<<10, 128<<10, 512<<10, 32*p.MaxBundleOps+256
	c.RequestTimeout, c.MaxTimeout = bft.Time(p.RequestTimeout), bft.Time(p.MaxTimeout)
	c.SuspectFloor, c.StatusInterval = bft.Time(p.SuspectFloor), bft.Time(p.StatusInterval)
	return c
}

// deliver hands a frame to its receiver.
func (w *world) deliver(m *message) {
	if int(m.to) >= len(w.hosts) {
		w.clients[int(m.to)-len(w.hosts)].receive(m)
		return
	}
	if h := w.hosts[m.to]; h.up {
		h.receive(m)
	}
}

func (w *world) endpointOf(client bft.ClientID) (endpoint, bool) {
	e, ok := w.byKey[client]
	return e, ok
}

// honestEndpoint tells whether whoever is there follows the protocol.
func (w *world) honestEndpoint(e endpoint) bool {
	if int(e) >= len(w.hosts) {
		return !w.clients[int(e)-len(w.hosts)].bad
	}
	return w.hosts[e].honest()
}

// fail ends the run: an oracle broke. Only the first one counts.
func (w *world) fail(oracle, format string, args ...any) {
	if len(w.opts.Demand) > 0 && !slices.Contains(w.opts.Demand, oracle) {
		return
	}
	if w.failure == nil {
		w.failure = &Failure{Oracle: oracle, At: Duration(w.q.now), Detail: fmt.Sprintf(format, args...), Trace: w.trace.last()}
	}
}

// broken ends the run: the simulator cannot go on.
func (w *world) broken(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("sim: seed %d: "+format, append([]any{w.opts.Seed}, args...)...)
	}
}

// heal ends the first phase. The faults end by themselves at this time or before.
func (w *world) heal() {
	w.enter(phaseLoad)
	w.net.heal()
	if len(w.opts.Demand) > 0 && !slices.Contains(w.opts.Demand, "L1") {
		w.q.after(20*bft.Time(w.opts.Protocol.RequestTimeout), func() { w.enter(phaseOver) })
	}
	w.viewThen = w.promises.views
	w.resources.soon()
	w.resources.judge(w.hosts)
	w.poll()
}

func (w *world) enter(p phase) {
	w.phase = p
	w.trace.note(w.q.now, KindPhase, -1, -1, func() string {
		return [...]string{"faults", "healed", "drain", "level", "loss", "over"}[p]
	})
}

// poll moves from phase to phase.
func (w *world) poll() {
	timeout := bft.Time(w.opts.Protocol.RequestTimeout)
	switch w.phase {
	case phaseLoad:
		if d := bft.Time(w.opts.Load.For); d > 0 {
			if w.q.now >= bft.Time(w.opts.Heal)+d {
				w.stopping = true
				w.enter(phaseDrain)
			}
		} else if w.executed() >= w.opts.Load.Sequences && w.q.now >= bft.Time(w.opts.Heal)+2*timeout {
			w.stopping = true
			w.enter(phaseDrain)
		} else if w.q.now > bft.Time(w.opts.Heal)+1000*timeout {
			w.verdict.fail("L1", "only %d numbers are executed long after the heal", w.executed())
		}
	case phaseDrain:
		if w.drained() {
			w.calm()
			w.enter(phaseLevel)
			w.demandLevel(w.executed(), w.patience())
		}
	case phaseLevel:
		if !w.level(w.executed()) {
			break
		}
		if w.brief {
			w.enter(phaseOver)
			return
		}
		w.lose()
	case phaseLoss:
		if w.drained() {
			w.resources.judge(w.hosts)
			w.enter(phaseOver)
			return
		}
	}
	w.q.after(10*bft.Millisecond, w.poll)
}

// calm is oracle L3: after the heal views do not change again and again. Each of n views has another primary, and all but
// f of them are honest; a few rounds are left for back-off and for those that lag.
func (w *world) calm() {
	if most := bft.View(viewRounds * w.n); w.promises.views > w.viewThen+most {
		w.verdict.fail("L3", "%d views were entered after the heal, at most %d should be", w.promises.views-w.viewThen, most)
	}
	w.stats.ViewsAfterHeal = w.promises.views - w.viewThen
}

// viewRounds is through how many rounds of primaries a cluster may go after the heal.
const viewRounds = 3

// executed is the highest number that an honest replica has executed.
func (w *world) executed() bft.Seq { return bft.Seq(len(w.order.log)) }

// drained tells whether all calls of honest clients have ended and their callers do nothing.
func (w *world) drained() bool {
	for _, c := range w.clients {
		if !c.bad && !c.dead && (len(c.calls) > 0 || c.idle < w.opts.Load.Outstanding) {
			return false
		}
	}
	return true
}

// level tells whether all honest replicas have executed up to seq, but for those with a fault that stays.
func (w *world) level(seq bft.Seq) bool {
	return !slices.ContainsFunc(w.hosts, func(h *host) bool { return h.lags(seq) })
}

// lags tells whether a replica that should has not executed up to seq.
func (h *host) lags(seq bft.Seq) bool {
	return h.honest() && !h.impaired && !h.w.lost[h.id] && (!h.up || h.exec.machine.Executed() < seq)
}

// demandLevel holds the cluster to oracle L2: every honest replica catches up. Those that are left
// when disks are lost must do so for D1.
func (w *world) demandLevel(seq bft.Seq, within bft.Time) {
	phase, oracle := w.phase, w.liveness("L2")
	w.q.after(within, func() {
		if w.phase != phase || w.level(seq) {
			return
		}
		for _, h := range w.hosts {
			if h.lags(seq) {
				w.verdict.fail(oracle, "replica %d has not caught up: %d of %d, %+v", h.id, h.executed(), seq, h.info())
			}
		}
	})
}

// liveness is the oracle that breaks when something does not come to its end: in the last phase
// that means that what was acknowledged is not to be had.
func (w *world) liveness(oracle string) string {
	if w.phase == phaseLoss {
		return "D1"
	}
	return oracle
}

// patience is how long things may take: ten request timeouts, the bound of L1 and L2. It holds even
// when f disks are lost, all start anew, and the lost ones are the next f primaries.
func (w *world) patience() bft.Time { return 10 * bft.Time(w.opts.Protocol.RequestTimeout) }

// lose crashes everybody and takes the disks of f replicas away, those of the adversary first.
// What was acknowledged must be there all the same (oracle D1): the others execute again all
// that was executed, and the last reads of the clients see it.
func (w *world) lose() {
	w.enter(phaseLoss)
	for _, h := range w.hosts {
		h.crash()
	}
	r := stream(w.opts.Seed, "loss")
	left := bft.MaxFaulty(w.n)
	for _, h := range w.hosts {
		if (h.impaired || h.liar != nil) && !w.lost[h.id] {
			w.lost[h.id] = true
			left--
		}
	}
	for _, i := range r.Perm(w.n) {
		if left > 0 && !w.lost[i] {
			w.lost[i] = true
			left--
		}
	}
	for _, h := range w.hosts {
		w.q.after(between(r, 0, 10*bft.Millisecond), h.start)
	}
	w.demandLevel(w.executed(), w.patience())
	w.lastReads()
}

// lastReads has every client read everything, or of a service under test call something more.
func (w *world) lastReads() {
	for _, c := range w.clients {
		if c.bad || c.dead {
			continue
		}
		c.idle = w.opts.Load.Outstanding - 1
		todo := c.lastCalls()
		var next func()
		next = func() {
			if len(todo) == 0 {
				c.idle++
				return
			}
			in := todo[0]
			todo = todo[1:]
			c.invoke(in, ordered, 0, next)
		}
		next()
	}
}

// count notes a call that ended well.
func (w *world) count(x *ongoing, now bft.Time) {
	if x.how == ordered {
		w.stats.Operations++
		if w.phase == phaseLoad && w.opts.Load.For > 0 {
			w.stats.Measured++
		}
	} else {
		w.stats.Reads++
	}
	if heal := bft.Time(w.opts.Heal); now > heal {
		w.stats.Longest = max(w.stats.Longest, Duration(now-max(heal, x.from)))
	}
}

// checkHistory is oracle S5.
func (w *world) checkHistory() {
	check := func() (error, bool) { return w.history.check(unknownAfter) }
	if s := w.opts.Service; s != nil {
		check = func() (error, bool) { return w.history.checkOwn(s.Model) }
	}
	err, unknown := check()
	if err != nil {
		w.verdict.fail("S5", "%v", err)
		if w.failure != nil {
			w.failure.Picture = w.history.picture
		}
	}
	w.stats.Unchecked = unknown
}

func (w *world) report() *Report {
	w.stats.Virtual, w.stats.Sequences = Duration(w.q.now), w.executed()
	w.stats.Views, w.stats.ViewChanges = w.promises.views, w.promises.viewChanges
	for _, m := range w.promises.of {
		w.stats.Stable = max(w.stats.Stable, m.stable)
	}
	w.stats.Lies, w.stats.Injected, w.stats.Calls = w.liesTold(), w.injections(), w.order.tally.calls()
	accused := w.accounts.settle(w)
	r := &Report{Options: w.opts, Outcome: "ok", TraceHash: w.trace.hash(), Failure: w.failure, Accused: accused, Stats: w.stats}
	if w.failure != nil {
		r.Outcome = "failed"
	}
	return r
}
