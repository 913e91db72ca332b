package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/client"
)

// AddCallFlags gives a command that invokes operations the flag --semantics, see docs/calls.md.
func (s *Session) AddCallFlags(cmd *cobra.Command) {
	s.semantics = client.ExactlyOnce.String()
	cmd.Flags().StringVar(&s.semantics, "semantics", s.semantics,
		"how often it is executed if messages are lost: exactly-once, at-most-once, at-least-once or maybe")
}

// callOptions are those of the client that makes the call.
func (s *Session) callOptions() ([]client.CallOption, error) {
	if s.semantics == "" {
		return nil, nil
	}
	semantics, err := client.ParseSemantics(s.semantics)
	if err != nil {
		return nil, usage("--semantics %v", err)
	}
	return []client.CallOption{client.WithSemantics(semantics)}, nil
}

// unknownOutcome says what may have become of an operation without an answer.
func (s *Session) unknownOutcome(err error) string {
	semantics, parseErr := client.ParseSemantics(s.semantics)
	switch {
	case parseErr != nil || !errors.Is(err, client.ErrOutcomeUnknown):
	case semantics == client.AtMostOnce:
		return "a write was executed once or not at all, and is not executed any more: look before repeating it"
	case semantics == client.AtLeastOnce:
		return "a write may have been executed, more than once too, or may yet be: try again"
	case semantics == client.Maybe:
		return "a write may have been executed, or may yet be: that is all that is promised"
	}
	return "a write may have been executed, or may yet be: look before repeating it"
}
