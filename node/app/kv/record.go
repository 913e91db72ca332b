package kv

import (
	"encoding/binary"

	"github.com/baluarte-bft/baluarte/bft"
)

// A record is what the store has for a key: the revision of the last change, 8 bytes; a byte 0, or a byte 1 and the
// lease of the key, 8 bytes; and the value.
const recordHead = 8 + 1

const maxRecord = recordHead + 8 + MaxValue

func appendRecord(b []byte, revision, lease uint64, value []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, revision)
	if lease == 0 {
		b = append(b, 0)
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 1), lease)
	}
	return append(b, value...)
}

func revisionOf(record []byte) uint64 {
	if len(record) == 0 {
		return 0
	}
	return binary.BigEndian.Uint64(record)
}

// leaseOf returns the lease of a record, 0 if it has none.
func leaseOf(record []byte) uint64 {
	if len(record) == 0 || record[8] == 0 {
		return 0
	}
	return binary.BigEndian.Uint64(record[recordHead:])
}

// valueOf returns the value in a record, nil of no record.
func valueOf(record []byte) []byte {
	switch {
	case len(record) == 0:
		return nil
	case record[8] == 0:
		return record[recordHead:]
	}
	return record[recordHead+8:]
}

// set makes value the value of a key, as of the present revision. The lease, if it is not 0, is there.
func (m *machine) set(key, value []byte, lease uint64) {
	m.detach(key)
	m.scratch = appendRecord(m.scratch[:0], m.revision, lease, value)
	m.store.Set(key, m.scratch)
	if lease != 0 {
		m.leases.attach(lease, key)
		m.sweep(1)
	}
	m.history.add(m.revision, Changed, key, value)
}

// remove removes a key that is there, as of the present revision.
func (m *machine) remove(key []byte, kind ChangeKind) {
	m.detach(key)
	m.store.Delete(key)
	m.history.add(m.revision, kind, key, nil)
}

// get returns the record of a key that is there.
func (m *machine) get(key []byte) ([]byte, bool) {
	record, ok := m.store.Get(key)
	if m.leftover(record) {
		return nil, false
	}
	return record, ok
}

// detach takes the key off its lease, if it has one. Without keys on leases it need not read the key.
func (m *machine) detach(key []byte) {
	if m.leases.keys.Len() == 0 {
		return
	}
	if record, ok := m.store.Get(key); ok && leaseOf(record) != 0 {
		m.leases.detach(leaseOf(record), string(key))
	}
}

// put back what a key was before, in whatever order of keys; its record is nil if it was not there.
func (m *machine) reset(key, record []byte) {
	m.detach(key)
	if record == nil {
		m.store.Delete(key)
		return
	}
	m.store.Set(key, record)
	if lease := leaseOf(record); lease != 0 {
		m.leases.attach(lease, key)
	}
}

// appendEntry appends what a list tells of a record.
func (m *machine) appendEntry(b, record []byte) []byte {
	lease, end := leaseOf(record), bft.Time(0)
	if lease != 0 {
		_, l, _ := m.leases.byID.Get(lease)
		end = l.end
	}
	return appendField(appendNumbers(b, revisionOf(record), lease, uint64(end)), valueOf(record))
}
