package kvclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// lockPrefix is where the keys of locks are: below it the name, a slash, and the lease of who holds or wants the lock, in 16
// hexadecimal digits. Of the keys of a lock that which was put first has the lock.
const lockPrefix = "lock/"

// MaxLockName is the length of the longest name of a lock, in bytes.
const MaxLockName = kv.MaxKey - len(lockPrefix) - 17

// ErrLost: the time of the lock's lease is over, or it was revoked, or may have been as far as this client can know.
var ErrLost = errors.New("the lock is lost: its lease was not renewed in time, or was revoked")

// Lock is a lock that is held, until it is released or lost.
type Lock struct {
	// Name is that of the lock. Key is the key that exists for as long as the lock is held, and no longer.
	Name, Key string
	// Token is the fencing token: the revision of Key, larger for each later owner. A transaction that is to happen only
	// under the lock has the comparison IfRevision(Key, Equal, Token); others that are written to refuse tokens
	// that are smaller than one they have seen.
	Token uint64
	// Lease is the lease that Key is on.
	Lease uint64

	c      Cluster
	lease  *renewed
	prefix string
}

// LockOption changes what Acquire does.
type LockOption func(*lockOptions)

type lockOptions struct {
	note    string
	waiting func(ahead int, owner kv.Entry)
}

// Note makes a text the value of the lock's key, for others to see who holds it.
func Note(text string) LockOption { return func(o *lockOptions) { o.note = text } }

// Waiting has f told when the lock is another's, and again when the number of those before this client changes: how many they
// are, and the key of the owner.
func Waiting(f func(ahead int, owner kv.Entry)) LockOption {
	return func(o *lockOptions) { o.waiting = f }
}

// Acquire waits until it is this client's turn, in the order in which clients came, and returns the lock. It is kept
// by renewing its lease, which lives for ttl (within kv.MinTTL and kv.MaxTTL): if this process dies, the
// lock is free ttl later. An error, also that of ctx, leaves nothing behind; should the cluster not be reached then,
// what it knows ends with the ttl.
func Acquire(ctx context.Context, c Cluster, name string, ttl time.Duration, options ...LockOption) (*Lock, error) {
	switch {
	case name == "" || len(name) > MaxLockName:
		return nil, fmt.Errorf("the name of a lock has 1 to %d bytes, not %d", MaxLockName, len(name))
	case ttl < kv.MinTTL || ttl > kv.MaxTTL:
		return nil, fmt.Errorf("the time to live is %v: it must be from %v to %v", ttl, kv.MinTTL, kv.MaxTTL)
	}
	o := lockOptions{waiting: func(int, kv.Entry) {}}
	for _, set := range options {
		set(&o)
	}
	lease, err := renew(ctx, c, ttl)
	if err != nil {
		return nil, err
	}
	l := &Lock{Name: name, Lease: lease.id, c: c, lease: lease, prefix: lockPrefix + name + "/"}
	l.Key = turnKey(name, lease.id)
	// What waits for the lock need not wait any longer than the lease lives.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(lease.alive, cancel)
	defer stop()
	if err = l.queue(waiting, &o); err == nil {
		return l, nil
	}
	if lease.alive.Err() != nil && ctx.Err() == nil {
		err = ErrLost
	}
	give, cancelGive := context.WithTimeout(context.WithoutCancel(ctx), min(ttl, callTimeout))
	defer cancelGive()
	_ = l.Release(give) // if it fails, the lease ends by itself
	return nil, err
}

