package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim/teach"
)

func listCommand(out io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the teaching scenarios",
		Long: `Lists the scenarios that "bftsim run NAME" plays and "bftsim draw NAME" draws: each shows one thing that
is worth knowing about failures, with a short explanation of what is seen.`,
		Example: `  bftsim list
  bftsim run vectors-four
  bftsim draw vectors-four -o vectors.html`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return encode(out, map[string]any{"scenarios": teach.All()})
			}
			longest := 0
			for _, s := range teach.All() {
				longest = max(longest, len(s.Name))
			}
			for i, g := range teach.Groups() {
				if i > 0 {
					fmt.Fprintln(out)
				}
				fmt.Fprintln(out, g.Title)
				for _, s := range g.Scenarios {
					fmt.Fprintf(out, "  %-*s  %s\n", longest, s.Name, s.Title)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// play runs a teaching scenario.
func play(out io.Writer, s teach.Scenario, seed uint64, asJSON bool) error {
	to := out
	if asJSON {
		to = io.Discard
	}
	result, err := s.Run(to, teach.Options{Seed: seed})
	if err != nil {
		return err
	}
	if asJSON {
		return encode(out, &result)
	}
	return nil
}
