package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baluarte-bft/baluarte/bft"
)

const (
	// logBytes is the size from which on a log is followed by the next.
	logBytes = 64 << 20
	// logSpare is how many logs that are not needed any more are kept to be written over: a sync
	// of a file that does not grow costs the file system much less.
	logSpare = 4
	// logPreallocate is what a log grows by on the disk.
	logPreallocate = 4 << 20
	// logWorthMoving: a log is given up when no more than 1/logWorthMoving of a full one is live
	// in it, which is written again.
	logWorthMoving = 8
	logVersion     = 1
)

// recordLog is the log of the core's records: numbered files that are written one after
// the other by Pebble's package for write-ahead logs. Each commit is one record of it. The first
// commit of each file, its header, says where the one before it ended and which is the oldest
// file that is needed.
//
// The records of the core live for two checkpoint intervals at most, so a file is needed
// until all behind it has been cut. The few that live longer are moved to the newest file.
// Nothing is written twice otherwise.
//
// Invariants: oldest ≤ num; every live record is in a file from oldest on, and live knows in which.
type recordLog struct {
	fs       vfs.FS
	dir      string
	birth    []byte // of the birth record
	amnesiac string

	manager wal.Manager
	writer  wal.Writer // nil: none is open
	oldest  wal.NumWAL
	num     wal.NumWAL // of the file that is written
	seq     uint64     // of commits in it
	size    int64      // of it
	full    int64      // the size at which the next one is begun

	live live
	head head
	buf  []byte
}

// logEvents hears of new files.
type logEvents struct{}

// LogCreated logs it.
func (logEvents) LogCreated(i wal.CreateInfo) {
	log.Debugf("log %s created, from %d: %v", i.Path, uint64(i.RecycledFileNum), i.Err)
}

func newRecordLog(fsys vfs.FS, dir string, birth []byte) *recordLog {
	return &recordLog{fs: fsys, dir: fsys.PathJoin(dir, logName), birth: birth, full: logBytes, live: newLive()}
}

// start prepares writing; earlier files are those that are there.
func (l *recordLog) start(s *Store, earlier wal.Logs) (err error) {
	l.manager, err = wal.Init(wal.Options{
		Primary:              wal.Dir{FS: l.fs, Dirname: l.dir},
		MinUnflushedWALNum:   l.oldest,
		MaxNumRecyclableLogs: logSpare,
		PreallocateSize:      func() int { return logPreallocate },
		// The log says in each chunk how far it was synced only if it has this.
		FsyncLatency:        prometheus.NewHistogram(prometheus.HistogramOpts{Name: "baluarte_store_log_fsync_nanoseconds"}),
		Logger:              pebbleLog{s},
		EventListener:       logEvents{},
		WriteWALSyncOffsets: func() bool { return true },
	}, earlier)
	return err
}

// next begins the file num, moves to it what is live in the oldest files if that is little, and
// lets those go.
func (l *recordLog) next(num wal.NumWAL) error {
	if l.writer != nil {
		// Its end is durable before the next one begins.
		if _, err := l.writer.Close(); err != nil {
			return err
		}
		l.writer = nil
	}
	oldest := l.oldest
	for oldest < num && l.live.bytes[oldest] <= l.full/logWorthMoving {
		oldest++
	}
	moved, err := l.movable(oldest)
	if err != nil {
		return err
	}
	if l.writer, err = l.manager.Create(num, 0); err != nil {
		return err
	}
	l.num, l.oldest, l.seq = num, oldest, 0
	b := append(l.begin(), entryHeader, logVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(oldest))
	b = append(b, l.head.encode()...)
	b = appendBytes(b, l.birth)
	b = appendBytes(b, []byte(l.amnesiac))
	for _, kv := range moved {
		b = l.put(b, kv.Key, kv.Value)
	}
	if err := l.commit(b); err != nil {
		return err
	}
	gone, err := l.manager.Obsolete(oldest, false)
	if err != nil {
		return err
	}
	for _, g := range gone {
		if err := g.FS.Remove(g.Path); ignoreMissing(err) != nil {
			return err
		}
	}
	return nil
}

// movable reads what is live in the files below oldest.
func (l *recordLog) movable(oldest wal.NumWAL) ([]bft.KV, error) {
	values := map[string][]byte{}
	want := 0
	var logs wal.Logs
	for num, n := range l.live.keys {
		if num >= oldest || n == 0 {
			continue
		}
		want += n
		if logs == nil {
			var err error
			if logs, err = wal.Scan(wal.Dir{FS: l.fs, Dirname: l.dir}); err != nil {
				return nil, err
			}
		}
		file, ok := logs.Get(num)
		if !ok {
			return nil, damaged(l.path(num), "it is gone though it is needed", nil)
		}
		err := readLog(file, func(c *commit) error {
			for _, e := range c.entries {
				if r, ok := l.live.get(e.key); ok && !e.cut && r.log == num && r.hash == recordHash(e.key, e.value) {
					values[string(e.key)] = e.value
				}
			}
			return nil
		})
		if err != nil {
			return nil, damaged(l.path(num), "records in it cannot be read", err)
		}
	}
	if len(values) != want {
		return nil, damaged(l.dir, fmt.Sprintf("of %d records only %d can be read", want, len(values)), nil)
	}
	moved := make([]bft.KV, 0, len(values))
	for k, v := range values {
		moved = append(moved, bft.KV{Key: []byte(k), Value: v})
	}
	slices.SortFunc(moved, compareKV)
	return moved, nil
}

