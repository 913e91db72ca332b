package bft

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/baluarte-bft/baluarte/crypto"
)

// ClientConfig is what a client is made from. The zero values of the bounds and times mean
// those of DefaultClientConfig.
type ClientConfig struct {
	// Key is the client's public key; whoever drives the client signs with the private one.
	Key ClientID
	// Cluster is the digest of the genesis manifest, Epoch the epoch that N members are of. One member
	// is a server without replicas, which is believed.
	Cluster Digest
	Epoch   Epoch
	N       int
	// Seed is drawn at random by the host for each new client, and never used twice with a key: the
	// nonces of its sessions derive from it.
	Seed [32]byte
	// Ephemeral clients open and close a session with each bundle, so that nothing is left behind;
	// one bundle is outstanding at a time. For command lines.
	Ephemeral bool
	// Lowest makes the lowest active replica the one that is asked for results in full, see SetFit. Otherwise
	// clients begin with different ones, by their keys, which spreads the load.
	Lowest bool
	// Claim is what each session of the client claims; the zero value claims nothing. A client whose sessions end unless they
	// are used sends something in them at least three times in that time.
	Claim Claim
	// Journal has Ready name bundles with operations when they leave for the first time, and when they are done with.
	Journal bool

	// MaxBundleOps and MaxBundleBytes bound a bundle and a query: at most what the replicas accept.
	MaxBundleOps, MaxBundleBytes int
	// MaxOpBytes bounds one operation, with the name of its service; 0: the bundle's bound alone.
	MaxOpBytes int
	// MaxCalls and MaxBytes bound the calls that have not ended, and the bytes of their operations.
	MaxCalls, MaxBytes int

	// RetryAfter is the time after which a bundle without an accepted answer is sent again. It doubles
	// with each retry, up to MaxRetry.
	RetryAfter, MaxRetry Time
	// OpenWithin is the time within which the opening of a session must be ordered. The replicas
	// remember it that long, so ephemeral clients have a shorter one.
	OpenWithin Time
	// MaxIdle is the time after which an idle session is given up for a new one. It must be well below
	// the time for which replicas keep an idle session, T of rule 24.
	MaxIdle Time
	// QueryTries is how often a contended query is tried.
	QueryTries int

	keepAlive Time // the longest pause in which nothing is sent; 0: any
}

// DefaultClientConfig has the defaults of a client of long life. Key, Cluster, Epoch, N and Seed
// are unset; an ephemeral client's OpenWithin is 30 s.
func DefaultClientConfig() ClientConfig {
	return ClientConfig{
		MaxBundleOps: 256, MaxBundleBytes: 1280 << 10,
		MaxCalls: 8192, MaxBytes: 64 << 20,
		RetryAfter: 500 * Millisecond, MaxRetry: 4 * Second,
		OpenWithin: 600 * Second, MaxIdle: 6 * 3600 * Second,
		QueryTries: 10,
	}
}

const (
	ephemeralOpenWithin = 30 * Second
	// bundleOverhead bounds the bytes of a bundle without its operations, opOverhead those that an
	// operation adds to its own.
	bundleOverhead = 160
	opOverhead     = 6
	// maxQueries bounds the query frames that await answers; more reads wait and share the next one.
	maxQueries = 64
	// keptPerReplica bounds the bytes of full results that are kept of one replica until f+1 agree.
	keptPerReplica = 2 * MaxFrameBytes
)

