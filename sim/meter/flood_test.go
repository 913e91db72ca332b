package meter

import (
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// flood is one kind of message at its worst; send sends the i-th.
type flood struct {
	name  string
	count int
	send  func(g *rig, i int) error
	// part is what it must make grow to so many bytes at least: a flood that the replica drops
	// shows nothing, unless nothing is meant to be kept of it.
	part  string
	least int64
}

var floods = []flood{
	{"full votes of rising views for every number", 1600, func(g *rig, i int) error {
		var casts []cast
		for k := range maxVotes {
			seq := bft.Seq(1 + (i*maxVotes+k)%(2*int(g.cfg.Window)))
			casts = append(casts, cast{bft.Phase(1 + (i/8)%2), seq, unique("vote", i*maxVotes+k)})
		}
		return g.hand(3, g.framed(g.votes(3, bft.View(i), casts...)))
	}, "slots", 20 << 10},
	{"full votes, one for each number and phase", 256, func(g *rig, i int) error {
		seq := bft.Seq(1 + i%(2*int(g.cfg.Window)))
		return g.hand(3, g.framed(g.padded(3, bft.View(2000+i), cast{bft.Phase(1 + i/128), seq, unique("vote", i)})))
	}, "slots", 120 << 10},
	{"checkpoints far ahead", 200, func(g *rig, i int) error {
		d := unique("state", i)
		p := &bftpb.Checkpoint{Seq: uint64(8 * (i + 1)), State: d[:], History: d[:], ScheduledEnd: 1 << 61, NextManifest: d[:]}
		return g.hand(3, g.framed(g.envelope(3, bft.TypeCheckpoint, wire.Marshal(p))))
	}, "checkpoints", 2 << 10},
	{"view-changes with a full window of certificates", 40, func(g *rig, i int) error {
		return g.hand(3, g.framed(g.fullViewChange(3, bft.View(i+10))))
	}, "view-changes", 60 << 10},
	{"new-views of as many proposals as fit", 10, func(g *rig, i int) error {
		view := bft.View(4*(i+10) + 3)
		p := &bftpb.NewView{View: uint64(view)}
		for k := range 3 {
			d := unique("view-change", 3*i+k)
			p.ViewChanges = append(p.ViewChanges, &bftpb.ViewChangeRef{Signer: uint32(k), Digest: d[:]})
		}
		for s := range g.cfg.Window {
			p.PrePrepares = append(p.PrePrepares, g.header(3, view, s+1, bft.Proposal{Body: unique("body", int(s)), Time: 1 << 62}))
		}
		return g.hand(3, g.framed(g.envelope(3, bft.TypeNewView, wire.Marshal(p))))
	}, "new-views", 3 << 10},
	{"bundles of empty operations passed on", 2000, func(g *rig, i int) error {
		return g.hand(3, bft.RequestFrame(g.bundle(i, 0, 1, g.cfg.MaxBundleOps*(i%2), 0), 0))
	}, "pool", 16 << 10},
	{"small openings of many clients", 3000, func(g *rig, i int) error { return g.request(g.bundle(i, 0, 1, 1, 0)) }, "pool", 300 << 10},
	{"full bundles of empty operations", 3000, func(g *rig, i int) error {
		return g.request(g.bundle(i%500, 0, uint64(10+i), g.cfg.MaxBundleOps, 0))
	}, poolBundles, 60 << 10},
	{"large bundles for sessions that may come", 500, func(g *rig, i int) error {
		return g.request(g.bundle(i%7, bft.SessionID(1000+i), 1, 1, 60<<10))
	}, poolBundles, 200 << 10},
	{"closings without operations", 2000, func(g *rig, i int) error {
		key := g.client(i % 3)
		b := &bft.Bundle{Client: key.Public(), Session: bft.SessionID(5000 + i), First: 1, Close: true}
		payload := bft.EncodeBundle(b)
		out, err := bft.DecodeBundle(payload, key.Sign(bft.RequestSigningBytes(g.cfg.Cluster, payload)), 1, 1<<10)
		if err != nil {
			return err
		}
		return g.request(out)
	}, "pool", 40 << 10},
	{"proposals of unknown bundles for every number", 64, func(g *rig, i int) error {
		frame, _ := g.prePrepare(0, 0, bft.Seq(1+i%(2*int(g.cfg.Window))), g.unknown(i))
		return g.hand(0, frame)
	}, "wants", 512 << 10},
	{"proposals of the next view", 64, func(g *rig, i int) error {
		frame, _ := g.prePrepare(1, 1, bft.Seq(1+i%(2*int(g.cfg.Window))), g.unknown(100+i))
		return g.hand(1, frame)
	}, "early", 200 << 10},
	{"statuses", 1000, func(g *rig, i int) error {
		return g.hand(3, wire.Frame(bft.TypeStatus, &bftpb.Status{View: uint64(i), Executed: uint64(i), Sent: int64(i), Starting: true, Boot: uint64(i), Echo: 1}))
	}, "help", 0},
	{"fetches of every kind", 2000, func(g *rig, i int) error {
		return g.hand(3, wire.Frame(bft.TypeFetch, &bftpb.Fetch{Kind: uint32(1 + i%5), Digests: joined(g.unknown(i)[:256]), From: uint64(i), To: uint64(i + 5000)}))
	}, "help", 0},
	{"data that nobody asked for", 300, func(g *rig, i int) error {
		b := []*bft.Bundle{g.bundle(i, 0, 1, 1, 1000)}
		return g.hand(3, wire.Frame(bft.TypeData, &bftpb.Data{Bundles: requests(b), Bodies: []*bftpb.Body{{Bundles: joined(g.unknown(i))}},
			ViewChanges: []*bftpb.Envelope{g.envelope(3, bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: uint64(i + 1)}))}}))
	}, "help", 0},
	{"reads", 2*maxReads + 10, func(g *rig, i int) error {
		if i == 0 { // they wait for a number that it may have let commit
			frame, p := g.prePrepare(0, 0, 1, digestsOf(g.heard(1)))
			_ = g.hand(0, frame) // refused if number 1 is taken
			_ = g.hand(1, g.framed(g.votes(1, 0, cast{bft.PhasePrepare, 1, p.Digest()})))
		}
		return g.replica.Read(bft.ReadID(i))
	}, "reads", maxReads * 24},
}

