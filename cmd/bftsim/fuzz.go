package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

func fuzzCommand(out, diag io.Writer) *cobra.Command {
	var seeds string
	var behaviours []string
	var jobs, replicas int
	var most time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fuzz --seeds A..B",
		Short: "Run many seeds, stop at the first that fails",
		Long: `Runs the seeds A to B, several at a time, and prints a census of what the runs had in them. At the
first seed that fails it stops and prints a line

  FAIL oracle=S1 seed=17 at=2.31s

and the command that repeats the run. Each seed that is a multiple of 25 is run twice, to compare the
trace hashes. It fails too if a run executed fewer than 100 numbers or, of 20 runs and more, if fewer
than half had a view change or an adversary.`,
		Example: `  bftsim fuzz --seeds 1..1000
  bftsim fuzz --seeds 1..200 --behaviour "altered O"
  bftsim fuzz --seeds 1..200 --replicas 4 --json`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := sim.Campaign{Jobs: jobs}
			if seeds == "" {
				return wrong.Errorf("fuzz needs --seeds A..B, the first and the last seed, as in --seeds 1..1000")
			}
			var err error
			if c.First, c.Last, err = parseSeeds(seeds); err != nil {
				return err
			}
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least 1 is needed", jobs)
			}
			if err := checkReplicas(replicas); err != nil {
				return err
			}
			if replicas != 0 && len(behaviours) > 0 {
				return errors.New("--replicas goes with what is drawn, not with --behaviour")
			}
			c.Options = func(seed uint64) sim.Options { return sim.DrawFor(seed, replicas) }
			if err := known(behaviours); err != nil {
				return err
			}
			if len(behaviours) > 0 {
				c.Options = func(seed uint64) sim.Options { return sim.Under(seed, behaviours...) }
			}
			if most < 0 {
				return fmt.Errorf("--time %v: give how long, such as 10m", most)
			}
			if begun := time.Now(); most > 0 {
				c.Enough = func() bool { return time.Since(begun) >= most }
			}
			bar := progress(diag, "seeds", c.Last-c.First+1)
			c.Done = func() { _ = bar.Add(1) } // a bar that cannot be drawn is no reason to stop
			census, failed, err := sim.Fuzz(c)
			_ = bar.Exit()
			if err != nil {
				return err
			}
			return conclude(out, diag, census, failed, asJSON, repeated(behaviours, replicas))
		},
	}
	cmd.Flags().StringVar(&seeds, "seeds", "", "the first and the last seed, as in 1..1000 (required)")
	cmd.Flags().StringSliceVar(&behaviours, "behaviour", nil, "f replicas behave in this way in every run, instead of what is drawn; may be repeated (see \"bftsim behaviours --list\")")
	cmd.Flags().DurationVar(&most, "time", 0, "end after this time, such as 10m, although there are seeds left")
	cmd.Flags().IntVar(&replicas, "replicas", 0, "how many replicas every run has, instead of what is drawn")
	cmd.Flags().IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// result is what fuzz prints with --json.
type result struct {
	Outcome string      `json:"outcome"`
	Failed  *sim.Report `json:"failed,omitempty"`
	Repeat  string      `json:"repeat,omitempty"`
	Census  *sim.Census `json:"census"`
}

// conclude prints what a campaign found.
func conclude(out, diag io.Writer, census *sim.Census, failed *sim.Report, asJSON bool, more string) error {
	r := result{Outcome: "ok", Census: census}
	if failed != nil {
		r.Outcome, r.Failed = "failed", failed
		r.Repeat = fmt.Sprintf("bftsim run --seed %d%s", failed.Options.Seed, more)
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else if _, err := census.WriteTo(out); err != nil {
		return err
	}
	if failed != nil {
		f := failed.Failure
		if !asJSON {
			fmt.Fprintf(out, "FAIL oracle=%s seed=%d at=%v\n", f.Oracle, failed.Options.Seed, f.At)
		}
		fmt.Fprintf(diag, "%s\nrepeat it with:  %s\n", f.Error(), r.Repeat)
		return errFailed
	}
	if err := census.Check(); err != nil {
		fmt.Fprintf(diag, "bftsim: %v\n", err)
		return errFailed
	}
	if !asJSON {
		fmt.Fprintf(out, "outcome             ok\n")
	}
	return nil
}

// repeated is what else the command says that repeats one run of a campaign.
func repeated(behaviours []string, replicas int) string {
	more := ""
	for _, b := range behaviours {
		more += fmt.Sprintf(" --behaviour %q", b)
	}
	if replicas != 0 {
		more += fmt.Sprintf(" --replicas %d", replicas)
	}
	return more
}

// parseSeeds reads "A..B".
func parseSeeds(s string) (first, last uint64, err error) {
	a, b, ok := strings.Cut(s, "..")
	if ok {
		if first, err = strconv.ParseUint(a, 10, 64); err == nil {
			last, err = strconv.ParseUint(b, 10, 64)
		}
	}
	if !ok || err != nil || last < first {
		return 0, 0, fmt.Errorf("--seeds %q: give the first and the last seed, as in 1..1000", s)
	}
	return first, last, nil
}
