// Package gocmd calls the go command for those parts of the simulator that build it anew, changed
// or instrumented. They need the source tree and go in PATH.
package gocmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Module is the path of the module whose source tree is needed.
const Module = "github.com/baluarte-bft/baluarte"

// Patience bounds one call: whatever takes longer does not end.
const Patience = 15 * time.Minute

// ErrMissing says that there is no go command.
var ErrMissing = errors.New("the go command is not in PATH: it is needed to build the simulator from its source")

// Root finds the source tree that the working directory is in. It fails outside of it, and with
// ErrMissing.
func Root(ctx context.Context) (string, error) {
	out, err := Run(ctx, "", "list", "-m", "-f", "{{.Path}} {{.Dir}}")
	if errors.Is(err, ErrMissing) {
		return "", err
	}
	path, dir, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || !ok || path != Module {
		return "", errors.New("this builds the simulator from its source: run it in the source tree of " + Module)
	}
	return dir, nil
}

// Run runs the go command in a directory and returns what it prints. The error has the end of
// its diagnostics; it is ErrMissing if there is no go command.
func Run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return nil, ErrMissing
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("go %s: %w: %s", args[0], err, Tail(diag.String()))
	}
	return out, err
}

// Tail returns the last lines of a text as one.
func Tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
