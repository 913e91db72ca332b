package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options say what Run does.
type Options struct {
	// Root is the directory of the source tree, see Root.
	Root string
	// Mutants are those to run, see Choose.
	Mutants []*Mutant
	// First and Last are the seeds to begin and end with.
	First, Last uint64
	// Repeat is how often the seeds of a mutant are counted, each time beginning where the last time
	// would have ended; at least 1. The median is reported.
	Repeat int
	// Jobs is how many seeds run at the same time, at least 1.
	Jobs int
	// Progress, if set, is told of each step when it begins: the mutant's number from 1, or 0 for the
	// code without a patch, and what is done.
	Progress func(number int, name, step string)
	// Judged, if set, is told of each outcome.
	Judged func(number int, o *Outcome)
}

// Outcome is what became of a mutant.
type Outcome struct {
	Name   string `json:"name"`
	Killed bool   `json:"killed"`
	// By is the oracle or the test that killed it.
	By string `json:"by"`
	// SeedsMedian is the number of seeds it took, the failing one included; nil if none failed.
	SeedsMedian *uint64 `json:"seeds_median"`
	// Under are the behaviours of the runs that killed it; empty for the swarm.
	Under string `json:"under,omitempty"`
	// Error says why the mutant could not be judged: the patch is stale, or what it makes does not build.
	Error string `json:"error,omitempty"`
	// Took is how long all of it took.
	Took time.Duration `json:"-"`
}

// Report is what became of all mutants.
type Report struct {
	Mutants []Outcome `json:"mutants"`
}

// Survivors lists the mutants that nothing noticed.
func (r *Report) Survivors() []string {
	return r.names(func(o *Outcome) bool { return !o.Killed && o.Error == "" })
}

// Unjudged lists the mutants with an error.
func (r *Report) Unjudged() []string { return r.names(func(o *Outcome) bool { return o.Error != "" }) }

func (r *Report) names(which func(*Outcome) bool) []string {
	var out []string
	for i := range r.Mutants {
		if which(&r.Mutants[i]) {
			out = append(out, r.Mutants[i].Name)
		}
	}
	return out
}

// Choose picks mutants of all by their names, with or without the number and the extension of
// the file; no names mean all. It fails on a name that none has.
func Choose(all []*Mutant, names []string) ([]*Mutant, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []*Mutant
	for _, name := range names {
		i := slices.IndexFunc(all, func(m *Mutant) bool {
			return name == m.Name || strings.TrimSuffix(name, ".patch")+".patch" == m.File
		})
		if i < 0 {
			return nil, fmt.Errorf("there is no mutant %q; bftsim mutants --list names them", name)
		}
		if !slices.Contains(out, all[i]) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// Run judges mutants, after it has shown that the code without a patch passes the same seeds. An
// error means that nothing could be judged; that of a single mutant stands in its Outcome.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Last < o.First || o.Repeat < 1 || o.Jobs < 1 {
		return nil, fmt.Errorf("mutants: seeds %d to %d, %d times, %d at a time: nothing to run", o.First, o.Last, o.Repeat, o.Jobs)
	}
	temp, err := os.MkdirTemp("", "bftsim-mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	r := &runner{Options: o, temp: temp}
	if err := r.base(ctx); err != nil {
		return nil, err
	}
	report := &Report{Mutants: []Outcome{}}
	for i, m := range o.Mutants {
		begun := time.Now()
		out, err := r.judge(ctx, i+1, m)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			out = Outcome{Error: err.Error()}
		}
		out.Name, out.Took = m.Name, time.Since(begun)
		report.Mutants = append(report.Mutants, out)
		if o.Judged != nil {
			o.Judged(i+1, &out)
		}
	}
	return report, nil
}

type runner struct {
	Options
	temp string
}

func (r *runner) progress(number int, name, format string, args ...any) {
	if r.Progress != nil {
		r.Progress(number, name, fmt.Sprintf(format, args...))
	}
}

// seeds is the range of repetition i.
func (r *runner) seeds(i int) (first, last uint64) {
	span := r.Last - r.First + 1
	return r.First + uint64(i)*span, r.Last + uint64(i)*span
}

