package main

import (
	"errors"

	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

const dependabilityLong = `Watches a cluster of real processes while one fault comes after the other, and prints how dependable its service was:
availability, reliability, the mean times between failures of the service and to its repair, and how many faults of each
class were masked. The figures are those of bftsim dependability, see docs/dependability.md.

Clients add to the counter, one call after the other; the service fails while one of them has waited for longer than
--within. Faults are drawn from --seed: a replica is killed and started again (crash), stopped and continued or given slow
links (timing), or what it sends or receives is lost (omission). At the end all replicas must hold the same state, with all
that was acknowledged in it, once. The exit code is 1 if they do not, or if an answer was wrong.`

func dependabilityCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	o := bench.DefaultMissionOptions()
	classes := strings.Join(classNames(o.Classes), ",")
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "dependability",
		Short:   "Measure availability, reliability and time to repair while faults happen",
		Long:    dependabilityLong,
		Example: "  bftbench dependability\n  bftbench dependability --time 10m --classes crash,timing --json",
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Classes = nil
			for name := range strings.SplitSeq(classes, ",") {
				if name = strings.TrimSpace(name); name != "" {
					o.Classes = append(o.Classes, sim.Class(name))
				}
			}
			if err := o.Validate(); err != nil {
				return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
			}
			return showMission(cmd, o, stdout, stderr, terminal, asJSON)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&o.Seed, "seed", o.Seed, "what the faults are drawn from")
	f.IntVar(&o.Clients, "clients", o.Clients, "number of clients, each with one call outstanding")
	f.DurationVar(&o.Think, "think", o.Think, "pause of a client between two calls")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "replicas of the cluster")
	f.DurationVar(&o.Time, "time", o.Time, "how long the service is watched")
	f.DurationVar(&o.Within, "within", o.Within, "the time within which an answer must come")
	f.DurationVar(&o.Every, "every", o.Every, "mean time from the end of a fault to the next one")
	f.DurationVar(&o.For, "for", o.For, "mean time that a fault lasts")
	f.StringVar(&classes, "classes", classes, "classes of faults, with commas between")
	f.StringVar(&o.Program, "bftnode", o.Program, "program of the replicas; without it bftnode is built within a checkout, and is the installed one elsewhere")
	f.BoolVar(&asJSON, "json", false, "print one JSON object, with each fault")
	return cmd
}

func classNames(classes []sim.Class) []string {
	var names []string
	for _, c := range classes {
		names = append(names, string(c))
	}
	return names
}

// showMission runs a mission and prints what came of it.
func showMission(cmd *cobra.Command, o bench.MissionOptions, stdout, stderr io.Writer, terminal, asJSON bool) error {
	var p *progressLine
	if terminal {
		p = &progressLine{w: stderr}
		o.Progress = p.show
	}
	res, err := bench.RunMission(cmd.Context(), o)
	p.clear()
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(stdout, res)
	} else {
		err = res.WriteTable(stdout)
	}
	if err == nil && !res.Holds() {
		err = errors.New("what the replicas hold, or answered, is not what callers were told")
	}
	return err
}
