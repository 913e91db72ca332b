package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/coverage"
)

func coverageCommand(out, diag io.Writer) *cobra.Command {
	var seeds string
	var jobs int
	var asJSON, rules bool
	cmd := &cobra.Command{
		Use:   "coverage --seeds A..B",
		Short: "Say what a campaign exercised, and what it never reached",
		Long: `Runs seeds and counts where honest replicas stood when they received messages: in which phase of the normal case
or stage of a view change, under which classes and durations of faults, and messages of which types. Cells
that were never reached are listed.

With --rules also which rules of the protocol were entered, by the comments of the core at code that ran; this
builds an instrumented simulator and needs the source tree and the go command.`,
		Example: `  bftsim coverage --seeds 1..200
  go run ./cmd/bftsim coverage --seeds 1..20 --rules`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := sim.Campaign{Jobs: jobs}
			var err error
			if c.First, c.Last, err = parseSeeds(seeds); err != nil {
				return err
			}
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least 1 is needed", jobs)
			}
			bar := progress(diag, "seeds", c.Last-c.First+1)
			c.Done = func() { _ = bar.Add(1) }
			covered, _, failed, err := sim.Cover(c)
			_ = bar.Exit()
			if err != nil {
				return err
			}
			var entered *coverage.RulesReport
			if rules {
				if entered, err = enteredRules(diag, c); err != nil {
					return err
				}
			}
			if err := printCoverage(out, covered, entered, asJSON); err != nil {
				return err
			}
			if failed != nil {
				fmt.Fprintf(diag, "seed %d: %v\n", failed.Options.Seed, failed.Failure)
				return errFailed
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&seeds, "seeds", "1..100", "the first and the last seed")
	cmd.Flags().IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&rules, "rules", false, "also say which rules of the protocol were entered")
	return cmd
}

func enteredRules(diag io.Writer, c sim.Campaign) (*coverage.RulesReport, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	root, err := coverage.Root(ctx)
	if err != nil {
		return nil, err
	}
	return coverage.Rules(ctx, coverage.RulesOptions{Root: root, First: c.First, Last: c.Last, Jobs: c.Jobs,
		Progress: func(step string) { fmt.Fprintln(diag, step) }})
}

func printCoverage(out io.Writer, covered *sim.Coverage, rules *coverage.RulesReport, asJSON bool) error {
	if asJSON {
		return encode(out, map[string]any{"faults": covered.Faults, "messages": covered.Messages, "rules": rules})
	}
	if _, err := fmt.Fprintf(out, "%v\n%v", covered.Faults, covered.Messages); err != nil {
		return err
	}
	if rules != nil {
		if _, err := fmt.Fprintf(out, "\n%v", rules); err != nil {
			return err
		}
	}
	return nil
}
