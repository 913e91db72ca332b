package meter

import (
	"fmt"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// rig is one replica, number 2 of 4, with a host that does at once what it asks for. The test
// plays all the others, and owns every key.
type rig struct {
	t       *testing.T
	cfg     bft.Config
	ring    *crypto.FastRing
	keys    []crypto.Signer
	replica *bft.Replica
	checker *bft.Checker
	formula Formula
	frames  Frames
	work    *Work // if set, notes the work
	now     bft.Time
	session bft.SessionID
	// asleep: what is committed is not executed.
	asleep  bool
	batches []*bft.Batch
	wanted  []bft.Digest // bundles that it asked for
	// sent, if set, sees what the replica sends.
	sent func([]byte)
	peak map[string]int64 // most bytes of each part
}

const self = 2

func smallConfig() bft.Config {
	cfg := bft.DefaultConfig()
	cfg.Interval, cfg.Window, cfg.Pipeline = 8, 16, 4
	cfg.MaxBundleOps, cfg.MaxBatchOps, cfg.PoolFloor = 64, 256, 512
	cfg.MaxBundleBytes, cfg.MaxBatchBytes, cfg.MaxPoolBytes = 64<<10, 256<<10, 1<<20
	return cfg
}

func newRig(t *testing.T, cfg bft.Config) *rig {
	g := &rig{t: t, cfg: cfg, ring: crypto.NewFastRing(), now: bft.Second, peak: map[string]int64{}}
	g.cfg.Self, g.cfg.Cluster = self, crypto.Hash("meter")
	for i := range 4 {
		g.keys = append(g.keys, g.ring.NewKey([32]byte{1, byte(i)}))
		g.cfg.Members = append(g.cfg.Members, g.keys[i].Public())
	}
	g.start(bft.Restored{Born: true, Boot: 1})
	return g
}

// start makes the replica, and has enough peers tell it that they hold nothing it has forgotten.
func (g *rig) start(restored bft.Restored) {
	var err error
	if g.checker, err = bft.NewChecker(&g.cfg); err != nil {
		g.t.Fatal(err)
	}
	if g.replica, err = bft.New(g.cfg, restored); err != nil {
		g.t.Fatal(err)
	}
	g.formula = Bound(&g.cfg, 1000)
	g.formula.Frames = &g.frames
	g.tick(10 * bft.Millisecond)
	g.check()
	for _, from := range []int{0, 1} {
		g.mustHand(from, wire.Frame(bft.TypeStatus, &bftpb.Status{AnswersStart: true, Boot: restored.Boot, Sent: 1}))
	}
	if g.replica.Info().Starting {
		g.t.Fatal("the replica has not started")
	}
}

// hand gives it a frame of a peer.
func (g *rig) hand(from int, frame []byte) error {
	g.frames.Add(frame)
	if g.work != nil {
		g.work.Frame(Remote(from), frame)
	}
	u, err := g.checker.FromPeer(bft.ReplicaID(from), frame)
	if err != nil {
		return err
	}
	return g.step(Remote(from), u)
}

func (g *rig) mustHand(from int, frame []byte) {
	g.t.Helper()
	if err := g.hand(from, frame); err != nil {
		g.t.Fatal(err)
	}
}

// clients are one remote.
const clients Remote = 4

func (g *rig) step(from Remote, u *bft.Unverified) error {
	if g.work != nil {
		g.work.Verified(from, len(u.Claims()))
	}
	v, err := g.checker.Verify(u, g.ring)
	if err != nil {
		return err
	}
	err = g.replica.Step(v)
	g.turn()
	return err
}

// request gives it a bundle on the client's own channel.
func (g *rig) request(b *bft.Bundle) error {
	frame := bft.RequestFrame(b, 0)
	g.frames.Add(frame)
	if g.work != nil {
		g.work.Frame(clients, frame)
	}
	u, err := g.checker.FromClient(b.Client, frame)
	if err != nil {
		return err
	}
	return g.step(clients, u)
}

func (g *rig) tick(d bft.Time) {
	for end := g.now + d; g.now < end; {
		g.now += 10 * bft.Millisecond
		g.replica.Tick(g.now, g.now)
		g.turn()
	}
}

// turn does what the replica asks for until it asks for nothing.
func (g *rig) turn() {
	for range 1000 {
		ready, ok := g.replica.Ready()
		if !ok {
			return
		}
		var d bft.Done
		for _, x := range ready.Records {
			d.Persisted = x.LSN
		}
		for _, s := range ready.Sign {
			d.Signed = append(d.Signed, bft.Signed{ID: s.ID, Signature: g.keys[self].Sign(s.Message)})
		}
		for _, b := range ready.Check {
			if g.work != nil {
				g.work.Checked(b)
			}
			ok := g.ring.Verify(b.Client, bft.RequestSigningBytes(g.cfg.Cluster, b.Payload), b.Signature)
			d.Checked = append(d.Checked, bft.Checked{Digest: b.Digest, Valid: ok})
		}
		for _, m := range ready.Messages {
			if g.sent != nil {
				g.sent(m.Frame)
			}
			g.note(m.Frame)
		}
		g.batches = append(g.batches, ready.Execute...)
		if !g.asleep {
			for _, b := range g.batches {
				d.Executed = append(d.Executed, g.execute(b))
				if b.Checkpoint {
					d.Snapshots = append(d.Snapshots, g.state(b.Seq))
				}
			}
			g.batches = nil
		}
		g.replica.Advance(d)
	}
	g.t.Fatal("the replica does not come to rest")
}

// note remembers which bundles it asks for.
func (g *rig) note(frame []byte) {
	var f bftpb.Fetch
	if wire.Read(bft.TypeFetch, frame, &f) == nil && f.Kind == 1 {
		for b := f.Digests; len(b) >= 32; b = b[32:] {
			g.wanted = append(g.wanted, bft.Digest(b[:32]))
		}
	}
}

// execute opens a session for each opening.
func (g *rig) execute(b *bft.Batch) bft.Executed {
	x := bft.Executed{Seq: b.Seq, Time: max(b.Proposal.Time, 1)}
	for _, bundle := range b.Bundles {
		if bundle.Opens() {
			g.session++
			x.Marks = append(x.Marks, bft.SessionMark{Session: g.session, Client: bundle.Client, Low: uint64(len(bundle.Ops)) + 1})
		}
	}
	return x
}

func (g *rig) state(s bft.Seq) bft.Snapshot {
	n := []byte{byte(s), byte(s >> 8), byte(s >> 16)}
	return bft.Snapshot{Seq: s, State: crypto.Hash("state", n), History: crypto.Hash("history", n)}
}

// check is the oracle. It notes how large each part became.
func (g *rig) check() {
	g.t.Helper()
	uses, err := g.formula.Measure(g.replica)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, u := range uses {
		if u.Bytes > u.Bound {
			g.t.Errorf("%s hold %s, their terms allow %s", u.Part, Bytes(u.Bytes), Bytes(u.Bound))
		}
		g.peak[u.Part] = max(g.peak[u.Part], u.Bytes)
	}
}

// What follows makes messages of any member.

func (g *rig) envelope(signer int, t bft.MessageType, payload []byte) *bftpb.Envelope {
	m := wire.Member{Cluster: g.cfg.Cluster, Signer: g.keys[signer], Self: bft.ReplicaID(signer)}
	return m.Seal(t, payload)
}

func (g *rig) framed(e *bftpb.Envelope) []byte { return wire.Frame(bft.MessageType(e.Type), e) }

func unique(name string, i int) bft.Digest {
	return crypto.Hash("meter unique", []byte(name), fmt.Append(nil, i))
}

type cast struct {
	phase  bft.Phase
	seq    bft.Seq
	digest bft.Digest
}

func (g *rig) votes(signer int, view bft.View, casts ...cast) *bftpb.Envelope {
	p := &bftpb.Votes{View: uint64(view)}
	for _, c := range casts {
		p.Votes = append(p.Votes, &bftpb.Vote{Phase: uint32(c.phase), Seq: uint64(c.seq), Digest: c.digest[:]})
	}
	return g.envelope(signer, bft.TypeVotes, wire.Marshal(p))
}

// padded are full votes, of which the given one is the first.
func (g *rig) padded(signer int, view bft.View, c cast) *bftpb.Envelope {
	casts := []cast{c}
	for i := range maxVotes - 1 {
		casts = append(casts, cast{bft.PhaseCommit, 1<<61 + bft.Seq(i), unique("padding", i)})
	}
	return g.votes(signer, view, casts...)
}

func (g *rig) header(signer int, view bft.View, seq bft.Seq, p bft.Proposal) *bftpb.Envelope {
	h := &bftpb.Header{View: uint64(view), Seq: uint64(seq), Time: int64(p.Time)}
	if !p.Body.IsZero() {
		h.Body = p.Body[:]
	}
	return g.envelope(signer, bft.TypePrePrepare, wire.Marshal(h))
}

func joined(ds []bft.Digest) (b []byte) {
	for i := range ds {
		b = append(b, ds[i][:]...)
	}
	return b
}

// prePrepare is a fresh proposal of bundles by their digests.
func (g *rig) prePrepare(signer int, view bft.View, seq bft.Seq, ds []bft.Digest) ([]byte, bft.Proposal) {
	p := bft.Proposal{Body: bft.BodyDigest(ds), Time: g.now}
	e := g.header(signer, view, seq, p)
	return wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: e, Body: &bftpb.Body{Bundles: joined(ds)}}), p
}

