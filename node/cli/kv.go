package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// KV is the service kv of node/app with its commands.
func KV() Service {
	return Service{Name: "kv", New: kv.New, SelfTest: selfTestKV, Short: "Keys and values", Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{kvPut(s), kvGet(s), kvDel(s), kvCas(s), kvScan(s)}
	}}
}

// Counter is the service counter of node/app with its commands.
func Counter() Service {
	return Service{Name: "counter", New: counter.New, SelfTest: selfTestCounter, Short: "A 64-bit number", Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{counterChange(s, "add", "Add to the counter, and print what it is then", counter.Add),
			counterChange(s, "mul", "Multiply the counter, and print what it is then", counter.Mul), counterGet(s)}
	}}
}

// stdinArg is the argument that stands for the standard input.
const stdinArg = "-"

// value returns an argument, or the standard input if it is "-".
func (s *Session) value(arg string) ([]byte, error) {
	if arg != stdinArg {
		return []byte(arg), nil
	}
	v, err := io.ReadAll(io.LimitReader(s.program.stdin, kv.MaxValue+1))
	if err == nil && len(v) > kv.MaxValue {
		err = fmt.Errorf("the value is longer than %d bytes: store it in parts", kv.MaxValue)
	}
	return v, err
}

// checkKV refuses a key and values that the service would refuse, with the reason.
func checkKV(key []byte, values ...[]byte) error {
	if len(key) > kv.MaxKey {
		return fmt.Errorf("the key has %d bytes: at most %d are possible", len(key), kv.MaxKey)
	}
	for _, v := range values {
		if len(v) > kv.MaxValue {
			return fmt.Errorf("the value has %d bytes: at most %d are possible, store it in parts", len(v), kv.MaxValue)
		}
	}
	return nil
}

// kvError words an error of the service for a key.
func kvError(key string, current []byte, err error) error {
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return Fail(CodeNotFound, "key %q not found", key)
	case errors.Is(err, kv.ErrCompareFailed):
		return Fail(CodeCompareFailed, "compare failed: the value of key %q is %s; nothing was changed", key, brief(current))
	}
	return err
}

// brief quotes a value for a message.
func brief(v []byte) string {
	const most = 64
	if len(v) <= most {
		return strconv.Quote(string(v))
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(string(v[:most])), len(v))
}

func kvPut(s *Session) *cobra.Command {
	return &cobra.Command{
		Use: "put KEY VALUE", Short: "Set the value of a key",
		Long:    "Sets the value of a key; the value - is read from the standard input. The command ends once the cluster has agreed.",
		Example: s.program.example("kv put a 1", "kv put file - <file"),
		Args:    nArgs(2, 2),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			value, err := s.value(args[1])
			if err != nil {
				return err
			}
			if err := checkKV([]byte(args[0]), value); err != nil {
				return err
			}
			return s.change(ctx, args[0], kv.Put([]byte(args[0]), value))
		}),
	}
}

// change invokes an operation of kv that returns no value.
func (s *Session) change(ctx context.Context, key string, op []byte) error {
	result, err := s.Invoke(ctx, "kv", op)
	if err != nil {
		return err
	}
	current, err := kv.DecodeDone(result)
	return kvError(key, current, err)
}

func kvGet(s *Session) *cobra.Command {
	var mode modeFlags
	var raw bool
	cmd := &cobra.Command{
		Use: "get KEY", Short: "Print the value of a key",
		Long: `Prints the value of a key, and a line end unless --raw. The read is linearizable: it sees every
put that had ended when it began. Without the key the exit code is 3.`,
		Example: s.program.example("kv get a", "kv get --raw file >copy"),
		Args:    nArgs(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if err := checkKV([]byte(args[0])); err != nil {
				return err
			}
			result, err := s.query(ctx, "kv", kv.Get([]byte(args[0])), &mode)
			if err != nil {
				return err
			}
			value, err := kv.DecodeGet(result)
			if err != nil {
				return kvError(args[0], nil, err)
			}
			return s.Print(value, raw)
		}),
	}
	mode.add(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "no line end after the value")
	return cmd
}

// Print writes a value to the standard output, with a line end unless raw.
func (s *Session) Print(value []byte, raw bool) error {
	if !raw {
		value = append(bytes.Clone(value), '\n')
	}
	_, err := s.program.stdout.Write(value)
	return err
}

func kvDel(s *Session) *cobra.Command {
	return &cobra.Command{
		Use: "del KEY", Short: "Delete a key",
		Long:    "Deletes a key. If it has no value the exit code is 3.",
		Example: s.program.example("kv del a"),
		Args:    nArgs(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if err := checkKV([]byte(args[0])); err != nil {
				return err
			}
			return s.change(ctx, args[0], kv.Delete([]byte(args[0])))
		}),
	}
}

