package kvclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
	"github.com/baluarte-bft/baluarte/node/client"
)

// service is a cluster whose clock is that of the test's bubble, less lag. Its agreed time stands still while nothing
// is ordered, as everywhere.
type service struct {
	mu      sync.Mutex
	machine app.StateMachine
	lag     time.Duration
	seq     bft.Seq
	ordered int // operations that were ordered
	asked   int
}

func newService(t *testing.T) *service {
	t.Helper()
	m, err := kv.New(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	return &service{machine: m}
}

// count counts the operations that were ordered, and the questions.
func (s *service) count() (ordered, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ordered, s.asked
}

// caller is a client of the service, whose calls fail as fails says.
type caller struct {
	*service
	id    byte
	fails func() error
}

func (s *service) client(id byte) *caller {
	return &caller{service: s, id: id, fails: func() error { return nil }}
}

// Invoke has the service do an operation.
func (c *caller) Invoke(ctx context.Context, op []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(ctx.Err(), c.fails()); err != nil {
		return nil, err
	}
	c.seq++
	c.ordered++
	at := exec.NewContext(c.seq, bft.Time(time.Now().Add(-c.lag).UnixNano()), bft.Digest{}, 0)
	at.Client[0] = c.id
	return bytes.Clone(c.machine.Apply(at, op)), nil
}

// Query asks the service.
func (c *caller) Query(ctx context.Context, q []byte, how client.Consistency) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(ctx.Err(), c.fails()); err != nil {
		return nil, err
	}
	if c.asked++; how == client.Linearizable && c.asked%7 == 0 {
		return nil, client.ErrContended
	}
	return c.machine.Query(ctx, q)
}

// failing has the calls fail from now on as f says.
func (c *caller) failing(f func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails = f
}

func (c *caller) must(t *testing.T, op []byte) []byte {
	t.Helper()
	result, err := c.Invoke(t.Context(), op)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

var errDown = errors.New("no quorum")

// TestWatchTellsEachChangeOnce: of what begins with the prefix, in order, while every third call fails.
func TestWatchTellsEachChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		r := rand.New(rand.NewPCG(1, 1))
		var want []string
		change := func(i int) {
			var ops []kv.Op
			for k := range r.IntN(4) {
				key := fmt.Sprintf("%s/%d.%d", []string{"jobs", "other"}[r.IntN(2)], i, k)
				ops = append(ops, kv.Op{Kind: kv.OpPut, Key: []byte(key)})
				if key[0] == 'j' {
					want = append(want, key)
				}
			}
			s.client(1).must(t, kv.Transact(&kv.Txn{Then: ops}))
		}
		for i := range 100 {
			change(i)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watching := s.client(2)
		calls, troubles := 0, 0
		watching.failing(func() error {
			if calls++; calls%3 == 0 {
				return errDown
			}
			return nil
		})
		var got []string
		last := uint64(0)
		var ended error
		var started uint64
		go func() {
			ended = Watch(ctx, watching, []byte("jobs/"), 1, func(c kv.Change) error {
				if c.Revision < last {
					t.Errorf("revision %d after %d", c.Revision, last)
				}
				last = c.Revision
				got = append(got, string(c.Key))
				return nil
			}, Trouble(func(error) { troubles++ }), Started(func(from uint64) { started = from }))
		}()
		for i := range 300 {
			time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
			change(100 + i)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("told of %d changes, want %d: %q", len(got), len(want), got)
		}
		if troubles == 0 || started != 1 {
			t.Errorf("%d calls failed; started at %d", troubles, started)
		}
		// While nothing happens it looks rarely, and nothing is ordered.
		orderedBefore, askedBefore := s.count()
		time.Sleep(time.Minute)
		if ordered, asked := s.count(); ordered > orderedBefore || asked-askedBefore > int(time.Minute/pollMax)+1 {
			t.Errorf("in a quiet minute %d operations and %d reads", ordered-orderedBefore, asked-askedBefore)
		}
		cancel()
		synctest.Wait()
		if !errors.Is(ended, context.Canceled) {
			t.Errorf("ended with %v", ended)
		}
	})
}

// TestWatchFromNow: without a revision it begins with what comes next, and an error of the callback ends it.
func TestWatchFromNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.client(1).must(t, kv.Put([]byte("a"), []byte("old")))
		enough := errors.New("enough")
		var got kv.Change
		var ended error
		go func() {
			ended = Watch(t.Context(), s.client(2), nil, 0, func(c kv.Change) error { got = c; return enough })
		}()
		time.Sleep(time.Second)
		s.client(1).must(t, kv.Put([]byte("a"), []byte("new")))
		time.Sleep(time.Second)
		synctest.Wait()
		if ended != enough || got.Revision != 2 || string(got.Value) != "new" {
			t.Errorf("%+v, %v", got, ended)
		}
	})
}

// TestWatchSaysWhatIsGone: changes that are not kept are no reason to go on as if nothing were.
func TestWatchSaysWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		for range kv.MaxChanges + 5 {
			s.client(1).must(t, kv.Put([]byte("a"), nil))
		}
		err := Watch(t.Context(), s.client(2), nil, 5, func(c kv.Change) error { return fmt.Errorf("told of %+v", c) })
		var compacted *CompactedError
		if !errors.As(err, &compacted) || compacted.From != 6 || !errors.Is(err, kv.ErrCompacted) {
			t.Errorf("%v", err)
		}
	})
}

