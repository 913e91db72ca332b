package exec

import (
	"context"
	"encoding/binary"
	"io"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// StateMachine is a replicated service. All replicas begin with an equal state and apply the
// same operations in the same order, so whatever Apply does must depend on nothing else: not
// on a clock, a random source, the order of a map, the address of a pointer, a floating-point
// unit or a goroutine's luck. [Context] has the agreed time and a seed.
//
// Apply, Snapshot and Restore are called by one goroutine. Query is called by others at the
// same time, also while Restore runs.
type StateMachine interface {
	// Apply executes one operation and returns its result, which it must not change afterwards;
	// nil is the empty result. It keeps no reference to op. Peers and clients choose op freely: an
	// operation that makes no sense gets a result that says so. A panic ends the process, at
	// every replica.
	Apply(ctx Context, op []byte) []byte
	// Query answers a question from the present state and changes nothing. When it is ordered the
	// text of its error, up to [MaxErrorText] bytes, is part of the result: it must then be
	// the same at all replicas.
	Query(ctx context.Context, q []byte) ([]byte, error)
	// Snapshot returns a handle on the present state, cheaply: operations wait for it.
	Snapshot() (StateSnapshot, error)
	// Restore replaces the state by one that a StateSnapshot wrote, reading r to its end. The bytes
	// are certified, but may be damaged on the disk: it returns an error and does not panic. After
	// an error the state is undefined, until a later Restore succeeds.
	Restore(r io.Reader) error
}

// StateSnapshot is the state of a service at one point.
type StateSnapshot interface {
	// WriteTo writes the state, perhaps while Apply goes on changing the service. Equal states,
	// however they came about, give equal bytes. It may be called more than once.
	io.WriterTo
	// Close releases what the handle holds.
	Close() error
}

// Validator is implemented by a service that can refuse an operation without looking at its
// state: at the door, before it is ordered, and again when it was ordered regardless.
// Validate is a pure function, called by any goroutine.
type Validator interface {
	Validate(op []byte) error
}

// Factory makes a service, empty or with what the store holds. A service that keeps
// everything in memory ignores the store.
type Factory func(store Store) (StateMachine, error)

// Context is what an operation may know besides its bytes and the state. It is the same at all
// replicas.
type Context struct {
	// Seq is the number of the batch that the operation is in.
	Seq bft.Seq
	// Client is the public key that signed the operation.
	Client bft.ClientID
	// Session is the client's session, Op the operation's number in it.
	Session bft.SessionID
	Op      uint64

	now      bft.Time
	proposal bft.Digest
	index    uint64
}

// NewContext makes a context for the tests of a service. The proposal and the index (of the
// operation in it) are what Seed derives from.
func NewContext(seq bft.Seq, now bft.Time, proposal bft.Digest, index uint64) Context {
	return Context{Seq: seq, now: now, proposal: proposal, index: index}
}

// Time is the agreed time, in UTC: about the present, never going back, the same for all
// operations of a batch.
func (c *Context) Time() time.Time { return time.Unix(0, int64(c.now)).UTC() }

// Nanos is the agreed time in nanoseconds since the Unix epoch.
func (c *Context) Nanos() bft.Time { return c.now }

// Seed returns a stream of pseudo-random numbers that is the same at all replicas and different
// for each operation. The primary that proposes the operation can predict it, and choose
// among a few: it is no source of secrets, nor fair to bet on.
func (c *Context) Seed() *Stream {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], c.index)
	return &Stream{key: crypto.Hash("baluarte/seed", c.proposal[:], at[:])}
}

// Stream is a deterministic stream of pseudo-random bytes: SHA-256 over a key and a counter.
type Stream struct {
	key   bft.Digest
	count uint64
	block bft.Digest
	left  int
}

// Read fills p. It never fails.
func (s *Stream) Read(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if s.left == 0 {
			var at [8]byte
			binary.BigEndian.PutUint64(at[:], s.count)
			s.block = crypto.Hash("baluarte/stream", s.key[:], at[:])
			s.count++
			s.left = len(s.block)
		}
		k := copy(p, s.block[len(s.block)-s.left:])
		s.left -= k
		p = p[k:]
	}
	return n, nil
}

// Uint64 returns the next 8 bytes of the stream as a number.
func (s *Stream) Uint64() uint64 {
	var b [8]byte
	s.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// Uint64N returns a number in [0, n), each alike. It panics if n is 0.
func (s *Stream) Uint64N(n uint64) uint64 {
	if n == 0 {
		panic("exec: Uint64N of 0")
	}
	// Of the 2^64 numbers the lowest 2^64 mod n would favour some remainders: draw again.
	for low := -n % n; ; {
		if v := s.Uint64(); v >= low {
			return v % n
		}
	}
}
