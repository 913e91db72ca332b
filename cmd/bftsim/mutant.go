package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/mutants"
)

// asMutant builds the simulator with a wrong protocol and has it do command with the script, written to a file of
// that name, and args.
func asMutant(out, diag io.Writer, mutant, command string, script *sim.Script, name string, args ...string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "bftsim-mutant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, input := filepath.Join(dir, "bftsim"), filepath.Join(dir, name+".sim")
	if err := mutants.Build(ctx, mutant, program); err != nil {
		return err
	}
	if script.Mutant = mutant; command == "run" {
		script.Mutant = "" // what runs it is that mutant
	}
	if err := write(nil, input, script); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{command, input}, args...)...)
	cmd.Stdout, cmd.Stderr = out, diag
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		return errFailed // it has said what is wrong
	} else if err != nil {
		return err
	}
	return nil
}
