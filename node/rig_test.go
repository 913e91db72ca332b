package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/transport"
)

func init() { logging.SetAllLoggers(logging.LevelFatal) }

// rig is a cluster in one process: real sockets and directories.
type rig struct {
	t     testing.TB
	dir   string
	keys  []*crypto.PrivateKey
	core  bft.Config
	addrs [][]string
	nodes []*Node // nil: stopped
	tune  func(*Options)
	// hostile: the test sends what no correct member does.
	hostile bool
}

// patience bounds how long a test waits for a state; it is far above what is needed.
const patience = 60 * time.Second

func newRig(t testing.TB, n int, tune func(*bft.Config)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), core: bft.DefaultConfig(), nodes: make([]*Node, n)}
	r.core.Cluster = crypto.Hash("node-test", []byte(t.Name()))
	r.core.Interval, r.core.Window = 32, 64
	if tune != nil {
		tune(&r.core)
	}
	for i := range n {
		r.keys = append(r.keys, crypto.NewKeyFromSeed([32]byte{byte(i + 1), 7}))
		r.core.Members = append(r.core.Members, r.keys[i].Public())
		// A port that was free a moment ago.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.addrs = append(r.addrs, []string{l.Addr().String()})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := InitDir(r.path(i), r.coreOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range r.nodes {
			r.stop(i)
		}
	})
	return r
}

func (r *rig) path(i int) string { return filepath.Join(r.dir, fmt.Sprintf("r%d", i)) }

func (r *rig) coreOf(i int) bft.Config {
	c := r.core
	c.Self = bft.ReplicaID(i)
	return c
}

func (r *rig) options(i int) Options {
	o := Options{Key: r.keys[i], Core: r.coreOf(i), Addrs: r.addrs, Listen: r.addrs[i], HTTP: "127.0.0.1:0", Dir: r.path(i),
		Services:  map[string]exec.Factory{"kv": kv.New, "counter": counter.New},
		Exec:      exec.DefaultLimits(),
		Transport: transport.Limits{ReconnectMax: 200 * time.Millisecond},
		Fatal:     func(err error) { panic(err) },
	}
	if r.tune != nil {
		r.tune(&o)
	}
	return o
}

func (r *rig) start(ids ...int) {
	r.t.Helper()
	for _, i := range ids {
		n, err := Start(context.Background(), r.options(i))
		if err != nil {
			r.t.Fatal(err)
		}
		r.nodes[i] = n
	}
}

func (r *rig) startAll() {
	r.t.Helper()
	for i := range r.nodes {
		if r.nodes[i] == nil {
			r.start(i)
		}
	}
}

func (r *rig) stop(ids ...int) {
	r.t.Helper()
	for _, i := range ids {
		if n := r.nodes[i]; n != nil {
			r.nodes[i] = nil
			for j := range n.peers {
				if bad := n.peers[j].invalid.Load(); bad != 0 && !r.hostile {
					r.t.Errorf("%d accused %d, which is honest, %d times", i, j, bad)
				}
			}
			if err := n.Close(); err != nil {
				r.t.Errorf("closing %d: %v", i, err)
			}
		}
	}
}

// until waits for a state of the cluster.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			for i, n := range r.nodes {
				if n != nil {
					r.t.Logf("%d: %s", i, n.statusJSON())
				}
			}
			r.t.Fatalf("not reached: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rig) untilActive(ids ...int) {
	r.t.Helper()
	r.until("all active", func() bool {
		for _, i := range ids {
			if r.nodes[i].Status().State != StateActive {
				return false
			}
		}
		return true
	})
}

// testClient drives a bft.Client over the transport.
type testClient struct {
	t    testing.TB
	key  *crypto.PrivateKey
	net  *transport.Client
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	core  *bft.Client
	next  bft.CallID
	calls map[bft.CallID]chan bft.CallResult
	// onResult, on the loop's goroutine, gets results that nobody waits for.
	onResult func(bft.CallResult)
	events   []func()
	wake     chan struct{}
	begin    time.Time
}

