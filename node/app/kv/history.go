package kv

import (
	"context"
	"sort"
)

// Bounds of the history of changes. Bytes are those of keys and values, and 32 more for each change. The
// changes of the last revision are always kept, however many they are.
const (
	MaxChanges      = 10_000
	MaxHistoryBytes = 4 << 20
	changeOverhead  = 32
)

// ChangeKind says how a key changed.
type ChangeKind byte

// What can happen to a key.
const (
	Changed ChangeKind = iota + 1 // it got a value
	Deleted
	Expired // it went with its lease
)

// String names the kind as commands print it.
func (k ChangeKind) String() string {
	switch k {
	case Changed:
		return "put"
	case Deleted:
		return "delete"
	case Expired:
		return "expire"
	}
	return "unknown"
}

// Change is a change of one key.
type Change struct {
	// Revision is the number of the operation that made it; a transaction makes several of the same.
	Revision   uint64
	Kind       ChangeKind
	Key, Value []byte // no value but of Changed
}

// history has the latest changes.
//
//  1. Revisions do not fall, leave none out, and the last is that of the machine.
//
//  2. All changes of the first one's revision are there.
//
//  3. Keys and values are in blocks, in the same order. A block counts its changes, and has at least one.
//
// What a snapshot has seen never changes, so that it needs no copy.
type history struct {
	changes []Change
	bytes   int
	blocks  []block
	spare   []byte // of a block, to be used again
}

// block is memory for keys and values. One that no snapshot has seen is used again once its changes are gone: memory that is
// written to for the first time costs more than what is written.
type block struct {
	data    []byte
	changes int
	seen    bool
}

// blockBytes is the size of blocks; a value larger than that has one of its own.
const blockBytes = 16 << 10

// add notes a change, with copies of key and value. After the last one of an operation comes trim.
func (h *history) add(revision uint64, kind ChangeKind, key, value []byte) {
	need := len(key) + len(value)
	b := h.room(need)
	from := len(b.data)
	b.data = append(append(b.data, key...), value...)
	b.changes++
	both := b.data[from:len(b.data):len(b.data)]
	if n := len(h.changes); n == cap(h.changes) { // where the oldest are always dropped, doubling keeps the copying rare
		h.changes = append(make([]Change, 0, 2*n+64), h.changes...)
	}
	h.changes = append(h.changes, Change{revision, kind, both[:len(key):len(key)], both[len(key):]})
	h.bytes += need + changeOverhead
}

// room returns the last block, with room for so many bytes.
func (h *history) room(need int) *block {
	if n := len(h.blocks); n > 0 && need <= cap(h.blocks[n-1].data)-len(h.blocks[n-1].data) {
		return &h.blocks[n-1]
	}
	data := h.spare
	h.spare = nil
	if need > cap(data) {
		data = make([]byte, 0, max(need, blockBytes))
	}
	h.blocks = append(h.blocks, block{data: data})
	return &h.blocks[len(h.blocks)-1]
}

// share returns the changes for a snapshot.
func (h *history) share() []Change {
	for i := range h.blocks {
		h.blocks[i].seen = true
	}
	return h.changes
}

// undo takes back what was added after there were n changes.
func (h *history) undo(n int) {
	for i := len(h.changes) - 1; i >= n; i-- {
		c := &h.changes[i]
		h.bytes -= len(c.Key) + len(c.Value) + changeOverhead
		last := &h.blocks[len(h.blocks)-1]
		if last.changes--; last.changes == 0 {
			h.blocks = h.blocks[:len(h.blocks)-1]
		}
	}
	h.changes = h.changes[:n]
}

// drop forgets the oldest change.
func (h *history) drop() {
	c := &h.changes[0]
	h.bytes -= len(c.Key) + len(c.Value) + changeOverhead
	h.changes = h.changes[1:]
	first := &h.blocks[0]
	if first.changes--; first.changes == 0 {
		if !first.seen && cap(first.data) == blockBytes {
			h.spare = first.data[:0]
		}
		h.blocks = h.blocks[1:]
	}
}

// trim drops the oldest revisions as the bounds ask for.
func (h *history) trim() {
	for len(h.changes) > MaxChanges || h.bytes > MaxHistoryBytes {
		oldest := h.changes[0].Revision
		if oldest == h.changes[len(h.changes)-1].Revision {
			return
		}
		for h.changes[0].Revision == oldest {
			h.drop()
		}
	}
}

// first is the revision from which on all changes are kept.
func (h *history) first() uint64 {
	if len(h.changes) == 0 {
		return 1
	}
	return h.changes[0].Revision
}

// changes returns a page of the changes of o.from to o.to under the prefix. It holds whole revisions.
func (m *machine) changes(ctx context.Context, o *operation) []byte {
	h := &m.history
	if o.from < h.first() {
		return appendNumbers([]byte{statusCompacted}, h.first())
	}
	through := min(o.to, m.revision)
	var list []byte
	items, size := 0, 0
	at := sort.Search(len(h.changes), func(i int) bool { return h.changes[i].Revision >= o.from })
	for at < len(h.changes) && h.changes[at].Revision <= through {
		revision := h.changes[at].Revision
		if items >= o.items || size >= o.bytes || ctx.Err() != nil {
			through = revision - 1
			break
		}
		for ; at < len(h.changes) && h.changes[at].Revision == revision; at++ {
			c := &h.changes[at]
			if !hasPrefix(c.Key, o.key) {
				continue
			}
			list = appendNumbers(list, c.Revision)
			list = appendField(appendField(append(list, byte(c.Kind)), c.Key), c.Value)
			items, size = items+1, size+len(c.Key)+len(c.Value)
		}
	}
	return append(appendNumbers([]byte{statusFound}, through), list...)
}

func hasPrefix(key, prefix []byte) bool {
	return len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix)
}
