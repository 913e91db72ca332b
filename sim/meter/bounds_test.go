package meter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// What follows once broke the formula, each in its own way.

// pad puts a field of bytes before an encoding in which the same field supersedes it.
func pad(field byte, size int, encoded []byte) []byte {
	out := binary.AppendUvarint([]byte{field<<3 | 2}, uint64(size))
	return append(append(out, make([]byte, size)...), encoded...)
}

// TestBoundedPaddedEnvelopes: an envelope that has its payload twice says no more than one that
// has it once, and would be kept with both.
func TestBoundedPaddedEnvelopes(t *testing.T) {
	g := newRig(t, smallConfig())
	for s := bft.Seq(1); s <= 16; s++ {
		e := g.votes(3, 5, cast{bft.PhasePrepare, s, unique("p", int(s))})
		frame := append([]byte{byte(bft.TypeVotes)}, pad(4, 1<<20, wire.Marshal(e))...)
		if err := g.hand(3, frame); !errors.Is(err, bft.ErrInvalid) {
			t.Fatalf("a padded envelope: %v", err)
		}
	}
	g.check()
}

// TestBoundedPaddedVotes: the same under the signature. Padded votes would go into certificates,
// and the view-changes of honest members would not fit a frame any more.
func TestBoundedPaddedVotes(t *testing.T) {
	g := newRig(t, smallConfig())
	for s := bft.Seq(1); s <= 12; s++ {
		bundles := []*bft.Bundle{g.bundle(int(s), 0, 1, 1, 10)}
		if err := g.request(bundles[0]); err != nil {
			t.Fatal(err)
		}
		frame, p := g.prePrepare(0, 0, s, digestsOf(bundles))
		g.mustHand(0, frame)
		votes := g.votes(3, 0, cast{bft.PhasePrepare, s, p.Digest()})
		view0 := bytes.Repeat([]byte{1 << 3, 0}, 1<<20) // the number of the view, a million times
		padded := g.envelope(3, bft.TypeVotes, append(view0, votes.Payload...))
		if err := g.hand(3, g.framed(padded)); !errors.Is(err, bft.ErrInvalid) {
			t.Fatalf("padded votes: %v", err)
		}
		g.mustHand(3, g.framed(votes))
	}
	g.check()
	size := 0
	g.sent = func(frame []byte) {
		if wire.TypeOf(frame) == bft.TypeViewChange {
			size = max(size, len(frame))
		}
	}
	for _, id := range []int{1, 3} { // f+1 leave the view: this replica joins them
		_ = g.hand(id, g.framed(g.envelope(id, bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: 1}))))
	}
	if size == 0 || size > bft.MaxFrameBytes/100 {
		t.Errorf("its view-change with 12 certificates has %d bytes", size)
	}
}

// TestBoundedFramesArePinned: a bundle of 100 bytes that was asked for comes in a frame of 12 MiB.
func TestBoundedFramesArePinned(t *testing.T) {
	g := newRig(t, smallConfig())
	var all []*bft.Bundle
	for i := range 48 {
		all = append(all, g.bundle(i, 0, 1, 1, 10))
	}
	unwanted := g.bundle(1000, 0, 1, 1, 60<<10)
	frame, _ := g.prePrepare(0, 0, 1, digestsOf(all))
	g.mustHand(0, frame)
	for _, b := range all {
		d := &bftpb.Data{Bundles: requests([]*bft.Bundle{b})}
		for range 200 {
			d.Bundles = append(d.Bundles, requests([]*bft.Bundle{unwanted})...)
		}
		g.mustHand(3, wire.Frame(bft.TypeData, d))
	}
	g.check()
	if most := int64(64 << 10); g.peak[poolBundles] > most || g.peak[logBundles] > most || g.peak[logBundles] < 48*100 {
		t.Errorf("48 small bundles occupy %s and %s", Bytes(g.peak[poolBundles]), Bytes(g.peak[logBundles]))
	}
}

// TestBoundedFetchedViewChanges: a member offers new-views of ever higher views, and delivers one
// large view-change that each of them names.
func TestBoundedFetchedViewChanges(t *testing.T) {
	g := newRig(t, smallConfig())
	for i := range 100 {
		view := bft.View(4*i + 7)
		vc := g.fullViewChange(3, view)
		named := []bft.Digest{unique("vc", i), wire.Digest(vc), unique("another", i)}
		p := &bftpb.NewView{View: uint64(view)}
		for k, signer := range []uint32{0, 3, 1} {
			p.ViewChanges = append(p.ViewChanges, &bftpb.ViewChangeRef{Signer: signer, Digest: named[k][:]})
		}
		_ = g.hand(3, g.framed(g.envelope(3, bft.TypeNewView, wire.Marshal(p))))
		g.mustHand(3, wire.Frame(bft.TypeData, &bftpb.Data{ViewChanges: []*bftpb.Envelope{vc}}))
		g.check()
	}
	if g.peak["fetched view-changes"] < 30<<10 {
		t.Error("nothing was fetched")
	}
}

// TestBoundedProposalsOverTheBound: a proposal names 40 MiB, ten times what it may.
func TestBoundedProposalsOverTheBound(t *testing.T) {
	cfg := smallConfig()
	cfg.MaxBundleBytes, cfg.MaxBatchBytes, cfg.MaxPoolBytes = 1<<20, 2<<20, 4<<20
	g := newRig(t, cfg)
	var all []*bft.Bundle
	for i := range 40 {
		all = append(all, g.bundle(i, 0, 1, 1, 1<<20-200))
	}
	frame, _ := g.prePrepare(0, 0, 1, digestsOf(all))
	g.mustHand(0, frame)
	for _, b := range all {
		_ = g.hand(3, wire.Frame(bft.TypeData, &bftpb.Data{Bundles: requests([]*bft.Bundle{b})}))
		g.check()
	}
	if most := int64(bft.MaxProposalBytes + 2<<20); g.peak[poolBundles] > most || g.peak[poolBundles] < 3<<20 {
		t.Errorf("%s were gathered", Bytes(g.peak[poolBundles]))
	}
}

// TestBoundedBodiesOfOldViews: without a stable checkpoint, each primary proposes other bodies
// for the same numbers, of bundles that nobody has.
func TestBoundedBodiesOfOldViews(t *testing.T) {
	g := newRig(t, smallConfig())
	for v := bft.View(1); v <= 24; v++ {
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
			g.mustHand(primary, frame)
		}
		g.check()
	}
	if most := int64(16 * 100 << 10); g.peak["bodies"] > most {
		t.Errorf("the bodies occupy %s, those of one view %s at most", Bytes(g.peak["bodies"]), Bytes(most))
	}
}

// TestBoundedOneMemberFillsThePool: what one member passes on leaves room for clients.
func TestBoundedOneMemberFillsThePool(t *testing.T) {
	g := newRig(t, smallConfig())
	for size := 60 << 10; size > 100; size /= 2 {
		for i := range 40 {
			_ = g.hand(3, bft.RequestFrame(g.bundle(100+size+i, 0, 1, 1, size), 0))
		}
	}
	g.check()
	if err := g.request(g.bundle(1, 0, 1, 1, 60<<10)); err != nil {
		t.Errorf("a client is refused since member 3 passed on %s: %v", Bytes(g.peak[poolBundles]), err)
	}
	if g.peak[poolBundles] < int64(g.cfg.MaxPoolBytes)/8 {
		t.Errorf("only %s were passed on", Bytes(g.peak[poolBundles]))
	}
}
