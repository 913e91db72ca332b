package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// runningStore makes a store with records in several files of the log, as kill -9
// leaves it: the directory is copied while the store is open.
func runningStore(t *testing.T) (string, model) {
	t.Helper()
	dir, copied := t.TempDir(), t.TempDir()
	mustInit(t, nil, dir)
	r := rand.New(rand.NewPCG(11, 12))
	m := model{}
	lsn := bft.LSN(1)
	w := newWaiter()
	s, _, err := Open(Options{Dir: dir, Identity: testID, Durable: w.durable, Fatal: func(err error) { panic(err) }, logBytes: 40 << 10})
	if err != nil {
		t.Fatal(err)
	}
	write := func(n int) {
		for range n {
			recs := someRecords(r, lsn, 20)
			for _, rec := range recs {
				m.apply(rec)
			}
			lsn += 20
			s.Append(recs, true)
			w.wait(lsn - 1)
		}
	}
	write(30)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	return copied, m
}

// checkDamaged opens a store with a changed file: either nothing is missing, or
// Open says that the store is damaged.
func checkDamaged(t *testing.T, dir string, m model, what string) (noticed bool) {
	t.Helper()
	s, st, err := Open(Options{Dir: dir, Identity: testID, Fatal: func(err error) { panic(err) }})
	if err != nil {
		if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: not a clear error: %v", what, err)
		}
		return true
	}
	if err := m.equal(st.Records); err != nil {
		t.Errorf("%s: silent loss: %v", what, err)
	}
	mustClose(t, s)
	return false
}

// Each file of the store, truncated and with a bit flipped at many places: a
// clear error, or nothing was lost; never a silent loss (rule 19).
func TestDamagedFiles(t *testing.T) {
	sound, m := runningStore(t)
	if checkDamaged(t, clone(t, sound), m, "sound copy") {
		t.Fatal("a store that was killed does not open")
	}
	var files []string
	err := filepath.WalkDir(sound, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(sound, p)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(sound, f))
		if err != nil {
			t.Fatal(err)
		}
		kind := strings.TrimRight(strings.SplitN(filepath.Base(f), "-", 2)[0], "0123456789") + filepath.Ext(f)
		try := func(what string, changed []byte) {
			dir := clone(t, sound)
			if err := os.WriteFile(filepath.Join(dir, f), changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if checkDamaged(t, dir, m, what) {
				kinds[kind]++
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		n := 12
		for i := 0; i < n && i < len(content); i++ {
			at := len(content) * i / n
			try(fmt.Sprintf("%s truncated to %d of %d", f, at, len(content)), content[:at])
			flipped := append([]byte(nil), content...)
			flipped[at] ^= 1 << (i % 8)
			try(fmt.Sprintf("%s with a bit flipped at %d of %d", f, at, len(content)), flipped)
		}
		if len(content) > 0 {
			try(f+" without its last byte", content[:len(content)-1])
		}
	}
	t.Logf("noticed: %v", kinds)
	for _, want := range []string{"birth", "mark", ".log"} {
		found := false
		for k := range kinds {
			found = found || strings.Contains(k, want)
		}
		if !found {
			t.Errorf("no damage to a %s file was noticed; there were %v", want, files)
		}
	}
}

// Each file of the store gone.
func TestMissingFiles(t *testing.T) {
	sound, m := runningStore(t)
	err := filepath.WalkDir(sound, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == lockName {
			return err
		}
		rel, _ := filepath.Rel(sound, p)
		dir := clone(t, sound)
		if err := os.Remove(filepath.Join(dir, rel)); err != nil {
			return err
		}
		checkDamaged(t, dir, m, rel+" removed")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func clone(t *testing.T, dir string) string {
	t.Helper()
	c, err := os.MkdirTemp(t.TempDir(), "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(c, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return c
}
