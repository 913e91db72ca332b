// Package apptest finds out whether a service keeps the promises that replication rests on:
//
//	func TestService(t *testing.T) {
//		apptest.Check(t, mypackage.New, [][]byte{op1, op2, op3}, apptest.Queries(q1, q2))
//	}
//
// Run it with -race: then it also finds a Query that shares memory with Apply unguarded.
package apptest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// repeats is how often a script is run and compared. A map of two keys is ranged over in the
// same order by half of all runs; most slips show many times in one script.
const repeats = 6

// Option changes what Check does.
type Option func(*checker)

// Queries are asked beside the operations. Without them the operations themselves are.
func Queries(queries ...[]byte) Option { return func(c *checker) { c.queries = queries } }

// Seed chooses the arbitrary bytes that Check makes up. It is fixed if none is given.
func Seed(seed uint64) Option { return func(c *checker) { c.seed = seed } }

// Generate returns n operations that gen makes from a random source of that seed.
func Generate(seed uint64, n int, gen func(r *rand.Rand) []byte) [][]byte {
	r := rand.New(rand.NewPCG(seed, 0))
	ops := make([][]byte, n)
	for i := range ops {
		ops[i] = gen(r)
	}
	return ops
}

// Check runs the service that factory makes on the operations, several times, and reports an
// error to t unless
//
//   - every run gives the same results and the same bytes of a snapshot, also with queries
//     running beside it, with a snapshot written while operations go on, and when a fresh
//     service restores that and does the rest;
//   - results stay as they were returned, operations are left as they were, and no
//     reference to them is kept;
//   - queries change nothing, whatever they are;
//   - a truncated snapshot is refused, and a damaged one does not cause a panic;
//   - operations of arbitrary bytes do not cause a panic, and all of the above holds for them too;
//   - Validate, if the service has it, says the same of an operation whatever the state, and
//     leaves its bytes as they are. What it refuses is not applied, as no replica would.
//
// If the service is an app.Updater, it executes the operations on drafts first, once, as a primary does, and all of the above is
// asked of the updates that come of them. A draft must not change the state, nor notice its changes; neither Update nor
// ValidateUpdate may panic; and ValidateUpdate must accept what Update has made.
func Check(t testing.TB, factory app.Factory, ops [][]byte, options ...Option) {
	t.Helper()
	c := &checker{factory: factory, queries: ops, seed: 1}
	for _, o := range options {
		o(c)
	}
	if s, err := c.subject(); err == nil {
		if _, ok := s.machine.(app.Updater); ok {
			if err := c.checkPassive(ops); err != nil {
				t.Errorf("apptest: %v", err)
			}
			return
		}
	}
	if err := c.script(ops); err != nil {
		t.Errorf("apptest: %v", err)
		return
	}
	if err := c.script(c.spoil(ops)); err != nil {
		t.Errorf("apptest: with arbitrary operations in between (seed %d): %v", c.seed, err)
	}
}

type checker struct {
	factory app.Factory
	queries [][]byte
	seed    uint64
	// What Validate says of the operations of a script, by an empty service.
	accepted, refused [][]byte
	// passive: the script is one of updates.
	passive bool
}

// script checks all promises on one list of operations.
func (c *checker) script(ops [][]byte) error {
	if err := c.sift(ops); err != nil {
		return err
	}
	ops = c.accepted
	half := len(ops) / 2
	want, err := c.plain(ops, half, false)
	if err != nil {
		return err
	}
	for range repeats {
		got, err := c.plain(ops, half, true)
		if err == nil {
			err = same("when the same operations are run again, and the snapshot is written later", want, got, 0)
		}
		if err != nil {
			return err
		}
	}
	got, err := c.busy(ops, half)
	if err != nil {
		return err
	}
	if err := same("when queries and the writing of a snapshot go on beside", want, got, 0); err != nil {
		return err
	}
	if err := c.restored(ops, half, want); err != nil {
		return err
	}
	if err := c.harmless(ops); err != nil {
		return err
	}
	return c.damaged(want.middle)
}

// outcome is what a run yields.
type outcome struct {
	ops           [][]byte
	results       [][]byte
	middle, after []byte // snapshots
}

// same compares a run that did the operations from the given one on with the whole one.
func same(when string, want, got outcome, from int) error {
	for i, result := range got.results {
		if !bytes.Equal(want.results[from+i], result) {
			return fmt.Errorf("operation %d, %.60q, has another result %s: %.60q, not %.60q",
				from+i, want.ops[from+i], when, result, want.results[from+i])
		}
	}
	if !bytes.Equal(want.middle, got.middle) {
		return fmt.Errorf("the snapshot after %d operations differs %s: %s", len(want.ops)/2, when, difference(want.middle, got.middle))
	}
	if !bytes.Equal(want.after, got.after) {
		return fmt.Errorf("the snapshot after all operations differs %s: %s", when, difference(want.after, got.after))
	}
	return nil
}

