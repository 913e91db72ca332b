package client

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// Consistency says what a read promises.
type Consistency int

// The consistencies of reads.
const (
	// Linearizable reads reflect every operation that ended before they began. They are not ordered;
	// while others write what they read, they may end in ErrContended.
	Linearizable Consistency = iota
	// Ordered reads are ordered and executed like operations: the same promise, never contended,
	// and the cost of an operation.
	Ordered
	// Stale reads return a state that at least one correct replica had, perhaps long ago.
	Stale
	// write marks an operation.
	write
)

// String names the consistency.
func (c Consistency) String() string {
	switch c {
	case Linearizable:
		return "linearizable"
	case Ordered:
		return "ordered"
	case Stale:
		return "stale"
	}
	return fmt.Sprintf("consistency %d", int(c))
}

// Service calls one of the services of a cluster.
type Service struct {
	c    *Client
	name string
	opts callOptions
}

// Service returns the service of this name. Methods of Client itself call the only service of a
// cluster that hosts one.
func (c *Client) Service(name string) *Service { return &Service{c, name, c.opts} }

// Invoke has op ordered and executed, exactly once unless the client's [Calls] say otherwise, and returns the
// service's answer.
func (c *Client) Invoke(ctx context.Context, op []byte) ([]byte, error) {
	return c.Service("").Invoke(ctx, op)
}

// Query has the service answer q.
func (c *Client) Query(ctx context.Context, q []byte, consistency Consistency) ([]byte, error) {
	return c.Service("").Query(ctx, q, consistency)
}

// Submit is Invoke without waiting: done is called once, when the call has ended, on the client's
// own goroutine, which it must not block; it may submit again. The reply is valid only until
// done returns. Submit returns an error instead if it does not take the call.
func (c *Client) Submit(ctx context.Context, op []byte, done func(reply []byte, err error)) error {
	return c.Service("").Submit(ctx, op, done)
}

// Invoke has op ordered and executed, exactly once unless [Service.With] or [Calls] say otherwise, and returns the
// service's answer.
func (s *Service) Invoke(ctx context.Context, op []byte) ([]byte, error) {
	return s.call(ctx, op, write)
}

// Query has the service answer q.
func (s *Service) Query(ctx context.Context, q []byte, consistency Consistency) ([]byte, error) {
	if consistency < Linearizable || consistency > Stale {
		return nil, &bft.CallError{Kind: ErrRejected, Text: "unknown " + consistency.String()}
	}
	return s.call(ctx, q, consistency)
}

// Submit is Invoke without waiting, see [Client.Submit].
func (s *Service) Submit(ctx context.Context, op []byte, done func(reply []byte, err error)) error {
	return s.submit(ctx, op, write, done)
}

// SubmitQuery is Query without waiting, see [Client.Submit].
func (s *Service) SubmitQuery(ctx context.Context, q []byte, consistency Consistency, done func(reply []byte, err error)) error {
	if consistency < Linearizable || consistency > Stale {
		return &bft.CallError{Kind: ErrRejected, Text: "unknown " + consistency.String()}
	}
	return s.submit(ctx, q, consistency, done)
}

// encode frames an operation, and refuses here what every replica would refuse.
func (s *Service) encode(op []byte, consistency Consistency) ([]byte, error) {
	if s.opts.err != nil {
		return nil, &bft.CallError{Kind: ErrRejected, Text: s.opts.err.Error()}
	}
	if s.name != "" && !exec.ValidServiceName(s.name) {
		return nil, &bft.CallError{Kind: ErrRejected, Text: fmt.Sprintf("%q is not a name of a service", s.name)}
	}
	if most := s.c.maxOp - len(s.name) - 2; len(op) > most {
		return nil, &bft.CallError{Kind: ErrRejected, Text: fmt.Sprintf("operation of %d bytes, the limit is %d (the manifest's op_size, less the service's name)", len(op), most)}
	}
	return exec.EncodeOp(s.name, consistency != write, op), nil
}

// submit starts a call for Submit.
func (s *Service) submit(ctx context.Context, op []byte, consistency Consistency, done func([]byte, error)) error {
	if err := ctx.Err(); err != nil {
		return &callError{err: errNotBegun, ended: err}
	}
	frame, err := s.encode(op, consistency)
	if err != nil {
		return err
	}
	if consistency == write && s.opts.once != nil {
		return &bft.CallError{Kind: ErrRejected, Text: "Once is not for Submit"}
	}
	if ctx.Done() == nil {
		_, err = s.c.begin(frame, consistency, s.opts.of(ctx, consistency), done)
		return err
	}
	var stop func() bool
	started := make(chan struct{})
	id, err := s.c.begin(frame, consistency, s.opts.of(ctx, consistency), func(reply []byte, err error) {
		<-started
		stop()
		if err != nil {
			err = s.c.explain(err, ctx.Err())
		}
		done(reply, err)
	})
	if err == nil {
		stop = context.AfterFunc(ctx, func() { s.c.cancel(id) })
	}
	close(started)
	return err
}

