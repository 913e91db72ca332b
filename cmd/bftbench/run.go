package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/baluarte-bft/baluarte/bench"
)

const runLong = `Lets clients with keys and channels of their own load a cluster, and reports what it does.

Without --dir it makes a cluster of its own, of --nodes real replica processes with the shipped defaults in
a temporary directory, and ends and removes it afterwards. bftnode is built for that, which works within a
checkout, or named with --bftnode. With --dir it uses the running cluster of that directory.

Each client keeps --depth operations outstanding. Operations count once f+1 replicas sent the same
result. The calibration is how many Ed25519 signatures one idle core verifies, taken before the
load; throughput divided by it compares machines.`

const runExample = `  bftbench run                                      # 32 clients x 128 outstanding, empty operations
  bftbench run --service kv --size 1024             # puts of 1 KiB
  bftbench run --clients 200 --depth 1              # independent closed-loop clients
  bftbench run --clients 1 --depth 1                # latency of one client
  bftbench run --read linearizable                  # reads without ordering
  bftbench run --dir ./cluster --duration 60s --json`

// loadGCPercent lets the load process collect garbage less often than the replicas, whose cores it shares:
// it has little memory, so that the usual setting would have it collect all the time.
const loadGCPercent = 400

func runCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	o, out := bench.DefaultOptions(), output{stdout: stdout, stderr: stderr, terminal: terminal}
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Measure one load",
		Long:    runLong,
		Example: runExample,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLoad(cmd, &o); err != nil {
				return err
			}
			return out.measureOne(cmd, &o)
		},
	}
	addLoadFlags(cmd.Flags(), &o)
	out.addFlags(cmd)
	return cmd
}

// addLoadFlags adds the flags that say what to measure, which run and sweep have in common.
func addLoadFlags(f *pflag.FlagSet, o *bench.Options) {
	f.IntVar(&o.Clients, "clients", o.Clients, "number of clients, each with its own key and channels")
	f.IntVar(&o.Depth, "depth", o.Depth, "operations that each client keeps outstanding")
	f.DurationVar(&o.Duration, "duration", o.Duration, "measured time")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "time under load before that")
	f.StringVar(&o.Service, "service", o.Service, "service to load: counter (empty operations) or kv (puts)")
	f.IntVar(&o.Size, "size", o.Size, "bytes of the value of each put")
	f.IntVar(&o.Keys, "keys", o.Keys, "different keys that each client writes, with kv")
	f.StringVar(&o.Read, "read", o.Read, "read the counter instead: linearizable, ordered or stale")
	f.StringVar(&o.Dir, "dir", o.Dir, "directory of a running cluster")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "replicas of the cluster that is made here")
	f.StringVar(&o.Program, "bftnode", o.Program, "program of the replicas, instead of building it")
	f.StringVar(&o.Profiles, "pprof", o.Profiles, "write CPU profiles of the load and of the replicas to this directory")
}

// checkLoad refuses what cannot be measured.
func checkLoad(cmd *cobra.Command, o *bench.Options) error {
	if err := o.Validate(); err != nil {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	return checkDir(cmd, o)
}

// checkDir refuses a number of replicas for a cluster that has its own.
func checkDir(cmd *cobra.Command, o *bench.Options) error {
	if f := cmd.Flags(); o.Dir != "" && f.Changed("nodes") {
		return usageError{fmt.Errorf("--nodes is for a cluster that is made here: leave it or --dir out")}
	}
	return nil
}

// progressLine shows progress in one line of a terminal, which it writes again and again.
type progressLine struct {
	w     io.Writer
	phase string
	at    time.Time
	width int
}

// showEvery bounds how often the line is written again within one phase.
const showEvery = 200 * time.Millisecond

func (p *progressLine) show(now bench.Progress) {
	if now.Phase == p.phase && time.Since(p.at) < showEvery {
		return
	}
	p.phase, p.at = now.Phase, time.Now()
	line := now.Phase
	if now.Total > 0 {
		line += fmt.Sprintf("  %.0f of %.0f s  %8.0f ops/s", now.Elapsed.Seconds(), now.Total.Seconds(), now.OpsPerSecond)
	}
	fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = len(line)
}

// clear removes the line; p may be nil.
func (p *progressLine) clear() {
	if p != nil && p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
	}
}
