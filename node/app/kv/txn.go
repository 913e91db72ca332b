package kv

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
)

// Bounds of a transaction, besides the size of an operation that the manifest sets.
const (
	// MaxTxnOps is how many comparisons, and how many operations in each branch, a transaction has.
	MaxTxnOps = 128
	// MaxTxnDeletes is how many keys its DeleteRanges delete together.
	MaxTxnDeletes = 1000
	// MaxTxnBytes bounds the values that its Gets return together.
	MaxTxnBytes = MaxValue
	// MaxTxnTouched bounds the values that it compares, returns, overwrites and deletes together: all of them are read,
	// and kept until it is done.
	MaxTxnTouched = 4 * MaxValue
)

// Txn is a transaction: if all comparisons hold it does the operations of Then, otherwise those of Else, all at once and in
// their order; each sees what those before it did. A transaction that fails has changed nothing.
type Txn struct {
	If         []Compare
	Then, Else []Op
}

// Relation is how a comparison relates what is there, on the left, to what it is given.
type Relation byte

// The relations. Values are compared byte by byte, as bytes.Compare does.
const (
	Equal    Relation = '='
	NotEqual Relation = '!'
	Less     Relation = '<'
	Greater  Relation = '>'
)

// Compare is a comparison. Make one with the functions If….
type Compare struct {
	kind     byte // 'v' or 'r'
	Key      []byte
	Relation Relation
	value    []byte
	revision uint64
}

// IfValue compares the value of a key. Without a value only NotEqual holds.
func IfValue(key []byte, r Relation, value []byte) Compare { return Compare{'v', key, r, value, 0} }

// IfRevision compares the revision of the last change of a key; without a value that is 0.
func IfRevision(key []byte, r Relation, revision uint64) Compare {
	return Compare{'r', key, r, nil, revision}
}

// IfExists holds if the key has a value.
func IfExists(key []byte) Compare { return IfRevision(key, Greater, 0) }

// IfAbsent holds if it has none.
func IfAbsent(key []byte) Compare { return IfRevision(key, Equal, 0) }

// OpKind is what an operation of a transaction does.
type OpKind byte

// The operations of a transaction. Delete of a key that is not there is no error there.
const (
	OpPut         OpKind = 'P'
	OpGet         OpKind = 'G'
	OpDelete      OpKind = 'D'
	OpDeleteRange OpKind = 'R'
)

// Op is an operation of a transaction.
type Op struct {
	Kind OpKind
	Key  []byte
	// Value is that of OpPut, and for OpDeleteRange the end: the keys from Key to below Value go; nil is the end of all.
	Value []byte
	// Lease is that of OpPut, 0 for none.
	Lease uint64
}

// DeletePrefix is the OpDeleteRange for the keys that begin with prefix.
func DeletePrefix(prefix []byte) Op { return Op{OpDeleteRange, prefix, prefixEnd(prefix), 0} }

// Outcome is what a transaction did.
type Outcome struct {
	// Held: the comparisons held, so that Then was done.
	Held bool
	// Revision is the one that the transaction made; if it changed nothing, the one at which it did not.
	Revision uint64
	// Results are those of the operations of the branch, in their order.
	Results []OpResult
}

// OpResult is the result of an operation of a transaction.
type OpResult struct {
	Kind OpKind
	// Found: the key of OpGet has a value. Entry is all that there is to know of it, but for the end of a lease.
	Found bool
	Entry Entry
	// Deleted is how many keys OpDelete or OpDeleteRange deleted.
	Deleted int
}

// Validate says what the service would refuse of a transaction, whatever its state.
func (t *Txn) Validate() error {
	if len(t.If) > MaxTxnOps || len(t.Then) > MaxTxnOps || len(t.Else) > MaxTxnOps {
		return fmt.Errorf("kv: a transaction has at most %d comparisons, and %[1]d operations in each branch", MaxTxnOps)
	}
	if _, err := decodeOp(Transact(t)); err != nil {
		return errors.New("kv: a key or value of the transaction is too long, or a part of it unknown")
	}
	return nil
}

// Transact returns the operation that does a transaction.
func Transact(t *Txn) []byte {
	b := appendNumbers([]byte{opTxn}, uint64(len(t.If)))
	for i := range t.If {
		c := &t.If[i]
		b = appendField(append(b, c.kind, byte(c.Relation)), c.Key)
		if c.kind == 'r' {
			b = appendNumbers(b, c.revision)
		} else {
			b = appendField(b, c.value)
		}
	}
	for _, branch := range [][]Op{t.Then, t.Else} {
		b = appendNumbers(b, uint64(len(branch)))
		for i := range branch {
			b = branch[i].append(b)
		}
	}
	return b
}

func (o *Op) append(b []byte) []byte {
	b = appendField(append(b, byte(o.Kind)), o.Key)
	switch o.Kind {
	case OpPut:
		b = appendNumbers(appendField(b, o.Value), o.Lease)
	case OpDeleteRange:
		b = appendField(b, o.Value)
	}
	return b
}

