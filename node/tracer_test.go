package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/trace"
)

// manifestRig is a rig whose cluster id is that of the manifest it returns.
func manifestRig(t *testing.T) (*rig, *config.Manifest) {
	t.Helper()
	var m *config.Manifest
	r := newRig(t, 4, func(c *bft.Config) {
		members := make([]config.Member, 4)
		for i := range members {
			key := crypto.NewKeyFromSeed([32]byte{byte(i + 1), 7})
			members[i] = config.Member{Name: string(rune('a' + i)), Key: config.Key{PublicKey: key.Public()}, Addresses: []string{"127.0.0.1:1"}}
		}
		m = config.NewManifest("trace", []string{"counter", "kv"}, members)
		c.Cluster = m.ID()
	})
	for i := range m.Members { // the cluster id does not cover addresses
		m.Members[i].Addresses = r.addrs[i]
	}
	return r, m
}

// A traced operation has every step at every replica, and one replica that is down is told apart.
func TestTracedOperations(t *testing.T) {
	r, m := manifestRig(t)
	r.startAll()
	r.untilActive(0, 1, 2, 3)
	c, err := client.Dial(t.Context(), m, crypto.NewKeyFromSeed([32]byte{50}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var last *trace.Trace
	ctx := client.WithTrace(t.Context(), func(x *trace.Trace) { last = x })
	put := func(ctx context.Context) {
		t.Helper()
		last = nil
		if _, err := c.Service("kv").Invoke(ctx, kv.Put([]byte("k"), []byte("v"))); err != nil {
			t.Fatal(err)
		}
		if last == nil || last.Times.Total() != last.Total {
			t.Fatalf("%+v", last)
		}
	}
	// A replica that learns of a commitment before it has voted misses steps, and a slow one may miss the trace.
	r.until("a trace with every step at every replica", func() bool {
		put(ctx)
		for i := range last.Replicas {
			x := &last.Replicas[i]
			if x.Times == nil || x.Report.Seq != last.Seq || x.Report.Primary != (bft.Primary(bft.View(x.Report.View), 4) == bft.ReplicaID(i)) {
				return false
			}
			want := []trace.Step{trace.Accepted, trace.Prepared, trace.Committed, trace.Executing, trace.Executed, trace.Replied}
			if x.Report.Primary {
				want = append(want, trace.Verified, trace.Proposed)
			}
			for _, s := range want {
				if _, told := x.Report.At(s); !told {
					return false
				}
			}
		}
		return true
	})
	r.until("nothing traced any more", func() bool { // a bundle that was sent again is soon answered again
		for _, n := range r.nodes {
			if n.tracer.asked.Load() != 0 {
				return false
			}
		}
		return true
	})
	r.stop(3)
	put(ctx)
	if x := &last.Replicas[3]; x.Times != nil || x.Err == nil || x.Answer != trace.AnswerNone {
		t.Errorf("%+v", x)
	}
	for _, k := range []client.Consistency{client.Linearizable, client.Stale} {
		last = nil
		if _, err := c.Service("kv").Query(ctx, kv.Get([]byte("k")), k); err != nil || last == nil || last.Times.Total() != last.Total {
			t.Errorf("%v: %v, %+v", k, err, last)
		}
	}
}

// Clients cannot make a replica keep more calls than its bound.
func TestTracerBounds(t *testing.T) {
	tr := newTracer(&Node{opts: Options{Core: bft.Config{Members: make([]crypto.PublicKey, 4)}}})
	for i := range uint64(3 * callsTraced) {
		tr.mark(crypto.PublicKey{byte(i)}, nil, callTag{id: i, attempt: 1, arrived: 1}, crypto.Hash("bundle", []byte{byte(i), byte(i >> 8)}))
	}
	if a, b, c := len(tr.calls), len(tr.names), tr.order.Len(); a != callsTraced || b != callsTraced || c != callsTraced {
		t.Errorf("%d calls, %d names, %d in order, the bound is %d", a, b, c, callsTraced)
	}
	newest := uint64(3*callsTraced - 1)
	if tr.told(crypto.PublicKey{byte(newest)}, 0) != nil || tr.told(crypto.PublicKey{1}, newest) != nil {
		t.Error("told of a call that is gone, or to a stranger")
	}
	if tr.told(crypto.PublicKey{byte(newest)}, newest) == nil || tr.told(crypto.PublicKey{byte(newest)}, newest) != nil {
		t.Error("a client is told of its call once")
	}
}

// A client that uses a name again means its newer call alone: the older one is not kept, nor is its answer reported on.
func TestTracerNamesAreUsedAgain(t *testing.T) {
	tr := newTracer(&Node{opts: Options{Core: bft.Config{Members: make([]crypto.PublicKey, 4)}}})
	client, older, newer := crypto.PublicKey{1}, bft.Digest{1}, bft.Digest{2}
	tr.mark(client, nil, callTag{id: 7, attempt: 1, arrived: 1}, older)
	tr.mark(client, nil, callTag{id: 7, attempt: 1, arrived: 1}, newer)
	if tr.calls[older] != nil || tr.calls[newer] == nil || len(tr.calls) != 1 || tr.order.Len() != 1 {
		t.Errorf("calls %v, %d in order", tr.calls, tr.order.Len())
	}
	frame := []byte("reply")
	if got := tr.reply(nil, older, frame); !bytes.Equal(got, frame) {
		t.Errorf("the answer of the older call is reported on: %q", got)
	}
	if tr.names[callName{client, 7}] != newer || tr.told(client, 7) == nil {
		t.Error("the newer call is not known by its name")
	}
}

// What is known of a number is of the view in which it was committed, and nothing that comes later changes it.
func TestTracerViews(t *testing.T) {
	tr := newTracer(&Node{opts: Options{Core: bft.Config{Members: make([]crypto.PublicKey, 4)}}})
	body := []bft.Digest{{1}}
	step := func(v bft.View, s bft.Step) {
		tr.progress([]bft.Progress{{Seq: 5, View: v, Step: s, Body: body}})
	}
	step(0, bft.StepAccepted)
	step(0, bft.StepPrepared)
	step(1, bft.StepAccepted)
	x := tr.newest(bft.Digest{1})
	if x == nil || x.view != 1 || x.at[bft.StepPrepared] != 0 {
		t.Fatalf("%+v", x)
	}
	step(1, bft.StepCommitted)
	committed := x.at[bft.StepCommitted]
	step(1, bft.StepPrepared) // votes that came late
	step(2, bft.StepAccepted) // a new view proposes again what is decided
	if x.view != 1 || x.at[bft.StepPrepared] != 0 || x.at[bft.StepCommitted] != committed {
		t.Errorf("%+v", x)
	}
	tr.progress([]bft.Progress{{Seq: 5 + numbersTimed, View: 1, Step: bft.StepAccepted}})
	if tr.newest(bft.Digest{1}) != nil {
		t.Error("an old number stays")
	}
}

// What is looked up for a number is the body that came with its last step: a primary may lie, and have another one committed.
func TestTracerBodyIsTheLast(t *testing.T) {
	tr := newTracer(&Node{opts: Options{Core: bft.Config{Members: make([]crypto.PublicKey, 4)}}})
	for i, s := range []bft.Step{bft.StepAccepted, bft.StepPrepared} {
		tr.progress([]bft.Progress{{Seq: 5, Step: s, Body: []bft.Digest{{byte(1 + i)}}}})
	}
	if tr.newest(bft.Digest{1}) != nil || tr.newest(bft.Digest{2}) == nil {
		t.Error("the first body is looked up")
	}
}

// A question costs a few steps in each number, however many bundles these have, and whatever digests clients have found for
// them.
func TestTracerQuestionsAreCheap(t *testing.T) {
	const bundles = 1024
	tr := newTracer(&Node{opts: Options{Core: bft.Config{Members: make([]crypto.PublicKey, 4)}}})
	name := func(seq, i int) (d bft.Digest) { // all alike at their beginning
		binary.BigEndian.PutUint64(d[24:], uint64(seq*bundles+i))
		return d
	}
	for seq := 1; seq <= numbersTimed; seq++ {
		body := make([]bft.Digest, bundles)
		for i := range body {
			body[i] = name(seq, i)
		}
		tr.progress([]bft.Progress{{Seq: bft.Seq(seq), Step: bft.StepAccepted, Body: body}})
	}
	for seq := 1; seq <= numbersTimed; seq++ {
		for i := range bundles {
			if x := tr.newest(name(seq, i)); i%64 == 0 && (x == nil || x.seq != bft.Seq(seq)) {
				t.Fatalf("bundle %d of number %d is in %+v", i, seq, x)
			}
		}
		run, longest := 0, 0
		for _, place := range tr.times[seq%numbersTimed].body.places {
			if run++; place == 0 {
				run = 0
			}
			longest = max(longest, run)
		}
		if longest == 0 || longest > bundles/8 {
			t.Errorf("number %d: a search takes up to %d steps", seq, longest)
		}
	}
	if x := tr.newest(name(0, 0)); x != nil {
		t.Errorf("a bundle of no number is in %+v", x)
	}
	large := indexBody(tr.seed, make([]bft.Digest, 2*maxIndexed)) // no correct primary proposes as many
	if len(large.places) != 2*(maxIndexed+1) {
		t.Errorf("%d places", len(large.places))
	}
}
