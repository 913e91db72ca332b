package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

func behavioursCommand(out, diag io.Writer) *cobra.Command {
	var only []string
	var seeds string
	var jobs int
	var asJSON, list bool
	cmd := &cobra.Command{
		Use:   "behaviours",
		Short: "Run every Byzantine behaviour, and show what became of its lies",
		Long: `Runs each behaviour of the catalogue: f replicas, one of the first primaries among them, behave so from
beginning to end, while faults happen to the others. Then once more under load, to see how much of
the throughput is left (oracle P1: at least 30 %).

sent is how often it lied; refused are the false messages that honest receivers refused, outvoted
those that came to nothing although they were taken in, and what was kept back or done on its own disk.
The throughput is – if it has no occasion to lie under a load without faults.
"bftsim mutants" shows of each that without its defence an oracle breaks.`,
		Example: `  bftsim behaviours
  bftsim behaviours --only "silent primary" --seeds 1..50
  bftsim behaviours --list`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			chosen, err := chooseBehaviours(only)
			if err != nil {
				return err
			}
			if list {
				return listBehaviours(out, chosen, asJSON)
			}
			first, last, err := parseSeeds(seeds)
			if err != nil {
				return err
			}
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least 1 is needed", jobs)
			}
			if last-first >= 10_000 {
				return fmt.Errorf("--seeds %s: at most 10000 for each behaviour", seeds)
			}
			var all []uint64
			for s := first; s <= last; s++ {
				all = append(all, s)
			}
			bar := progress(diag, "behaviours", uint64(len(chosen)))
			results, err := tryBehaviours(chosen, all, jobs, func() { _ = bar.Add(1) })
			_ = bar.Exit()
			if err != nil {
				return err
			}
			return concludeBehaviours(out, diag, results, asJSON)
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "run only the behaviours of these names")
	cmd.Flags().StringVar(&seeds, "seeds", "1..6", "the seeds that each behaviour is run under")
	cmd.Flags().IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&list, "list", false, "tell what the behaviours are, run nothing")
	return cmd
}

func chooseBehaviours(only []string) ([]byz.Behaviour, error) {
	all := byz.All()
	for _, name := range only {
		if _, ok := byz.Find(name); !ok {
			return nil, fmt.Errorf("--only: there is no behaviour %q; bftsim behaviours --list names them", name)
		}
	}
	if len(only) > 0 {
		all = slices.DeleteFunc(all, func(b byz.Behaviour) bool { return !slices.Contains(only, b.Name) })
	}
	return all, nil
}

func listBehaviours(out io.Writer, all []byz.Behaviour, asJSON bool) error {
	if asJSON {
		type entry struct {
			Number   int      `json:"number,omitempty"`
			Name     string   `json:"name"`
			Role     string   `json:"role"`
			Defences []string `json:"defences"`
			Why      string   `json:"why,omitempty"`
		}
		entries := []entry{}
		for _, b := range all {
			entries = append(entries, entry{b.Number, b.Name, string(b.Role), slices.Concat([]string{}, b.Defences), b.Why})
		}
		return encode(out, map[string]any{"behaviours": entries})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NO\tBEHAVIOUR\tAS\tDOES HARM WITHOUT")
	for _, b := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", numberOf(b.Number), b.Name, b.Role, strings.Join(b.Defences, ", "))
	}
	return w.Flush()
}

// numberOf is the number in the catalogue, if there is one.
func numberOf(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// tryBehaviours runs behaviours, some at the same time.
func tryBehaviours(all []byz.Behaviour, seeds []uint64, jobs int, done func()) ([]*sim.BehaviourResult, error) {
	results, errs := make([]*sim.BehaviourResult, len(all)), make([]error, len(all))
	next := make(chan int)
	var wait sync.WaitGroup
	var mu sync.Mutex
	for range jobs {
		wait.Go(func() {
			for i := range next {
				b := &all[i]
				results[i], errs[i] = sim.Behaviour(b.Number, b.Name, string(b.Role), b.Defences, seeds)
				mu.Lock()
				done()
				mu.Unlock()
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

func concludeBehaviours(out, diag io.Writer, results []*sim.BehaviourResult, asJSON bool) error {
	failed := 0
	for _, r := range results {
		if !r.OK {
			failed++
		}
	}
	if asJSON {
		if err := encode(out, map[string]any{"behaviours": results}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "NO\tSENT\tREFUSED\tOUTVOTED\tTHROUGHPUT\tOK\t  BEHAVIOUR")
		for _, r := range results {
			ok := "yes"
			if !r.OK {
				ok = "NO"
			}
			left := fmt.Sprintf("%.0f %%", 100*r.Throughput)
			if r.Loaded == 0 {
				left = "–"
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t  %s\n", numberOf(r.Number), r.Sent, r.Refused, r.Outvoted, left, ok, r.Name)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%d of %d behaviours ok\n", len(results)-failed, len(results))
	}
	for _, r := range results {
		if !r.OK {
			fmt.Fprintf(diag, "%s: %s\n", r.Name, r.Failure)
		}
	}
	if failed > 0 {
		return errFailed
	}
	return nil
}