// queue puts the key and waits until all before it are gone.
func (l *Lock) queue(ctx context.Context, o *lockOptions) error {
	_, op := Enter(l.Name, l.Lease, []byte(o.note))
	result, err := l.c.Invoke(ctx, op)
	if err != nil {
		return err
	}
	out, err := kv.DecodeTxn(result)
	if err != nil {
		return err
	}
	l.Token = out.Revision
	last := 0
	for p := pause(0); ; {
		before, err := l.before(ctx)
		switch {
		case err == nil && before.turns == 0:
			return nil
		case errors.Is(err, ErrLost) || final(err):
			return err
		case err != nil:
			if err := p.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if before.turns != last {
			last = before.turns
			o.waiting(last, before.owner)
		}
		if err := l.awaitEnd(ctx, before.last.Key); err != nil {
			return err
		}
	}
}

// earlier is who came before.
type earlier struct {
	turns int
	owner kv.Entry // of the first of them
	last  kv.Entry // without its value
}

// before looks who came before.
func (l *Lock) before(ctx context.Context) (earlier, error) {
	mine, found := false, earlier{}
	err := eachTurn(ctx, l.c, l.prefix, func(int64) error { return nil }, func(e *kv.Entry) {
		switch {
		case string(e.Key) == l.Key:
			mine = true
		case e.Revision < l.Token:
			if found.turns++; found.turns == 1 || e.Revision < found.owner.Revision {
				found.owner = *e
				found.owner.Key, found.owner.Value = bytes.Clone(e.Key), bytes.Clone(e.Value) // nothing of the page
			}
			if e.Revision > found.last.Revision {
				found.last = kv.Entry{Key: bytes.Clone(e.Key), Revision: e.Revision}
			}
		}
	})
	if err != nil {
		return earlier{}, err
	}
	if !mine {
		return earlier{}, ErrLost
	}
	return found, nil
}

// awaitEnd waits until a key is gone. Once its lease should have ended it sees that it does.
func (l *Lock) awaitEnd(ctx context.Context, key []byte) error {
	for p := pause(0); ; {
		result, err := Ask(ctx, l.c, kv.Read(key))
		if final(err) {
			return err
		}
		if err == nil {
			e, err := kv.DecodeRead(result)
			if errors.Is(err, kv.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			_, _ = Settle(ctx, l.c, e.Ends) // if it fails, it is tried again
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}

// Lost is closed once the lock may be another's. Whoever works under the lock stops then.
func (l *Lock) Lost() <-chan struct{} { return l.lease.alive.Done() }

// Release gives the lock to the next. The error is of the cluster, which then frees it when its time is over; or ErrLost
// if it was not this client's any more.
func (l *Lock) Release(ctx context.Context) error {
	l.lease.stop()
	result, err := l.c.Invoke(ctx, kv.Revoke(l.Lease))
	if err == nil {
		_, err = kv.DecodeDone(result)
	}
	if errors.Is(err, kv.ErrNoLease) {
		return ErrLost
	}
	return err
}

// renewed is a lease that is kept alive.
type renewed struct {
	id    uint64
	alive context.Context // ends when the lease may have ended
	end   context.CancelFunc
	work  context.Context // ends with alive, or by stop
	quit  context.CancelFunc
	done  sync.WaitGroup
}

// renewals is how often a lease is renewed in its time, if all goes well.
const renewals = 3

// renew grants a lease and keeps it alive until stop.
func renew(ctx context.Context, c Cluster, ttl time.Duration) (*renewed, error) {
	began := time.Now()
	result, err := c.Invoke(ctx, kv.Grant(ttl))
	if err != nil {
		return nil, err
	}
	lease, err := kv.DecodeLease(result)
	if err != nil {
		return nil, err
	}
	r := &renewed{id: lease.ID}
	r.alive, r.end = context.WithCancel(context.Background())
	r.work, r.quit = context.WithCancel(r.alive)
	r.done.Go(func() {
		defer r.quit()
		r.keep(c, ttl, began)
	})
	return r, nil
}

// keep renews the lease until stop, or until it may have ended: when the time is over since the last renewal that succeeded
// was sent, as this machine's clock has it.
func (r *renewed) keep(c Cluster, ttl time.Duration, sent time.Time) {
	for next := ttl / renewals; ; {
		select {
		case <-time.After(min(next, time.Until(sent.Add(ttl)))):
		case <-r.work.Done():
			return
		}
		if time.Since(sent) >= ttl {
			r.end()
			return
		}
		began := time.Now()
		ctx, cancel := context.WithDeadline(r.work, sent.Add(ttl))
		result, err := c.Invoke(ctx, kv.KeepAlive(r.id))
		cancel()
		if err == nil {
			if _, err = kv.DecodeLease(result); err != nil { // it is gone, and no retry helps
				r.end()
				return
			}
			sent, next = began, ttl/renewals
			continue
		}
		next = ttl / (renewals * renewals)
	}
}

// stop ends the renewals.
func (r *renewed) stop() {
	r.quit()
	r.done.Wait()
}
