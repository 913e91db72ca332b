package kv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/RaduBerinde/btreemap"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// formatVersion is the first byte of a snapshot. Those of the first format, which knew neither revisions nor
// leases, begin with a 0 or 1.
const formatVersion = 2

// snapshot is the state at one point. It is written as
//
//	version
//	revision, number of the latest lease
//	leases: how many, and each as appendLease has it, but with what is between their numbers
//	changes: how many, and each with its revision less the one before
//	a byte 1, key and record for each key, in order
//	a byte 0
//
// where numbers are varints and keys, values and records are preceded by their lengths.
type snapshot struct {
	view     app.StoreSnapshot
	revision uint64
	last     uint64
	leases   *btreemap.BTreeMap[uint64, lease]
	leased   *btreemap.BTreeMap[string, uint64]
	changes  []Change
}

// Snapshot returns a handle on the present state.
func (m *machine) Snapshot() (app.Snapshot, error) {
	return snapshot{m.store.Snapshot(), m.revision, m.leases.last, m.leases.byID.Clone(), m.leases.byKey.Clone(), m.history.share()}, nil
}

// WriteTo writes the state.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	c := &counted{w: w}
	b := appendNumbers([]byte{formatVersion}, s.revision, s.last, uint64(s.leases.Len()))
	last := uint64(0)
	for id, l := range s.leases.Ascend(btreemap.Min[uint64](), btreemap.Max[uint64]()) {
		b = c.flush(appendLease(b, id-last, l))
		last = id
	}
	b = appendNumbers(b, uint64(len(s.changes)))
	last = 0
	for i := range s.changes {
		change := &s.changes[i]
		b = append(appendNumbers(b, change.Revision-last), byte(change.Kind))
		b = c.flush(appendField(appendField(b, change.Key), change.Value))
		last = change.Revision
	}
	for key, record := range records(s.view, s.leased, nil, nil) {
		b = c.flush(appendField(appendField(append(b, 1), key), record))
		if c.err != nil {
			break
		}
	}
	c.write(append(b, 0))
	return c.n, c.err
}

// Close releases the view of the store.
func (s snapshot) Close() error { return s.view.Close() }

// counted counts what it writes; the first error sticks.
type counted struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counted) write(b []byte) {
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(b)
		c.n += int64(n)
	}
}

// flush writes b if it is worth it, and returns what is left of it.
func (c *counted) flush(b []byte) []byte {
	const worth = 4 << 10
	if len(b) < worth {
		return b
	}
	c.write(b)
	return b[:0]
}

var errBadSnapshot = errors.New("kv: bad snapshot")

// Restore replaces the state by that of a snapshot. It writes as it reads, so after an error there is part of it.
func (m *machine) Restore(r io.Reader) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.DeleteRange(nil, nil)
	m.revision, m.history, m.leases = 0, history{}, newLeases()
	in := &reader{in: bufio.NewReader(r)}
	version := in.letter()
	switch {
	case in.err != nil:
		return in.err
	case version < formatVersion:
		return errors.New("kv: the snapshot is of the format before transactions and leases, which is no longer read: " +
			"read the data with the program that wrote it, and put it into a new cluster")
	case version > formatVersion:
		return fmt.Errorf("%w: it has version %d, this program reads %d", errBadSnapshot, version, formatVersion)
	}
	m.revision, m.leases.last = in.number(anyNumber), in.number(anyNumber)
	m.restoreLeases(in)
	m.restoreHistory(in)
	m.restoreRecords(in)
	if in.err == nil {
		if _, err := in.in.ReadByte(); err != io.EOF {
			in.fail("bytes follow its end")
		}
	}
	return in.err
}

