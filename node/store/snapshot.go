package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// A snapshot file holds the serialised state, then the digest of each of its
// parts, then a trailer:
//
//	sequence uint64  size uint64  state digest [32]  history root [32]  parts uint32  crc32c uint32  magic [8]
//
// The checksum covers digests and trailer; the digests cover the state. So a
// damaged file is noticed, at the latest when the damaged part is read.
const (
	snapMagic   = "BLRTSNP1"
	snapTrailer = 8 + 8 + 32 + 32 + 4 + 4 + 8
	snapSuffix  = ".snap"
	tmpSuffix   = ".tmp"
	digestSize  = len(bft.Digest{})
)

// maxParts bounds a snapshot, at 2^20 parts of 256 KiB: 256 GiB.
const maxParts = 1 << 20

// Snapshot is an open snapshot file. Its methods may be called by any goroutine.
type Snapshot struct {
	bft.Snapshot
	Size  int64 // of the state, in bytes
	Parts []bft.Digest

	file vfs.File
	path string
}

func (s *Store) snapDir() string { return s.fs.PathJoin(s.opts.Dir, snapshotsDir) }

func (s *Store) snapPath(seq bft.Seq) string {
	return s.fs.PathJoin(s.snapDir(), fmt.Sprintf("%020d%s", seq, snapSuffix))
}

// cleanSnapshots makes the directory of the snapshots and removes what writes
// that were cut short have left in it.
func (s *Store) cleanSnapshots() error {
	dir := s.snapDir()
	if err := s.fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	names, err := s.fs.List(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := s.fs.Remove(s.fs.PathJoin(dir, name)); err != nil {
				return fmt.Errorf("store: %w", err)
			}
		}
	}
	return syncDir(s.fs, s.opts.Dir)
}

// snapshotBytesPerSync is how much of a snapshot is written before the system is told to begin writing it to the disk.
const snapshotBytesPerSync = 512 << 10

// WriteSnapshot streams the state after seq into a file and makes it durable. An error means that
// the file is not there; one of the disk is not fatal here, for nothing has been promised on it.
func (s *Store) WriteSnapshot(seq bft.Seq, history bft.Digest, state io.WriterTo) (bft.Snapshot, error) {
	path := s.snapPath(seq)
	f, err := s.fs.Create(path+tmpSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return bft.Snapshot{}, fmt.Errorf("store: %w", err)
	}
	// Spread over the writing: one long sync at the end would hold up those of the log.
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: snapshotBytesPerSync})
	size := int64(0)
	var scratch []byte
	w := exec.NewPartWriter(func(i uint32, data []byte) error {
		if i >= maxParts {
			return fmt.Errorf("it has more than %d parts", maxParts)
		}
		size += int64(len(data))
		scratch = append(scratch[:0], data...) // a vfs.File may alter what it is given, and data is hashed later
		_, err := f.Write(scratch)
		return err
	})
	_, err = state.WriteTo(w)
	parts, finishErr := w.Finish()
	if err == nil {
		err = finishErr
	}
	snap := bft.Snapshot{Seq: seq, State: bft.StateDigest(parts), History: history}
	if err == nil {
		_, err = f.Write(encodeTrailer(snap, size, parts))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.publish(path+tmpSuffix, path)
	}
	if err != nil {
		return bft.Snapshot{}, fmt.Errorf("store: writing the snapshot at %d: %w", seq, errors.Join(err, ignoreMissing(s.fs.Remove(path+tmpSuffix))))
	}
	return snap, nil
}

func ignoreMissing(err error) error {
	if notExist(err) {
		return nil
	}
	return err
}

// publish gives a synced file its name, durably.
func (s *Store) publish(tmp, path string) error {
	if err := s.fs.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(s.fs, s.snapDir())
}

