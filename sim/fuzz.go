package sim

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
)

// Census tells what the runs of a campaign had in them.
type Census struct {
	Runs int `json:"runs"`
	// Counted are the runs with at least MinSequences executed numbers; the others do not count.
	Counted int `json:"counted"`
	// ViewChanges, Adversaries and Lying are the runs with a view change, with an adversary, and
	// with one that really lied.
	ViewChanges int `json:"with_view_change"`
	Adversaries int `json:"with_adversary"`
	Lying       int `json:"with_lies_told"`
	Crashes     int `json:"with_crash"`
	Installs    int `json:"with_snapshot_installed"`
	Faults      int `json:"with_fault"`
	// Unchecked are the runs whose history was too hard for oracle S5.
	Unchecked int `json:"histories_unchecked"`
	// ByN, ByAdversary and LiesTold count runs, runs and single lies.
	ByN         map[int]int    `json:"by_n"`
	ByAdversary map[string]int `json:"by_adversary"`
	LiesTold    map[string]int `json:"lies_told"`
	// Injected counts the runs in which faults of a class and duration really hit.
	Injected   map[string]int `json:"injected"`
	Operations int            `json:"operations"`
	// Calls are those of the runs in which calls have different semantics, by semantics.
	Calls     []Calls `json:"calls,omitempty"`
	Sequences bft.Seq `json:"sequences"`
	// Twice are the runs that were run twice, to compare their hashes (M1).
	Twice int `json:"run_twice"`
	// MostViews is the most views that a run went through after the heal.
	MostViews bft.View `json:"most_views_after_heal"`
	// Longest is the longest call after the heal, in request timeouts.
	Longest float64 `json:"longest_call_in_request_timeouts"`
}

// MinSequences is how many numbers a run must execute to count.
const MinSequences = 100

// rerunEvery is how often a seed of a campaign is run twice (M1).
const rerunEvery = 25

func (c *Census) add(r *Report) {
	c.Runs++
	count := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	s := &r.Stats
	count(&c.Counted, s.Sequences >= MinSequences)
	count(&c.ViewChanges, s.ViewChanges > 0)
	count(&c.Adversaries, len(r.Options.Behaviours) > 0)
	count(&c.Lying, r.LieCount() > 0)
	count(&c.Crashes, s.Crashes > r.Options.Protocol.N) // the last phase crashes all
	count(&c.Installs, s.Installs > 0)
	count(&c.Faults, s.Faults > 0)
	count(&c.Unchecked, s.Unchecked)
	c.ByN[r.Options.Protocol.N]++
	for _, name := range r.Options.Behaviours {
		c.ByAdversary[name]++
	}
	for _, x := range s.Injected {
		c.Injected[string(x.Class)+", "+string(x.Lasts)]++
	}
	for _, l := range s.Lies {
		c.LiesTold[l.Name] += l.Count
	}
	for i, x := range s.Calls {
		if i == len(c.Calls) {
			c.Calls = append(c.Calls, Calls{Semantics: x.Semantics})
		}
		c.Calls[i].add(&x)
	}
	c.Operations += s.Operations + s.Reads
	c.Sequences += s.Sequences
	c.MostViews = max(c.MostViews, s.ViewsAfterHeal)
	c.Longest = max(c.Longest, float64(s.Longest)/float64(r.Options.Protocol.RequestTimeout))
}

// Check tells whether the runs together count as a campaign: each with enough numbers, half of
// them with a view change, half with an adversary that lied.
func (c *Census) Check() error {
	switch {
	case c.Counted < c.Runs:
		return fmt.Errorf("sim: %d of %d runs executed fewer than %d numbers", c.Runs-c.Counted, c.Runs, MinSequences)
	case c.Runs < 20:
		return nil // too few for proportions
	case 2*c.ViewChanges < c.Runs:
		return fmt.Errorf("sim: only %d of %d runs had a view change, half of them should", c.ViewChanges, c.Runs)
	case 2*c.Adversaries < c.Runs:
		return fmt.Errorf("sim: only %d of %d runs had an adversary, half of them should", c.Adversaries, c.Runs)
	}
	return nil
}

