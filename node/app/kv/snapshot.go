package kv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/baluarte-bft/baluarte/node/app"
)

// snapshot is the contents at one point. It is written as an item for each key, in order: a
// byte 1, then key and value, each preceded by its length as a varint; and last a byte 0.
type snapshot struct{ view app.StoreSnapshot }

// Snapshot returns a handle on the present contents.
func (m *machine) Snapshot() (app.Snapshot, error) { return snapshot{m.store.Snapshot()}, nil }

// WriteTo writes the contents.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	var total int64
	var item []byte
	for key, value := range s.view.Scan(nil, nil) {
		item = appendField(appendField(append(item[:0], 1), key), value)
		n, err := w.Write(item)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	n, err := w.Write([]byte{0})
	return total + int64(n), err
}

// Close releases the view of the store.
func (s snapshot) Close() error { return s.view.Close() }

var errBadSnapshot = errors.New("kv: bad snapshot")

// Restore replaces the contents by those of a snapshot. It writes as it reads, so after an error
// the store has part of them.
func (m *machine) Restore(r io.Reader) error {
	m.store.DeleteRange(nil, nil)
	in := bufio.NewReader(r)
	var last []byte
	for first := true; ; first = false {
		more, err := in.ReadByte()
		switch {
		case err != nil:
			return broken(err)
		case more > 1:
			return fmt.Errorf("%w: an item begins with %d", errBadSnapshot, more)
		case more == 0:
			if _, err := in.ReadByte(); err != io.EOF {
				return fmt.Errorf("%w: bytes follow its end", errBadSnapshot)
			}
			return nil
		}
		key, err := readField(in, MaxKey)
		if err != nil {
			return err
		}
		value, err := readField(in, MaxValue)
		if err != nil {
			return err
		}
		if !first && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: keys out of order", errBadSnapshot)
		}
		m.store.Set(key, value)
		last = key
	}
}

func readField(in *bufio.Reader, limit uint64) ([]byte, error) {
	n, err := readLength(in)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%w: a field of %d bytes", errBadSnapshot, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, broken(err)
	}
	return b, nil
}

// readLength reads a varint in its shortest form, which alone WriteTo writes.
func readLength(in *bufio.Reader) (n uint64, err error) {
	for shift := 0; shift < 63; shift += 7 {
		b, err := in.ReadByte()
		if err != nil {
			return 0, broken(err)
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 && (b > 0 || shift == 0) {
			return n, nil
		}
		if b == 0 {
			break
		}
	}
	return 0, fmt.Errorf("%w: a length is not in its shortest form", errBadSnapshot)
}

// broken returns the error for a stream that ended, or failed, within an item.
func broken(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w", errBadSnapshot, io.ErrUnexpectedEOF)
	}
	return err
}
