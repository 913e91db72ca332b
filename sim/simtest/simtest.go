// Package simtest is a fault test for services: it runs a whole cluster of yours in the simulator, in virtual time,
// where replicas crash, lose their disks, fall behind and restore each other's snapshots, messages are lost, and up
// to f replicas lie. What happens is drawn from a seed.
//
//	func TestAuction(t *testing.T) {
//		simtest.Run(t, newAuction, 20, simtest.Operations(func(r *rand.Rand, client int) []byte {
//			return strconv.AppendInt(nil, r.Int64N(1000), 10)
//		}))
//	}
//
// A service fails if two replicas come to different results or states, if a snapshot lacks something or shares
// memory with the service, if a Query changes the state, if it panics or hangs; see [Run]. The report says what
// was seen, what that usually comes from, and how to repeat it.
//
// What it cannot see: whatever is equal for all replicas of one process, such as the name of the machine or its
// processor, and data races, for it runs in one goroutine. Package apptest with -race looks for these.
//
// Two flags of go test: -artifacts has a diagram of each failed run written, and -simtest.seeds=A..B runs other seeds than
// the test asks for, as many as you have time for.
package simtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/sim"
)

// Option changes what Run does.
type Option func(*suite)

// Operations says what clients invoke: draw returns the next operation of a client, numbered from 0, as Apply gets it. It
// must draw from r alone. Few keys and small numbers are best, so that clients get in each other's way. Without
// it clients invoke short arbitrary texts.
func Operations(draw func(r *rand.Rand, client int) []byte) Option {
	return func(s *suite) { s.operations = draw }
}

// Queries says what clients ask, as Query gets it; see Operations. Without it they ask nothing.
func Queries(draw func(r *rand.Rand, client int) []byte) Option {
	return func(s *suite) { s.queries = draw }
}

// Results looks at what clients are told: the result of an operation, or the answer to a question if read is set. An
// error fails the run. It is called by several goroutines, for the seeds run in parallel.
func Results(check func(op, result []byte, read bool) error) Option {
	return func(s *suite) { s.results = check }
}

// Model is the service in a few lines, to compare it with: the state at the beginning, and what an operation, or a
// question if read is set, makes of a state, and answers. What clients are told must then be explained by
// the model doing one call after the other, each between its beginning and its end: that is linearizability.
// Without a model it is not checked. Results that depend on the Context have no model.
func Model[S comparable](initial S, step func(state S, op []byte, read bool) (next S, result []byte)) Option {
	return func(s *suite) { s.model = modelOf(initial, step) }
}

// From sets the first seed, which is 1 otherwise: the seeds are n, n+1 and so on.
func From(n uint64) Option { return func(s *suite) { s.first = n } }

// Patience is how long one call of the service may take, in time of the wall clock, before the test says that
// it hangs; 10 s otherwise, at least 1 ms.
func Patience(d time.Duration) Option {
	return func(s *suite) { s.patience = max(d, time.Millisecond) }
}

// Run runs a cluster of the service for each of the given number of seeds, from 1. The factory is the one that a
// node gets. If t is a *testing.T each seed is a subtest, and they run in parallel. A seed fails if
//
//   - an operation has different results at two replicas, or when it is executed again after a restart, or at
//     another date;
//   - the snapshots of two replicas in the same state differ, or those that one replica takes twice, or one that is
//     restored and taken again;
//   - a snapshot changes while operations go on, or a result after it was returned, or Apply changes the
//     operation that it was given;
//   - Query changes the state, or answers differently in the same state;
//   - Apply, Query, Validate, Snapshot, WriteTo or Restore panics or hangs, or Snapshot, WriteTo or
//     Restore fails;
//   - what clients are told is not what Model and Results, if they are given, allow;
//   - any oracle of the simulator breaks: an operation is applied twice, a reply is lost, calls do not end.
func Run(t testing.TB, factory app.Factory, seeds int, options ...Option) {
	t.Helper()
	s := &suite{factory: factory, operations: arbitrary, first: 1, patience: 10 * time.Second, told: make(map[string]uint64)}
	for _, o := range options {
		o(s)
	}
	last := s.first + uint64(max(seeds, 1)) - 1
	if err := s.chosen(&last); err != nil {
		t.Fatalf("simtest: %v", err)
	}
	if seeds < 1 {
		t.Fatalf("simtest: %d seeds: give at least 1", seeds)
	}
	parent, ok := t.(*testing.T)
	if !ok {
		for seed := s.first; seed <= last; seed++ {
			s.check(t, seed)
		}
		s.conclude(t)
		return
	}
	t.Cleanup(func() { s.conclude(t) })
	for seed := s.first; seed <= last; seed++ {
		parent.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			s.check(t, seed)
		})
	}
}

