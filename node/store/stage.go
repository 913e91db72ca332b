package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
)

// stage is the one snapshot that is being fetched from peers, part by part.
type stage struct {
	mu    sync.Mutex
	file  vfs.File // nil: none
	path  string
	seq   bft.Seq
	parts []bft.Digest
	held  int // parts that are there: their digest is not zero
	size  int64
}

// Stage keeps a part of a snapshot that is being fetched; the core has checked it. A part of
// another snapshot than before drops what was kept.
func (s *Store) Stage(p bft.SnapshotPart) error {
	g := &s.stage
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.Total == 0 || p.Total > maxParts || p.Index >= p.Total {
		return fmt.Errorf("store: part %d of %d of the snapshot at %d", p.Index, p.Total, p.Seq)
	}
	if g.file == nil || g.seq != p.Seq || len(g.parts) != int(p.Total) {
		if err := g.begin(s, p.Seq, int(p.Total)); err != nil {
			return fmt.Errorf("store: staging the snapshot at %d: %w", p.Seq, err)
		}
	}
	if !g.parts[p.Index].IsZero() {
		return nil
	}
	digest := bft.PartDigest(p.Data)
	// A vfs.File may alter what it is given.
	if _, err := g.file.WriteAt(bytes.Clone(p.Data), int64(p.Index)*bft.PartSize); err != nil {
		return fmt.Errorf("store: staging the snapshot at %d: %w", p.Seq, err)
	}
	g.parts[p.Index] = digest
	g.size += int64(len(p.Data))
	g.held++
	return nil
}

// begin opens an empty staging file. Called with the lock held.
func (g *stage) begin(s *Store, seq bft.Seq, total int) error {
	if err := g.dropLocked(s); err != nil {
		return err
	}
	g.path = s.fs.PathJoin(s.snapDir(), "stage"+tmpSuffix)
	f, err := s.fs.Create(g.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if g.file, err = s.fs.OpenReadWrite(g.path, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	g.seq, g.parts, g.held, g.size = seq, make([]bft.Digest, total), 0, 0
	return nil
}

// drop forgets what is staged.
func (g *stage) drop(s *Store) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dropLocked(s)
}

func (g *stage) dropLocked(s *Store) error {
	if g.file == nil {
		return nil
	}
	err := errors.Join(g.file.Close(), ignoreMissing(s.fs.Remove(g.path)))
	g.file, g.parts, g.held, g.size = nil, nil, 0, 0
	return err
}

// Staged makes a durable snapshot of what was staged and opens it. It fails if
// parts are missing or the whole is not what the checkpoint certifies.
func (s *Store) Staged(info bft.CheckpointInfo) (*Snapshot, error) {
	g := &s.stage
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.publish(s, info); err != nil {
		return nil, fmt.Errorf("store: the fetched snapshot at %d: %w", info.Seq, errors.Join(err, g.dropLocked(s)))
	}
	return s.OpenSnapshot(info.Seq)
}

func (g *stage) publish(s *Store, info bft.CheckpointInfo) error {
	switch {
	case g.file == nil || g.seq != info.Seq:
		return errors.New("nothing of it was staged")
	case g.held != len(g.parts):
		return fmt.Errorf("%d of %d parts are missing", len(g.parts)-g.held, len(g.parts))
	case bft.StateDigest(g.parts) != info.State:
		return errors.New("its digest is not the certified one")
	}
	trailer := encodeTrailer(bft.Snapshot{Seq: info.Seq, State: info.State, History: info.History}, g.size, g.parts)
	if _, err := g.file.WriteAt(trailer, g.size); err != nil {
		return err
	}
	if err := g.file.Sync(); err != nil {
		return err
	}
	if err := g.file.Close(); err != nil {
		return err
	}
	g.file = nil
	return s.publish(g.path, s.snapPath(info.Seq))
}
