// Package kv is a key-value service: put, get, delete, compare-and-set, and scan by prefix. Its
// state is in the [app.Store], so it may be larger than memory.
//
// The functions Put, Get and so on encode operations; each has a Decode for its result. Get
// and Scan are also queries.
package kv

import (
	"bytes"
	"context"
	"errors"

	"github.com/baluarte-bft/baluarte/node/app"
)

// Bounds.
const (
	// MaxKey is the length of the longest key, in bytes. The empty key is a key.
	MaxKey = 1 << 10
	// MaxValue is that of the longest value.
	MaxValue = 1 << 20
	// MaxScanItems and MaxScanBytes bound a page of a scan. Bytes are those of keys and values; the
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
)

// machine is the service. It keeps nothing outside the store, which guards itself.
type machine struct{ store app.Store }

// New makes a service whose contents are those of the store.
func New(store app.Store) (app.StateMachine, error) {
	if store == nil {
		return nil, errors.New("kv: it needs a store")
	}
	return &machine{store}, nil
}

// Apply executes one operation.
func (m *machine) Apply(_ app.Context, op []byte) []byte {
	o, err := decodeOp(op)
	if err != nil {
		return []byte{statusBadOp}
	}
	switch o.kind {
	case opPut:
		m.store.Set(o.key, o.value)
		return nil
	case opDelete:
		if _, ok := m.store.Get(o.key); !ok {
			return []byte{statusNotFound}
		}
		m.store.Delete(o.key)
		return nil
	case opSwap:
		return m.swap(&o)
	}
	return m.read(context.Background(), &o)
}

// swap sets the key to a new value if it has the expected one, or has none as expected.
func (m *machine) swap(o *operation) []byte {
	old, ok := m.store.Get(o.key)
	switch {
	case ok && (o.absent || !bytes.Equal(old, o.expected)):
		return append([]byte{statusCompareFailed}, old...)
	case !ok && !o.absent:
		return []byte{statusNotFound}
	}
	m.store.Set(o.key, o.value)
	return nil
}

// Query answers Get and Scan, from the state of one moment.
func (m *machine) Query(ctx context.Context, q []byte) ([]byte, error) {
	o, err := decodeOp(q)
	if err != nil {
		return nil, err
	}
	if o.kind != opGet && o.kind != opScan {
		return nil, ErrBadOp
	}
	result := m.read(ctx, &o)
	return result, ctx.Err()
}

func (m *machine) read(ctx context.Context, o *operation) []byte {
	if o.kind == opScan {
		return m.scan(ctx, o)
	}
	value, ok := m.store.Get(o.key)
	if !ok {
		return []byte{statusNotFound}
	}
	return append(append(make([]byte, 0, 1+len(value)), statusFound), value...)
}

// scan returns a page of the keys that begin with the prefix and come after the given one.
func (m *machine) scan(ctx context.Context, o *operation) []byte {
	start := o.key
	if bytes.Compare(o.after, start) >= 0 && !o.first {
		start = append(bytes.Clone(o.after), 0) // the least key above it
	}
	items, size, more := 0, 0, false
	var list []byte
	for key, value := range m.store.Scan(start, prefixEnd(o.key)) {
		size += len(key) + len(value)
		if items == o.items || items > 0 && size > o.bytes || ctx.Err() != nil {
			more = true
			break
		}
		list = appendField(appendField(list, key), value)
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