var errNotBegun = &bft.CallError{Kind: ErrNotSubmitted, Text: "the caller's context has ended before"}

// waiter receives the end of a blocking call. It is used again: a call ends exactly once, and its
// caller always waits for that.
type waiter struct {
	ended chan struct{} // of capacity 1
	reply []byte
	err   error
	done  func([]byte, error)
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{ended: make(chan struct{}, 1)}
	w.done = func(reply []byte, err error) {
		// The reply is a small part of a frame, which a caller that keeps it should not keep.
		w.reply, w.err = bytes.Clone(reply), err
		w.ended <- struct{}{}
	}
	return w
}}

// call makes a call and waits for its end.
func (s *Service) call(ctx context.Context, op []byte, consistency Consistency) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &callError{err: errNotBegun, ended: err}
	}
	frame, err := s.encode(op, consistency)
	if err != nil {
		return nil, err
	}
	if consistency == write && s.opts.once != nil {
		out, err := s.invokeNoted(ctx, frame)
		return out.value, err
	}
	w := waiters.Get().(*waiter)
	tr := s.c.tracing(ctx)
	id, err := s.c.beginTraced(frame, consistency, s.opts.of(ctx, consistency), w.done, tr)
	if err != nil {
		waiters.Put(w)
		return nil, err
	}
	var ended error
	select {
	case <-w.ended:
	case <-ctx.Done():
		s.c.cancel(id)
		<-w.ended // at once, and perhaps with a result after all
		ended = ctx.Err()
	}
	reply, err := w.reply, w.err
	w.reply, w.err = nil, nil
	waiters.Put(w)
	if tr != nil {
		s.c.endTrace(ctx, tr, s.name, consistency, err)
	}
	if err != nil {
		return nil, s.c.explain(err, ended)
	}
	return reply, nil
}

// call is a call that has not ended, in its slot.
type call struct {
	id   bft.CallID
	done func(reply []byte, err error) // nil: the slot is free
}

// request is a call on its way to run.
type request struct {
	id          bft.CallID
	op          []byte
	consistency Consistency
	trace       *tracing // nil: not traced
	opts        bft.CallOptions
	once        *once // nil: in the client's own session
}

// A CallID is a slot and, above it, how often the slot was used, so that cancelling a call that
// has ended cannot hit another one.
func slotOf(id bft.CallID) uint32 { return uint32(id) }

// begin takes a call over for run.
func (c *Client) begin(frame []byte, consistency Consistency, opts bft.CallOptions, done func([]byte, error)) (bft.CallID, error) {
	return c.beginTraced(frame, consistency, opts, done, nil)
}

func (c *Client) beginTraced(frame []byte, consistency Consistency, opts bft.CallOptions, done func([]byte, error), tr *tracing) (bft.CallID, error) {
	return c.enter(request{op: frame, consistency: consistency, trace: tr, opts: opts}, done)
}

// enter gives a request its id.
func (c *Client) enter(r request, done func([]byte, error)) (bft.CallID, error) {
	if err := c.journalFailure(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return 0, errClosed
	case c.open >= c.maxCalls:
		c.mu.Unlock()
		return 0, &bft.CallError{Kind: ErrOverloaded, Outcome: ErrNotSubmitted,
			Text: fmt.Sprintf("%d calls are outstanding in this client", c.maxCalls)}
	}
	c.open++
	var slot uint32
	if k := len(c.free); k > 0 {
		slot = c.free[k-1]
		c.free = c.free[:k-1]
	} else {
		slot = uint32(len(c.calls))
		c.calls = append(c.calls, call{id: bft.CallID(slot)})
	}
	call := &c.calls[slot]
	call.id += 1 << 32
	call.done = done
	id := call.id
	r.id = id
	c.pending = append(c.pending, r)
	first := len(c.pending) == 1
	c.mu.Unlock()
	if first {
		c.signal()
	}
	return id, nil
}

// cancel ends a call without a result, if it has not ended.
func (c *Client) cancel(id bft.CallID) {
	c.mu.Lock()
	c.cancels = append(c.cancels, id)
	c.mu.Unlock()
	c.signal()
}

// finish tells the caller how its call ended. The slot stays taken until release.
func (c *Client) finish(id bft.CallID, reply []byte, err error) {
	c.mu.Lock()
	call := &c.calls[slotOf(id)]
	done := call.done
	call.done = nil
	c.mu.Unlock()
	done(reply, err)
}

// release frees the slots of calls that have ended.
func (c *Client) release(slots []uint32) {
	if len(slots) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, slots...)
	c.open -= len(slots)
}
