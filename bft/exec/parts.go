package exec

import (
	"errors"

	"github.com/baluarte-bft/baluarte/bft"
)

// PartWriter cuts a serialised snapshot into parts of bft.PartSize bytes, in which it is kept,
// hashed and sent. Finish it when all is written.
type PartWriter struct {
	emit    func(index uint32, data []byte) error
	buf     []byte
	digests []bft.Digest
	err     error
}

// ErrTooManyParts means that a snapshot is larger than parts can be numbered: 2^32 of them.
var ErrTooManyParts = errors.New("exec: too many parts")

// NewPartWriter returns a writer that hands each part to emit, in order; emit does not keep
// data. A nil emit is for those who want the digests alone.
func NewPartWriter(emit func(index uint32, data []byte) error) *PartWriter {
	return &PartWriter{emit: emit, buf: make([]byte, 0, bft.PartSize)}
}

// Write implements io.Writer. Its error is that of emit, and sticks.
func (w *PartWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		// A full part is handed over only when more follows: so the last one is never empty.
		if len(w.buf) == bft.PartSize {
			w.flush()
		}
		k := min(len(p), bft.PartSize-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
	}
	return n - len(p), w.err
}

func (w *PartWriter) flush() {
	index := uint64(len(w.digests))
	switch {
	case w.err != nil:
		return
	case index >= 1<<32-1:
		w.err = ErrTooManyParts
		return
	case w.emit != nil:
		if w.err = w.emit(uint32(index), w.buf); w.err != nil {
			return
		}
	}
	w.digests = append(w.digests, bft.PartDigest(w.buf))
	w.buf = w.buf[:0]
}

// Finish hands over the last part and returns the digests of all, for bft.StateDigest and
// bft.ProvePart. There is at least one part; it is empty if nothing was written.
func (w *PartWriter) Finish() ([]bft.Digest, error) {
	if len(w.buf) > 0 || len(w.digests) == 0 {
		w.flush()
	}
	return w.digests, w.err
}
