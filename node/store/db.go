package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
)

// Areas of the key space: the first byte of each key.
const (
	areaMeta    = 1
	areaRecords = 2
)

var (
	keyBirth    = []byte{areaMeta, 'b'}
	keyHead     = []byte{areaMeta, 'h'}
	keyAmnesiac = []byte{areaMeta, 'a'}
)

func putKey(dst []byte, area byte, key []byte) {
	dst[0] = area
	copy(dst[1:], key)
}

// head is written with each commit: what a complete database holds.
type head struct {
	lsn   bft.LSN
	count uint64 // of the live core records
	sum   uint64 // of their hashes, modulo 2^64
}

func (h head) encode() []byte {
	b := make([]byte, 24)
	binary.BigEndian.PutUint64(b, uint64(h.lsn))
	binary.BigEndian.PutUint64(b[8:], h.count)
	binary.BigEndian.PutUint64(b[16:], h.sum)
	return b
}

func decodeHead(b []byte) (h head, ok bool) {
	if len(b) != 24 {
		return h, false
	}
	return head{bft.LSN(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, true
}

// live knows the hash of each live core record, by key, so that count and sum
// can follow every change. The keys are split by their first byte because the core
// deletes ranges within one of its areas. Its size is bounded by the core's log
// window.
type live struct {
	areas [256]map[string]uint64
	count uint64
	sum   uint64
}

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

func (l *live) set(key, value []byte) {
	var area byte
	if len(key) > 0 {
		area = key[0]
	}
	m := l.areas[area]
	if m == nil {
		m = make(map[string]uint64)
		l.areas[area] = m
	}
	h := recordHash(key, value)
	if old, ok := m[string(key)]; ok {
		l.sum -= old
	} else {
		l.count++
	}
	m[string(key)] = h
	l.sum += h
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
		for k, h := range l.areas[a] {
			if k >= lo && k < hi {
				delete(l.areas[a], k)
				l.count--
				l.sum -= h
			}
		}
	}
}

// dbOptions are the same for Init and Open. Records live for two checkpoint
// intervals at most, then a range deletion covers them: with a large memtable most of
// them meet it there and never reach a table, or only a small one.
func dbOptions(fsys vfs.FS, s *Store) *pebble.Options {
	o := &pebble.Options{
		FS: fsys,
		// Pinned: log chunks that tell damage from a torn tail (since FormatWALSyncChunks), tables
		// with a checksum over the footer. A newer one waits for a reason.
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   16 << 20,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		MaxOpenFiles:                256,
		// The log is not synced in between: each commit syncs all of it.
		WALBytesPerSync: 0,
		Logger:          pebbleLog{s},
		// A background write stall of some seconds is the operator's business, not a reason to stop.
		EventListener: &pebble.EventListener{},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if s != nil {
		o.EventListener.DataCorruption = s.onRecordCorruption
		o.EventListener.DiskSlow = func(i pebble.DiskSlowInfo) { log.Warnf("the disk is slow: %s", i) }
		o.EventListener.WriteStallBegin = func(i pebble.WriteStallBeginInfo) { log.Warnf("writes wait for compactions: %s", i) }
	}
	return o
}

// openDB opens the database and turns what is wrong with it into one of the
// errors of this package.
func (s *Store) openDB() (db *pebble.DB, err error) {
	path := s.fs.PathJoin(s.opts.Dir, dbName)
	defer func() {
		if p := recover(); p != nil { // some damaged files make Pebble panic
			db, err = nil, s.blame(path, fmt.Errorf("%v", p))
		}
	}()
	if _, err := s.fs.Stat(path); notExist(err) {
		return nil, damaged(path, "the database is gone though the birth record is there", nil)
	}
	o := dbOptions(s.fs, s)
	o.ErrorIfNotExists = true
	db, err = pebble.Open(path, o)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return nil, damaged(path, "it holds no database though the birth record is there", nil)
	case notDamage(err):
		return nil, fmt.Errorf("store: opening %s: %w", path, err)
	}
	return nil, s.blame(path, err)
}

// notDamage tells refusals of the operating system, which say nothing about the
// contents, from damage.
func notDamage(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EROFS, syscall.ENOMEM, syscall.EAGAIN} {
		if errors.Is(err, no) {
			return true
		}
	}
	return errors.Is(err, fs.ErrPermission)
}

