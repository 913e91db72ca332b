package kv

import (
	"encoding/binary"
	"iter"

	"github.com/RaduBerinde/btreemap"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// A record is what the store has for a key, see appendPlace: the revision of the last change, 8 bytes; a byte 0, or a byte 1 and the
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

// appendPlace appends where the store has the record of a key: a byte 0 and the key; of one on a lease a byte 1, the lease in 8
// bytes, and the key. So no range of keys goes over records of leases that have ended, however many there are.
func appendPlace(b, key []byte, lease uint64) []byte {
	if lease == 0 {
		b = append(b, 0)
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 1), lease)
	}
	return append(b, key...)
}

// records goes through the records of the keys from start to below end, nil for the end of all, in order of keys. leased has
// the keys that are on leases.
func records(store app.Reader, leased *btreemap.BTreeMap[string, uint64], start, end []byte) iter.Seq2[[]byte, []byte] {
	stop, last := []byte{1}, btreemap.Max[string]()
	if end != nil {
		stop, last = appendPlace(nil, end, 0), btreemap.LT(string(end))
	}
	return func(yield func(key, record []byte) bool) {
		at := string(start)
		onLeases := func(below btreemap.UpperBound[string]) bool {
			for key, id := range leased.Ascend(btreemap.GE(at), below) {
				record, _ := store.Get(appendPlace(nil, []byte(key), id))
				if !yield([]byte(key), record) {
					return false
				}
			}
			return true
		}
		for place, record := range store.Scan(appendPlace(nil, start, 0), stop) {
			key := place[1:]
			if leased.Len() > 0 {
				if !onLeases(btreemap.LT(string(key))) {
					return
				}
				at = string(key)
			}
			if !yield(key, record) {
				return
			}
		}
		onLeases(last)
	}
}

func (m *machine) records(start, end []byte) iter.Seq2[[]byte, []byte] {
	return records(m.store, m.leases.byKey, start, end)
}

// get returns the record of a key that is there.
func (m *machine) get(key []byte) ([]byte, bool) {
	return m.store.Get(appendPlace(make([]byte, 0, 1+8+len(key)), key, m.leases.of(key)))
}

// erase removes a record of a key from the store.
func (m *machine) erase(key []byte, lease uint64) {
	m.place = appendPlace(m.place[:0], key, lease)
	m.store.Delete(m.place)
}

// set makes value the value of a key, as of the present revision. The lease, if it is not 0, is there.
func (m *machine) set(key, value []byte, lease uint64) {
	m.scratch = appendRecord(m.scratch[:0], m.revision, lease, value)
	m.write(key, m.scratch)
	if lease != 0 {
		m.sweep(1)
	}
	m.history.add(m.revision, Changed, key, value)
}

// write makes a record that of its key, which it puts on the record's lease.
func (m *machine) write(key, record []byte) {
	old, lease := m.leases.of(key), leaseOf(record)
	if old != lease {
		if old != 0 {
			m.take(key)
		} else if _, there := m.get(key); there { // most are not, and what is deleted costs those who read
			m.take(key)
		}
		if lease != 0 {
			m.leases.attach(lease, key)
		}
	}
	m.place = appendPlace(m.place[:0], key, lease)
	m.store.Set(m.place, record)
}

// take removes a key that is there, without a change.
func (m *machine) take(key []byte) {
	lease := m.leases.of(key)
	m.erase(key, lease)
	if lease != 0 {
		m.leases.detach(lease, key)
	}
}

// remove removes a key that is there, as of the present revision.
func (m *machine) remove(key []byte, kind ChangeKind) {
	m.take(key)
	m.history.add(m.revision, kind, key, nil)
}

// put back what a key was before, in whatever order of keys; its record is nil if it was not there.
func (m *machine) reset(key, record []byte) {
	if record == nil {
		m.take(key)
		return
	}
	m.write(key, record)
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
