package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// serviceCommand is the command that is named like a service.
func (p *Program) serviceCommand(service Service) *cobra.Command {
	s := &Session{program: p}
	subs := service.Commands(s)
	for _, c := range subs {
		if !c.HasSubCommands() { // else those have them
			s.addFlags(c)
		}
	}
	if len(subs) == 1 && subs[0].Name() == service.Name {
		return subs[0]
	}
	return group(service.Name, service.Short, subs...)
}

// codecFlags say how operations and results of any service are written.
type codecFlags struct{ hex bool }

func (f *codecFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&f.hex, "hex", false, what+" are in hexadecimal")
}

// decode reads an operation from the argument, or from the standard input if it is "-".
func (f *codecFlags) decode(p *Program, arg string) ([]byte, error) {
	op := []byte(arg)
	if arg == stdinArg {
		var err error
		if op, err = io.ReadAll(io.LimitReader(p.input(), 2*bft.MaxBundleBytes+2)); err != nil {
			return nil, err
		}
	}
	if !f.hex {
		return op, nil
	}
	op, err := hex.DecodeString(string(bytes.TrimSpace(op)))
	if err != nil {
		return nil, usage("the operation is not hexadecimal: write two digits of 0-9 and a-f for each byte")
	}
	return op, nil
}

func (f *codecFlags) print(s *Session, result []byte) error {
	if f.hex {
		return s.Print([]byte(hex.EncodeToString(result)), false)
	}
	return s.Print(result, false)
}

func (p *Program) invokeCommand() *cobra.Command {
	var codec codecFlags
	return p.callCommand("invoke SERVICE OPERATION", "Send an operation to any service, and print its result",
		`Sends an operation, as the service defines it, to be ordered and executed exactly once. The operation - is read
from the standard input. The result is printed with a line end, or in hexadecimal with --hex.`,
		p.example("invoke counter 'add 5'", "invoke --hex kv 470161"),
		&codec, nil)
}

func (p *Program) queryCommand() *cobra.Command {
	var codec codecFlags
	var mode modeFlags
	return p.callCommand("query SERVICE QUESTION", "Ask any service, and print its answer",
		`Asks a question, as the service defines it, that changes nothing. The question - is read from the standard input.
The answer reflects every operation that ended before (it is linearizable), with --ordered too, which costs an
agreement but is never contended by writes. With --stale it may be old.`,
		p.example("query counter get", "query --ordered counter get"),
		&codec, &mode)
}

func (p *Program) callCommand(use, short, long, example string, codec *codecFlags, mode *modeFlags) *cobra.Command {
	s := &Session{program: p}
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: wrong.Args(2, 2),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			m, err := s.manifest()
			if err != nil {
				return err
			}
			service := args[0]
			if err := s.hosts(m, service); err != nil {
				return err
			}
			op, err := codec.decode(p, args[1])
			if err != nil {
				return err
			}
			var result []byte
			if mode == nil {
				result, err = s.Invoke(ctx, service, op)
			} else {
				result, err = s.query(ctx, service, op, mode)
			}
			if err != nil {
				return err
			}
			return codec.print(s, result)
		})}
	what := "the operation and the result"
	if mode != nil {
		mode.add(cmd)
		what = "the question and the answer"
	} else {
		s.AddCallFlags(cmd)
	}
	codec.add(cmd, what)
	s.addFlags(cmd)
	return cmd
}