func (c *ClientConfig) complete() error {
	def := DefaultClientConfig()
	if c.Ephemeral {
		def.OpenWithin = ephemeralOpenWithin
	}
	for _, f := range []struct{ v, def *int }{{&c.MaxBundleOps, &def.MaxBundleOps}, {&c.MaxBundleBytes, &def.MaxBundleBytes},
		{&c.MaxCalls, &def.MaxCalls}, {&c.MaxBytes, &def.MaxBytes}, {&c.QueryTries, &def.QueryTries}} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	for _, f := range []struct{ v, def *Time }{{&c.RetryAfter, &def.RetryAfter}, {&c.MaxRetry, &def.MaxRetry},
		{&c.OpenWithin, &def.OpenWithin}, {&c.MaxIdle, &def.MaxIdle}} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("client: "+format, args...))
		}
	}
	// One alone is a server without replicas, which tolerates nothing: the reference of measurements.
	bad(c.N == 1 || c.N >= 4 && c.N <= MaxMembers, "replicas: %d is not within 4 to %d", c.N, MaxMembers)
	bad(!c.Cluster.IsZero(), "cluster: the cluster id is not set")
	bad(c.Seed != [32]byte{}, "seed: not drawn")
	bad(c.MaxBundleOps >= 1 && c.MaxBundleOps <= WindowOps, "max bundle operations: %d is not within 1 to %d", c.MaxBundleOps, WindowOps)
	bad(c.MaxBundleBytes >= 1024 && c.MaxBundleBytes <= MaxBundleBytes, "max bundle bytes: %d is not within 1024 to %d", c.MaxBundleBytes, MaxBundleBytes)
	bad(c.MaxCalls >= 1 && c.MaxBytes >= c.MaxBundleBytes, "max calls %d and bytes %d: must hold one bundle", c.MaxCalls, c.MaxBytes)
	bad(c.RetryAfter > 0 && c.MaxRetry >= c.RetryAfter, "retry: must be positive and at most its maximum")
	bad(c.OpenWithin > 0 && c.MaxIdle > 0, "session times: must be positive")
	bad(c.QueryTries >= 1, "query tries: must be at least 1")
	if err := c.completeClaim(); err != nil {
		bad(false, "%w", err)
	}
	return errors.Join(errs...)
}

// CallID is a host's name for a call. Those of calls that have not ended differ.
type CallID uint64

// CallResult tells how a call ended; each call ends exactly once.
type CallResult struct {
	ID CallID
	// Value is the service's answer, if Err is nil. It is part of a frame that was given to Step.
	Value []byte
	Err   error
	// Session, First and Index say where the operation was executed that has an answer: in the bundle of that session
	// which began with the number First, at that place. They are zero for a Query.
	Session SessionID
	First   uint64
	Index   int
}

// ClientReady is what the host of a client must now do. Its slices are valid until the next call
// of Ready.
type ClientReady struct {
	// Sign asks for the client's signatures. Report by Signed.
	Sign []SignRequest
	// Messages for one replica, or Everyone: all replicas. Loss and reordering are tolerated.
	Messages []Outbound
	// Results of calls that ended.
	Results []CallResult
	// Leaving bundles, if ClientConfig.Journal: to be made durable before the Messages are sent. Only name, payload and signature are
	// of use; see Resume.
	Leaving []*Bundle
	// Answered bundles need not be kept any more; perhaps also some that were never Leaving.
	Answered []BundleName
}

// Client is the client of a cluster as a state machine: it bundles calls, repeats bundles
// until f+1 replicas answer alike, and keeps one session (rules 24 to 28). Like Replica it is
// a function of its inputs, driven from one goroutine.
//
// Invariants:
//
//  1. bundles are in the order of First, which is dense but for the bundles that were answered or given up;
//     next is one above the last; next ≤ first outstanding + WindowOps.
//  2. bundles is empty in phaseNone, has exactly the opening one in phaseOpening.
//  3. A bundle's payload never changes; what is sent again is what was sent before.
//  4. calls counts those waiting, in bundles and in queries, that have not ended.
type Client struct {
	cfg          ClientConfig
	need, quorum int // f+1 and Q

	now, clock Time
	due        Time // Tick has nothing to do before

	phase    sessionPhase
	session  SessionID
	nonce    Nonce
	opened   uint64 // sessions so far
	next     uint64
	lastUsed Time
	lastSent Time
	over     bool // the session has ended; bundles still await answers
	resumed  bool // the session is one of an earlier life
	replaced bool
	closing  bool
	closed   bool

	waiting queue[waitingCall]
	bundles []*sentBundle
	spare   []*sentBundle // for reuse
	signID  uint64

	reads   [2]queue[waitingCall] // linearizable and stale ones that wait
	queries []*sentQuery
	queryID uint64

	up      uint64 // bit i: replica i can be reached, as far as the host knows
	replier ReplicaID
	asked   repliers
	// fit and failed are of SetFit: bit i for replica i.
	fit, failed uint64
	kept        []int // by replica: bytes of results kept

	calls, bytes int
	ready, spent ClientReady
}