// heard gives the replica so many bundles on their clients' channels, if it has room.
func (g *rig) heard(count int) (out []*bft.Bundle) {
	for i := range count {
		out = append(out, g.bundle(i, 0, 1, 1, 100))
		_ = g.request(out[i])
	}
	return out
}

func (g *rig) unknown(i int) (ds []bft.Digest) {
	for k := range bft.MaxProposalBundles {
		ds = append(ds, unique("bundle", i*bft.MaxProposalBundles+k))
	}
	return ds
}

// fullViewChange has a certificate of view 0 for every number of the window, each as large as honest
// members can make it.
func (g *rig) fullViewChange(signer int, view bft.View) *bftpb.Envelope {
	p := &bftpb.ViewChange{View: uint64(view)}
	for s := bft.Seq(1); s <= g.cfg.Window; s++ {
		prop := bft.Proposal{Body: unique("prepared", int(s)), Time: 1 << 61}
		at := uint32(len(p.Envelopes))
		p.Envelopes = append(p.Envelopes, g.header(0, 0, s, prop))
		for _, id := range []int{1, 3} {
			p.Envelopes = append(p.Envelopes, g.padded(id, 0, cast{bft.PhasePrepare, s, prop.Digest()}))
		}
		p.Prepared = append(p.Prepared, &bftpb.Prepared{Seq: uint64(s), PrePrepare: at, Votes: []uint32{at + 1, at + 2}})
	}
	return g.envelope(signer, bft.TypeViewChange, wire.Marshal(p))
}

// run sends a flood, and holds the replica against its formula all the way.
func (g *rig) run(f *flood) {
	g.t.Helper()
	for i := range f.count {
		_ = f.send(g, i) // refused or not, it is the memory that counts
		if i%(1+f.count/10) == 0 {
			g.tick(10 * bft.Millisecond)
			g.check()
		}
	}
	g.check()
	if g.peak[f.part] < f.least {
		g.t.Errorf("%s: %s grew to %s only, %s were expected: the flood was dropped", f.name, f.part, Bytes(g.peak[f.part]), Bytes(f.least))
	}
}

// TestFloodsStayUnderTheFormula: a hostile member and a hostile client send everything that they
// can send, each at its worst (behaviours 30, 31 and 40).
func TestFloodsStayUnderTheFormula(t *testing.T) {
	for i := range floods {
		t.Run(floods[i].name, func(t *testing.T) { newRig(t, smallConfig()).run(&floods[i]) })
	}
}

// TestAllFloodsTogether: one after the other, on one replica.
func TestAllFloodsTogether(t *testing.T) {
	g := newRig(t, smallConfig())
	for i := range floods {
		f := floods[i]
		f.least = 0 // what came before may leave no room
		f.count = (f.count + 3) / 4
		g.run(&f)
	}
}

// order has a batch committed by all others.
func (g *rig) order(view bft.View, seq bft.Seq, bundles []*bft.Bundle) {
	g.t.Helper()
	primary := int(bft.Primary(view, 4))
	frame, p := g.prePrepare(primary, view, seq, digestsOf(bundles))
	if err := g.hand(primary, frame); err != nil {
		g.t.Fatal(err)
	}
	for _, id := range []int{0, 1, 3} {
		if id != primary {
			_ = g.hand(id, g.framed(g.padded(id, view, cast{bft.PhasePrepare, seq, p.Digest()})))
		}
	}
	for _, id := range []int{0, 1, 3} {
		_ = g.hand(id, g.framed(g.padded(id, view, cast{bft.PhaseCommit, seq, p.Digest()})))
	}
}

