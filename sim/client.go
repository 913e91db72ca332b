package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// clientHost runs one client in virtual time, and its callers.
type clientHost struct {
	w      *world
	id     int // from 0
	key    bft.ClientID
	signer crypto.Signer
	client *bft.Client
	load   *load
	// bad clients belong to the adversary, and nobody waits for them.
	bad     bool
	liar    byz.ClientAdversary
	lies    *liar
	calls   map[bft.CallID]*ongoing
	last    bft.CallID
	wakesAt bft.Time
	idle    int // callers that wait for nothing
	// dead: it has crashed.
	dead bool
}

// ongoing is a call that has not ended.
type ongoing struct {
	in       input
	how      way
	from     bft.Time
	deadline bft.Time
	done     func()
}

func newClientHost(w *world, id int, signer crypto.Signer, bad bool) (*clientHost, error) {
	c := &clientHost{w: w, id: id, key: signer.Public(), signer: signer, bad: bad, load: newLoad(&w.opts, id, bad), calls: make(map[bft.CallID]*ongoing)}
	p := &w.opts.Protocol
	var err error
	c.client, err = bft.NewClient(bft.ClientConfig{
		Key: c.key, Cluster: w.cluster, N: w.n, Seed: seedOf(w.opts.Seed, fmt.Sprint("client ", id)),
		MaxBundleOps: p.MaxBundleOps, RetryAfter: bft.Time(p.RequestTimeout) / 2, MaxRetry: c.maxRetry(),
	})
	return c, err
}

// maxRetry is the longest time between two times that a request is sent.
func (c *clientHost) maxRetry() bft.Time { return 2 * bft.Time(c.w.opts.Protocol.RequestTimeout) }

func (c *clientHost) endpoint() endpoint { return endpoint(len(c.w.net.ids) + c.id) }

// start begins the calls, one caller after the other.
func (c *clientHost) start() {
	for range c.w.opts.Load.Outstanding {
		c.w.q.after(between(c.load.r, 0, bft.Time(c.w.opts.Load.Think)), c.next)
	}
	if l := &c.w.opts.Load; !c.bad && c.id >= l.Clients-l.Crashes {
		heal := bft.Time(c.w.opts.Heal)
		c.w.q.after(between(stream(c.w.opts.Seed, fmt.Sprint("crash of client ", c.id)), heal/10, heal), c.crash)
	}
}

// crash ends the client, and its calls with it: nobody will ever know what became of them.
func (c *clientHost) crash() {
	c.dead = true
	for _, id := range slices.Sorted(maps.Keys(c.calls)) {
		if x := c.calls[id]; x.how == ordered && !x.in.reads() {
			c.w.history.calls = append(c.w.history.calls, call{client: c.id, in: x.in, from: x.from, till: c.w.q.now})
		}
	}
	clear(c.calls)
	c.w.trace.note(c.w.q.now, KindCrash, c.endpoint(), -1, func() string { return "for good" })
}

// next makes one caller call, unless the load is over.
func (c *clientHost) next() {
	if c.dead {
		return
	}
	if most := c.w.opts.Load.Calls; c.w.stopping || most > 0 && int(c.last) >= most {
		c.idle++
		return
	}
	in, how := c.load.next()
	c.load.choose(&in)
	now, timeout := c.w.q.now, bft.Time(c.w.opts.Protocol.RequestTimeout)
	deadline := c.load.deadlineOf(now, timeout)
	if deadline == 0 {
		deadline = c.load.callDeadline(&in, now, timeout)
	}
	c.invoke(in, how, deadline, func() {
		c.w.q.after(between(c.load.r, 0, bft.Time(c.w.opts.Load.Think)), c.next)
	})
}

// invoke makes a call; done runs when it has ended.
func (c *clientHost) invoke(in input, how way, deadline bft.Time, done func()) {
	if c.dead {
		return
	}
	now := c.w.q.now
	c.last++
	id := c.last
	x := &ongoing{in: in, how: how, from: now, deadline: deadline, done: done}
	if in.value != "" {
		c.w.written[in.key+" "+in.value] = true
	}
	c.client.Tick(now+1, epochStart+now)
	opts := bft.CallOptions{Deadline: deadline, Semantics: in.semantics}
	if in.semantics == bft.Maybe && deadline == 0 { // the client has one of its own
		x.deadline = now + c.maxRetry()
	}
	var err error
	switch how {
	case ordered:
		err = c.client.Invoke(id, in.encode(), opts)
	case linearizable:
		err = c.client.Query(id, in.encode(), bft.Linearizable, opts)
	case stale:
		err = c.client.Query(id, in.encode(), bft.Stale, opts)
	}
	if err != nil {
		c.w.broken("client %d: %v", c.id, err)
		return
	}
	c.calls[id] = x
	if t := c.w.order.tally; t != nil && !c.bad && how == ordered && in.counted() {
		t.begin(c.id, in, now, deadline)
	}
	c.w.trace.note(now, KindCall, c.endpoint(), -1, func() string { return describeCall(in, nil) })
	c.demand(id)
	c.pump()
}

