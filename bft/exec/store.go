package exec

import "iter"

// Reader reads an ordered map of byte strings. A key is in the range [start, end) if it is
// not below start and below end in the order of bytes.Compare; a nil end is the end of
// the map. All methods may be called by several goroutines.
type Reader interface {
	// Get returns the value of key, and whether there is one. The caller does not change it.
	Get(key []byte) (value []byte, ok bool)
	// Scan goes through the keys of [start, end) in order, as they were when it began. Key and
	// value are valid until the loop's next step and are not to be changed.
	Scan(start, end []byte) iter.Seq2[[]byte, []byte]
}

// Store is an ordered map of byte strings that may be larger than memory. Each service has one
// for itself. Writes come from the goroutine that calls Apply and Restore; a Get or Scan from
// a Query running beside it sees each write wholly or not at all.
//
// The host makes writes durable together with the sessions and the executed number (rule 18),
// not at each call. The methods have no error result, since Apply has none: a replica that
// cannot read or write its state must stop, not answer something else than its peers. An
// implementation therefore panics with a *[StoreError], and the host ends the process.
type Store interface {
	Reader
	// Set sets the value of key. Neither slice is kept.
	Set(key, value []byte)
	// Delete removes key, if it is there.
	Delete(key []byte)
	// DeleteRange removes all keys in [start, end); two nils clear the store.
	DeleteRange(start, end []byte)
	// Snapshot returns the present contents as a Reader that later writes do not change. It is cheap.
	Snapshot() StoreSnapshot
}

// StoreSnapshot is the contents of a Store at one point.
type StoreSnapshot interface {
	Reader
	// Close releases what the snapshot holds; it is not to be used any more.
	Close() error
}

// StoreError is what a Store panics with when the disk fails.
type StoreError struct {
	// Op says what was attempted.
	Op  string
	Err error
}

// Error says what failed and why.
func (e *StoreError) Error() string { return "store: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }
