package sim

import (
	"runtime"
	"strconv"
	"strings"
)

// stack lists the functions that lead to a panic, without addresses, so that two runs of one
// seed report the same.
func stack() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "/baluarte/") {
			file := f.File[strings.LastIndexByte(f.File, '/')+1:]
			b.WriteString("    " + f.Function[strings.LastIndexByte(f.Function, '/')+1:] + " (" + file + ":" + strconv.Itoa(f.Line) + ")\n")
		}
		if !more {
			return b.String()
		}
	}
}
