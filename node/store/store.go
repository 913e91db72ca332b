package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
)

var log = logging.Logger("baluarte/store")

// Options of Open.
type Options struct {
	// Dir is the directory that Init made.
	Dir string
	// FS is nil for the operating system's files; tests wrap it with faults.
	FS vfs.FS
	// Identity is who the store must belong to.
	Identity Identity
	// Durable is told the LSN of the last durable record, after each commit, by the store's own
	// goroutine. It must not block for long: the next commit waits for it.
	Durable func(bft.LSN)
	// MaxQueueBytes is the size of the waiting records above which Full reports true.
	// 0: DefaultQueueBytes.
	MaxQueueBytes int
	// Fatal ends the process: a write or an fsync has failed, and what is on the disk is not
	// known any more (rule 16). If it returns, the goroutine that called it blocks for ever.
	// nil: a line to the standard error, and exit status 1.
	Fatal func(error)

	logBytes int64 // for tests: the size of a file of the log; 0: the constant
}

// DefaultQueueBytes is the default of Options.MaxQueueBytes, 32 MiB.
const DefaultQueueBytes = 32 << 20

// commitBytes bounds the records of one commit, so that a backlog does not
// become a single huge batch.
const commitBytes = 8 << 20

// lazyDelay is how long records that nobody waits for may wait for company.
const lazyDelay = 5 * time.Millisecond

// recordOverhead is what a queued record counts beyond key and value.
const recordOverhead = 96

// State is what a store holds for the core when it is opened.
type State struct {
	Records []bft.KV // in the order of their keys
	LSN     bft.LSN  // of the last durable record
	// Born: the store was never opened before.
	Born bool
	// Amnesiac is the reason of an earlier Rebuild, or empty.
	Amnesiac string
	Birth    Birth
}

// Store is the durable store of one replica. All methods may be called by any
// goroutine.
//
// Invariants: the LSNs of Append rise; queued is the size of queue; the
// goroutine of run alone touches log, and mark.
type Store struct {
	opts  Options
	fs    vfs.FS
	log   *recordLog
	state *pebble.DB // of the services
	lock  io.Closer

	mu      sync.Mutex
	queue   []bft.Record
	spare   []bft.Record // the other of two buffers that run swaps
	queued  int
	urgent  bool // of what is in queue, something is waited for
	closing bool

	wake chan struct{} // of capacity 1
	done chan struct{} // closed when run has ended

	mark  *mark
	stats stats

	stage stage
}

// Open opens the store that Init made. Its errors are ErrNotInitialised, ErrForeign,
// ErrLocked, a *DamageError, or one of the file system.
func Open(o Options) (*Store, *State, error) {
	if o.MaxQueueBytes == 0 {
		o.MaxQueueBytes = DefaultQueueBytes
	}
	s := &Store{opts: o, fs: orDisk(o.FS), wake: make(chan struct{}, 1), done: make(chan struct{})}
	lock, err := lockDir(s.fs, o.Dir)
	if err != nil {
		return nil, nil, err
	}
	s.lock = lock
	st, err := s.open()
	if err != nil {
		if s.log != nil {
			err = errors.Join(err, s.log.close())
		}
		if s.state != nil {
			err = errors.Join(err, s.state.Close())
		}
		if s.mark != nil {
			err = errors.Join(err, s.mark.file.Close())
		}
		return nil, nil, errors.Join(err, lock.Close())
	}
	go s.run()
	return s, st, nil
}

func (s *Store) open() (*State, error) {
	birth, text, err := readBirth(s.fs, s.opts.Dir)
	if err != nil {
		return nil, err
	}
	if err := birth.matches(s.opts.Dir, s.opts.Identity); err != nil {
		return nil, err
	}
	if s.mark, err = openMark(s.fs, s.opts.Dir); err != nil {
		return nil, err
	}
	s.log = newRecordLog(s.fs, s.opts.Dir, text)
	if s.opts.logBytes > 0 {
		s.log.full = s.opts.logBytes
	}
	st, earlier, err := s.log.load(s.mark)
	if err != nil {
		return nil, err
	}
	st.Birth = *birth
	st.Born = s.mark.starts == 0 && st.LSN == 0
	// The start itself is made durable before anything can be promised: a later
	// one is never taken for the first.
	s.mark.starts++
	s.mark.lsn = st.LSN
	if err := s.mark.write(true); err != nil {
		return nil, fmt.Errorf("store: writing the mark: %w", err)
	}
	if err := s.log.start(s, earlier); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.log.next(s.log.num + 1); err != nil {
		return nil, fmt.Errorf("store: beginning a log in %s: %w", s.log.dir, err)
	}
	if err := s.openState(); err != nil {
		return nil, err
	}
	return st, s.cleanSnapshots()
}

