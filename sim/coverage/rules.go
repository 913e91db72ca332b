package coverage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/baluarte-bft/baluarte/sim/internal/gocmd"
)

// RulesOptions say what Rules runs.
type RulesOptions struct {
	// Root is the directory of the source tree, see Root.
	Root string
	// First and Last are the seeds to begin and end with.
	First, Last uint64
	// Jobs is how many runs go on at the same time, at least 1.
	Jobs int
	// Progress, if set, is told of each step when it begins.
	Progress func(step string)
}

// Root finds the source tree that the working directory is in. It fails outside of it, and if there
// is no go command in PATH.
func Root(ctx context.Context) (string, error) { return gocmd.Root(ctx) }

// RulesReport says which rules of the protocol the runs entered.
type RulesReport struct {
	// First and Last are the seeds.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Rules are all rules of the protocol, in order.
	Rules []Rule `json:"rules"`
}

// Rule is what was seen of one rule of the protocol.
type Rule struct {
	Number int `json:"rule"`
	// Places is the number of comments that cite it, Code that of those which speak of code.
	Places int `json:"places"`
	Code   int `json:"code"`
	// Entered is the number of those whose code ran, and Times how often it did: the sum, over the
	// places, of how often the most frequent block of each ran.
	Entered int    `json:"entered"`
	Times   uint64 `json:"times"`
	// Blocks is the number of basic blocks in that code, and Ran that of those that ran.
	Blocks int `json:"blocks"`
	Ran    int `json:"ran"`
	// Functions are those in which such code ran, by name.
	Functions []string `json:"functions"`
	// Idle are the places whose code did not run.
	Idle []string `json:"idle"`
}

// Never lists the rules that stand in comments at code of which nothing ran.
func (r *RulesReport) Never() []int {
	return r.numbers(func(x *Rule) bool { return x.Code > 0 && x.Entered == 0 })
}

// Uncited lists the rules that no comment at code cites: nothing can be said of them.
func (r *RulesReport) Uncited() []int {
	return r.numbers(func(x *Rule) bool { return x.Code == 0 })
}

func (r *RulesReport) numbers(which func(*Rule) bool) []int {
	out := []int{}
	for i := range r.Rules {
		if which(&r.Rules[i]) {
			out = append(out, r.Rules[i].Number)
		}
	}
	return out
}

// packages are those whose comments cite the rules.
var packages = []string{"bft", "bft/exec"}

// Rules builds the simulator with instrumented core, runs the seeds, and reports which rules of
// the protocol were entered: those that are cited by a comment at code that ran. It needs the go
// command and the source tree. Runs that fail count too; an error means that nothing was measured.
func Rules(ctx context.Context, o RulesOptions) (*RulesReport, error) {
	if o.Last < o.First || o.Jobs < 1 {
		return nil, fmt.Errorf("coverage: seeds %d to %d, %d at a time: nothing to run", o.First, o.Last, o.Jobs)
	}
	progress := func(format string, args ...any) {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf(format, args...))
		}
	}
	cited, err := citations(o.Root, packages)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "bftsim-coverage-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	program, data := filepath.Join(temp, "bftsim"), filepath.Join(temp, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	progress("build")
	// Without main among the instrumented packages the program would write no counters when it ends.
	const main = "./cmd/bftsim"
	instrumented := "-coverpkg=./" + strings.Join(packages, ",./") + "," + main
	if _, err := gocmd.Run(ctx, o.Root, "build", "-cover", "-covermode=atomic", instrumented, "-o", program, main); err != nil {
		return nil, err
	}
	progress("seeds %d..%d", o.First, o.Last)
	if err := runSeeds(ctx, program, data, &o); err != nil {
		return nil, err
	}
	progress("profile")
	text := filepath.Join(temp, "profile.txt")
	if _, err := gocmd.Run(ctx, o.Root, "tool", "covdata", "textfmt", "-i="+data, "-o="+text); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(text)
	if err != nil {
		return nil, err
	}
	p, err := readProfile(bytes.NewReader(b), gocmd.Module)
	if err != nil {
		return nil, err
	}
	return match(&o, cited, p), nil
}

