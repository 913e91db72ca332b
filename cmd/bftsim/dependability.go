package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

func dependabilityCommand(out, diag io.Writer) *cobra.Command {
	m := sim.Mission{}
	var every, lasts, within, outageEvery, outageFor time.Duration
	var classes string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dependability",
		Short: "Measure availability, reliability and time to repair over many hours with faults",
		Long: fmt.Sprintf(`Runs a cluster for virtual hours while faults happen at random, and prints how dependable its service was: availability,
reliability, the mean times between failures of the service and to its repair, and how many faults of each class were
masked. Faults may coincide and then be more than f at once. The service fails while some client has waited for a correct
answer for longer than --within.

Classes of faults: %s. With --lies f replicas lie in turns, in another way each hour.
--outage-every and --outage-for take all replicas down at fixed times. An hour takes some seconds of a processor.`, classNames()),
		Example: `  bftsim dependability --hours 10 --lies
  bftsim dependability --hours 24 --every 0 --outage-every 1h --outage-for 1s`,
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, name := range strings.Split(classes, ",") {
				if name = strings.TrimSpace(name); name != "" {
					m.Classes = append(m.Classes, sim.Class(name))
				}
			}
			m.Within, m.Every, m.For = sim.Duration(within), sim.Duration(every), sim.Duration(lasts)
			m.OutageEvery, m.OutageFor = sim.Duration(outageEvery), sim.Duration(outageFor)
			bar := progress(diag, "hours", uint64(max(m.Hours, 1)))
			m.Done = func() { _ = bar.Add(1) }
			d, err := m.Run()
			_ = bar.Exit()
			if err != nil {
				return err
			}
			if asJSON {
				err = encode(out, d)
			} else {
				_, err = d.WriteTo(out)
			}
			if err == nil && d.Wrong > 0 {
				return errFailed
			}
			return err
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&m.Seed, "seed", 1, "what everything is drawn from")
	f.IntVar(&m.Hours, "hours", 10, fmt.Sprintf("virtual hours, at most %d", sim.MaxMission))
	f.IntVarP(&m.Replicas, "replicas", "n", 4, "how many replicas")
	f.DurationVar(&within, "within", 2*time.Second, "the time within which an answer must come")
	f.DurationVar(&every, "every", 30*time.Minute, "mean time between faults of a class at a replica; 0 for none")
	f.DurationVar(&lasts, "for", 30*time.Second, "mean time that a fault lasts")
	f.StringVar(&classes, "classes", classNames(), "classes of these faults, with commas between")
	f.BoolVar(&m.Lies, "lies", false, "f replicas lie, by turns")
	f.DurationVar(&outageEvery, "outage-every", 0, "time between the ends of two outages of all replicas; 0 for none")
	f.DurationVar(&outageFor, "outage-for", 0, "how long an outage lasts")
	f.IntVar(&m.Jobs, "jobs", runtime.GOMAXPROCS(0), "how many hours run beside each other")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// classNames are the classes that faults can have, with commas between.
func classNames() string {
	var names []string
	for _, c := range sim.MissionClasses() {
		names = append(names, string(c))
	}
	return strings.Join(names, ",")
}
