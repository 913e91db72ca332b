package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
)

// The mark file holds two slots, written by turns, so that a torn write leaves
// the other one.
const (
	markMagic  = "BLRTMRK1"
	markSlot   = 4096 // distance of the slots: two pages, hence never torn together
	markLength = 8 + 3*8 + 4
)

// mark is a second witness, outside the database, of how far the records
// reached. It is written after the commit is durable and synced only now and then,
// so it is never ahead of what a sound database holds.
type mark struct {
	file   vfs.File
	turn   uint64 // of the newest slot
	starts uint64 // how often the store was opened
	lsn    bft.LSN
}

func createMark(fsys vfs.FS, dir string) error {
	content := make([]byte, markSlot+markLength)
	first := mark{turn: 1}
	first.encode(content[markSlot:])
	return writeFile(fsys, dir, markName, content)
}

func (m *mark) encode(b []byte) {
	copy(b, markMagic)
	binary.BigEndian.PutUint64(b[8:], m.turn)
	binary.BigEndian.PutUint64(b[16:], m.starts)
	binary.BigEndian.PutUint64(b[24:], uint64(m.lsn))
	binary.BigEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decode reports whether b is a slot, and reads it into m if it is the newer.
func (m *mark) decode(b []byte) bool {
	if len(b) < markLength || string(b[:8]) != markMagic || binary.BigEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return false
	}
	if turn := binary.BigEndian.Uint64(b[8:]); turn >= m.turn {
		m.turn, m.starts = turn, binary.BigEndian.Uint64(b[16:])
		m.lsn = bft.LSN(binary.BigEndian.Uint64(b[24:]))
	}
	return true
}

func openMark(fsys vfs.FS, dir string) (*mark, error) {
	path := fsys.PathJoin(dir, markName)
	if _, err := fsys.Stat(path); errors.Is(err, fs.ErrNotExist) { // OpenReadWrite would create it
		return nil, damaged(path, "it is gone, so nothing tells whether records are missing", nil)
	}
	f, err := fsys.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	content := make([]byte, markSlot+markLength)
	n, err := f.ReadAt(content, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(damaged(path, "it cannot be read", err), f.Close())
	}
	m := &mark{file: f}
	first := n >= markLength && m.decode(content[:markLength])
	second := n == len(content) && m.decode(content[markSlot:])
	if !first && !second {
		return nil, errors.Join(damaged(path, "it does not decode", nil), f.Close())
	}
	return m, nil
}

// write puts the mark into the slot whose turn it is; sync makes it durable at
// once, else the operating system will in its own time.
func (m *mark) write(sync bool) error {
	m.turn++
	var b [markLength]byte
	m.encode(b[:])
	if _, err := m.file.WriteAt(b[:], int64(m.turn%2)*markSlot); err != nil {
		return err
	}
	if sync {
		return m.file.Sync()
	}
	return nil
}
