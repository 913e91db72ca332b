package bft_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Signatures cost nothing here (crypto.FastRing), nor does the host: what is measured is the core alone.

// bench is one replica in a cluster of four whose host does at once what it asks for, and whose
// peers and clients are played by the benchmark.
type bench struct {
	*cluster
	h       *host
	clients []benchClient
	seq     bft.Seq // of the next number
}

type benchClient struct {
	crypto.Signer
	next uint64
}

// newBench starts replica self and opens a session for each of so many clients: client i has session i+1.
func newBench(b *testing.B, self bft.ReplicaID, clients int) *bench {
	c := newCluster(b, 4, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 256, 512 })
	x := &bench{cluster: c, h: c.alone(self), seq: 1}
	x.h.replica.Tick(c.now, c.now)
	c.answerStart(x.h, x.others())
	for i := range clients {
		x.clients = append(x.clients, benchClient{c.ring.NewKey([32]byte{90, byte(i), byte(i >> 8)}), 1})
	}
	n := x.nextNumber(b, c.seal(x.clients[0], &bft.Bundle{Client: x.clients[0].Public(), Nonce: bft.Nonce{1}, NotAfter: bft.Second, First: 1}))
	x.run(&n)
	if got := x.h.info().Executed; got != 1 {
		b.Fatalf("executed %d", got)
	}
	return x
}

func (x *bench) others() (ids []int) {
	for i := range 4 {
		if bft.ReplicaID(i) != x.h.id {
			ids = append(ids, i)
		}
	}
	return ids
}

func (x *bench) verified(b *testing.B, from bft.ReplicaID, frame []byte) bft.Verified {
	u, err := x.h.checker.FromPeer(from, frame)
	must(b, err)
	v, err := x.h.checker.Verify(u, x.ring)
	must(b, err)
	return v
}

// heard is a bundle as it comes on its client's channel.
func (x *bench) heard(b *testing.B, bundle *bft.Bundle) bft.Verified {
	u, err := x.h.checker.FromClient(bundle.Client, bft.RequestFrame(bundle, 0))
	must(b, err)
	v, err := u.Accept(nil)
	must(b, err)
	return v
}

// ops makes the next bundle of a client.
func (x *bench) ops(client, count, sizeBytes int) *bft.Bundle {
	c := &x.clients[client]
	b := &bft.Bundle{Client: c.Public(), Session: bft.SessionID(client + 1), First: c.next, AnsweredBelow: c.next}
	for range count {
		b.Ops = append(b.Ops, make([]byte, sizeBytes))
	}
	c.next += uint64(count)
	return x.seal(c, b)
}

// turn is one turn of a host: messages, then time, then whatever the replica asks for.
func (x *bench) turn(ms ...bft.Verified) {
	r := x.h.replica
	for _, m := range ms {
		_ = r.Step(m) // votes that complete nothing are not relevant
	}
	r.Tick(x.now, x.now)
	for {
		ready, ok := r.Ready()
		if !ok {
			return
		}
		r.Advance(x.carryOut(&ready))
	}
}

func (x *bench) carryOut(ready *bft.Ready) (d bft.Done) {
	if k := len(ready.Records); k > 0 {
		d.Persisted = ready.Records[k-1].LSN
	}
	for _, s := range ready.Sign {
		d.Signed = append(d.Signed, bft.Signed{ID: s.ID})
	}
	for _, c := range ready.Check {
		d.Checked = append(d.Checked, bft.Checked{Digest: c.Digest, Valid: true})
	}
	for _, e := range ready.Execute {
		d.Executed = append(d.Executed, bft.Executed{Seq: e.Seq, Time: 1, Marks: x.marks(e)})
		if e.Checkpoint {
			d.Snapshots = append(d.Snapshots, bft.Snapshot{Seq: e.Seq})
		}
	}
	return d
}

// marks is what the execution of a batch tells of the sessions used; the first batch opens those of all clients.
func (x *bench) marks(e *bft.Batch) (marks []bft.SessionMark) {
	if e.Seq == 1 {
		for i, c := range x.clients {
			marks = append(marks, bft.SessionMark{Session: bft.SessionID(i + 1), Client: c.Public(), Low: 1})
		}
		return marks
	}
	marks = make([]bft.SessionMark, len(e.Bundles))
	for i, b := range e.Bundles {
		marks[i] = bft.SessionMark{Session: b.Session, Client: b.Client, Low: b.First + uint64(len(b.Ops))}
	}
	return marks
}

