package kv

import (
	"encoding/binary"
	"fmt"
)

// An operation is a letter and fields, each preceded by its length as a varint.
const (
	opPut    = 'P' // key, value
	opGet    = 'G' // key
	opDelete = 'D' // key
	opSwap   = 'C' // key, value, expected: nothing, or one field
	opScan   = 'S' // prefix, items and bytes as varints, after: nothing, or one field
)

// A result is empty, when there is nothing to tell of success, or a status and what belongs to it.
const (
	statusFound         = iota // the value, or for a scan whether there is more and the items
	statusNotFound             // nothing
	statusCompareFailed        // the present value
	statusBadOp                // nothing
)

// operation is a decoded operation; its slices point into the encoding.
type operation struct {
	kind         byte
	key, value   []byte
	expected     []byte
	absent       bool // no value is expected
	items, bytes int
	after        []byte
	first        bool // the scan begins with the first key
}

// Put returns the operation that sets the value of key.
func Put(key, value []byte) []byte {
	b := make([]byte, 0, 7+len(key)+len(value))
	return appendField(appendField(append(b, opPut), key), value)
}

// Get returns the operation, or query, that reads the value of key.
func Get(key []byte) []byte { return appendField([]byte{opGet}, key) }

// Delete returns the operation that removes key.
func Delete(key []byte) []byte { return appendField([]byte{opDelete}, key) }

// CompareAndSet returns the operation that sets the value of key if it is the expected one.
func CompareAndSet(key, expected, value []byte) []byte {
	return appendField(appendField(appendField([]byte{opSwap}, key), value), expected)
}

// Create returns the operation that sets the value of key if it has none.
func Create(key, value []byte) []byte {
	return appendField(appendField([]byte{opSwap}, key), value)
}

// Page is what one scan returns.
type Page struct {
	Items []Item
	// More: there are further keys. Scan goes on after the last one of Items.
	More bool
}

// Item is a key and its value.
type Item struct{ Key, Value []byte }

// Scan returns the operation, or query, that lists the keys that begin with prefix, in order, from
// the first one above after; a nil after means from the first. The page holds at most items
// and, unless the first item is larger, bytes; numbers out of [1, MaxScanItems] and [1,
// MaxScanBytes] mean those maxima.
func Scan(prefix, after []byte, items, bytes int) []byte {
	b := appendField([]byte{opScan}, prefix)
	b = binary.AppendUvarint(b, uint64(bounded(items, MaxScanItems)))
	b = binary.AppendUvarint(b, uint64(bounded(bytes, MaxScanBytes)))
	if after != nil {
		b = appendField(b, after)
	}
	return b
}

func bounded(n, most int) int {
	if n < 1 || n > most {
		return most
	}
	return n
}

// DecodeDone returns the error of the result of Put, Delete, CompareAndSet or Create, or nil:
// ErrNotFound, ErrCompareFailed, ErrBadOp. Current is the present value if the comparison failed.
func DecodeDone(result []byte) (current []byte, err error) {
	if len(result) == 0 {
		return nil, nil
	}
	if result[0] == statusCompareFailed {
		return result[1:], ErrCompareFailed
	}
	return nil, failure(result)
}

// DecodeGet returns the value that the result of Get tells, or ErrNotFound or ErrBadOp.
func DecodeGet(result []byte) ([]byte, error) {
	if len(result) == 0 || result[0] != statusFound {
		return nil, failure(result)
	}
	return result[1:], nil
}

// DecodeScan returns the page that the result of Scan holds, or ErrBadOp.
func DecodeScan(result []byte) (Page, error) {
	if len(result) < 2 || result[0] != statusFound || result[1] > 1 {
		return Page{}, failure(result)
	}
	p := Page{More: result[1] == 1}
	for f := (fields{rest: result[2:]}); len(f.rest) > 0; {
		item := Item{Key: f.next(MaxKey), Value: f.next(MaxValue)}
		if f.bad {
			return Page{}, fmt.Errorf("kv: result of a scan is malformed")
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

// failure returns the error of a result that is a status alone.
func failure(result []byte) error {
	switch {
	case len(result) == 1 && result[0] == statusNotFound:
		return ErrNotFound
	case len(result) == 1 && result[0] == statusBadOp:
		return ErrBadOp
	}
	return fmt.Errorf("kv: %d bytes that are no such result", len(result))
}

func appendField(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// decodeOp accepts exactly what the functions above encode.
func decodeOp(b []byte) (operation, error) {
	if len(b) == 0 {
		return operation{}, ErrBadOp
	}
	f := fields{rest: b[1:]}
	o := operation{kind: b[0], key: f.next(MaxKey)}
	switch o.kind {
	case opGet, opDelete:
	case opPut:
		o.value = f.next(MaxValue)
	case opSwap:
		o.value = f.next(MaxValue)
		if o.absent = len(f.rest) == 0; !o.absent {
			o.expected = f.next(MaxValue)
		}
	case opScan:
		o.items = int(f.number(MaxScanItems))
		o.bytes = int(f.number(MaxScanBytes))
		if o.first = len(f.rest) == 0; !o.first {
			o.after = f.next(MaxKey)
		}
		f.bad = f.bad || o.items == 0 || o.bytes == 0
	default:
		return operation{}, ErrBadOp
	}
	if f.bad || len(f.rest) > 0 {
		return operation{}, ErrBadOp
	}
	return o, nil
}

// fields reads fields; bad is set for good by the first that is malformed or too long.
type fields struct {
	rest []byte
	bad  bool
}

// number reads a varint in its shortest form, at most limit.
func (f *fields) number(limit uint64) uint64 {
	v, n := binary.Uvarint(f.rest)
	if f.bad || n <= 0 || v > limit || n > 1 && f.rest[n-1] == 0 {
		f.bad = true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// next reads a field of at most limit bytes.
func (f *fields) next(limit uint64) []byte {
	n := f.number(limit)
	if f.bad || n > uint64(len(f.rest)) {
		f.bad = true
		return nil
	}
	field := f.rest[:n:n]
	f.rest = f.rest[n:]
	return field
}
