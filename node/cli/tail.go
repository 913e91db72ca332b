package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// tailPoll is how often followed logs are looked at.
const tailPoll = 100 * time.Millisecond

// maxLineBytes is the length at which a line of a log is broken.
const maxLineBytes = 64 << 10

// tailFile is one log that is printed line by line.
type tailFile struct {
	path, prefix string

	f    *os.File
	r    *bufio.Reader
	part []byte // of a line that has no end yet
}

// tail prints logs.
type tail struct {
	out   *bufio.Writer
	files []*tailFile
}

func newTail(out io.Writer, files []*tailFile) *tail {
	return &tail{out: bufio.NewWriter(out), files: files}
}

func (t *tail) close() {
	for _, f := range t.files {
		if f.f != nil {
			f.f.Close()
		}
	}
}

// copyAll prints what the logs hold beyond what was printed.
func (t *tail) copyAll() error {
	for _, f := range t.files {
		if err := f.copy(t.out); err != nil {
			return err
		}
	}
	return t.out.Flush()
}

// follow goes on until ctx ends.
func (t *tail) follow(ctx context.Context) error {
	tick := time.NewTicker(tailPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := t.copyAll(); err != nil {
			return err
		}
	}
}

// copy prints the new lines of one log.
func (f *tailFile) copy(out *bufio.Writer) error {
	if f.f == nil {
		opened, err := os.Open(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		f.f, f.r = opened, bufio.NewReaderSize(opened, maxLineBytes)
	}
	for {
		line, err := f.r.ReadSlice('\n')
		f.part = append(f.part, line...)
		switch {
		case err == nil, len(f.part) >= maxLineBytes:
			out.WriteString(f.prefix)
			out.Write(bytes.TrimRight(f.part, "\n"))
			out.WriteByte('\n')
			f.part = f.part[:0]
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			f.reopen()
			return nil
		default:
			return err
		}
	}
}

// reopen begins anew with a log that took the place of this one, or was cut.
func (f *tailFile) reopen() {
	now, err := os.Stat(f.path)
	if err != nil {
		return
	}
	was, err := f.f.Stat()
	if err != nil {
		return
	}
	at, err := f.f.Seek(0, io.SeekCurrent)
	if err != nil || os.SameFile(now, was) && now.Size() >= at {
		return
	}
	f.f.Close()
	f.f = nil
}
