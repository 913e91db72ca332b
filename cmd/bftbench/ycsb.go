package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const ycsbLong = `Loads a cluster with one of the core workloads of YCSB, on the service kv. First it puts --records values; then it
measures --mix:

  A  50 % reads, 50 % updates
  B  95 % reads,  5 % updates
  C  reads only

Keys are chosen by a scrambled zipfian distribution with the constant 0.99: few of the records are read
and written most of the time. A record is one value of --size bytes, by default ten fields of 100 bytes;
an update puts a new value of that size. Reads are linearizable and not ordered, unless --read says otherwise; those
that meet writes of the same record again and again end as contended, and are counted so.

The latencies of reads and updates are reported apart. All else is as with bftbench run.`

const ycsbExample = `  bftbench ycsb --mix A
  bftbench ycsb --mix B --records 100000 --size 100
  bftbench ycsb --mix C --read stale --json
  bftbench ycsb --mix A --rate 5000                  # at an offered rate`

func ycsbCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	o, out := bench.DefaultMix(), output{stdout: stdout, stderr: stderr, terminal: terminal}
	var noReference bool
	cmd := &cobra.Command{
		Use:     "ycsb --mix A|B|C",
		Short:   "Measure a mix of reads and updates",
		Long:    ycsbLong,
		Example: ycsbExample,
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Mix = strings.ToUpper(o.Mix)
			return runLoad(cmd, &o, &out, noReference)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Mix, "mix", o.Mix, "A, B or C")
	f.IntVar(&o.Records, "records", o.Records, "values that there are")
	f.IntVar(&o.Size, "size", o.Size, "bytes of each value")
	f.StringVar(&o.Read, "read", bench.ReadLinearizable, "how reads are made: linearizable, ordered or stale")
	addTimeFlags(f, &o)
	addClusterFlags(f, &o)
	out.addFlags(cmd)
	addReferenceFlag(f, &noReference)
	return cmd
}
