package meter

import (
	"container/list"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

type node struct {
	next *node
	data []byte
}

type holder struct {
	name  string
	any   any
	nodes [2]*node
}

func TestSizeOfKnownStructures(t *testing.T) {
	const ptr, slice, nodeSize = 8, 24, 32
	array := make([]byte, 100, 160)
	ring := &node{}
	ring.next = ring
	shared := &node{data: array}
	for _, c := range []struct {
		name string
		v    any
		want int64
	}{
		{"nil", nil, 0},
		{"nil pointer", (*node)(nil), 0},
		{"word", uint64(1), 8},
		{"pointer to a word", new(uint64), 8},
		{"slice by capacity", array, slice + 160},
		{"slices that share an array", [][]byte{array[:10], array[50:60:70], array[:40]}, slice + 3*slice + 160},
		{"neighbours in one array", [][]byte{array[0:10:10], array[10:20:20], array[15:30:30]}, slice + 3*slice + 30},
		{"string", strings.Repeat("x", 33), 16 + 33},
		{"cycle", ring, nodeSize},
		{"node twice", []*node{shared, shared}, slice + 2*ptr + nodeSize + 160},
		{"pointer into an array that is held too", struct {
			a []uint64
			p *uint64
		}{make([]uint64, 4), nil}, 32 + 32},
		{"interface of a pointer", &holder{name: "abc", any: shared}, 48 + 3 + nodeSize + 160},
		{"interface of a value", &holder{any: [3]uint64{1, 2, 3}}, 48 + 24},
		{"array of pointers", &holder{nodes: [2]*node{shared, ring}}, 48 + 2*nodeSize + 160},
		{"func", []func(){func() { array[0]++ }}, slice + ptr + closureBytes},
		{"nil func", []func(){nil}, slice + ptr},
		{"empty map", map[int]int{}, ptr + 48},
		{"map of values", map[uint64]uint64{1: 1, 2: 2}, ptr + 48 + 8*17},
		{"map of pointers", map[uint64]*node{1: shared, 2: shared}, ptr + 48 + 8*17 + nodeSize + 160},
		{"what a slice has let go of", append(make([]*node, 0, 1), shared)[:0], slice + ptr + nodeSize + 160},
	} {
		if got := Size(c.v); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
	inner := struct {
		a []uint64
		p *uint64
	}{a: make([]uint64, 4)}
	inner.p = &inner.a[3]
	if got := Size(&inner); got != 32+32 {
		t.Errorf("a pointer into an array that is held counts anew: %d bytes", got)
	}
}

// A long list is followed without a deep stack.
func TestSizeOfALongList(t *testing.T) {
	l := list.New()
	want := int64(unsafe.Sizeof(*l))
	for range 100_000 {
		l.PushBack(&node{})
		want += int64(unsafe.Sizeof(list.Element{})) + int64(unsafe.Sizeof(node{}))
	}
	if got := Size(l); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

func TestSizeRefusesWhatItCannotKnow(t *testing.T) {
	for name, v := range map[string]any{"channel": []chan int{make(chan int)}, "unsafe pointer": []unsafe.Pointer{nil}} {
		func() {
			defer func() {
				if x, ok := recover().(string); !ok || !strings.Contains(x, "cannot be measured") {
					t.Errorf("%s: not refused: %v", name, x)
				}
			}()
			Size(v)
		}()
	}
}

// What is measured is what the runtime has allocated, give or take its rounding.
func TestSizeIsNearTheHeap(t *testing.T) {
	type entry struct { // as what replicas keep: maps of pointers to bytes and lists
		key  [32]byte
		body []byte
		list []*node
	}
	grow := func() map[[32]byte]*entry {
		m := make(map[[32]byte]*entry)
		for i := range 20_000 {
			e := &entry{body: make([]byte, 200+i%300)}
			e.key[0], e.key[1], e.key[2] = byte(i), byte(i>>8), byte(i>>16)
			e.list = append(e.list, &node{data: e.body}, &node{})
			m[e.key] = e
		}
		return m
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := grow()
	runtime.GC()
	runtime.ReadMemStats(&after)
	heap, got := int64(after.HeapAlloc-before.HeapAlloc), Size(m)
	if got < heap*80/100 || got > heap*120/100 {
		t.Errorf("measured %d bytes, the heap grew by %d", got, heap)
	}
}

func TestMapBytesGrows(t *testing.T) {
	last := int64(0)
	for n := range int64(5000) {
		b := mapBytes(n, 32, 8)
		if b < last || n > 0 && b < 48+n*41 {
			t.Fatalf("%d entries: %d bytes, after %d", n, b, last)
		}
		last = b
	}
	if got := mapBytes(3, 8, 200); got != 48+8*17+3*200 {
		t.Errorf("large values stand outside the table: %d bytes", got)
	}
}