func (m *machine) restoreLeases(in *reader) {
	id := uint64(0)
	for n := in.number(MaxLeases); n > 0 && in.err == nil; n-- {
		step := in.number(anyNumber)
		id += step
		l := lease{ttl: time.Duration(in.number(uint64(MaxTTL))), end: bft.Time(in.number(anyNumber)), keys: int(in.number(MaxLeaseKeys))}
		copy(l.owner[:], in.bytes(len(l.owner)))
		if in.check(step > 0 && id <= m.leases.last, "leases out of order") {
			m.leases.put(id, l)
		}
	}
}

func (m *machine) restoreHistory(in *reader) {
	revision := uint64(0)
	n := in.number(MaxChanges + MaxTxnOps + MaxTxnDeletes)
	for i := range n {
		step := in.number(anyNumber)
		c := Change{Revision: revision + step, Kind: ChangeKind(in.letter()), Key: in.field(MaxKey), Value: in.field(MaxValue)}
		if !in.check(step <= 1 || i == 0, "revisions are missing") ||
			!in.check(c.Revision > 0 && c.Kind >= Changed && c.Kind <= Expired && (c.Kind == Changed || len(c.Value) == 0), "a change of an unknown kind") {
			return
		}
		revision = c.Revision
		m.history.add(c.Revision, c.Kind, c.Key, c.Value)
	}
	in.check(revision == m.revision, "the changes do not lead to the revision")
}

// restoreRecords restores the keys, and the keys of leases from them.
func (m *machine) restoreRecords(in *reader) {
	var last []byte
	for first := true; ; first = false {
		more := in.letter()
		if !in.check(more <= 1, "an item begins with another byte") || more == 0 {
			break
		}
		key, record := in.field(MaxKey), in.field(maxRecord)
		if !in.check(first || bytes.Compare(last, key) < 0, "keys out of order") ||
			!in.check(m.wellFormed(record), "a malformed record") {
			return
		}
		m.store.Set(appendPlace(nil, key, leaseOf(record)), record)
		if id := leaseOf(record); id != 0 {
			m.leases.hold(id, string(key)) // its lease counts it already
		}
		last = key
	}
	for id, l := range m.leases.byID.Ascend(btreemap.Min[uint64](), btreemap.Max[uint64]()) {
		if !in.check(l.keys == len(m.leases.keysOf(id, MaxLeaseKeys+1)), "a lease has other keys") {
			return
		}
	}
}

// wellFormed tells whether this service could have written the record.
func (m *machine) wellFormed(record []byte) bool {
	if len(record) < recordHead || record[8] > 1 || len(record) < recordHead+8*int(record[8]) {
		return false
	}
	lease := leaseOf(record)
	return len(valueOf(record)) <= MaxValue && revisionOf(record) >= 1 && revisionOf(record) <= m.revision &&
		(record[8] == 0 || lease != 0 && m.leases.byID.Has(lease))
}

// reader reads the parts of a snapshot; the first error sticks, and all that is read after it is zero.
type reader struct {
	in  *bufio.Reader
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errBadSnapshot, what)
	}
}

// check fails if ok does not hold, and tells whether all is well.
func (r *reader) check(ok bool, what string) bool {
	if !ok {
		r.fail(what)
	}
	return r.err == nil
}

func (r *reader) letter() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.in.ReadByte()
	r.broken(err)
	return b
}

// broken notes the error of a stream that ended, or failed, too early.
func (r *reader) broken(err error) {
	switch {
	case err == nil:
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		r.err = fmt.Errorf("%w: %w", errBadSnapshot, io.ErrUnexpectedEOF)
	default:
		r.err = err
	}
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r.in, b)
	r.broken(err)
	return b
}

// number reads a varint in its shortest form, at most limit.
func (r *reader) number(limit uint64) (n uint64) {
	for shift := 0; shift < 63; shift += 7 {
		b := r.letter()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if r.check((b > 0 || shift == 0) && n <= limit, "a number that is too large, or not in its shortest form") {
				return n
			}
			return 0
		}
	}
	r.fail("a number that is too large")
	return 0
}

func (r *reader) field(limit uint64) []byte { return r.bytes(int(r.number(limit))) }
