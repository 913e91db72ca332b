package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

var testID = Identity{Cluster: crypto.Hash("test-cluster"), Member: crypto.NewKeyFromSeed([32]byte{1}).Public()}

// waiter lets a test wait for an LSN to become durable.
type waiter struct {
	mu   sync.Mutex
	cond *sync.Cond
	lsn  bft.LSN
}

func newWaiter() *waiter {
	w := &waiter{}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *waiter) durable(lsn bft.LSN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lsn = lsn
	w.cond.Broadcast()
}

func (w *waiter) wait(lsn bft.LSN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.lsn < lsn {
		w.cond.Wait()
	}
}

func mustInit(t testing.TB, fsys vfs.FS, dir string) {
	t.Helper()
	if err := Init(fsys, dir, testID); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, fsys vfs.FS, dir string, w *waiter) (*Store, *State) {
	t.Helper()
	o := Options{Dir: dir, FS: fsys, Identity: testID, Fatal: func(err error) { panic(err) }}
	if w != nil {
		o.Durable = w.durable
	}
	s, st, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// model is what a store should hold.
type model map[string]string

func (m model) apply(r bft.Record) {
	if r.To == nil {
		m[string(r.Key)] = string(r.Value)
		return
	}
	for k := range m {
		if k >= string(r.Key) && k < string(r.To) {
			delete(m, k)
		}
	}
}

func (m model) equal(kvs []bft.KV) error {
	if len(kvs) != len(m) {
		return fmt.Errorf("%d records, want %d", len(kvs), len(m))
	}
	if !sort.SliceIsSorted(kvs, func(i, j int) bool { return bytes.Compare(kvs[i].Key, kvs[j].Key) < 0 }) {
		return errors.New("records not in the order of keys")
	}
	for _, kv := range kvs {
		if m[string(kv.Key)] != string(kv.Value) {
			return fmt.Errorf("record %q differs", kv.Key)
		}
	}
	return nil
}

// someRecords draws n records like the core's: short-lived ones in a few areas
// and now and then a range deletion.
func someRecords(r *rand.Rand, from bft.LSN, n int) []bft.Record {
	var out []bft.Record
	for i := 0; i < n; i++ {
		lsn := from + bft.LSN(i)
		key := []byte(fmt.Sprintf("%c%06d", 'a'+r.IntN(4), int(lsn)+r.IntN(10)))
		rec := bft.Record{LSN: lsn, Key: key, Value: make([]byte, r.IntN(600))}
		for j := range rec.Value {
			rec.Value[j] = byte(r.Uint32())
		}
		if r.IntN(50) == 0 {
			rec.Value, rec.Key, rec.To = nil, []byte{key[0]}, key
		}
		out = append(out, rec)
	}
	return out
}

func TestRecordsSurviveReopen(t *testing.T) {
	dir := t.TempDir()
	mustInit(t, nil, dir)
	r := rand.New(rand.NewPCG(1, 2))
	m := model{}
	lsn := bft.LSN(1)
	for round := 0; round < 4; round++ {
		w := newWaiter()
		s, st := mustOpen(t, nil, dir, w)
		if err := m.equal(st.Records); err != nil {
			t.Fatal(err)
		}
		if st.LSN != lsn-1 || st.Born != (round == 0) || st.Amnesiac != "" {
			t.Fatalf("round %d: LSN %d, born %v, amnesiac %q", round, st.LSN, st.Born, st.Amnesiac)
		}
		for i := 0; i < 20; i++ {
			recs := someRecords(r, lsn, 1+r.IntN(40))
			for _, rec := range recs {
				m.apply(rec)
			}
			lsn += bft.LSN(len(recs))
			s.Append(recs, true)
		}
		w.wait(lsn - 1)
		mustClose(t, s)
	}
}

// A start that promised nothing is still a start: the next one is not the first.
func TestBornOnce(t *testing.T) {
	dir := t.TempDir()
	mustInit(t, nil, dir)
	for want := true; ; want = false {
		s, st := mustOpen(t, nil, dir, nil)
		if st.Born != want {
			t.Fatalf("born %v, want %v", st.Born, want)
		}
		mustClose(t, s)
		if !want {
			return
		}
	}
}

// Loss of power at any moment: everything reported durable is there, the rest
// is a prefix of what was asked for, and the store opens without a complaint.
func TestPowerLoss(t *testing.T) {
	for seed := uint64(0); seed < 40; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		fsys := vfs.NewCrashableMem()
		mustInit(t, fsys, "/r")
		var durable atomic.Uint64
		some := newWaiter()
		s, _, err := Open(Options{Dir: "/r", FS: fsys, Identity: testID, Durable: func(l bft.LSN) {
			durable.Store(uint64(l))
			some.durable(l)
		}})
		if err != nil {
			t.Fatal(err)
		}
		var all []bft.Record
		lsn := bft.LSN(1)
		target := 5 + r.IntN(30)
		for i := 0; i < target; i++ {
			recs := someRecords(r, lsn, 1+r.IntN(30))
			lsn += bft.LSN(len(recs))
			all = append(all, recs...)
			s.Append(recs, true)
		}
		some.wait(1)
		before := bft.LSN(durable.Load())
		crash := fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		mustClose(t, s)

		s, st := mustOpen(t, crash, "/r", nil)
		if st.LSN < before {
			t.Fatalf("seed %d: records end at %d, %d were durable", seed, st.LSN, before)
		}
		m := model{}
		for _, rec := range all {
			if rec.LSN <= st.LSN {
				m.apply(rec)
			}
		}
		if err := m.equal(st.Records); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		mustClose(t, s)
	}
}

