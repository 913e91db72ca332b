package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// selfTestTimeout bounds each check of the command selftest without --timeout.
const selfTestTimeout = 30 * time.Second

// The rounds in which selftest calls each service.
const (
	roundFresh  = iota // all replicas are there, the service is new
	roundKilled        // the primary is dead
	roundBack          // it was started again
	rounds
)

// roundNames say when a service is called.
var roundNames = [rounds]string{"", ", primary killed", ", primary back"}

// SelfTestResult is what selftest --json prints.
type SelfTestResult struct {
	OK     bool            `json:"ok"` // all checks are
	Millis int64           `json:"millis"`
	Checks []SelfTestCheck `json:"checks"` // in their order
	// NotCalled are the services that have no SelfTest.
	NotCalled []string `json:"not_called,omitempty"`
}

// SelfTestCheck is one line of it.
type SelfTestCheck struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Millis int64  `json:"millis"`
	// Text is what was seen to hold, or what did not.
	Text string `json:"text"`
}

func (p *Program) selfTestCommand() *cobra.Command {
	var asJSON bool
	timeout := selfTestTimeout
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Try everything out on a cluster of its own, which is gone afterwards",
		Long: `Starts four replicas on the loopback address, in a temporary directory; calls each service; kills the primary and calls
them again; starts it again and calls them again; compares what the replicas have; ends them and removes the directory. It touches
no other cluster. Each line says what was checked and what was seen. The exit code is 0 if all checks are ok, else 1.`,
		Example: p.example("selftest", "selftest --json"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usage("--timeout is %v: it must be positive, such as 30s", timeout)
			}
			t := &selfTest{program: p, timeout: timeout, out: p.stdout}
			if asJSON {
				t.out = io.Discard
			}
			result, err := t.run(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(p.stdout).Encode(result); err != nil {
					return err
				}
			}
			return result.failure()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"ok", "millis", "checks": [{"name", "ok", "millis", "text"}], "not_called": [service]}`)
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "a check that takes longer has failed")
	return cmd
}

// failure names the checks that are not ok, as the error of the command.
func (r *SelfTestResult) failure() error {
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c.Name)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d checks failed: %s", len(failed), len(r.Checks), strings.Join(failed, "; "))
}

// check makes one check and prints its line. It returns whether the check is ok. An interrupted one is not told of.
func (t *selfTest) check(ctx context.Context, name string, f func(context.Context) (string, error)) bool {
	if ctx.Err() != nil {
		return false
	}
	within, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	began := time.Now()
	text, err := f(within)
	if ctx.Err() != nil {
		return false
	}
	took, result := time.Since(began), "ok"
	if err != nil {
		result, text = "FAILED", singleLine(err.Error())
	}
	t.result.Checks = append(t.result.Checks, SelfTestCheck{name, err == nil, took.Milliseconds(), text})
	t.line(name, result, fmt.Sprintf("%.1fs", took.Seconds()), text)
	return err == nil
}

// line prints a row as soon as it is known; so the widths of its columns are fixed.
func (t *selfTest) line(name, result, took, text string) {
	widest := len("replicas agree")
	for _, s := range t.program.Services {
		widest = max(widest, len(s.Name))
		if s.SelfTest != nil {
			widest = max(widest, len(s.Name)+len(roundNames[roundKilled]))
		}
	}
	fmt.Fprintf(t.out, "%-*s  %-6s  %5s  %s\n", widest, name, result, took, text)
}