// TestFullLog: every number up to the high watermark is committed with large bundles, and no
// checkpoint becomes stable; then the view changes, with all that in hand.
func TestFullLog(t *testing.T) {
	cfg := smallConfig()
	cfg.MaxPoolBytes, cfg.PoolFloor = 64<<20, 1<<16
	g := newRig(t, cfg)
	for seq := bft.Seq(1); seq <= cfg.Window; seq++ {
		var bundles []*bft.Bundle
		for k := range 60 {
			b := g.bundle(int(seq)*100+k, 0, 1, 1, 60<<10)
			if err := g.request(b); err != nil {
				t.Fatal(err)
			}
			bundles = append(bundles, b)
		}
		g.order(0, seq, bundles)
		g.check()
	}
	if info := g.replica.Info(); info.Executed != cfg.Window || info.Stable != 0 {
		t.Fatalf("executed %d with %d stable: the log is not full", info.Executed, info.Stable)
	}
	for _, id := range []int{1, 3} {
		g.mustHand(id, g.framed(g.fullViewChange(id, 9)))
		g.check()
	}
	if info := g.replica.Info(); info.View != 9 || !info.Changing {
		t.Fatalf("no view change: %+v", info)
	}
	if g.peak[logBundles] < 50<<20 || g.peak["view-changes"] < 50<<10 {
		t.Errorf("the log was not full: %v", g.peak)
	}
}

// TestTheOracleCanFail: with any one of these terms left out, the flood that fills it breaks the formula.
func TestTheOracleCanFail(t *testing.T) {
	for flooded, what := range map[string]string{
		"view-changes with a full window of certificates": "newest of each member", "proposals of the next view": "pre-prepares before their time",
		"proposals of unknown bundles for every number": "what is being fetched", "reads": "reads that wait",
	} {
		g := newRig(t, smallConfig())
		for i := range floods {
			if floods[i].name == flooded {
				g.run(&floods[i])
			}
		}
		less := g.formula.Without(what)
		if len(less.Terms) == len(g.formula.Terms) {
			t.Fatalf("no term %q", what)
		}
		if err := less.Check(g.replica); err == nil || !strings.Contains(err.Error(), "R1: ") {
			t.Errorf("without the term %q, after %q: %v", what, flooded, err)
		}
	}
}

// TestABrokenBoundIsNoticed: a replica that keeps more numbers than the formula was told of, as one
// would whose window is not enforced, breaks it.
func TestABrokenBoundIsNoticed(t *testing.T) {
	cfg := smallConfig()
	cfg.Window = 128
	g := newRig(t, cfg)
	for i := range 256 {
		frame, _ := g.prePrepare(1, 1, bft.Seq(1+i), g.unknown(i))
		_ = g.hand(1, frame)
	}
	g.check()
	narrow := g.cfg
	narrow.Window = 16
	f := Bound(&narrow, 1000)
	if err := f.Check(g.replica); err == nil || !strings.Contains(err.Error(), "R1: early") {
		t.Errorf("more numbers than the window has room for are not noticed: %v", err)
	}
}

func TestFormulaFitsItsType(t *testing.T) {
	g := newRig(t, smallConfig())
	f := Bound(&g.cfg, 10)
	if text := f.String(); !strings.Contains(text, "early: pre-prepares before their time (one for each number)") || !strings.Contains(text, "in all, with 4 peers") {
		t.Errorf("the formula prints as\n%s", text)
	}
	if err := f.Check(g.cfg); err == nil {
		t.Error("measures a configuration as if it were a replica")
	}
	f.parts = f.parts[1:]
	if err := f.Check(g.replica); err == nil || !strings.Contains(err.Error(), "cfg.Members") {
		t.Errorf("a field without a term is not noticed: %v", err)
	}
	f = Bound(&g.cfg, 10)
	f.parts = append(f.parts, part{name: "more", fields: []string{"none"}})
	if err := f.Check(g.replica); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a term without a field is not noticed: %v", err)
	}
}

// TestDefaultsStayUnder64MiBAPeer: what the words of one member, and what it passes on, may occupy with
// the defaults.
func TestDefaultsStayUnder64MiBAPeer(t *testing.T) {
	for n := 4; n <= 13; n++ {
		cfg := bft.DefaultConfig()
		cfg.Members = make([]crypto.PublicKey, n)
		f := Bound(&cfg, 10_000)
		if got := f.Each(PerPeer) + f.Each(PeerShare); got > 64<<20 {
			t.Errorf("n=%d: %s per peer, at most 64 MiB are meant to be\n%s", n, Bytes(got), f.String())
		}
	}
}