type sessionPhase uint8

const (
	phaseNone sessionPhase = iota
	phaseOpening
	phaseOpen
)

// NewClient makes a client that takes all replicas for reachable.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, need: WeakQuorum(cfg.N), quorum: Quorum(cfg.N), next: 1, due: never,
		up: ^uint64(0) >> (64 - cfg.N), asked: repliers{shunned: make([]shunned, cfg.N)}, kept: make([]int, cfg.N)}
	c.replier = c.home()
	c.fit = c.all()
	c.elect()
	return c, nil
}

const never = Time(1<<63 - 1)

// home is the first replier. Clients begin with different ones, which spreads the load of full results.
func (c *Client) home() ReplicaID { return ReplicaID(c.cfg.Key[0]) % ReplicaID(c.cfg.N) }

// MaxOp is the size of the largest operation or read that Invoke and Query take, in bytes.
func (c *Client) MaxOp() int {
	most := c.cfg.MaxBundleBytes - c.overhead() - opOverhead
	if c.cfg.MaxOpBytes > 0 {
		most = min(most, c.cfg.MaxOpBytes)
	}
	return most
}

// CallOptions are the options of one call.
type CallOptions struct {
	// Deadline is the logical time at which the call ends without a result; 0: never.
	Deadline Time
	// Traced has Outbound.Traced name the call wherever it leaves, and all replicas asked to answer it.
	Traced bool

	// The others are those of Invoke alone.

	// Semantics says how often the operation is executed; see the constants.
	Semantics Semantics
	// Expires is the agreed time after which the operation is not executed any more, rounded up to 100 ms; 0: never,
	// or for AtMostOnce the Deadline. One that is ordered later ends in ErrRejected.
	Expires Time
	// Idempotent: executing the operation twice is as good as once. Then it is invoked anew by itself, in a new
	// session, where its outcome would be unknown because its session has ended.
	Idempotent bool
}

// Invoke takes an operation to be ordered and executed as opts.Semantics says; op must stay unchanged until
// the next Ready. An error is a *CallError and means that the call was not taken: ErrRejected if
// op is larger than MaxOp, ErrOverloaded if too many calls are outstanding, ErrNotSubmitted after Close.
func (c *Client) Invoke(id CallID, op []byte, opts CallOptions) error {
	if err := c.admit(op); err != nil {
		return err
	}
	w := c.waitingCall(id, op, opts)
	if err := c.complete(&w, opts); err != nil {
		c.calls, c.bytes = c.calls-1, c.bytes-len(op)
		return err
	}
	c.waiting.push(w)
	return nil
}

// Query takes a read that is not ordered. op must stay unchanged until the call ends. Errors are
// those of Invoke.
func (c *Client) Query(id CallID, op []byte, consistency Consistency, opts CallOptions) error {
	if consistency != Linearizable && consistency != Stale {
		return &CallError{Kind: ErrRejected, Text: "unknown " + consistency.String()}
	}
	if err := c.admit(op); err != nil {
		return err
	}
	c.reads[consistency-1].push(c.waitingCall(id, op, opts))
	return nil
}

func (c *Client) admit(op []byte) error {
	switch {
	case len(op) > c.MaxOp():
		return &CallError{Kind: ErrRejected, Text: fmt.Sprintf("operation of %d bytes, the limit is %d", len(op), c.MaxOp())}
	case c.closing:
		return errClosing
	case c.calls >= c.cfg.MaxCalls || c.bytes+len(op) > c.cfg.MaxBytes:
		return errFull
	}
	c.calls++
	c.bytes += len(op)
	return nil
}

