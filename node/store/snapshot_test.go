package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

type blob []byte

func (b blob) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for chunk := range slices.Chunk([]byte(b), 100_003) { // not a divisor of the part size
		n, err := w.Write(chunk)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func randomBlob(seed uint64, n int) blob {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

func openTestStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	mustInit(t, nil, dir)
	s, _ := mustOpen(t, nil, dir, nil)
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

func TestSnapshotRoundTrip(t *testing.T) {
	s := openTestStore(t)
	history := crypto.Hash("history")
	for i, n := range []int{0, 1, bft.PartSize - 1, bft.PartSize, bft.PartSize + 1, 3*bft.PartSize + 17} {
		seq := bft.Seq(i+1) * 10
		state := randomBlob(uint64(i), n)
		wrote, err := s.WriteSnapshot(seq, history, state)
		if err != nil {
			t.Fatal(err)
		}
		snap, err := s.OpenSnapshot(seq)
		if err != nil {
			t.Fatal(err)
		}
		if snap.Snapshot != wrote || snap.Size != int64(n) || wrote.History != history {
			t.Fatalf("%d bytes: wrote %+v, opened %+v", n, wrote, snap.Snapshot)
		}
		got, err := io.ReadAll(snap.Reader())
		if err != nil || !bytes.Equal(got, state) {
			t.Fatalf("%d bytes: read %d, %v", n, len(got), err)
		}
		for p := range snap.Parts {
			part, err := snap.Served(p)
			if err != nil {
				t.Fatal(err)
			}
			if !bft.CheckPart(wrote.State, *part) {
				t.Errorf("%d bytes: part %d does not prove itself", n, p)
			}
		}
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PruneSnapshots(40); err != nil {
		t.Fatal(err)
	}
	seqs, err := s.Snapshots()
	if err != nil || !slices.Equal(seqs, []bft.Seq{40, 50, 60}) {
		t.Fatalf("%v %v", seqs, err)
	}
	if _, err := s.OpenSnapshot(10); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestDamagedSnapshot(t *testing.T) {
	s := openTestStore(t)
	state := randomBlob(5, 2*bft.PartSize+1000)
	if _, err := s.WriteSnapshot(7, bft.Digest{1}, state); err != nil {
		t.Fatal(err)
	}
	path := s.snapPath(7)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		snap, err := s.OpenSnapshot(7)
		if err != nil {
			return err
		}
		defer snap.Close()
		_, err = io.Copy(io.Discard, snap.Reader())
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	tail := len(content) - 300
	for i := 0; i < 60; i++ {
		at := i * len(content) / 60
		if i >= 30 {
			at = tail + (i-30)*10
		}
		bad := bytes.Clone(content)
		bad[at] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(); !errors.Is(err, ErrDamaged) {
			t.Errorf("bit flipped at %d: %v", at, err)
		}
		if err := os.WriteFile(path, content[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(); !errors.Is(err, ErrDamaged) {
			t.Errorf("truncated to %d: %v", at, err)
		}
	}
	if err := s.SetAside(7); err != nil {
		t.Fatal(err)
	}
	if seqs, err := s.Snapshots(); err != nil || len(seqs) != 0 {
		t.Fatalf("%v %v", seqs, err)
	}
}

func TestStageInAnyOrder(t *testing.T) {
	a, b := openTestStore(t), openTestStore(t)
	state := randomBlob(9, 4*bft.PartSize+5)
	wrote, err := a.WriteSnapshot(128, bft.Digest{3}, state)
	if err != nil {
		t.Fatal(err)
	}
	src, err := a.OpenSnapshot(128)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info := bft.CheckpointInfo{Seq: 128, State: wrote.State, History: wrote.History}
	for _, i := range []int{4, 0, 2, 2, 1} {
		p, err := src.Served(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Stage(*p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Staged(info); err == nil {
		t.Fatal("installed with a part missing")
	}
	for _, i := range rand.Perm(5) {
		p, err := src.Served(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Stage(*p); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := b.Staged(info)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	got, err := io.ReadAll(snap.Reader())
	if err != nil || !bytes.Equal(got, state) || snap.Snapshot != wrote {
		t.Fatalf("%v, %d bytes, %+v", err, len(got), snap.Snapshot)
	}
}

// A snapshot that a crash interrupted is not there; the one before it is.
func TestSnapshotAndPowerLoss(t *testing.T) {
	for seed := uint64(0); seed < 20; seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		fsys := vfs.NewCrashableMem()
		mustInit(t, fsys, "/r")
		s, _ := mustOpen(t, fsys, "/r", nil)
		first := randomBlob(seed, 300_000)
		if _, err := s.WriteSnapshot(10, bft.Digest{}, first); err != nil {
			t.Fatal(err)
		}
		crash := make(chan *vfs.MemFS, 1)
		_, err := s.WriteSnapshot(20, bft.Digest{}, writerToFunc(func(w io.Writer) (int64, error) {
			_, err := w.Write(first)
			crash <- fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			return 0, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		s, _ = mustOpen(t, <-crash, "/r", nil)
		seqs, err := s.Snapshots()
		if err != nil || !slices.Equal(seqs, []bft.Seq{10}) {
			t.Fatalf("seed %d: %v %v", seed, seqs, err)
		}
		snap, err := s.OpenSnapshot(10)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(snap.Reader()); err != nil || !bytes.Equal(got, first) {
			t.Fatal(fmt.Errorf("seed %d: %d bytes, %w", seed, len(got), err))
		}
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
}

type writerToFunc func(io.Writer) (int64, error)

func (f writerToFunc) WriteTo(w io.Writer) (int64, error) { return f(w) }
