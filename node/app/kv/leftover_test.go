package kv_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// counting counts what is deleted from a store.
type counting struct {
	*memstore.Store
	deleted int
}

func (s *counting) Delete(key []byte) {
	s.deleted++
	s.Store.Delete(key)
}

// in is the context of an operation of client 1 in some batch.
func in(seq bft.Seq, now time.Duration) app.Context {
	ctx := exec.NewContext(seq, bft.Time(now), bft.Digest{}, 0)
	ctx.Client[0] = 1
	return ctx
}

// Removing what ends at once is spread over batches, and nobody sees it: whatever is asked is answered as by a service
// that has nothing left to remove.
func TestWhatEndsAtOnceIsRemovedInParts(t *testing.T) {
	const leases, each = 5, 1000
	store := &counting{Store: memstore.New()}
	m, err := kv.New(store)
	if err != nil {
		t.Fatal(err)
	}
	for l := range uint64(leases) {
		granted(t, m, 1)
		for i := range each {
			if _, err := kv.DecodeDone(m.Apply(in(1, 0), kv.PutOn(1+l, fmt.Appendf(nil, "k/%d/%04d", l, i), nil))); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Apply(in(1, 0), kv.Put([]byte("k/9"), []byte("stays")))
	store.deleted = 0
	m.Apply(in(2, time.Minute), kv.Advance())
	if store.deleted == 0 || store.deleted > 1000 || store.Len() < (leases-1)*each {
		t.Fatalf("%d of %d keys were removed in one batch", store.deleted, leases*each)
	}
	clean := start(t)
	if err := clean.Restore(bytes.NewReader(saved(t, m))); err != nil {
		t.Fatal(err)
	}
	old, k := []byte("k/4/0999"), []byte("k/")
	for _, op := range [][]byte{kv.Get(old), kv.Read(old), kv.Scan(k, nil, 0, 0), kv.List(k, nil, 0, 0), kv.Leases(0, 0), kv.Revision(), kv.Changes(nil, leases*each+2, 1<<40, 0, 0)} {
		got, err := m.Query(context.Background(), op)
		want, err2 := clean.Query(context.Background(), op)
		if err != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("query %q: %d bytes, %v, want %d, %v", op, len(got), err, len(want), err2)
		}
	}
	for _, op := range [][]byte{kv.Delete(old), kv.CompareAndSet(old, nil, []byte("x")), kv.Get(old), kv.Scan(k, nil, 0, 0),
		kv.Transact(&kv.Txn{If: []kv.Compare{kv.IfAbsent(old)}, Then: []kv.Op{{Kind: kv.OpGet, Key: old}, kv.DeletePrefix(k)}}),
		kv.Transact(&kv.Txn{Then: []kv.Op{{Kind: kv.OpPut, Key: old}, {Kind: kv.OpGet, Key: old}, {Kind: kv.OpPut, Key: k, Lease: 77}}}),
		kv.Create(old, []byte("new")), kv.KeepAlive(1), kv.Grant(time.Hour), kv.Revision()} {
		before := store.deleted
		if got, want := m.Apply(in(2, time.Minute), op), clean.Apply(in(2, time.Minute), op); !bytes.Equal(got, want) {
			t.Errorf("%q: %q, want %q", op, got, want)
		}
		if n := store.deleted - before; n > 1010 {
			t.Errorf("%q removed %d", op, n)
		}
	}
	if !bytes.Equal(saved(t, m), saved(t, clean)) {
		t.Error("the states differ")
	}
	for seq := bft.Seq(3); seq < 3+leases; seq++ {
		m.Apply(in(seq, time.Minute), kv.Advance())
	}
	if store.Len() != 1 || kv.OnLeases(m) != 0 {
		t.Errorf("%d keys are left in the store, %d on leases", store.Len(), kv.OnLeases(m))
	}
}

// What is left behind is bounded together with what is there, though it does not count for who has it.
func TestLeftoversAreBounded(t *testing.T) {
	store := memstore.New()
	m, err := kv.New(store)
	if err != nil {
		t.Fatal(err)
	}
	kv.Sweeps(m, 0)
	for round := range 3 {
		now := time.Duration(round) * time.Minute
		for range kv.MaxLeasedKeys / kv.MaxLeaseKeys {
			l, err := kv.DecodeLease(m.Apply(in(1, now), kv.Grant(10*time.Second)))
			if err != nil {
				t.Fatal(err)
			}
			for i := range kv.MaxLeaseKeys {
				if _, err := kv.DecodeDone(m.Apply(in(1, now), kv.PutOn(l.ID, fmt.Appendf(nil, "%d/%d/%d", round, l.ID, i), nil))); err != nil {
					t.Fatalf("round %d, lease %d: %v", round, l.ID, err)
				}
			}
			if store.Len() > kv.MaxLeasedKeys || kv.OnLeases(m) > kv.MaxLeasedKeys {
				t.Fatalf("round %d: %d keys in the store, %d kept in memory", round, store.Len(), kv.OnLeases(m))
			}
		}
	}
}
