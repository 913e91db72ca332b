package bft_test

import (
	"bytes"
	"fmt"
	"sort"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// cluster hosts replicas by the shortest correct host there is: everything it is asked for is
// done at once, and messages wait in one queue until the test delivers them.
type cluster struct {
	t        testing.TB
	cfg      bft.Config
	ring     *crypto.FastRing
	keys     []crypto.Signer
	client   crypto.Signer
	hosts    []*host
	queue    []letter
	now      bft.Time
	replies  map[uint64]map[bft.ReplicaID][]byte
	session  bft.SessionID
	next     uint64
	dropWhen func(letter) bool
}

type letter struct {
	from, to bft.ReplicaID
	frame    []byte
}

type host struct {
	c       *cluster
	id      bft.ReplicaID
	replica *bft.Replica
	checker *bft.Checker
	machine *exec.Machine
	store   map[string][]byte
	lsn     bft.LSN
	snaps   map[bft.Seq][]byte
	digests map[bft.Seq]bft.Snapshot
	staged  []byte
	done    []bft.Done
	down    bool
	boots   uint64
	reads   []bft.ReadID
	batches []*bft.Batch
}

func newCluster(t testing.TB, n int, change func(*bft.Config)) *cluster {
	c := &cluster{t: t, ring: crypto.NewFastRing(), replies: map[uint64]map[bft.ReplicaID][]byte{}, now: bft.Second, next: 1}
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
		h := &host{c: c, id: bft.ReplicaID(i), store: map[string][]byte{}, snaps: map[bft.Seq][]byte{}, digests: map[bft.Seq]bft.Snapshot{}}
		c.hosts = append(c.hosts, h)
		h.start()
	}
	return c
}

// start begins the replica from what is on its disk.
func (h *host) start() {
	cfg := h.c.cfg
	cfg.Self = h.id
	h.boots++
	service, err := counter.New(nil)
	if err != nil {
		h.c.t.Fatal(err)
	}
	h.machine, err = exec.New(exec.Config{Cluster: cfg.Cluster, Limits: exec.DefaultLimits(), Services: []exec.Service{{Name: "counter", Machine: service}}})
	if err != nil {
		h.c.t.Fatal(err)
	}
	restored := bft.Restored{LSN: h.lsn, Boot: h.boots, Born: h.boots == 1}
	for _, k := range h.keysInOrder() {
		restored.Records = append(restored.Records, bft.KV{Key: []byte(k), Value: h.store[k]})
	}
	for s, b := range h.snaps {
		if s > restored.Executed {
			if err := h.machine.Restore(bytes.NewReader(b)); err != nil {
				h.c.t.Fatal(err)
			}
			restored.Executed, restored.Snapshot = s, h.digests[s]
		}
	}
	if restored.Executed > 0 {
		if err := h.machine.Restore(bytes.NewReader(h.snaps[restored.Executed])); err != nil {
			h.c.t.Fatal(err)
		}
		restored.Time, restored.Marks = h.machine.Time(), h.machine.Marks()
	}
	if h.checker, err = bft.NewChecker(&cfg); err != nil {
		h.c.t.Fatal(err)
	}
	if h.replica, err = bft.New(cfg, restored); err != nil {
		h.c.t.Fatal(err)
	}
	h.done, h.down, h.batches = nil, false, nil
}

