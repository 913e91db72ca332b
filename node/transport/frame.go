package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	headerBytes = 4

	// Frames up to smallFrame come out of slabs of slabBytes: one allocation
	// for many frames, and little memory that a single retained one can pin.
	smallFrame = 1 << 10
	slabBytes  = 16 << 10

	// firstRead is how much is allocated on the mere claim of a length; more
	// follows only as the bytes arrive.
	firstRead = 64 << 10

	// keepAliveHeader stands where a length does: a sign of life, without bytes.
	keepAliveHeader = 0xffffffff

	// peerFlushBytes and clientFlushBytes are how many bytes one write gathers: whole TLS
	// records, which hold 16 KiB.
	peerFlushBytes   = 128 << 10
	clientFlushBytes = 32 << 10
)

// errSilent: the other end sends nothing, not even signs of life.
var errSilent = errors.New("nothing was heard of the other end")

// traffic counts what passed one direction of a channel.
type traffic struct {
	bytes, frames atomic.Uint64
}

// frameWriter is the writing half of a stream, used by one goroutine. It gathers
// all frames that wait into as few writes as possible.
type frameWriter struct {
	st       network.MuxedStream
	timeout  time.Duration
	limit    int // bytes gathered before a write
	sent     *traffic
	buf      []byte
	deadline time.Time // when the write deadline was last set
	wrote    bool      // since the last look at idleness
}

func newFrameWriter(st network.MuxedStream, timeout time.Duration, flushBytes int, sent *traffic) *frameWriter {
	return &frameWriter{st: st, timeout: timeout, limit: flushBytes, sent: sent}
}

// run writes what comes into q, until a write fails or stop is closed; whoever closes it nudges q. A frame taken
// from q is either written or lost with the stream. When nothing was written for keepAlive at most, it writes a
// sign of life.
//
// It waits for one channel alone: with every frame a select of several, a timer's among them, costs more than the
// rest of this loop.
func (w *frameWriter) run(q *queue, keepAlive time.Duration, stop <-chan struct{}) error {
	var due atomic.Bool
	period := max(keepAlive/2, time.Millisecond)
	idle := time.AfterFunc(period, func() {
		due.Store(true)
		q.nudge()
	})
	defer idle.Stop()
	var batch [][]byte
	for {
		batch = q.take(batch[:0], w.limit)
		if len(batch) == 0 {
			if err := w.flush(); err != nil {
				return err
			}
			<-q.wake
			select {
			case <-stop:
				return nil
			default:
			}
			if due.Swap(false) {
				if err := w.live(); err != nil {
					return err
				}
				idle.Reset(period)
			}
			continue
		}
		for i, frame := range batch {
			if err := w.add(frame); err != nil {
				return err
			}
			batch[i] = nil
		}
		w.sent.frames.Add(uint64(len(batch)))
	}
}