func (r *rig) client(seed byte) *testClient {
	r.t.Helper()
	c := &testClient{t: r.t, key: crypto.NewKeyFromSeed([32]byte{seed, 99}), stop: make(chan struct{}), done: make(chan struct{}),
		calls: map[bft.CallID]chan bft.CallResult{}, wake: make(chan struct{}, 1), begin: time.Now()}
	cfg := bft.ClientConfig{Key: c.key.Public(), Cluster: r.core.Cluster, N: len(r.nodes)}
	rand.Read(cfg.Seed[:])
	var err error
	if c.core, err = bft.NewClient(cfg); err != nil {
		r.t.Fatal(err)
	}
	for i := range r.nodes {
		c.core.ReplicaDown(bft.ReplicaID(i))
	}
	members := make([]transport.Member, len(r.nodes))
	for i := range members {
		members[i] = transport.Member{Key: r.core.Members[i], Addrs: r.addrs[i]}
	}
	c.net, err = transport.Dial(transport.ClientConfig{Key: c.key, Cluster: r.core.Cluster, Members: members,
		Limits:  transport.Limits{ReconnectMax: 200 * time.Millisecond, MaxFrameBytes: bft.MaxFrameBytes, ClientQueueBytes: 2 * bft.MaxFrameBytes},
		Receive: func(i int, f []byte) { c.event(func() { _ = c.core.Step(bft.ReplicaID(i), f) }) },
		State: func(i int, up bool, _ error) {
			c.event(func() {
				if up {
					c.core.ReplicaUp(bft.ReplicaID(i))
				} else {
					c.core.ReplicaDown(bft.ReplicaID(i))
				}
			})
		}})
	if err != nil {
		r.t.Fatal(err)
	}
	go c.loop()
	r.t.Cleanup(c.close)
	return c
}

func (c *testClient) close() {
	select {
	case <-c.stop:
		return
	default:
	}
	close(c.stop)
	<-c.done
	c.net.Close()
}

func (c *testClient) event(f func()) {
	c.mu.Lock()
	c.events = append(c.events, f)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *testClient) loop() {
	defer close(c.done)
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-c.wake:
		case <-t.C:
		case <-c.stop:
			return
		}
		c.mu.Lock()
		events := c.events
		c.events = nil
		c.mu.Unlock()
		for _, f := range events {
			f()
		}
		c.core.Tick(bft.Time(time.Since(c.begin))+1, bft.Time(time.Now().UnixNano()))
		for {
			rd, ok := c.core.Ready()
			if !ok {
				break
			}
			for _, s := range rd.Sign {
				c.core.Signed(s.ID, c.key.Sign(s.Message))
			}
			for _, m := range rd.Messages {
				if m.To == bft.Everyone {
					for i := range c.net.Connected() {
						c.net.Send(i, m.Frame)
					}
				} else {
					c.net.Send(int(m.To), m.Frame)
				}
			}
			for _, x := range rd.Results {
				if ch := c.calls[x.ID]; ch != nil {
					ch <- x
					delete(c.calls, x.ID)
				} else if c.onResult != nil {
					c.onResult(x)
				}
			}
		}
	}
}

// call begins a call; its result comes on the channel.
func (c *testClient) call(make func(bft.CallID) error) <-chan bft.CallResult {
	out := newResult()
	c.event(func() {
		c.next++
		c.calls[c.next] = out
		if err := make(c.next); err != nil {
			delete(c.calls, c.next)
			out <- bft.CallResult{Err: err}
		}
	})
	return out
}

func newResult() chan bft.CallResult { return make(chan bft.CallResult, 1) }

func (c *testClient) invoke(service string, op []byte) <-chan bft.CallResult {
	frame := exec.EncodeOp(service, false, op)
	return c.call(func(id bft.CallID) error { return c.core.Invoke(id, frame, bft.CallOptions{}) })
}

func (c *testClient) query(service string, op []byte, k bft.Consistency) <-chan bft.CallResult {
	frame := exec.EncodeOp(service, true, op)
	return c.call(func(id bft.CallID) error { return c.core.Query(id, frame, k, bft.CallOptions{}) })
}

// wait gets the value of a call that must succeed.
func (c *testClient) wait(res <-chan bft.CallResult) []byte {
	c.t.Helper()
	select {
	case x := <-res:
		if x.Err != nil {
			c.t.Fatal(x.Err)
		}
		return x.Value
	case <-time.After(patience):
		c.t.Fatal(errors.New("no result"))
		return nil
	}
}

func (c *testClient) put(k, v string) {
	c.t.Helper()
	c.wait(c.invoke("kv", kv.Put([]byte(k), []byte(v))))
}

func (c *testClient) get(k string) string {
	c.t.Helper()
	v, err := kv.DecodeGet(c.wait(c.query("kv", kv.Get([]byte(k)), bft.Linearizable)))
	if err != nil {
		c.t.Fatalf("get %s: %v", k, err)
	}
	return string(v)
}
