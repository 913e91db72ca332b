package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim/mutants"
)

func mutantsCommand(out, diag io.Writer) *cobra.Command {
	var only []string
	var seeds string
	var asJSON, list bool
	o := mutants.Options{}
	cmd := &cobra.Command{
		Use:   "mutants",
		Short: "Break the protocol on purpose, and show that it is noticed",
		Long: `Builds the simulator with one wrong rule at a time, and runs seeds until an oracle breaks; if none
does, runs the tests of the core. The patches stand in sim/mutants/patches; the source tree is not
touched. The code without a patch must pass the same seeds first.

Run it in the source tree; the go command must be in PATH.

Exit code: 0 if every mutant is killed, 1 if one survives, 2 if one could not be judged, such as by
a patch that does not fit the present code.`,
		Example: `  go run ./cmd/bftsim mutants
  go run ./cmd/bftsim mutants --only quorum-too-small --repeat 5
  go run ./cmd/bftsim mutants --list`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := mutants.All()
			if err != nil {
				return err
			}
			if o.Mutants, err = mutants.Choose(all, only); err != nil {
				return fmt.Errorf("--only: %w", err)
			}
			if list {
				return listMutants(out, o.Mutants, asJSON)
			}
			if o.First, o.Last, err = parseSeeds(seeds); err != nil {
				return err
			}
			if o.Repeat < 1 || o.Jobs < 1 {
				return fmt.Errorf("--repeat %d, --jobs %d: each must be at least 1", o.Repeat, o.Jobs)
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			if o.Root, err = mutants.Root(ctx); err != nil {
				return err
			}
			return runMutants(ctx, out, diag, o, asJSON)
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "run only the mutants of these names")
	cmd.Flags().StringVar(&seeds, "seeds", "1..200", "the first seed, and the last one to try on a mutant")
	cmd.Flags().IntVar(&o.Repeat, "repeat", 1, "how often to count the seeds, from a different first one each time; the median is reported")
	cmd.Flags().IntVar(&o.Jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&list, "list", false, "tell what the mutants are, run nothing")
	return cmd
}

// listMutants tells what each mutant breaks and what should notice.
func listMutants(out io.Writer, ms []*mutants.Mutant, asJSON bool) error {
	if asJSON {
		return encode(out, map[string]any{"mutants": ms})
	}
	for _, m := range ms {
		if _, err := fmt.Fprintf(out, "%s\n  %s\n  breaks   %s\n  notices  %s\n", m.Name, m.Title, m.Breaks, m.Notices); err != nil {
			return err
		}
	}
	return nil
}

func encode(out io.Writer, what any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(what)
}

// runMutants judges mutants, tells on diag how far it is, and prints the table.
func runMutants(ctx context.Context, out, diag io.Writer, o mutants.Options, asJSON bool) error {
	begun := time.Now()
	o.Progress = func(number int, name, step string) {
		fmt.Fprintf(diag, "[%*d/%d] %s: %s\n", len(fmt.Sprint(len(o.Mutants))), number, len(o.Mutants), name, step)
	}
	o.Judged = func(number int, m *mutants.Outcome) { o.Progress(number, m.Name, sentence(m)) }
	report, err := mutants.Run(ctx, o)
	if err != nil {
		return err
	}
	if asJSON {
		err = encode(out, report)
	} else {
		err = printMutants(out, report, time.Since(begun))
	}
	if err != nil {
		return err
	}
	survivors, unjudged := report.Survivors(), report.Unjudged()
	if len(survivors) > 0 {
		fmt.Fprintf(diag, "bftsim: nothing noticed %s: that is a defect of the oracles and tests\n", strings.Join(survivors, ", "))
		return errFailed
	}
	if len(unjudged) > 0 {
		return fmt.Errorf("%d of %d mutants could not be judged: %s", len(unjudged), len(report.Mutants), strings.Join(unjudged, ", "))
	}
	return nil
}

// sentence is what became of a mutant.
func sentence(m *mutants.Outcome) string {
	switch {
	case m.Error != "":
		return "not judged: " + m.Error
	case !m.Killed:
		return "survives"
	case m.SeedsMedian != nil:
		return fmt.Sprintf("killed by %s, seeds: %d", m.By, *m.SeedsMedian)
	}
	return "killed by " + m.By
}

func printMutants(out io.Writer, r *mutants.Report, took time.Duration) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MUTANT\tKILLED\tBY\tSEEDS\tTOOK")
	killed := 0
	for i := range r.Mutants {
		m := &r.Mutants[i]
		verdict, seeds := "no", ""
		if m.Killed {
			verdict = "yes"
			killed++
		}
		if m.SeedsMedian != nil {
			seeds = fmt.Sprint(*m.SeedsMedian)
		}
		if m.Error != "" {
			verdict = "error"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\n", m.Name, verdict, m.By, seeds, m.Took.Round(100*time.Millisecond))
	}
	for i := range r.Mutants {
		if m := &r.Mutants[i]; m.Error != "" {
			fmt.Fprintf(w, "\n%s: %s\n", m.Name, m.Error)
		}
	}
	fmt.Fprintf(w, "\nkilled %d of %d in %v\n", killed, len(r.Mutants), took.Round(time.Second))
	return w.Flush()
}
