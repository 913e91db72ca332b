// Package kv is a key-value service: put, get, delete, compare-and-set, scan by prefix, atomic transactions, a history of
// changes to watch, and leases: keys that go when their owner does not renew them in time. Values are in the
// [app.Store], so there may be more of them than fit in memory.
//
// The functions Put, Get and so on encode operations; each has a Decode for its result. Those that change nothing
// (Get, Read, Scan, List, Changes, Revision, Leases) are also queries.
//
// Every operation that changes something gets the next revision, a number that counts such operations; all keys that a
// transaction changes get the same one.
package kv

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// Bounds.
const (
	// MaxKey is the length of the longest key, in bytes. The empty key is a key.
	MaxKey = 1 << 10
	// MaxValue is that of the longest value.
	MaxValue = 1 << 20
	// MaxScanItems and MaxScanBytes bound a page of a scan, a list or changes. Bytes are those of keys and values; the
	// first item is on the page however large it is.
	MaxScanItems = 1000
	MaxScanBytes = 256 << 10
)

// Why an operation did not do what it was to do. The state is then as it was.
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = errors.New("kv: not found")
	// ErrCompareFailed: the key's value is not the expected one.
	ErrCompareFailed = errors.New("kv: compare failed")
	// ErrBadOp: the operation is malformed, or a key or value is too long.
	ErrBadOp = errors.New("kv: malformed operation")
	// ErrNoLease: there is no lease of this number, or its time is over.
	ErrNoLease = errors.New("kv: no such lease, or its time is over")
	// ErrNotOwner: the lease was granted to another client.
	ErrNotOwner = errors.New("kv: the lease is another client's")
	// ErrQuota: there would be more leases, or more keys on leases, than there may be.
	ErrQuota = errors.New("kv: too many leases, or keys on leases")
	// ErrTooLarge: a transaction would delete more keys, or return more bytes, than it may.
	ErrTooLarge = errors.New("kv: the transaction does too much")
	// ErrCompacted: the changes asked for are no longer kept.
	ErrCompacted = errors.New("kv: these changes are no longer kept")
)

// machine is the service. The store has the records of the keys; all else is in memory, and bounded.
type machine struct {
	// An operation makes many writes; queries wait, so that they see all of them or none.
	mu       sync.RWMutex
	store    app.Store
	revision uint64 // of the last change, 0 before the first
	history  history
	leases   leases
	scratch  []byte  // of a record
	place    []byte  // of a key in the store
	swept    bft.Seq // the batch that removed leftovers last, at most
	sweeps   int     // as many
}

// New makes a service whose contents are those of the store.
func New(store app.Store) (app.StateMachine, error) {
	if store == nil {
		return nil, errors.New("kv: it needs a store")
	}
	return &machine{store: store, leases: newLeases(), sweeps: sweepEach}, nil
}

// Apply executes one operation. Whatever it is, leases whose time is over end before it.
func (m *machine) Apply(ctx app.Context, op []byte) []byte {
	o, err := decodeOp(op)
	if err != nil {
		return []byte{statusBadOp}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(ctx.Nanos())
	if ctx.Seq != m.swept {
		m.swept = ctx.Seq
		m.sweep(m.sweeps)
	}
	result := m.execute(&ctx, &o)
	m.history.trim()
	return result
}

func (m *machine) execute(ctx *app.Context, o *operation) []byte {
	switch o.kind {
	case opPut:
		return m.put(ctx.Client, o)
	case opDelete:
		if _, ok := m.get(o.key); !ok {
			return []byte{statusNotFound}
		}
		m.revision++
		m.remove(o.key, Deleted)
		return nil
	case opSwap:
		return m.swap(o)
	case opTxn:
		return m.transact(ctx.Client, o)
	case opGrant:
		return m.grant(ctx, o.time)
	case opKeepAlive:
		return m.keepAlive(ctx, o.number)
	case opRevoke:
		return m.revoke(ctx.Client, o.number)
	case opAdvance:
		return nil // time has advanced already
	}
	return m.read(context.Background(), o)
}

func (m *machine) put(client bft.ClientID, o *operation) []byte {
	if o.number != 0 {
		if status := m.mayAttach(client, o.key, o.number); status != statusFound {
			return []byte{status}
		}
	}
	m.revision++
	m.set(o.key, o.value, o.number)
	return nil
}

// swap sets the key to a new value if it has the expected one, or has none as expected.
func (m *machine) swap(o *operation) []byte {
	record, ok := m.get(o.key)
	old := valueOf(record)
	switch {
	case ok && (o.absent || !bytes.Equal(old, o.expected)):
		return append([]byte{statusCompareFailed}, old...)
	case !ok && !o.absent:
		return []byte{statusNotFound}
	}
	m.revision++
	m.set(o.key, o.value, 0)
	return nil
}

// Query answers a question, from the state of one moment.
func (m *machine) Query(ctx context.Context, q []byte) ([]byte, error) {
	o, err := decodeOp(q)
	if err != nil {
		return nil, err
	}
	if !o.reads() {
		return nil, ErrBadOp
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	result := m.read(ctx, &o)
	return result, ctx.Err()
}

func (m *machine) read(ctx context.Context, o *operation) []byte {
	switch o.kind {
	case opGet:
		record, ok := m.get(o.key)
		if !ok {
			return []byte{statusNotFound}
		}
		value := valueOf(record)
		return append(append(make([]byte, 0, 1+len(value)), statusFound), value...)
	case opRead:
		record, ok := m.get(o.key)
		if !ok {
			return []byte{statusNotFound}
		}
		return m.appendEntry([]byte{statusFound}, record)
	case opChanges:
		return m.changes(ctx, o)
	case opRevision:
		e, _, _ := m.leases.ends.Min()
		return appendNumbers([]byte{statusFound}, m.revision, m.history.first(), uint64(e.at))
	case opLeases:
		return m.listLeases(o)
	}
	return m.scan(ctx, o)
}

// scan returns a page of the keys that begin with the prefix and come after the given one; for a list with all that
// there is to know of them.
func (m *machine) scan(ctx context.Context, of *operation) []byte {
	o := *of // the loop's own, so that operations that do not scan stay on the stack
	start := o.key
	if bytes.Compare(o.after, start) >= 0 && !o.first {
		start = append(bytes.Clone(o.after), 0) // the least key above it
	}
	items, size, more := 0, 0, false
	var list []byte
	for key, record := range m.records(start, prefixEnd(o.key)) {
		value := valueOf(record)
		size += len(key) + len(value)
		if items == o.items || items > 0 && size > o.bytes || ctx.Err() != nil {
			more = true
			break
		}
		list = appendField(list, key)
		if o.kind == opList {
			list = m.appendEntry(list, record)
		} else {
			list = appendField(list, value)
		}
		items++
	}
	head := []byte{statusFound, 0}
	if more {
		head[1] = 1
	}
	return append(head, list...)
}

// prefixEnd returns the least key above all that begin with prefix, or nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// Validate refuses malformed operations before they are ordered.
func (m *machine) Validate(op []byte) error {
	_, err := decodeOp(op)
	return err
}