// WriteTo prints the census for a reader.
func (c *Census) WriteTo(w io.Writer) (int64, error) {
	total := 0
	print := func(format string, args ...any) {
		n, _ := fmt.Fprintf(w, format, args...)
		total += n
	}
	print("runs                %d, of which %d with at least %d numbers\n", c.Runs, c.Counted, MinSequences)
	print("with view change    %d\n", c.ViewChanges)
	print("with adversary      %d, of which %d lied\n", c.Adversaries, c.Lying)
	print("with faults         %d, of which %d with crashes\n", c.Faults, c.Crashes)
	print("with snapshot sent  %d\n", c.Installs)
	print("run twice (M1)      %d\n", c.Twice)
	print("histories too hard  %d\n", c.Unchecked)
	print("numbers, calls      %d, %d\n", c.Sequences, c.Operations)
	print("most views          %d after the heal\n", c.MostViews)
	print("longest call        %.1f request timeouts after the heal\n", c.Longest)
	for _, x := range c.Calls {
		print("calls               %v\n", &x)
	}
	for _, n := range SortedKeys(c.ByN) {
		print("n = %-2d              %d\n", n, c.ByN[n])
	}
	for _, x := range SortedKeys(c.Injected) {
		print("fault               %s: %d\n", x, c.Injected[x])
	}
	for _, a := range SortedKeys(c.ByAdversary) {
		print("adversary           %s: %d\n", a, c.ByAdversary[a])
	}
	for _, l := range SortedKeys(c.LiesTold) {
		print("lie                 %s: %d\n", l, c.LiesTold[l])
	}
	return int64(total), nil
}

// SortedKeys lists the keys of a map in their order.
func SortedKeys[K int | string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Campaign is a range of seeds to run.
type Campaign struct {
	// First and Last are the seeds to begin and end with.
	First, Last uint64
	// Jobs is how many runs go on at the same time, at least 1.
	Jobs int
	// Options makes the options of a seed; nil means Draw.
	Options func(seed uint64) Options
	// expected tells of a failure that it is no failure of the campaign; each is called after each run.
	expected func(r *Report) bool
	each     func(r *Report)
	// Enough, if set, is asked before each run whether the campaign shall end.
	Enough func() bool
	// Done, if set, is called after each run, one at a time.
	Done func()
}

// Fuzz runs the seeds until one fails. It returns the census of the runs that were made and, if
// one failed, its report: of several failures that of the lowest seed.
func Fuzz(c Campaign) (*Census, *Report, error) {
	f := &fuzzing{Campaign: c, next: c.First, census: Census{ByN: map[int]int{}, ByAdversary: map[string]int{}, LiesTold: map[string]int{}, Injected: map[string]int{}}}
	if c.Last < c.First {
		return nil, nil, fmt.Errorf("sim: seeds %d to %d: the first is above the last", c.First, c.Last)
	}
	if f.Options == nil {
		f.Options = Draw
	}
	var all sync.WaitGroup
	for range max(1, c.Jobs) {
		all.Add(1)
		go func() {
			defer all.Done()
			for f.one() {
			}
		}()
	}
	all.Wait()
	return &f.census, f.failed, f.err
}

type fuzzing struct {
	Campaign
	mu     sync.Mutex
	next   uint64
	ended  bool
	census Census
	failed *Report
	err    error
}

// one runs the next seed. It is false when there is nothing more to do.
func (f *fuzzing) one() bool {
	f.mu.Lock()
	seed := f.next
	if f.ended || seed > f.Last || seed < f.First || f.Enough != nil && f.Enough() {
		f.mu.Unlock()
		return false
	}
	f.next++
	f.mu.Unlock()

	report, twice, err := runSeed(f.Options(seed))

	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		if f.err == nil {
			f.err = err
		}
		f.ended = true
		return false
	case !report.OK() && (f.expected == nil || !f.expected(report)):
		if f.failed == nil || f.failed.Options.Seed > seed {
			f.failed = report
		}
		f.ended = true
	}
	f.census.add(report)
	if f.each != nil {
		f.each(report)
	}
	if twice {
		f.census.Twice++
	}
	if f.Done != nil {
		f.Done()
	}
	return !f.ended
}

// runSeed runs a seed, and now and then twice.
func runSeed(o Options) (report *Report, twice bool, err error) {
	report, err = Run(o)
	if err != nil || !report.OK() || o.Seed%rerunEvery != 0 {
		return report, false, err
	}
	again, err := Run(o)
	if err != nil {
		return nil, true, err
	}
	if again.TraceHash != report.TraceHash {
		report.Outcome = "failed"
		report.Failure = &Failure{Oracle: "M1", Detail: fmt.Sprintf("the same seed has the trace hashes %s and %s", report.TraceHash, again.TraceHash)}
	}
	return report, true, nil
}
