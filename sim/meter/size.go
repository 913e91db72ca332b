package meter

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"unsafe"
)

// Size is the number of bytes of memory that v holds: v itself, or what it points to, and all that
// can be reached from there through pointers, slices, strings, maps and interfaces, unexported
// fields included. Memory that is reached twice counts once, also where slices share an array.
//
//   - A slice counts with its capacity, and what stands between length and capacity is followed too:
//     the collector keeps it alive. The part of an array before the first element of a slice is
//     not seen, for no public interface tells where an array begins.
//   - A map counts as the table that the runtime needs for its length. Deleted entries are not
//     seen: a map that was larger once still occupies what it had then, so measure while it is large.
//   - A func counts as closureBytes. What it captures counts if it is reached otherwise too.
//   - Rounding by the allocator, at most an eighth for all but the smallest objects, is left out.
//
// It panics at a channel or an unsafe.Pointer, whose memory cannot be known: what is measured
// here is a state machine and has none. The value must not change meanwhile.
func Size(v any) int64 {
	t := reflect.TypeOf(v)
	if t == nil {
		return 0
	}
	w := newWalker()
	if t.Kind() == reflect.Pointer {
		w.reach(region{reflect.ValueOf(v).UnsafePointer(), t.Elem(), 1})
	} else {
		box := reflect.New(t)
		box.Elem().Set(reflect.ValueOf(v))
		w.reach(region{box.UnsafePointer(), t, 1})
	}
	size := w.finish()
	runtime.KeepAlive(v)
	return size
}

// closureBytes is what a func counts: its code pointer and seven captured words.
const closureBytes = 64

// region is n consecutive values of one type.
type region struct {
	at unsafe.Pointer
	of reflect.Type
	n  int
}

type span struct{ from, to uintptr }

type walker struct {
	seen  map[region]struct{}
	todo  []region
	spans []span
	// other is what has no address of its own here: tables of maps, and closures.
	other int64
	// follow remembers which types have pointers.
	follow map[reflect.Type]bool
	// apart, if set, is a type whose values are collected in found instead of counted and followed.
	apart reflect.Type
	found []unsafe.Pointer
	// frames are known arrays of bytes, see Frames.
	frames []span
}

func newWalker() *walker {
	return &walker{seen: make(map[region]struct{}), follow: make(map[reflect.Type]bool)}
}

// finish follows all that was reached and adds it up. An explicit list of what is left to do
// takes the place of recursion, for linked lists are long.
func (w *walker) finish() int64 {
	for len(w.todo) > 0 {
		r := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		for i := range r.n {
			w.content(unsafe.Add(r.at, uintptr(i)*r.of.Size()), r.of)
		}
	}
	if len(w.frames) > 0 {
		for i, s := range w.spans {
			w.spans[i] = widen(s, w.frames)
		}
	}
	slices.SortFunc(w.spans, func(a, b span) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	total, end := w.other, uintptr(0)
	for _, s := range w.spans {
		if from := max(s.from, end); s.to > from {
			total += int64(s.to - from)
			end = s.to
		}
	}
	return total
}

// reach notes a region of memory, which is followed once.
func (w *walker) reach(r region) {
	if r.at == nil || r.n == 0 || r.of.Size() == 0 {
		return
	}
	if !w.hasPointers(r.of) {
		w.note(r) // if not for the first time, finish sees to that
		return
	}
	if _, ok := w.seen[r]; ok {
		return
	}
	w.seen[r] = struct{}{}
	if r.of == w.apart && r.n == 1 {
		w.found = append(w.found, r.at)
		return
	}
	w.note(r)
	w.todo = append(w.todo, r)
}

func (w *walker) note(r region) {
	w.spans = append(w.spans, span{uintptr(r.at), uintptr(r.at) + uintptr(r.n)*r.of.Size()})
}

type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

type stringHeader struct {
	data unsafe.Pointer
	len  int
}

var byteType = reflect.TypeFor[byte]()

// content follows what the value of type t at p refers to; the value itself is counted already.
func (w *walker) content(p unsafe.Pointer, t reflect.Type) {
	if !w.hasPointers(t) {
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		w.reach(region{*(*unsafe.Pointer)(p), t.Elem(), 1})
	case reflect.Slice:
		s := (*sliceHeader)(p)
		w.reach(region{s.data, t.Elem(), s.cap})
	case reflect.String:
		s := (*stringHeader)(p)
		w.reach(region{s.data, byteType, s.len})
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			w.content(unsafe.Add(p, f.Offset), f.Type)
		}
	case reflect.Array:
		for i := range t.Len() {
			w.content(unsafe.Add(p, uintptr(i)*t.Elem().Size()), t.Elem())
		}
	case reflect.Map:
		w.mapContent(p, t)
	case reflect.Interface:
		w.interfaceContent(p, t)
	case reflect.Func:
		if at := *(*unsafe.Pointer)(p); at != nil && w.first(at, t) {
			w.other += closureBytes
		}
	default:
		panic(fmt.Sprintf("meter: the memory behind a %v cannot be measured", t))
	}
}

