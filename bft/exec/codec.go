package exec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// chunkBytes is the size of the chunks in which the stream of a service stands in a snapshot.
// It is fixed, so that the bytes do not depend on how the service cuts its writes.
const chunkBytes = 64 << 10

// maxResult bounds a single result in a snapshot: no bundle's results leave in a larger frame.
const maxResult = 64 << 20

// encoder writes the parts of a snapshot; the first error sticks.
type encoder struct {
	w     *bufio.Writer
	count int64
	err   error
}

// Write implements io.Writer.
func (e *encoder) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(p)
	e.count += int64(n)
	e.err = err
	return n, err
}

func (e *encoder) uint(v uint64) {
	var b [binary.MaxVarintLen64]byte
	e.Write(b[:binary.PutUvarint(b[:], v)])
}

func (e *encoder) bytes(p []byte) {
	e.uint(uint64(len(p)))
	e.Write(p)
}

func (e *encoder) bool(v bool) {
	b := [1]byte{}
	if v {
		b[0] = 1
	}
	e.Write(b[:])
}

// chunks writes the stream of w in chunks, and an empty one as its end.
func (e *encoder) chunks(w io.WriterTo) error {
	c := &chunker{e: e}
	if _, err := w.WriteTo(c); err != nil {
		return err
	}
	c.flush()
	e.uint(0)
	return e.err
}

type chunker struct {
	e   *encoder
	buf []byte
}

// Write implements io.Writer.
func (c *chunker) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), chunkBytes-len(c.buf))
		c.buf = append(c.buf, p[:k]...)
		p = p[k:]
		if len(c.buf) == chunkBytes {
			c.flush()
		}
	}
	if c.e.err != nil {
		return 0, c.e.err
	}
	return n, nil
}

func (c *chunker) flush() {
	if len(c.buf) > 0 {
		c.e.bytes(c.buf)
		c.buf = c.buf[:0]
	}
}

// ErrBadSnapshot means that bytes are not the snapshot of such a machine.
var ErrBadSnapshot = errors.New("exec: bad snapshot")

// decoder reads what encoder wrote, and refuses what it would not have written; the first
// error sticks, and all values read after it are zero.
type decoder struct {
	r   *bufio.Reader
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrBadSnapshot, fmt.Sprintf(format, args...))
	}
}

// failed notes the error of the reader below.
func (d *decoder) failed(err error) {
	if d.err != nil || err == nil {
		return
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		d.err = fmt.Errorf("%w: it ends too early: %w", ErrBadSnapshot, io.ErrUnexpectedEOF)
		return
	}
	d.err = fmt.Errorf("exec: read snapshot: %w", err)
}

func (d *decoder) full(p []byte) {
	if d.err == nil {
		if _, err := io.ReadFull(d.r, p); err != nil {
			d.failed(err)
		}
	}
	if d.err != nil {
		clear(p)
	}
}

func (d *decoder) uint() uint64 {
	var v uint64
	for shift := 0; d.err == nil; shift += 7 {
		b, err := d.r.ReadByte()
		switch {
		case err != nil:
			d.failed(err)
		case shift == 63 && b > 1, shift > 0 && b == 0:
			d.fail("a number is not in its shortest form")
		default:
			v |= uint64(b&0x7f) << shift
			if b < 0x80 {
				return v
			}
		}
	}
	return 0
}

// upTo reads a number that is at most limit.
func (d *decoder) upTo(limit uint64, what string) uint64 {
	v := d.uint()
	if v > limit {
		d.fail("%s: %d is above %d", what, v, limit)
		return 0
	}
	return v
}

func (d *decoder) bool() bool {
	var b [1]byte
	d.full(b[:])
	if b[0] > 1 {
		d.fail("a truth value is %d", b[0])
	}
	return b[0] == 1
}

// bytes reads a byte string of at most limit bytes. It does not trust the length with memory.
func (d *decoder) bytes(limit uint64, what string) []byte {
	n := d.upTo(limit, what)
	if n <= chunkBytes {
		b := make([]byte, n)
		d.full(b)
		return b
	}
	b, err := io.ReadAll(io.LimitReader(d.r, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	d.failed(err)
	return b
}

// unchunker reads the stream of one service.
type unchunker struct {
	d    *decoder
	left uint64
	last bool // the present chunk is shorter than chunkBytes: only the end may follow
	end  bool
}

// Read implements io.Reader.
func (u *unchunker) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if u.left == 0 && !u.end {
		u.left = u.d.upTo(chunkBytes, "chunk")
		u.end = u.left == 0
		if u.last && !u.end {
			u.d.fail("a chunk follows one that is not full")
		}
		u.last = u.left < chunkBytes
	}
	if u.d.err != nil {
		return 0, u.d.err
	}
	if u.end {
		return 0, io.EOF
	}
	n, err := u.d.r.Read(p[:min(uint64(len(p)), u.left)])
	u.left -= uint64(n)
	if err != nil {
		u.d.failed(err)
		return n, u.d.err
	}
	return n, nil
}
