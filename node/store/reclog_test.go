package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
)

// logFiles lists the files of the log.
func logFiles(t *testing.T, fsys vfs.FS, dir string) []string {
	t.Helper()
	names, err := fsys.List(fsys.PathJoin(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Loss of power again and again, at any moment of a life with many files of the log, of the files'
// changes and moves too, and of the starts between: what was reported durable is always there, and the rest is a
// prefix of what was asked for.
func TestPowerLossAgainAndAgain(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 21))
		fsys := vfs.NewCrashableMem()
		mustInit(t, fsys, "/r")
		var all []bft.Record
		lsn := bft.LSN(1)
		for life := range 6 {
			var durable atomic.Uint64
			some := newWaiter()
			s, st, err := Open(Options{Dir: "/r", FS: fsys, Identity: testID, logBytes: int64(1 + r.IntN(30000)), Durable: func(l bft.LSN) {
				durable.Store(uint64(l))
				some.durable(l)
			}})
			if err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			m := model{}
			for _, rec := range all[:st.LSN] {
				m.apply(rec)
			}
			if err := m.equal(st.Records); err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			all, lsn = all[:st.LSN], st.LSN+1
			for range r.IntN(25) {
				recs := someRecords(r, lsn, 1+r.IntN(30))
				lsn += bft.LSN(len(recs))
				all = append(all, recs...)
				s.Append(recs, true)
				if r.IntN(4) == 0 {
					some.wait(lsn - 1)
				}
			}
			before := max(bft.LSN(durable.Load()), st.LSN)
			crash := fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			mustClose(t, s)
			fsys = crash
			// The length of what survived is for the next life to find.
			probe, st2 := mustOpen(t, crash.CrashClone(vfs.CrashCloneCfg{}), "/r", nil)
			if st2.LSN < before {
				t.Fatalf("seed %d, life %d: records end at %d, %d were durable", seed, life, st2.LSN, before)
			}
			mustClose(t, probe)
		}
	}
}

// Files that nothing is live in go, or are written over; what lives long is moved on.
func TestLogIsBounded(t *testing.T) {
	mem := vfs.NewMem()
	mustInit(t, mem, "/r")
	w := newWaiter()
	s, _, err := Open(Options{Dir: "/r", FS: mem, Identity: testID, Durable: w.durable, logBytes: 10000})
	if err != nil {
		t.Fatal(err)
	}
	lsn := bft.LSN(0)
	write := func(key, value, to []byte) {
		lsn++
		s.Append([]bft.Record{{LSN: lsn, Key: key, Value: value, To: to}}, true)
	}
	write([]byte("s-stays"), []byte("for good"), nil)
	most := 0
	for i := range 3000 {
		write(fmt.Appendf(nil, "k%06d", i), bytes.Repeat([]byte{byte(i)}, 300), nil)
		if i%100 == 99 {
			write([]byte("k"), nil, fmt.Appendf(nil, "k%06d", i-50)) // what a checkpoint cuts
			w.wait(lsn)
			most = max(most, len(logFiles(t, mem, "/r")))
		}
	}
	// At most 151 records of some 330 bytes live, which touch seven files, or more if what waits for the disk is
	// written in larger commits; then there are the newest and the spare ones. All would be a hundred.
	if most > 12+1+logSpare {
		t.Errorf("%d files of the log", most)
	}
	mustClose(t, s)
	s, st := mustOpen(t, mem, "/r", nil)
	if len(st.Records) != 1+51+0 {
		t.Errorf("%d records", len(st.Records))
	}
	if last := st.Records[len(st.Records)-1]; string(last.Key) != "s-stays" || string(last.Value) != "for good" {
		t.Errorf("the oldest record is %q: %q", last.Key, last.Value)
	}
	if files := logFiles(t, mem, "/r"); len(files) > 3 {
		t.Errorf("after a start there are %v", files)
	}
	mustClose(t, s)
}

// A log in which a whole file is missing, or one is older than it was, does not open, wherever it is.
func TestMissingFileOfTheLog(t *testing.T) {
	mem := vfs.NewCrashableMem()
	mustInit(t, mem, "/r")
	w := newWaiter()
	s, _, err := Open(Options{Dir: "/r", FS: mem, Identity: testID, Durable: w.durable, logBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	for lsn := bft.LSN(1); lsn <= 40; lsn++ {
		s.Append([]bft.Record{{LSN: lsn, Key: []byte{byte(lsn)}, Value: make([]byte, 200)}}, true)
		w.wait(lsn)
	}
	full := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}
	sound := mem.CrashClone(full)
	mustClose(t, s)
	files := logFiles(t, sound, "/r")
	if len(files) < 4 {
		t.Fatalf("only %v", files)
	}
	for _, name := range files {
		c := sound.CrashClone(full)
		if err := c.Remove(c.PathJoin("/r", logName, name)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(Options{Dir: "/r", FS: c, Identity: testID}); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %s: %v", name, err)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("without %s: not one line: %v", name, err)
		}
	}
}

// Whatever stands in a commit, decoding it gives a commit or an error, and what was encoded comes back.
func FuzzCommit(f *testing.F) {
	l := newRecordLog(vfs.NewMem(), "/r", []byte("birth"))
	b := l.cut(l.put(l.begin(), []byte("key"), []byte("value")), []byte("a"), []byte("b"))
	f.Add(append(append(b, entryHead), l.head.encode()...))
	f.Add(appendBytes(append(l.begin(), entryHeader, logVersion), bytes.Repeat([]byte{1}, 60)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCommit(b)
		if err != nil {
			if c != nil {
				t.Errorf("a commit beside %v", err)
			}
			return
		}
		if c.header != nil {
			return
		}
		l := newRecordLog(vfs.NewMem(), "/r", nil)
		again := l.begin()
		for _, e := range c.entries {
			if e.cut {
				again = l.cut(again, e.key, e.to)
			} else {
				again = l.put(again, e.key, e.value)
			}
		}
		again = append(append(again, entryHead), c.head.encode()...)
		d, err := decodeCommit(again)
		if err != nil || len(d.entries) != len(c.entries) || d.head != c.head {
			t.Errorf("%x became %x: %v", b, again, err)
		}
	})
}
