package transport

import "sync"

// frameOverhead is what a queued frame counts beyond its length, so that the
// bound in bytes also bounds the bookkeeping of many small frames.
const frameOverhead = 64

// queue holds the frames waiting for one writer. Pushing never blocks.
//
// Invariants: n frames stand in ring from head on, wrapping; bytes is the sum
// of their lengths and overheads; n ≤ maxFrames and bytes ≤ maxBytes; a shut queue
// is empty; if n > 0 then wake holds a token or the writer is about to take.
type queue struct {
	maxBytes  int
	maxFrames int
	wake      chan struct{} // of capacity 1

	mu      sync.Mutex
	ring    [][]byte
	head, n int
	bytes   int
	shut    bool
	dropped uint64
}

func newQueue(maxBytes, maxFrames int) *queue {
	return &queue{maxBytes: maxBytes, maxFrames: maxFrames, wake: make(chan struct{}, 1)}
}

// push appends a frame, or drops and counts it when the queue is full or shut.
func (q *queue) push(frame []byte) bool {
	cost := len(frame) + frameOverhead
	q.mu.Lock()
	if q.shut || q.n >= q.maxFrames || q.bytes+cost > q.maxBytes {
		q.dropped++
		q.mu.Unlock()
		return false
	}
	if q.n == len(q.ring) {
		q.grow()
	}
	tail := q.head + q.n
	if tail >= len(q.ring) {
		tail -= len(q.ring)
	}
	q.ring[tail] = frame
	q.n++
	q.bytes += cost
	first := q.n == 1
	q.mu.Unlock()
	if first {
		q.nudge()
	}
	return true
}

// nudge wakes the writer.
func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// grow doubles the ring. Called with the lock held.
func (q *queue) grow() {
	ring := make([][]byte, max(16, min(2*len(q.ring), q.maxFrames)))
	k := copy(ring, q.ring[q.head:])
	copy(ring[k:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

// take moves the oldest frames to dst: at least one if there is any, and no
// more than fit into maxBytes after it.
func (q *queue) take(dst [][]byte, maxBytes int) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	for taken := 0; q.n > 0; {
		frame := q.ring[q.head]
		if taken += len(frame); len(dst) > 0 && taken > maxBytes {
			break
		}
		dst = append(dst, frame)
		q.ring[q.head] = nil
		if q.head++; q.head == len(q.ring) {
			q.head = 0
		}
		q.n--
		q.bytes -= len(frame) + frameOverhead
	}
	if q.n == 0 && len(q.ring) > 1<<14 {
		q.ring, q.head = nil, 0 // a burst should not hold its memory for ever
	}
	return dst
}

// close drops what is queued and refuses what comes, until open.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += uint64(q.n)
	q.ring, q.head, q.n, q.bytes, q.shut = nil, 0, 0, 0, true
}

// open ends what close began.
func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = false
}

// reject counts a frame that was dropped before it came to the queue.
func (q *queue) reject() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
}

// usage returns the frames and bytes waiting and the frames ever dropped.
func (q *queue) usage() (frames, bytes int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n, q.bytes, q.dropped
}
