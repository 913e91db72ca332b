package meter

import (
	"runtime"
	"testing"
	"unsafe"
)

func TestFramesCountWhole(t *testing.T) {
	var f Frames
	frame, other := make([]byte, 1000, 1100), make([]byte, 500)
	f.Add(frame)
	f.Add(other)
	f.Add(nil)
	measure := func(known *Frames, kept [][]byte) int64 {
		w := newWalker()
		spans, alive := known.spans()
		w.frames = spans
		for _, b := range kept {
			w.reach(region{at: unsafe.Pointer(unsafe.SliceData(b)), of: byteType, n: cap(b)})
		}
		runtime.KeepAlive(alive)
		return w.finish()
	}
	apart := make([]byte, 64)
	for _, c := range []struct {
		name        string
		kept        [][]byte
		known, want int64
	}{
		{"a part in the middle", [][]byte{frame[500:510:510]}, 1100, 10},
		{"the first byte", [][]byte{frame[:1:1]}, 1100, 1},
		{"the last byte", [][]byte{frame[999:1000:1000]}, 1100, 1},
		{"two parts of one", [][]byte{frame[1:2:2], frame[900:901:901]}, 1100, 2},
		{"parts of both", [][]byte{frame[1:2:2], other[499:]}, 1600, 2},
		{"outside", [][]byte{apart}, 64, 64},
	} {
		if got := measure(&f, c.kept); got != c.known {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.known)
		}
		if got := measure(nil, c.kept); got != c.want {
			t.Errorf("%s, frames unknown: %d bytes, want %d", c.name, got, c.want)
		}
	}
	runtime.KeepAlive(frame)
	runtime.KeepAlive(other)
}

// Frames that nobody keeps are forgotten, so that a long run does not gather them.
func TestFramesKeepNothingAlive(t *testing.T) {
	var f Frames
	for range 5000 {
		f.Add(make([]byte, 4096))
		if len(f.all)%500 == 0 {
			runtime.GC()
		}
	}
	runtime.GC()
	if spans, _ := f.spans(); len(spans) > 10 {
		t.Errorf("%d of 5000 frames are kept alive", len(spans))
	}
	if len(f.all) > 4000 {
		t.Errorf("%d of 5000 frames are remembered", len(f.all))
	}
}
