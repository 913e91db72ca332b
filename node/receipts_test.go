package node

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// TestReceiptBook: the oldest makes room for the newest, by number and by bytes, and what was not executed as a whole
// never gets in.
func TestReceiptBook(t *testing.T) {
	b := newReceiptBook()
	add := func(first uint64, size int, fresh bool) {
		b.add(&bft.Bundle{Ops: [][]byte{make([]byte, size)}}, &exec.Reply{Session: 1, First: first, Results: [][]byte{{0}}, Fresh: fresh}, bft.Seq(first), 0)
	}
	there := func(first uint64) bool { return b.find(receiptKey{session: 1, first: first}) != nil }
	for i := range uint64(receiptBundles + 10) {
		add(i, 10, true)
	}
	if there(9) || !there(10) || !there(receiptBundles+9) || b.held != receiptBundles || b.bytes != 11*receiptBundles {
		t.Errorf("%d bundles of %d bytes are held", b.held, b.bytes)
	}
	add(1<<20, receiptBytes-1, true) // which fills it alone
	if b.held != 1 || !there(1<<20) || b.bytes != receiptBytes || len(b.byKey) != 1 {
		t.Errorf("%d bundles of %d bytes are held, by %d keys", b.held, b.bytes, len(b.byKey))
	}
	add(1<<21, receiptBytes, true)
	add(1<<22, 10, false)
	if there(1<<21) || there(1<<22) || !there(1<<20) {
		t.Error("what is too large, or was not executed as a whole, is held")
	}
	add(1<<23, 10, true)
	if b.held != 1 || there(1<<20) || b.bytes != 11 {
		t.Errorf("%d bundles of %d bytes are held", b.held, b.bytes)
	}
}