// base shows that the code without a patch passes: one that is broken by itself would seem to
// notice every mutant.
func (r *runner) base(ctx context.Context) error {
	const name = "without a patch"
	r.progress(0, name, "build")
	program := filepath.Join(r.temp, "base")
	if err := r.build(ctx, "", program); err != nil {
		return fmt.Errorf("mutants: the code without a patch: %w", err)
	}
	for i := range r.Repeat {
		first, last := r.seeds(i)
		r.progress(0, name, "seeds %d..%d", first, last)
		f, err := r.fuzz(ctx, program, nil, first, last)
		if err != nil {
			return fmt.Errorf("mutants: the code without a patch: %w", err)
		}
		if f != nil {
			return fmt.Errorf("mutants: the code without a patch fails too, at seed %d by %s: no mutant can be judged before that is mended", f.seed, f.oracle)
		}
	}
	return nil
}

// Build makes a simulator with one mutant's wrong protocol, of the source tree that the working directory is in.
func Build(ctx context.Context, name, program string) error {
	all, err := All()
	if err != nil {
		return err
	}
	chosen, err := Choose(all, []string{name})
	if err != nil {
		return err
	}
	r := &runner{}
	if r.Root, err = Root(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bftsim-mutant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := r.overlay(chosen[0], dir)
	if err != nil {
		return err
	}
	return r.build(ctx, overlay, program)
}

// judge builds a mutant and looks for what notices it.
func (r *runner) judge(ctx context.Context, number int, m *Mutant) (Outcome, error) {
	dir := filepath.Join(r.temp, m.Name)
	overlay, err := r.overlay(m, dir)
	if err != nil {
		return Outcome{}, err
	}
	defer os.RemoveAll(dir)
	r.progress(number, m.Name, "build")
	program := filepath.Join(dir, "bftsim")
	if err := r.build(ctx, overlay, program); err != nil {
		return Outcome{}, err
	}
	found, err := r.seek(ctx, number, m, program)
	if err != nil || found.Killed {
		return found, err
	}
	r.progress(number, m.Name, "tests")
	test, err := r.test(ctx, m, overlay)
	return Outcome{Killed: test != "", By: test}, err
}

// seek looks for seeds that notice a mutant: first under the behaviours that it names, all together, then in
// the swarm.
func (r *runner) seek(ctx context.Context, number int, m *Mutant, program string) (Outcome, error) {
	ways := [][]string{nil}
	if len(m.Under) > 0 {
		ways = [][]string{m.Under, nil}
	}
	for _, under := range ways {
		var counts []uint64
		var by []string
		for i := range r.Repeat {
			first, last := r.seeds(i)
			r.progress(number, m.Name, "seeds %d..%d %s", first, last, strings.Join(under, " + "))
			f, err := r.fuzz(ctx, program, under, first, last)
			if err != nil {
				return Outcome{}, err
			}
			if f != nil {
				if err := r.passes(ctx, under, f.seed); err != nil {
					return Outcome{}, err
				}
				counts = append(counts, f.seed-first+1)
				by = append(by, f.oracle)
			}
		}
		if n, ok := median(counts, r.Repeat); ok {
			return Outcome{Killed: true, By: oracles(by), SeedsMedian: &n, Under: strings.Join(under, ", ")}, nil
		}
	}
	return Outcome{}, nil
}

// passes shows that the code without a patch passes a seed that a mutant fails.
func (r *runner) passes(ctx context.Context, under []string, seed uint64) error {
	f, err := r.fuzz(ctx, filepath.Join(r.temp, "base"), under, seed, seed)
	if err == nil && f != nil {
		err = fmt.Errorf("mutants: the code without a patch fails too, at seed %d under %q by %s: mend that first", seed, under, f.oracle)
	}
	return err
}

// overlay writes the changed files to dir and the file for -overlay beside them.
func (r *runner) overlay(m *Mutant, dir string) (string, error) {
	files, err := m.apply(r.Root)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	var o struct{ Replace map[string]string }
	o.Replace = make(map[string]string, len(files))
	for name, content := range files {
		at := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(at, content, 0o600); err != nil {
			return "", err
		}
		o.Replace[filepath.Join(r.Root, filepath.FromSlash(name))] = at
	}
	text, err := json.Marshal(&o)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// median of the numbers of seeds that it took in so many tries; those in which no seed failed
// count as more than any number. It is false if that is what the median is.
func median(counts []uint64, tries int) (uint64, bool) {
	slices.Sort(counts)
	if at := (tries - 1) / 2; at < len(counts) {
		return counts[at], true
	}
	return 0, false
}

// oracles lists names, each once, the most frequent first.
func oracles(by []string) string {
	count := make(map[string]int)
	for _, x := range by {
		count[x]++
	}
	slices.SortStableFunc(by, func(a, b string) int { return count[b] - count[a] })
	var once []string
	for _, x := range by {
		if !slices.Contains(once, x) {
			once = append(once, x)
		}
	}
	return strings.Join(once, ", ")
}
