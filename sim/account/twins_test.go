package account_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/account"
)

// A city is a cluster of real replicas that falls into two halves. The liars live in both: each has a
// twin with the same key and the same past, and either half believes that it is the whole. What is
// executed is only noted; all that honest replicas are sent or send goes into one Book.
type city struct {
	t      *testing.T
	r      *rand.Rand
	cfg    bft.Config
	ring   *crypto.FastRing
	keys   []crypto.Signer
	people []*citizen
	post   []letter
	now    bft.Time
	book   *account.Book
	asked  int
}

// citizen is an instance of a replica.
type citizen struct {
	*city
	id      bft.ReplicaID
	half    int
	honest  bool
	replica *bft.Replica
	checker *bft.Checker

	records map[string][]byte
	lsn     bft.LSN
	state   state
	staged  []byte
	past    map[bft.Seq]state // at checkpoints
	log     map[bft.Seq]bft.Digest
}

// state stands for that of a service: a hash of all that was executed.
type state struct {
	seq  bft.Seq
	time bft.Time
	hash bft.Digest
}

func (s *state) bytes() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(s.time)), s.hash[:]...)
}

func (s *state) snapshot() bft.Snapshot {
	return bft.Snapshot{Seq: s.seq, State: bft.StateDigest([]bft.Digest{bft.PartDigest(s.bytes())}), History: s.hash}
}

type letter struct {
	from, to *citizen
	frame    []byte
}

func newCity(t *testing.T, r *rand.Rand, n int, liars []int) *city {
	c := &city{t: t, r: r, ring: crypto.NewFastRing(), now: bft.Second, cfg: bft.DefaultConfig()}
	c.cfg.Cluster = crypto.Hash("a city")
	c.cfg.Interval, c.cfg.Window, c.cfg.Pipeline = interval, 2*interval, 1+bft.Seq(r.IntN(4))
	for i := range n {
		k := c.ring.NewKey([32]byte{9, byte(i)})
		c.keys = append(c.keys, k)
		c.cfg.Members = append(c.cfg.Members, k.Public())
	}
	c.book = account.New(c.manifest())
	for i := range n {
		p := &citizen{city: c, id: bft.ReplicaID(i), honest: !slices.Contains(liars, i), records: make(map[string][]byte),
			past: make(map[bft.Seq]state), log: make(map[bft.Seq]bft.Digest)}
		p.start()
		c.people = append(c.people, p)
	}
	return c
}

func (c *city) manifest() account.Manifest {
	return account.Manifest{Cluster: c.cfg.Cluster, Members: c.cfg.Members, Interval: c.cfg.Interval, Verifier: c.ring}
}

// start begins the replica from its records.
func (p *citizen) start() {
	cfg := p.cfg
	cfg.Self = p.id
	x := bft.Restored{LSN: p.lsn, Boot: p.r.Uint64(), Born: p.lsn == 0}
	for k, v := range p.records {
		x.Records = append(x.Records, bft.KV{Key: []byte(k), Value: v})
	}
	slices.SortFunc(x.Records, func(a, b bft.KV) int { return slices.Compare(a.Key, b.Key) })
	p.state = state{}
	for seq, s := range p.past {
		if seq > p.state.seq {
			p.state = s
		}
	}
	if p.state.seq > 0 {
		x.Executed, x.Time, x.Snapshot = p.state.seq, p.state.time, p.state.snapshot()
	}
	var err error
	if p.replica, err = bft.New(cfg, x); err != nil {
		p.t.Fatal(err)
	}
	if p.checker, err = bft.NewChecker(&cfg); err != nil {
		p.t.Fatal(err)
	}
}

// twin is a second instance with the same past, in the other half.
func (p *citizen) twin() *citizen {
	x := &citizen{city: p.city, id: p.id, half: 1, records: make(map[string][]byte), lsn: p.lsn,
		past: make(map[bft.Seq]state), log: make(map[bft.Seq]bft.Digest)}
	for k, v := range p.records {
		x.records[k] = v
	}
	for k, v := range p.past {
		x.past[k] = v
	}
	x.start()
	return x
}

