package kv_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// counting counts what is deleted from a store, and what is gone over in it.
type counting struct {
	*memstore.Store
	deleted, scans, passed int
}

func (s *counting) Scan(start, end []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		s.scans++
		for k, v := range s.Store.Scan(start, end) {
			if s.passed++; !yield(k, v) {
				return
			}
		}
	}
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
		if n := store.deleted - before; n > 10 {
			t.Errorf("%q removed %d: what is left is for the next batch", op, n)
		}
	}
	if !bytes.Equal(saved(t, m), saved(t, clean)) {
		t.Error("the states differ")
	}
	for seq := bft.Seq(3); seq < 3+leases; seq++ {
		before := kv.OnLeases(m)
		m.Apply(in(seq, time.Minute), kv.Advance())
		m.Apply(in(seq, time.Minute), kv.Advance())
		if n := before - kv.OnLeases(m); n > 1000 {
			t.Errorf("%d keys were removed in one batch", n)
		}
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

// What ended leases left behind costs no operation and no query a step, however many ask for the range in which it was, and
// however often.
func TestNobodyPassesOverLeftovers(t *testing.T) {
	store := &counting{Store: memstore.New()}
	m, err := kv.New(store)
	if err != nil {
		t.Fatal(err)
	}
	kv.Sweeps(m, 0)
	for l := range uint64(kv.MaxLeasedKeys / kv.MaxLeaseKeys) {
		granted(t, m, 1)
		for i := range kv.MaxLeaseKeys {
			m.Apply(in(1, 0), kv.PutOn(1+l, fmt.Appendf(nil, "k/%d/%04d", l, i), nil))
		}
	}
	m.Apply(in(2, time.Minute), kv.Advance())
	if store.Len() != kv.MaxLeasedKeys {
		t.Fatalf("%d keys are left", store.Len())
	}
	m.Apply(in(2, time.Minute), kv.Put([]byte("k/0/0500"), nil))
	txn := &kv.Txn{}
	for range kv.MaxTxnOps {
		txn.Then = append(txn.Then, kv.DeletePrefix([]byte("k/")))
	}
	for _, q := range [][]byte{kv.Scan(nil, nil, 0, 0), kv.List([]byte("k/0/"), nil, 0, 0), kv.Transact(txn)} {
		store.passed = 0
		m.Apply(in(2, time.Minute), q)
		if store.passed != 1 {
			t.Errorf("%.20q goes over %d records for the one that is there", q, store.passed)
		}
	}
	if store.Len() != kv.MaxLeasedKeys {
		t.Errorf("%d keys are left", store.Len())
	}
}

// However many ranges a transaction deletes, and however they lie, it goes through no part of the store twice; and each range
// deletes what is there at its turn.
func TestRangesOfATransactionGoOverNothingTwice(t *testing.T) {
	store := &counting{Store: memstore.New()}
	m, err := kv.New(store)
	if err != nil {
		t.Fatal(err)
	}
	for c := 'a'; c <= 'z'; c++ {
		m.Apply(in(1, 0), kv.Put([]byte(string(c)), nil))
	}
	lease := granted(t, m, 1)
	cut := func(from, end string) kv.Op {
		return kv.Op{Kind: kv.OpDeleteRange, Key: []byte(from), Value: []byte(end)}
	}
	put := func(key string, lease uint64) kv.Op {
		return kv.Op{Kind: kv.OpPut, Key: []byte(key), Lease: lease}
	}
	var got []int
	txn := &kv.Txn{Then: []kv.Op{
		put("b", lease), cut("b", "d"), cut("b", "d"), cut("f", "h"), cut("g", "b"), // b c; none; f g; none: it ends before it begins
		put("c", lease), put("fx", 0), put("c", 0), cut("a", "i"), cut("a", "i"), // a c d e fx h; none
		put("d", 0), put("n", 0), put("zz", 0), cut("c", "n"), // d i j k l m
		{Kind: kv.OpDelete, Key: []byte("n")}, put("z", lease), cut("", ""), cut("y", ""), put("y", 0), cut("x", ""), // o to z, and zz; none; y
	}}
	store.scans, store.passed = 0, 0
	out, err := kv.DecodeTxn(m.Apply(in(1, 0), kv.Transact(txn)))
	for i, r := range out.Results {
		if txn.Then[i].Kind == kv.OpDeleteRange {
			got = append(got, r.Deleted)
		}
	}
	want := []int{2, 0, 2, 0, 6, 0, 6, 13, 0, 1}
	if err != nil || !slices.Equal(got, want) || store.Len() != 0 {
		t.Errorf("deleted %v, %v, want %v; %d are left", got, err, want, store.Len())
	}
	// b to d, f to h, a to b, d to f, h to i, i to n, below a, and from n on.
	if store.scans != 8 {
		t.Errorf("%d parts were gone through", store.scans)
	}
	var changes []string
	log, _, err := kv.DecodeChanges(m.Apply(in(1, 0), kv.Changes(nil, out.Revision, out.Revision, 0, 0)))
	for _, c := range log {
		if c.Kind == kv.Deleted {
			changes = append(changes, string(c.Key))
		}
	}
	if all := strings.Join(changes, " "); err != nil || all != "b c f g a c d e fx h d i j k l m n o p q r s t u v w x y z zz y" {
		t.Errorf("deleted, in this order: %s, %v", all, err)
	}
}

// However many leases end at once, the history has what it keeps, and the changes of no more than one of them besides.
func TestHistoryIsBoundedWhileLeasesEnd(t *testing.T) {
	m := start(t)
	for l := range uint64(2 * kv.MaxChanges / kv.MaxLeaseKeys) {
		granted(t, m, 1)
		for i := range kv.MaxLeaseKeys {
			m.Apply(in(1, 0), kv.PutOn(1+l, fmt.Appendf(nil, "%d/%d", l, i), nil))
		}
	}
	if n := kv.EndLeases(m, bft.Time(time.Minute)); n != kv.MaxChanges {
		t.Errorf("%d changes, want %d", n, kv.MaxChanges)
	}
}
