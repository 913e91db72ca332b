package store

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/baluarte-bft/baluarte/bft"
)

const headLength = 24

// head is written with each commit: what a complete log holds.
type head struct {
	lsn   bft.LSN
	count uint64 // of the live core records
	sum   uint64 // of their hashes, modulo 2^64
}

func (h head) encode() []byte {
	b := make([]byte, headLength)
	binary.BigEndian.PutUint64(b, uint64(h.lsn))
	binary.BigEndian.PutUint64(b[8:], h.count)
	binary.BigEndian.PutUint64(b[16:], h.sum)
	return b
}

func decodeHead(b []byte) (h head, ok bool) {
	if len(b) != headLength {
		return h, false
	}
	return head{bft.LSN(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, true
}

// liveRecord is what is known of a live core record.
type liveRecord struct {
	hash  uint64
	log   wal.NumWAL // the file that it is in
	size  int
	value []byte // only while the log is loaded
}

// live knows each live core record, by key, so that count and sum
// can follow every change, and how much of each file is live. The keys are split by their first byte because the core
// deletes ranges within one of its areas. Its size is bounded by the core's log
// window.
type live struct {
	areas [256]map[string]liveRecord
	count uint64
	sum   uint64
	bytes map[wal.NumWAL]int64 // by file; none is 0
	keys  map[wal.NumWAL]int
}

func newLive() live { return live{bytes: map[wal.NumWAL]int64{}, keys: map[wal.NumWAL]int{}} }

func recordHash(key, value []byte) uint64 {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(key)))
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(n[:])
	_, _ = d.Write(key)
	_, _ = d.Write(value)
	return d.Sum64()
}

func areaOf(key []byte) byte {
	if len(key) == 0 {
		return 0
	}
	return key[0]
}

func (l *live) get(key []byte) (liveRecord, bool) {
	r, ok := l.areas[areaOf(key)][string(key)]
	return r, ok
}

// set takes a record that was written to the file log; keep is its value while the log is loaded, else nil.
func (l *live) set(key, value []byte, log wal.NumWAL, keep []byte) {
	m := l.areas[areaOf(key)]
	if m == nil {
		m = make(map[string]liveRecord)
		l.areas[areaOf(key)] = m
	}
	if old, ok := m[string(key)]; ok {
		l.drop(&old)
	}
	r := liveRecord{hash: recordHash(key, value), log: log, size: len(key) + len(value), value: keep}
	m[string(key)] = r
	l.count++
	l.sum += r.hash
	l.bytes[log] += int64(r.size)
	l.keys[log]++
}

func (l *live) drop(r *liveRecord) {
	l.count--
	l.sum -= r.hash
	l.bytes[r.log] -= int64(r.size)
	if l.keys[r.log]--; l.keys[r.log] == 0 {
		delete(l.keys, r.log)
		delete(l.bytes, r.log)
	}
}

// deleteRange forgets the keys in [from, to).
func (l *live) deleteRange(from, to []byte) {
	first, last := 0, 255
	if len(from) > 0 {
		first = int(from[0])
	}
	if len(to) > 0 {
		last = int(to[0])
	}
	lo, hi := string(from), string(to)
	for a := first; a <= last; a++ {
		for k, r := range l.areas[a] {
			if k >= lo && k < hi {
				delete(l.areas[a], k)
				l.drop(&r)
			}
		}
	}
}