// turn does what the replica is ready for.
func (p *citizen) turn() {
	for {
		ready, ok := p.replica.Ready()
		if !ok {
			return
		}
		var d bft.Done
		for _, r := range ready.Records {
			p.lsn, d.Persisted = r.LSN, r.LSN
			if r.To == nil {
				p.records[string(r.Key)] = r.Value
				continue
			}
			for k := range p.records {
				if k >= string(r.Key) && k < string(r.To) {
					delete(p.records, k)
				}
			}
		}
		for _, s := range ready.Sign {
			d.Signed = append(d.Signed, bft.Signed{ID: s.ID, Signature: p.keys[p.id].Sign(s.Message)})
		}
		for _, b := range ready.Check {
			d.Checked = append(d.Checked, bft.Checked{Digest: b.Digest, Valid: true})
		}
		for _, m := range ready.Messages {
			p.send(m)
		}
		for _, b := range ready.Execute {
			p.execute(b, &d)
		}
		for _, q := range ready.Serve {
			d.Parts = append(d.Parts, bft.ServedPart{Request: q, Part: p.part(q)})
		}
		for _, s := range ready.Stage {
			p.staged = s.Data
		}
		if i := ready.Install; i != nil {
			p.state = state{i.Seq, bft.Time(binary.BigEndian.Uint64(p.staged)), bft.Digest(p.staged[8:])}
			p.past[i.Seq] = p.state
			d.Installed = &bft.Installed{Seq: i.Seq, OK: true, Time: p.state.time}
		}
		p.replica.Advance(d)
	}
}

func (p *citizen) send(m bft.Outbound) {
	p.feed(m.Frame)
	for _, to := range p.people {
		if to.half == p.half && to.id != p.id && (m.To == bft.Everyone || m.To == to.id) {
			p.post = append(p.post, letter{p, to, m.Frame})
		}
	}
}

// feed gives the Book what an honest replica knows.
func (p *citizen) feed(frame []byte) {
	if !p.honest {
		return
	}
	if err := p.book.AddFrame(frame); err != nil {
		p.t.Fatalf("%d: %v", p.id, err)
	}
}

func (p *citizen) execute(b *bft.Batch, d *bft.Done) {
	p.log[b.Seq] = b.Digest
	p.state = state{b.Seq, max(p.state.time, b.Proposal.Time), crypto.Hash("executed", p.state.hash[:], b.Digest[:])}
	d.Executed = append(d.Executed, bft.Executed{Seq: b.Seq, Time: p.state.time})
	if b.Checkpoint {
		p.past[b.Seq] = p.state
		d.Snapshots = append(d.Snapshots, p.state.snapshot())
	}
}

func (p *citizen) part(q bft.PartRequest) *bft.SnapshotPart {
	s, ok := p.past[q.Seq]
	if !ok || q.Index > 0 {
		return nil
	}
	return &bft.SnapshotPart{Seq: q.Seq, Total: 1, Data: s.bytes(), Path: bft.ProvePart([]bft.Digest{bft.PartDigest(s.bytes())}, 0)}
}

// pass lets a moment go by: whatever is on its way arrives, in any order.
func (c *city) pass() {
	c.now += 10 * bft.Millisecond
	for _, p := range c.people {
		p.replica.Tick(c.now, c.now)
		p.turn()
	}
	for len(c.post) > 0 {
		i := c.r.IntN(len(c.post))
		l := c.post[i]
		c.post[i] = c.post[len(c.post)-1]
		c.post = c.post[:len(c.post)-1]
		u, err := l.to.checker.FromPeer(l.from.id, l.frame)
		if err != nil {
			c.t.Fatalf("%d to %d: %v", l.from.id, l.to.id, err)
		}
		v, err := l.to.checker.Verify(u, c.ring)
		if err != nil {
			c.t.Fatalf("%d to %d: %v", l.from.id, l.to.id, err)
		}
		l.to.feed(l.frame)
		_ = l.to.replica.Step(v) // what is too old or of no use is no failure of this test
		l.to.turn()
	}
}

// ask has a new client ask one half for an operation.
func (c *city) ask(half int) {
	c.asked++
	k := c.ring.NewKey([32]byte{10, byte(c.asked >> 8), byte(c.asked)})
	b := &bft.Bundle{Client: k.Public(), First: 1, Nonce: bft.Nonce{1}, NotAfter: c.now + 3600*bft.Second, Ops: [][]byte{{byte(c.asked)}}}
	payload := bft.EncodeBundle(b)
	sealed, err := bft.DecodeBundle(payload, k.Sign(bft.RequestSigningBytes(c.cfg.Cluster, payload)), bft.WindowOps, bft.MaxBundleBytes)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range c.people {
		if p.half != half {
			continue
		}
		u, err := p.checker.FromClient(b.Client, bft.RequestFrame(sealed, 0))
		if err != nil {
			c.t.Fatal(err)
		}
		v, err := p.checker.Verify(u, c.ring)
		if err != nil {
			c.t.Fatal(err)
		}
		_ = p.replica.Step(v)
		p.turn()
	}
}

