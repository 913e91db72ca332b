package bft

import (
	"slices"
	"testing"
)

// Strangers who keep coming do not keep a client from its turn, nor does one who asked for much long ago: in a batch
// without room for all, whoever was served longest ago is first, and newcomers join at the end.
func TestBatchTurnsOutlastNewcomers(t *testing.T) {
	r := &Replica{}
	p := &r.pool
	p.init()
	cfg := DefaultConfig()
	cfg.MaxBatchOps = 1
	made := byte(0)
	ask := func(client byte) Digest {
		made++
		x := p.keep(&Bundle{Client: ClientID{client}, Digest: Digest{made}, Ops: [][]byte{nil}}, Time(made))
		x.valid = true
		return x.bundle.Digest
	}
	serve := func() Digest {
		ids, _ := p.batch(&cfg, r)
		if len(ids) != 1 {
			t.Fatalf("a batch of %d", len(ids))
		}
		p.drop(p.all[ids[0]])
		return ids[0]
	}
	for range 20 {
		ask(1)
	}
	first, second := ask(2), ask(2)
	at := map[Digest]int{}
	for k := range 20 {
		ask(100 + byte(k))
		at[serve()] = k + 1
	}
	if at[first] == 0 || at[first] > 3 {
		t.Errorf("the first bundle was served as number %d", at[first])
	}
	if at[second] == 0 || at[second] > 8 {
		t.Errorf("the second one as number %d, behind newcomers", at[second])
	}
}

// A batch holds so many bundles, whatever their operations: where that is the bound, clients take turns too.
func TestBatchTurnsWhereBundlesAreTheBound(t *testing.T) {
	r := &Replica{}
	p := &r.pool
	p.init()
	cfg := DefaultConfig()
	made := 0
	ask := func(client byte) Digest {
		made++
		x := p.keep(&Bundle{Client: ClientID{client}, Digest: Digest{byte(made), byte(made >> 8)}, Ops: [][]byte{nil}}, Time(made))
		x.valid = true
		return x.bundle.Digest
	}
	for range 4000 {
		ask(1)
	}
	other := ask(2)
	for k := 1; ; k++ {
		ids, _ := p.batch(&cfg, r)
		if slices.Contains(ids, other) {
			if k > 2 {
				t.Errorf("another client's only bundle is in batch %d", k)
			}
			return
		}
		for _, id := range ids {
			p.drop(p.all[id])
		}
	}
}
