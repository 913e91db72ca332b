package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// at is the context of an operation of a client at an agreed time.
func at(client byte, now time.Duration) app.Context {
	ctx := exec.NewContext(1, bft.Time(now), bft.Digest{}, 0)
	ctx.Client[0] = client
	return ctx
}

func saved(t *testing.T, m app.StateMachine) []byte {
	t.Helper()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil || s.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// granted grants a lease of ten seconds at time 0.
func granted(t *testing.T, m app.StateMachine, client byte) uint64 {
	t.Helper()
	l, err := kv.DecodeLease(m.Apply(at(client, 0), kv.Grant(10*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	return l.ID
}

// A transaction that cannot do all that it should has done nothing.
func TestAFailedTransactionChangesNothing(t *testing.T) {
	m := start(t)
	mine, other := granted(t, m, 1), granted(t, m, 2)
	big := make([]byte, kv.MaxValue)
	for i := range kv.MaxTxnDeletes + 1 {
		m.Apply(at(1, 0), kv.Put(fmt.Appendf(nil, "many/%04d", i), nil))
	}
	m.Apply(at(1, 0), kv.PutOn(mine, []byte("leased"), []byte("1")))
	m.Apply(at(1, 0), kv.Put([]byte("big"), big))
	for i := 2; i <= 4; i++ {
		m.Apply(at(1, 0), kv.Put(fmt.Appendf(nil, "big%d", i), big))
	}
	m.Apply(at(1, 0), kv.Put([]byte("small"), []byte("1")))
	put := func(key string, lease uint64) kv.Op {
		return kv.Op{Kind: kv.OpPut, Key: []byte(key), Value: []byte("new"), Lease: lease}
	}
	get := func(key string) kv.Op { return kv.Op{Kind: kv.OpGet, Key: []byte(key)} }
	changes := []kv.Op{put("a", 0), put("leased", 0), put("b", mine), put("a", mine), {Kind: kv.OpDelete, Key: []byte("small")}, kv.DeletePrefix([]byte("many/0"))}
	for name, c := range map[string]struct {
		last []kv.Op
		want error
	}{
		"unknown lease":       {[]kv.Op{put("c", other+1)}, kv.ErrNoLease},
		"another's lease":     {[]kv.Op{put("c", other)}, kv.ErrNotOwner},
		"too many deletes":    {[]kv.Op{kv.DeletePrefix([]byte("many/"))}, kv.ErrTooLarge},
		"too much to read":    {[]kv.Op{get("big"), get("a")}, kv.ErrTooLarge},
		"too much at once":    {[]kv.Op{put("big", 0), put("big", 0), put("big2", 0), put("big3", 0), put("big4", 0)}, kv.ErrTooLarge},
		"what it put is read": {[]kv.Op{get("a"), get("b"), get("big")}, kv.ErrTooLarge},
	} {
		before := saved(t, m)
		head := changes
		if c.want == kv.ErrTooLarge && name == "too many deletes" {
			head = changes[:5]
		}
		_, err := kv.DecodeTxn(m.Apply(at(1, 0), kv.Transact(&kv.Txn{Then: append(append([]kv.Op{}, head...), c.last...)})))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if !bytes.Equal(before, saved(t, m)) {
			t.Errorf("%s: the state is another", name)
		}
	}
	out, err := kv.DecodeTxn(m.Apply(at(1, 0), kv.Transact(&kv.Txn{Then: changes})))
	if err != nil || len(out.Results) != len(changes) || out.Results[5].Deleted != kv.MaxTxnDeletes {
		t.Errorf("the changes by themselves: %+v, %v", out, err)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	m := start(t)
	many := make([]kv.Op, kv.MaxTxnOps+1)
	for i := range many {
		many[i] = kv.Op{Kind: kv.OpPut, Key: []byte{byte(i)}}
	}
	for name, txn := range map[string]*kv.Txn{
		"operations":       {Then: many},
		"others":           {Else: many},
		"comparisons":      {If: make([]kv.Compare, kv.MaxTxnOps+1)},
		"key":              {Then: []kv.Op{{Kind: kv.OpGet, Key: make([]byte, kv.MaxKey+1)}}},
		"value":            {Then: []kv.Op{{Kind: kv.OpPut, Value: make([]byte, kv.MaxValue+1)}}},
		"unknown":          {Then: []kv.Op{{Kind: 'Z'}}},
		"unknown relation": {If: []kv.Compare{kv.IfValue(nil, '~', nil)}},
	} {
		if err := txn.Validate(); err == nil {
			t.Errorf("%s: valid", name)
		}
		if _, err := kv.DecodeTxn(m.Apply(app.Context{}, kv.Transact(txn))); !errors.Is(err, kv.ErrBadOp) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&kv.Txn{Then: many[1:], Else: many[1:]}).Validate(); err != nil {
		t.Errorf("as much as there may be: %v", err)
	}
}

// The history is bounded, and says from where on it is whole.
func TestHistoryIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ puts, size, kept int }{
		"changes": {kv.MaxChanges + 500, 0, kv.MaxChanges},
		"bytes":   {40, 1 << 20, 3},
	} {
		m := start(t)
		for i := range c.puts {
			if _, err := kv.DecodeDone(m.Apply(app.Context{}, kv.Put([]byte("k"), bytes.Repeat([]byte{byte(i)}, c.size)))); err != nil {
				t.Fatal(err)
			}
			if i%1000 == 0 {
				saved(t, m) // a snapshot must not see what comes into its place
			}
		}
		head, err := kv.DecodeRevision(m.Apply(app.Context{}, kv.Revision()))
		present, first := head.Revision, head.Oldest
		if err != nil || present != uint64(c.puts) || first != uint64(c.puts-c.kept+1) {
			t.Errorf("%s: revisions %d to %d, %v; want the last %d of %d", name, first, present, err, c.kept, c.puts)
		}
		_, through, err := kv.DecodeChanges(m.Apply(app.Context{}, kv.Changes(nil, first-1, present, 0, 0)))
		if !errors.Is(err, kv.ErrCompacted) || through != first-1 {
			t.Errorf("%s: changes before: through %d, %v", name, through, err)
		}
		changes, through, err := kv.DecodeChanges(m.Apply(app.Context{}, kv.Changes(nil, first, first, 0, 0)))
		if err != nil || through != first || len(changes) != 1 || len(changes[0].Value) != c.size {
			t.Errorf("%s: the first that is kept: %d changes through %d, %v", name, len(changes), through, err)
		}
		if again := start(t); again.Restore(bytes.NewReader(saved(t, m))) != nil || !bytes.Equal(saved(t, again), saved(t, m)) {
			t.Errorf("%s: a snapshot restored is another", name)
		}
	}
}

// A page of changes has whole revisions, however large.
func TestPagesOfChangesAreWhole(t *testing.T) {
	m := start(t)
	var ops []kv.Op
	for i := range 50 {
		ops = append(ops, kv.Op{Kind: kv.OpPut, Key: []byte{byte(i)}, Value: make([]byte, 10<<10)})
	}
	for range 3 {
		m.Apply(app.Context{}, kv.Transact(&kv.Txn{Then: ops}))
	}
	for from := uint64(1); from <= 3; from++ {
		changes, through, err := kv.DecodeChanges(m.Apply(app.Context{}, kv.Changes(nil, from, 3, 10, 0)))
		if err != nil || through != from || len(changes) != len(ops) {
			t.Errorf("from %d: %d changes through %d, %v", from, len(changes), through, err)
		}
	}
}

func TestLeasesAreBounded(t *testing.T) {
	m := start(t)
	for client := range kv.MaxLeases / kv.MaxClientLeases {
		for range kv.MaxClientLeases {
			granted(t, m, byte(client))
		}
		if _, err := kv.DecodeLease(m.Apply(at(byte(client), 0), kv.Grant(time.Second))); !errors.Is(err, kv.ErrQuota) {
			t.Fatalf("client %d: %v", client, err)
		}
	}
	if _, err := kv.DecodeLease(m.Apply(at(200, 0), kv.Grant(time.Second))); !errors.Is(err, kv.ErrQuota) {
		t.Fatalf("another client: %v", err)
	}
	for lease := range uint64(kv.MaxLeasedKeys / kv.MaxLeaseKeys) {
		for i := range kv.MaxLeaseKeys {
			if _, err := kv.DecodeDone(m.Apply(at(0, 0), kv.PutOn(1+lease, fmt.Appendf(nil, "%d/%d", lease, i), nil))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, lease := range []uint64{1, kv.MaxClientLeases} { // one is full, and so are all
		if _, err := kv.DecodeDone(m.Apply(at(0, 0), kv.PutOn(lease, []byte("more"), nil))); !errors.Is(err, kv.ErrQuota) {
			t.Errorf("a key more on lease %d: %v", lease, err)
		}
	}
	if _, err := kv.DecodeDone(m.Apply(at(0, 0), kv.PutOn(1, []byte("0/0"), []byte("new")))); err != nil {
		t.Errorf("a key that is there: %v", err)
	}
	for _, ttl := range []time.Duration{0, kv.MinTTL - time.Millisecond, kv.MaxTTL + time.Millisecond} {
		if _, err := kv.DecodeLease(m.Apply(at(0, 0), kv.Grant(ttl))); !errors.Is(err, kv.ErrBadOp) {
			t.Errorf("a lease of %v: %v", ttl, err)
		}
	}
	// All end at once, and all that was on them is gone.
	if _, err := kv.DecodeLease(m.Apply(at(0, 10*time.Second), kv.Grant(kv.MaxTTL))); err != nil {
		t.Error(err)
	}
	page, err := kv.DecodeScan(m.Apply(app.Context{}, kv.Scan(nil, nil, 0, 0)))
	if err != nil || len(page.Items) > 0 {
		t.Errorf("%d keys are left, %v", len(page.Items), err)
	}
}

// TestOldSnapshotIsRefusedClearly: of the format that had no version.
func TestOldSnapshotIsRefusedClearly(t *testing.T) {
	for _, old := range []string{"\x00", "\x01\x01k\x01v\x00"} {
		if err := start(t).Restore(strings.NewReader(old)); err == nil || !strings.Contains(err.Error(), "the format before transactions and leases") {
			t.Errorf("%q: %v", old, err)
		}
	}
}
