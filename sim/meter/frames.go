package meter

import (
	"slices"
	"unsafe"
	"weak"
)

// Frames remembers the frames that a replica was given. The core keeps parts of them, and whoever
// keeps a part keeps all of it: a measurement that knows the frames counts them whole, where one
// that does not sees them from the first kept byte on. It keeps none of them alive, and does not
// change what is measured of memory outside of frames. The zero value is ready for use.
type Frames struct {
	all []arena
}

type arena struct {
	first weak.Pointer[byte]
	size  uintptr
}

// Add remembers a frame, which must not be resliced at its front.
func (f *Frames) Add(frame []byte) {
	if cap(frame) == 0 {
		return
	}
	if len(f.all) == cap(f.all) { // forget what is gone before growing
		f.all = slices.DeleteFunc(f.all, func(a arena) bool { return a.first.Value() == nil })
		f.all = slices.Grow(f.all, len(f.all)+64)
	}
	f.all = append(f.all, arena{weak.Make(&frame[:1][0]), uintptr(cap(frame))})
}

// spans lists the frames that are still in memory, by address. The second result keeps them there
// while it is used.
func (f *Frames) spans() ([]span, []*byte) {
	if f == nil {
		return nil, nil
	}
	var out []span
	var alive []*byte
	for _, a := range f.all {
		if p := a.first.Value(); p != nil {
			alive = append(alive, p)
			from := uintptr(unsafe.Pointer(p))
			out = append(out, span{from, from + a.size})
		}
	}
	slices.SortFunc(out, func(a, b span) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	return out, alive
}

// widen makes a span that lies in a frame the whole frame.
func widen(s span, frames []span) span {
	i, found := slices.BinarySearchFunc(frames, s.from, func(f span, at uintptr) int {
		switch {
		case f.from < at:
			return -1
		case f.from > at:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i >= 0 && s.from < frames[i].to {
		return span{frames[i].from, max(s.to, frames[i].to)}
	}
	return s
}