// first tells whether something without a span of its own is seen for the first time.
func (w *walker) first(at unsafe.Pointer, t reflect.Type) bool {
	r := region{at, t, 0}
	if _, ok := w.seen[r]; ok {
		return false
	}
	w.seen[r] = struct{}{}
	return true
}

func (w *walker) mapContent(p unsafe.Pointer, t reflect.Type) {
	m := reflect.NewAt(t, p).Elem()
	if m.IsNil() || !w.first(m.UnsafePointer(), t) {
		return
	}
	w.other += mapBytes(int64(m.Len()), int64(t.Key().Size()), int64(t.Elem().Size()))
	if !w.hasPointers(t.Key()) && !w.hasPointers(t.Elem()) {
		return
	}
	// Copies, since entries of a map have no address; only what they refer to counts.
	key, value := reflect.New(t.Key()), reflect.New(t.Elem())
	for it := m.MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		value.Elem().SetIterValue(it)
		w.content(key.UnsafePointer(), t.Key())
		w.content(value.UnsafePointer(), t.Elem())
	}
}

func (w *walker) interfaceContent(p unsafe.Pointer, t reflect.Type) {
	v := reflect.NewAt(t, p).Elem()
	if v.IsNil() {
		return
	}
	inner := v.Elem().Type()
	// The second word of an interface is the value itself if that is a pointer, else where it is.
	data := unsafe.Add(p, unsafe.Sizeof(uintptr(0)))
	if isPointerShaped(inner) {
		w.content(data, inner)
	} else {
		w.reach(region{*(*unsafe.Pointer)(data), inner, 1})
	}
}

// isPointerShaped tells whether an interface holds values of t directly.
func isPointerShaped(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	case reflect.Struct:
		return t.NumField() == 1 && isPointerShaped(t.Field(0).Type)
	case reflect.Array:
		return t.Len() == 1 && isPointerShaped(t.Elem())
	}
	return false
}

func (w *walker) hasPointers(t reflect.Type) bool {
	has, known := w.follow[t]
	if !known {
		has = hasPointers(t)
		w.follow[t] = has
	}
	return has
}

// hasPointers tells whether values of t can refer to other memory.
func hasPointers(t reflect.Type) bool {
	switch k := t.Kind(); k {
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	default:
		return k > reflect.Complex128
	}
}

// mapBytes is the memory of a map with so many entries, keys and values of so many bytes: groups of
// eight slots with a control word each, at most seven eighths full, their number a power of two.
// Keys and values above 128 bytes stand outside the table. It grows with each argument.
func mapBytes(entries, key, value int64) int64 {
	const header, group, direct = 48, 8, 128
	slots := int64(group)
	for entries > group && slots*7/8 < entries {
		slots *= 2
	}
	outside := int64(0)
	if key > direct {
		outside, key = outside+key, 8
	}
	if value > direct {
		outside, value = outside+value, 8
	}
	if entries == 0 {
		return header
	}
	return header + slots*(key+value+1) + entries*outside
}
