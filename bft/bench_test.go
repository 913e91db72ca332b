package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Signatures cost nothing here (crypto.FastRing): what is measured is the core alone.

// bench is a backup in a cluster of four whose host does nothing.
type bench struct {
	*cluster
	h      *host
	client crypto.Signer
	next   uint64
	seq    bft.Seq
}

func newBench(b *testing.B) *bench {
	c := newCluster(b, 4, func(cfg *bft.Config) {
		cfg.Interval, cfg.Window, cfg.PoolFloor, cfg.MaxPoolBytes = 256, 512, 1<<24, 1<<30
	})
	h := c.alone(1)
	h.replica.Tick(c.now, c.now)
	c.answerStart(h, []int{0, 2, 3})
	return &bench{cluster: c, h: h, client: c.ring.NewKey([32]byte{90}), next: 1, seq: 1}
}

func (x *bench) verified(b *testing.B, from bft.ReplicaID, frame []byte) bft.Verified {
	u, err := x.h.checker.FromPeer(from, frame)
	must(b, err)
	v, err := x.h.checker.Verify(u, x.ring)
	must(b, err)
	return v
}

// ops makes a bundle of so many operations, of a session that is as good as any for the core.
func (x *bench) ops(count, sizeBytes int) *bft.Bundle {
	b := &bft.Bundle{Client: x.client.Public(), Session: 1, First: x.next}
	for i := 0; i < count; i++ {
		b.Ops = append(b.Ops, make([]byte, sizeBytes))
	}
	x.next += uint64(count)
	return x.seal(x.client, b)
}

// drain does at once all that the replica asks for.
func (x *bench) drain() {
	for {
		ready, ok := x.h.replica.Ready()
		if !ok {
			return
		}
		var d bft.Done
		if k := len(ready.Records); k > 0 {
			d.Persisted = ready.Records[k-1].LSN
		}
		for _, s := range ready.Sign {
			d.Signed = append(d.Signed, bft.Signed{ID: s.ID})
		}
		for _, e := range ready.Execute {
			d.Executed = append(d.Executed, bft.Executed{Seq: e.Seq, Time: 1})
			if e.Checkpoint {
				d.Snapshots = append(d.Snapshots, bft.Snapshot{Seq: e.Seq})
			}
		}
		x.h.replica.Advance(d)
	}
}

// number is all that a backup hears about one number.
type number struct {
	bundle  *bft.Bundle
	inputs  []bft.Verified
	request bft.Verified
}

func (x *bench) number(b *testing.B, ops int) number {
	n := number{bundle: x.ops(ops, 16)}
	u, err := x.h.checker.FromClient(n.bundle.Client, bft.RequestFrame(n.bundle, 0))
	must(b, err)
	n.request, err = x.h.checker.Verify(u, x.ring)
	must(b, err)
	p := proposal(x.now, n.bundle)
	n.inputs = append(n.inputs, x.verified(b, 0, x.prePrepare(0, 0, x.seq, n.bundle)))
	for _, from := range []int{2, 3} {
		n.inputs = append(n.inputs, x.verified(b, bft.ReplicaID(from), x.framed(x.votes(from, 0, prepare(x.seq, p)))))
	}
	for _, from := range []int{0, 2, 3} {
		n.inputs = append(n.inputs, x.verified(b, bft.ReplicaID(from), x.framed(x.votes(from, 0, commit(x.seq, p)))))
	}
	if x.seq%x.cfg.Interval == 0 {
		for _, from := range []int{0, 2} {
			n.inputs = append(n.inputs, x.verified(b, bft.ReplicaID(from), x.framed(x.checkpointOf(from, bft.CheckpointInfo{Seq: x.seq}))))
		}
	}
	x.seq++
	return n
}

// BenchmarkNumber is the normal case of one number at a backup, from the bundle to its execution, checkpoints
// included: nine messages.
func BenchmarkNumber(b *testing.B) {
	x := newBench(b)
	b.ReportAllocs()
	for done := 0; done < b.N; {
		b.StopTimer()
		chunk := make([]number, min(256, b.N-done))
		for i := range chunk {
			chunk[i] = x.number(b, 16)
		}
		b.StartTimer()
		for _, n := range chunk {
			_ = x.h.replica.Step(n.request)
			for _, m := range n.inputs {
				_ = x.h.replica.Step(m)
				x.drain()
			}
		}
		done += len(chunk)
	}
	if got := x.h.info().Executed; got != bft.Seq(b.N) {
		b.Fatalf("executed %d of %d", got, b.N)
	}
}

