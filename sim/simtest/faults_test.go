package simtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// recorder is a testing.TB that notes errors.
type recorder struct {
	testing.TB
	errors, logs []string
	dir          string
}

func (r *recorder) Helper()                 {}
func (r *recorder) Name() string            { return "TestRecorded" }
func (r *recorder) Error(args ...any)       { r.errors = append(r.errors, fmt.Sprint(args...)) }
func (r *recorder) Logf(f string, a ...any) { r.logs = append(r.logs, fmt.Sprintf(f, a...)) }
func (r *recorder) Errorf(f string, a ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, a...))
}

// ArtifactDir is where diagrams are written.
func (r *recorder) ArtifactDir() string {
	switch {
	case r.dir != "":
		return r.dir
	case r.TB != nil:
		return r.TB.ArtifactDir()
	}
	return os.TempDir() // of an example
}

// Fatalf notes an error, and stops the test as testing does.
func (r *recorder) Fatalf(f string, a ...any) {
	r.Errorf(f, a...)
	panic(r)
}

// faulty is words with one bug.
type faulty struct {
	words
	fault string
	// What the bugs use.
	total  int
	buffer []byte
	first  []byte
}

// spoken is a package-level variable, as services must not have them.
var spoken int

func newFaulty(fault string) app.Factory {
	return func(app.Store) (app.StateMachine, error) {
		if fault == "factory" {
			return nil, errors.New("no such file")
		}
		return &faulty{words: words{make(map[string]int)}, fault: fault}, nil
	}
}

func (f *faulty) Apply(ctx app.Context, word []byte) []byte {
	result := f.words.Apply(ctx, word)
	f.total++
	switch f.fault {
	case "map order in a result":
		var all []string
		for w := range f.count {
			all = append(all, w)
		}
		return []byte(strings.Join(all, " "))
	case "time":
		return time.Now().AppendFormat(nil, time.RFC3339Nano)
	case "date in a result":
		return time.Now().AppendFormat(nil, "2006")
	case "date in the state":
		f.count["in "+time.Now().Format("2006")]++
	case "random":
		return strconv.AppendInt(nil, rand.Int64(), 10)
	case "pointer":
		return fmt.Appendf(nil, "%p", f)
	case "package-level variable":
		spoken++
		return strconv.AppendInt(nil, int64(spoken), 10)
	case "counter outside of the snapshot":
		return strconv.AppendInt(nil, int64(f.total), 10)
	case "result aliases the state":
		f.buffer = append(f.buffer[:0], result...)
		return f.buffer
	case "operation kept":
		if f.first == nil {
			f.first = word
		}
		return f.first
	case "operation changed":
		slices.Reverse(word)
	case "panic":
		if string(word) == "diamond" && f.count["diamond"] > 9 {
			panic("too many diamonds")
		}
	case "index":
		return word[f.total/40*64:]
	case "echo": // which is no bug
		return word[1:]
	case "hang":
		<-forever
	case "wrong result":
		if f.count[string(word)] > 30 {
			return []byte("many")
		}
	}
	return result
}

// forever is what hangs.
var forever = make(chan struct{})

func (f *faulty) Query(ctx context.Context, word []byte) ([]byte, error) {
	switch f.fault {
	case "query writes":
		f.count[string(word)] += 0
		f.count["asked"]++
	case "query is random":
		return strconv.AppendInt(nil, rand.Int64(), 10), nil
	case "query panics":
		panic("no idea")
	case "query fails":
		return nil, errors.New("nothing is known of " + string(word))
	}
	return f.words.Query(ctx, word)
}

// live is a snapshot that shares the state.
type live struct{ *faulty }

func (l live) Close() error { return nil }

func (l live) WriteTo(w io.Writer) (int64, error) {
	s, err := l.words.Snapshot()
	if err != nil {
		return 0, err
	}
	return s.WriteTo(w)
}

// altered is a snapshot with a bug of its own.
type altered struct {
	app.Snapshot
	fault string
}

func (a altered) WriteTo(w io.Writer) (int64, error) {
	switch a.fault {
	case "count of WriteTo":
		n, err := a.Snapshot.WriteTo(w)
		return n + 1, err
	case "WriteTo fails":
		return 0, io.ErrShortWrite
	}
	return a.Snapshot.WriteTo(w)
}

func (a altered) Close() error {
	if a.fault == "close" {
		return errors.New("closed twice")
	}
	return nil
}

func (f *faulty) Snapshot() (app.Snapshot, error) {
	switch f.fault {
	case "snapshot fails":
		return nil, io.ErrUnexpectedEOF
	case "snapshot shares the state":
		return live{f}, nil
	}
	s, err := f.words.Snapshot()
	return altered{s, f.fault}, err
}

func (f *faulty) Restore(r io.Reader) error {
	switch f.fault {
	case "restore merges":
		before := f.count
		f.count = make(map[string]int)
		err := f.words.Restore(r)
		for w, n := range before {
			f.count[w] += n
		}
		return err
	case "restore loses":
		err := f.words.Restore(r)
		delete(f.count, "amber")
		return err
	case "restore fails":
		return errors.New("bad snapshot")
	case "restore reads once":
		b := make([]byte, 4096)
		n, err := r.Read(b)
		if err != nil && err != io.EOF {
			return err
		}
		return f.words.Restore(bytes.NewReader(b[:n]))
	case "restore panics":
		panic("not yet")
	}
	return f.words.Restore(r)
}

// found runs a service with a bug, and returns what the recorder was told.
func found(t *testing.T, fault string, seeds int, options ...simtest.Option) []string {
	r := &recorder{TB: t}
	options = append([]simtest.Option{simtest.Operations(saying), simtest.Queries(saying), simtest.Elsewhere(t)}, options...)
	simtest.Run(r, newFaulty(fault), seeds, options...)
	return r.errors
}

func TestRunFindsPlantedBugs(t *testing.T) {
	for fault, want := range map[string]string{
		"map order in a result":           "oracle S2",
		"time":                            "oracle S2",
		"date in a result":                "oracle REPLAY",
		"date in the state":               "oracle REPLAY",
		"random":                          "oracle S2",
		"pointer":                         "oracle S2",
		"package-level variable":          "oracle S2",
		"counter outside of the snapshot": ", which had restored a snapshot",
		"result aliases the state":        "a result was changed after Apply had returned it",
		"operation kept":                  "oracle S2",
		"operation changed":               "Apply changes the bytes",
		"panic":                           `: Apply panics on "diamond": too many diamonds`,
		"index":                           "slice bounds out of range",
		"query writes":                    "changes the state",
		"query is random":                 "answers a question differently",
		"query panics":                    "Query panics on",
		"snapshot fails":                  "Snapshot fails: unexpected EOF",
		"snapshot shares the state":       "a snapshot changes when operations go on",
		"count of WriteTo":                "says that it wrote",
		"WriteTo fails":                   "WriteTo of a snapshot fails: short write",
		"close":                           "Close of a snapshot fails: closed twice",
		"restore merges":                  "taken again at once differs",
		"restore loses":                   "taken again at once differs",
		"restore fails":                   "Restore refuses a snapshot",
		"restore reads once":              "Restore",
		"restore panics":                  "Restore panics: not yet",
		"factory":                         "the factory fails: no such file",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			// Not every seed has what it takes, such as a snapshot that is restored.
			errs := found(t, fault, 6)
			at := slices.IndexFunc(errs, func(e string) bool { return strings.Contains(e, want) })
			if at < 0 {
				t.Fatalf("found %q, want %q", errs, want)
			}
			t.Log(errs[at])
		})
	}
}
