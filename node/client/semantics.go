package client

import (
	"context"
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// Semantics says how often an operation is executed when messages are lost, replicas fail or sessions end.
type Semantics = bft.Semantics

// The call semantics. docs/calls.md tells what each does, and shows each under the same failures.
const (
	// ExactlyOnce, the default: repeated in its session until f+1 replicas answer alike, also after the caller's
	// context has ended, for as long as the client lives.
	ExactlyOnce = bft.ExactlyOnce
	// AtMostOnce: repeated in its session until the caller's context ends. The replicas know its deadline, if it has
	// one, and execute nothing that they order later. With ErrRejected or ErrNotSubmitted it was not executed, with
	// ErrOutcomeUnknown once or not at all.
	AtMostOnce = bft.AtMostOnce
	// AtLeastOnce: repeated as a new operation each time, in a new session if need be. It is executed once or
	// more, for operations that do no harm when they are.
	AtLeastOnce = bft.AtLeastOnce
	// Maybe: sent once and never repeated. Without a deadline the call ends after four seconds.
	Maybe = bft.Maybe
)

// ParseSemantics returns the semantics of this name, such as "at-most-once". The error lists them.
func ParseSemantics(name string) (Semantics, error) {
	for _, s := range []Semantics{ExactlyOnce, AtMostOnce, AtLeastOnce, Maybe} {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of exactly-once, at-most-once, at-least-once, maybe", name)
}

// callOptions are what CallOptions set.
type callOptions struct {
	semantics  Semantics
	idempotent bool
	timeToLive time.Duration
	once       *once
	err        error // of an option
}

// CallOption says how operations are called.
type CallOption func(*callOptions)

// WithSemantics has operations executed as often as s says.
func WithSemantics(s Semantics) CallOption {
	return func(o *callOptions) {
		if s > Maybe {
			o.err = fmt.Errorf("client: unknown %v", s)
		}
		o.semantics = s
	}
}

// Idempotent declares that executing an operation twice is as good as once: where its outcome cannot be known because
// its session has ended, it is invoked anew in the next, instead of ending in ErrOutcomeUnknown.
func Idempotent() CallOption { return func(o *callOptions) { o.idempotent = true } }

// TimeToLive has the replicas refuse an operation that they order later than d, which is positive, after it was
// invoked, by the agreed time. It then ends in ErrRejected, and was not executed. The time is rounded up to 100 ms,
// and is as exact as the clocks of this machine and the primary's agree.
func TimeToLive(d time.Duration) CallOption {
	return func(o *callOptions) {
		if d <= 0 {
			o.err = fmt.Errorf("client: time to live is %v: it must be positive", d)
		}
		o.timeToLive = d
	}
}

// Calls sets Options.Calls.
func Calls(opts ...CallOption) Option { return func(p *Options) { p.Calls = opts } }

// With returns the service with other options for its operations; those that are not named stay. Reads have none: they
// change nothing, and may be repeated. An option that makes no sense is an error of every call.
func (s *Service) With(opts ...CallOption) *Service {
	w := *s
	w.opts.err = w.opts.set(opts)
	return &w
}

func (o *callOptions) set(opts []CallOption) error {
	for _, set := range opts {
		set(o)
	}
	if o.err == nil {
		return o.checkOnce()
	}
	return o.err
}

// of makes the core's options of a call that is made now.
func (o *callOptions) of(ctx context.Context, consistency Consistency) bft.CallOptions {
	if consistency != write {
		return bft.CallOptions{Idempotent: true}
	}
	opts := bft.CallOptions{Semantics: o.semantics, Idempotent: o.idempotent}
	if o.timeToLive > 0 {
		opts.Expires = bft.Time(time.Now().Add(o.timeToLive).UnixNano())
	}
	if deadline, ok := ctx.Deadline(); ok && o.semantics == AtMostOnce {
		// The caller's context itself ends the call; the replicas are told when.
		if at := bft.Time(deadline.UnixNano()); opts.Expires == 0 || at < opts.Expires {
			opts.Expires = at
		}
	}
	return opts
}
