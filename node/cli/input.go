package cli

import (
	"context"
	"io"
)

// input is the standard input for a command that waits for it: a signal ends the wait.
func (p *Program) input() io.Reader { return &interruptible{p.ctx, p.stdin} }

type interruptible struct {
	ctx context.Context
	in  io.Reader
}

// Read fails with errInterrupted when the context ends before something comes. What comes then is lost with the process.
func (r *interruptible) Read(b []byte) (int, error) {
	type read struct {
		n   int
		err error
	}
	came, own := make(chan read, 1), make([]byte, len(b))
	go func() {
		n, err := r.in.Read(own)
		came <- read{n, err}
	}()
	select {
	case x := <-came:
		return copy(b, own[:x.n]), x.err
	case <-r.ctx.Done():
		return 0, errInterrupted
	}
}
