// Package memstore is a Store in memory, for the simulator and for tests.
package memstore

import (
	"bytes"
	"iter"
	"sync"

	"github.com/RaduBerinde/btreemap"

	"github.com/baluarte-bft/baluarte/bft/exec"
)

const degree = 32

type tree = btreemap.BTreeMap[[]byte, []byte]

// Store is an exec.Store in a B-tree. A snapshot, and a scan, is a clone of the tree, which
// takes constant time: later writes copy the nodes on their way. Make one with New.
type Store struct {
	mu   sync.RWMutex
	tree *tree
	// shared: a clone of the tree is out, which a write does not touch.
	shared *tree
}

var _ exec.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{tree: btreemap.New[[]byte, []byte](degree, bytes.Compare)} }

// Get implements exec.Reader.
func (s *Store) Get(key []byte) ([]byte, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, value, ok := s.tree.Get(key)
	return value, ok
}

// Scan implements exec.Reader.
func (s *Store) Scan(start, end []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) { scan(s.clone(), start, end)(yield) }
}

// Set implements exec.Store.
func (s *Store) Set(key, value []byte) {
	both := make([]byte, len(key)+len(value)) // one allocation for the two
	copy(both[copy(both, key):], value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = nil
	s.tree.ReplaceOrInsert(both[:len(key):len(key)], both[len(key):])
}

// Delete implements exec.Store.
func (s *Store) Delete(key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = nil
	s.tree.Delete(key)
}

// DeleteRange implements exec.Store.
func (s *Store) DeleteRange(start, end []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = nil
	if len(start) == 0 && end == nil {
		s.tree = btreemap.New[[]byte, []byte](degree, bytes.Compare)
		return
	}
	var keys [][]byte
	for k := range scan(s.tree, start, end) {
		keys = append(keys, k)
	}
	for _, k := range keys {
		s.tree.Delete(k)
	}
}

// Len is the number of keys.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tree.Len()
}

// Snapshot implements exec.Store.
func (s *Store) Snapshot() exec.StoreSnapshot { return snapshot{s.clone()} }

// clone returns the present contents, for reading. Clones between two writes are one, so that
// many scans of an unchanging store do not each make the next write copy nodes again.
func (s *Store) clone() *tree {
	s.mu.RLock()
	c := s.shared
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		s.shared = s.tree.Clone()
	}
	return s.shared
}

type snapshot struct{ tree *tree }

// Get implements exec.Reader.
func (s snapshot) Get(key []byte) ([]byte, bool) {
	_, value, ok := s.tree.Get(key)
	return value, ok
}

// Scan implements exec.Reader.
func (s snapshot) Scan(start, end []byte) iter.Seq2[[]byte, []byte] { return scan(s.tree, start, end) }

// Close implements exec.StoreSnapshot.
func (s snapshot) Close() error { return nil }

func scan(t *tree, start, end []byte) iter.Seq2[[]byte, []byte] {
	to := btreemap.Max[[]byte]()
	if end != nil {
		to = btreemap.LT(end)
	}
	return t.Ascend(btreemap.GE(start), to)
}
