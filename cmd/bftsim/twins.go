package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

func twinsCommand(out, diag io.Writer) *cobra.Command {
	var asJSON bool
	var only int
	o := sim.TwinsOptions{Seed: 1}
	cmd := &cobra.Command{
		Use:   "twins",
		Short: "Enumerate what two instances with one key can do",
		Long: `Runs a cluster of four in which one replica runs twice, with one key: every choice of that replica, and for each of
the first views every division of the five instances into at most two sets that do not hear each other. Then
the network heals and the cluster must go on. A scenario is repeated by its number.`,
		Example: `  bftsim twins
  bftsim twins --views 3 --every 7
  bftsim twins --views 2 --only 296`,
		Args: wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("only") {
				if only < 0 {
					return fmt.Errorf("--only %d: scenarios are counted from 0", only)
				}
				if o.First, o.Last = only, only; only == 0 {
					o.Every = sim.TwinsScenarios(max(1, min(o.Views, sim.MaxTwinViews))) // a Last of 0 is the end
				}
			}
			if o.Jobs < 1 || o.Every < 1 {
				return fmt.Errorf("--jobs %d, --every %d: each must be at least 1", o.Jobs, o.Every)
			}
			if o.Views < 1 || o.Views > sim.MaxTwinViews {
				return fmt.Errorf("--views %d: give 1 to %d", o.Views, sim.MaxTwinViews)
			}
			bar := progress(diag, "scenarios", uint64(sim.TwinsScenarios(o.Views)/o.Every))
			report, err := sim.Twins(o, func(int, int) { _ = bar.Add(1) })
			_ = bar.Exit()
			if err != nil {
				return err
			}
			return concludeTwins(out, diag, report, asJSON)
		},
	}
	cmd.Flags().IntVar(&o.Views, "views", 2, "for how many views every division is tried, 1 to 6: there are 64, 1024, 16384, … scenarios")
	cmd.Flags().IntVar(&o.Every, "every", 1, "run only each so many-th scenario")
	cmd.Flags().IntVar(&only, "only", 0, "run only the scenario of this number")
	cmd.Flags().IntVar(&o.Jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func concludeTwins(out, diag io.Writer, r *sim.TwinsReport, asJSON bool) error {
	if asJSON {
		if err := encode(out, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "scenarios        %d, of which %d were run\n", r.Scenarios, r.Runs)
		fmt.Fprintf(out, "twins disagreed  %d\n", r.Equivocations)
		for view, n := range r.Reached {
			more := ""
			if view == r.Views {
				more = " or more"
			}
			fmt.Fprintf(out, "reached view     %d%s: %d\n", view, more, n)
		}
	}
	if f := r.Failed; f != nil {
		fmt.Fprintf(diag, "scenario %d, %s: %v\nrepeat it with:  bftsim twins --views %d --only %d\n", f.Number, f.Scenario, f.Failure, r.Views, f.Number)
		return errFailed
	}
	if !asJSON {
		_, err := fmt.Fprintf(out, "outcome          ok\n")
		return err
	}
	return nil
}