// number is all that a replica hears about one number.
type number struct {
	requests []bft.Verified
	messages []bft.Verified
}

// nextNumber makes what the others say while the bundles are ordered under the next number.
func (x *bench) nextNumber(b *testing.B, bundles ...*bft.Bundle) (n number) {
	for _, bundle := range bundles {
		n.requests = append(n.requests, x.heard(b, bundle))
	}
	p := proposal(x.now, bundles...)
	if x.h.id != 0 {
		n.messages = append(n.messages, x.verified(b, 0, x.prePrepare(0, 0, x.seq, bundles...)))
	}
	for _, from := range x.others() {
		if from != 0 {
			n.messages = append(n.messages, x.verified(b, bft.ReplicaID(from), x.framed(x.votes(from, 0, prepare(x.seq, p)))))
		}
	}
	for _, from := range x.others() {
		n.messages = append(n.messages, x.verified(b, bft.ReplicaID(from), x.framed(x.votes(from, 0, commit(x.seq, p)))))
	}
	if x.seq%x.cfg.Interval == 0 {
		for _, from := range x.others()[:2] {
			n.messages = append(n.messages, x.verified(b, bft.ReplicaID(from), x.framed(x.checkpointOf(from, bft.CheckpointInfo{Seq: x.seq}))))
		}
	}
	x.seq++
	return n
}

// run lets the replica hear what it hears about a number: the bundles in one turn, all else in turns of its own.
func (x *bench) run(n *number) {
	x.turn(n.requests...)
	for i := range n.messages {
		x.turn(n.messages[i : i+1]...)
	}
}

// stopwatch reports, beside the time that a benchmark takes, the processor time: on a machine that has other things to
// do it is the one that says something.
type stopwatch struct {
	b          *testing.B
	used, from time.Duration
}

func (w *stopwatch) start() {
	w.b.StartTimer()
	w.from = cpuTime()
}

func (w *stopwatch) stop() {
	w.used += cpuTime() - w.from
	w.b.StopTimer()
}

// report gives the processor time per something of which the benchmark did so many.
func (w *stopwatch) report(count int, per string) {
	w.b.ReportMetric(float64(w.used.Nanoseconds())/float64(count), "cpu-ns/"+per)
}

// BenchmarkNormalCase is the whole normal case of one number at a primary and at a backup, from the bundles to their
// execution, checkpoints included: 32 clients with full bundles, 200 clients with one operation each, one client
// with one operation.
func BenchmarkNormalCase(b *testing.B) {
	for _, load := range []struct{ clients, ops int }{{32, 128}, {200, 1}, {1, 1}} {
		for self, role := range []string{"primary", "backup"} {
			b.Run(fmt.Sprintf("%dx%d/%s", load.clients, load.ops, role), func(b *testing.B) {
				x := newBench(b, bft.ReplicaID(self), load.clients)
				before := x.h.info().Executed
				w := stopwatch{b: b}
				b.ReportAllocs()
				b.StopTimer()
				b.ResetTimer()
				for done := 0; done < b.N; {
					chunk := make([]number, min(32, b.N-done))
					for i := range chunk {
						bundles := make([]*bft.Bundle, load.clients)
						for c := range bundles {
							bundles[c] = x.ops(c, load.ops, 16)
						}
						chunk[i] = x.nextNumber(b, bundles...)
					}
					w.start()
					for i := range chunk {
						x.run(&chunk[i])
					}
					w.stop()
					done += len(chunk)
				}
				if got := x.h.info().Executed - before; got != bft.Seq(b.N) {
					b.Fatalf("executed %d of %d: %s", got, b.N, x.h.replica.DebugPool())
				}
				w.report(b.N*load.clients, "bundle")
			})
		}
	}
}

// BenchmarkStepVotes is one votes message of a peer, as full as it may be, of which no vote was heard before.
func BenchmarkStepVotes(b *testing.B) {
	x := newBench(b, 1, 1)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		b.StopTimer()
		var ms []bft.Verified
		for view := bft.View(1 + done); len(ms) < min(256, b.N-done); view++ {
			var vs []vote
			for s := bft.Seq(2); s < 18; s++ {
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
