// Package stored writes and restores the snapshots of a service that keeps all of its state in
// its [app.Store]: each of its two methods is then one line.
//
//	func (m *machine) Snapshot() (app.Snapshot, error) { return stored.Snapshot(m.store), nil }
//	func (m *machine) Restore(r io.Reader) error       { return stored.Restore(m.store, r, maxKey, maxValue) }
package stored

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/baluarte-bft/baluarte/node/app"
)

// ErrBadSnapshot: the bytes are not those of a snapshot, or it has keys or values that are too long.
var ErrBadSnapshot = errors.New("bad snapshot")

// end stands in the place of the last item's length of a key.
const end = math.MaxUint32

// snapshot is the contents of a store at one point. It is written as an item for each key, in
// order: the lengths of key and value, 4 bytes each, then both; and last two lengths that are end.
type snapshot struct{ view app.StoreSnapshot }

// Snapshot returns the present contents of the store. It is cheap, however much that is.
func Snapshot(s app.Store) app.Snapshot { return snapshot{s.Snapshot()} }

// WriteTo writes the contents.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	var total int64
	var item []byte
	for key, value := range s.view.Scan(nil, nil) {
		item = binary.BigEndian.AppendUint32(item[:0], uint32(len(key)))
		item = binary.BigEndian.AppendUint32(item, uint32(len(value)))
		item = append(append(item, key...), value...)
		n, err := w.Write(item)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	n, err := w.Write(bytes.Repeat([]byte{0xff}, 8))
	return total + int64(n), err
}

// Close releases the view of the store.
func (s snapshot) Close() error { return s.view.Close() }

// Restore replaces the contents of the store by those of a snapshot, which it reads to the end.
// Keys and values longer than that many bytes are refused with ErrBadSnapshot, like all that
// WriteTo does not write. It writes as it reads: after an error the store has part of them.
func Restore(s app.Store, r io.Reader, maxKey, maxValue int) error {
	s.DeleteRange(nil, nil)
	in := bufio.NewReader(r)
	var last []byte
	for first := true; ; first = false {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return broken(err)
		}
		keyBytes, valueBytes := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
		if keyBytes == end && valueBytes == end {
			if _, err := in.ReadByte(); err != io.EOF {
				return fmt.Errorf("%w: bytes follow its end", ErrBadSnapshot)
			}
			return nil
		}
		if uint64(keyBytes) > uint64(maxKey) || uint64(valueBytes) > uint64(maxValue) {
			return fmt.Errorf("%w: an item of %d and %d bytes", ErrBadSnapshot, keyBytes, valueBytes)
		}
		item := make([]byte, keyBytes+valueBytes)
		if _, err := io.ReadFull(in, item); err != nil {
			return broken(err)
		}
		key := item[:keyBytes:keyBytes]
		if !first && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: keys out of order", ErrBadSnapshot)
		}
		s.Set(key, item[keyBytes:])
		last = key
	}
}

// broken returns the error for a stream that ended, or failed, within an item.
func broken(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, io.ErrUnexpectedEOF)
	}
	return err
}
