package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/receipt"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// Options are what a Client can be told beside its cluster and key. The zero value is usual.
type Options struct {
	// Ephemeral makes each bundle a session of its own, which it opens and closes, so that
	// nothing stays behind; one bundle is outstanding at a time. For command lines, which make a call and end.
	Ephemeral bool
	// NoWait makes Dial return at once. Otherwise it waits until enough replicas can be reached.
	NoWait bool
	// Calls are what holds for every call, unless [Service.With] says otherwise.
	Calls []CallOption
	// MaxCalls bounds the calls that have not ended; 0 means 8,192.
	MaxCalls int
	// Unreplicated: the manifest has one member, a server without replicas, whose single reply is
	// believed. It is the reference that measurements compare a cluster with; bftnode serves none.
	Unreplicated bool
	// SpreadRepliers has clients ask different replicas for results in full, by their keys. By default they ask the lowest
	// active one, see Client.Replier; with many clients and large results that one's network may be what is short.
	SpreadRepliers bool

	claims   claims
	journal  string // a path; empty: none
	recovery Recovery
}

// Option changes Options.
type Option func(*Options)

// WithOptions sets all options.
func WithOptions(o Options) Option { return func(p *Options) { *p = o } }

// Ephemeral sets Options.Ephemeral.
func Ephemeral() Option { return func(p *Options) { p.Ephemeral = true } }

// NoWait sets Options.NoWait.
func NoWait() Option { return func(p *Options) { p.NoWait = true } }

// MaxCalls sets Options.MaxCalls.
func MaxCalls(n int) Option { return func(p *Options) { p.MaxCalls = n } }

// SpreadRepliers sets Options.SpreadRepliers.
func SpreadRepliers() Option { return func(p *Options) { p.SpreadRepliers = true } }

// Unreplicated sets Options.Unreplicated.
func Unreplicated() Option { return func(p *Options) { p.Unreplicated = true } }

// Client calls a cluster; see the package. One goroutine owns the protocol's client; all others
// reach it through what mu guards.
type Client struct {
	manifest *config.Manifest
	key      *crypto.PrivateKey
	cfg      bft.ClientConfig
	core     *bft.Client          // of the goroutine run
	aparts   map[bft.Nonce]*apart // of that too: sessions of their own for one operation
	at       receipt.Name         // of that too: where the operation was executed whose call it ends
	net      *transport.Client
	opts     callOptions
	journal  *journal // or nil; its file is of the goroutine run
	maxCalls int
	maxOp    int
	start    time.Time
	wake     chan struct{} // of capacity 1: there is something in what mu guards
	stopped  chan struct{} // closed when run has ended
	closing  chan struct{} // closed by Close

	mu      sync.Mutex
	calls   []call // by slot
	free    []uint32
	open    int // calls that have not ended
	pending []request
	cancels []bft.CallID
	inbox   []received
	held    []int // by replica: bytes in inbox
	room    sync.Cond
	ups     []upDown
	closed  bool

	dialled sync.Once
	ready   chan struct{} // closed once enough replicas are reachable, or never will be
	status  statusBoard
	traces  traceBoard
	fitness *fitness
	replier atomic.Int32
	// receipts has the operations for which signatures are gathered.
	receipts receiptBoard
}

type upDown struct {
	replica bft.ReplicaID
	up      bool
}

type received struct {
	from  bft.ReplicaID
	frame []byte
}

// heldPerReplica bounds the bytes of received frames that wait, for each replica.
const heldPerReplica = 16 << 20

// closeGrace is how long Close lets calls end and the session be closed.
const closeGrace = 500 * time.Millisecond

// Dial makes a client of the cluster that the manifest describes; key identifies it and signs
// its operations. Unless told not to wait, it returns once a quorum of replicas can be reached,
// or with an error when ctx ends before, or when so many refuse the client that none will be;
// errors.Is then finds the errors of package transport, such as transport.ErrNotAdmitted.
func Dial(ctx context.Context, manifest *config.Manifest, key *crypto.PrivateKey, opts ...Option) (*Client, error) {
	var o Options
	for _, set := range opts {
		set(&o)
	}
	c, err := newClient(manifest, key, o)
	if err != nil {
		return nil, err
	}
	if o.NoWait {
		return c, nil
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
	}
	if r := c.Reachable(); len(r.Down) > r.N-r.Needed {
		c.Close()
		e := &callError{err: &bft.CallError{Kind: ErrNotSubmitted, Text: "the cluster cannot be reached"},
			ended: ctx.Err(), reach: r.String()}
		for _, d := range r.Down {
			e.also = append(e.also, d.Err)
		}
		return nil, e
	}
	return c, nil
}