// client is the key of a client.
func (g *rig) client(i int) crypto.Signer {
	return g.ring.NewKey([32]byte{2, byte(i), byte(i >> 8), byte(i >> 16)})
}

// bundle of so many operations of so many bytes each; session 0 opens one.
func (g *rig) bundle(client int, session bft.SessionID, first uint64, ops, size int) *bft.Bundle {
	key := g.client(client)
	b := &bft.Bundle{Client: key.Public(), Session: session, First: first}
	if session == 0 {
		b.Nonce, b.NotAfter, b.First = bft.Nonce{byte(first), byte(first >> 8), byte(first >> 16)}, g.now+bft.Second, 1
	}
	for range ops {
		b.Ops = append(b.Ops, make([]byte, size))
	}
	payload := bft.EncodeBundle(b)
	out, err := bft.DecodeBundle(payload, key.Sign(bft.RequestSigningBytes(g.cfg.Cluster, payload)), bft.WindowOps, bft.MaxBundleBytes)
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

func digestsOf(bundles []*bft.Bundle) (ds []bft.Digest) {
	for _, b := range bundles {
		ds = append(ds, b.Digest)
	}
	return ds
}

func requests(bundles []*bft.Bundle) (out []*bftpb.Request) {
	for _, b := range bundles {
		out = append(out, &bftpb.Request{Payload: b.Payload, Signature: b.Signature[:]})
	}
	return out
}
