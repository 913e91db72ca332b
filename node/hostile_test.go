package node

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/trace"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// Any bytes from a member or a client do no harm: the sender is not listened to for a while, or
// loses its connection, and the others are served.
func TestGarbageFrames(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.startAll()
	c := r.client(1)
	c.put("a", "1")
	h := handler{r.nodes[0]}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		frame := make([]byte, 1+rng.IntN(200))
		for j := range frame {
			frame[j] = byte(rng.Uint32())
		}
		if i%2 == 0 {
			frame[0] = byte(1 + rng.IntN(13)) // a type of message
		}
		r.nodes[0].peers[3].quarantine.Store(0) // else only the first is looked at
		h.FromPeer(3, frame)
	}
	if r.nodes[0].peers[3].invalid.Load() == 0 {
		t.Error("nothing was found invalid")
	}
	c.put("a", "2")

	// A client that sends nonsense is told so and loses its connection.
	gone := make(chan error, 16)
	bad, err := transport.Dial(transport.ClientConfig{Key: crypto.NewKeyFromSeed([32]byte{200}), Cluster: r.core.Cluster,
		Members: []transport.Member{{Key: r.core.Members[0], Addrs: r.addrs[0]}},
		Receive: func(int, []byte) {},
		State: func(_ int, up bool, err error) {
			if !up {
				gone <- err
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	for _, frame := range [][]byte{{byte(bft.TypeVotes), 1, 2}, {byte(bft.TypeRequest)}, {byte(bft.TypeQuery), 0xff}, {0x8f}, {trace.FrameCall}, {trace.FrameAsk, 1},
		trace.CallFrame(1, 1, []byte{byte(bft.TypeVotes), 1}), trace.CallFrame(1, 1, trace.AskFrame(1)), make([]byte, 1<<20)} {
		for !bad.Send(0, frame) || !bad.Connected()[0] {
			time.Sleep(time.Millisecond)
		}
		select {
		case err := <-gone:
			if !errors.Is(err, transport.ErrClosedByPeer) {
				t.Errorf("%x: %v", frame[:1], err)
			}
		case <-time.After(patience):
			t.Fatalf("%x: the connection stays", frame[:1])
		}
	}
	c.put("a", "3")
	if got := c.get("a"); got != "3" {
		t.Fatalf("got %q", got)
	}
}

// A client whose signatures do not hold loses its connection to every replica, also to those that would not have
// had to verify, and is not let in again; others are served.
func TestForgersAreSentAway(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.startAll()
	c := r.client(1)
	c.put("a", "1")
	key := crypto.NewKeyFromSeed([32]byte{201})
	for i := range r.nodes {
		gone := make(chan error, 2)
		bad, err := transport.Dial(transport.ClientConfig{Key: key, Cluster: r.core.Cluster,
			Members: []transport.Member{{Key: r.core.Members[i], Addrs: r.addrs[i]}},
			Receive: func(int, []byte) {},
			State: func(_ int, up bool, err error) {
				if !up {
					select {
					case gone <- err:
					default: // the third time and later
					}
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		b := &bft.Bundle{Client: key.Public(), First: 1, Nonce: bft.Nonce{1}, NotAfter: bft.Time(time.Now().Add(time.Hour).UnixNano()),
			Ops: [][]byte{exec.EncodeOp("kv", false, kv.Put([]byte("a"), []byte("forged")))}}
		b.Payload = bft.EncodeBundle(b)
		b.Signature = key.Sign([]byte("something else"))
		if !bad.Send(0, bft.RequestFrame(b, 0)) { // it is kept until the connection is there
			t.Fatal("not sent")
		}
		for want := range 2 { // sent away, and not let in again
			select {
			case err := <-gone:
				if wants := []error{transport.ErrClosedByPeer, transport.ErrNotAdmitted}; !errors.Is(err, wants[want]) {
					t.Errorf("replica %d: %v, want %v", i, err, wants[want])
				}
			case <-time.After(patience):
				t.Fatalf("replica %d: the connection stays", i)
			}
		}
		bad.Close()
	}
	c.put("b", "2")
	if got := c.get("a"); got != "1" {
		t.Fatalf("got %q", got)
	}
}

// A member that passes on what a client never signed does not have that client sent away: the forgery is not what
// the client sent here, though half of its signature is.
func TestMembersCannotHaveClientsSentAway(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.start(0) // alone it orders nothing, so that the client's bundle waits
	n := r.nodes[0]
	key := crypto.NewKeyFromSeed([32]byte{202})
	honest, err := transport.Dial(transport.ClientConfig{Key: key, Cluster: r.core.Cluster,
		Members: []transport.Member{{Key: r.core.Members[0], Addrs: r.addrs[0]}},
		Receive: func(int, []byte) {}, State: func(int, bool, error) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer honest.Close()
	bundle := func(value string) *bft.Bundle {
		b := &bft.Bundle{Client: key.Public(), First: 1, Nonce: bft.Nonce{1}, NotAfter: bft.Time(time.Now().Add(time.Hour).UnixNano()),
			Ops: [][]byte{exec.EncodeOp("kv", false, kv.Put([]byte("a"), []byte(value)))}}
		b.Payload = bft.EncodeBundle(b)
		b.Signature = key.Sign(bft.RequestSigningBytes(r.core.Cluster, b.Payload))
		return b
	}
	good := bundle("1")
	if !honest.Send(0, bft.RequestFrame(good, 0)) {
		t.Fatal("not sent")
	}
	r.until("the client's bundle is here", func() bool { return n.routes.len() == 1 })

	forged := bundle("2")
	forged.Signature = good.Signature // of another payload
	checks := r.metric(0, "baluarte_client_signatures_checked_total")
	handler{n}.FromPeer(3, bft.RequestFrame(forged, 0))
	r.until("the forgery is found out", func() bool { return r.metric(0, "baluarte_client_signatures_checked_total") > checks })
	r.until("the turn is over", func() bool { return n.inbox.waiting() == 0 })
	if left := n.bans.left(key.Public(), time.Now()); left > 0 {
		t.Errorf("the client is refused for %v", left)
	}
	if n.routes.len() != 1 {
		t.Error("the reply to the client's own bundle has lost its way")
	}
}

// A client that is sent away again is away for longer, up to a bound, and the number of them is bounded.
func TestBans(t *testing.T) {
	var b bans
	k := func(i int) crypto.PublicKey { return crypto.PublicKey{byte(i), byte(i >> 8)} }
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{banFirst, 2 * banFirst, 4 * banFirst} {
		if d := b.add(k(1), now); d != want {
			t.Errorf("time %d: %v, want %v", i, d, want)
		}
		if b.left(k(1), now.Add(want-1)) != 1 || b.left(k(1), now.Add(want)) != 0 || b.left(k(2), now) != 0 {
			t.Errorf("time %d is not %v long", i, want)
		}
		if d := b.add(k(1), now.Add(want/2)); d != want/2 {
			t.Errorf("what was under way adds to it: %v", d)
		}
		now = now.Add(want)
	}
	for range 20 {
		now = now.Add(b.add(k(1), now))
	}
	if d := b.add(k(1), now); d != banLongest {
		t.Errorf("at last %v", d)
	}
	for i := range 2 * maxBans {
		b.add(k(10+i), now)
		now = now.Add(time.Millisecond)
	}
	if len(b.byKey) > maxBans || b.left(k(10+2*maxBans-1), now) == 0 {
		t.Errorf("%d are remembered, want the newest %d", len(b.byKey), maxBans)
	}
	b.add(k(2), now.Add(2*banLongest+banMemory))
	if len(b.byKey) != 1 {
		t.Errorf("%d are remembered long after", len(b.byKey))
	}
}

// A member whose signatures do not hold is not listened to for quarantineTime, and then again.
func TestQuarantine(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.start(0)
	n := r.nodes[0]
	h, p := handler{n}, &n.peers[1]
	envelope := func(valid bool) []byte { return r.checkpointFrame(1, 32, valid) }
	h.FromPeer(1, envelope(false))
	r.until("accused", func() bool { return p.invalid.Load() == 1 })
	before := p.dropped.Load()
	h.FromPeer(1, envelope(true))
	if p.dropped.Load() != before+1 {
		t.Error("a frame in quarantine was looked at")
	}
	p.quarantine.Store(int64(n.now())) // the time has passed
	verified := n.verifier.Stats().Claims
	h.FromPeer(1, envelope(true))
	r.until("verified", func() bool { return n.verifier.Stats().Claims > verified })
	if p.invalid.Load() != 1 {
		t.Error("an honest frame was accused")
	}
}

// checkpointFrame is a checkpoint of a member as it stands on the wire.
func (r *rig) checkpointFrame(member int, seq uint64, valid bool) []byte {
	r.t.Helper()
	payload, err := (&bftpb.Checkpoint{Seq: seq, State: make([]byte, 32), History: make([]byte, 32)}).MarshalVT()
	if err != nil {
		r.t.Fatal(err)
	}
	sig := r.keys[member].Sign(bft.SigningBytes(r.core.Cluster, r.core.Epoch, bft.TypeCheckpoint, payload))
	if !valid {
		sig[3] ^= 1
	}
	b, err := (&bftpb.Envelope{Type: uint32(bft.TypeCheckpoint), Signer: uint32(member), Payload: payload, Signature: sig[:]}).MarshalVT()
	if err != nil {
		r.t.Fatal(err)
	}
	return append([]byte{byte(bft.TypeCheckpoint)}, b...)
}

// metric reads a counter of a node.
func (r *rig) metric(i int, name string) float64 {
	r.t.Helper()
	all, err := r.nodes[i].metrics.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == name {
			return m.GetMetric()[0].GetCounter().GetValue()
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

// Stale queries are answered by a replica alone; linearizable ones only by a quorum.
func TestQueries(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	c := r.client(1)
	c.put("a", "1")
	r.until("executed everywhere", func() bool {
		for _, n := range r.nodes {
			if n.executed.Load() != r.nodes[0].executed.Load() {
				return false
			}
		}
		return true
	})
	r.stop(2, 3)
	v, err := kv.DecodeGet(c.wait(c.query("kv", kv.Get([]byte("a")), bft.Stale)))
	if err != nil || string(v) != "1" {
		t.Fatalf("stale: %q %v", v, err)
	}
	waiting := c.query("kv", kv.Get([]byte("a")), bft.Linearizable)
	r.start(2)
	if v, err := kv.DecodeGet(c.wait(waiting)); err != nil || string(v) != "1" {
		t.Fatalf("linearizable: %q %v", v, err)
	}
	// An operation that changes the state is no query.
	res := <-c.call(func(id bft.CallID) error {
		return c.core.Query(id, exec.EncodeOp("kv", false, kv.Put([]byte("a"), []byte("9"))), bft.Stale, bft.CallOptions{})
	})
	if res.Err == nil {
		t.Error("a put went through as a query")
	}
}

// A replica that cannot keep up says Busy and listens to its peers' Status all the same; the
// client gets its result once the pressure is gone.
func TestOverload(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	c := r.client(1)
	c.put("a", "1")
	for _, n := range r.nodes {
		n.exec.backlog.Add(executorBacklog + 1)
	}
	r.until("all are overloaded", func() bool {
		for _, n := range r.nodes {
			if !n.overloaded.Load() {
				return false
			}
		}
		return true
	})
	busy := r.metric(0, "baluarte_busy_total")
	res := c.invoke("kv", kv.Put([]byte("a"), []byte("2")))
	r.until("refused for now", func() bool { return r.metric(0, "baluarte_busy_total") > busy })
	r.untilActive(0, 1, 2, 3)
	for _, n := range r.nodes {
		n.exec.backlog.Add(-executorBacklog - 1)
	}
	c.wait(res)
	if got := c.get("a"); got != "2" {
		t.Fatalf("got %q", got)
	}
}

// Both clients and members may ask for the status.
func TestStatusFrame(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	r.untilActive(0, 1, 2, 3)
	got := make(chan []byte, 1)
	up := make(chan struct{}, 1)
	c, err := transport.Dial(transport.ClientConfig{Key: crypto.NewKeyFromSeed([32]byte{201}), Cluster: r.core.Cluster,
		Members: []transport.Member{{Key: r.core.Members[2], Addrs: r.addrs[2]}},
		Receive: func(_ int, f []byte) { got <- f },
		State: func(_ int, ok bool, _ error) {
			if ok {
				up <- struct{}{}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-up
	c.Send(0, []byte{FrameStatusRequest})
	frame := <-got
	var s Status
	if frame[0] != FrameStatus {
		t.Fatalf("type %#x", frame[0])
	}
	if err := json.Unmarshal(frame[1:], &s); err != nil {
		t.Fatal(err)
	}
	if s.ID != 2 || s.State != StateActive || s.Role != "backup" || len(s.Peers) != 3 || s.Addr != r.nodes[2].Addr() || s.ClusterID != r.core.Cluster.String() {
		t.Fatalf("%+v", s)
	}
}

func TestInboxBounds(t *testing.T) {
	b := newInbox(2)
	for range peerInboxFrames {
		if !b.add(input{from: 0, size: 1}) {
			t.Fatal("refused below the bound")
		}
	}
	if b.add(input{from: 0, size: 1}) {
		t.Error("took more frames of one peer than the bound")
	}
	if !b.add(input{from: 1, size: peerInboxBytes}) || b.add(input{from: 1, size: 1}) {
		t.Error("the bytes of a peer are not bounded")
	}
	if !b.add(input{from: fromClients, size: 1}) {
		t.Error("clients suffer for a peer")
	}
	ins, _, any := b.take(nil)
	if !any || len(ins) != turnInputs {
		t.Errorf("%d inputs in a turn", len(ins))
	}
	if !b.add(input{from: 0, size: 1}) {
		t.Error("no room after a turn")
	}
	for any {
		_, _, any = b.take(nil)
	}
	if b.peers[0] != (share{}) || b.peers[1] != (share{}) || b.clients != (share{}) {
		t.Errorf("shares left: %+v %+v", b.peers, b.clients)
	}
}

func TestRoutesAreForgotten(t *testing.T) {
	r := newRoutes()
	key := func(i int) bft.Digest { return bft.Digest{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range 3 * routesKept {
		r.put(key(i), route{replier: 1})
	}
	if n := r.len(); n > 2*routesKept {
		t.Errorf("%d routes", n)
	}
	if _, ok := r.take(key(0)); ok {
		t.Error("the oldest is still there")
	}
	last := 3*routesKept - 1
	if x, ok := r.take(key(last)); !ok || x.replier != 1 {
		t.Error("the newest is gone")
	}
	if _, ok := r.take(key(last)); ok {
		t.Error("taken twice")
	}
	r.put(key(1), route{})
	r.age(time.Now().Add(2 * routesAge))
	r.age(time.Now().Add(4 * routesAge))
	if n := r.len(); n != 0 {
		t.Errorf("%d routes after a long time", n)
	}
}

// Results that fit no frame together are all told, of reads and of operations: replicas say what there was no room for,
// and clients ask again.
func TestLargeResults(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	writer := r.client(0)
	value := make([]byte, 1<<20)
	writer.wait(writer.invoke("kv", kv.Put([]byte("big"), value)))
	get := exec.EncodeOp("kv", true, kv.Get([]byte("big")))
	txn := exec.EncodeOp("kv", false, kv.Transact(&kv.Txn{Then: []kv.Op{{Kind: kv.OpGet, Key: []byte("big")}}}))
	var calls []<-chan bft.CallResult
	for i := range 2 {
		c := r.client(byte(1 + i))
		c.event(func() { // in one event, hence in one bundle and one question
			for k := range 24 {
				out := newResult()
				calls = append(calls, out)
				c.next++
				c.calls[c.next] = out
				var err error
				switch k % 3 {
				case 0:
					err = c.core.Invoke(c.next, get, bft.CallOptions{})
				case 1:
					err = c.core.Invoke(c.next, txn, bft.CallOptions{})
				default:
					err = c.core.Query(c.next, get, bft.Linearizable, bft.CallOptions{})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		r.until("begun", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.events) == 0 })
		c.wait(c.invoke("counter", nil)) // so that calls is written
	}
	for i, x := range calls {
		if res := <-x; res.Err != nil || len(res.Value) < len(value) {
			t.Errorf("call %d: %d bytes, %v", i, len(res.Value), res.Err)
		}
	}
}