func (c *Client) waitingCall(id CallID, op []byte, opts CallOptions) waitingCall {
	w := waitingCall{id: id, op: op, deadline: never, traced: opts.Traced}
	if opts.Deadline != 0 {
		w.deadline = opts.Deadline
		c.wakeAt(w.deadline)
	}
	return w
}

// Close makes the client refuse new calls and, once those it has have ended, end its session.
func (c *Client) Close() { c.closing = true }

// Closed tells whether Close has done its work.
func (c *Client) Closed() bool { return c.closed }

// Outstanding is the number of calls that have not ended.
func (c *Client) Outstanding() int { return c.calls }

// Cancel ends a call without a result, as its deadline would; false if there is no such call.
func (c *Client) Cancel(id CallID) bool {
	return c.endCalls(func(call CallID, _ Time) bool { return call == id })
}

// Tick tells the time: now is logical and monotonic, clock the wall clock, which only dates the
// opening of sessions.
func (c *Client) Tick(now, clock Time) {
	c.now, c.clock = max(now, c.now), clock
	if c.now < c.due {
		return
	}
	c.endCalls(func(_ CallID, deadline Time) bool { return deadline <= c.now })
	for i := 0; i < len(c.bundles); i++ {
		switch b := c.bundles[i]; {
		case !b.signed || b.retryAt > c.now:
		case b.asked != c.all():
			c.widen(b)
		default:
			if c.retry(b); i < len(c.bundles) && c.bundles[i] != b {
				i-- // it was taken back
			}
		}
	}
	c.retryQueries()
	c.due = c.nextDue()
}

// Wake is the earliest time at which Tick will have something to do, if nothing else happens
// before; false if there is none.
func (c *Client) Wake() (Time, bool) { return c.due, c.due != never }

// nextDue is the earliest deadline or retry.
func (c *Client) nextDue() Time {
	due := never
	for i := range c.waiting.len() {
		due = min(due, c.waiting.at(i).deadline)
	}
	for _, b := range c.bundles {
		if b.signed {
			due = min(due, b.retryAt)
		}
		due = min(due, b.deadline)
	}
	due = min(due, c.lifeDue())
	for k := range c.reads {
		for i := range c.reads[k].len() {
			due = min(due, c.reads[k].at(i).deadline)
		}
	}
	for _, q := range c.queries {
		due = min(due, q.retryAt)
		for i := range q.calls {
			if !q.calls[i].ended {
				due = min(due, q.calls[i].deadline)
			}
		}
	}
	return due
}

// wakeAt makes sure that Tick looks at time t.
func (c *Client) wakeAt(t Time) { c.due = min(c.due, t) }

// ReplicaUp tells that a replica can be reached, perhaps again: it gets what is outstanding at
// once, for what was sent to it before may be lost.
func (c *Client) ReplicaUp(id ReplicaID) {
	if int(id) >= c.cfg.N {
		return
	}
	if c.up == 0 {
		c.replier = c.home() // nobody has failed since all were gone
	}
	c.up |= 1 << id
	c.elect()
	if !c.isUp(c.replier) {
		c.rotate(c.replier)
	}
	for _, b := range c.bundles {
		if b.signed && b.semantics != Maybe {
			c.send(id, AskingFrame(&b.Bundle, b.replier, b.asked), b.calls)
		}
	}
	for _, q := range c.queries {
		if !q.paused {
			c.send(id, q.frame(), q.calls)
		}
	}
}

// ReplicaDown tells that a replica cannot be reached. While none can, calls wait.
func (c *Client) ReplicaDown(id ReplicaID) {
	if int(id) >= c.cfg.N || !c.isUp(id) {
		return
	}
	c.up &^= 1 << id
	c.elect() // the failure is the connection's
	c.rotate(id)
	for _, b := range c.bundles {
		if b.signed && (b.replier == id || b.asked != c.all() && b.asked>>id&1 != 0) {
			b.retryAt = c.now // nobody else would send the results in full, or answer
		}
	}
	for _, q := range c.queries {
		if q.replier == id {
			q.retryAt = c.now
		}
	}
	c.wakeAt(c.now)
}

// Reachable is the number of replicas that the host has not reported as down.
func (c *Client) Reachable() int { return bits.OnesCount64(c.up) }