// live writes a sign of life, unless something was written since it was last called.
func (w *frameWriter) live() error {
	if !w.wrote {
		w.buf = binary.BigEndian.AppendUint32(w.buf, keepAliveHeader)
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.wrote = false
	return nil
}

// add gathers one frame, writing what no longer fits.
func (w *frameWriter) add(frame []byte) error {
	if len(w.buf)+headerBytes+len(frame) > w.limit {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(len(frame)))
	if len(frame) > w.limit/2 { // not worth copying
		if err := w.flush(); err != nil {
			return err
		}
		return w.write(frame)
	}
	w.buf = append(w.buf, frame...)
	return nil
}

func (w *frameWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// write passes b on in pieces, so that the deadline is one of progress and
// does not depend on the length of a frame.
func (w *frameWriter) write(b []byte) error {
	w.wrote = true
	for len(b) > 0 {
		piece := b[:min(len(b), w.limit)]
		// Setting a deadline costs a timer: renew it only when a quarter is gone.
		if now := time.Now(); now.Sub(w.deadline) > w.timeout/4 {
			if err := w.st.SetWriteDeadline(now.Add(w.timeout)); err != nil {
				return err
			}
			w.deadline = now
		}
		n, err := w.st.Write(piece)
		w.sent.bytes.Add(uint64(n))
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// goodbye writes the reason for which the stream ends here, after whole frames.
func (w *frameWriter) goodbye(reason string) error {
	reason = reason[:min(len(reason), maxReasonBytes)]
	w.buf = append(w.buf, 0, 0, 0, 0)
	w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(len(reason)))
	w.buf = append(w.buf, reason...)
	return w.flush()
}

// frameReader is the reading half of a stream, used by one goroutine.
type frameReader struct {
	st      network.MuxedStream
	br      *bufio.Reader
	max     int           // longest frame; 0: none may come, only signs of life
	timeout time.Duration // of a frame whose length has come
	silence time.Duration // after which the other end is taken for dead
	patient time.Time     // when the deadline of silence was last set
	goodbye bool          // the other end may end the stream with a reason
	slab    []byte
	got     *traffic
}

func newFrameReader(st network.MuxedStream, bufBytes, maxFrame int, limits *Limits, got *traffic) *frameReader {
	return &frameReader{st: st, br: bufio.NewReaderSize(st, bufBytes), max: maxFrame, timeout: limits.FrameTimeout,
		silence: limits.KeepAlive + 2*limits.WriteTimeout, got: got}
}

// next returns the next frame, which belongs to the caller. The capacity is
// cut to the length, so that appending cannot reach a neighbour in the slab.
func (r *frameReader) next() ([]byte, error) {
	length := uint32(keepAliveHeader)
	for length == keepAliveHeader {
		header, err := r.header()
		if err != nil {
			return nil, err
		}
		length = binary.BigEndian.Uint32(header)
		if _, err := r.br.Discard(headerBytes); err != nil {
			return nil, err
		}
	}
	switch {
	case length == 0:
		return nil, r.readGoodbye()
	case r.max == 0:
		return nil, fmt.Errorf("%w: this stream carries none in this direction", ErrFrame)
	case uint64(length) > uint64(r.max):
		return nil, fmt.Errorf("%w: length %d exceeds %d", ErrFrame, length, r.max)
	}
	frame, err := r.body(int(length))
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	r.got.frames.Add(1)
	r.got.bytes.Add(uint64(headerBytes + len(frame)))
	return frame, nil
}

// header waits for the next length. Who sends nothing for too long, not even signs of life, is gone.
func (r *frameReader) header() ([]byte, error) {
	if r.br.Buffered() < headerBytes {
		// Setting a deadline costs a timer: renew it only when a quarter is gone.
		if now := time.Now(); now.Sub(r.patient) > r.silence/4 {
			if err := r.st.SetReadDeadline(now.Add(r.silence)); err != nil {
				return nil, err
			}
			r.patient = now
		}
	}
	header, err := r.br.Peek(headerBytes)
	switch {
	case err == io.EOF && r.br.Buffered() > 0:
		return nil, io.ErrUnexpectedEOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w for %v", errSilent, r.silence)
	}
	return header, err
}

// body reads n bytes. A deadline is set only when they have not all arrived,
// which is rare for small frames.
func (r *frameReader) body(n int) ([]byte, error) {
	if n <= r.br.Buffered() {
		frame := r.room(n)
		_, err := io.ReadFull(r.br, frame)
		return frame, err
	}
	if err := r.st.SetReadDeadline(time.Now().Add(r.timeout)); err != nil {
		return nil, err
	}
	frame, err := readGrowing(r.br, r.room(min(n, firstRead)), n)
	if err != nil {
		return nil, err
	}
	r.patient = time.Now()
	return frame, r.st.SetReadDeadline(r.patient.Add(r.silence))
}

// room returns n bytes for a frame, from a slab if it is small.
func (r *frameReader) room(n int) []byte {
	if n > smallFrame {
		return make([]byte, n)
	}
	if len(r.slab) < n {
		r.slab = make([]byte, slabBytes)
	}
	b := r.slab[:n:n]
	r.slab = r.slab[n:]
	return b
}

// readGrowing fills buf and goes on to n bytes, at most quadrupling the buffer
// each time it is full: a claimed length alone takes no memory. Of a full bundle
// of operations of 1 KiB only the first half is copied.
func readGrowing(r io.Reader, buf []byte, n int) ([]byte, error) {
	for filled := 0; ; {
		if _, err := io.ReadFull(r, buf[filled:]); err != nil {
			return nil, err
		}
		if len(buf) == n {
			return buf, nil
		}
		filled = len(buf)
		grown := make([]byte, min(4*filled, n))
		copy(grown, buf)
		buf = grown
	}
}

// readGoodbye makes the error of a frame of length zero.
func (r *frameReader) readGoodbye() error {
	if !r.goodbye {
		return fmt.Errorf("%w: empty", ErrFrame)
	}
	if err := r.st.SetReadDeadline(time.Now().Add(r.timeout)); err != nil {
		return err
	}
	reason, err := readReason(r.br)
	if err != nil {
		return err
	}
	return &Refusal{Err: ErrClosedByPeer, Reason: printable(string(reason))}
}

// readReason reads a length of two bytes and a text within the bound.
func readReason(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > maxReasonBytes {
		return nil, fmt.Errorf("%w: reason of %d bytes", ErrFrame, n)
	}
	reason := make([]byte, n)
	_, err := io.ReadFull(r, reason)
	return reason, err
}