// seedsFlag chooses other seeds than the tests do.
var seedsFlag = flag.String("simtest.seeds", "", "run these `seeds` instead of those that the test asks for: 7, or 1..1000")

// suite is what Run does with all its seeds.
type suite struct {
	factory             app.Factory
	operations, queries func(r *rand.Rand, client int) []byte
	results             func(op, result []byte, read bool) error
	model               *porcupine.Model
	first               uint64
	patience            time.Duration
	host                *testing.T // for a run whose testing.TB has no place for another date

	mu sync.Mutex
	// told are the seeds that have explained each kind of failure, by oracle: the others are short.
	told   map[string]uint64
	census census
}

// census counts what the seeds had in them.
type census struct {
	runs, applied, refused, operations, reads, restored, crashes, unchecked int
}

// chosen replaces the seeds by those of the flag.
func (s *suite) chosen(last *uint64) error {
	if *seedsFlag == "" {
		return nil
	}
	from, to, isRange := strings.Cut(*seedsFlag, "..")
	if !isRange {
		to = from
	}
	var err1, err2 error
	s.first, err1 = strconv.ParseUint(from, 10, 64)
	*last, err2 = strconv.ParseUint(to, 10, 64)
	if err1 != nil || err2 != nil || *last < s.first || *last-s.first >= 1<<31 {
		return fmt.Errorf("-simtest.seeds=%s: give a number, or a range such as 1..1000", *seedsFlag)
	}
	return nil
}

// arbitrary draws a short text. There are few of them, so that they come again.
func arbitrary(r *rand.Rand, _ int) []byte {
	b := make([]byte, r.IntN(4))
	for i := range b {
		b[i] = "abc 12"[r.IntN(6)]
	}
	return b
}

// conclude sums up, and complains of runs that tested nothing.
func (s *suite) conclude(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.census
	if c.runs == 0 {
		return
	}
	t.Logf("simtest: %d runs: %d operations, %d queries, %d refused by Validate, %d crashes, %d snapshots restored", c.runs, c.operations, c.reads, c.refused, c.crashes, c.restored)
	if c.unchecked > 0 {
		t.Logf("simtest: in %d of them the history of calls was too long to be compared with the model in time", c.unchecked)
	}
	if len(s.told) > 0 {
		return
	}
	if c.applied == 0 {
		t.Errorf("simtest: no operation was ever applied, for Validate refuses all of them: say what clients invoke with simtest.Operations")
	}
}

// modelOf makes a model for package porcupine.
func modelOf[S comparable](initial S, step func(state S, op []byte, read bool) (S, []byte)) *porcupine.Model {
	return &porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, output any) (bool, any) {
			c := input.(sim.Call)
			next, want := step(state.(S), c.Op, c.Read)
			told, known := output.([]byte)
			return !known || string(told) == string(want), next
		},
		DescribeOperation: func(input, output any) string {
			c := input.(sim.Call)
			told, known := output.([]byte)
			if !known {
				return fmt.Sprintf("%s → ?", quote(c.Op))
			}
			return fmt.Sprintf("%s → %s", quote(c.Op), quote(told))
		},
	}
}