// demand holds the cluster to oracle L1: after the heal every call ends within ten request timeouts.
func (c *clientHost) demand(id bft.CallID) {
	if c.bad {
		return
	}
	c.w.q.at(max(c.w.q.now, bft.Time(c.w.opts.Heal))+c.w.patience(), func() {
		if x := c.calls[id]; x != nil {
			c.w.verdict.fail(c.w.liveness("L1"), "client %d waits since %v for %s", c.id, Duration(x.from), describeCall(x.in, nil))
		}
	})
}

// receive takes a frame from a replica.
func (c *clientHost) receive(m *message) {
	if c.dead {
		return
	}
	now := c.w.q.now
	c.w.trace.frame(now, KindDeliver, m)
	from := c.w.net.ids[m.from]
	if c.bad && !c.liar.Receive(from, m.frame) && c.tells() {
		return
	}
	c.client.Tick(now+1, epochStart+now)
	err := c.client.Step(from, m.frame)
	if !c.bad {
		c.w.judged(m, err)
	}
	if errors.Is(err, bft.ErrInvalid) && c.w.honestEndpoint(m.from) && !c.w.opts.Beyond {
		c.w.verdict.fail("A2", "client %d calls a message of honest replica %d invalid: %v", c.id, from, err)
	}
	c.pump()
}

// pump does what the client wants done.
func (c *clientHost) pump() {
	for {
		ready, ok := c.client.Ready()
		if !ok {
			break
		}
		for _, s := range ready.Sign {
			c.sign(s)
		}
		for _, m := range ready.Messages {
			c.send(m)
		}
		for _, r := range ready.Results {
			c.ended(r)
		}
	}
	c.wake()
}

func (c *clientHost) sign(s bft.SignRequest) {
	sig := c.signer.Sign(s.Message)
	if c.bad {
		if other := c.liar.Sign(s.Message, sig); c.tells() {
			sig = other
		}
	}
	// What follows the domain and the cluster is the payload, with its length.
	payload := s.Message[len(bft.RequestSigningBytes(c.w.cluster, nil)):]
	c.w.order.issue(c.key, payload)
	c.w.q.after(bft.Time(c.w.opts.Machine.Sign), func() {
		if c.dead {
			return
		}
		c.client.Signed(s.ID, sig)
		c.pump()
	})
}

func (c *clientHost) send(m bft.Outbound) {
	if !c.bad {
		if t := c.w.order.tally; t != nil {
			t.left(c.w.n, &m)
		}
		c.transmit(sending{Outbound: m})
		return
	}
	out := c.liar.Send(m)
	lied, told := c.tell()
	if lied && !told {
		out = []bft.Outbound{m}
	}
	for _, s := range c.lies.sent(m.Frame, lied && told, out) {
		c.transmit(s)
	}
}

// tell tells whether the behaviour would lie, and whether it may.
func (c *clientHost) tell() (lied, told bool) {
	names := c.liar.Told()
	return len(names) > 0, c.lies.tells(names)
}

// tells tells whether what the behaviour has just decided is carried out.
func (c *clientHost) tells() bool {
	_, told := c.tell()
	return told
}

// corrupt gives the client to the adversary.
func (c *clientHost) corrupt() {
	w, o := c.w, &c.w.opts
	c.liar = byz.NewClient(o.Behaviours, byz.ClientEnv{Key: c.key, Cluster: w.cluster, Sign: func(m []byte) crypto.Signature { return c.signer.Sign(m) },
		N: w.n, Plan: w.plan, Rand: stream(o.Seed, fmt.Sprint("bad client ", c.id)), Timeout: bft.Time(o.Protocol.RequestTimeout)})
	c.lies = newLiar(w, c.endpoint(), stream(o.Seed, fmt.Sprint("lies of client ", c.id)))
	w.often(c.load.r, func() {
		out := c.liar.Inject(w.q.now)
		if c.tells() {
			for _, m := range c.lies.sent(nil, true, out) {
				c.transmit(m)
			}
		}
	})
}

