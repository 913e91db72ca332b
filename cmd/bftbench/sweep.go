package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const sweepLong = `Measures over the values of one or two settings, each point with a cluster of its own, and prints a line for
each measurement. Settings that are not varied are those of the flags, as with bftbench run.

An axis is NAME=VALUE,VALUE,...; names are %s.
With two, the last one varies fastest. With --repeat the whole sweep is gone through so often, so that what changes on the
machine meanwhile does not look like a difference of points.

The server without replicas that bftbench run measures too is left out. Interrupted, it prints what it has. With
--json it prints an array of results, which plot reads.`

const sweepExample = `  bftbench sweep --over clients=1,2,4,8,16,32,64 --duration 5s
  bftbench sweep --over n=4,7,10,13 --repeat 3 --json >n.json
  bftbench sweep --service kv --over size=16,1024,4096 --over depth=1,16,128 --csv sizes.csv
  bftbench sweep --over rate=1000,10000,50000,100000 --json | bftbench plot - -o latency.svg`

func sweepCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	o, out := bench.DefaultOptions(), output{stdout: stdout, stderr: stderr, terminal: terminal}
	var over []string
	cmd := &cobra.Command{
		Use:     "sweep --over NAME=VALUE,VALUE,...",
		Short:   "Measure over the values of one or two settings",
		Long:    fmt.Sprintf(sweepLong, strings.Join(bench.AxisNames(), ", ")),
		Example: sweepExample,
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := &bench.Sweep{Base: o, Repeat: out.repeat}
			if err := parseAxes(s, over); err != nil {
				return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
			}
			for _, a := range s.Axes {
				if cmd.Flags().Changed(flagOf(a.Name)) {
					return wrong.Errorf("--%s and --over %s exclude each other", flagOf(a.Name), a.Name)
				}
			}
			if f := cmd.Flags(); f.Changed("depth") && slices.ContainsFunc(s.Axes, func(a bench.Axis) bool { return a.Name == "rate" }) {
				return wrong.Errorf("--depth is of a closed loop and the rate of an open one: leave one of them out")
			}
			if err := checkDir(cmd, &o); err != nil {
				return err
			}
			return out.measure(cmd.Context(), s, bench.WriteSweep, func(results []*bench.Result) any { return results })
		},
	}
	addLoadFlags(cmd.Flags(), &o)
	out.addFlags(cmd)
	cmd.Flags().StringArrayVar(&over, "over", nil, "vary a setting: NAME=VALUE,VALUE,...; give it once or twice")
	return cmd
}

// flagOf is the flag of run that sets what an axis varies.
func flagOf(axis string) string {
	if axis == "n" {
		return "nodes"
	}
	return axis
}

func parseAxes(s *bench.Sweep, over []string) error {
	if len(over) == 0 {
		return errors.New("say what to vary: --over NAME=VALUE,VALUE,..., as in --over clients=1,8,32")
	}
	for _, text := range over {
		a, err := bench.ParseAxis(text)
		if err != nil {
			return err
		}
		s.Axes = append(s.Axes, a)
	}
	_, err := s.Points()
	return err
}