// TestWatchSeesTheEndOfALease: nobody else has anything ordered, and yet the key goes, and this is told of.
func TestWatchSeesTheEndOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		lease, err := kv.DecodeLease(s.client(1).must(t, kv.Grant(5*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		s.client(1).must(t, kv.PutOn(lease.ID, []byte("a"), nil))
		s.lag = 2 * time.Second // the cluster's clock may be behind
		began, told := time.Now(), []kv.ChangeKind{}
		err = Watch(t.Context(), s.client(2), nil, 1, func(c kv.Change) error {
			if told = append(told, c.Kind); c.Kind == kv.Expired {
				return errDown
			}
			return nil
		})
		if took := time.Since(began); err != errDown || !slices.Equal(told, []kv.ChangeKind{kv.Changed, kv.Expired}) || took < 7*time.Second || took > 8*time.Second {
			t.Errorf("told of %v after %v, %v", told, took, err)
		}
	})
}

// TestLockIsFair: one has it at a time, in the order in which they came, and each later one has a larger token.
func TestLockIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var holders, order int
		var last uint64
		var done sync.WaitGroup
		for i := range 8 {
			done.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				l, err := Acquire(t.Context(), s.client(byte(i)), "a", 10*time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				if holders++; holders > 1 || order != i || l.Token <= last {
					t.Errorf("%d holders; %d is the %dth, with token %d after %d", holders, i, order, l.Token, last)
				}
				order, last = order+1, l.Token
				time.Sleep(time.Minute) // much longer than the lease
				holders--
				if err := l.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		// Another lock, whose name goes on where this one ends, is another lock.
		l, err := Acquire(t.Context(), s.client(9), "a/b", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		done.Wait()
		if page, err := kv.DecodeScan(s.client(1).must(t, kv.Scan(nil, nil, 0, 0))); err != nil || len(page.Items) > 0 {
			t.Errorf("left behind: %+v, %v", page, err)
		}
	})
}

// TestLockOfADeadOwner: it is free once the time is over, and the owner, should it live, knows before that.
func TestLockOfADeadOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		owner, next := s.client(1), s.client(2)
		first, err := Acquire(t.Context(), owner, "a", 10*time.Second, Note("the first"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		select {
		case <-first.Lost():
			t.Fatal("lost while it was renewed")
		default:
		}
		owner.failing(func() error { return errDown })
		cut := time.Now()
		var lost time.Time
		go func() {
			<-first.Lost()
			lost = time.Now()
		}()
		var told []string
		second, err := Acquire(t.Context(), next, "a", 10*time.Second,
			Waiting(func(ahead int, e kv.Entry) { told = append(told, fmt.Sprint(ahead, " ", string(e.Value))) }))
		if err != nil {
			t.Fatal(err)
		}
		free := time.Since(cut)
		synctest.Wait()
		if lost.IsZero() || lost.Sub(cut) > free || free > 11*time.Second || second.Token <= first.Token {
			t.Errorf("lost after %v, free after %v, tokens %d and %d", lost.Sub(cut), free, first.Token, second.Token)
		}
		if !slices.Equal(told, []string{"1 the first"}) {
			t.Errorf("told of %q", told)
		}
		owner.failing(func() error { return nil })
		if err := first.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("release of what is another's: %v", err)
		}
		// What the first one does under its token is refused.
		guarded := &kv.Txn{If: []kv.Compare{kv.IfRevision([]byte(first.Key), kv.Equal, first.Token)}, Then: []kv.Op{{Kind: kv.OpPut, Key: []byte("x")}}}
		if out, err := kv.DecodeTxn(owner.must(t, kv.Transact(guarded))); err != nil || out.Held {
			t.Errorf("%+v, %v", out, err)
		}
		guarded.If[0] = kv.IfRevision([]byte(second.Key), kv.Equal, second.Token)
		if out, err := kv.DecodeTxn(next.must(t, kv.Transact(guarded))); err != nil || !out.Held {
			t.Errorf("%+v, %v", out, err)
		}
		if err := second.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAcquireLeavesNothing: who gives up waiting is not in the way of others.
func TestAcquireLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		held, err := Acquire(t.Context(), s.client(1), "a", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := Acquire(ctx, s.client(2), "a", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		// One that is cut off while it waits learns that its turn is gone.
		cut := s.client(3)
		began := time.Now()
		cut.failing(func() error {
			if time.Since(began) > 2*time.Second {
				return errDown
			}
			return nil
		})
		if _, err := Acquire(t.Context(), cut, "a", 5*time.Second); !errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		time.Sleep(10 * time.Second)
		if err := held.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if head, err := kv.DecodeRevision(s.client(1).must(t, kv.Revision())); err != nil || !head.NextEnd.IsZero() {
			t.Errorf("%+v, %v", head, err)
		}
		for _, name := range []string{"", string(make([]byte, MaxLockName+1))} {
			if _, err := Acquire(t.Context(), s.client(1), name, time.Minute); err == nil {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
		if _, err := Acquire(t.Context(), s.client(1), "a", time.Millisecond); err == nil {
			t.Error("a lease of a millisecond")
		}
		longest := string(bytes.Repeat([]byte("n"), MaxLockName))
		l, err := Acquire(t.Context(), s.client(1), longest, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
