package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench/single"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const serverLong = `Serves clients without replicas: one process that does all that a replica does for its clients,
and nothing of what replicas do with each other. bftbench run starts one by itself, as the reference that the
cluster is compared with, and it is of no use for anything else: it tolerates no fault.

The same: bundles signed by clients, one verification of each, encrypted channels, sessions that execute each operation
once, services, a log synced to the disk in groups before results leave, a checkpoint of the state at the
interval of the cluster. Left out: proposals, votes and their signatures, view changes, transfer of state.

It prints a line with its address and its key once it takes clients, and ends when it is interrupted.`

func serverCommand(stdout io.Writer) *cobra.Command {
	o := single.ServeOptions{Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	cmd := &cobra.Command{
		Use:     "server --dir DIR",
		Short:   "Serve without replicas, as the reference of run",
		Long:    serverLong,
		Example: "  bftbench server --dir ./single\n  bftbench server --dir ./single --like ./cluster/manifest.yaml",
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkServer(&o); err != nil {
				return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
			}
			return single.Serve(cmd.Context(), o, stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory of its key and data, made if it is not there")
	f.StringVar(&o.Like, "like", "", "manifest of the cluster whose services and parameters it takes over; without it, counter and kv with the defaults")
	f.StringVar(&o.Listen, "listen", o.Listen, "address for clients")
	f.StringVar(&o.HTTP, "http", o.HTTP, "address of its metrics")
	return cmd
}

// checkServer refuses what cannot be served.
func checkServer(o *single.ServeOptions) error {
	if o.Dir == "" {
		return errors.New("name the directory of the server with --dir")
	}
	for name, address := range map[string]string{"listen": o.Listen, "http": o.HTTP} {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" {
			return fmt.Errorf("--%s %q is not of the form host:port", name, address)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("--%s %q: the port is not within 0 and 65535", name, address)
		}
	}
	return nil
}