func difference(a, b []byte) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return fmt.Sprintf("%d and %d bytes, at byte %d %.40q and %.40q", len(a), len(b), n, a[n:], b[n:])
}

// subject is a service under test.
type subject struct {
	machine app.StateMachine
	results [][]byte
	copies  [][]byte
	scratch []byte
}

func (c *checker) subject() (*subject, error) {
	m, err := c.factory(memstore.New())
	if err != nil {
		return nil, fmt.Errorf("factory: %w", err)
	}
	return &subject{machine: m}, nil
}

// apply has the service do operations from..to of ops.
func (s *subject) apply(ops [][]byte, from, to int) (err error) {
	at := from
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("apply panics on operation %d, %.60q: %v", at, ops[at], p)
		}
	}()
	for ; at < to; at++ {
		s.scratch = append(s.scratch[:0], ops[at]...)
		result := s.machine.Apply(contextOf(at), s.scratch)
		if !bytes.Equal(s.scratch, ops[at]) {
			return fmt.Errorf("apply changes the bytes of operation %d, %.60q", at, ops[at])
		}
		s.results = append(s.results, result)
		s.copies = append(s.copies, bytes.Clone(result))
		for i := range s.scratch {
			s.scratch[i] ^= 0xff // whoever kept a reference will see it
		}
	}
	return nil
}

// contextOf is the context of operation i: a batch is three operations, which take 10 ms.
func contextOf(i int) app.Context {
	batch := i / 3
	digest := sha256.Sum256(fmt.Append(nil, batch))
	ctx := exec.NewContext(bft.Seq(batch+1), bft.Time(1_700_000_000)*bft.Second+bft.Time(batch)*10*bft.Millisecond, digest, uint64(i%3))
	ctx.Client[0], ctx.Session, ctx.Op = byte(i%2), bft.SessionID(1+i%2), uint64(1+i/2)
	return ctx
}

// finish checks that the results are as they were, and takes the last snapshot.
func (s *subject) finish(ops [][]byte, middle []byte) (outcome, error) {
	for i := range s.results {
		if !bytes.Equal(s.results[i], s.copies[i]) {
			return outcome{}, fmt.Errorf("the result of operation %d was changed after it was returned: it was %.60q, now it is %.60q",
				i, s.copies[i], s.results[i])
		}
	}
	after, err := s.snapshot()
	return outcome{ops, s.copies, middle, after}, err
}

func (s *subject) snapshot() ([]byte, error) {
	snap, err := s.machine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return write(snap)
}

// write writes a snapshot, twice, and closes it.
func write(snap app.Snapshot) ([]byte, error) {
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		n, err := snap.WriteTo(b)
		if err != nil {
			return nil, fmt.Errorf("write the snapshot: %w", err)
		}
		if n != int64(b.Len()) {
			return nil, fmt.Errorf("WriteTo of the snapshot says %d bytes, but wrote %d", n, b.Len())
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		return nil, fmt.Errorf("a snapshot written twice differs: %s", difference(first.Bytes(), second.Bytes()))
	}
	if err := snap.Close(); err != nil {
		return nil, fmt.Errorf("close the snapshot: %w", err)
	}
	return first.Bytes(), nil
}

// plain does the operations one after the other.
func (c *checker) plain(ops [][]byte, half int, late bool) (outcome, error) {
	s, err := c.subject()
	if err != nil {
		return outcome{}, err
	}
	if err := s.apply(ops, 0, half); err != nil {
		return outcome{}, err
	}
	snap, err := s.machine.Snapshot()
	if err != nil {
		return outcome{}, fmt.Errorf("snapshot: %w", err)
	}
	var middle []byte
	if !late {
		if middle, err = write(snap); err != nil {
			return outcome{}, err
		}
	}
	if err := s.apply(ops, half, len(ops)); err != nil {
		return outcome{}, err
	}
	// The rest of the operations must not show in a snapshot that was taken before them.
	if late {
		if middle, err = write(snap); err != nil {
			return outcome{}, err
		}
	}
	if err := c.judge(s.machine); err != nil {
		return outcome{}, err
	}
	return s.finish(ops, middle)
}

