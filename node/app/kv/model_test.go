package kv_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// model is the service in its simplest form: nothing is bounded, and everything is copied.
type model struct {
	now      time.Duration
	revision uint64
	last     uint64
	keys     map[string]modelKey
	leases   map[uint64]modelLease
	log      []string // of all changes, each as told by changeText
	at       []uint64 // their revisions
}

type modelKey struct {
	value           string
	revision, lease uint64
}

type modelLease struct {
	owner    byte
	ttl, end time.Duration
}

func (m *model) clone() *model {
	c := *m
	c.keys, c.leases = maps.Clone(m.keys), maps.Clone(m.leases)
	c.log, c.at = slices.Clone(m.log), slices.Clone(m.at)
	return &c
}

func changeText(revision uint64, kind kv.ChangeKind, key, value string) string {
	return fmt.Sprintf("%d %v %q %q", revision, kind, key, value)
}

func (m *model) note(kind kv.ChangeKind, key, value string) {
	m.log, m.at = append(m.log, changeText(m.revision, kind, key, value)), append(m.at, m.revision)
}

func (m *model) set(key, value string, lease uint64) {
	m.keys[key] = modelKey{value, m.revision, lease}
	m.note(kv.Changed, key, value)
}

func (m *model) drop(key string, kind kv.ChangeKind) {
	delete(m.keys, key)
	m.note(kind, key, "")
}

// end ends a lease.
func (m *model) end(id uint64, kind kv.ChangeKind) {
	delete(m.leases, id)
	var gone []string
	for key, k := range m.keys {
		if k.lease == id {
			gone = append(gone, key)
		}
	}
	if len(gone) > 0 {
		m.revision++
	}
	slices.Sort(gone)
	for _, key := range gone {
		m.drop(key, kind)
	}
}

func (m *model) expire() {
	ids := slices.SortedFunc(maps.Keys(m.leases), func(a, b uint64) int {
		return cmp.Or(cmp.Compare(m.leases[a].end, m.leases[b].end), cmp.Compare(a, b))
	})
	for _, id := range ids {
		if m.leases[id].end <= m.now {
			m.end(id, kv.Expired)
		}
	}
}

// usable tells why a client cannot use a lease.
func (m *model) usable(client byte, id uint64) error {
	l, ok := m.leases[id]
	switch {
	case !ok:
		return kv.ErrNoLease
	case l.owner != client:
		return kv.ErrNotOwner
	}
	return nil
}

func (m *model) holds(c modelCompare) bool {
	k, ok := m.keys[c.key]
	order := cmp.Compare(k.revision, c.revision)
	if c.byValue {
		if order = strings.Compare(k.value, c.value); !ok {
			return c.relation == kv.NotEqual
		}
	}
	return map[kv.Relation]bool{kv.Equal: order == 0, kv.NotEqual: order != 0, kv.Less: order < 0, kv.Greater: order > 0}[c.relation]
}

type modelCompare struct {
	byValue    bool
	key, value string
	revision   uint64
	relation   kv.Relation
}

// transact does a branch on a copy, which it returns with the results as resultText has them.
func (m *model) transact(client byte, branch []kv.Op) (*model, []string, error) {
	c := m.clone()
	c.revision++
	var results []string
	for _, o := range branch {
		key, deleted := string(o.Key), 0
		switch o.Kind {
		case kv.OpPut:
			if err := c.usable(client, o.Lease); o.Lease != 0 && err != nil {
				return m, nil, err
			}
			c.set(key, string(o.Value), o.Lease)
			results = append(results, "put")
			continue
		case kv.OpGet:
			k, ok := c.keys[key]
			results = append(results, fmt.Sprint("get ", ok, k.value, k.revision, k.lease))
			continue
		case kv.OpDelete:
			if _, ok := c.keys[key]; ok {
				c.drop(key, kv.Deleted)
				deleted++
			}
		default:
			for _, k := range slices.Sorted(maps.Keys(c.keys)) {
				if k >= key && (len(o.Value) == 0 || k < string(o.Value)) {
					c.drop(k, kv.Deleted)
					deleted++
				}
			}
		}
		results = append(results, fmt.Sprint("deleted ", deleted))
	}
	if len(c.log) == len(m.log) {
		c.revision = m.revision
	}
	return c, results, nil
}

func resultText(r kv.OpResult) string {
	switch r.Kind {
	case kv.OpPut:
		return "put"
	case kv.OpGet:
		return fmt.Sprint("get ", r.Found, string(r.Entry.Value), r.Entry.Revision, r.Entry.Lease)
	}
	return fmt.Sprint("deleted ", r.Deleted)
}

