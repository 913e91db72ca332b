package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const compareLong = `Compares the repeated measurements of file B with those of file A, and says plainly whether B is faster, slower, or
not told apart from A, by the throughput; of loads that were offered at a rate, by the median latency. Each file holds what
run --repeat K --json printed, or an array of results.

Intervals hold the true difference with a probability of 95 % (Welch, of the logarithms). The more measurements, the
smaller the differences that are told: make at least 3 of each, on a machine that does nothing else. It warns when
settings or machines differ.

The exit code is 0 whatever the verdict is.`

const compareExample = `  bftbench run --repeat 5 --json >before.json
  bftbench run --repeat 5 --json >after.json
  bftbench compare before.json after.json`

func compareCommand(stdout io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "compare A B",
		Short:   "Tell whether repeated measurements differ",
		Long:    compareLong,
		Example: compareExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return wrong.Errorf("compare takes two files, but got %d; see %s --help", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var sets [2][]*bench.Result
			for i, path := range args {
				var err error
				if sets[i], err = bench.ReadResultFile(path); err != nil {
					return wrong.File(path, err, "name a file of results")
				}
			}
			c, err := bench.Compare(sets[0], sets[1])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(stdout, c)
			}
			return c.WriteTable(stdout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
