package bft

import (
	"errors"
	"fmt"
)

// Semantics says how often an operation is executed when messages are lost, replicas fail or sessions end. It
// decides what leaves the client, and how often; replicas execute a number of a session once whatever it is.
type Semantics uint8

// The call semantics.
const (
	// ExactlyOnce: the same bytes are repeated until f+1 replicas answer alike, also after the caller has stopped
	// waiting, for as long as the client lives. An answer means executed once. Without one the operation was
	// executed at most once, and will be once while the client lives and its session does.
	ExactlyOnce Semantics = iota
	// AtMostOnce: the same bytes are repeated until the call's deadline, which the replicas know: ordered later, in
	// agreed time, the operation is not executed any more. An answer means executed once, ErrRejected and
	// ErrNotSubmitted not at all; ErrOutcomeUnknown one of the two, and nothing more after the deadline.
	AtMostOnce
	// AtLeastOnce: repeated as a new operation each time, with a number of its own and if need be in a new session.
	// An answer means executed once or more; no answer, any number of times.
	AtLeastOnce
	// Maybe: sent once to those replicas that are connected, and never again. An answer means executed once; no
	// answer, nothing. Without a deadline it ends after ClientConfig.MaxRetry.
	Maybe
	semanticsEnd
)

// String names the semantics as the flags of commands do.
func (s Semantics) String() string {
	switch s {
	case ExactlyOnce:
		return "exactly-once"
	case AtMostOnce:
		return "at-most-once"
	case AtLeastOnce:
		return "at-least-once"
	case Maybe:
		return "maybe"
	}
	return fmt.Sprintf("semantics %d", uint8(s))
}

// expiryStep is what the end of operations in agreed time is rounded up to, so that calls with nearly the same
// deadline still share a bundle.
const expiryStep = 100 * Millisecond

// maxMoves is how often a call that may be executed again moves to a new session, before it ends as others do. With a
// clock that is far off no session can be opened at all.
const maxMoves = 8

// class is what the calls of one bundle have in common.
type class struct {
	semantics Semantics
	expires   Time // in agreed time; 0: never
}

// complete fills in what the semantics of a call ask for.
func (c *Client) complete(w *waitingCall, opts CallOptions) error {
	if opts.Semantics >= semanticsEnd {
		return &CallError{Kind: ErrRejected, Text: "unknown " + opts.Semantics.String()}
	}
	w.idempotent, w.class = opts.Idempotent, class{opts.Semantics, opts.Expires}
	switch {
	case w.semantics == Maybe && opts.Deadline == 0:
		w.deadline = c.now + c.cfg.MaxRetry
		c.wakeAt(w.deadline)
	case w.semantics == AtMostOnce && opts.Deadline != 0:
		until := c.clock + max(0, opts.Deadline-c.now)
		if w.expires == 0 || until < w.expires {
			w.expires = until
		}
	}
	if w.expires != 0 {
		w.expires = (w.expires + expiryStep - 1) / expiryStep * expiryStep
	}
	return nil
}

// opensFirst tells whether a session must be opened before the next call leaves. A bundle that may be given up must
// not be the one that opens: nobody would use, or close, the session that replicas open for it after all.
func (c *Client) opensFirst() bool {
	return c.phase == phaseNone && !c.cfg.Ephemeral && c.waiting.len() > 0 && c.waiting.at(0).semantics != ExactlyOnce
}

// notOpened ends the calls that wait for a session: it was not opened.
func (c *Client) notOpened(result []byte) {
	_, err := splitResult(result)
	e, ok := err.(*CallError)
	if !ok {
		e = errBadResult
	}
	c.waiting.filter(func(w *waitingCall) bool {
		c.end(w.id, nil, said(&CallError{Kind: e.Kind, Outcome: ErrNotSubmitted, Text: e.Text}, w.left()), len(w.op))
		return true
	})
}