// runSeeds runs the instrumented program, which leaves its counters in data when it ends. At a seed
// that fails it ends, and what ran until then counts.
func runSeeds(ctx context.Context, program, data string, o *RulesOptions) error {
	ctx, cancel := context.WithTimeout(ctx, gocmd.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "fuzz", "--json", "--seeds", fmt.Sprintf("%d..%d", o.First, o.Last), "--jobs", fmt.Sprint(o.Jobs))
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+data)
	var diag bytes.Buffer
	cmd.Stderr = &diag
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("coverage: bftsim fuzz has not ended: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return fmt.Errorf("coverage: bftsim fuzz: %w: %s", err, gocmd.Tail(diag.String()))
	}
	return nil
}

// match holds the blocks that ran against what the comments cite.
func match(o *RulesOptions, cited []citation, p profile) *RulesReport {
	report := &RulesReport{First: o.First, Last: o.Last}
	for n := 1; n <= lastRule; n++ {
		report.Rules = append(report.Rules, Rule{Number: n, Functions: []string{}, Idle: []string{}})
	}
	seen := make(map[int]map[string]map[codeRange]bool) // blocks already counted, by rule and file
	for i := range cited {
		c := &cited[i]
		for _, n := range c.rules {
			if seen[n] == nil {
				seen[n] = make(map[string]map[codeRange]bool)
			}
			if seen[n][c.file] == nil {
				seen[n][c.file] = make(map[codeRange]bool)
			}
			report.Rules[n-1].note(c, p, seen[n][c.file])
		}
	}
	for i := range report.Rules {
		r := &report.Rules[i]
		slices.Sort(r.Functions)
		r.Functions = slices.Compact(r.Functions)
	}
	return report
}

// note adds one place.
func (r *Rule) note(c *citation, p profile, seen map[codeRange]bool) {
	r.Places++
	blocks, most := 0, uint64(0)
	for _, code := range c.code {
		for _, b := range p.within(c.file, code) {
			blocks++
			most = max(most, b.count)
			if !seen[b.codeRange] {
				seen[b.codeRange] = true
				r.Blocks++
				if b.count > 0 {
					r.Ran++
				}
			}
		}
	}
	if blocks == 0 {
		return // a declaration, or a statement without a block of its own
	}
	r.Code++
	if most == 0 {
		r.Idle = append(r.Idle, fmt.Sprintf("%s:%d %s", c.file, c.line, c.name))
		return
	}
	r.Entered++
	r.Times += most
	r.Functions = append(r.Functions, c.name)
}

// String prints the rules with how often each was entered, then those that never were.
func (r *RulesReport) String() string {
	var b strings.Builder
	entered, of := 0, 0
	for i := range r.Rules {
		if r.Rules[i].Code > 0 {
			of++
		}
		if r.Rules[i].Entered > 0 {
			entered++
		}
	}
	fmt.Fprintf(&b, "rules entered by seeds %d..%d: %d of %d that are cited at code, of %d\n", r.First, r.Last, entered, of, len(r.Rules))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rule\ttimes\tplaces\tblocks\t  functions")
	for i := range r.Rules {
		if x := &r.Rules[i]; x.Code > 0 {
			fmt.Fprintf(w, "%d\t%d\t%d/%d\t%d/%d\t  %s\n", x.Number, x.Times, x.Entered, x.Code, x.Ran, x.Blocks, strings.Join(x.Functions, ", "))
		}
	}
	w.Flush()
	if never := r.Never(); len(never) > 0 {
		fmt.Fprintf(&b, "never entered: %s\n", numbers(never))
	}
	if none := r.Uncited(); len(none) > 0 {
		fmt.Fprintf(&b, "not cited at any code: %s\n", numbers(none))
	}
	first := true
	for i := range r.Rules {
		for _, place := range r.Rules[i].Idle {
			if first {
				fmt.Fprintln(&b, "code that did not run:")
				first = false
			}
			fmt.Fprintf(&b, "  rule %d: %s\n", r.Rules[i].Number, place)
		}
	}
	return b.String()
}

func numbers(ns []int) string {
	var words []string
	for _, n := range ns {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}
