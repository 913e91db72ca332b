package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	dir := filepath.Join(t.TempDir(), "r0")
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

func TestOpenRefusals(t *testing.T) {
	base := t.TempDir()
	open := func(dir string, id Identity) error {
		s, _, err := Open(Options{Dir: dir, Identity: id})
		if err == nil {
			t.Fatal(errors.Join(errors.New("opened"), s.Close()))
		}
		if strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("not one line: %q", err)
		}
		return err
	}
	dir := filepath.Join(base, "r0")
	if err := open(dir, testID); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("missing directory: %v", err)
	}
	mustInit(t, nil, dir)
	if err := Init(nil, dir, testID); !errors.Is(err, ErrInitialised) {
		t.Errorf("second init: %v", err)
	}
	other := testID
	other.Member = crypto.NewKeyFromSeed([32]byte{2}).Public()
	if err := open(dir, other); !errors.Is(err, ErrForeign) {
		t.Errorf("other member: %v", err)
	}
	other = testID
	other.Cluster = crypto.Hash("another")
	if err := open(dir, other); !errors.Is(err, ErrForeign) {
		t.Errorf("other cluster: %v", err)
	}
	s, _ := mustOpen(t, nil, dir, nil)
	if err := open(dir, testID); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	mustClose(t, s)

	for _, c := range []struct {
		lose string
		want error
	}{{birthName, ErrDamaged}, {dbName, ErrDamaged}, {markName, ErrDamaged}} {
		d := filepath.Join(base, "without-"+c.lose)
		mustInit(t, nil, d)
		s, _ := mustOpen(t, nil, d, nil) // a store that was never opened may just be begun again
		mustClose(t, s)
		if err := os.RemoveAll(filepath.Join(d, c.lose)); err != nil {
			t.Fatal(err)
		}
		if err := open(d, testID); !errors.Is(err, c.want) {
			t.Errorf("without %s: %v", c.lose, err)
		}
	}
	// All gone: the directory of a replica that was initialised is empty.
	d := filepath.Join(base, "empty")
	if err := os.Mkdir(d, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := open(d, testID); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("empty: %v", err)
	}
}

// The database of another birth of the same member is an older or foreign disk.
func TestOlderDatabaseIsRefused(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	mustInit(t, nil, a)
	mustInit(t, nil, b)
	if err := os.RemoveAll(filepath.Join(a, dbName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(b, dbName), filepath.Join(a, dbName)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Options{Dir: a, Identity: testID}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

// A copy of the database made earlier lacks records: the mark tells.
func TestRolledBackDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustInit(t, nil, dir)
	w := newWaiter()
	s, _ := mustOpen(t, nil, dir, w)
	s.Append([]bft.Record{{LSN: 1, Key: []byte("a"), Value: []byte("1")}}, true)
	w.wait(1)
	mustClose(t, s)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(filepath.Join(dir, dbName))); err != nil {
		t.Fatal(err)
	}
	s, _ = mustOpen(t, nil, dir, w)
	s.Append([]bft.Record{{LSN: 2, Key: []byte("b"), Value: []byte("2")}}, true)
	w.wait(2)
	mustClose(t, s)
	if err := os.RemoveAll(filepath.Join(dir, dbName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, filepath.Join(dir, dbName)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Options{Dir: dir, Identity: testID}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	mustInit(t, nil, dir)
	if err := os.RemoveAll(filepath.Join(dir, dbName)); err != nil {
		t.Fatal(err)
	}
	aside, err := Rebuild(nil, dir, testID, "the disk was replaced")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(aside, birthName)); err != nil {
		t.Error(err)
	}
	for range 2 {
		s, st := mustOpen(t, nil, dir, nil)
		if st.Amnesiac != "the disk was replaced" {
			t.Fatalf("amnesiac %q", st.Amnesiac)
		}
		mustClose(t, s)
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

// An Init that was cut short, wherever that was, can be run again; Open says so.
func TestInitCutShort(t *testing.T) {
	cut := 0
	for k := int64(0); ; k++ {
		mem := vfs.NewCrashableMem()
		bad := &cutFS{FS: mem, left: k}
		err := Init(bad, "/r", testID)
		if !bad.hit {
			if err != nil || k == 0 {
				t.Fatal(k, err)
			}
			break // it ran to its end
		}
		cut++
		crash := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(k*37) % 101, RNG: rand.New(rand.NewPCG(uint64(k), 3))})
		if err == nil {
			continue // what failed came after the last thing that matters
		}
		if _, _, err := Open(Options{Dir: "/r", FS: crash, Identity: testID}); !errors.Is(err, ErrNotInitialised) {
			s, st := mustOpen(t, crash, "/r", nil) // the birth file was there already
			if !st.Born {
				t.Errorf("step %d: not born", k)
			}
			mustClose(t, s)
			continue
		}
		mustInit(t, crash, "/r")
		s, st := mustOpen(t, crash, "/r", nil)
		if !st.Born || len(st.Records) != 0 {
			t.Errorf("step %d: %+v", k, st)
		}
		mustClose(t, s)
	}
	if cut < 5 {
		t.Errorf("cut short only %d times", cut)
	}
}

// cutFS fails everything that changes the disk from some step on.
type cutFS struct {
	vfs.FS
	left int64
	hit  bool
}

func (f *cutFS) step() error {
	if f.left--; f.left < 0 {
		f.hit = true
		return errDisk
	}
	return nil
}

func (f *cutFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.FS.Create(name, c)
}

func (f *cutFS) Rename(a, b string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.FS.Rename(a, b)
}

func (f *cutFS) MkdirAll(dir string, perm os.FileMode) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir, perm)
}
