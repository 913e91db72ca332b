package exec

import (
	"math/bits"

	"github.com/baluarte-bft/baluarte/bft"
)

const windowWords = bft.WindowOps / 64

// session is the replicated state of one session of a client (rule 24).
//
//  1. All numbers below low are decided, low is not. A number n in [low, low+WindowOps) is
//     decided if its bit is set.
//  2. ring bit n%WindowOps stands for n in the window, so advancing low moves nothing.
//  3. The cache holds results of decided numbers only, none below low-WindowOps.
type session struct {
	id    bft.SessionID
	owner *client
	low   uint64
	ring  [windowWords]uint64
	cache cache
	// lastUsed is the agreed time of the last bundle in this session.
	lastUsed bft.Time
	// closed: the client ended it, it is kept for retries only.
	closed bool
	// gone: closed or evicted; marks say so.
	gone bool
	// cause is why it was ended without its client's doing; StatusOK: it was not.
	cause Status
	hold  *hold // nil: it ends by its client's doing, or when it makes room
	// opening is the record of how it was opened, while that is remembered.
	opening *opening

	links  [2]links // in a list of the table and in one of its owner
	marked bft.Seq  // the last batch that has a mark of it
}

// decided tells whether number n has its final outcome.
func (s *session) decided(n uint64) bool {
	if n < s.low {
		return true
	}
	return n-s.low < bft.WindowOps && s.ring[n/64%windowWords]&(1<<(n%64)) != 0
}

// fits tells whether number n, at least low, is within the window.
func (s *session) fits(n uint64) bool { return n-s.low < bft.WindowOps }

// decide marks number n, which fits, as decided.
func (s *session) decide(n uint64) {
	s.ring[n/64%windowWords] |= 1 << (n % 64)
	if n != s.low {
		return
	}
	for s.ring[s.low/64%windowWords]&(1<<(s.low%64)) != 0 {
		s.clear(s.low)
		s.low++
	}
}

func (s *session) clear(n uint64) { s.ring[n/64%windowWords] &^= 1 << (n % 64) }

// answered takes note that the client knows the results below n. Numbers below n that were
// never executed are given up: they count as decided, so that one operation that the client
// abandoned does not hold up its window for ever. A client that claims more than a window
// has harmed itself enough.
func (s *session) answered(n uint64) {
	if n > s.low {
		n = min(n, s.low+bft.WindowOps)
		for ; s.low < n; s.low++ {
			s.clear(s.low)
		}
		for s.ring[s.low/64%windowWords]&(1<<(s.low%64)) != 0 {
			s.clear(s.low)
			s.low++
		}
	}
}

// kept is the lowest number whose result is worth keeping, when the client knows those below
// answered: an honest client has no number open a window or more below its lowest open one.
func (s *session) kept(answered uint64) uint64 {
	if s.low > bft.WindowOps {
		answered = max(answered, s.low-bft.WindowOps)
	}
	return answered
}

// result returns the kept result of the decided number n.
func (s *session) result(n uint64) []byte {
	if r := s.cache.get(n); r != nil {
		return r
	}
	return statusResults[StatusForgotten]
}

// bits returns which numbers of the window are decided: bit i is for low+i.
func (s *session) bits() (b [windowWords]uint64) {
	word, shift := int(s.low/64%windowWords), int(s.low%64)
	for i := range b {
		low, high := s.ring[(word+i)%windowWords], s.ring[(word+i+1)%windowWords]
		b[i] = low >> shift
		if shift > 0 {
			b[i] |= high << (64 - shift)
		}
	}
	return b
}

// setBits undoes bits.
func (s *session) setBits(b [windowWords]uint64) {
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			n := s.low + uint64(64*i+bits.TrailingZeros64(word))
			s.ring[n/64%windowWords] |= 1 << (n % 64)
		}
	}
}

// mark describes s for the core.
func (s *session) mark() bft.SessionMark {
	m := bft.SessionMark{Session: s.id, Client: s.owner.key, Low: s.low, Gone: s.gone}
	if !s.gone {
		m.Bits = s.bits()
	}
	return m
}
