package bft_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// cluster hosts replicas by the shortest correct hosts there are: what a replica asks for is done
// at once unless the test says otherwise, and messages wait in one queue until they are delivered.
//
// Whatever a test is about, the cluster watches over all replicas that are not marked as liars:
// one digest per executed number (S1), equal states at equal numbers (S7), no two signed
// statements that contradict each other, also across restarts (S9), nothing sent before its record
// is durable (D2), and no honest message called invalid by an honest replica.
type cluster struct {
	t      testing.TB
	cfg    bft.Config
	ring   *crypto.FastRing
	keys   []crypto.Signer
	client crypto.Signer
	hosts  []*host
	extra  []*host // twins: they see time pass and clients' bundles like the host that they copy
	liars  map[bft.ReplicaID]bool
	queue  []letter
	now    bft.Time // logical time; the wall clock of a host is this plus its skew

	replies map[uint64]map[bft.ReplicaID][]byte // of c.client, by first operation
	session bft.SessionID
	next    uint64

	dropWhen  func(letter) bool
	onDeliver func(letter)
	onEvent   func(h *host, what string)
	names     names
	pad       int

	executed map[bft.Seq]bft.Digest
	states   map[bft.Seq]bft.Digest
	said     map[statement]bft.Digest
}

// letter is a frame on its way.
type letter struct {
	from, to bft.ReplicaID
	frame    []byte
}

func (l letter) kind() bft.MessageType { return bft.MessageType(l.frame[0]) }

// statement is what a member may say one thing about.
type statement struct {
	signer bft.ReplicaID
	kind   bft.MessageType
	phase  bft.Phase
	view   bft.View
	seq    bft.Seq
}

func newCluster(t testing.TB, n int, change func(*bft.Config)) *cluster {
	c := &cluster{t: t, ring: crypto.NewFastRing(), now: bft.Second, next: 1,
		liars: map[bft.ReplicaID]bool{}, replies: map[uint64]map[bft.ReplicaID][]byte{},
		executed: map[bft.Seq]bft.Digest{}, states: map[bft.Seq]bft.Digest{}, said: map[statement]bft.Digest{}, names: newNames()}
	c.cfg = bft.DefaultConfig()
	c.cfg.Cluster = crypto.Hash("test cluster")
	c.cfg.Interval, c.cfg.Window, c.cfg.Pipeline = 8, 16, 4
	for i := 0; i < n; i++ {
		k := c.ring.NewKey([32]byte{1, byte(i)})
		c.keys = append(c.keys, k)
		c.cfg.Members = append(c.cfg.Members, k.Public())
	}
	c.client = c.ring.NewKey([32]byte{2})
	if change != nil {
		change(&c.cfg)
	}
	for i := 0; i < n; i++ {
		h := newHost(c, bft.ReplicaID(i))
		c.hosts = append(c.hosts, h)
		h.start()
	}
	return c
}

// started is a cluster whose replicas have heard of each other and may sign.
func started(t testing.TB, n int, change func(*bft.Config)) *cluster {
	t.Helper()
	c := newCluster(t, n, change)
	c.pass(200 * bft.Millisecond)
	for _, h := range c.hosts {
		if h.info().Starting {
			t.Fatalf("replica %d has not started: %s", h.id, c.describe())
		}
	}
	return c
}

// alone leaves one replica of a cluster to the test, which plays all the others.
func (c *cluster) alone(id bft.ReplicaID) *host {
	for _, h := range c.hosts {
		if h.id != id {
			h.down = true
			c.liars[h.id] = true
		}
	}
	c.queue = nil
	c.hosts[id].sent = nil
	return c.hosts[id]
}

func (c *cluster) n() int      { return len(c.hosts) }
func (c *cluster) quorum() int { return bft.Quorum(len(c.hosts)) }

// settle lets everything happen that can happen without time passing.
func (c *cluster) settle() {
	c.turnAll()
	for len(c.queue) > 0 {
		l := c.queue[0]
		c.queue = c.queue[1:]
		c.deliver(l)
	}
}

func (c *cluster) turnAll() {
	for _, h := range c.hosts {
		if !h.down {
			h.turn()
		}
	}
}

