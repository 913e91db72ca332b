package apptest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
)

// recorder is a testing.TB that notes errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// votes is a correct service, with a place for each fault: it counts how often each byte
// was the first of an operation. Its state has room for 4 counts, so that orders repeat.
type votes struct {
	fault  string
	mu     sync.Mutex
	counts map[byte]uint64
	last   []byte
	kept   []byte
}

func (v *votes) Apply(ctx app.Context, op []byte) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(op) == 0 {
		if v.fault == "panic" {
			return op[:1]
		}
		return nil
	}
	v.counts[op[0]]++
	switch v.fault {
	case "map order":
		var keys []byte
		for k := range v.counts {
			keys = append(keys, k)
		}
		return keys
	case "result reused":
		v.last = append(v.last[:0], op[0], byte(v.counts[op[0]]))
		return v.last
	case "operation kept":
		if v.kept == nil {
			v.kept = op
		}
		return []byte{v.kept[0]}
	case "operation changed":
		op[0] = 0
	}
	return binary.BigEndian.AppendUint64(nil, v.counts['a'])
}

func (v *votes) Query(context.Context, []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fault == "query writes" {
		v.counts['a']++
	}
	if v.fault == "query panics" {
		panic("no such query")
	}
	return nil, errors.New("no queries")
}

type tally struct {
	counts [256]uint64
	live   *votes
}

func (v *votes) Snapshot() (app.Snapshot, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &tally{}
	if v.fault == "snapshot shares" {
		s.live = v
	}
	for k, n := range v.counts {
		s.counts[k] = n
	}
	return s, nil
}

func (s *tally) WriteTo(w io.Writer) (int64, error) {
	if s.live != nil {
		s.live.mu.Lock()
		defer s.live.mu.Unlock()
		for k, n := range s.live.counts { // also in map order
			s.counts[k] = n
		}
	}
	var b []byte
	for _, n := range s.counts {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	n, err := w.Write(b)
	return int64(n), err
}

func (s *tally) Close() error { return nil }

func (v *votes) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case v.fault == "truncation accepted":
		b = append(b, make([]byte, 8*256)...)[:8*256]
	case len(b) != 8*256:
		if v.fault == "restore panics" {
			panic("short")
		}
		return errors.New("wrong length")
	}
	if v.fault != "restore merges" {
		clear(v.counts)
	}
	for k := range 256 {
		if n := binary.BigEndian.Uint64(b[8*k:]); n > 0 {
			v.counts[byte(k)] += n
		}
	}
	return nil
}

func run(fault string) []string {
	r := &recorder{}
	var ops [][]byte
	for i := range 40 {
		ops = append(ops, []byte{"abcd"[i%4], byte(i)})
	}
	apptest.Check(r, func(app.Store) (app.StateMachine, error) {
		return &votes{fault: fault, counts: make(map[byte]uint64)}, nil
	}, ops)
	return r.errors
}

func TestCheckAcceptsACorrectService(t *testing.T) {
	if errs := run(""); len(errs) > 0 {
		t.Fatalf("refused: %v", errs)
	}
}

func TestCheckFindsPlantedFaults(t *testing.T) {
	for fault, want := range map[string]string{
		"map order":           "another result",
		"panic":               "apply panics",
		"result reused":       "changed after it was returned",
		"operation kept":      "another result",
		"operation changed":   "changes the bytes",
		"query writes":        "",
		"query panics":        "query panics",
		"snapshot shares":     "snapshot after 20",
		"truncation accepted": "cut off",
		"restore panics":      "restore panics",
		"restore merges":      "after a restore",
	} {
		errs := run(fault)
		if len(errs) != 1 || !strings.Contains(errs[0], want) {
			t.Errorf("%s: found %q, want %q", fault, errs, want)
		}
	}
}

// strict is a correct service whose Apply relies on Validate, with a place for each fault of that.
type strict struct {
	votes
	fault string
}

func (s *strict) Validate(op []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fault == "panics" && len(op) == 0:
		panic("empty")
	case s.fault == "writes" && len(op) > 0:
		op[0]++
	case s.fault == "state" && s.counts['a'] > 5:
		return errors.New("enough votes")
	case s.fault == "refuses all", len(op) != 2:
		return errors.New("two bytes are needed")
	}
	return nil
}

func (s *strict) Apply(ctx app.Context, op []byte) []byte {
	if len(op) != 2 {
		panic("validate lets none of these pass")
	}
	return s.votes.Apply(ctx, op)
}

func TestCheckHeedsValidate(t *testing.T) {
	for fault, want := range map[string]string{
		"":            "",
		"panics":      "validate panics",
		"writes":      "validate changes the bytes",
		"state":       "validate looks at the state",
		"refuses all": "validate refuses every operation",
	} {
		r := &recorder{}
		ops := apptest.Generate(1, 40, func(r *rand.Rand) []byte { return []byte{"abcd"[r.IntN(4)], 0} })
		apptest.Check(r, func(app.Store) (app.StateMachine, error) {
			return &strict{votes: votes{counts: make(map[byte]uint64)}, fault: fault}, nil
		}, ops)
		if fault == "" && len(r.errors) == 0 {
			continue
		}
		if len(r.errors) != 1 || want == "" || !strings.Contains(r.errors[0], want) {
			t.Errorf("%q: found %q, want %q", fault, r.errors, want)
		}
	}
}
