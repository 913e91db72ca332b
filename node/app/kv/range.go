package kv

import (
	"bytes"
	"slices"
)

// span is a range of keys, from one to below another; an end of nil is that of all.
type span struct{ from, end []byte }

func (s span) has(key []byte) bool { return bytes.Compare(key, s.from) >= 0 && below(key, s.end) }

// below tells whether a key is below an end.
func below(key, end []byte) bool { return end == nil || bytes.Compare(key, end) < 0 }

// notePut notes that the transaction has put a key.
func (x *turn) notePut(key []byte) {
	if !slices.ContainsFunc(x.puts, func(k []byte) bool { return bytes.Equal(k, key) }) {
		x.puts = append(x.puts, key)
	}
}

// deleteRange deletes the keys of a range. However the ranges of a transaction lie, no part of the store is gone through twice: where
// one has been, there is only what was put after it. For also a part where nothing is may take long, as on a disk from
// which much was deleted.
func (x *turn) deleteRange(o *Op) byte {
	from, all := len(x.before), span{o.Key, o.Value}
	if len(all.end) == 0 {
		all.end = nil
	}
	gaps := x.clear(all)
	for _, gap := range gaps {
		for key, record := range x.records(gap.from, gap.end) {
			if !x.deletes(bytes.Clone(key), record) {
				return statusTooLarge
			}
		}
	}
	for _, key := range x.puts {
		if !all.has(key) || slices.ContainsFunc(gaps, func(gap span) bool { return gap.has(key) }) {
			continue
		}
		if record, there := x.get(key); there && !x.deletes(key, record) {
			return statusTooLarge
		}
	}
	slices.SortFunc(x.before[from:], func(a, b before) int { return bytes.Compare(a.key, b.key) })
	for _, b := range x.before[from:] {
		x.remove(b.key, Deleted)
	}
	x.result = appendNumbers(x.result, uint64(len(x.before)-from))
	return statusFound
}

// deletes notes a key that a range deletes; false if that is too much.
func (x *turn) deletes(key, record []byte) bool {
	if x.deleted++; x.deleted > MaxTxnDeletes || x.touches(record) {
		return false
	}
	x.before = append(x.before, before{key, bytes.Clone(record)})
	return true
}

// clear returns the parts of a range, in order, that no range of the transaction has cleared, and notes that they will be.
func (x *turn) clear(all span) (gaps []span) {
	at, whole := all.from, false // whole: what was cleared reaches the end of all keys
	for _, c := range x.cleared {
		if whole || !below(c.from, all.end) {
			break
		}
		if !below(at, c.end) {
			continue
		}
		if bytes.Compare(at, c.from) < 0 {
			gaps = append(gaps, span{at, c.from})
		}
		at, whole = c.end, c.end == nil
	}
	if !whole && below(at, all.end) {
		gaps = append(gaps, span{at, all.end})
	}
	x.cleared = append(x.cleared, gaps...)
	slices.SortFunc(x.cleared, func(a, b span) int { return bytes.Compare(a.from, b.from) })
	return gaps
}
