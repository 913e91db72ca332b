package simtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// words is a service that counts words: an operation is a word, and its result says how often it was said.
type words struct{ count map[string]int }

func newWords(app.Store) (app.StateMachine, error) { return &words{make(map[string]int)}, nil }

func (w *words) Apply(_ app.Context, word []byte) []byte {
	w.count[string(word)]++
	return strconv.AppendInt(nil, int64(w.count[string(word)]), 10)
}

func (w *words) Query(_ context.Context, word []byte) ([]byte, error) {
	return strconv.AppendInt(nil, int64(w.count[string(word)]), 10), nil
}

// lines is a snapshot: a line for each word.
type lines []string

// Snapshot copies the state, in the order of the words.
func (w *words) Snapshot() (app.Snapshot, error) {
	var s lines
	for _, word := range slices.Sorted(maps.Keys(w.count)) {
		s = append(s, fmt.Sprintf("%d %q\n", w.count[word], word))
	}
	return s, nil
}

func (s lines) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, strings.Join(s, ""))
	return int64(n), err
}

func (s lines) Close() error { return nil }

func (w *words) Restore(r io.Reader) error {
	clear(w.count)
	for in := bufio.NewReader(r); ; {
		var n int
		var word string
		_, err := fmt.Fscanf(in, "%d %q\n", &n, &word)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w.count[word] = n
	}
}

// saying draws one of a few words.
func saying(r *rand.Rand, _ int) []byte {
	return []byte([]string{"amber", "bronze", "copper", "diamond"}[r.IntN(4)])
}

// count is what one word should be counted to be: words with a model of one word alone are compared with it.
func count(state int, _ []byte, read bool) (int, []byte) {
	if !read {
		state++
	}
	return state, strconv.AppendInt(nil, int64(state), 10)
}

// This is all that a test needs.
func TestWords(t *testing.T) {
	simtest.Run(t, newWords, 8, simtest.Operations(saying), simtest.Queries(saying))
}

// With a model it also checks that what clients are told is right.
func TestWordsAreCounted(t *testing.T) {
	copper := func(*rand.Rand, int) []byte { return []byte("copper") }
	simtest.Run(t, newWords, 8, simtest.Operations(copper), simtest.Queries(copper), simtest.Model(0, count))
}

// unsorted is words with a bug: its snapshot has the words in the order of the map.
type unsorted struct{ words }

func newUnsorted(app.Store) (app.StateMachine, error) {
	return &unsorted{words{make(map[string]int)}}, nil
}

func (u *unsorted) Snapshot() (app.Snapshot, error) {
	var s lines
	for word, n := range u.count {
		s = append(s, fmt.Sprintf("%d %q\n", n, word))
	}
	return s, nil
}

// The report of a service with a bug says what was seen, what it means, and how to repeat it. A test would hand
// its *testing.T to Run.
func ExampleRun() {
	t := &recorder{}
	simtest.Run(t, newUnsorted, 1, simtest.Operations(saying))
	for _, report := range t.errors {
		seen, rest, _ := strings.Cut(report, "\n\n")
		meaning, _, _ := strings.Cut(rest, " If one")
		fmt.Println(strings.Join(strings.SplitN(seen, ": ", 3)[:2], ": ")) // the rest is up to the map
		fmt.Println(meaning)
	}
	// Output:
	// simtest: seed 1, oracle S7
	// Equal states must write equal snapshots, whatever led to them, for the replicas compare their digests.
	// Is a map ranged over in Snapshot or WriteTo, unsorted? Does the state hold a time, a random number, an address?
}