// A write that fails ends the process: nothing after it is reported durable.
func TestFailedSyncIsFatal(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	bad := &failingFS{FS: mem}
	fatal := make(chan error, 8)
	var durable atomic.Uint64
	s, _, err := Open(Options{Dir: "/r", FS: bad, Identity: testID,
		Durable: func(l bft.LSN) { durable.Store(uint64(l)) }, Fatal: func(err error) { fatal <- err }})
	if err != nil {
		t.Fatal(err)
	}
	bad.fail.Store(true)
	s.Append([]bft.Record{{LSN: 1, Key: []byte("a"), Value: []byte("1")}}, true)
	err = <-fatal
	if !strings.Contains(err.Error(), "check the disk") || durable.Load() != 0 {
		t.Fatalf("%v, durable %d", err, durable.Load())
	}
}

type failingFS struct {
	vfs.FS
	fail atomic.Bool
}

func (f *failingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return &failingFile{file, f}, err
}

type failingFile struct {
	vfs.File
	fs *failingFS
}

var errDisk = errors.New("input/output error")

func (f *failingFile) Sync() error {
	if f.fs.fail.Load() {
		return errDisk
	}
	return f.File.Sync()
}

func (f *failingFile) SyncData() error {
	if f.fs.fail.Load() {
		return errDisk
	}
	return f.File.SyncData()
}

func (f *failingFile) SyncTo(n int64) (bool, error) {
	if f.fs.fail.Load() {
		return false, errDisk
	}
	return f.File.SyncTo(n)
}

// Full is the answer to a disk that does not keep up.
func TestFull(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	hold := make(chan struct{})
	s, _, err := Open(Options{Dir: "/r", FS: mem, Identity: testID, MaxQueueBytes: 1 << 16, Durable: func(bft.LSN) { <-hold }})
	if err != nil {
		t.Fatal(err)
	}
	if s.Full() {
		t.Fatal("full while empty")
	}
	lsn := bft.LSN(0)
	for !s.Full() {
		lsn++
		if lsn > 200 {
			t.Fatal("never full")
		}
		s.Append([]bft.Record{{LSN: lsn, Key: []byte{byte(lsn)}, Value: make([]byte, 1024)}}, true)
	}
	close(hold)
	mustClose(t, s)
	if s.Full() || s.Backlog() != 0 {
		t.Fatalf("backlog %d after close", s.Backlog())
	}
}