// busy does the same while queries and Validate run, and writes the middle snapshot late and beside.
func (c *checker) busy(ops [][]byte, half int) (outcome, error) {
	s, err := c.subject()
	if err != nil {
		return outcome{}, err
	}
	var (
		beside    sync.WaitGroup
		stop      = make(chan struct{})
		asked     error
		middle    []byte
		middleErr error
	)
	beside.Go(func() {
		for asked == nil {
			select {
			case <-stop:
				return
			default:
				asked = errors.Join(c.ask(s.machine, c.queries), c.judge(s.machine))
			}
		}
	})
	err = s.apply(ops, 0, half)
	if err == nil {
		var snap app.Snapshot
		if snap, err = s.machine.Snapshot(); err == nil {
			beside.Go(func() { middle, middleErr = write(snap) })
			err = s.apply(ops, half, len(ops))
		}
	}
	close(stop)
	beside.Wait()
	if err := errors.Join(err, middleErr, asked); err != nil {
		return outcome{}, err
	}
	return s.finish(ops, middle)
}

// ask asks queries. Errors are answers too; only a panic is none.
func (c *checker) ask(m app.StateMachine, queries [][]byte) (err error) {
	var q []byte
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("query panics on %.60q: %v", q, p)
		}
	}()
	for _, q = range queries {
		m.Query(context.Background(), bytes.Clone(q))
	}
	return nil
}

// restored has a service that did something else restore the middle snapshot and go on.
func (c *checker) restored(ops [][]byte, half int, want outcome) error {
	s, err := c.subject()
	if err != nil {
		return err
	}
	if err := s.apply(ops, half, len(ops)); err != nil {
		return err
	}
	s.results, s.copies = nil, nil
	if err := restore(s.machine, bytes.NewReader(want.middle)); err != nil {
		return fmt.Errorf("restore of a good snapshot: %w", err)
	}
	middle, err := s.snapshot()
	if err != nil {
		return err
	}
	if err := s.apply(ops, half, len(ops)); err != nil {
		return fmt.Errorf("after a restore: %w", err)
	}
	got, err := s.finish(ops, middle)
	if err != nil {
		return err
	}
	return same("after a restore", want, got, half)
}

// restore turns a panic into an error that wraps errPanic.
func restore(m app.StateMachine, r io.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return m.Restore(r)
}

var errPanic = errors.New("restore panics")

// harmless checks that queries, sensible or not, change nothing.
func (c *checker) harmless(ops [][]byte) error {
	s, err := c.subject()
	if err != nil {
		return err
	}
	if err := s.apply(ops, 0, len(ops)); err != nil {
		return err
	}
	before, err := s.snapshot()
	if err != nil {
		return err
	}
	for _, queries := range [][][]byte{c.queries, ops, c.spoil(c.queries)} {
		if err := c.ask(s.machine, queries); err != nil {
			return err
		}
	}
	after, err := s.snapshot()
	if err == nil && !bytes.Equal(before, after) {
		err = fmt.Errorf("queries changed the state: %s", difference(before, after))
	}
	return err
}

// damaged checks that no bad snapshot panics, and no truncated one is taken for a good one.
func (c *checker) damaged(good []byte) error {
	r := rand.New(rand.NewPCG(c.seed, 2))
	for i := range 48 {
		cut := i // the first bytes, the last ones, and some in between
		switch {
		case i >= 32:
			cut = r.IntN(len(good) + 1)
		case i >= 16:
			cut = len(good) - 1 - (i - 16)
		}
		if cut < 0 || cut >= len(good) {
			continue
		}
		s, err := c.subject()
		if err != nil {
			return err
		}
		if err := restore(s.machine, bytes.NewReader(good[:cut])); err == nil || errors.Is(err, errPanic) {
			return fmt.Errorf("a snapshot of %d bytes that is cut off after %d must be refused, but: %v", len(good), cut, err)
		}
		flipped := bytes.Clone(good)
		flipped[cut] ^= 1 << r.IntN(8)
		if err := restore(s.machine, bytes.NewReader(flipped)); errors.Is(err, errPanic) {
			return fmt.Errorf("a snapshot with a wrong bit in byte %d: %w", cut, err)
		}
	}
	return nil
}

// spoil puts arbitrary and slightly wrong operations between the given ones.
func (c *checker) spoil(ops [][]byte) [][]byte {
	r := rand.New(rand.NewPCG(c.seed, 1))
	out := [][]byte{{}}
	for _, op := range ops {
		out = append(out, op)
		wrong := bytes.Clone(op)
		switch r.IntN(4) {
		case 0:
			wrong = make([]byte, r.IntN(64))
			for i := range wrong {
				wrong[i] = byte(r.Uint32())
			}
		case 1:
			wrong = wrong[:r.IntN(len(wrong)+1)]
		case 2:
			wrong = append(wrong, byte(r.Uint32()))
		default:
			if len(wrong) > 0 {
				wrong[r.IntN(len(wrong))] ^= 1 << r.IntN(8)
			}
		}
		out = append(out, wrong)
	}
	return out
}