// BenchmarkStepVotes is one votes message of a peer that is new, with 64 votes.
func BenchmarkStepVotes(b *testing.B) {
	x := newBench(b)
	b.ReportAllocs()
	for done := 0; done < b.N; {
		b.StopTimer()
		var ms []bft.Verified
		for view := bft.View(1 + done); len(ms) < min(256, b.N-done); view++ {
			var vs []vote
			for s := bft.Seq(1); s <= 64; s++ {
				vs = append(vs, vote{bft.PhasePrepare, s, bft.Digest{byte(s)}})
			}
			ms = append(ms, x.verified(b, 2, x.framed(x.votes(2, view, vs...))))
		}
		b.StartTimer()
		for _, m := range ms {
			if err := x.h.replica.Step(m); err != nil {
				b.Fatal(err)
			}
		}
		done += len(ms)
	}
}

// BenchmarkAcceptPrePrepare is the acceptance of a proposal of 32 bundles of 128 operations that all have
// been heard from their clients: comparison, record and prepare.
func BenchmarkAcceptPrePrepare(b *testing.B) {
	b.ReportAllocs()
	b.StopTimer()
	var x *bench
	for i := 0; i < b.N; i++ {
		if x == nil || x.seq > 400 {
			x = newBench(b)
		}
		var bundles []*bft.Bundle
		for j := 0; j < 32; j++ {
			bundle := x.ops(128, 8)
			u, err := x.h.checker.FromClient(bundle.Client, bft.RequestFrame(bundle, 0))
			must(b, err)
			v, err := x.h.checker.Verify(u, x.ring)
			must(b, err)
			_ = x.h.replica.Step(v)
			bundles = append(bundles, bundle)
		}
		x.drain()
		m := x.verified(b, 0, x.prePrepare(0, 0, x.seq, bundles...))
		x.seq++
		b.StartTimer()
		if err := x.h.replica.Step(m); err != nil {
			b.Fatal(err)
		}
		ready, _ := x.h.replica.Ready()
		b.StopTimer()
		if len(ready.Sign) != 1 {
			b.Fatal("not accepted")
		}
		x.h.replica.Advance(bft.Done{Persisted: ready.Records[len(ready.Records)-1].LSN, Signed: []bft.Signed{{ID: ready.Sign[0].ID}}})
		x.drain()
	}
}

// BenchmarkCheckViewChange decodes a view-change with 64 prepared certificates and checks their form; the
// signatures are claims, which the host verifies.
func BenchmarkCheckViewChange(b *testing.B) {
	x := newBench(b)
	var certs []prepared
	for s := bft.Seq(1); s <= 64; s++ {
		certs = append(certs, x.certify(0, s, bft.Proposal{Body: bft.Digest{byte(s)}, Time: 1}, 1, 2))
	}
	frame := x.framed(x.viewChange(3, 1, 0, nil, certs...))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.h.checker.FromPeer(3, frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	x := newBench(b)
	bundle := x.ops(128, 16)
	var bundles []*bft.Bundle
	for i := 0; i < 32; i++ {
		bundles = append(bundles, x.ops(128, 16))
	}
	p := proposal(x.now, bundles...)
	var vs []vote
	for s := bft.Seq(1); s <= 16; s++ {
		vs = append(vs, prepare(s, p))
	}
	decode := func(from bft.ReplicaID, frame []byte) func(*testing.B) {
		return func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.h.checker.FromPeer(from, frame); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("bundle of 128", decode(2, requestFrame(bundle)))
	b.Run("pre-prepare of 32", decode(0, x.prePrepareOf(0, 0, 1, p, bundles...)))
	b.Run("votes of 16", decode(2, x.framed(x.votes(2, 0, vs...))))
	b.Run("status", decode(2, x.frame(bft.TypeStatus, &bftpb.Status{View: 3, Stable: 256, Executed: 400, Held: 255, Sent: 5})))
	b.Run("committed of 32", decode(2, x.committedData(0, 1, p, bundles, 0, 2, 3)))
	b.Run("encode bundle of 128", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bft.EncodeBundle(bundle)
		}
	})
}
