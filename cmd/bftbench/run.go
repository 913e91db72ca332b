package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const runLong = `Lets clients with keys and channels of their own load a cluster, and reports what it does.

Without --dir it makes a cluster of its own, of --nodes real replica processes with the shipped defaults in
a temporary directory, and ends and removes it afterwards. bftnode is built for that, which works within a
checkout, or named with --bftnode. With --dir it uses the running cluster of that directory.

Each client keeps --depth operations outstanding (a closed loop). With --rate, operations are offered
at that rate over all clients whatever becomes of the earlier ones (an open loop), and latencies count from
the time at which an operation was to begin, so that waiting behind a stall is in them. Operations count once f+1
replicas sent the same result.

Operations of the counter are empty. Those of kv are puts of --size bytes; with --read they are reads of values of that
size, which are put before. An ordered read is an operation with a result of --size bytes.

Afterwards the same load goes to one server without replicas (see bftbench server) for up to 5 s, for comparison. The
calibration is how many Ed25519 signatures one idle core verifies, taken before the load; throughput divided by it
compares machines.`

const runExample = `  bftbench run                                      # 32 clients x 128 outstanding, empty operations
  bftbench run --service kv --size 1024             # puts of 1 KiB
  bftbench run --service kv --size 1024 --read ordered   # results of 1 KiB
  bftbench run --clients 200 --depth 1              # independent closed-loop clients
  bftbench run --clients 1 --depth 1                # latency of one client
  bftbench run --rate 20000                         # latency at 20,000 operations a second
  bftbench run --rate 500 --arrivals even --seed 7
  bftbench run --read linearizable                  # reads without ordering
  bftbench run --dir ./cluster --duration 60s --json`

// loadGCPercent lets the load process collect garbage less often than the replicas, whose cores it shares:
// it has little memory, so that the usual setting would have it collect all the time.
const loadGCPercent = 400

func runCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	o, out := bench.DefaultOptions(), output{stdout: stdout, stderr: stderr, terminal: terminal}
	var noReference bool
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Measure one load",
		Long:    runLong,
		Example: runExample,
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLoad(cmd, &o, &out, noReference)
		},
	}
	addLoadFlags(cmd.Flags(), &o)
	out.addFlags(cmd)
	addReferenceFlag(cmd.Flags(), &noReference)
	return cmd
}

// runLoad measures one load, with the server without replicas that this program is too.
func runLoad(cmd *cobra.Command, o *bench.Options, out *output, noReference bool) error {
	if err := checkOpenLoop(cmd, o); err != nil {
		return err
	}
	if o.Reference = !noReference; o.Reference {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("this program does not find itself, to serve without replicas: leave that out with --no-reference (%w)", err)
		}
		o.ReferenceProgram = program
	}
	if err := checkLoad(cmd, o); err != nil {
		return err
	}
	return out.measureOne(cmd, o)
}

func addReferenceFlag(f *pflag.FlagSet, no *bool) {
	f.BoolVar(no, "no-reference", false, "do not measure a server without replicas too")
}

// checkOpenLoop refuses flags of one kind of loop for the other.
func checkOpenLoop(cmd *cobra.Command, o *bench.Options) error {
	f := cmd.Flags()
	switch {
	case f.Changed("rate") && o.Rate == 0:
		return wrong.Errorf("a rate of 0: choose more, or leave --rate out for a closed loop")
	case f.Changed("rate") && f.Changed("depth"):
		return wrong.Errorf("--depth is of a closed loop and --rate of an open one: leave one of them out")
	case f.Changed("seed") && (o.Rate == 0 || o.Arrivals == bench.ArrivalsEven):
		return wrong.Errorf("--seed is of the arrivals of an open loop that are drawn: give --rate, and no even arrivals, or leave it out")
	}
	return nil
}

// addLoadFlags adds the flags that say what to measure, which run and sweep have in common.
func addLoadFlags(f *pflag.FlagSet, o *bench.Options) {
	f.StringVar(&o.Service, "service", o.Service, "service to load: counter (empty operations) or kv (puts)")
	f.IntVar(&o.Size, "size", o.Size, "bytes of the value of each put, or of each value that is read from kv")
	f.IntVar(&o.Keys, "keys", o.Keys, "with kv, different keys that each client writes, or that all read")
	f.StringVar(&o.Read, "read", o.Read, "read instead: linearizable, ordered or stale")
	addTimeFlags(f, o)
	addClusterFlags(f, o)
}

// addTimeFlags adds the flags that say how much load there is, and for how long.
func addTimeFlags(f *pflag.FlagSet, o *bench.Options) {
	f.IntVar(&o.Clients, "clients", o.Clients, "number of clients, each with its own key and channels")
	f.IntVar(&o.Depth, "depth", o.Depth, "operations that each client keeps outstanding")
	f.Float64Var(&o.Rate, "rate", o.Rate, "offer so many operations a second in all instead (an open loop)")
	f.StringVar(&o.Arrivals, "arrivals", o.Arrivals, "with --rate: poisson (independent of each other, the default) or even (spaced evenly)")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "with --rate: what poisson arrivals are drawn from")
	f.DurationVar(&o.Duration, "duration", o.Duration, "measured time")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "time under load before that")
}

// addClusterFlags adds the flags that say what is measured.
func addClusterFlags(f *pflag.FlagSet, o *bench.Options) {
	f.StringVar(&o.Dir, "dir", o.Dir, "directory of a running cluster")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "replicas of the cluster that is made here")
	f.StringVar(&o.Program, "bftnode", o.Program, "program of the replicas; without it bftnode is built within a checkout, and is the installed one elsewhere")
	f.StringVar(&o.Profiles, "pprof", o.Profiles, "write CPU profiles of the load and of the replicas to this directory")
}

// checkLoad refuses what cannot be measured.
func checkLoad(cmd *cobra.Command, o *bench.Options) error {
	if err := o.Validate(); err != nil {
		return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
	}
	return checkDir(cmd, o)
}

// checkDir refuses a number of replicas for a cluster that has its own.
func checkDir(cmd *cobra.Command, o *bench.Options) error {
	if f := cmd.Flags(); o.Dir != "" && f.Changed("nodes") {
		return wrong.Errorf("--nodes is for a cluster that is made here: leave it or --dir out")
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