func kvCas(s *Session) *cobra.Command {
	var absent bool
	cmd := &cobra.Command{
		Use: "cas KEY EXPECTED VALUE | cas --absent KEY VALUE", Short: "Set the value of a key if it is the expected one",
		Long: `Sets the value of a key if its present value is EXPECTED or, with --absent, if it has none. Otherwise nothing
changes, and the exit code is 4, or 3 if a value was expected and there is none.`,
		Example: s.program.example("kv cas a 1 2", "kv cas --absent lock me"),
		Args:    nArgs(2, 3),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if absent != (len(args) == 2) {
				return usage("kv cas takes KEY EXPECTED VALUE, or --absent KEY VALUE")
			}
			values := make([][]byte, len(args)-1)
			for i := range values {
				values[i] = []byte(args[1+i])
			}
			key := []byte(args[0])
			if err := checkKV(key, values...); err != nil {
				return err
			}
			if absent {
				return s.change(ctx, args[0], kv.Create(key, values[0]))
			}
			return s.change(ctx, args[0], kv.CompareAndSet(key, values[0], values[1]))
		}),
	}
	cmd.Flags().BoolVar(&absent, "absent", false, "expect the key to have no value")
	return cmd
}

func kvScan(s *Session) *cobra.Command {
	var mode modeFlags
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "scan [PREFIX]", Short: "List keys and values by prefix",
		Long: `Prints keys and values, one pair a line with a tab between, in order of the keys. A key or value that is not
printable text is quoted; with --json every line is an object. Pages of up to 1,000 keys are each read at one
moment; a change between two pages shows in the later one.`,
		Example: s.program.example("kv scan", "kv scan user/ --limit 10"),
		Args:    nArgs(0, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if limit < 0 {
				return usage("--limit is %d: it must be positive, or 0 for all", limit)
			}
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			if err := checkKV([]byte(prefix)); err != nil {
				return err
			}
			return s.scan(ctx, []byte(prefix), limit, asJSON, &mode)
		}),
	}
	mode.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "print at most this many pairs; 0 for all")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print objects {"key", "value"}; what is no UTF-8 as "key_base64", "value_base64"`)
	return cmd
}

// scan prints page after page.
func (s *Session) scan(ctx context.Context, prefix []byte, limit int, asJSON bool, mode *modeFlags) error {
	var after []byte
	for left := limit; ; {
		items := 0
		if limit > 0 {
			items = min(left, kv.MaxScanItems)
		}
		result, err := s.query(ctx, "kv", kv.Scan(prefix, after, items, 0), mode)
		if err != nil {
			return err
		}
		page, err := kv.DecodeScan(result)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := s.printPair(item, asJSON); err != nil {
				return err
			}
			after = item.Key
		}
		if left -= len(page.Items); !page.More || limit > 0 && left <= 0 {
			return nil
		}
	}
}

func (s *Session) printPair(item kv.Item, asJSON bool) error {
	if asJSON {
		pair := map[string]string{}
		addText(pair, "key", item.Key)
		addText(pair, "value", item.Value)
		return json.NewEncoder(s.program.stdout).Encode(pair)
	}
	_, err := fmt.Fprintf(s.program.stdout, "%s\t%s\n", printable(item.Key), printable(item.Value))
	return err
}

// addText adds a text to a JSON object; bytes that are no UTF-8 go in base64, under
// a name that says so.
func addText(pair map[string]string, name string, b []byte) {
	if utf8.Valid(b) {
		pair[name] = string(b)
		return
	}
	pair[name+"_base64"] = base64.StdEncoding.EncodeToString(b)
}

// printable returns text as it is, and quotes what would disturb a terminal or the
// form of the line.
func printable(b []byte) string {
	if utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return string(b)
	}
	return strconv.Quote(string(b))
}

func counterChange(s *Session, verb, short string, op func(int64) []byte) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NUMBER", Short: short,
		Long:    short + ". A result that does not fit 64 bits is an error, and changes nothing. A negative number is preceded by --.",
		Example: s.program.example("counter "+verb+" 5", "counter "+verb+" -- -5"),
		Args:    nArgs(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			n, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usage("%q is not a whole number of 64 bits", args[0])
			}
			result, err := s.Invoke(ctx, "counter", op(n))
			if err != nil {
				return err
			}
			return s.printCounter(result)
		}),
	}
}

func (s *Session) printCounter(result []byte) error {
	n, err := counter.DecodeValue(result)
	if errors.Is(err, counter.ErrOverflow) {
		return fmt.Errorf("the result does not fit 64 bits: the counter stays as it was")
	}
	if err != nil {
		return err
	}
	return s.Print(strconv.AppendInt(nil, n, 10), false)
}

func counterGet(s *Session) *cobra.Command {
	var mode modeFlags
	cmd := &cobra.Command{
		Use: "get", Short: "Print the counter",
		Long:    "Prints the counter. The read is linearizable: it sees every change that had ended when it began.",
		Example: s.program.example("counter get"),
		Args:    noArgs,
		RunE: s.Run(func(ctx context.Context, _ []string) error {
			result, err := s.query(ctx, "counter", counter.Get(), &mode)
			if err != nil {
				return err
			}
			return s.printCounter(result)
		}),
	}
	mode.add(cmd)
	return cmd
}