// txn reads a transaction.
func (f *fields) txn() *Txn {
	t := &Txn{}
	for n := f.number(MaxTxnOps); n > 0 && !f.bad; n-- {
		c := Compare{kind: f.letter(), Relation: Relation(f.letter()), Key: f.next(MaxKey)}
		switch c.kind {
		case 'r':
			c.revision = f.number(anyNumber)
		case 'v':
			c.value = f.next(MaxValue)
		default:
			f.bad = true
		}
		f.bad = f.bad || bytes.IndexByte([]byte("=!<>"), byte(c.Relation)) < 0
		t.If = append(t.If, c)
	}
	for _, branch := range []*[]Op{&t.Then, &t.Else} {
		for n := f.number(MaxTxnOps); n > 0 && !f.bad; n-- {
			o := Op{Kind: OpKind(f.letter()), Key: f.next(MaxKey)}
			switch o.Kind {
			case OpPut:
				o.Value, o.Lease = f.next(MaxValue), f.number(anyNumber)
			case OpDeleteRange:
				o.Value = f.next(MaxKey)
			case OpGet, OpDelete:
			default:
				f.bad = true
			}
			*branch = append(*branch, o)
		}
	}
	return t
}

// DecodeTxn returns the outcome of a transaction, or why it failed: ErrNoLease, ErrNotOwner, ErrQuota, ErrTooLarge, ErrBadOp.
func DecodeTxn(result []byte) (Outcome, error) {
	f, err := found(result)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Held: f.more(), Revision: f.number(anyNumber)}
	for len(f.rest) > 0 && !f.bad {
		r := OpResult{Kind: OpKind(f.letter())}
		switch r.Kind {
		case OpPut:
		case OpGet:
			if r.Found = f.more(); r.Found {
				r.Entry = Entry{Revision: f.number(anyNumber), Lease: f.number(anyNumber), Value: f.next(MaxValue)}
			}
		case OpDelete, OpDeleteRange:
			r.Deleted = int(f.number(MaxTxnDeletes))
		default:
			f.bad = true
		}
		out.Results = append(out.Results, r)
	}
	return out, f.end()
}

// holds tells whether a comparison holds for the record of its key, nil if there is none.
func (c *Compare) holds(record []byte) bool {
	order := 0
	switch {
	case c.kind == 'r':
		order = cmp.Compare(revisionOf(record), c.revision)
	case record == nil:
		return c.Relation == NotEqual
	default:
		order = bytes.Compare(valueOf(record), c.value)
	}
	switch c.Relation {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	}
	return order > 0
}

// turn is a transaction at work.
type turn struct {
	*machine
	client  bft.ClientID
	before  []before // what it has changed, in that order
	result  []byte
	got     int // bytes of values
	touched int // bytes of records
	deleted int // by ranges
	cleared []span
	puts    [][]byte // the keys that it has put, each once
}

// before is what a key was before a change.
type before struct{ key, record []byte }

// transact does a transaction.
func (m *machine) transact(client bft.ClientID, o *operation) []byte {
	t, held, x := o.txn, byte(1), &turn{machine: m, client: client}
	for i := range t.If {
		record, _ := m.get(t.If[i].Key)
		if x.touches(record) {
			return []byte{statusTooLarge}
		}
		if !t.If[i].holds(record) {
			held = 0
			break
		}
	}
	branch := t.Then
	if held == 0 {
		branch = t.Else
	}
	revision, changes := m.revision, len(m.history.changes)
	m.revision++
	for i := range branch {
		if status := x.do(&branch[i]); status != statusFound {
			x.undo()
			m.history.undo(changes)
			m.revision = revision
			return []byte{status}
		}
	}
	if len(m.history.changes) == changes {
		m.revision = revision
	}
	return append(appendNumbers([]byte{statusFound, held}, m.revision), x.result...)
}

// touches counts a record that was read; true if that is too much.
func (x *turn) touches(record []byte) bool {
	x.touched += len(record)
	return x.touched > MaxTxnTouched
}

// undo takes back the changes, the last one first.
func (x *turn) undo() {
	for i := len(x.before) - 1; i >= 0; i-- {
		x.reset(x.before[i].key, x.before[i].record)
	}
}

// do does one operation and returns statusFound, or why it cannot be done.
func (x *turn) do(o *Op) byte {
	x.result = append(x.result, byte(o.Kind))
	if o.Kind == OpDeleteRange {
		return x.deleteRange(o)
	}
	record, there := x.get(o.Key)
	if x.touches(record) {
		return statusTooLarge
	}
	switch o.Kind {
	case OpPut:
		if o.Lease != 0 {
			if status := x.mayAttach(x.client, o.Key, o.Lease); status != statusFound {
				return status
			}
		}
		x.before = append(x.before, before{o.Key, record})
		x.notePut(o.Key)
		x.set(o.Key, o.Value, o.Lease)
	case OpGet:
		if !there {
			x.result = append(x.result, 0)
			return statusFound
		}
		value := valueOf(record)
		if x.got += len(value); x.got > MaxTxnBytes {
			return statusTooLarge
		}
		x.result = appendNumbers(append(x.result, 1), revisionOf(record), leaseOf(record))
		x.result = appendField(x.result, value)
	case OpDelete:
		x.result = append(x.result, 0)
		if there {
			x.result[len(x.result)-1] = 1
			x.before = append(x.before, before{o.Key, record})
			x.remove(o.Key, Deleted)
		}
	}
	return statusFound
}
