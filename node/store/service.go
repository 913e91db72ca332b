package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baluarte-bft/baluarte/bft/exec"
)

// Service returns the part of the database that belongs to the named service, of at most
// 255 bytes, emptied: what a service holds is derived from the newest snapshot and the committed log, from
// which the host restores it at each start, so only they need be durable and consistent
// with each other (rule 18).
func (s *Store) Service(name string) (exec.Store, error) {
	if len(name) == 0 || len(name) > 255 {
		return nil, fmt.Errorf("store: service name %q: want 1 to 255 bytes", name)
	}
	prefix := append([]byte{areaService, byte(len(name))}, name...)
	st := &serviceStore{s: s, prefix: prefix, limit: successor(prefix)}
	if err := s.db.DeleteRange(prefix, st.limit, pebble.NoSync); err != nil {
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

// serviceStore is the exec.Store of one service. Writes go to Pebble's memtable
// and log without a sync of their own.
type serviceStore struct {
	s             *Store
	prefix, limit []byte
}

var _ exec.Store = (*serviceStore)(nil)

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
func (st *serviceStore) Get(key []byte) ([]byte, bool) { return st.get(st.s.db, key) }

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
	return st.scan(st.s.db, start, end)
}

func (st *serviceStore) scan(r pebble.Reader, start, end []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		from, to := st.bound(start, st.prefix), st.bound(end, st.limit)
		if bytes.Compare(from, to) >= 0 {
			return
		}
		it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
		fail("scanning", err)
		defer func() { fail("scanning", it.Close()) }()
		for it.First(); it.Valid(); it.Next() {
			v, err := it.ValueAndErr()
			fail("scanning", err)
			if !yield(it.Key()[len(st.prefix):], v) {
				return
			}
		}
	}
}

// Set sets the value of key.
func (st *serviceStore) Set(key, value []byte) {
	fail("writing a key", st.s.db.Set(st.key(key), value, pebble.NoSync))
}

// Delete removes key.
func (st *serviceStore) Delete(key []byte) {
	fail("deleting a key", st.s.db.Delete(st.key(key), pebble.NoSync))
}

// DeleteRange removes the keys of a range.
func (st *serviceStore) DeleteRange(start, end []byte) {
	from, to := st.bound(start, st.prefix), st.bound(end, st.limit)
	if bytes.Compare(from, to) < 0 {
		fail("deleting a range", st.s.db.DeleteRange(from, to, pebble.NoSync))
	}
}

// Snapshot returns the present contents.
func (st *serviceStore) Snapshot() exec.StoreSnapshot {
	return &serviceSnapshot{st: st, snap: st.s.db.NewSnapshot()}
}

type serviceSnapshot struct {
	st   *serviceStore
	snap *pebble.Snapshot
}

// Get returns the value that key had.
func (s *serviceSnapshot) Get(key []byte) ([]byte, bool) { return s.st.get(s.snap, key) }

// Scan goes through a range as it was.
func (s *serviceSnapshot) Scan(start, end []byte) iter.Seq2[[]byte, []byte] {
	return s.st.scan(s.snap, start, end)
}

// Close releases the snapshot.
func (s *serviceSnapshot) Close() error { return s.snap.Close() }
