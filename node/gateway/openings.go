package gateway

import (
	"errors"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/client"
)

// openings divides among those who sign with one key how many requests with an Idempotency-Key the cluster remembers for the
// key, and how many its client has under way. It may forget, as it does when the gateway ends: then the cluster alone bounds
// them, and a repetition is still none of anything but the first.
type openings struct {
	under *shares // under way

	mu         sync.Mutex
	remembered *shares
	byID       map[bft.Digest]*opening
	next       time.Time // before which none is forgotten
}

// opening is a request that the cluster remembers, or may.
type opening struct {
	holder holder
	until  time.Time
	calls  int  // under way
	sent   bool // the cluster may know it
}

func newOpenings(remembered int) *openings {
	return &openings{remembered: newShares(int64(remembered), "requests with an Idempotency-Key, each until its time,"),
		under: newShares(client.MaxOnce, "requests with an Idempotency-Key under way"), byID: map[bft.Digest]*opening{}}
}

// begin takes a request into account; a repetition is remembered with the first. The caller tells end how it ended.
func (s *openings) begin(h holder, o *Operation) (end func(error), failed *Error) {
	if err := s.under.take(h, 1); err != nil {
		return nil, err
	}
	id := crypto.Hash("baluarte/gateway/opening", []byte(o.Once), []byte(o.Service), o.Op)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	e := s.byID[id]
	if e == nil {
		if err := s.remembered.take(h, 1); err != nil {
			s.under.give(h, 1)
			return nil, err
		}
		e = &opening{holder: h, until: o.Until}
		s.byID[id] = e
		if s.next.IsZero() || e.until.Before(s.next) {
			s.next = e.until
		}
	}
	e.calls++
	return func(err error) {
		s.under.give(h, 1)
		s.mu.Lock()
		defer s.mu.Unlock()
		e.calls--
		e.sent = e.sent || err == nil || errors.Is(err, client.ErrOutcomeUnknown) || errors.Is(err, client.ErrNoReceipt)
		if !e.sent && e.calls == 0 && s.byID[id] == e {
			s.drop(id, e)
		}
	}, nil
}

// forget drops those whose time is over.
func (s *openings) forget(now time.Time) {
	if s.next.IsZero() || now.Before(s.next) {
		return
	}
	s.next = time.Time{}
	for id, e := range s.byID {
		switch {
		case !now.Before(e.until):
			s.drop(id, e)
		case s.next.IsZero() || e.until.Before(s.next):
			s.next = e.until
		}
	}
}

func (s *openings) drop(id bft.Digest, e *opening) {
	delete(s.byID, id)
	s.remembered.give(e.holder, 1)
}