func encodeTrailer(snap bft.Snapshot, size int64, parts []bft.Digest) []byte {
	b := make([]byte, 0, len(parts)*digestSize+snapTrailer)
	for i := range parts {
		b = append(b, parts[i][:]...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(snap.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b = append(b, snap.State[:]...)
	b = append(b, snap.History[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(parts)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, snapMagic...)
}

// Snapshots lists the numbers of the snapshot files, rising.
func (s *Store) Snapshots() ([]bft.Seq, error) {
	names, err := s.fs.List(s.snapDir())
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var seqs []bft.Seq
	for _, name := range names {
		if n, ok := strings.CutSuffix(name, snapSuffix); ok {
			if seq, err := strconv.ParseUint(n, 10, 64); err == nil {
				seqs = append(seqs, bft.Seq(seq))
			}
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// OpenSnapshot opens the snapshot at seq. The error is fs.ErrNotExist if there is none, and a
// *DamageError if its trailer is damaged; a damaged part shows when it is read.
func (s *Store) OpenSnapshot(seq bft.Seq) (*Snapshot, error) {
	path := s.snapPath(seq)
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	snap, err := readTrailer(f, path)
	if err == nil && snap.Seq != seq {
		err = damaged(path, fmt.Sprintf("it is the snapshot at %d", snap.Seq), nil)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return snap, nil
}

func readTrailer(f vfs.File, path string) (*Snapshot, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	bad := func(what string, err error) (*Snapshot, error) { return nil, damaged(path, what, err) }
	if info.Size() < snapTrailer {
		return bad("it is too short", nil)
	}
	t := make([]byte, snapTrailer)
	if _, err := f.ReadAt(t, info.Size()-snapTrailer); err != nil {
		return bad("its trailer cannot be read", err)
	}
	parts := int64(binary.BigEndian.Uint32(t[80:]))
	size := int64(binary.BigEndian.Uint64(t[8:]))
	if string(t[88:]) != snapMagic || parts < 1 || parts > maxParts || size < 0 ||
		size+parts*int64(digestSize)+snapTrailer != info.Size() || parts != max(1, (size+bft.PartSize-1)/bft.PartSize) {
		return bad("its trailer is damaged, or it was truncated", nil)
	}
	all := make([]byte, parts*int64(digestSize)+snapTrailer)
	if _, err := f.ReadAt(all, size); err != nil {
		return bad("its trailer cannot be read", err)
	}
	if crc32.Checksum(all[:len(all)-12], castagnoli) != binary.BigEndian.Uint32(t[84:]) {
		return bad("its trailer does not match its checksum", nil)
	}
	s := &Snapshot{Size: size, Parts: make([]bft.Digest, parts), file: f, path: path}
	for i := range s.Parts {
		copy(s.Parts[i][:], all[i*digestSize:])
	}
	s.Seq = bft.Seq(binary.BigEndian.Uint64(t))
	copy(s.State[:], t[16:48])
	copy(s.History[:], t[48:80])
	if bft.StateDigest(s.Parts) != s.State {
		return bad("its digests do not match each other", nil)
	}
	return s, nil
}

// Part reads part i and checks it; the error is a *DamageError if it is not what it was.
func (s *Snapshot) Part(i int) ([]byte, error) {
	if i < 0 || i >= len(s.Parts) {
		return nil, fmt.Errorf("store: snapshot %d has no part %d, only %d", s.Seq, i, len(s.Parts))
	}
	from := int64(i) * bft.PartSize
	b := make([]byte, min(bft.PartSize, s.Size-from))
	if _, err := s.file.ReadAt(b, from); err != nil && (len(b) > 0 || !errors.Is(err, io.EOF)) {
		return nil, damaged(s.path, fmt.Sprintf("part %d cannot be read", i), err)
	}
	if bft.PartDigest(b) != s.Parts[i] {
		return nil, damaged(s.path, fmt.Sprintf("part %d does not match its digest", i), nil)
	}
	return b, nil
}

// Served is part i with its proof, as peers fetch it.
func (s *Snapshot) Served(i int) (*bft.SnapshotPart, error) {
	data, err := s.Part(i)
	if err != nil {
		return nil, err
	}
	return &bft.SnapshotPart{Seq: s.Seq, Index: uint32(i), Total: uint32(len(s.Parts)), Data: data, Path: bft.ProvePart(s.Parts, i)}, nil
}

// Reader reads the state from its beginning, checking each part before it gives any of it.
func (s *Snapshot) Reader() io.Reader { return &snapReader{s: s} }

type snapReader struct {
	s    *Snapshot
	next int
	rest []byte
}

func (r *snapReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.next == len(r.s.Parts) {
			return 0, io.EOF
		}
		part, err := r.s.Part(r.next)
		if err != nil {
			return 0, err
		}
		r.next, r.rest = r.next+1, part
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close closes the file.
func (s *Snapshot) Close() error { return s.file.Close() }

// PruneSnapshots removes the snapshots below keep.
func (s *Store) PruneSnapshots(keep bft.Seq) error {
	seqs, err := s.Snapshots()
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		if seq < keep {
			if err := s.fs.Remove(s.snapPath(seq)); ignoreMissing(err) != nil {
				return fmt.Errorf("store: %w", err)
			}
		}
	}
	return nil
}

// SetAside gives a damaged snapshot another name, so that it is not tried
// again but can be looked at. An earlier one set aside is replaced.
func (s *Store) SetAside(seq bft.Seq) error {
	if err := s.fs.Rename(s.snapPath(seq), s.fs.PathJoin(s.snapDir(), "damaged")); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