func newClient(manifest *config.Manifest, key *crypto.PrivateKey, o Options) (*Client, error) {
	if manifest == nil || key == nil {
		return nil, errors.New("client: a manifest and a key are needed")
	}
	var opts callOptions
	if err := opts.set(o.Calls); err != nil {
		return nil, err
	}
	if o.claims.err != nil {
		return nil, o.claims.err
	}
	if o.Unreplicated {
		// What a manifest of a cluster must have, its replicas, this one must not.
		if n := len(manifest.Members); n != 1 {
			return nil, fmt.Errorf("client: manifest: %d members, where a server without replicas is one", n)
		}
	} else if err := manifest.Validate(); err != nil {
		return nil, fmt.Errorf("client: manifest: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	n := len(manifest.Members)
	cfg := bft.ClientConfig{Key: key.Public(), Cluster: manifest.ID(), N: n, Ephemeral: o.Ephemeral, Lowest: !o.SpreadRepliers, MaxCalls: o.MaxCalls,
		MaxBundleOps: manifest.Protocol.BundleOps, MaxBundleBytes: int(manifest.Protocol.BundleSize),
		MaxOpBytes: int(manifest.Protocol.OpSize)}
	cfg.Claim = o.claims.claim
	if most := bft.Time(manifest.Protocol.SessionAhead); max(cfg.Claim.Lease, cfg.Claim.Grace) > most {
		return nil, fmt.Errorf("client: lease or grace above the manifest's session_ahead, %v", time.Duration(most))
	}
	// Replicas keep an idle session for session_ahead, and refuse an opening that lies further ahead.
	ahead := bft.Time(manifest.Protocol.SessionAhead)
	def := bft.DefaultClientConfig()
	cfg.MaxIdle, cfg.OpenWithin = min(def.MaxIdle, ahead/4), min(def.OpenWithin, ahead/2)
	if o.Ephemeral && cfg.Claim.Instance == "" && o.journal == "" {
		// The shorter default. Of an instance, the time of opening tells the older from the newer; what a journal has must
		// be known for longer.
		cfg.OpenWithin = 0
	}
	if _, err := rand.Read(cfg.Seed[:]); err != nil {
		return nil, fmt.Errorf("client: no randomness: %w", err)
	}
	cfg.Journal = o.journal != ""
	core, err := bft.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{manifest: manifest, key: key, cfg: cfg, core: core, opts: opts, maxCalls: o.MaxCalls, maxOp: core.MaxOp(),
		start: time.Now(), wake: make(chan struct{}, 1), stopped: make(chan struct{}), closing: make(chan struct{}),
		held: make([]int, n), ready: make(chan struct{}),
		fitness: newFitness(n, bft.WeakQuorum(n))}
	if c.maxCalls == 0 {
		c.maxCalls = def.MaxCalls
	}
	c.room.L = &c.mu
	for id := range bft.ReplicaID(n) {
		core.ReplicaDown(id)
	}
	if err := c.openJournal(o.journal, o.recovery); err != nil {
		return nil, err
	}
	// State and Receive only touch what mu guards, and wait for net where they need it.
	c.mu.Lock()
	c.net, err = c.connect()
	c.mu.Unlock()
	if err != nil {
		c.closeJournal()
		return nil, err
	}
	c.replier.Store(int32(core.Replier()))
	go c.run()
	return c, nil
}

func (c *Client) connect() (*transport.Client, error) {
	members := make([]transport.Member, len(c.manifest.Members))
	for i, m := range c.manifest.Members {
		members[i] = transport.Member{Key: m.Key.PublicKey, Addrs: m.Addresses}
	}
	return transport.Dial(transport.ClientConfig{Key: c.key, Cluster: c.manifest.ID(), Members: members,
		Receive: c.receive, State: c.state, Limits: transport.Limits{ReconnectMax: 500 * time.Millisecond,
			MaxFrameBytes: bft.MaxFrameBytes, ClientQueueBytes: 2 * bft.MaxFrameBytes}})
}

// state is called by the transport.
func (c *Client) state(replica int, up bool, _ error) {
	c.mu.Lock()
	c.ups = append(c.ups, upDown{bft.ReplicaID(replica), up})
	c.mu.Unlock()
	c.signal()
	c.askMembers(replica, up)
	if !up {
		c.status.lost(replica)
	}
	if c.decided() {
		c.dialled.Do(func() { close(c.ready) })
	}
}

// decided tells whether Dial need not wait any longer: a quorum is connected, or so many replicas refuse
// this client for good that none can be.
func (c *Client) decided() bool {
	r := c.Reachable()
	refused := 0
	for _, d := range r.Down {
		if errors.Is(d.Err, transport.ErrNotAdmitted) || errors.Is(d.Err, transport.ErrWrongCluster) || errors.Is(d.Err, transport.ErrWrongVersion) {
			refused++
		}
	}
	return len(r.Down) <= r.N-r.Needed || refused > r.N-r.Needed
}

// receive is called by the transport, on a goroutine of the replica's: while too much of its
// frames waits, that replica is not read from.
func (c *Client) receive(replica int, frame []byte) {
	if len(frame) > 0 && frame[0] >= hostFrames {
		if frame = c.hostFrame(replica, frame); len(frame) == 0 {
			return
		}
	}
	c.mu.Lock()
	for c.held[replica] > heldPerReplica && !c.closed {
		c.room.Wait()
	}
	c.held[replica] += len(frame)
	c.inbox = append(c.inbox, received{bft.ReplicaID(replica), frame})
	first := len(c.inbox) == 1
	c.mu.Unlock()
	if first {
		c.signal()
	}
}

func (c *Client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close refuses new calls, gives those that have not ended up to half a second, ends the session
// and closes all connections. Calls that have not ended by then end with ErrNotSubmitted or
// ErrOutcomeUnknown. It must not be called from a callback of Submit.
func (c *Client) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
		c.signal()
		c.room.Broadcast()
	}
	c.mu.Unlock()
	<-c.stopped
	c.net.Close()
	c.closeJournal()
	return nil
}