var fileInError = regexp.MustCompile(`replaying wal (\d+)|\b(MANIFEST-\d+|OPTIONS-\d+|\d+\.(?:sst|log|blob))\b`)

// blame makes a DamageError that names the file, if the error tells which it is.
func (s *Store) blame(path string, err error) error {
	text := fmt.Sprintf("%+v", err)
	if m := fileInError.FindStringSubmatch(text); m != nil {
		name := m[2]
		if m[1] != "" {
			name = fmt.Sprintf("%06s.log", m[1])
		}
		path = s.fs.PathJoin(path, name)
	}
	return damaged(path, "records were lost or changed", err)
}

// onRecordCorruption hears of damage that reads and compactions meet later, when there
// is no caller to give an error to.
func (s *Store) onRecordCorruption(i pebble.DataCorruptionInfo) {
	err := damaged(i.Path, "a block does not match its checksum", i.Details)
	if s.stats.opened.Load() {
		s.fatal(err)
	}
}

// load reads the records of the core and compares them with head and mark.
func (s *Store) load(birth []byte) (st *State, err error) {
	path := s.fs.PathJoin(s.opts.Dir, dbName)
	b, err := s.get(keyBirth)
	if err != nil || !bytes.Equal(b, birth) {
		return nil, damaged(path, "its birth record is missing or not the one in the file birth, so the two do not belong together", err)
	}
	h, err := s.get(keyHead)
	if err != nil {
		return nil, damaged(path, "the head record is missing", err)
	}
	var ok bool
	if s.head, ok = decodeHead(h); !ok {
		return nil, damaged(path, "the head record does not decode", nil)
	}
	st = &State{LSN: s.head.lsn}
	if reason, err := s.get(keyAmnesiac); err == nil {
		st.Amnesiac = string(reason)
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return nil, s.blame(path, err)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{areaRecords}, UpperBound: []byte{areaRecords + 1}})
	if err != nil {
		return nil, s.blame(path, err)
	}
	for it.First(); it.Valid(); it.Next() {
		kv := bft.KV{Key: bytes.Clone(it.Key()[1:]), Value: bytes.Clone(it.Value())}
		st.Records = append(st.Records, kv)
		s.live.set(kv.Key, kv.Value)
	}
	if err := it.Close(); err != nil {
		return nil, s.blame(path, err)
	}
	switch {
	case s.head.lsn < s.mark.lsn:
		return nil, damaged(path, fmt.Sprintf("its records end at %d, but %d were durable", s.head.lsn, s.mark.lsn), nil)
	case s.live.count != s.head.count || s.live.sum != s.head.sum:
		return nil, damaged(path, fmt.Sprintf("it has %d records where there were %d, or not the same", s.live.count, s.head.count), nil)
	}
	s.stats.opened.Store(true)
	return st, nil
}

func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(v), closer.Close()
}

// stats are counters of one store.
type stats struct {
	opened           atomic.Bool
	commits, records atomic.Uint64
}

// Stats are counters of a store since it was opened.
type Stats struct {
	Commits, Records uint64 // group commits, that is fsyncs, and records in them
	BacklogBytes     int    // waiting to be committed
	DiskBytes        uint64 // used by the database
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	return Stats{Commits: s.stats.commits.Load(), Records: s.stats.records.Load(), BacklogBytes: s.Backlog(),
		DiskBytes: s.db.Metrics().DiskSpaceUsage() + s.state.Metrics().DiskSpaceUsage()}
}

// pebbleLog turns Pebble's messages into ours.
type pebbleLog struct{ s *Store }

// Infof logs what Pebble does in the normal course at debug level.
func (l pebbleLog) Infof(format string, args ...any) { log.Debugf(format, args...) }

// Errorf logs what Pebble finds wrong but survives.
func (l pebbleLog) Errorf(format string, args ...any) { log.Warnf(format, args...) }

// Fatalf is what Pebble calls when a write of it failed: it must not return.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("store: "+strings.TrimPrefix(format, "pebble: "), args...)
	if l.s == nil {
		panic(err)
	}
	l.s.fatal(fmt.Errorf("%w; check the disk and start again", err))
}
