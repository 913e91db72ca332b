package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baluarte-bft/baluarte/bft/exec"
)

const (
	// serviceCacheBytes bounds what a service's store keeps in memory of what was written last,
	// with cacheOverhead for each key.
	serviceCacheBytes = 64 << 20
	cacheOverhead     = 160
	// flushBatchBytes bounds one batch of those in which the cache is written to the database:
	// small against a memtable, so that none is written around it.
	flushBatchBytes = 1 << 20
)

// Service returns the part of the database that belongs to the named service, of at most
// 255 bytes, emptied: what a service holds is derived from the newest snapshot and the committed log, from
// which the host restores it at each start, so only they need be durable and consistent
// with each other (rule 18). The store that an earlier call gave for the name is not to be used any more.
func (s *Store) Service(name string) (exec.Store, error) {
	if len(name) == 0 || len(name) > 255 {
		return nil, fmt.Errorf("store: service name %q: want 1 to 255 bytes", name)
	}
	prefix := append([]byte{byte(len(name))}, name...)
	st := &serviceStore{db: s.state, prefix: prefix, limit: successor(prefix), cache: make(map[string]*cached), most: serviceCacheBytes}
	if err := s.state.DeleteRange(prefix, st.limit, pebble.NoSync); err != nil {
		return nil, fmt.Errorf("store: clearing the state of %s: %w", name, err)
	}
	return st, nil
}

// successor is the first key behind all that begin with prefix, which does not
// consist of 0xff bytes only.
func successor(prefix []byte) []byte {
	b := append([]byte(nil), prefix...)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	panic("store: prefix without a successor")
}

// serviceStore is the exec.Store of one service: a cache of what was written last, over the database.
// A key that is written often reaches the database once for each snapshot, and keys reach it in
// their order, which it takes several times faster than one by one.
//
// Invariants: a key of the cache is as the cache has it, whatever the database says; one that is
// dirty is in the list dirty, once, and the database does not have its present value; bytes is the size of the cache.
type serviceStore struct {
	db            *pebble.DB
	prefix, limit []byte

	mu    sync.RWMutex
	cache map[string]*cached
	dirty []*cached
	bytes int
	most  int // bound of bytes
}

var _ exec.Store = (*serviceStore)(nil)

// cached is a key that was written.
type cached struct {
	key   string
	value []byte // overwritten in place: it never leaves the lock
	gone  bool   // deleted
	dirty bool
}

func fail(op string, err error) {
	if err != nil {
		panic(&exec.StoreError{Op: op, Err: err})
	}
}

func (st *serviceStore) key(k []byte) []byte {
	b := make([]byte, 0, len(st.prefix)+len(k))
	return append(append(b, st.prefix...), k...)
}

// bound is the key of a range's end: nil stands for all.
func (st *serviceStore) bound(k, all []byte) []byte {
	if k == nil {
		return all
	}
	return st.key(k)
}

// Get returns the value of key.
func (st *serviceStore) Get(key []byte) ([]byte, bool) {
	st.mu.RLock()
	if c := st.cache[string(key)]; c != nil {
		defer st.mu.RUnlock()
		if c.gone {
			return nil, false
		}
		return append(make([]byte, 0, len(c.value)), c.value...), true
	}
	st.mu.RUnlock()
	return st.get(st.db, key)
}

func (st *serviceStore) get(r pebble.Reader, key []byte) ([]byte, bool) {
	v, closer, err := r.Get(st.key(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false
	}
	fail("reading a key", err)
	out := append(make([]byte, 0, len(v)), v...)
	fail("reading a key", closer.Close())
	return out, true
}

// Scan goes through a range.
func (st *serviceStore) Scan(start, end []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		from, to := st.bound(start, st.prefix), st.bound(end, st.limit)
		if bytes.Compare(from, to) >= 0 {
			return
		}
		st.mu.Lock()
		it, err := st.iterator(from, to)
		st.mu.Unlock()
		fail("scanning", err)
		st.scan(it, yield)
	}
}

// iterator returns an iterator over what the store holds now. Called with the lock held, for the
// cache is written in the order of keys: half-way the database is at no point of the history.
func (st *serviceStore) iterator(from, to []byte) (*pebble.Iterator, error) {
	if err := st.flush(); err != nil {
		return nil, err
	}
	return st.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
}