func (c *clientHost) transmit(m sending) {
	for to, id := range c.w.net.ids {
		if m.To == bft.Everyone || m.To == id {
			c.w.net.send(c.endpoint(), endpoint(to), m.Frame, m.lie)
		}
	}
}

// wake tells the client the time when it wants to know.
func (c *clientHost) wake() {
	at, ok := c.client.Wake()
	if !ok || c.wakesAt > c.w.q.now && c.wakesAt <= at {
		return
	}
	at = max(at, c.w.q.now+bft.Millisecond)
	c.wakesAt = at
	c.w.q.at(at, func() {
		if c.wakesAt != at || c.dead {
			return
		}
		c.wakesAt = 0
		c.client.Tick(at+1, epochStart+at)
		c.pump()
	})
}

// ended records how a call ended.
func (c *clientHost) ended(r bft.CallResult) {
	x := c.calls[r.ID]
	if x == nil {
		c.w.broken("client %d ends call %d, which it has not", c.id, r.ID)
		return
	}
	delete(c.calls, r.ID)
	now := c.w.q.now
	c.w.trace.bytes(now, KindResult, c.endpoint(), r.Value, func() string {
		return fmt.Sprintf("%s: %q, %v", describeCall(x.in, nil), r.Value, r.Err)
	})
	if !c.bad {
		c.record(x, r)
	}
	x.done()
}

// record puts a call into the history.
func (c *clientHost) record(x *ongoing, r bft.CallResult) {
	now, w := c.w.q.now, c.w
	if w.opts.Service != nil && !c.ownEnded(x, &r) {
		return
	}
	if t := w.order.tally; t != nil && x.how == ordered && x.in.counted() {
		t.ended(&x.in, r.Err)
	}
	entry := call{client: c.id, in: x.in, from: x.from, till: now}
	if r.Err == nil {
		out, err := c.load.decode(&x.in, r.Value)
		if err != nil {
			w.verdict.fail("S5", "client %d is told what the service cannot say: %s: %q, %v", c.id, describeCall(x.in, nil), r.Value, err)
			return
		}
		entry.out = out
		w.count(x, now)
		if x.how == stale {
			w.checkStale(&x.in, out)
			return
		}
	} else if !c.mayFail(x, r.Err) {
		return
	}
	if x.in.reads() && entry.out == nil {
		return // a read without a result says nothing
	}
	if r.Err != nil && (errors.Is(r.Err, bft.ErrNotSubmitted) || errors.Is(r.Err, bft.ErrRejected)) {
		return // it never happened, and whatever shows otherwise breaks the history
	}
	w.history.calls = append(w.history.calls, entry)
	if r.Err == nil && x.how == ordered && chance(c.load.r, w.opts.Load.Linearizable) {
		c.readAfter(&x.in)
	}
}

// readAfter has the next client read at once what this one has been told is written: whoever
// answers that too early is found out (rule 27).
func (c *clientHost) readAfter(after *input) {
	in := input{kind: opGet, key: after.key}
	other := c.w.clients[(c.id+1)%c.w.opts.Load.Clients]
	switch {
	case after.kind == opOwn || after.kind == opAsk:
		if !c.load.service.Reads {
			return
		}
		in = other.load.ownRead()
	case after.key == "":
		in.kind = opNumber
	}
	c.w.q.after(0, func() { other.invoke(in, linearizable, 0, func() {}) })
}

// mayFail tells whether a call may end in an error: one that was given up, and a read that met
// too many writes.
func (c *clientHost) mayFail(x *ongoing, err error) bool {
	c.w.stats.Undecided++
	givenUp := x.deadline != 0 && x.deadline <= c.w.q.now+bft.Millisecond
	switch {
	case errors.Is(err, bft.ErrContended) && x.how != ordered:
		return true
	case errors.Is(err, bft.ErrRejected) && x.in.semantics == bft.AtMostOnce && x.deadline != 0:
		return true // ordered too late
	case givenUp && (errors.Is(err, bft.ErrOutcomeUnknown) || errors.Is(err, bft.ErrNotSubmitted) || errors.Is(err, bft.ErrOverloaded)):
		return true
	}
	c.w.verdict.fail("L1", "client %d: %s ends in an error that nothing accounts for: %v", c.id, describeCall(x.in, nil), err)
	return false
}
