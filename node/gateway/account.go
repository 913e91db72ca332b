package gateway

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

// Cluster is what a gateway calls with one key: a [client.Client], see [Connect].
type Cluster interface {
	// Invoke has an operation executed by a service. With the error client.ErrNoReceipt the result is good.
	Invoke(ctx context.Context, o Operation) (Outcome, error)
	// Query asks a service, as [client.Service.Query].
	Query(ctx context.Context, service string, question []byte, c client.Consistency) ([]byte, error)
	// Reachable tells which replicas can be reached.
	Reachable() client.Reach
}

// Operation is what a service is to execute.
type Operation struct {
	Service string
	Op      []byte
	// Receipt: a receipt is wanted.
	Receipt bool
	// Once, unless empty, and Until are those of [client.Once].
	Once  string
	Until time.Time
}

// Outcome is what came of an Operation.
type Outcome struct {
	// Value is the service's result.
	Value []byte
	// Receipt is nil unless one was wanted.
	Receipt *receipt.Receipt
}

// Account is somebody on whose behalf the gateway calls the cluster.
type Account struct {
	// Name is for logs and metrics.
	Name string
	// Token is the digest of what is shown by the user; zero for those who show none.
	Token config.TokenDigest
	// Key is the public key that signs the operations.
	Key crypto.PublicKey
	// Cluster is called with that key.
	Cluster Cluster
	// Rate is how many requests a second may be made; 0: any number.
	Rate int
	// Operator may see what concerns all accounts.
	Operator bool
}

// account is an Account with its present use.
type account struct {
	Account
	rates *rates // nil: any
	// Of those who sign with one key; nil: the key is this account's alone.
	openings    *openings
	outstanding *shares // see newOutstanding
}

func newAccount(a Account) *account {
	acc := &account{Account: a}
	if a.Rate > 0 {
		acc.rates = &rates{of: map[string]*rate.Limiter{}}
	}
	return acc
}

// accountOf tells who is asking. A digest is looked up, so how long that takes says nothing about other tokens.
func (g *Gateway) accountOf(r *http.Request) (*account, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		if g.anonymous == nil {
			return nil, fail(http.StatusUnauthorized, "unauthorized", "a token is needed: send Authorization: Bearer TOKEN")
		}
		return g.anonymous, nil
	}
	scheme, token, _ := strings.Cut(header, " ")
	acc := g.accounts[config.DigestToken(strings.TrimSpace(token))]
	if !strings.EqualFold(scheme, "Bearer") || acc == nil {
		return nil, fail(http.StatusUnauthorized, "unauthorized", "the Authorization header has no token that is known here")
	}
	return acc, nil
}

// holderOf tells for whom an account's request is served. Those without a token divide their share by their addresses.
func (g *Gateway) holderOf(a *account, r *http.Request) holder {
	switch {
	case a != g.anonymous:
		return holder{a.Name}
	case len(g.accounts) == 0:
		return holder{source(r.RemoteAddr)}
	}
	return holder{a.Name, source(r.RemoteAddr)}
}

// rates bound the requests of an account, or of each address without a token.
type rates struct {
	mu sync.Mutex
	of map[string]*rate.Limiter
}

// maxRates bounds the addresses whose requests are counted. Those that have not asked for a second need not be.
const maxRates = 1 << 14

func (s *rates) limiter(name string, perSecond int) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of[name]
	if l != nil {
		return l
	}
	if len(s.of) >= maxRates {
		maps.DeleteFunc(s.of, func(_ string, l *rate.Limiter) bool { return l.Tokens() >= float64(l.Burst()) })
	}
	if len(s.of) >= maxRates {
		clear(s.of) // so many ask at once that no address asks for much
	}
	l = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	s.of[name] = l
	return l
}

// allow takes a request into account.
func (a *account) allow(h holder) error {
	if a.rates == nil {
		return nil
	}
	r := a.rates.limiter(h[len(h)-1], a.Rate).Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	e := fail(http.StatusTooManyRequests, "rate_limited", "more than %d requests a second", a.Rate)
	e.RetryAfter = wait
	return e
}

// Connect makes a Cluster of a client.
func Connect(c *client.Client) Cluster { return connected{c} }

type connected struct{ *client.Client }

// Invoke has an operation executed.
func (c connected) Invoke(ctx context.Context, o Operation) (out Outcome, err error) {
	s := c.Service(o.Service)
	if o.Once != "" {
		s = s.With(client.Once(o.Once, o.Until))
	}
	if o.Receipt {
		out.Value, out.Receipt, err = s.InvokeReceipt(ctx, o.Op)
	} else {
		out.Value, err = s.Invoke(ctx, o.Op)
	}
	return out, err
}

// Query asks a question.
func (c connected) Query(ctx context.Context, service string, question []byte, mode client.Consistency) ([]byte, error) {
	return c.Service(service).Query(ctx, question, mode)
}
