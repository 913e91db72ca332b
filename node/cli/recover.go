package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
)

const recoverLong = `Deals with the operations that a journal has outstanding because the call that wrote it (with --journal) was
killed, and prints what became of each. They are repeated, so that each is executed once; with --exterminate
they are ended instead: what was not executed before never will be.`

func (p *Program) recoverCommand() *cobra.Command {
	s := &Session{program: p}
	var exterminate, asJSON bool
	cmd := &cobra.Command{
		Use: "recover JOURNAL", Short: "Finish or end what a killed call has left outstanding",
		Long: recoverLong, Example: p.example("recover jobs.journal", "recover --exterminate jobs.journal"),
		Args: wrong.Args(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if _, err := os.Stat(args[0]); err != nil {
				return wrong.File(args[0], err, "name the journal that a call was given with --journal")
			}
			mode := client.Finish
			if exterminate {
				mode = client.Exterminate
			}
			outcomes, err := s.recover(ctx, args[0], mode)
			if err != nil {
				return err
			}
			return s.printOutcomes(outcomes, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&exterminate, "exterminate", false, "end them instead of repeating them")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"service", "operation", "outcome", "result", "error"} for each; bytes in base64`)
	s.addFlags(cmd)
	return cmd
}

func (s *Session) recover(ctx context.Context, path string, mode client.Recovery) ([]client.Recovered, error) {
	m, key, err := s.access()
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, m, key, client.Ephemeral(), client.NoWait(), client.Journal(path, mode))
	if err != nil {
		return nil, badJournal(path, err)
	}
	defer c.Close()
	if err := s.reach(ctx, c, bft.Quorum); err != nil {
		return nil, err
	}
	outcomes, err := c.Recovered(ctx)
	if err != nil {
		return nil, s.explain(err, c)
	}
	return outcomes, nil
}

// badJournal words the failure of a client that was to use a journal.
func badJournal(path string, err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "client: journal "); ok {
		return usage("the journal %s", text)
	}
	return wrong.NewFile(path, err, "name another file")
}

// The outcomes of an operation.
const (
	outcomeExecuted    = "executed"
	outcomeNotExecuted = "not executed"
	outcomeUnknown     = "unknown"
)

func outcomeOf(o *client.Recovered) string {
	switch {
	case o.Err == nil:
		return outcomeExecuted
	case errors.Is(o.Err, client.ErrOutcomeUnknown):
		return outcomeUnknown
	}
	return outcomeNotExecuted
}

func (s *Session) printOutcomes(outcomes []client.Recovered, asJSON bool) error {
	unknown := 0
	table := tabwriter.NewWriter(s.program.stdout, 0, 0, 2, ' ', 0)
	for i := range outcomes {
		o := &outcomes[i]
		outcome, text := outcomeOf(o), ""
		if outcome == outcomeUnknown {
			unknown++
		}
		if o.Err != nil {
			text = o.Err.Error()
		}
		if asJSON {
			line := struct {
				Service   string `json:"service"`
				Operation []byte `json:"operation"`
				Outcome   string `json:"outcome"`
				Result    []byte `json:"result,omitempty"`
				Error     string `json:"error,omitempty"`
			}{o.Service, o.Op, outcome, o.Reply, text}
			if err := json.NewEncoder(s.program.stdout).Encode(line); err != nil {
				return err
			}
			continue
		}
		if o.Err == nil {
			text = brief(o.Reply)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", o.Service, brief(o.Op), outcome, text)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case unknown > 0:
		return Fail(CodeTimeout, "the outcome of %d of %d operations cannot be known any more: look before repeating them", unknown, len(outcomes))
	case len(outcomes) == 0:
		fmt.Fprintf(s.program.stderr, "%s: nothing is outstanding\n", s.program.Name)
	}
	return nil
}