// scan goes through what the iterator has, and closes it.
func (st *serviceStore) scan(it *pebble.Iterator, yield func(k, v []byte) bool) {
	defer func() { fail("scanning", it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		fail("scanning", err)
		if !yield(it.Key()[len(st.prefix):], v) {
			return
		}
	}
}

// Set sets the value of key.
func (st *serviceStore) Set(key, value []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	c := st.write(key)
	before := cap(c.value)
	c.value, c.gone = append(c.value[:0], value...), false
	st.bytes += cap(c.value) - before
	fail("writing a key", st.trim())
}

// Delete removes key.
func (st *serviceStore) Delete(key []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	c := st.write(key)
	st.bytes -= cap(c.value)
	c.value, c.gone = nil, true
	fail("deleting a key", st.trim())
}

// write returns the entry of a key that is about to change. Called with the lock held.
func (st *serviceStore) write(key []byte) *cached {
	c := st.cache[string(key)]
	if c == nil {
		c = &cached{key: string(key)}
		st.cache[c.key] = c
		st.bytes += len(key) + cacheOverhead
	}
	if !c.dirty {
		c.dirty = true
		st.dirty = append(st.dirty, c)
	}
	return c
}

// trim empties the cache when it is full. Called with the lock held.
func (st *serviceStore) trim() error {
	if st.bytes <= st.most {
		return nil
	}
	if err := st.flush(); err != nil {
		return err
	}
	st.forget()
	return nil
}

// forget empties the cache; what is dirty in it is lost. Called with the lock held.
func (st *serviceStore) forget() {
	clear(st.cache)
	st.dirty, st.bytes = nil, 0
}

// flush writes to the database what is dirty. Called with the lock held.
func (st *serviceStore) flush() error {
	if len(st.dirty) == 0 {
		return nil
	}
	slices.SortFunc(st.dirty, func(a, b *cached) int { return cmp.Compare(a.key, b.key) })
	b := st.db.NewBatch()
	defer func() { _ = b.Close() }() // of what is committed, or given up with the process
	for _, c := range st.dirty {
		size := len(st.prefix) + len(c.key)
		if b.Len() > 0 && b.Len()+size+len(c.value) > flushBatchBytes {
			if err := b.Commit(pebble.NoSync); err != nil {
				return err
			}
			b.Reset()
		}
		if c.gone {
			op := b.DeleteDeferred(size)
			copy(op.Key[copy(op.Key, st.prefix):], c.key)
			_ = op.Finish() // fails only on an indexed batch
			continue
		}
		op := b.SetDeferred(size, len(c.value))
		copy(op.Key[copy(op.Key, st.prefix):], c.key)
		copy(op.Value, c.value)
		_ = op.Finish()
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	for i, c := range st.dirty {
		c.dirty, st.dirty[i] = false, nil
	}
	st.dirty = st.dirty[:0]
	return nil
}

// DeleteRange removes the keys of a range.
func (st *serviceStore) DeleteRange(start, end []byte) {
	from, to := st.bound(start, st.prefix), st.bound(end, st.limit)
	if bytes.Compare(from, to) >= 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(start) > 0 || end != nil {
		fail("deleting a range", st.flush())
	}
	fail("deleting a range", st.db.DeleteRange(from, to, pebble.NoSync))
	st.forget()
}

// Snapshot returns the present contents.
func (st *serviceStore) Snapshot() exec.StoreSnapshot {
	st.mu.Lock()
	defer st.mu.Unlock()
	fail("writing keys", st.flush())
	return &serviceSnapshot{st: st, snap: st.db.NewSnapshot()}
}

type serviceSnapshot struct {
	st   *serviceStore
	snap *pebble.Snapshot
}

// Get returns the value that key had.
func (s *serviceSnapshot) Get(key []byte) ([]byte, bool) { return s.st.get(s.snap, key) }

// Scan goes through a range as it was.
func (s *serviceSnapshot) Scan(start, end []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		from, to := s.st.bound(start, s.st.prefix), s.st.bound(end, s.st.limit)
		if bytes.Compare(from, to) >= 0 {
			return
		}
		it, err := s.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
		fail("scanning", err)
		s.st.scan(it, yield)
	}
}

// Close releases the snapshot.
func (s *serviceSnapshot) Close() error { return s.snap.Close() }