func (l *recordLog) path(num wal.NumWAL) string { return l.fs.PathJoin(l.dir, num.String()+".log") }

// commitHeader is the space for what the log's reader wants to see at the head of each record: a
// number that rises within the file, and a count.
const commitHeader = 12

// begin returns a buffer for a commit.
func (l *recordLog) begin() []byte {
	var none [commitHeader]byte
	if cap(l.buf) > 2*commitBytes {
		l.buf = nil // one huge record is no reason to keep that much
	}
	return append(l.buf[:0], none[:]...)
}

// put adds a record to the commit b.
func (l *recordLog) put(b, key, value []byte) []byte {
	l.live.set(key, value, l.num, nil)
	return appendBytes(appendBytes(append(b, entrySet), key), value)
}

// cut adds a range deletion.
func (l *recordLog) cut(b, from, to []byte) []byte {
	l.live.deleteRange(from, to)
	return appendBytes(appendBytes(append(b, entryCut), from), to)
}

// commit makes b durable: nothing of it, or all.
func (l *recordLog) commit(b []byte) error {
	l.head.count, l.head.sum = l.live.count, l.live.sum
	b = append(append(b, entryHead), l.head.encode()...)
	l.buf = b
	l.seq++
	binary.LittleEndian.PutUint64(b, l.seq)
	binary.LittleEndian.PutUint32(b[8:], 1)
	var done sync.WaitGroup
	var failed error
	done.Add(1)
	size, err := l.writer.WriteRecord(b, wal.SyncOptions{Done: &done, Err: &failed}, nil)
	if err != nil {
		return err
	}
	done.Wait()
	l.size = size
	return failed
}

// close ends the log in order.
func (l *recordLog) close() error {
	var err error
	if l.writer != nil {
		_, err = l.writer.Close()
		l.writer = nil
	}
	if l.manager != nil {
		err = errors.Join(err, l.manager.Close())
	}
	return err
}

// The entries of a commit: a letter, then fields, byte strings with their length as a varint.
const (
	entryHeader = 'B' // version, oldest file, the head before this file; birth record, why amnesiac
	entrySet    = 'S' // key, value
	entryCut    = 'D' // the first key of a range and the one behind it
	entryHead   = 'H' // the head, last in each commit
)

func appendBytes(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// commit is what one commit holds.
type commit struct {
	header  *logHeader // of the first one in a file
	entries []logEntry
	head    head
}

// logHeader is what the first commit of a file says.
type logHeader struct {
	oldest          wal.NumWAL
	before          head
	birth, amnesiac []byte
}

// logEntry is a record, or with cut the deletion of [key, to).
type logEntry struct {
	key, value []byte
	to         []byte
	cut        bool
}

var errBadCommit = errors.New("a commit does not decode")

// decodeCommit decodes a commit; what it returns points into b.
func decodeCommit(b []byte) (c *commit, err error) {
	if len(b) < commitHeader {
		return nil, errBadCommit
	}
	f := logFields{rest: b[commitHeader:]}
	c = &commit{}
	for !f.bad && len(f.rest) > 0 {
		switch f.take(1)[0] {
		case entryHeader:
			c.header = &logHeader{}
			if v := f.take(1)[0]; v != logVersion {
				return nil, fmt.Errorf("the log has format %d, this program writes %d", v, logVersion)
			}
			c.header.oldest = wal.NumWAL(binary.BigEndian.Uint64(f.take(8)))
			c.header.before, _ = decodeHead(f.take(headLength))
			c.header.birth, c.header.amnesiac = f.field(), f.field()
		case entrySet:
			c.entries = append(c.entries, logEntry{key: f.field(), value: f.field()})
		case entryCut:
			c.entries = append(c.entries, logEntry{key: f.field(), to: f.field(), cut: true})
		case entryHead:
			c.head, _ = decodeHead(f.take(headLength))
			if f.bad || len(f.rest) > 0 {
				return nil, errBadCommit
			}
			return c, nil
		default:
			return nil, errBadCommit
		}
	}
	return nil, errBadCommit
}

// logFields reads fields; bad is set for good by the first that is not whole.
type logFields struct {
	rest []byte
	bad  bool
}

// take returns n bytes, zeros if there are no more.
func (f *logFields) take(n int) []byte {
	if f.bad || n > len(f.rest) {
		f.bad = true
		return make([]byte, min(n, headLength))
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

func (f *logFields) field() []byte {
	n, k := binary.Uvarint(f.rest)
	if f.bad || k <= 0 || n > uint64(len(f.rest)-k) {
		f.bad = true
		return nil
	}
	f.rest = f.rest[k:]
	return f.take(int(n))
}

// readLog gives each commit of a file. A commit at the end that a crash cut short is not one. An error of use
// ends it.
func readLog(file wal.LogicalLog, use func(*commit) error) (err error) {
	r := file.OpenForRead()
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		rec, _, err := r.NextRecord()
		if errors.Is(err, io.EOF) || errors.Is(err, record.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(rec) // what use keeps of it must not change
		if err != nil {
			return err
		}
		c, err := decodeCommit(b)
		if err != nil {
			return err
		}
		if err := use(c); err != nil {
			return err
		}
	}
}