// deliver hands over a letter, unless it gets lost.
func (c *cluster) deliver(l letter) {
	if c.hosts[l.to].down || c.hosts[l.from].down || c.dropWhen != nil && c.dropWhen(l) {
		return
	}
	if c.onDeliver != nil {
		c.onDeliver(l)
	}
	err := c.hand(l)
	if errors.Is(err, bft.ErrInvalid) && !c.liars[l.from] {
		c.t.Fatalf("replica %d accuses the honest %d of an invalid %v: %v", l.to, l.from, l.kind(), err)
	}
}

// hand gives a frame to a replica as if it had come from the peer, and lets the replica act.
func (c *cluster) hand(l letter) error { return c.handTo(c.hosts[l.to], l) }

func (c *cluster) handTo(h *host, l letter) error {
	u, err := h.checker.FromPeer(l.from, l.frame)
	if err != nil {
		return err
	}
	v, err := h.checker.Verify(u, c.ring)
	if err != nil {
		return err
	}
	err = h.replica.Step(v)
	h.turn()
	return err
}

// pass lets time go by in steps of 10 ms, and messages arrive at once.
func (c *cluster) pass(d bft.Time) {
	for end := c.now + d; c.now < end; {
		c.tick()
		c.settle()
	}
}

// wait lets time go by while no message arrives.
func (c *cluster) wait(d bft.Time) {
	for end := c.now + d; c.now < end; {
		c.tick()
		c.turnAll()
	}
}

// twinsTurn and mayAsk: peers answer the first of the statuses that one member sends within a short time, so
// twins take turns.
func (c *cluster) twinsTurn() bool { return c.now/(100*bft.Millisecond)%2 == 0 }

func (c *cluster) mayAsk(h *host) bool {
	for _, x := range c.extra {
		if x.id == h.id {
			return (x == h) == c.twinsTurn()
		}
	}
	return true
}

func (c *cluster) tick() {
	c.now += 10 * bft.Millisecond
	first := c.twinsTurn()
	for _, h := range c.extra {
		if first {
			h.replica.Tick(c.now, c.now+h.skew)
			h.turn()
		}
	}
	for _, h := range c.hosts {
		if !h.down {
			h.replica.Tick(c.now, c.now+h.skew)
			if len(c.extra) > 0 {
				h.turn()
			}
		}
	}
	for _, h := range c.extra {
		if !first {
			h.replica.Tick(c.now, c.now+h.skew)
			h.turn()
		}
	}
}

// bundle makes a signed bundle of the cluster's client: the next operations of its session. As long as
// it has none, each bundle after the first is another client's.
func (c *cluster) bundle(ops ...[]byte) *bft.Bundle {
	if c.session == 0 && c.next > 1 {
		c.next++
		return c.bundleOf(c.ring.NewKey([32]byte{3, byte(c.next)}), 0, 1, ops...)
	}
	b := c.bundleOf(c.client, c.session, c.next, ops...)
	c.next += uint64(len(ops))
	return b
}

func (c *cluster) bundleOf(client crypto.Signer, session bft.SessionID, first uint64, ops ...[]byte) *bft.Bundle {
	b := &bft.Bundle{Client: client.Public(), Session: session, First: first}
	if session == 0 {
		b.Nonce, b.NotAfter = bft.Nonce{byte(first)}, c.now+3600*bft.Second
	}
	for _, op := range ops {
		b.Ops = append(b.Ops, exec.EncodeOp("counter", false, op))
	}
	return c.seal(client, b)
}

