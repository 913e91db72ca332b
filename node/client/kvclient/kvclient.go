// Package kvclient does with the service kv what takes more than one call: it follows changes as they happen, and holds
// locks. It works over a [client.Service]:
//
//	keys := c.Service("kv")
//	err := kvclient.Watch(ctx, keys, []byte("jobs/"), 0, func(c kv.Change) error { … })
//	lock, err := kvclient.Acquire(ctx, keys, "backup", 10*time.Second)
package kvclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

// Cluster calls the service; a [client.Service] does.
type Cluster interface {
	Invoke(ctx context.Context, op []byte) ([]byte, error)
	Query(ctx context.Context, q []byte, c client.Consistency) ([]byte, error)
}

const (
	// pollMin and pollMax bound the pause between two looks at what has not changed; it doubles. A look is a read,
	// which costs no agreement.
	pollMin = 20 * time.Millisecond
	pollMax = 500 * time.Millisecond
	// callTimeout bounds one try of a call that is tried again.
	callTimeout = 10 * time.Second
)

// pause waits, longer each time.
type pause time.Duration

func (p *pause) wait(ctx context.Context) error {
	*p = min(max(2**p, pause(pollMin)), pause(pollMax))
	select {
	case <-time.After(time.Duration(*p)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ask asks a question; the answer reflects every operation that ended before. While others change what it is about it
// is ordered.
func Ask(ctx context.Context, c Cluster, q []byte) ([]byte, error) {
	result, err := c.Query(ctx, q, client.Linearizable)
	if errors.Is(err, client.ErrContended) {
		return c.Query(ctx, q, client.Ordered)
	}
	return result, err
}

// ended tells whether the time of a lease is over by this machine's clock. The cluster's may not know, since agreed time
// stands still while nothing is ordered.
func ended(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

// Settle has the leases end whose time is over, if at, an end that was read, is past: it has an operation ordered
// that does nothing. It tells whether it did.
func Settle(ctx context.Context, c Cluster, at time.Time) (bool, error) {
	if !ended(at) {
		return false, nil
	}
	result, err := c.Invoke(ctx, kv.Advance())
	if err == nil {
		_, err = kv.DecodeDone(result)
	}
	return true, err
}

// final tells whether a call that failed so would always fail.
func final(err error) bool {
	return errors.Is(err, client.ErrRejected) || errors.Is(err, client.ErrReadFailed)
}

// CompactedError says that changes are no longer kept. It is kv.ErrCompacted.
type CompactedError struct {
	// From is the first revision whose changes are.
	From uint64
}

// Error says where to go on.
func (e *CompactedError) Error() string {
	return fmt.Sprintf("changes before revision %d are no longer kept: read the keys, and go on from there", e.From)
}

// Is makes errors.Is find kv.ErrCompacted.
func (e *CompactedError) Is(err error) bool { return err == kv.ErrCompacted }

// WatchOption changes what Watch does.
type WatchOption func(*watch)

// Trouble has f told of each call that failed, which is tried again for as long as ctx lets.
func Trouble(f func(error)) WatchOption { return func(w *watch) { w.trouble = f } }

// Started has f told of the first revision that is watched, before any change.
func Started(f func(from uint64)) WatchOption { return func(w *watch) { w.started = f } }

// watch is a Watch at work.
type watch struct {
	c       Cluster
	prefix  []byte
	next    uint64 // the first revision that was not told of
	each    func(kv.Change) error
	trouble func(error)
	started func(uint64)
}

// Watch calls each with every change of a key that begins with prefix, once and in order, from the revision from on; 0
// means what comes after now. All changes of a revision are told before those of the next. It returns when ctx ends,
// with its error; when each returns an error, with that; when the cluster has no such service; or with a [*CompactedError] if changes are asked for that are
// no longer kept, at the start, or later because more changed between two looks than is kept. A call that fails is
// tried again.
//
// While nothing changes it reads a few bytes twice a second, without agreement.
func Watch(ctx context.Context, c Cluster, prefix []byte, from uint64, each func(kv.Change) error, options ...WatchOption) error {
	w := &watch{c: c, prefix: prefix, next: from, each: each, trouble: func(error) {}, started: func(uint64) {}}
	for _, o := range options {
		o(w)
	}
	var p pause
	for begun := false; ; {
		head, err := w.look(ctx)
		if err == nil {
			if w.next == 0 {
				w.next = head.Revision + 1
			}
			if !begun {
				begun = true
				w.started(w.next)
			}
			before := w.next
			if err = w.catchUp(ctx, head.Revision); w.next != before {
				p = 0
			}
		}
		var f *failed
		switch {
		case errors.As(err, &f) && ctx.Err() == nil && !final(err):
			w.trouble(f.err)
		case err != nil:
			return err
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}

// failed is the error of a call to the cluster.
type failed struct{ err error }

func (f *failed) Error() string { return f.err.Error() }

func (f *failed) Unwrap() error { return f.err }

// look reads where the service stands, and sees that leases end.
func (w *watch) look(ctx context.Context) (kv.Head, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result, err := Ask(ctx, w.c, kv.Revision())
	if err != nil {
		return kv.Head{}, &failed{err}
	}
	head, err := kv.DecodeRevision(result)
	if err != nil {
		return head, err
	}
	if _, err := Settle(ctx, w.c, head.NextEnd); err != nil {
		return head, &failed{err}
	}
	return head, nil
}

// catchUp tells of all changes up to a revision. Both ends of the range lie behind, so the replicas agree on what it has.
func (w *watch) catchUp(ctx context.Context, to uint64) error {
	for w.next <= to {
		changes, through, err := w.page(ctx, to)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := w.each(c); err != nil {
				return err
			}
		}
		if through < w.next { // no correct service says so, and f+1 replicas did
			return fmt.Errorf("kv: changes from revision %d on end at %d", w.next, through)
		}
		w.next = through + 1
	}
	return nil
}

func (w *watch) page(ctx context.Context, to uint64) ([]kv.Change, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result, err := Ask(ctx, w.c, kv.Changes(w.prefix, w.next, to, 0, 0))
	if err != nil {
		return nil, 0, &failed{err}
	}
	changes, through, err := kv.DecodeChanges(result)
	if errors.Is(err, kv.ErrCompacted) {
		return nil, 0, &CompactedError{through + 1}
	}
	return changes, through, err
}
