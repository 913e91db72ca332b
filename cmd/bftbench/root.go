package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const rootLong = `bftbench puts load on a cluster of replicas and reports throughput, latency and what each
operation costs, with everything beside it that could have bought the figures.

Results go to the standard output, everything else to the standard error.
Exit codes: 0 success, 1 it went wrong while it was done, 2 wrong usage, or a file or value that cannot be used.`

func rootCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	root := &cobra.Command{
		Use:           "bftbench",
		Short:         "Measure how fast a cluster is",
		Long:          rootLong,
		Example:       "  bftbench run\n  bftbench run --clients 1 --depth 1 --json",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          wrong.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(wrong.Flag)
	wrong.SetHelp(root, "run")
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(faultsCommand(stdout, stderr, terminal), dependabilityCommand(stdout, stderr, terminal), replicaCommand())
	root.AddCommand(runCommand(stdout, stderr, terminal), ycsbCommand(stdout, stderr, terminal), serverCommand(stdout), sweepCommand(stdout, stderr, terminal), compareCommand(stdout), plotCommand(stdout))
	return root
}
