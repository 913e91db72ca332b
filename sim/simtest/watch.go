package simtest

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// watch knows which call of the service is going on, for whoever looks from outside.
type watch struct {
	mu     sync.Mutex
	number uint64 // of the call
	inside bool
	method string
	arg    []byte
	id     string // of the goroutine
}

// enter notes that a call begins.
func (w *watch) enter(method string, arg []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	w.inside, w.method, w.arg = true, method, arg
}

// leave notes that it has ended.
func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside = false
}

// going is the number of the call that is going on, 0 if none is.
func (w *watch) going() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.inside {
		return 0
	}
	return w.number
}

// describe says what call is going on, and where it is.
func (w *watch) describe() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.method
	if w.arg != nil {
		text += " of " + quote(w.arg)
	}
	return text + "\n" + stackOf(w.id)
}

// own sets the goroutine that makes the calls to the one that calls this.
func (w *watch) own() {
	var b [64]byte
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id, _, _ = strings.Cut(string(b[:runtime.Stack(b[:], false)]), "[")
}

// stackOf prints where a goroutine is, down to this package.
func stackOf(id string) string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for part := range bytes.SplitSeq(all, []byte("\n\n")) {
		if !bytes.HasPrefix(part, []byte(id)) {
			continue
		}
		var b strings.Builder
		lines := strings.Split(string(part), "\n")[1:]
		for i := 0; i+1 < len(lines) && !ours(lines[i]); i += 2 {
			where, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " +")
			what := lines[i]
			if k := strings.LastIndexByte(what, '('); k > 0 {
				what = what[:k]
			}
			fmt.Fprintf(&b, "    %s\n        %s\n", what, where)
		}
		return b.String()
	}
	return ""
}

// panicStack prints the functions that led to a panic, from the one that panicked down to this package. It is called
// by the deferred function that recovers.
func panicStack() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	var b strings.Builder
	panicked := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic" || f.Function == "runtime.sigpanic":
			panicked = true
			b.Reset()
		case panicked && ours(f.Function):
			return b.String()
		case panicked && !strings.HasPrefix(f.Function, "runtime."):
			b.WriteString("    " + f.Function + "\n        " + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		}
		if !more {
			return b.String()
		}
	}
}

// ours tells whether a function is one of this package, which called the service.
func ours(function string) bool {
	return strings.Contains(function, "/sim/simtest.(*subject).") || strings.Contains(function, "/sim/simtest.(*trial).") ||
		strings.Contains(function, "/sim/simtest.(*handle).") || strings.Contains(function, "/sim/simtest.validating.")
}