// pair is a service and its model.
type pair struct {
	machine app.StateMachine
	model   *model
	seq     uint64
}

func newPair(t *rapid.T) *pair {
	p := &pair{machine: start(t), model: &model{keys: map[string]modelKey{}, leases: map[uint64]modelLease{}}}
	kv.Sweeps(p.machine, rapid.IntRange(0, 2).Draw(t, "sweeps"))
	return p
}

// apply has the service do an operation of a client, some time later. The model's leases end as the service's do.
func (p *pair) apply(t *rapid.T, client byte, op []byte) []byte {
	p.seq++
	p.model.now += time.Duration(rapid.IntRange(0, 300).Draw(t, "later")) * time.Millisecond
	p.model.expire()
	ctx := exec.NewContext(bft.Seq(p.seq), bft.Time(p.model.now), bft.Digest{}, 0)
	ctx.Client[0] = client
	return p.machine.Apply(ctx, op)
}

func (p *pair) ask(t *rapid.T, q []byte) []byte {
	answer, err := p.machine.Query(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

var (
	someKey   = rapid.StringOfN(rapid.RuneFrom([]rune{'a', 'b', 0xff}), 0, 2, -1)
	someValue = rapid.StringOfN(rapid.RuneFrom([]rune("xy")), 0, 2, -1)
	relations = rapid.SampledFrom([]kv.Relation{kv.Equal, kv.NotEqual, kv.Less, kv.Greater})
)

// someLease is mostly one that there was.
func (p *pair) someLease(t *rapid.T) uint64 {
	return rapid.Uint64Range(1, max(p.model.last, 1)+1).Draw(t, "lease")
}

func (p *pair) someOps(t *rapid.T) (ops []kv.Op) {
	for range rapid.IntRange(0, 4).Draw(t, "operations") {
		o := kv.Op{Kind: rapid.SampledFrom([]kv.OpKind{kv.OpPut, kv.OpPut, kv.OpGet, kv.OpDelete, kv.OpDeleteRange}).Draw(t, "kind"),
			Key: []byte(someKey.Draw(t, "key"))}
		switch o.Kind {
		case kv.OpPut:
			o.Value = []byte(someValue.Draw(t, "value"))
			if rapid.IntRange(0, 3).Draw(t, "leased") == 0 {
				o.Lease = p.someLease(t)
			}
		case kv.OpDeleteRange:
			if o = kv.DeletePrefix(o.Key); rapid.Bool().Draw(t, "ends") {
				o.Value = []byte(someKey.Draw(t, "end"))
			}
		}
		ops = append(ops, o)
	}
	return ops
}

func (p *pair) transaction(t *rapid.T) {
	client := rapid.ByteRange(0, 1).Draw(t, "client")
	txn := &kv.Txn{Then: p.someOps(t), Else: p.someOps(t)}
	var compares []modelCompare
	for range rapid.IntRange(0, 2).Draw(t, "comparisons") {
		c := modelCompare{rapid.Bool().Draw(t, "value"), someKey.Draw(t, "key"), someValue.Draw(t, "than"),
			rapid.Uint64Range(0, p.model.revision+1).Draw(t, "revision"), relations.Draw(t, "relation")}
		compares = append(compares, c)
		if c.byValue {
			txn.If = append(txn.If, kv.IfValue([]byte(c.key), c.relation, []byte(c.value)))
		} else {
			txn.If = append(txn.If, kv.IfRevision([]byte(c.key), c.relation, c.revision))
		}
	}
	out, err := kv.DecodeTxn(p.apply(t, client, kv.Transact(txn)))
	held := !slices.ContainsFunc(compares, func(c modelCompare) bool { return !p.model.holds(c) })
	branch := txn.Then
	if !held {
		branch = txn.Else
	}
	next, results, failed := p.model.transact(client, branch)
	p.model = next
	if !errors.Is(err, failed) {
		t.Fatalf("%+v: %v, want %v", txn, err, failed)
	}
	if failed != nil {
		return
	}
	var got []string
	for _, r := range out.Results {
		got = append(got, resultText(r))
	}
	if out.Held != held || out.Revision != next.revision || !slices.Equal(got, results) {
		t.Fatalf("%+v: %+v, want %v, revision %d, %q", txn, out, held, next.revision, results)
	}
}

func (p *pair) lease(t *rapid.T) {
	client := rapid.ByteRange(0, 1).Draw(t, "client")
	if ttl := time.Duration(rapid.IntRange(0, 20).Draw(t, "ttl")) * kv.MinTTL; ttl > 0 {
		l, err := kv.DecodeLease(p.apply(t, client, kv.Grant(ttl)))
		p.model.last++
		p.model.leases[p.model.last] = modelLease{client, ttl, p.model.now + ttl}
		if err != nil || l.ID != p.model.last || l.TTL != ttl || l.Owner[0] != client {
			t.Fatalf("granted %+v, %v", l, err)
		}
		return
	}
	id, revoke := p.someLease(t), rapid.Bool().Draw(t, "revoke")
	op := kv.KeepAlive(id)
	if revoke {
		op = kv.Revoke(id)
	}
	result := p.apply(t, client, op)
	_, err := kv.DecodeLease(result)
	if revoke {
		_, err = kv.DecodeDone(result)
	}
	want := p.model.usable(client, id)
	if !errors.Is(err, want) {
		t.Fatalf("revoke %v: %v, want %v", revoke, err, want)
	}
	switch l := p.model.leases[id]; {
	case want != nil:
	case revoke:
		p.model.end(id, kv.Deleted)
	default:
		l.end = p.model.now + l.ttl
		p.model.leases[id] = l
	}
}

func (p *pair) put(t *rapid.T) {
	key, value, lease := someKey.Draw(t, "key"), someValue.Draw(t, "value"), uint64(0)
	op := kv.Put([]byte(key), []byte(value))
	if rapid.Bool().Draw(t, "leased") {
		lease = p.someLease(t)
		op = kv.PutOn(lease, []byte(key), []byte(value))
	}
	_, err := kv.DecodeDone(p.apply(t, 0, op))
	want := error(nil)
	if lease != 0 {
		want = p.model.usable(0, lease)
	}
	if !errors.Is(err, want) {
		t.Fatalf("put on %d: %v, want %v", lease, err, want)
	}
	if err == nil {
		p.model.revision++
		p.model.set(key, value, lease)
	}
}

// swap is a compare-and-set, or a create, or a delete.
func (p *pair) swap(t *rapid.T) {
	key, value, expected := someKey.Draw(t, "key"), someValue.Draw(t, "value"), someValue.Draw(t, "expected")
	kind := rapid.IntRange(0, 2).Draw(t, "kind")
	op := [][]byte{kv.CompareAndSet([]byte(key), []byte(expected), []byte(value)), kv.Create([]byte(key), []byte(value)), kv.Delete([]byte(key))}[kind]
	current, err := kv.DecodeDone(p.apply(t, 0, op))
	old, ok := p.model.keys[key]
	var want error
	switch {
	case !ok && kind != 1:
		want = kv.ErrNotFound
	case ok && (kind == 1 || kind == 0 && old.value != expected):
		want = kv.ErrCompareFailed
	}
	if !errors.Is(err, want) || want == kv.ErrCompareFailed && string(current) != old.value {
		t.Fatalf("%q: %q, %v, want %v", op, current, err, want)
	}
	switch {
	case want != nil:
	case kind == 2:
		p.model.revision++
		p.model.drop(key, kv.Deleted)
	default:
		p.model.revision++
		p.model.set(key, value, 0)
	}
}

// same compares all that can be seen of the service with the model, through pages of drawn sizes.
func (p *pair) same(t *rapid.T) {
	prefix, page := someKey.Draw(t, "prefix"), rapid.IntRange(1, 4).Draw(t, "page")
	scanned := scanAll(t, p.machine, prefix, page)
	var want, listed, wantListed []string
	for _, key := range slices.Sorted(maps.Keys(p.model.keys)) {
		if k := p.model.keys[key]; strings.HasPrefix(key, prefix) {
			want = append(want, key+"="+k.value)
			wantListed = append(wantListed, p.entryText(kv.Entry{Key: []byte(key), Value: []byte(k.value), Revision: k.revision, Lease: k.lease,
				Ends: time.Unix(0, int64(p.model.leases[k.lease].end)).UTC()}))
		}
	}
	if !slices.Equal(scanned, want) {
		t.Fatalf("scan %q: %q, want %q", prefix, scanned, want)
	}
	list, err := kv.DecodeList(p.ask(t, kv.List([]byte(prefix), nil, 0, 0)))
	for _, e := range list.Items {
		listed = append(listed, p.entryText(e))
		got, err := kv.DecodeRead(p.ask(t, kv.Read(e.Key)))
		value, err2 := kv.DecodeGet(p.ask(t, kv.Get(e.Key)))
		if got.Key = e.Key; err != nil || err2 != nil || !reflect.DeepEqual(got, e) || !bytes.Equal(value, e.Value) {
			t.Fatalf("%+v, read as %+v, %v, and %q, %v", e, got, err, value, err2)
		}
	}
	if err != nil || !slices.Equal(listed, wantListed) {
		t.Fatalf("list %q: %q, %v, want %q", prefix, listed, err, wantListed)
	}
	p.sameLeases(t)
	p.sameLog(t, prefix, page)
}

func (p *pair) entryText(e kv.Entry) string {
	if e.Lease == 0 {
		e.Ends = time.Time{}
	}
	return fmt.Sprintf("%q=%q at %d, lease %d until %v", e.Key, e.Value, e.Revision, e.Lease, e.Ends)
}

func (p *pair) sameLeases(t *rapid.T) {
	leases, more, err := kv.DecodeLeases(p.ask(t, kv.Leases(0, 0)))
	if err != nil || more || len(leases) != len(p.model.leases) {
		t.Fatalf("leases %+v, %v, %v, want %v", leases, more, err, p.model.leases)
	}
	for _, l := range leases {
		want, keys := p.model.leases[l.ID], 0
		for _, k := range p.model.keys {
			if k.lease == l.ID {
				keys++
			}
		}
		if l.TTL != want.ttl || l.Owner[0] != want.owner || l.Ends.UnixNano() != int64(want.end) || l.Keys != keys {
			t.Fatalf("lease %+v, want %+v with %d keys", l, want, keys)
		}
	}
}

// sameLog reads changes from some revision to some other.
func (p *pair) sameLog(t *rapid.T, prefix string, page int) {
	head, err := kv.DecodeRevision(p.ask(t, kv.Revision()))
	present, end := head.Revision, time.Duration(0)
	for _, l := range p.model.leases {
		if end == 0 || l.end < end {
			end = l.end
		}
	}
	if err != nil || present != p.model.revision || head.Oldest != 1 || head.NextEnd.IsZero() != (end == 0) || end != 0 && head.NextEnd.UnixNano() != int64(end) {
		t.Fatalf("%+v, %v, want %d, %v", head, err, p.model.revision, end)
	}
	from, to := rapid.Uint64Range(1, present+1).Draw(t, "from"), rapid.Uint64Range(0, present+1).Draw(t, "to")
	var got, want []string
	for next := from; next <= min(to, present); {
		changes, through, err := kv.DecodeChanges(p.ask(t, kv.Changes([]byte(prefix), next, to, page, 0)))
		if err != nil || through < next {
			t.Fatalf("changes from %d to %d: through %d, %v", next, to, through, err)
		}
		for _, c := range changes {
			got = append(got, changeText(c.Revision, c.Kind, string(c.Key), string(c.Value)))
		}
		next = through + 1
	}
	for i, text := range p.model.log {
		_, rest, _ := strings.Cut(text, " \"")
		if p.model.at[i] >= from && p.model.at[i] <= to && strings.HasPrefix(rest, strings.Trim(fmt.Sprintf("%q", prefix), `"`)) {
			want = append(want, text)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("changes of %q from %d to %d: %q, want %q", prefix, from, to, got, want)
	}
}

// restored goes on with a service that was restored from a snapshot of the present one, or from one that was taken
// before an operation.
func (p *pair) restored(t *rapid.T) {
	s, err := p.machine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	before := p.model.clone()
	if rapid.Bool().Draw(t, "meanwhile") {
		p.transaction(t)
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil || s.Close() != nil {
		t.Fatal(err)
	}
	p.machine, p.model = start(t), before
	kv.Sweeps(p.machine, rapid.IntRange(0, 2).Draw(t, "sweeps"))
	if err := p.machine.Restore(&b); err != nil {
		t.Fatal(err)
	}
}

func behaves(t *rapid.T) {
	p := newPair(t)
	t.Repeat(map[string]func(*rapid.T){
		"put": p.put, "swap": p.swap, "transaction": p.transaction, "lease": p.lease, "restored": p.restored, "": p.same,
		"advance": func(t *rapid.T) {
			if _, err := kv.DecodeDone(p.apply(t, 0, kv.Advance())); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestKVBehavesLikeItsModel(t *testing.T) { rapid.Check(t, behaves) }

func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(behaves)) }