func TestServiceStore(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	s, _ := mustOpen(t, mem, "/r", nil)
	a, err := s.Service("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Service("b")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"", "k1", "k2", "k3", "\xff\xff"} {
		a.Set([]byte(k), []byte("a"+k))
		b.Set([]byte(k), []byte("b"+k))
	}
	snap := a.Snapshot()
	a.Delete([]byte("k1"))
	a.DeleteRange([]byte("k2"), []byte("k3"))
	a.DeleteRange([]byte("z"), []byte("b")) // empty range
	collect := func(seq func(func(k, v []byte) bool)) string {
		var out []string
		seq(func(k, v []byte) bool {
			out = append(out, fmt.Sprintf("%q=%q", k, v))
			return true
		})
		return strings.Join(out, " ")
	}
	if got, want := collect(a.Scan(nil, nil)), `""="a" "k3"="ak3" "\xff\xff"="a\xff\xff"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := collect(snap.Scan([]byte("k1"), []byte("k3"))), `"k1"="ak1" "k2"="ak2"`; got != want {
		t.Errorf("snapshot: got %s, want %s", got, want)
	}
	if _, ok := a.Get([]byte("k1")); ok {
		t.Error("deleted key found")
	}
	if v, ok := snap.Get([]byte("k1")); !ok || string(v) != "ak1" {
		t.Errorf("snapshot: %q %v", v, ok)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	a.DeleteRange(nil, nil)
	if got := collect(a.Scan(nil, nil)); got != "" {
		t.Errorf("after clearing: %s", got)
	}
	if v, ok := b.Get([]byte("k2")); !ok || string(v) != "bk2" {
		t.Errorf("the other service: %q %v", v, ok)
	}
	mustClose(t, s)
	// A restart begins from the snapshot, so the store is empty again.
	s, _ = mustOpen(t, mem, "/r", nil)
	if b, err = s.Service("b"); err != nil {
		t.Fatal(err)
	}
	if got := collect(b.Scan(nil, nil)); got != "" {
		t.Errorf("after a restart: %s", got)
	}
	mustClose(t, s)
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for _, batch := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%dx%dB", batch, size), func(b *testing.B) {
				dir := b.TempDir()
				mustInit(b, nil, dir)
				w := newWaiter()
				s, _ := mustOpen(b, nil, dir, w)
				lsn := bft.LSN(0)
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					recs := make([]bft.Record, batch)
					for j := range recs {
						lsn++
						recs[j] = bft.Record{LSN: lsn, Key: []byte(fmt.Sprintf("k%010d", lsn%5000)), Value: make([]byte, size)}
					}
					s.Append(recs, true)
					if i%4 == 3 { // a pipeline of four
						w.wait(lsn - bft.LSN(3*batch))
					}
				}
				w.wait(lsn)
				b.StopTimer()
				b.ReportMetric(float64(s.Stats().Records)/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric(float64(s.Stats().Commits)/b.Elapsed().Seconds(), "fsyncs/s")
				mustClose(b, s)
			})
		}
	}
}

// Records that nobody waits for become durable too, and share the commit of those that are urgent.
func TestLazyRecords(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	w := newWaiter()
	s, _ := mustOpen(t, mem, "/r", w)
	rec := func(lsn bft.LSN) []bft.Record {
		return []bft.Record{{LSN: lsn, Key: []byte{byte(lsn)}, Value: []byte{1}}}
	}
	s.Append(rec(1), false)
	w.wait(1) // without any company
	before := s.Stats().Commits
	s.Append(append(rec(2), rec(3)...), false)
	s.Append(rec(4), true)
	w.wait(4)
	if got := s.Stats().Commits - before; got != 1 && got != 2 {
		t.Errorf("%d commits", got)
	}
	s.Append(rec(5), false)
	s.Append(nil, true) // something waits for what was recorded before
	w.wait(5)
	s.Append(rec(6), false)
	mustClose(t, s)
	if _, st := mustOpen(t, mem, "/r", nil); st.LSN != 6 {
		t.Errorf("records end at %d", st.LSN)
	}
}
