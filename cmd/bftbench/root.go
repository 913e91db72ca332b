package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const rootLong = `bftbench puts load on a cluster of replicas and reports throughput, latency and what each
operation costs, with everything beside it that could have bought the figures.

Results go to the standard output, everything else to the standard error.
Exit codes: 0 success, 1 failure, 2 bad usage.`

func rootCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	root := &cobra.Command{
		Use:           "bftbench",
		Short:         "Measures how fast a cluster is",
		Long:          rootLong,
		Example:       "  bftbench run\n  bftbench run --clients 1 --depth 1 --json",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(faultsCommand(stdout, stderr, terminal), replicaCommand())
	root.AddCommand(runCommand(stdout, stderr, terminal), ycsbCommand(stdout, stderr, terminal), serverCommand(stdout), sweepCommand(stdout, stderr, terminal), compareCommand(stdout), plotCommand(stdout))
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return usageError{fmt.Errorf("there is no command %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return usageError{fmt.Errorf("%s takes no arguments, but got %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
}
