package account_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/account"
)

// BenchmarkBook feeds a Book with all that honest replicas are sent in a run.
func BenchmarkBook(b *testing.B) {
	o := sim.Draw(3)
	o.Signatures = "fast"
	m := manifestOf(&o)
	var frames [][]byte
	o.Observe = func(e *sim.Event) {
		if e.Kind == sim.KindDeliver && e.To < o.Protocol.N && len(e.Frame) > 0 {
			frames = append(frames, e.Frame)
		}
	}
	if _, err := sim.Run(o); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		book := account.New(m)
		for _, f := range frames {
			_ = book.AddFrame(f) // the adversary's frames need not be right
		}
		if len(book.Culprits()) > len(m.Members) {
			b.Fatal("more culprits than members")
		}
	}
	b.ReportMetric(float64(len(frames)), "frames/op")
}
