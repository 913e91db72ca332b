package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/app/echo"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// Echo is the service echo of node/app with its commands.
func Echo() Service {
	return Service{Name: "echo", New: echo.New, SelfTest: selfTestEcho, Short: "Messages that come back, and their history", Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{echoSend(s), echoHistory(s)}
	}}
}

func echoSend(s *Session) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "send TEXT", Short: "Send a message, and print what came back",
		Long: fmt.Sprintf(`Sends a message, and prints its number, a tab and the text as the cluster returned them. The text - is read from the
standard input. A message has at most %d bytes; one that is not a line of printable text is printed quoted.`, echo.MaxText),
		Example: s.program.example("echo send 'good morning'", "echo send --json - <file"),
		Args:    wrong.Args(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			text := []byte(args[0])
			if args[0] == stdinArg {
				var err error
				if text, err = io.ReadAll(io.LimitReader(s.program.input(), echo.MaxText+1)); err != nil {
					return err
				}
			}
			if len(text) > echo.MaxText {
				return usage("the message has more than %d bytes: send it in parts", echo.MaxText)
			}
			result, err := s.Invoke(ctx, "echo", echo.Send(string(text)))
			if err != nil {
				return err
			}
			m, err := echo.DecodeSend(result)
			if err != nil {
				return err
			}
			return s.printMessage(m, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"number", "text"}; what is no UTF-8 as "text_base64"`)
	s.AddCallFlags(cmd)
	minusArgs(cmd)
	return cmd
}

// printMessage prints a line for a message.
func (s *Session) printMessage(m echo.Message, asJSON bool) error {
	if asJSON {
		line := map[string]any{"number": m.Number, "text": m.Text}
		if !utf8.ValidString(m.Text) {
			line = map[string]any{"number": m.Number, "text_base64": []byte(m.Text)}
		}
		return json.NewEncoder(s.program.stdout).Encode(line)
	}
	_, err := fmt.Fprintf(s.program.stdout, "%d\t%s\n", m.Number, printable([]byte(m.Text)))
	return err
}

// defaultHistory is how many messages are printed without --limit.
const defaultHistory = 100

func echoHistory(s *Session) *cobra.Command {
	var mode modeFlags
	var from uint64
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "history", Short: "Print the messages of this client",
		Long: fmt.Sprintf(`Prints the messages that were sent with the client key in --dir, in order, one a line: its number, a tab and the text,
quoted if it is not a line of printable text. The cluster keeps the last %d messages of all clients together.
If there are more than --limit the standard error says how to go on. Pages of up to %d messages are each read at
one moment, and see every message that had been sent when the read began.`, echo.MaxMessages, echo.MaxPage),
		Example: s.program.example("echo history", "echo history --from 101 --limit 10", "echo history --limit 0 --json"),
		Args:    wrong.NoArgs,
		RunE: s.Run(func(ctx context.Context, _ []string) error {
			if limit < 0 {
				return usage("--limit is %d: it must be positive, or 0 for all messages", limit)
			}
			return s.history(ctx, from, limit, asJSON, &mode)
		}),
	}
	cmd.Flags().Uint64Var(&from, "from", 1, "number of the first message")
	cmd.Flags().IntVar(&limit, "limit", defaultHistory, "print at most this many messages, 0 for all")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print objects {"number", "text"}; what is no UTF-8 as "text_base64"`)
	mode.add(cmd)
	return cmd
}

// history prints page after page.
func (s *Session) history(ctx context.Context, from uint64, limit int, asJSON bool, mode *modeFlags) error {
	key, err := s.key()
	if err != nil {
		return err
	}
	for left := limit; ; {
		answer, err := s.query(ctx, "echo", echo.History(key.Public(), from, min(left, echo.MaxPage)), mode)
		if err != nil {
			return err
		}
		page, err := echo.DecodeHistory(answer)
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if err := s.printMessage(m, asJSON); err != nil {
				return err
			}
			from = m.Number + 1
		}
		left -= len(page.Messages)
		if page.More && limit > 0 && left <= 0 {
			_, err = fmt.Fprintf(s.program.stderr, "%s: there are more: go on with --from %d\n", s.program.Name, from)
		}
		if !page.More || limit > 0 && left <= 0 {
			return err
		}
	}
}
