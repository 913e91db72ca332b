package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

func shrinkCommand(out, diag io.Writer) *cobra.Command {
	var from source
	var file, oracle string
	var runs int
	cmd := &cobra.Command{
		Use:   "shrink --seed N | FILE",
		Short: "Make a failing run small, and write it as a script",
		Long: `Runs a seed or a script that fails, and leaves out faults, lies, messages, requests, replicas and time
for as long as the same oracle breaks. What is left is printed as a script, which "bftsim run"
repeats exactly.

With --oracle only failures of that oracle count. Often the first thing to break is not what tells
most: a certificate that is too small (S6) is seen long before two replicas disagree (S1).

With --mutant the protocol is broken on purpose as that mutant does it (see "bftsim mutants
--list"); this needs the source tree and the go command.`,
		Example: `  bftsim shrink --seed 17 -o found.sim && bftsim run found.sim
  go run ./cmd/bftsim shrink --seed 3 --mutant quorum-too-small
  go run ./cmd/bftsim shrink --seed 3 --mutant quorum-too-small --oracle S1`,
		Args: wrong.Args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if runs < 1 {
				return fmt.Errorf("--runs %d: at least 1 is needed", runs)
			}
			if oracle != "" && !slices.Contains(sim.Oracles(), oracle) {
				return fmt.Errorf("--oracle %s: there is no such oracle; give one of %s", oracle, strings.Join(sim.Oracles(), " "))
			}
			script, err := from.script(args)
			if err != nil {
				return err
			}
			if from.mutant != "" {
				more := []string{"--runs", fmt.Sprint(runs), "--oracle", oracle}
				if file != "" {
					more = append(more, "-o", file)
				}
				return asMutant(out, diag, from.mutant, "shrink", script, "shrink", more...)
			}
			bar := progress(diag, "runs", uint64(runs))
			small, report, err := sim.Shrink{Options: script.Options, Oracle: oracle, Runs: runs, Progress: func(int, int) { _ = bar.Add(1) }}.Do()
			_ = bar.Exit()
			if errors.Is(err, sim.ErrNoFailure) {
				return nothing(oracle)
			}
			if err != nil {
				return err
			}
			small.Mutant = script.Mutant
			fmt.Fprintf(diag, "%v\n", report.Failure)
			return write(out, file, small)
		},
	}
	from.flags(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file to write the script to; the standard output if it is left out")
	cmd.Flags().StringVar(&oracle, "oracle", "", "the oracle that is to break, such as S1; the one that breaks first if it is left out")
	cmd.Flags().IntVar(&runs, "runs", 3000, "how many runs to make at most")
	return cmd
}

// nothing says that there is nothing to shrink.
func nothing(oracle string) error {
	if oracle != "" {
		return fmt.Errorf("oracle %s holds in this run: there is nothing to shrink; try another seed, or leave --oracle away", oracle)
	}
	return errors.New("every oracle holds in this run: there is nothing to shrink")
}

// write writes a script to a file, or to out.
func write(out io.Writer, file string, what io.WriterTo) error {
	if file == "" {
		_, err := what.WriteTo(out)
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return wrong.NewFile(file, err, "name another one with --output")
	}
	_, err = what.WriteTo(f)
	return errors.Join(err, f.Close())
}
