package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const faultsLong = `Shows what one fault does to a cluster under load: throughput over time around it, how long nothing came, how soon
it is as before, and whether anything that was acknowledged is lost.

For each fault it makes a cluster of its own of real processes with the shipped defaults, lets clients load it with
empty operations of the counter, and has the fault begin and end. Then all replicas must hold the same state, and
the counter must say at least the acknowledged operations, and at most those and the ones with an open outcome.
The replicas have no hooks for faults: processes are killed and paused, links are proxies, and a slow disk or primary
is bftbench replica, which wraps the real one.

Without a NAME it shows all of them, one after the other, at about half a minute each. Each fault names
what the project promises for it, and whether that holds. The exit code is 1 only if something acknowledged was lost, if
something was executed twice, or if the replicas differ.`

const faultsExample = `  bftbench faults --list
  bftbench faults kill-primary
  bftbench faults kill-primary slow-primary --json
  bftbench faults slow-disk --delay 50ms --during 20s
  bftbench faults wan --plot wan.svg`

func faultsCommand(stdout, stderr io.Writer, terminal bool) *cobra.Command {
	o := bench.DefaultFaultOptions()
	var list, asJSON bool
	var plot string
	cmd := &cobra.Command{
		Use:     "faults [NAME...]",
		Short:   "Show what a fault does to a cluster under load",
		Long:    faultsLong,
		Example: faultsExample,
		RunE: func(cmd *cobra.Command, names []string) error {
			if list {
				if len(names) > 0 {
					return wrong.Errorf("--list takes no names, but got %q", names[0])
				}
				return listFaults(stdout, asJSON)
			}
			all, err := faultOptions(&o, names)
			if err != nil {
				return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
			}
			if err := checkPlot(plot); err != nil {
				return &wrong.Error{Err: err}
			}
			debug.SetGCPercent(loadGCPercent)
			return showFaults(cmd, all, stdout, stderr, terminal, asJSON, plot)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&list, "list", false, "list the faults")
	f.IntVar(&o.Clients, "clients", o.Clients, "number of clients, each with its own key and channels")
	f.IntVar(&o.Depth, "depth", o.Depth, "operations that each client keeps outstanding; 0: the usual number")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "replicas of the cluster")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "time under load before the figures")
	f.DurationVar(&o.Before, "before", o.Before, "time before the fault")
	f.DurationVar(&o.During, "during", o.During, "time with the fault")
	f.DurationVar(&o.After, "after", o.After, "time after it has ended")
	f.DurationVar(&o.Delay, "delay", o.Delay, "delay of slow-primary (each pre-prepare), slow-disk (each sync) or slow-link (each way); 0: a usual one")
	f.StringVar(&o.Program, "bftnode", o.Program, "program of the replicas; without it bftnode is built within a checkout, and is the installed one elsewhere")
	f.StringVar(&plot, "plot", "", "draw the throughput over time to this file, .svg or .png; with several faults, each to one of its own")
	f.BoolVar(&asJSON, "json", false, "print an array in JSON")
	return cmd
}

// listFaults names all faults.
func listFaults(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, bench.Faults())
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range bench.Faults() {
		if _, err := fmt.Fprintf(t, "%s\t%s\n", f.Name, f.Short); err != nil {
			return err
		}
	}
	return t.Flush()
}

// faultOptions are those of each fault that is named, or of all that the other flags fit.
func faultOptions(o *bench.FaultOptions, names []string) ([]bench.FaultOptions, error) {
	var err error
	if o.Self, err = ownPath(); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if o.Delay > 0 {
			return nil, errors.New("--delay is for one fault: name it")
		}
		for _, f := range bench.Faults() {
			names = append(names, f.Name)
		}
	}
	all := make([]bench.FaultOptions, len(names))
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("the fault %q stands twice", name)
		}
		all[i] = *o
		all[i].Fault = name
		if err := all[i].Validate(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func checkPlot(path string) error {
	if ext := filepath.Ext(path); path != "" && ext != ".svg" && ext != ".png" {
		return fmt.Errorf("--plot %s: name a file that ends with .svg or .png", path)
	}
	return nil
}

// showFaults shows one fault after the other. What is done already is not lost when a later one fails.
func showFaults(cmd *cobra.Command, all []bench.FaultOptions, stdout, stderr io.Writer, terminal, asJSON bool, plot string) error {
	results := []*bench.FaultResult{}
	var errs []error
	for i := range all {
		o := &all[i]
		var p *progressLine
		if terminal {
			p = &progressLine{w: stderr}
			o.Progress = p.show
		}
		res, err := bench.RunFault(cmd.Context(), *o)
		p.clear()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.Fault, err))
			if cmd.Context().Err() != nil {
				break
			}
			continue
		}
		results = append(results, res)
		if !res.Safety.Holds() {
			errs = append(errs, fmt.Errorf("%s: what the replicas hold is not what callers were told", o.Fault))
		}
		if plot != "" {
			errs = append(errs, plotFault(res, plotPath(plot, o.Fault, len(all))))
		}
		if asJSON {
			continue
		}
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		if err := res.WriteTable(stdout); err != nil {
			return err
		}
	}
	if asJSON {
		errs = append(errs, printJSON(stdout, results))
	}
	return errors.Join(errs...)
}

// plotPath is the file for one of so many faults.
func plotPath(path, name string, faults int) string {
	if faults == 1 {
		return path
	}
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + name + ext
}

// plotFault draws one result.
func plotFault(res *bench.FaultResult, path string) error {
	f, err := newPendingFile(path)
	if err != nil {
		return err
	}
	defer f.discard()
	return f.commit(func(w io.Writer) error { return res.Chart().Write(w, strings.TrimPrefix(filepath.Ext(path), ".")) })
}