func (c *Client) isUp(id ReplicaID) bool { return c.up&(1<<id) != 0 }

// rotate moves on from a replier that failed (rule 28). Failures of others change nothing: many
// bundles that name the same one may fail at the same time.
func (c *Client) rotate(failed ReplicaID) {
	if failed != c.replier || c.up == 0 {
		return
	}
	if c.cfg.Lowest {
		c.failed |= 1 << failed
		c.elect()
		return
	}
	for range c.cfg.N {
		c.replier = (c.replier + 1) % ReplicaID(c.cfg.N)
		if c.isUp(c.replier) {
			return
		}
	}
}

// Step takes a frame that came from a replica, over its own channel; it must not be changed
// afterwards. ErrInvalid accuses that replica; ErrNotRelevant is usual.
func (c *Client) Step(from ReplicaID, frame []byte) error {
	if int(from) >= c.cfg.N {
		return fmt.Errorf("%w: from replica %d of %d", ErrInvalid, from, c.cfg.N)
	}
	if len(frame) == 0 {
		return fmt.Errorf("%w: empty frame", ErrInvalid)
	}
	switch MessageType(frame[0]) {
	case TypeReply:
		return c.onReply(from, frame)
	case TypeBusy:
		return c.onBusy(from, frame)
	case TypeAnswer:
		return c.onAnswer(from, frame)
	}
	return fmt.Errorf("%w: %v to a client", ErrInvalid, MessageType(frame[0]))
}

// Ready returns what the host must now do; false if nothing.
func (c *Client) Ready() (ClientReady, bool) {
	c.formBundles()
	c.showLife()
	c.formQueries()
	if len(c.ready.Sign)+len(c.ready.Messages)+len(c.ready.Results)+len(c.ready.Answered) == 0 {
		return ClientReady{}, false
	}
	out := c.ready
	clear(c.spent.Sign[:cap(c.spent.Sign)]) // let go of what was handed out before
	clear(c.spent.Messages[:cap(c.spent.Messages)])
	clear(c.spent.Results[:cap(c.spent.Results)])
	c.ready = ClientReady{Sign: c.spent.Sign[:0], Messages: c.spent.Messages[:0], Results: c.spent.Results[:0]}
	c.spent = out
	return out, true
}

func (c *Client) send(to ReplicaID, frame []byte, calls []sentCall) {
	m := Outbound{To: to, Frame: frame}
	for i := range calls {
		if calls[i].traced && !calls[i].ended {
			m.Traced = append(m.Traced, calls[i].id)
		}
	}
	c.ready.Messages = append(c.ready.Messages, m)
}

func (c *Client) end(id CallID, value []byte, err error, size int) {
	c.calls--
	c.bytes -= size
	c.ready.Results = append(c.ready.Results, CallResult{ID: id, Value: value, Err: err})
}

// nextNonce derives the nonce of the next session.
func (c *Client) nextNonce() Nonce {
	n := SessionNonce(c.cfg.Seed, c.opened)
	c.opened++
	return n
}

// SessionNonce is the nonce of the session number i, from 0, of a client with that seed.
func SessionNonce(seed [32]byte, i uint64) (n Nonce) {
	var count [8]byte
	putUint64(count[:], i)
	d := crypto.Hash("baluarte/client-nonce", seed[:], count[:])
	copy(n[:], d[:])
	return n
}

// ClientInfo is a client's own view of itself.
type ClientInfo struct {
	// Session is 0 while none is open.
	Session SessionID
	// Sessions is the number of sessions begun so far.
	Sessions uint64
	// Waiting calls have not left, Bundles and Queries await answers.
	Waiting, Bundles, Queries int
	// Replier is named for full results.
	Replier ReplicaID
}

// Info describes the client, for tests and metrics.
func (c *Client) Info() ClientInfo {
	return ClientInfo{Session: c.session, Sessions: c.opened, Waiting: c.waiting.len() + c.reads[0].len() + c.reads[1].len(),
		Bundles: len(c.bundles), Queries: len(c.queries), Replier: c.replier}
}
