package proxy

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

// isEnd tells the orderly end of a stream from a failure.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// piece is what one read brought, and when it is to arrive.
type piece struct {
	data []byte
	due  time.Time
}

// line is one direction of a connection: a queue in which each piece waits for its time.
type line struct {
	most int

	mu      sync.Mutex
	room    sync.Cond
	pieces  []piece
	size    int // bytes of pieces, and of what is being written
	last    time.Time
	ended   bool // nothing more is put
	whole   bool // the stream ended in order
	stopped bool
	wake    chan struct{} // of capacity 1
}

func newLine(most int) *line {
	l := &line{most: most, wake: make(chan struct{}, 1)}
	l.room.L = &l.mu
	return l
}

// put queues a copy of b, once there is room; false if the line was stopped. A piece larger than the
// bound passes alone.
func (l *line) put(b []byte, due time.Time) bool {
	cost := len(b) + entryBytes
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size > 0 && l.size+cost > l.most && !l.stopped {
		l.room.Wait()
	}
	if l.stopped {
		return false
	}
	l.add(piece{bytes.Clone(b), due})
	l.size += cost
	return true
}

// add queues a piece behind all others. Called with the lock held.
func (l *line) add(x piece) {
	if x.due.Before(l.last) {
		x.due = l.last
	}
	l.last = x.due
	l.pieces = append(l.pieces, x)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// end queues the end of the stream.
func (l *line) end(whole bool, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.whole = true, whole
	l.add(piece{nil, due})
}

// stop makes put return, now and later.
func (l *line) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.room.Broadcast()
}

// drain writes the pieces, each at its time, until the end of the stream, and tells whether that is reached in
// order. It gives up when write fails or quit is closed.
func (l *line) drain(quit <-chan struct{}, write func([]byte) error) (whole bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		if len(l.pieces) == 0 {
			l.mu.Unlock()
			select {
			case <-l.wake:
				continue
			case <-quit:
				return false
			}
		}
		x := l.pieces[0]
		l.mu.Unlock()
		if wait := time.Until(x.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-quit:
				return false
			}
		}
		if x.data == nil {
			return l.whole
		}
		if write(x.data) != nil {
			return false
		}
		l.took(len(x.data) + entryBytes)
	}
}

// took frees the first piece.
func (l *line) took(cost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pieces[0] = piece{}
	l.pieces = l.pieces[1:]
	l.size -= cost
	l.room.Signal()
}

// waiting is the number of bytes under way, with what each piece costs beside them.
func (l *line) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}
