package meter

import (
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// caller is a client whose replicas the test plays.
type caller struct {
	t       *testing.T
	cfg     bft.ClientConfig
	key     crypto.Signer
	client  *bft.Client
	now     bft.Time
	formula Formula
	frames  Frames
	bundles []*bft.Bundle // that it sent, each once
	queries []*bft.Query
	next    bft.CallID
}

func newCaller(t *testing.T) *caller {
	c := &caller{t: t, key: crypto.NewFastRing().NewKey([32]byte{7}), now: bft.Second}
	c.cfg = bft.ClientConfig{Key: c.key.Public(), Cluster: crypto.Hash("meter"), N: 4, Seed: [32]byte{1},
		MaxBundleOps: 4, MaxBundleBytes: 8 << 10, MaxCalls: 512, MaxBytes: 256 << 10}
	var err error
	if c.client, err = bft.NewClient(c.cfg); err != nil {
		t.Fatal(err)
	}
	c.formula = BoundClient(&c.cfg)
	c.formula.Frames = &c.frames
	return c
}

// turn signs and notes what the client sends.
func (c *caller) turn() {
	for range 100 {
		c.now += bft.Millisecond
		c.client.Tick(c.now, c.now)
		ready, ok := c.client.Ready()
		if !ok {
			return
		}
		for _, s := range ready.Sign {
			c.client.Signed(s.ID, c.key.Sign(s.Message))
		}
		for _, m := range ready.Messages {
			c.note(m.Frame)
		}
	}
}

func (c *caller) note(frame []byte) {
	var q bftpb.Request
	if wire.Read(bft.TypeRequest, frame, &q) == nil {
		b, err := bft.DecodeBundle(q.Payload, [64]byte(q.Signature), bft.WindowOps, bft.MaxBundleBytes)
		if err != nil {
			c.t.Fatal(err)
		}
		if !slices.ContainsFunc(c.bundles, func(x *bft.Bundle) bool { return x.Digest == b.Digest }) {
			c.bundles = append(c.bundles, b)
		}
		return
	}
	if q, err := bft.DecodeQuery(frame, bft.WindowOps, bft.MaxBundleBytes); err == nil {
		c.queries = append(c.queries, q)
	}
}

func (c *caller) step(from bft.ReplicaID, frame []byte) {
	c.frames.Add(frame)
	_ = c.client.Step(from, frame) // refused or not, it is the memory that counts
}

func (c *caller) check() map[string]int64 {
	c.t.Helper()
	uses, err := c.formula.Measure(c.client)
	if err != nil {
		c.t.Fatal(err)
	}
	out := make(map[string]int64)
	for _, u := range uses {
		if out[u.Part] = u.Bytes; u.Bytes > u.Bound {
			c.t.Errorf("%s hold %s, their terms allow %s", u.Part, Bytes(u.Bytes), Bytes(u.Bound))
		}
	}
	return out
}

// results are as many as the bundle or query needs, of so many bytes in all.
func results(count, size int) [][]byte {
	out := make([][]byte, max(1, count))
	for i := range out {
		out[i] = make([]byte, size/len(out))
	}
	return out
}

// TestAClientStaysUnderItsFormula: calls are given up and others take their place, nobody answers
// alike, and every replica sends as much as it can.
func TestAClientStaysUnderItsFormula(t *testing.T) {
	c := newCaller(t)
	c.invoke(1, bft.CallOptions{})
	for id := range bft.ReplicaID(2) { // f+1 open the session
		c.step(id, bft.ReplyFrame(id, 0, c.bundles[0], 77, results(1, 10), bft.Everyone))
	}
	c.turn()
	if c.client.Info().Session != 77 {
		t.Fatal("no session")
	}
	for range 40 {
		c.invoke(60, bft.CallOptions{Deadline: c.now + 2*bft.Second})
		c.now += 3 * bft.Second
		c.turn()
	}
	before := c.check()
	if before["sent"] < 1<<20 {
		t.Errorf("what was given up occupies %s only", Bytes(before["sent"]))
	}
	for i, b := range c.bundles[len(c.bundles)-40:] {
		for id := range bft.ReplicaID(4) {
			size := 2<<20 + int(id)*100 + i // never alike
			c.step(id, bft.ReplyFrame(id, 0, b, 77, results(len(b.Ops), size), bft.Everyone))
			c.step(id, bft.BusyFrame(b))
		}
		if i%10 == 0 {
			c.check()
		}
	}
	if got := c.check()["sent"]; got < 3*keptPerReplica {
		t.Errorf("four replicas made it keep %s of results only", Bytes(got))
	}
}

// invoke makes calls of 4000 bytes.
func (c *caller) invoke(count int, o bft.CallOptions) {
	for range count {
		c.next++
		_ = c.client.Invoke(c.next, make([]byte, 4000), o)
	}
	c.turn()
}

// TestReadsStayUnderTheFormula: the same for reads.
func TestReadsStayUnderTheFormula(t *testing.T) {
	c := newCaller(t)
	for range (maxQueries + 10) * c.cfg.MaxBundleOps { // full ones: others wait for the end of those under way
		c.next++
		if err := c.client.Query(c.next, make([]byte, 400), bft.Linearizable, bft.CallOptions{}); err != nil {
			t.Fatal(err)
		}
		c.turn()
	}
	if len(c.queries) != maxQueries/2 {
		t.Errorf("%d queries await answers", len(c.queries))
	}
	for i, q := range c.queries[:30] {
		for id := range bft.ReplicaID(4) {
			c.step(id, bft.AnswerFrame(id, 0, bft.Seq(i), &bft.Query{ID: q.ID, Replier: id}, results(len(q.Ops), 1<<20+int(id)*100)))
		}
		c.check()
	}
}

// TestTheClientsFormulaCanFail: without the term of what a replica may send, what it sends is too much.
func TestTheClientsFormulaCanFail(t *testing.T) {
	c := newCaller(t)
	c.invoke(1, bft.CallOptions{})
	c.step(3, bft.ReplyFrame(3, 0, c.bundles[0], 77, results(1, 15<<20), bft.Everyone))
	c.check()
	less := c.formula.Without("results in full").Without("payloads")
	if err := less.Check(c.client); err == nil {
		t.Error("15 MiB of one replica are not noticed")
	}
}
