package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
)

// openKV connects for several calls, or takes the connection of the shell; end gives it back.
func (s *Session) openKV() (c *client.Client, end func(), err error) {
	m, key, err := s.accessTo("kv")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(s.background, s.timeout)
	defer cancel()
	if c, end, err = s.dial(ctx, m, key); err != nil {
		return nil, nil, err
	}
	if err := s.reach(ctx, c, bft.Quorum); err != nil {
		end()
		return nil, nil, err
	}
	return c, end, nil
}

func kvWatch(s *Session) *cobra.Command {
	var from uint64
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "watch [PREFIX]", Short: "Print changes of keys as they happen", Annotations: map[string]string{goesOn: "yes"},
		Long: fmt.Sprintf(`Prints the changes of the keys that begin with PREFIX, one a line, in order, each once: its revision, what happened (put,
delete, or expire if the key's lease ended), the key and its value, with tabs between. What is not printable text is quoted.
It goes on until it is interrupted, or has printed --limit changes, also while replicas fail.

Every operation of the service that changes something has the next revision; a transaction changes all of its keys in one.
The replicas keep the last %d changes, or %d MiB of them. If changes that were asked for are no longer
kept the exit code is 3, and the standard error says from where on they are: kv scan has what came of the others.

--timeout bounds the first connection only.`, kv.MaxChanges, kv.MaxHistoryBytes>>20),
		Example: s.program.example("kv watch", "kv watch jobs/ --from 1 --json", "kv watch --limit 1 lock/backup/"),
		Args:    wrong.Args(0, 1),
		RunE: s.Run(func(_ context.Context, args []string) error {
			if limit < 0 {
				return usage("--limit is %d: it must be positive, or 0 for no limit", limit)
			}
			if from > 1<<62 {
				return usage("--from is %d: there will not be as many changes", from)
			}
			prefix := []byte(nil)
			if len(args) > 0 {
				prefix = []byte(args[0])
			}
			if err := checkKV(prefix); err != nil {
				return err
			}
			return s.watch(prefix, from, limit, asJSON)
		}),
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "first revision to tell of, 1 for the very first; 0 for what changes from now on")
	cmd.Flags().IntVar(&limit, "limit", 0, "end after this many changes; 0 for no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print objects {"revision", "change", "key", "value"}; what is no UTF-8 as "value_base64"`)
	return cmd
}

// errEnough ends a watch that has reached its limit.
var errEnough = errors.New("enough")

func (s *Session) watch(prefix []byte, from uint64, limit int, asJSON bool) error {
	c, end, err := s.openKV()
	if err != nil {
		return err
	}
	defer end()
	told, troubled := 0, false
	var printed error
	each := func(change kv.Change) error {
		troubled = false
		if printed = s.printChange(&change, asJSON); printed != nil {
			return printed
		}
		if told++; told == limit {
			return errEnough
		}
		return nil
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(s.program.stderr, "%s: %s\n", s.program.Name, fmt.Sprintf(format, args...))
	}
	options := []kvclient.WatchOption{kvclient.Trouble(func(err error) {
		if !troubled {
			say("%s; trying again", singleLine(err.Error()))
		}
		troubled = true
	})}
	if from == 0 {
		options = append(options, kvclient.Started(func(from uint64) { say("watching from revision %d on", from) }))
	}
	err = kvclient.Watch(s.background, c.Service("kv"), prefix, from, each, options...)
	var compacted *kvclient.CompactedError
	switch {
	case errors.Is(err, errEnough) || s.background.Err() != nil:
		return nil
	case printed != nil:
		return printed
	case errors.As(err, &compacted):
		return Fail(CodeNotFound, "changes before revision %d are no longer kept: read the keys with kv scan, then go on with --from %[1]d", compacted.From)
	}
	return s.explain(err, c)
}

// changeLine is a change as --json prints it.
type changeLine struct {
	Revision    uint64  `json:"revision"`
	Change      string  `json:"change"`
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"key_base64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func (s *Session) printChange(c *kv.Change, asJSON bool) error {
	if asJSON {
		line := changeLine{Revision: c.Revision, Change: c.Kind.String()}
		line.Key, line.KeyBase64 = text(c.Key)
		if c.Kind == kv.Changed {
			line.Value, line.ValueBase64 = text(c.Value)
		}
		return s.encode(line)
	}
	line := fmt.Sprintf("%d\t%v\t%s", c.Revision, c.Kind, printable(c.Key))
	if c.Kind == kv.Changed {
		line += "\t" + printable(c.Value)
	}
	_, err := fmt.Fprintln(s.program.stdout, line)
	return err
}