func (h *host) keysInOrder() []string {
	var ks []string
	for k := range h.store {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// turn lets the replica do what it wants until it wants nothing.
func (h *host) turn() {
	for i := 0; ; i++ {
		if i > 10000 {
			h.c.t.Fatalf("replica %d does not come to rest", h.id)
		}
		for _, d := range h.done {
			h.replica.Advance(d)
		}
		h.done = nil
		ready, ok := h.replica.Ready()
		if !ok {
			return
		}
		h.carryOut(ready)
	}
}

func (h *host) carryOut(r bft.Ready) {
	var d bft.Done
	for _, x := range r.Records {
		if x.To == nil {
			h.store[string(x.Key)] = x.Value
		} else {
			for _, k := range h.keysInOrder() {
				if k >= string(x.Key) && k < string(x.To) {
					delete(h.store, k)
				}
			}
		}
		h.lsn, d.Persisted = x.LSN, x.LSN
	}
	for _, s := range r.Sign {
		d.Signed = append(d.Signed, bft.Signed{ID: s.ID, Signature: h.c.keys[h.id].Sign(s.Message)})
	}
	for _, b := range r.Check {
		ok := h.c.ring.Verify(b.Client, bft.RequestSigningBytes(h.c.cfg.Cluster, b.Payload), b.Signature)
		d.Checked = append(d.Checked, bft.Checked{Digest: b.Digest, Valid: ok})
	}
	for _, m := range r.Messages {
		for to := range h.c.hosts {
			if m.To == bft.ReplicaID(to) || m.To == bft.Everyone && bft.ReplicaID(to) != h.id {
				h.c.queue = append(h.c.queue, letter{h.id, bft.ReplicaID(to), m.Frame})
			}
		}
	}
	for _, b := range r.Execute {
		h.batches = append(h.batches, b)
		out := h.machine.Execute(b)
		d.Executed = append(d.Executed, out.Executed)
		for _, x := range out.Replies {
			h.c.reply(h.id, x)
		}
		if b.Checkpoint {
			d.Snapshots = append(d.Snapshots, h.snapshot(b.Seq))
		}
	}
	for _, b := range r.Replay {
		h.c.reply(h.id, h.machine.Replay(b))
	}
	h.reads = append(h.reads, r.Reads...)
	for _, q := range r.Serve {
		d.Parts = append(d.Parts, bft.ServedPart{Request: q, Part: h.part(q)})
	}
	for _, p := range r.Stage {
		if p.Index == 0 {
			h.staged = nil
		}
		h.staged = append(h.staged, p.Data...)
	}
	if r.Install != nil {
		err := h.machine.Restore(bytes.NewReader(h.staged))
		h.snaps[r.Install.Seq] = h.staged
		h.digests[r.Install.Seq] = bft.Snapshot{Seq: r.Install.Seq, State: r.Install.Checkpoint.State, History: r.Install.Checkpoint.History}
		d.Installed = &bft.Installed{Seq: r.Install.Seq, OK: err == nil, Time: h.machine.Time(), Marks: h.machine.Marks()}
	}
	h.done = append(h.done, d)
}

func (h *host) snapshot(seq bft.Seq) bft.Snapshot {
	s, err := h.machine.Snapshot()
	if err != nil {
		h.c.t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := s.WriteTo(&buf); err != nil {
		h.c.t.Fatal(err)
	}
	h.snaps[seq] = buf.Bytes()
	x := bft.Snapshot{Seq: seq, State: bft.StateDigest(parts(buf.Bytes())), History: h.machine.HistoryRoot()}
	h.digests[seq] = x
	return x
}

func parts(b []byte) (ds []bft.Digest) {
	for len(b) > 0 {
		k := min(len(b), bft.PartSize)
		ds = append(ds, bft.PartDigest(b[:k]))
		b = b[k:]
	}
	return ds
}

func (h *host) part(q bft.PartRequest) *bft.SnapshotPart {
	b, ds := h.snaps[q.Seq], parts(h.snaps[q.Seq])
	if int(q.Index) >= len(ds) {
		return nil
	}
	from := int(q.Index) * bft.PartSize
	return &bft.SnapshotPart{Seq: q.Seq, Index: q.Index, Total: uint32(len(ds)), Data: b[from:min(len(b), from+bft.PartSize)],
		Path: bft.ProvePart(ds, int(q.Index))}
}

func (c *cluster) reply(from bft.ReplicaID, x exec.Reply) {
	at := c.replies[x.First]
	if at == nil {
		at = map[bft.ReplicaID][]byte{}
		c.replies[x.First] = at
	}
	at[from] = bytes.Join(x.Results, []byte{'|'})
	if x.Session != 0 {
		c.session = x.Session
	}
}

// settle lets everything happen that can happen without time passing.
func (c *cluster) settle() {
	for _, h := range c.hosts {
		if !h.down {
			h.turn()
		}
	}
	for len(c.queue) > 0 {
		l := c.queue[0]
		c.queue = c.queue[1:]
		h := c.hosts[l.to]
		if h.down || c.hosts[l.from].down || c.dropWhen != nil && c.dropWhen(l) {
			continue
		}
		u, err := h.checker.FromPeer(l.from, l.frame)
		if err != nil {
			c.t.Fatalf("%d refuses a %v of %d: %v", l.to, bft.MessageType(l.frame[0]), l.from, err)
		}
		v, err := h.checker.Verify(u, c.ring)
		if err != nil {
			c.t.Fatalf("%d refuses a %v of %d: %v", l.to, u.Type(), l.from, err)
		}
		_ = h.replica.Step(v)
		h.turn()
	}
}

// pass lets time go by in steps of 10 ms.
func (c *cluster) pass(d bft.Time) {
	for end := c.now + d; c.now < end; {
		c.now += 10 * bft.Millisecond
		for _, h := range c.hosts {
			if !h.down {
				h.replica.Tick(c.now, c.now)
			}
		}
		c.settle()
	}
}

// invoke sends operations in one bundle to the given replicas, or to all; it gives the first number.
func (c *cluster) invoke(to []int, ops ...[]byte) uint64 {
	b := &bft.Bundle{Client: c.client.Public(), Session: c.session, First: c.next}
	if c.session == 0 {
		b.Nonce, b.NotAfter = bft.Nonce{1}, c.now+3600*bft.Second
	}
	for _, op := range ops {
		b.Ops = append(b.Ops, exec.EncodeOp("counter", false, op))
	}
	c.next += uint64(len(ops))
	b.Payload = bft.EncodeBundle(b)
	b.Signature = c.client.Sign(bft.RequestSigningBytes(c.cfg.Cluster, b.Payload))
	if to == nil {
		for i := range c.hosts {
			to = append(to, i)
		}
	}
	for _, i := range to {
		h := c.hosts[i]
		if h.down {
			continue
		}
		u, err := h.checker.FromClient(b.Client, bft.RequestFrame(b, 0))
		if err != nil {
			c.t.Fatal(err)
		}
		v, _ := h.checker.Verify(u, c.ring)
		_ = h.replica.Step(v)
	}
	c.settle()
	return b.First
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

func (c *cluster) describe() string {
	s := ""
	for _, h := range c.hosts {
		i := h.replica.Info()
		s += fmt.Sprintf("\n%d: view %d changing %v starting %v stable %d committed %d executed %d pending %d inflight %d %s %s down %v %s",
			h.id, i.View, i.Changing, i.Starting, i.Stable, i.Committed, i.Executed, i.Pending, i.InFlight, i.Amnesiac, i.Diverged, h.down, h.replica.DebugPool())
	}
	return s
}

// agree checks that all that is up has executed the same.
func (c *cluster) agree() {
	c.t.Helper()
	seen := map[bft.Seq]bft.Digest{}
	for _, h := range c.hosts {
		for _, b := range h.batches {
			if d, ok := seen[b.Seq]; ok && d != b.Digest {
				c.t.Fatalf("replica %d executed something else at %d", h.id, b.Seq)
			}
			seen[b.Seq] = b.Digest
		}
	}
}

func TestNormalCase(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7, 10, 13} {
		c := newCluster(t, n, nil)
		c.pass(200 * bft.Millisecond)
		for i := 0; i < 100; i++ {
			c.mustAnswer(c.invoke(nil, counter.Add(1)), bft.Second)
		}
		c.pass(200 * bft.Millisecond)
		for _, h := range c.hosts {
			if i := h.replica.Info(); i.Executed != 100 || i.Stable != 96 || i.View != 0 || i.Pending != 0 {
				t.Fatalf("n=%d replica %d: %+v", n, h.id, i)
			}
		}
		c.agree()
	}
}

func TestPrimaryDies(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7, 10, 13} {
		c := newCluster(t, n, nil)
		c.pass(200 * bft.Millisecond)
		for i := 0; i < 20; i++ {
			c.mustAnswer(c.invoke(nil, counter.Add(1)), bft.Second)
		}
		c.hosts[0].down = true
		for i := 0; i < 50; i++ {
			c.mustAnswer(c.invoke(nil, counter.Add(1)), 3*bft.Second)
		}
		c.hosts[0].start()
		c.pass(3 * bft.Second)
		for _, h := range c.hosts {
			if i := h.replica.Info(); i.Executed != c.hosts[1].replica.Info().Executed || i.View != 1 || i.Changing {
				t.Fatalf("n=%d:%s", n, c.describe())
			}
		}
		c.agree()
	}
}

func TestAllRestart(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.pass(200 * bft.Millisecond)
	for round := 0; round < 12; round++ {
		for i := 0; i < 7; i++ {
			c.mustAnswer(c.invoke(nil, counter.Add(1)), 5*bft.Second)
		}
		c.queue = nil
		for _, h := range c.hosts {
			h.start()
		}
		c.pass(300 * bft.Millisecond)
		c.agree()
	}
	for _, h := range c.hosts {
		if i := h.replica.Info(); i.Amnesiac != "" || i.Executed < 84 {
			t.Fatal(c.describe())
		}
	}
}
