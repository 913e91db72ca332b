package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

func accountabilityCommand(out, diag io.Writer) *cobra.Command {
	var seeds string
	var asJSON bool
	var jobs int
	cmd := &cobra.Command{
		Use:   "accountability --seeds A..B",
		Short: "Let more than f replicas lie, and find out who it was",
		Long: `Runs seeds in which more than f and at most 2f replicas lie together, so that honest ones may come to disagree.
Whenever they do, the envelopes that honest replicas hold must prove the guilt of more than f
members (oracle A1), and never of an honest one (A2).`,
		Example: `  bftsim accountability --seeds 1..1000`,
		Args:    wrong.NoArgs,
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
			census, failed, err := sim.Account(c)
			_ = bar.Exit()
			if err != nil {
				return err
			}
			if asJSON {
				err = encode(out, map[string]any{"accountability": census, "failed": failed})
			} else {
				err = printAccountability(out, census)
			}
			if err == nil && failed != nil {
				fmt.Fprintf(diag, "seed %d: %v\n", failed.Options.Seed, failed.Failure)
				return errFailed
			}
			return err
		},
	}
	cmd.Flags().StringVar(&seeds, "seeds", "1..100", "the first and the last seed")
	cmd.Flags().IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func printAccountability(out io.Writer, a *sim.Accountability) error {
	fmt.Fprintf(out, "runs                  %d\n", a.Runs)
	fmt.Fprintf(out, "agreement broke       %d\n", a.Broken)
	fmt.Fprintf(out, "more than f named     %d\n", a.Named)
	fmt.Fprintf(out, "replicas named        %d\n", a.Accused)
	for _, kind := range sim.SortedKeys(a.Kinds) {
		fmt.Fprintf(out, "  %-19s %d\n", kind, a.Kinds[kind])
	}
	_, err := fmt.Fprintf(out, "honest ones named     none\n")
	return err
}
