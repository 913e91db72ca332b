package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench/fault"
	"github.com/baluarte-bft/baluarte/node/cli"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const replicaLong = `Runs the real replica whose home directory is HOME, as bftnode run does, with something wrong around it:

--sync-delay makes each sync of its disk take longer. --pre-prepare-delay holds each of its pre-prepares back, and
nothing else that it sends; for that it takes the place of the other members towards this replica, with their keys,
which it reads from homes beside HOME, as those of bftnode up are. It is for measurements on one machine.

With --control it reads lines from the standard input: "on" begins the delays, "off" ends them, there are none before
the first line, and it ends when the input does.`

func replicaCommand() *cobra.Command {
	var o fault.Options
	var control bool
	cmd := &cobra.Command{
		Use:     "replica HOME",
		Short:   "Run one replica with a slow disk, or as a slow primary",
		Long:    replicaLong,
		Example: "  bftbench replica ./cluster/r0 --sync-delay 20ms\n  bftbench replica ./cluster/r0 --pre-prepare-delay 400ms --control",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return wrong.Errorf("%s takes the home directory of one replica, but got %d arguments; see %s --help", cmd.CommandPath(), len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Validate(); err != nil {
				return &wrong.Error{Err: err}
			}
			if control {
				o.Control = cmd.InOrStdin()
			}
			return runReplica(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.SyncDelay, "sync-delay", 0, "how much longer each sync takes")
	f.DurationVar(&o.PrePrepareDelay, "pre-prepare-delay", 0, "how long each pre-prepare is held back")
	f.BoolVar(&control, "control", false, "begin and end the delays by lines on the standard input")
	return cmd
}

// runReplica runs it with the services that bftnode hosts.
func runReplica(ctx context.Context, home string, o fault.Options) error {
	return fault.Run(ctx, home, o, cli.KV(), cli.Counter())
}

// ownPath is the path of this program, which runs such replicas for a fault.
func ownPath() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return path, nil
}