// again has a call wait once more, with the operation that left in b.
func (c *Client) again(b *sentBundle, k int, ops [][]byte) {
	c.waits(b, k, ops, min(2*b.backoff, c.cfg.MaxRetry))
}

// waits has call k of b wait as one that left before and may have been executed, or, with a back-off of 0, has not.
func (c *Client) waits(b *sentBundle, k int, ops [][]byte, backoff Time) {
	call := &b.calls[k]
	c.waiting.push(waitingCall{id: call.id, op: ops[k], deadline: call.deadline, class: b.class,
		idempotent: call.idempotent, moves: call.moves, traced: call.traced, backoff: backoff})
	call.ended = true
}

// crowded has call k of b leave again if it was not executed, for there was no room for its result beside those of
// others in b. The first of b is never crowded, so that each round executes some.
func (c *Client) crowded(b *sentBundle, k int, result []byte) bool {
	if !crowdedOut(result) || b.semantics == Maybe {
		return false
	}
	backoff := Time(0)
	if b.calls[k].again {
		backoff = b.backoff
	}
	c.waits(b, k, b.operations(), backoff)
	return true
}

// left tells whether a call that waits has left before.
func (w *waitingCall) left() bool { return w.backoff > 0 }

// said is what err says of a call. If it left before, in another bundle, that it was not executed in this one, or never left in
// it, says nothing of the other; but what no service takes was not taken then either.
func said(err error, again bool) error {
	e, ok := err.(*CallError)
	if !again || !ok || e == resultErrors[ResultUnknownService] || e == resultErrors[ResultInvalid] ||
		!errors.Is(e, ErrNotSubmitted) && !errors.Is(e, ErrRejected) {
		return err
	}
	return &CallError{Kind: ErrOutcomeUnknown, Text: "it left before, and may have been executed; at last: " + e.Text}
}

// operations reads the operations of a bundle back from its payload.
func (b *sentBundle) operations() [][]byte {
	if len(b.Ops) == len(b.calls) {
		return b.Ops
	}
	d, err := DecodeBundle(b.Payload, b.Signature, WindowOps, len(b.Payload))
	if err != nil {
		panic("bft: an own bundle does not decode: " + err.Error())
	}
	b.Ops = d.Ops
	return d.Ops
}

// anew takes b back and has its calls leave again as new operations (AtLeastOnce).
func (c *Client) anew(b *sentBundle) {
	c.failedReplier(b.replier, b.votes)
	ops := b.operations()
	for k := range b.calls {
		if !b.calls[k].ended {
			c.again(b, k, ops)
		}
	}
	c.dropEnded()
}

// move has call k of b, which has the result of a session that is gone, leave again in a new one; false if that
// could execute it more often than its semantics allow.
func (c *Client) move(b *sentBundle, k int, result []byte) bool {
	call := &b.calls[k]
	if !call.idempotent && b.semantics != AtLeastOnce || call.moves >= maxMoves || len(result) == 0 {
		return false
	}
	switch ResultStatus(result[0]) {
	case ResultUnknownSession, ResultExpired, ResultForgotten:
		call.moves++
		c.again(b, k, b.operations())
		return true
	}
	return false
}

// dropEnded gives up the bundles whose calls have all ended, but for those that are to be executed in any case.
// The numbers of others are decided when the next bundle says that it does not wait for them (Bundle.AnsweredBelow).
func (c *Client) dropEnded() {
	kept := c.bundles[:0]
	for _, b := range c.bundles {
		if b.semantics == ExactlyOnce || !b.ended() {
			kept = append(kept, b)
			continue
		}
		if b.Opens() {
			c.endSession()
		}
		c.release(b)
	}
	clear(c.bundles[len(kept):])
	c.bundles = kept
}

// ended tells whether nobody waits for the bundle any more.
func (b *sentBundle) ended() bool {
	for k := range b.calls {
		if !b.calls[k].ended {
			return false
		}
	}
	return len(b.calls) > 0
}
