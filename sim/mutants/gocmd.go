package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/internal/gocmd"
)

// Root finds the source tree that the working directory is in.
func Root(ctx context.Context) (string, error) { return gocmd.Root(ctx) }

func withOverlay(args []string, overlay string) []string {
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	return args
}

// build makes the simulator, from the changed files that overlay names, if it names any.
func (r *runner) build(ctx context.Context, overlay, program string) error {
	args := append(withOverlay([]string{"build"}, overlay), "-o", program, "./cmd/bftsim")
	_, err := gocmd.Run(ctx, r.Root, args...)
	return err
}

// failure is the first seed that failed.
type failure struct {
	seed   uint64
	oracle string
}

// fuzz has a program run seeds, in order until one fails. Nil: all passed.
func (r *runner) fuzz(ctx context.Context, program string, under []string, first, last uint64) (*failure, error) {
	ctx, cancel := context.WithTimeout(ctx, gocmd.Patience)
	defer cancel()
	args := []string{"fuzz", "--json", "--seeds", fmt.Sprintf("%d..%d", first, last), "--jobs", fmt.Sprint(r.Jobs)}
	for _, name := range under {
		args = append(args, "--behaviour", name)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "GOTRACEBACK=single")
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("bftsim fuzz has not ended: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("bftsim fuzz: %w: %s", err, gocmd.Tail(diag.String()))
	}
	return verdict(out)
}

// verdict reads what bftsim fuzz --json prints.
func verdict(out []byte) (*failure, error) {
	var result struct {
		Outcome string      `json:"outcome"`
		Failed  *sim.Report `json:"failed"`
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return nil, fmt.Errorf("bftsim fuzz printed no result: %w", err)
	}
	switch {
	case result.Outcome == "ok" && result.Failed == nil:
		return nil, nil
	case result.Failed == nil || result.Failed.Failure == nil:
		return nil, fmt.Errorf("bftsim fuzz has outcome %q, but names no oracle", result.Outcome)
	}
	return &failure{result.Failed.Options.Seed, result.Failed.Failure.Oracle}, nil
}

// test runs the tests of the core on a mutant. It returns the one that kills it, or "". A test that
// passes when it is tried again by itself, or fails without the patch too, fails for reasons of
// its own and is not believed.
func (r *runner) test(ctx context.Context, m *Mutant, overlay string) (string, error) {
	what := []string{"./bft/..."}
	if m.Test != "" {
		what = append(what, "-run", "^"+m.Test+"$")
	}
	failed, err := r.goTest(ctx, overlay, what...)
	if err != nil || len(failed) == 0 {
		return "", err
	}
	for _, f := range failed {
		alone := []string{f.Package, "-run", "^" + f.Test + "$"}
		again, err := r.goTest(ctx, overlay, alone...)
		if err != nil {
			return "", err
		}
		if len(again) == 0 {
			continue
		}
		if without, err := r.goTest(ctx, "", alone...); err != nil || len(without) > 0 {
			continue
		}
		return f.String(), nil
	}
	return "", fmt.Errorf("%s fails, but not each time, or without the patch too: no test can judge the mutant before that is mended", failed[0])
}

// goTest runs tests and returns those that fail.
func (r *runner) goTest(ctx context.Context, overlay string, what ...string) ([]testName, error) {
	// Vet is off: a mutant may well look odd, and that must not count as a kill.
	args := append(withOverlay([]string{"test"}, overlay), "-json", "-count=1", "-vet=off", "-timeout=5m")
	out, err := gocmd.Run(ctx, r.Root, append(args, what...)...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if failed := failedTests(out); len(failed) > 0 || err == nil {
		return failed, nil
	}
	return nil, err
}

type testName struct{ Package, Test string }

func (t testName) String() string {
	return fmt.Sprintf("%s (%s)", t.Test, strings.TrimPrefix(t.Package, gocmd.Module+"/"))
}

// failedTests lists, of what go test -json prints, the failed tests that are named after a rule,
// then the others: tests of whole runs fail for any reason, and say less about it.
func failedTests(out []byte) []testName {
	var rules, others []testName
	for line := range bytes.Lines(out) {
		var event struct{ Action, Package, Test string }
		if json.Unmarshal(line, &event) != nil || event.Action != "fail" || event.Test == "" || strings.Contains(event.Test, "/") {
			continue // whoever has a subtest that fails, fails too
		}
		name := testName{event.Package, event.Test}
		if strings.HasPrefix(event.Test, "TestRule") {
			rules = append(rules, name)
		} else {
			others = append(others, name)
		}
	}
	return append(rules, others...)
}
