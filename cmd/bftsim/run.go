package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/teach"
)

// source is where the options of one run come from: a seed, with or without behaviours, or a script.
type source struct {
	seed       uint64
	seeded     func() bool // --seed was given
	behaviours []string
	signatures string
	mutant     string
	replicas   int
}

// flags adds the flags of a source to a command.
func (s *source) flags(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&s.seed, "seed", 0, "what everything is drawn from")
	cmd.Flags().StringSliceVar(&s.behaviours, "behaviour", nil, "with --seed: f replicas behave in this way, instead of what is drawn; may be repeated (see \"bftsim behaviours --list\")")
	cmd.Flags().IntVar(&s.replicas, "replicas", 0, "with --seed: how many replicas there are, instead of what is drawn")
	cmd.Flags().StringVar(&s.signatures, "signatures", "", `"fast" (keyed hashes) or "ed25519" (real ones, slower)`)
	cmd.Flags().StringVar(&s.mutant, "mutant", "", "break the protocol as this mutant does; needs the source tree and the go command")
	s.seeded = func() bool { return cmd.Flags().Changed("seed") }
}

// known checks names of behaviours.
func known(behaviours []string) error {
	for _, name := range behaviours {
		if _, ok := byz.Find(name); !ok {
			return fmt.Errorf("--behaviour: there is no behaviour %q; bftsim behaviours --list names them", name)
		}
	}
	return nil
}

// checkReplicas refuses numbers of replicas for which nothing can be drawn; 0 is what the seed says.
func checkReplicas(n int) error {
	if n != 0 && (n < 4 || n > bft.MaxMembers) {
		return wrong.Errorf("--replicas %d: give a number from 4 to %d", n, bft.MaxMembers)
	}
	return nil
}

// scriptError words what is wrong with a script, or with its file.
func scriptError(path string, err error) error {
	if errors.Is(err, syscall.EISDIR) {
		return wrong.File(path, err, "name a script, or a scenario that bftsim list has")
	}
	return fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "sim: "))
}

// script is the run that is meant.
func (s *source) script(args []string) (*sim.Script, error) {
	var script *sim.Script
	switch {
	case len(args) == 1 && s.seeded():
		return nil, errors.New("give either --seed or a file, not both")
	case len(args) == 1:
		if len(s.behaviours) > 0 || s.replicas != 0 {
			return nil, errors.New("--behaviour and --replicas go with --seed: a script says these things itself")
		}
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("%q is no scenario: %w", args[0], wrong.File(args[0], err, "name a script, or a scenario that bftsim list has"))
		}
		defer f.Close()
		if script, err = sim.ParseScript(f); err != nil {
			return nil, scriptError(args[0], err)
		}
	case !s.seeded():
		return nil, errors.New("give --seed N, the name of a scenario (bftsim list) or the file of a script")
	case len(s.behaviours) > 0:
		if err := known(s.behaviours); err != nil {
			return nil, err
		}
		script = &sim.Script{Options: sim.Under(s.seed, s.behaviours...)}
	default:
		if err := checkReplicas(s.replicas); err != nil {
			return nil, err
		}
		script = &sim.Script{Options: sim.DrawFor(s.seed, s.replicas)}
	}
	if s.replicas != 0 && len(s.behaviours) > 0 {
		return nil, errors.New("--replicas goes with what is drawn, not with --behaviour")
	}
	if s.signatures != "" {
		script.Options.Signatures = s.signatures
	}
	return script, nil
}

func runCommand(out, diag io.Writer) *cobra.Command {
	var from source
	var asJSON, trace, asScript bool
	var history string
	cmd := &cobra.Command{
		Use:   "run NAME | --seed N | FILE",
		Short: "Run a teaching scenario, a seed or a script",
		Long: `Runs one seed, one script, or one scenario that "bftsim list" names.

Of a seed or a script it prints the options, what happened, the outcome and trace_hash, a hash over
every delivery, signature, execution and result: it is the same whenever and wherever the same
version runs the seed. If an oracle broke, the end of the trace is printed too. --script prints the
options as a script, to keep and to change; docs/simulator.md has its lines.

Of a scenario it prints what is to be seen, what happened, and what that shows.`,
		Example: `  bftsim run --seed 7
  bftsim run --seed 7 --json | jq .trace_hash
  bftsim run --seed 7 --behaviour "silent primary"
  bftsim run --seed 7 --script > seven.sim && bftsim run seven.sim
  bftsim run bank-transfer`,
		Args: wrong.Args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				if scenario, err := teach.Find(args[0]); err == nil {
					return play(out, scenario, from.seed, asJSON)
				}
			}
			if trace && asJSON {
				return errors.New("--trace prints text: leave --json away, or run twice")
			}
			script, err := from.script(args)
			if err != nil {
				return err
			}
			if asScript {
				_, err := script.WriteTo(out)
				return err
			}
			if from.mutant != "" {
				return from.runMutant(out, diag, script, history, asJSON, trace)
			}
			if script.Mutant != "" {
				fmt.Fprintf(diag, "bftsim: this is how the protocol as it is behaves; what the script shows needs --mutant %s\n", script.Mutant)
			}
			if trace {
				script.Options.Trace = out
			}
			report, err := sim.Run(script.Options)
			if err != nil {
				return err
			}
			if trace && report.Failure != nil {
				report.Failure.Trace = nil // it was printed
			}
			if err := keepHistory(diag, report, history); err != nil {
				return err
			}
			return print(out, report, report, asJSON)
		},
	}
	from.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&trace, "trace", false, "print a line for everything that happens")
	cmd.Flags().StringVar(&history, "history", "", "where to write the picture of a history that is not linearizable (S5), an HTML page")
	cmd.Flags().BoolVar(&asScript, "script", false, "print the options as a script, run nothing")
	return cmd
}

// keepHistory writes the picture of a history that is not linearizable, or says how to get it.
func keepHistory(diag io.Writer, report *sim.Report, file string) error {
	if report.Failure == nil || report.Failure.Picture == nil {
		return nil
	}
	if file == "" {
		fmt.Fprintln(diag, "bftsim: --history FILE writes a picture of the history")
		return nil
	}
	return wrong.NewFile(file, os.WriteFile(file, report.Failure.Picture, 0o644), "name another one with --history")
}

// runMutant runs a script with a wrong protocol.
func (s *source) runMutant(out, diag io.Writer, script *sim.Script, history string, asJSON, trace bool) error {
	more := []string{"--history", history}
	if asJSON {
		more = append(more, "--json")
	}
	if trace {
		more = append(more, "--trace")
	}
	return asMutant(out, diag, s.mutant, "run", script, "run", more...)
}
