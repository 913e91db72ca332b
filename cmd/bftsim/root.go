package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/sim"
)

// errFailed: an oracle broke. All that is to be said was said.
var errFailed = errors.New("an oracle broke")

// root is the whole command line; data goes to out, everything else to diag.
func root(out, diag io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bftsim",
		Short: "Run the protocol in a deterministic simulator, under faults and adversaries",
		Long: `bftsim runs whole clusters, clients and all, under virtual time: real replicas, services and
clients in a network that loses, delays and cuts, with crashes, clocks that disagree, and up to
f replicas that belong to an adversary. A run is a function of its seed. Oracles watch it for
every promise of the protocol.

Exit code: 0 if every oracle held, 1 if one broke, 2 if the command was used wrongly.`,
		Example: `  bftsim run --seed 7
  bftsim run --seed 7 --trace > trace.txt
  bftsim fuzz --seeds 1..1000`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetOut(out)
	cmd.SetErr(diag)
	cmd.AddCommand(runCommand(out), fuzzCommand(out, diag), mutantsCommand(out, diag))
	return cmd
}

func runCommand(out io.Writer) *cobra.Command {
	var seed uint64
	var asJSON, trace bool
	var signatures string
	cmd := &cobra.Command{
		Use:   "run --seed N",
		Short: "Run one seed and print its options, outcome and trace hash",
		Long: `Run one seed. It prints what was drawn from the seed, what happened, the outcome and trace_hash,
a hash over every delivery, signature, execution and result: it is the same whenever and wherever
the same version runs the seed. If an oracle broke, the end of the trace is printed too.`,
		Example: `  bftsim run --seed 7
  bftsim run --seed 7 --json | jq .trace_hash
  bftsim run --seed 7 --signatures ed25519`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			o := sim.Draw(seed)
			o.Signatures = signatures
			if trace {
				if asJSON {
					return errors.New("--trace prints text: leave --json away, or run twice")
				}
				o.Trace = out
			}
			report, err := sim.Run(o)
			if err != nil {
				return err
			}
			if trace && report.Failure != nil {
				report.Failure.Trace = nil // it was printed
			}
			return print(out, report, report, asJSON)
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 0, "what everything is drawn from (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&trace, "trace", false, "print a line for everything that happens")
	cmd.Flags().StringVar(&signatures, "signatures", "fast", `"fast" (keyed hashes) or "ed25519" (real ones, slower)`)
	if err := cmd.MarkFlagRequired("seed"); err != nil {
		panic(err) // the flag was just defined
	}
	return cmd
}

// print writes the report, and returns errFailed if it is one of a failure.
func print(out io.Writer, report *sim.Report, what io.WriterTo, asJSON bool) error {
	var err error
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(what)
	} else {
		_, err = what.WriteTo(out)
	}
	if err == nil && report != nil && !report.OK() {
		err = errFailed
	}
	return err
}

func fuzzCommand(out, diag io.Writer) *cobra.Command {
	var seeds string
	var behaviours []string
	var jobs int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fuzz --seeds A..B",
		Short: "Run many seeds, stop at the first that fails",
		Long: `Run the seeds A to B, several at a time, and print a census of what the runs had in them. At the
first seed that fails it stops and prints a line

  FAIL oracle=S1 seed=17 at=2.31s

and the command that repeats the run with its trace. Each seed that is a multiple of 25 is run
twice, to compare the trace hashes.`,
		Example: `  bftsim fuzz --seeds 1..1000
  bftsim fuzz --seeds 1..200 --jobs 1 --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := sim.Campaign{Jobs: jobs}
			var err error
			if c.First, c.Last, err = parseSeeds(seeds); err != nil {
				return err
			}
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least 1 is needed", jobs)
			}
			if len(behaviours) > 0 {
				c.Options = func(seed uint64) sim.Options { return sim.Under(seed, behaviours...) }
			}
			bar := progress(diag, c.Last-c.First+1)
			c.Done = func() { _ = bar.Add(1) } // a bar that cannot be drawn is no reason to stop
			census, failed, err := sim.Fuzz(c)
			_ = bar.Exit()
			if err != nil {
				return err
			}
			return conclude(out, diag, census, failed, asJSON)
		},
	}
	cmd.Flags().StringVar(&seeds, "seeds", "", "the first and the last seed, as in 1..1000 (required)")
	cmd.Flags().StringSliceVar(&behaviours, "behaviour", nil, "f replicas behave in this way in every run, instead of what is drawn; may be repeated (see bftsim behaviours --list)")
	cmd.Flags().IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	if err := cmd.MarkFlagRequired("seeds"); err != nil {
		panic(err) // the flag was just defined
	}
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
func conclude(out, diag io.Writer, census *sim.Census, failed *sim.Report, asJSON bool) error {
	r := result{Outcome: "ok", Census: census}
	if failed != nil {
		r.Outcome, r.Failed = "failed", failed
		r.Repeat = fmt.Sprintf("bftsim run --seed %d", failed.Options.Seed)
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

// progress shows how far a campaign is, if somebody is looking.
func progress(diag io.Writer, runs uint64) *progressbar.ProgressBar {
	f, ok := diag.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultSilent(int64(runs))
	}
	return progressbar.NewOptions64(int64(runs), progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("seeds"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("runs"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
