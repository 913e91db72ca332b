package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// Every number that a replica executes in the normal case went through the steps in their order, told once each, with
// the bundles that it executes; the primary alone proposes.
func TestProgress(t *testing.T) {
	c := newCluster(t, 4, nil)
	type at struct {
		host bft.ReplicaID
		seq  bft.Seq
	}
	told := map[at][]bft.Progress{}
	for _, h := range c.hosts {
		h.watch = func(r *bft.Ready) {
			for _, p := range r.Progress {
				told[at{h.id, p.Seq}] = append(told[at{h.id, p.Seq}], p)
			}
			for _, b := range r.Execute {
				steps := told[at{h.id, b.Seq}]
				if steps[len(steps)-1].Step != bft.StepCommitted {
					t.Errorf("%d executes %d after %+v", h.id, b.Seq, steps)
				}
			}
		}
	}
	c.commit(5)
	for _, h := range c.hosts {
		if len(h.batches) == 0 {
			t.Fatalf("%d executed nothing", h.id)
		}
		for _, b := range h.batches {
			want := []bft.Step{bft.StepAccepted, bft.StepPrepared, bft.StepCommitted}
			if h.id == 0 {
				want = append([]bft.Step{bft.StepProposed}, want...)
			}
			steps := told[at{h.id, b.Seq}]
			for i := range want {
				if len(steps) != len(want) || steps[i].Step != want[i] || steps[i].View != b.View ||
					len(steps[i].Body) != len(b.Bundles) || steps[i].Body[0] != b.Bundles[0].Digest {
					t.Fatalf("%d, number %d: %+v, want the steps %v", h.id, b.Seq, steps, want)
				}
			}
		}
	}
}

// A client names the calls that are to be traced wherever they leave, and those alone.
func TestTracedCalls(t *testing.T) {
	c, err := bft.NewClient(bft.ClientConfig{Key: bft.ClientID{1}, Cluster: bft.Digest{2}, N: 4, Seed: [32]byte{3}})
	if err != nil {
		t.Fatal(err)
	}
	c.Tick(1, 1)
	for id := range bft.CallID(4) {
		opts := bft.CallOptions{Traced: id%2 == 1}
		if err := c.Invoke(id, []byte("add 1"), opts); err != nil {
			t.Fatal(err)
		}
		if err := c.Query(10+id, []byte("get"), bft.Stale, opts); err != nil {
			t.Fatal(err)
		}
	}
	var traced [][]bft.CallID
	for {
		r, ok := c.Ready()
		if !ok {
			break
		}
		for _, s := range r.Sign {
			c.Signed(s.ID, [64]byte{})
		}
		for _, m := range r.Messages {
			traced = append(traced, m.Traced)
		}
	}
	c.ReplicaDown(2)
	c.ReplicaUp(2) // sent again
	if r, ok := c.Ready(); ok {
		for _, m := range r.Messages {
			traced = append(traced, m.Traced)
		}
	}
	if len(traced) != 4 {
		t.Fatalf("%v: want two frames, twice", traced)
	}
	for _, ids := range traced {
		if len(ids) != 2 || ids[0]%10 != 1 || ids[1] != ids[0]+2 {
			t.Errorf("%v", traced)
		}
	}
}