// reach lets the halves work until all their honest replicas have executed a number.
func (c *city) reach(seq bft.Seq) {
	c.t.Helper()
	behind := func(half int) bool {
		return slices.ContainsFunc(c.people, func(p *citizen) bool { return p.half == half && p.honest && p.state.seq < seq })
	}
	for round := 0; behind(0) || behind(1); round++ {
		if round == 4000 {
			for _, p := range c.people {
				c.t.Logf("%d in half %d: %+v", p.id, p.half, p.replica.Info())
			}
			c.t.Fatalf("number %d is not reached", seq)
		}
		for half := range 2 {
			if behind(half) && round%3 == half {
				c.ask(half)
			}
		}
		c.pass()
	}
}

// split makes two halves, each with its own honest replicas and all liars.
func (c *city) split(first []int) {
	c.post = nil
	for _, p := range slices.Clone(c.people) {
		switch {
		case !p.honest:
			c.people = append(c.people, p.twin())
		case !slices.Contains(first, int(p.id)):
			p.half = 1
		}
	}
}

// broken tells for which number two honest replicas have executed different things, 0 for none.
func (c *city) broken() bft.Seq {
	first := make(map[bft.Seq]bft.Digest)
	lowest := bft.Seq(0)
	for _, p := range c.people {
		for seq, d := range p.log {
			if !p.honest {
				continue
			}
			if was, ok := first[seq]; ok && was != d && (lowest == 0 || seq < lowest) {
				lowest = seq
			}
			first[seq] = d
		}
	}
	return lowest
}

// TestA1BrokenAgreementNamesCulprits: f < t ≤ 2f liars live two lives. Agreement breaks, within a view or
// over view changes, before and after checkpoints, and at least f+1 of them are named, and nobody else.
func TestA1BrokenAgreementNamesCulprits(t *testing.T) {
	kinds := make(map[account.Kind]int)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := []int{4, 6, 7, 8, 9, 10}[r.IntN(6)] // of 5, two quorums share more than 2f
		f, q := bft.MaxFaulty(n), bft.Quorum(n)
		// The fewest liars with which both halves can have a quorum, or more.
		least := max(f+1, 2*q-n)
		liars := r.Perm(n)
		honest := slices.Clone(liars)
		count := least + r.IntN(2*f-least+1)
		liars, honest = liars[:count], honest[count:]
		half := q - count + r.IntN(n-count-2*(q-count)+1)
		first := honest[:half]
		name := fmt.Sprintf("seed %d: n %d, liars %v, first half %v", seed, n, liars, first)
		c := newCity(t, r, n, liars)
		c.reach(bft.Seq(r.IntN(12)))
		c.split(first)
		before := c.executed()
		c.reach(before + 1 + bft.Seq(r.IntN(12)))
		if c.broken() == 0 {
			t.Fatalf("%s: agreement is not broken", name)
		}
		found := c.book.Culprits()
		for _, e := range found {
			why, err := account.Explain(c.manifest(), e)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !slices.Contains(liars, int(e.Culprit)) {
				t.Fatalf("%s: framed: %s", name, why)
			}
		}
		// The argument in the package's documentation does without checkpoints.
		named := make(map[bft.ReplicaID]bool)
		for _, e := range c.book.All() {
			kinds[e.Kind]++
			named[e.Culprit] = named[e.Culprit] || e.Kind != account.TwoCheckpoints
		}
		if len(found) < f+1 || countTrue(named) < f+1 {
			t.Errorf("%s: %d culprits, %d by their votes and view-changes, want %d", name, len(found), countTrue(named), f+1)
		}
	}
	t.Logf("evidence by kind: %v", kinds)
	for _, k := range []account.Kind{account.TwoProposals, account.TwoVotes, account.LostCertificate} {
		if kinds[k] == 0 {
			t.Errorf("no run was broken by %v", k)
		}
	}
}

func countTrue(m map[bft.ReplicaID]bool) int {
	n := 0
	for _, x := range m {
		if x {
			n++
		}
	}
	return n
}

// executed is the highest number that an honest replica has executed.
func (c *city) executed() bft.Seq {
	var seq bft.Seq
	for _, p := range c.people {
		if p.honest {
			seq = max(seq, p.state.seq)
		}
	}
	return seq
}
