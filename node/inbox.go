package node

import (
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
)

// Bounds of the inbox.
const (
	// peerInboxFrames and peerInboxBytes bound what waits for the core from one peer.
	peerInboxFrames = 4096
	peerInboxBytes  = 32 << 20
	// clientInboxBundles bounds the bundles of all clients that wait for the core, and
	// clientInboxBytes their size.
	clientInboxBundles = 16384
	clientInboxBytes   = 64 << 20
	// turnInputs bounds the messages of one turn of the core, so that time passes for it.
	turnInputs = 2048
)

// input is a message or read for the core.
type input struct {
	msg  bft.Verified
	read bft.ReadID // if not 0
	from int        // peer, or fromClients
	size int
}

const fromClients = -1

// share is what waits from one source.
type share struct{ n, bytes int }

// inbox is what waits for the core: messages, and reports of what it asked for.
//
// Invariants: shares counts queue by source; if anything waits then wake holds a token or the
// core is awake.
type inbox struct {
	wake chan struct{} // of capacity 1

	mu      sync.Mutex
	asleep  bool
	queue   []input
	peers   []share
	clients share
	done    bft.Done
	reports bool // done is not empty
	dropped uint64
}

func newInbox(n int) *inbox {
	return &inbox{wake: make(chan struct{}, 1), peers: make([]share, n)}
}

// add queues a message; false if its source has too many waiting.
func (b *inbox) add(in input) bool {
	b.mu.Lock()
	s, frames, bytes := &b.clients, clientInboxBundles, clientInboxBytes
	if in.from >= 0 {
		s, frames, bytes = &b.peers[in.from], peerInboxFrames, peerInboxBytes
	}
	if s.n >= frames || s.bytes+in.size > bytes && s.n > 0 {
		b.dropped++
		b.mu.Unlock()
		return false
	}
	s.n, s.bytes = s.n+1, s.bytes+in.size
	b.queue = append(b.queue, in)
	b.unlockAndWake()
	return true
}

// report tells the core something that it asked for. There is no bound: the core asked.
func (b *inbox) report(add func(*bft.Done)) {
	b.mu.Lock()
	add(&b.done)
	b.reports = true
	b.unlockAndWake()
}

// persisted is report for the commonest of reports.
func (b *inbox) persisted(lsn bft.LSN) {
	b.mu.Lock()
	b.done.Persisted = max(b.done.Persisted, lsn)
	b.reports = true
	b.unlockAndWake()
}

func (b *inbox) unlockAndWake() {
	wake := b.asleep
	b.asleep = false
	b.mu.Unlock()
	if wake {
		b.nudge()
	}
}

// nudge wakes the core.
func (b *inbox) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take moves at most turnInputs messages and all reports out. If there is nothing, the inbox
// will wake the core when something comes.
func (b *inbox) take(ins []input) (_ []input, done bft.Done, any bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.queue), turnInputs)
	for i := range b.queue[:n] {
		in := &b.queue[i]
		s := &b.clients
		if in.from >= 0 {
			s = &b.peers[in.from]
		}
		s.n, s.bytes = s.n-1, s.bytes-in.size
		ins = append(ins, *in)
	}
	rest := copy(b.queue, b.queue[n:])
	clear(b.queue[rest:])
	b.queue = b.queue[:rest]
	if b.reports {
		done, b.done, b.reports, any = b.done, bft.Done{}, false, true
	}
	any = any || n > 0
	b.asleep = !any
	return ins, done, any
}

// waiting is the number of messages that wait.
func (b *inbox) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// mailbox is an unbounded queue for one goroutine; what is put there is bounded by who puts it.
type mailbox[T any] struct {
	wake chan struct{} // of capacity 1

	mu     sync.Mutex
	queue  []T
	spare  []T
	closed bool
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{wake: make(chan struct{}, 1)} }

// put queues items and returns how many wait now.
func (m *mailbox[T]) put(items ...T) int {
	m.mu.Lock()
	m.queue = append(m.queue, items...)
	n := len(m.queue)
	m.mu.Unlock()
	m.signal()
	return n
}

func (m *mailbox[T]) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take waits for items and returns all of them; false once the mailbox is closed and empty. The
// slice is valid until the next take.
func (m *mailbox[T]) take() ([]T, bool) {
	for {
		m.mu.Lock()
		items, closed := m.queue, m.closed
		clear(m.spare)
		m.queue, m.spare = m.spare[:0], items
		m.mu.Unlock()
		if len(items) > 0 {
			return items, true
		}
		if closed {
			return nil, false
		}
		<-m.wake
	}
}

func (m *mailbox[T]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

// close lets take end once the mailbox is empty.
func (m *mailbox[T]) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.signal()
}
