package kv

import (
	"encoding/binary"
	"time"
)

// An operation is a letter and fields, each preceded by its length as a varint. Numbers are varints.
const (
	opPut       = 'P' // key, value, lease: nothing, or one number
	opGet       = 'G' // key
	opRead      = 'E' // key
	opDelete    = 'D' // key
	opSwap      = 'C' // key, value, expected: nothing, or one field
	opScan      = 'S' // prefix, items and bytes as numbers, after: nothing, or one field
	opList      = 'I' // the same
	opTxn       = 'T' // see appendTxn
	opGrant     = 'L' // milliseconds
	opKeepAlive = 'K' // lease
	opRevoke    = 'X' // lease
	opAdvance   = 'A' // nothing
	opRevision  = 'V' // nothing
	opChanges   = 'W' // prefix, from, to, items and bytes as numbers
	opLeases    = 'Q' // lease, items
)

// operation is a decoded operation; its slices point into the encoding.
type operation struct {
	kind         byte
	absent       bool // no value is expected
	first        bool // the scan begins with the first key
	key, value   []byte
	expected     []byte
	after        []byte
	items, bytes int
	number       uint64 // a lease
	from, to     uint64 // revisions
	time         time.Duration
	txn          *Txn
}

// reads tells whether the operation changes nothing.
func (o *operation) reads() bool {
	switch o.kind {
	case opGet, opRead, opScan, opList, opRevision, opChanges, opLeases:
		return true
	}
	return false
}

// Put returns the operation that sets the value of key.
func Put(key, value []byte) []byte {
	b := make([]byte, 0, 7+len(key)+len(value))
	return appendField(appendField(append(b, opPut), key), value)
}

// Get returns the operation, or query, that reads the value of key.
func Get(key []byte) []byte { return appendField([]byte{opGet}, key) }

// PutOn returns the operation that sets the value of key and puts the key on a lease of this client: it goes with
// it. A later Put, or the like, of the key takes it off the lease.
func PutOn(lease uint64, key, value []byte) []byte {
	return binary.AppendUvarint(Put(key, value), lease)
}

// Read returns the operation, or query, that reads all that there is to know of key.
func Read(key []byte) []byte { return appendField([]byte{opRead}, key) }

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

// Scan returns the operation, or query, that lists the keys that begin with prefix, in order, from
// the first one above after; a nil after means from the first. The page holds at most items
// and, unless the first item is larger, bytes; numbers out of [1, MaxScanItems] and [1,
// MaxScanBytes] mean those maxima.
func Scan(prefix, after []byte, items, bytes int) []byte {
	return appendScan(opScan, prefix, after, items, bytes)
}

// List is Scan for entries instead of items.
func List(prefix, after []byte, items, bytes int) []byte {
	return appendScan(opList, prefix, after, items, bytes)
}

func appendScan(kind byte, prefix, after []byte, items, bytes int) []byte {
	b := appendField([]byte{kind}, prefix)
	b = appendNumbers(b, uint64(bounded(items, MaxScanItems)), uint64(bounded(bytes, MaxScanBytes)))
	if after != nil {
		b = appendField(b, after)
	}
	return b
}

// Revision returns the operation, or query, for where the service stands, a [Head].
func Revision() []byte { return []byte{opRevision} }

// Changes returns the operation, or query, for the changes of the revisions from to to, of keys that begin with prefix. The page
// ends at the first revision that brings it to items or bytes, which are bounded as those of Scan. What it says of a
// range depends on nothing else, as long as the range is behind the present revision and still kept.
func Changes(prefix []byte, from, to uint64, items, bytes int) []byte {
	b := appendField([]byte{opChanges}, prefix)
	return appendNumbers(b, from, to, uint64(bounded(items, MaxScanItems)), uint64(bounded(bytes, MaxScanBytes)))
}

// Grant returns the operation that makes a lease, which ends after that time unless it is kept alive. The time is
// in whole milliseconds, within MinTTL and MaxTTL.
func Grant(ttl time.Duration) []byte {
	return appendNumbers([]byte{opGrant}, uint64(ttl/time.Millisecond))
}

// KeepAlive returns the operation that has a lease of this client begin its time anew.
func KeepAlive(lease uint64) []byte { return appendNumbers([]byte{opKeepAlive}, lease) }

// Revoke returns the operation that ends a lease of this client, and with it its keys.
func Revoke(lease uint64) []byte { return appendNumbers([]byte{opRevoke}, lease) }

// Advance returns the operation that does nothing, but to be ordered: agreed time stands still while nothing is, and leases
// end by agreed time.
func Advance() []byte { return []byte{opAdvance} }

// Leases returns the operation, or query, that lists the leases above a number, in order, on a page of at most items.
func Leases(above uint64, items int) []byte {
	return appendNumbers([]byte{opLeases}, above, uint64(bounded(items, MaxScanItems)))
}

func bounded(n, most int) int {
	if n < 1 || n > most {
		return most
	}
	return n
}

func appendField(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// decodeOp accepts exactly what the functions above encode.
func decodeOp(b []byte) (operation, error) {
	if len(b) == 0 {
		return operation{}, ErrBadOp
	}
	f := fields{rest: b[1:]}
	o := operation{kind: b[0]}
	switch o.kind {
	case opGet, opDelete, opRead:
		o.key = f.next(MaxKey)
	case opPut:
		o.key, o.value = f.next(MaxKey), f.next(MaxValue)
		if len(f.rest) > 0 {
			o.number = f.positive(anyNumber)
		}
	case opSwap:
		o.key, o.value = f.next(MaxKey), f.next(MaxValue)
		if o.absent = len(f.rest) == 0; !o.absent {
			o.expected = f.next(MaxValue)
		}
	case opScan, opList:
		o.key, o.items, o.bytes = f.next(MaxKey), int(f.positive(MaxScanItems)), int(f.positive(MaxScanBytes))
		if o.first = len(f.rest) == 0; !o.first {
			o.after = f.next(MaxKey)
		}
	case opChanges:
		o.key, o.from, o.to = f.next(MaxKey), f.positive(anyNumber), f.number(anyNumber)
		o.items, o.bytes = int(f.positive(MaxScanItems)), int(f.positive(MaxScanBytes))
	case opGrant:
		o.time = time.Duration(f.positive(uint64(MaxTTL/time.Millisecond))) * time.Millisecond
		f.bad = f.bad || o.time < MinTTL
	case opKeepAlive, opRevoke:
		o.number = f.positive(anyNumber)
	case opLeases:
		o.number, o.items = f.number(anyNumber), int(f.positive(MaxScanItems))
	case opTxn:
		o.txn = f.txn()
	case opAdvance, opRevision:
	default:
		return operation{}, ErrBadOp
	}
	if f.bad || len(f.rest) > 0 {
		return operation{}, ErrBadOp
	}
	return o, nil
}

// anyNumber bounds numbers that nothing else bounds, so that one can be added to them.
const anyNumber = 1 << 62

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

// positive reads a number from 1.
func (f *fields) positive(limit uint64) uint64 {
	n := f.number(limit)
	f.bad = f.bad || n == 0
	return n
}

// take reads n bytes.
func (f *fields) take(n int) []byte {
	if f.bad || n > len(f.rest) {
		f.bad = true
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

// letter reads a byte.
func (f *fields) letter() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

// next reads a field of at most limit bytes.
func (f *fields) next(limit uint64) []byte {
	n := f.number(limit)
	if f.bad || n > uint64(len(f.rest)) {
		f.bad = true
		return nil
	}
	return f.take(int(n))
}
