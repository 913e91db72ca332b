package gateway

import (
	"net/http"
	"net/netip"
	"sync"
)

// holder is for whom something is held, from the outside in: an account or, of the account that shows no token, one of the
// addresses that it is asked from.
type holder []string

// shares divides a bound among its holders without knowing how many there will be. A holder gets another part only while it
// has no more than would be left for others. So one alone has half at most, n of them a part in n+1 each, and who comes new
// finds something free however much the others want. The holders within a holder divide its own share in the same way.
type shares struct {
	total int64
	what  string // that is divided, in the plural

	mu   sync.Mutex
	all  int64
	used map[string]int64 // by holder, whose names are joined; who holds nothing is not in it
}

func newShares(total int64, what string) *shares {
	return &shares{total: total, what: what, used: map[string]int64{}}
}

// take takes n for a holder, who gives them back. The error says whether the holder has too many itself or all together.
func (s *shares) take(h holder, n int64) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.mayTake(h, n)
	if err == nil {
		s.add(h, n)
	}
	return err
}

// mayTake tells why a holder cannot have n, or nil.
func (s *shares) mayTake(h holder, n int64) *Error {
	left := s.total - s.all
	if left < n {
		return busy("gateway_busy", "the gateway has as many %s as it may", s.what)
	}
	for name := range h.names {
		if left -= s.used[name]; left < n {
			e := fail(http.StatusTooManyRequests, "share_exceeded", "you have as many %s at once as leave enough for others: wait until some have ended", s.what)
			e.RetryAfter = soon
			return e
		}
	}
	return nil
}

// move has n that one holder holds be held by another instead.
func (s *shares) move(from, to holder, n int64) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(from, -n)
	err := s.mayTake(to, n)
	if err != nil {
		to = from
	}
	s.add(to, n)
	return err
}

// give gives n back.
func (s *shares) give(h holder, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(h, -n)
}

func (s *shares) add(h holder, n int64) {
	s.all += n
	for name := range h.names {
		if s.used[name] += n; s.used[name] == 0 {
			delete(s.used, name)
		}
	}
}

// held is how much is held by all.
func (s *shares) held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// names are those of a holder and of the holders around it, the outermost first.
func (h holder) names(yield func(string) bool) {
	name := ""
	for _, part := range h {
		if name += "/" + part; !yield(name) {
			return
		}
	}
}

// source is the address that something comes from, as far as it stands for one user: of IPv6 the network, in which a
// machine picks its address as it likes.
func source(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "?"
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	const network = 64
	p, _ := addr.Prefix(network) // it has as many bits
	return p.String()
}