// seal encodes and signs a bundle.
func (c *cluster) seal(client crypto.Signer, b *bft.Bundle) *bft.Bundle {
	payload := bft.EncodeBundle(b)
	sig := client.Sign(bft.RequestSigningBytes(c.cfg.Cluster, payload))
	out, err := bft.DecodeBundle(payload, sig, bft.WindowOps, bft.MaxBundleBytes)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// give hands a bundle to replicas on the client's own channel; to nil: to all that are up.
func (c *cluster) give(b *bft.Bundle, to ...int) {
	if to == nil {
		for i := range c.hosts {
			to = append(to, i)
		}
	}
	hosts := c.extra
	for _, i := range to {
		hosts = append(hosts, c.hosts[i])
	}
	for _, h := range hosts {
		if h.down {
			continue
		}
		u, err := h.checker.FromClient(b.Client, bft.RequestFrame(b, 0))
		if err != nil {
			c.t.Fatal(err)
		}
		v, err := h.checker.Verify(u, c.ring)
		if err != nil {
			c.t.Fatal(err)
		}
		_ = h.replica.Step(v)
		if h.mute {
			h.turn()
		}
	}
}

// invoke sends operations in one bundle to the given replicas, or to all; it gives the first number.
func (c *cluster) invoke(to []int, ops ...[]byte) uint64 {
	b := c.bundle(ops...)
	c.give(b, to...)
	c.settle()
	return b.First
}

// commit has k operations ordered and executed, one number each.
func (c *cluster) commit(k int) {
	c.t.Helper()
	for i := 0; i < k; i++ {
		c.mustAnswer(c.invoke(nil, counter.Add(1)), 3*bft.Second)
	}
}

// answered tells whether f+1 replicas gave the same answer.
func (c *cluster) answered(first uint64) bool {
	count := map[string]int{}
	for _, r := range c.replies[first] {
		if count[string(r)]++; count[string(r)] >= bft.WeakQuorum(len(c.hosts)) {
			return true
		}
	}
	return false
}

func (c *cluster) mustAnswer(first uint64, within bft.Time) {
	c.t.Helper()
	for end := c.now + within; !c.answered(first); {
		if c.now >= end {
			c.t.Fatalf("operation %d is not answered within %v: %s", first, within.Duration(), c.describe())
		}
		c.pass(10 * bft.Millisecond)
	}
}

// passUntil lets time go by until ok, at most for d.
func (c *cluster) passUntil(d bft.Time, what string, ok func() bool) {
	c.t.Helper()
	for end := c.now + d; !ok(); {
		if c.now >= end {
			c.t.Fatalf("not within %v: %s%s", d.Duration(), what, c.describe())
		}
		c.pass(10 * bft.Millisecond)
	}
}

func (c *cluster) describe() string {
	s := ""
	for _, h := range c.hosts {
		i := h.info()
		s += fmt.Sprintf("\n%d: view %d changing %v starting %v stable %d committed %d executed %d pending %d inflight %d %s %s down %v %s",
			h.id, i.View, i.Changing, i.Starting, i.Stable, i.Committed, i.Executed, i.Pending, i.InFlight, i.Amnesiac, i.Diverged, h.down, h.replica.DebugPool())
	}
	return s
}

// converged: all that is up stands in one view at one number with nothing left to do.
func (c *cluster) converged() bool {
	var first *bft.Info
	for _, h := range c.hosts {
		if h.down {
			continue
		}
		i := h.info()
		if first == nil {
			first = &i
		}
		if i.Changing || i.Starting || i.View != first.View || i.Executed != first.Executed || i.Stable != first.Stable || i.Pending != 0 {
			return false
		}
	}
	return first != nil
}

func TestNormalCase(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7, 10, 13} {
		c := started(t, n, nil)
		c.commit(100)
		c.pass(200 * bft.Millisecond)
		for _, h := range c.hosts {
			if i := h.info(); i.Executed != 100 || i.Stable != 96 || i.View != 0 || i.Pending != 0 {
				t.Fatalf("n=%d replica %d: %+v", n, h.id, i)
			}
		}
	}
}

func TestPrimaryDies(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7, 10, 13} {
		c := started(t, n, nil)
		c.commit(20)
		c.hosts[0].crash()
		c.commit(50)
		c.hosts[0].start()
		c.passUntil(3*bft.Second, "the restarted replica catches up", c.converged)
		for _, h := range c.hosts {
			if i := h.info(); i.Executed != 70 || i.View != 1 {
				t.Fatalf("n=%d:%s", n, c.describe())
			}
		}
	}
}

func TestAllRestart(t *testing.T) {
	c := started(t, 4, nil)
	for round := 0; round < 12; round++ {
		for i := 0; i < 7; i++ {
			c.mustAnswer(c.invoke(nil, counter.Add(1)), 5*bft.Second)
		}
		c.queue = nil
		for _, h := range c.hosts {
			h.crash()
		}
		for _, h := range c.hosts {
			h.start()
		}
		c.pass(300 * bft.Millisecond)
	}
	for _, h := range c.hosts {
		if i := h.info(); i.Amnesiac != "" || i.Executed < 84 {
			t.Fatal(c.describe())
		}
	}
}
