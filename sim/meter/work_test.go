package meter

import (
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

func TestWorkJudges(t *testing.T) {
	var w Work
	if err := w.Judge(); err != nil {
		t.Fatal(err)
	}
	w.Received(3, 64*1000)
	w.Verified(3, 2000+freeClaims)
	w.Received(5, 1<<20)
	if err := w.Judge(); err != nil {
		t.Fatalf("at the bound: %v", err)
	}
	w.Verified(3, 1)
	err := w.Judge()
	if err == nil || !strings.Contains(err.Error(), "remote 3 ") || strings.Contains(err.Error(), "remote 5 ") {
		t.Fatalf("above the bound of one remote: %v", err)
	}
	w.Received(3, 32)
	if err := w.Judge(); err != nil {
		t.Fatalf("paid for: %v", err)
	}
}

func TestWorkFindsTheCause(t *testing.T) {
	g := newRig(t, smallConfig())
	var w Work
	b := []*bft.Bundle{g.bundle(1, 0, 1, 1, 9), g.bundle(2, 0, 1, 1, 9), g.bundle(3, 0, 1, 1, 9), g.bundle(4, 0, 1, 1, 9), g.bundle(5, 0, 1, 1, 9)}
	w.Frame(9, bft.RequestFrame(b[0], 0))
	w.Frame(1, wire.Frame(bft.TypeData, &bftpb.Data{Bundles: requests(b[1:2]),
		Committed: []*bftpb.Committed{{Bundles: requests(b[2:3])}}, Bodies: []*bftpb.Body{{Bundles: b[3].Digest[:]}}}))
	frame, _ := g.prePrepare(0, 0, 1, digestsOf(b[:2]))
	w.Frame(0, frame)
	w.Frame(2, []byte{byte(bft.TypeData), 255})
	w.Frame(2, nil)
	for _, x := range b {
		w.Checked(x)
	}
	for r, want := range map[Remote]int64{9: 0, 0: 2, 1: 2, 2: 0} {
		if got := w.Claims(r); got != want {
			t.Errorf("remote %d caused %d verifications, want %d", r, got, want)
		}
	}
	if w.uncaused != 1 || w.Bytes(2) != 2 || w.Bytes(0) != int64(len(frame)) {
		t.Errorf("%d uncaused, %d and %d bytes", w.uncaused, w.Bytes(2), w.Bytes(0))
	}
	for range freeClaims {
		w.Checked(b[4])
	}
	if err := w.Judge(); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("work without a cause is not noticed: %v", err)
	}
}

// TestFloodsArePaidFor: whatever floods make a replica verify, they pay for it with bytes. Each is
// sent twice, so that verifying duplicates anew would show.
func TestFloodsArePaidFor(t *testing.T) {
	for i := range floods {
		f := floods[i]
		t.Run(f.name, func(t *testing.T) {
			g := newRig(t, smallConfig())
			g.work = &Work{}
			for range 2 {
				for i := range min(f.count, 400) {
					_ = f.send(g, i)
				}
				g.tick(500 * bft.Millisecond)
			}
			if err := g.work.Judge(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNamedBundlesArePaidFor: a primary names bundles that were executed before in one proposal after
// the other. Their authenticity is long forgotten, and this is the cheapest way to have
// signatures verified.
func TestNamedBundlesArePaidFor(t *testing.T) {
	g := newRig(t, smallConfig())
	g.work = &Work{}
	bundles := g.heard(100)
	g.order(0, 1, bundles)
	if g.replica.Info().Executed != 1 {
		t.Fatal("not executed")
	}
	before := g.work.Claims(0)
	for seq := bft.Seq(2); seq <= 16; seq++ {
		list := digestsOf(bundles)
		list[0], list[seq] = list[seq], list[0] // another body each time
		frame, _ := g.prePrepare(0, 0, seq, list)
		g.mustHand(0, frame)
	}
	if g.work.Claims(0)-before < 1000 {
		t.Fatalf("only %d verifications: the attack did not work", g.work.Claims(0)-before)
	}
	if err := g.work.Judge(); err != nil {
		t.Error(err)
	}
	if claims, bytes := g.work.Claims(0), g.work.Bytes(0); claims*64 <= bytes {
		t.Errorf("%d verifications for %d bytes: k need not be more than 1", claims, bytes)
	}
}
