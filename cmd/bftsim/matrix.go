package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

func matrixCommand(out, diag io.Writer) *cobra.Command {
	var seeds string
	var jobs int
	var asJSON, list bool
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Run every class of failure in every duration",
		Long: `Runs each of the 21 cells of class × duration: f replicas fail in this way, and nothing else is wrong. injected
is how often the fault really hit. For each class one more replica then fails for good than is tolerated, until
an oracle breaks: BEYOND is that oracle, and the proof that the bench can fail.`,
		Example: `  bftsim matrix
  bftsim matrix --seeds 1..50 --json
  bftsim matrix --list`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if list {
				return listCells(out, asJSON)
			}
			c := sim.Campaign{Jobs: jobs}
			var err error
			if c.First, c.Last, err = parseSeeds(seeds); err != nil {
				return err
			}
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least 1 is needed", jobs)
			}
			bar := progress(diag, "cells", uint64(len(sim.Cells())))
			cells, err := sim.Matrix(c, func(sim.CellResult) { _ = bar.Add(1) })
			_ = bar.Exit()
			if err != nil {
				return err
			}
			return concludeMatrix(out, diag, cells, asJSON)
		},
	}
	cmd.Flags().StringVar(&seeds, "seeds", "1..8", "the seeds that each cell is run under")
	cmd.Flags().IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&list, "list", false, "tell what the cells are, run nothing")
	return cmd
}

func listCells(out io.Writer, asJSON bool) error {
	if asJSON {
		return encode(out, map[string]any{"cells": sim.Cells()})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLASS\tDURATION\tNAME\tWHAT IT DOES")
	for _, c := range sim.Cells() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Class, c.Duration, c.Name, c.Story)
	}
	return w.Flush()
}

func concludeMatrix(out, diag io.Writer, cells []sim.CellResult, asJSON bool) error {
	failed := 0
	for i := range cells {
		if !cells[i].OK {
			failed++
			fmt.Fprintf(diag, "%s, %s: %s\n", cells[i].Class, cells[i].Duration, cells[i].Failure)
		}
	}
	if asJSON {
		if err := encode(out, map[string]any{"cells": cells}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "CLASS\tDURATION\tNAME\tRUNS\tINJECTED\tOK\tBEYOND")
		for _, c := range cells {
			ok, beyond := "yes", ""
			if !c.OK {
				ok = "NO"
			}
			if c.Beyond != "" {
				beyond = fmt.Sprintf("%s breaks (seeds: %d)", c.Beyond, c.BeyondSeeds)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", c.Class, c.Duration, c.Name, c.Runs, c.Injected, ok, beyond)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%d of %d cells ok\n", len(cells)-failed, len(cells))
	}
	if failed > 0 {
		return errFailed
	}
	return nil
}
