package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

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
	}{{birthName, ErrDamaged}, {logName, ErrDamaged}, {markName, ErrDamaged}} {
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
	// What an earlier version wrote is not damage, which would make an amnesiac of the replica.
	old := filepath.Join(base, "earlier")
	mustInit(t, nil, old)
	if err := os.Rename(filepath.Join(old, logName), filepath.Join(old, "db")); err != nil {
		t.Fatal(err)
	}
	if err := open(old, testID); errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "earlier version") {
		t.Errorf("records of an earlier version: %v", err)
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

// The log of another birth of the same member is an older or foreign disk.
func TestOlderLogIsRefused(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	mustInit(t, nil, a)
	mustInit(t, nil, b)
	if err := os.RemoveAll(filepath.Join(a, logName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(b, logName), filepath.Join(a, logName)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Options{Dir: a, Identity: testID}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

// A copy of the log made earlier lacks records: the mark tells.
func TestRolledBackLogIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustInit(t, nil, dir)
	w := newWaiter()
	s, _ := mustOpen(t, nil, dir, w)
	s.Append([]bft.Record{{LSN: 1, Key: []byte("a"), Value: []byte("1")}}, true)
	w.wait(1)
	mustClose(t, s)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(filepath.Join(dir, logName))); err != nil {
		t.Fatal(err)
	}
	s, _ = mustOpen(t, nil, dir, w)
	s.Append([]bft.Record{{LSN: 2, Key: []byte("b"), Value: []byte("2")}}, true)
	w.wait(2)
	mustClose(t, s)
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Options{Dir: dir, Identity: testID}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	mustInit(t, nil, dir)
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
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

// A Rebuild that was cut short, wherever that was, leaves what Open refuses, or an amnesiac; and it
// can be run again. It never leaves a replica that seems to be new.
func TestRebuildCutShort(t *testing.T) {
	for k := int64(0); ; k++ {
		mem := vfs.NewCrashableMem()
		if err := mem.MkdirAll("/home/r", 0o700); err != nil { // the disk is new: nothing is there
			t.Fatal(err)
		}
		bad := &cutFS{FS: mem, left: k}
		_, err := Rebuild(bad, "/home/r", testID, "lost")
		if !bad.hit {
			if err != nil || k == 0 {
				t.Fatal(k, err)
			}
			return // it ran to its end
		}
		if err == nil {
			continue
		}
		s, st, err := Open(Options{Dir: "/home/r", FS: mem, Identity: testID})
		if err != nil {
			if !errors.Is(err, ErrNotInitialised) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("step %d: %v", k, err)
			}
			if _, err := Rebuild(mem, "/home/r", testID, "lost"); err != nil {
				t.Fatalf("step %d: again: %v", k, err)
			}
			s, st = mustOpen(t, mem, "/home/r", nil)
		}
		if st.Amnesiac != "lost" {
			t.Errorf("step %d: amnesiac %q", k, st.Amnesiac)
		}
		mustClose(t, s)
	}
}
