package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// BenchmarkDecode reads each kind of frame as a replica does: form and digests, but no signature.
func BenchmarkDecode(b *testing.B) {
	x := newBench(b, 1, 32)
	var bundles []*bft.Bundle
	for c := range x.clients {
		bundles = append(bundles, x.ops(c, 128, 16))
	}
	p := proposal(x.now, bundles...)
	var vs []vote
	for s := bft.Seq(1); s <= 16; s++ {
		vs = append(vs, prepare(s, p))
	}
	run := func(name string, frame []byte, decode func([]byte) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	peer := func(from bft.ReplicaID) func([]byte) error {
		return func(frame []byte) error {
			_, err := x.h.checker.FromPeer(from, frame)
			return err
		}
	}
	client := func(bundle *bft.Bundle) func([]byte) error {
		return func(frame []byte) error {
			_, err := x.h.checker.FromClient(bundle.Client, frame)
			return err
		}
	}
	one := x.ops(0, 1, 16)
	run("request of 1", bft.RequestFrame(one, 0), client(one))
	run("request of 128", bft.RequestFrame(bundles[0], 0), client(bundles[0]))
	run("pre-prepare of 1", x.prePrepareOf(0, 0, 1, proposal(x.now, one), one), peer(0))
	run("pre-prepare of 32", x.prePrepareOf(0, 0, 1, p, bundles...), peer(0))
	run("votes of 1", x.framed(x.votes(2, 0, vs[0])), peer(2))
	run("votes of 16", x.framed(x.votes(2, 0, vs...)), peer(2))
	run("status", x.frame(bft.TypeStatus, &bftpb.Status{View: 3, Stable: 256, Executed: 400, Held: 255, Sent: 5}), peer(2))
	run("committed of 32", x.committedData(0, 1, p, bundles, 0, 2, 3), peer(2))
	reply := func(frame []byte) error { _, err := bft.DecodeReply(frame); return err }
	run("reply of 1", bft.ReplyFrame(0, 0, one, 1, results(1), 0), reply)
	run("reply of 128", bft.ReplyFrame(0, 0, bundles[0], 1, results(128), 0), reply)
	run("reply of 128, digest", bft.ReplyFrame(1, 0, bundles[0], 1, results(128), 0), reply)
}

func results(count int) (rs [][]byte) {
	for range count {
		rs = append(rs, make([]byte, 9))
	}
	return rs
}

// BenchmarkEncode makes the frames that clients and replicas make for each bundle. What they make for each number is
// in BenchmarkNormalCase.
func BenchmarkEncode(b *testing.B) {
	x := newBench(b, 1, 1)
	one, full := x.ops(0, 1, 16), x.ops(0, 128, 16)
	var out []byte
	run := func(name string, encode func() []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out = encode()
			}
			b.SetBytes(int64(len(out)))
		})
	}
	run("bundle of 1", func() []byte { return bft.EncodeBundle(one) })
	run("bundle of 128", func() []byte { return bft.EncodeBundle(full) })
	run("request of 1", func() []byte { return bft.RequestFrame(one, 0) })
	run("request of 128", func() []byte { return bft.RequestFrame(full, 0) })
	for _, c := range []struct {
		name   string
		self   bft.ReplicaID
		bundle *bft.Bundle
	}{{"reply of 1", 0, one}, {"reply of 128", 0, full}, {"reply of 128, digest", 1, full}} {
		rs := results(len(c.bundle.Ops))
		run(c.name, func() []byte { return bft.ReplyFrame(c.self, 0, c.bundle, 1, rs, 0) })
	}
}