// Dir is the directory of the store.
func (s *Store) Dir() string { return s.opts.Dir }

// Append queues records to be made durable, in order, and returns at once; the
// Durable callback tells when. All that waits is committed together, with one fsync.
// If urgent is not set nobody waits for these records yet: they go with the next that
// are urgent, or lazyDelay later.
// Key and value are not copied: they must not change. There is no bound here,
// for the core must not be stopped between deciding and recording; the bound is that the
// host takes no new input while Full.
func (s *Store) Append(records []bft.Record, urgent bool) {
	if len(records) == 0 && !urgent {
		return
	}
	s.mu.Lock()
	urgent = urgent && (len(records) > 0 || len(s.queue) > 0)
	wake := urgent && !s.urgent || len(s.queue) == 0
	s.urgent = s.urgent || urgent
	s.queue = append(s.queue, records...)
	for i := range records {
		s.queued += recordBytes(&records[i])
	}
	s.mu.Unlock()
	if wake {
		s.signal()
	}
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Full tells whether more waits for the disk than Options.MaxQueueBytes: the host then
// stops taking input that makes new records, until the disk has caught up.
func (s *Store) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued > s.opts.MaxQueueBytes
}

// Backlog is the size of the records that wait, in bytes.
func (s *Store) Backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

func recordBytes(r *bft.Record) int { return len(r.Key) + len(r.Value) + len(r.To) + recordOverhead }

// run is the goroutine that commits.
func (s *Store) run() {
	defer close(s.done)
	lazy := time.NewTimer(time.Hour)
	defer lazy.Stop()
	due := false // what waits has waited for lazyDelay
	for {
		s.mu.Lock()
		switch {
		case len(s.queue) > 0 && (s.urgent || s.closing || due):
			todo := s.queue
			s.queue, s.spare, s.urgent, due = s.spare[:0], nil, false, false
			s.mu.Unlock()
			s.commitAll(todo)
			continue
		case len(s.queue) == 0 && s.closing:
			s.mu.Unlock()
			return
		}
		waits := len(s.queue) > 0
		s.mu.Unlock()
		if waits {
			lazy.Reset(lazyDelay)
		} else {
			lazy.Stop()
		}
		select {
		case <-s.wake:
		case <-lazy.C:
			due = true
		}
	}
}

// commitAll commits what was queued and gives its buffer back.
func (s *Store) commitAll(todo []bft.Record) {
	for rest := todo; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size < commitBytes) {
			size += recordBytes(&rest[n])
			n++
		}
		s.commit(rest[:n])
		s.mu.Lock()
		s.queued -= size
		s.mu.Unlock()
		rest = rest[n:]
	}
	clear(todo)
	s.spare = todo
}

// commit makes records durable with one fsync and reports it.
func (s *Store) commit(records []bft.Record) {
	l := s.log
	lost := func(err error) {
		if err != nil {
			s.fatal(fmt.Errorf("store: writing to %s failed: %w; the replica stops, for what is on the disk is not known any more; check the disk and start again", l.dir, err))
		}
	}
	if l.size >= l.full {
		lost(l.next(l.num + 1))
	}
	b := l.begin()
	for i := range records {
		if r := &records[i]; r.To != nil {
			b = l.cut(b, r.Key, r.To)
		} else {
			b = l.put(b, r.Key, r.Value)
		}
	}
	l.head.lsn = records[len(records)-1].LSN
	lost(l.commit(b))
	s.stats.commits.Add(1)
	s.stats.records.Add(uint64(len(records)))
	s.stats.logBytes.Store(uint64(l.size))
	s.mark.lsn = l.head.lsn
	if err := s.mark.write(false); err != nil {
		s.fatal(fmt.Errorf("store: writing %s failed: %w; check the disk and start again", s.fs.PathJoin(s.opts.Dir, markName), err))
	}
	if s.opts.Durable != nil {
		s.opts.Durable(l.head.lsn)
	}
}

// fatal ends the process; it does not return.
func (s *Store) fatal(err error) {
	if s.opts.Fatal != nil {
		s.opts.Fatal(err)
		select {}
	}
	fmt.Fprintln(os.Stderr, oneLine(err))
	os.Exit(1)
}

// Close makes durable what waits, and closes the store. No Append may follow.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	s.mu.Unlock()
	if again {
		return errors.New("store: closed twice")
	}
	s.signal()
	<-s.done
	err := errors.Join(s.log.close(), s.state.Close())
	err = errors.Join(err, s.mark.write(true), s.mark.file.Close(), s.stage.drop(s))
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("store: closing %s: %w", s.opts.Dir, err)
	}
	return nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
