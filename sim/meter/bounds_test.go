package meter

import (
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// pad puts a field before an encoding that the same field in it supersedes: both decode alike.
func pad(tag byte, size int, encoded []byte) []byte {
	out := []byte{tag<<3 | 2}
	for n := uint(size); ; n >>= 7 {
		if n < 0x80 {
			out = append(out, byte(n))
			break
		}
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, make([]byte, size)...), encoded...)
}

// Votes whose envelope has its payload twice: the first one is superseded, and kept all the same.
func TestBoundedPaddedEnvelopes(t *testing.T) {
	g := newRig(t, smallConfig())
	for s := bft.Seq(1); s <= 16; s++ {
		e := g.votes(3, 5, cast{bft.PhasePrepare, s, unique("p", int(s))})
		frame := append([]byte{byte(bft.TypeVotes)}, pad(4, 1<<20, wire.Marshal(e))...)
		if err := g.hand(3, frame); err != nil {
			t.Log("refused:", err)
			return
		}
	}
	g.check()
}

// The same inside the signed payload, so that it goes into certificates: then no view-change fits a frame.
func TestBoundedPaddedVotesBreakViewChanges(t *testing.T) {
	g := newRig(t, smallConfig())
	for s := bft.Seq(1); s <= 12; s++ {
		b := g.bundle(int(s), 0, 1, 1, 10)
		_ = g.request(b)
		frame, p := g.prePrepare(0, 0, s, digestsOf([]*bft.Bundle{b}))
		g.mustHand(0, frame)
		v := g.votes(3, 0, cast{bft.PhasePrepare, s, p.Digest()})
		// A vote field that is superseded is none: repeated. The number of the view can stand there many times.
		payload := v.Payload
		for range 1 << 20 {
			payload = append([]byte{1 << 3, 0}, payload...)
			break
		}
		payload = append(repeat([]byte{1 << 3, 0}, 1<<20), payload...)
		if err := g.hand(3, g.framed(g.envelope(3, bft.TypeVotes, payload))); err != nil {
			t.Log("refused:", err)
			return
		}
	}
	g.check()
	// f+1 leave the view: this replica joins, and its view-change holds the padded votes.
	size := 0
	g.sent = func(frame []byte) {
		if wire.TypeOf(frame) == bft.TypeViewChange {
			size = max(size, len(frame))
		}
	}
	for _, id := range []int{1, 3} {
		_ = g.hand(id, g.framed(g.envelope(id, bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: 1}))))
	}
	if size > bft.MaxFrameBytes {
		t.Errorf("its view-change has %d bytes, a frame at most %d", size, bft.MaxFrameBytes)
	}
	if size == 0 {
		t.Error("no view-change")
	}
}

func repeat(b []byte, n int) []byte { return []byte(strings.Repeat(string(b), n)) }

// One bundle that was asked for comes with 15 MiB that nobody wants: the frame is kept.
func TestBoundedFramesArePinned(t *testing.T) {
	g := newRig(t, smallConfig())
	var all []*bft.Bundle
	for i := range 64 {
		all = append(all, g.bundle(i, 0, 1, 1, 10))
	}
	junk := g.bundle(1000, 0, 1, 1, 60<<10)
	frame, _ := g.prePrepare(0, 0, 1, digestsOf(all))
	g.mustHand(0, frame)
	for _, b := range all {
		d := &bftpb.Data{Bundles: requests([]*bft.Bundle{b})}
		for range 200 {
			d.Bundles = append(d.Bundles, requests([]*bft.Bundle{junk})...)
		}
		if err := g.hand(3, wire.Frame(bft.TypeData, d)); err != nil {
			t.Fatal(err)
		}
	}
	g.check()
	t.Log(g.peak)
}

