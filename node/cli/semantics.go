package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

// AddCallFlags gives a command that invokes operations the flags --semantics, --instance, --grace, --expire and --journal, see
// docs/calls.md.
func (s *Session) AddCallFlags(cmd *cobra.Command) {
	s.semantics = client.ExactlyOnce.String()
	cmd.Flags().StringVar(&s.semantics, "semantics", s.semantics,
		"how often it is executed if messages are lost: exactly-once, at-most-once, at-least-once or maybe")
	cmd.Flags().StringVar(&s.instance, "instance", "", "end what older clients of this key and name have left outstanding")
	cmd.Flags().DurationVar(&s.grace, "grace", 0, "with --instance: only if nothing new is heard of them within this time")
	cmd.Flags().DurationVar(&s.expire, "expire", 0, "never execute it later than this time after it was sent, whatever held it up; 0 for no such bound")
	cmd.Flags().StringVar(&s.journal, "journal", "", "write the operation to this file before it is sent, see the command recover; first finish what is outstanding in it")
}

// callOptions are those of the call.
func (s *Session) callOptions() ([]client.CallOption, error) {
	if s.semantics == "" {
		return nil, nil
	}
	semantics, err := client.ParseSemantics(s.semantics)
	if err != nil {
		return nil, usage("--semantics %v", err)
	}
	opts := []client.CallOption{client.WithSemantics(semantics)}
	switch {
	case s.expire < 0:
		return nil, usage("--expire is %v: it must be positive, or 0 for no bound", s.expire)
	case s.expire > 0:
		opts = append(opts, client.TimeToLive(s.expire))
	}
	return opts, nil
}

// claims are options of the client that makes the call; none if it may be any.
func (s *Session) claims(m *config.Manifest) (opts []client.Option, err error) {
	if s.journal != "" {
		opts = append(opts, client.Journal(s.journal, client.Finish))
	}
	if most := time.Duration(m.Protocol.SessionAhead); s.grace > most {
		return nil, usage("--grace %v: it must be at most %v, the session_ahead of the manifest", s.grace, most)
	}
	switch {
	case s.instance == "" && s.grace != 0:
		return nil, usage("--grace needs --instance")
	case s.instance != "" && !exec.ValidServiceName(s.instance):
		return nil, usage("--instance %q: choose 1 to %d of a-z 0-9 . - _", s.instance, exec.MaxServiceName)
	case s.grace != 0 && s.grace < client.MinGrace:
		return nil, usage("--grace %v: it must be at least %v", s.grace, client.MinGrace)
	case s.grace != 0:
		opts = append(opts, client.GentleInstance(s.instance, s.grace))
	case s.instance != "":
		opts = append(opts, client.Instance(s.instance))
	}
	return opts, nil
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

// calling is cmd with AddCallFlags.
func (s *Session) calling(cmd *cobra.Command) *cobra.Command {
	s.AddCallFlags(cmd)
	return cmd
}
