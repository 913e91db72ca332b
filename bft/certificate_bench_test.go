package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// certified are prepared certificates of view 0 for the numbers from 2 on.
func (x *bench) certified(count int) (certs []prepared) {
	for s := bft.Seq(2); len(certs) < count; s++ {
		certs = append(certs, x.certify(0, s, bft.Null, 2, 3))
	}
	return certs
}

// BenchmarkCheckViewChange decodes a view-change with 64 prepared certificates and checks their form; the
// signatures are claims, which the host verifies.
func BenchmarkCheckViewChange(b *testing.B) {
	x := newBench(b, 1, 1)
	frame := x.framed(x.viewChange(3, 1, 0, nil, x.certified(64)...))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		u, err := x.h.checker.FromPeer(3, frame)
		if err != nil {
			b.Fatal(err)
		}
		if len(u.Claims()) != 1+3*64 {
			b.Fatalf("%d claims", len(u.Claims()))
		}
	}
}

// BenchmarkNewView is a whole view change at a backup, without signatures: three view-changes with 64 prepared
// certificates each, and the new-view with as many proposals, from frames to the prepares of the new view.
func BenchmarkNewView(b *testing.B) {
	x := newBench(b, 1, 1)
	certs := x.certified(64)
	w := stopwatch{b: b}
	b.ReportAllocs()
	b.StopTimer()
	b.ResetTimer()
	view := bft.View(1)
	for range b.N {
		if view++; bft.Primary(view, 4) == x.h.id {
			view++
		}
		var vcs, o []*bftpb.Envelope
		for _, from := range x.others() {
			vcs = append(vcs, x.viewChange(from, view, 0, nil, certs...))
		}
		primary := bft.Primary(view, 4)
		for s := bft.Seq(1); s <= 65; s++ {
			o = append(o, x.header(int(primary), view, s, bft.Null))
		}
		var frames [][]byte
		for _, e := range append(vcs, x.newView(view, vcs, o...)) {
			frames = append(frames, x.framed(e))
		}
		w.start()
		for i, frame := range frames {
			from := primary
			if i < len(vcs) {
				from = bft.ReplicaID(vcs[i].Signer)
			}
			x.turn(x.verified(b, from, frame))
		}
		w.stop()
		if i := x.h.info(); i.View != view || i.Changing {
			b.Fatalf("%+v", i)
		}
	}
	w.report(b.N, "op")
}