// New-views of ever higher views name view-changes, which are fetched and never given up.
func TestBoundedFetchedViewChanges(t *testing.T) {
	g := newRig(t, smallConfig())
	for i := range 200 {
		view := bft.View(4*i + 7)
		vc := g.fullViewChange(3, view+2)
		d := wire.Digest(vc)
		other := unique("vc", i)
		third := unique("vc3", i)
		p := &bftpb.NewView{View: uint64(view), ViewChanges: []*bftpb.ViewChangeRef{{Signer: 0, Digest: other[:]}, {Signer: 3, Digest: d[:]}, {Signer: 1, Digest: third[:]}}}
		_ = g.hand(3, g.framed(g.envelope(3, bft.TypeNewView, wire.Marshal(p))))
		_ = g.hand(3, wire.Frame(bft.TypeData, &bftpb.Data{ViewChanges: []*bftpb.Envelope{vc}}))
	}
	g.check()
	t.Log(g.peak["fetched view-changes"], g.formula.Of("fetched view-changes"))
}

// A proposal names more bytes than any proposal may have: all is fetched and kept before it is refused.
func TestBoundedProposalsOverTheBound(t *testing.T) {
	cfg := smallConfig()
	cfg.MaxBundleBytes, cfg.MaxBatchBytes, cfg.MaxPoolBytes = 1<<20, 2<<20, 4<<20
	g := newRig(t, cfg)
	var all []*bft.Bundle
	for i := range 300 {
		all = append(all, g.bundle(i, 0, 1, 1, 1<<20-200))
	}
	frame, _ := g.prePrepare(0, 0, 1, digestsOf(all))
	g.mustHand(0, frame)
	for _, b := range all {
		_ = g.hand(3, wire.Frame(bft.TypeData, &bftpb.Data{Bundles: requests([]*bft.Bundle{b})}))
	}
	g.check()
	t.Log(Bytes(g.peak[poolBundles]), "in the pool, of which it may hold", Bytes(int64(cfg.MaxPoolBytes)), "and 4 MiB of the proposal", g.replica.Info().Pending)
}

// Views without a stable checkpoint: each primary proposes other bodies for the same numbers.
func TestBoundedBodiesOfOldViews(t *testing.T) {
	g := newRig(t, smallConfig())
	for v := bft.View(1); v <= 60; v++ {
		var refs []*bftpb.ViewChangeRef
		for _, id := range []int{0, 1, 3} {
			vc := g.envelope(id, bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: uint64(v)}))
			d := wire.Digest(vc)
			refs = append(refs, &bftpb.ViewChangeRef{Signer: uint32(id), Digest: d[:]})
			_ = g.hand(id, g.framed(vc))
		}
		primary := int(v % 4)
		if primary == self {
			continue
		}
		_ = g.hand(primary, g.framed(g.envelope(primary, bft.TypeNewView, wire.Marshal(&bftpb.NewView{View: uint64(v), ViewChanges: refs}))))
		if info := g.replica.Info(); info.View != v || info.Changing {
			t.Fatalf("view %d: %+v", v, info)
		}
		for s := bft.Seq(1); s <= 16; s++ {
			frame, _ := g.prePrepare(primary, v, s, g.unknown(int(v)*16+int(s)))
			if err := g.hand(primary, frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.check()
	t.Log(Bytes(g.peak["bodies"]), Bytes(g.formula.Of("bodies")))
}

// What a member passes on is bounded by operations, not by bytes: one of them fills the pool.
func TestBoundedOneMemberFillsThePool(t *testing.T) {
	g := newRig(t, smallConfig())
	for i := range 40 {
		_ = g.hand(3, bft.RequestFrame(g.bundle(100+i, 0, 1, 1, 60<<10), 0))
	}
	for i := range 8 {
		_ = g.hand(3, bft.RequestFrame(g.bundle(200+i, 0, 1, 1, 500), 0))
	}
	g.check()
	if err := g.request(g.bundle(1, 0, 1, 1, 1000)); err != nil {
		t.Errorf("a client is refused, since member 3 passed on %s: %v", Bytes(g.peak[poolBundles]), err)
	}
}
