package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// KV is the service kv of node/app with its commands.
func KV() Service {
	return Service{Name: "kv", New: kv.New, SelfTest: selfTestKV, Short: "Keys and values", Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{s.calling(kvPut(s)), kvGet(s), s.calling(kvDel(s)), s.calling(kvCas(s)), kvScan(s), s.calling(kvTxn(s)), kvWatch(s), kvLease(s), kvLock(s)}
	}}
}

// Counter is the service counter of node/app with its commands.
func Counter() Service {
	s := counterService("counter", "A 64-bit number", counter.New)
	s.SelfTest = selfTestCounter("counter")
	return s
}

// CounterPassive is the service counter replicated passively, with the same commands. It is hosted if it is asked for,
// since one number is then agreed on at a time.
func CounterPassive() Service {
	s := counterService("counter-passive", "A 64-bit number, replicated passively", counter.NewPassive)
	s.SelfTest, s.Asked = selfTestCounter("counter-passive"), true
	return s
}

func counterService(name, short string, factory exec.Factory) Service {
	return Service{Name: name, New: factory, Short: short, Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{counterChange(s, name, "add", "Add to the counter, and print what it is then", counter.Add),
			counterChange(s, name, "mul", "Multiply the counter, and print what it is then", counter.Mul), counterGet(s, name)}
	}}
}

// stdinArg is the argument that stands for the standard input.
const stdinArg = "-"

// value returns an argument, or the standard input if it is "-".
func (s *Session) value(arg string) ([]byte, error) {
	if arg != stdinArg {
		return []byte(arg), nil
	}
	v, err := io.ReadAll(io.LimitReader(s.program.input(), kv.MaxValue+1))
	if err == nil && len(v) > kv.MaxValue {
		err = usage("the value is longer than %d bytes: store it in parts", kv.MaxValue)
	}
	return v, err
}

// checkKV refuses a key and values that the service would refuse, with the reason.
func checkKV(key []byte, values ...[]byte) error {
	if len(key) > kv.MaxKey {
		return usage("the key has %d bytes: at most %d are possible", len(key), kv.MaxKey)
	}
	for _, v := range values {
		if len(v) > kv.MaxValue {
			return usage("the value has %d bytes: at most %d are possible, store it in parts", len(v), kv.MaxValue)
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
	return leaseError(err)
}

// maxLease is beyond any number of a lease.
const maxLease = 1 << 62

// leaseError words an error that has to do with leases.
func leaseError(err error) error {
	switch {
	case errors.Is(err, kv.ErrNoLease):
		return Fail(CodeNotFound, "there is no such lease, or its time is over; nothing was changed: see kv lease list")
	case errors.Is(err, kv.ErrNotOwner):
		return fmt.Errorf("the lease was granted to another client key, which alone can use it; nothing was changed")
	case errors.Is(err, kv.ErrQuota):
		return fmt.Errorf("too many: a client has at most %d leases, a lease %d keys, all together %d and %d; nothing was changed: revoke some",
			kv.MaxClientLeases, kv.MaxLeaseKeys, kv.MaxLeases, kv.MaxLeasedKeys)
	}
	return err
}

// readKV asks a question. If what is read hangs on a lease whose time is over by this machine's clock, it first has the
// cluster see that, and reads again: agreed time stands still while nothing is ordered. A stale read takes what it gets.
func (s *Session) readKV(ctx context.Context, q []byte, mode *modeFlags, ends func(result []byte) time.Time) ([]byte, error) {
	result, err := s.query(ctx, "kv", q, mode)
	if err != nil || mode.stale {
		return result, err
	}
	if end := ends(result); end.IsZero() || time.Now().Before(end) {
		return result, nil
	}
	if _, err := s.Invoke(ctx, "kv", kv.Advance()); err != nil {
		return nil, err
	}
	return s.query(ctx, "kv", q, mode)
}

// firstEnd returns when the first lease ends that an entry hangs on, or zero.
func firstEnd(entries []kv.Entry) (first time.Time) {
	for _, e := range entries {
		if !e.Ends.IsZero() && (first.IsZero() || e.Ends.Before(first)) {
			first = e.Ends
		}
	}
	return first
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
	var lease uint64
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "put KEY VALUE", Short: "Set the value of a key",
		Long: `Sets the value of a key; the value - is read from the standard input. The command ends once the cluster has agreed.
With --ttl the key has a time to live: it is put on a lease of its own, which is printed, and is deleted when that ends; kv lease
keep-alive begins the time anew. With --lease the key goes with a lease that there is, see kv lease. A later put without them
takes the key off its lease.`,
		Example: s.program.example("kv put a 1", "kv put file - <file", "kv put --ttl 30s workers/a ready", "kv put --lease 7 workers/a busy"),
		Args:    wrong.Args(2, 2),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if ttl != 0 && lease != 0 {
				return usage("--ttl and --lease exclude each other: a lease has its time to live already")
			}
			if ttl != 0 {
				if err := checkTTL(ttl); err != nil {
					return err
				}
			}
			value, err := s.value(args[1])
			if err != nil {
				return err
			}
			if err := checkKV([]byte(args[0]), value); err != nil {
				return err
			}
			op := kv.Put([]byte(args[0]), value)
			switch {
			case ttl != 0:
				return s.putFor(ctx, ttl, args[0], value)
			case lease > maxLease:
				return leaseError(kv.ErrNoLease)
			case lease != 0:
				op = kv.PutOn(lease, []byte(args[0]), value)
			}
			return s.change(ctx, args[0], op)
		}),
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, fmt.Sprintf("time to live of the key, from %v to %v; 0 for ever", kv.MinTTL, kv.MaxTTL))
	cmd.Flags().Uint64Var(&lease, "lease", 0, "number of a lease of this client that the key goes with; 0 for none")
	minusArgs(cmd)
	return cmd
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
	var raw, asJSON bool
	cmd := &cobra.Command{
		Use: "get KEY", Short: "Print the value of a key",
		Long: `Prints the value of a key, and a line end unless --raw; with --json also the revision of its last change, and its lease
with the time at which that ends. The read is linearizable: it sees every put that had ended when it began. Without
the key the exit code is 3.`,
		Example: s.program.example("kv get a", "kv get --raw file >copy", "kv get --json a"),
		Args:    wrong.Args(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if raw && asJSON {
				return usage("--raw and --json exclude each other: leave one out")
			}
			key := []byte(args[0])
			if err := checkKV(key); err != nil {
				return err
			}
			result, err := s.readKV(ctx, kv.Read(key), &mode, func(result []byte) time.Time {
				e, err := kv.DecodeRead(result)
				if err != nil {
					return time.Time{}
				}
				return e.Ends
			})
			if err != nil {
				return err
			}
			e, err := kv.DecodeRead(result)
			if err != nil {
				return kvError(args[0], nil, err)
			}
			if e.Key = key; asJSON {
				return s.encode(lineOfEntry(&e))
			}
			return s.Print(e.Value, raw)
		}),
	}
	mode.add(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "no line end after the value")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"key", "value", "revision", "lease", "ends"}; what is no UTF-8 as "value_base64"`)
	return cmd
}

// text is bytes in a JSON object: as a string, or in base64 under another name if they are no UTF-8. One is nil.
func text(b []byte) (*string, []byte) {
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}

// entryLine is an entry as --json prints it.
type entryLine struct {
	Key         *string    `json:"key,omitempty"`
	KeyBase64   []byte     `json:"key_base64,omitempty"`
	Value       *string    `json:"value,omitempty"`
	ValueBase64 []byte     `json:"value_base64,omitempty"`
	Revision    uint64     `json:"revision"`
	Lease       uint64     `json:"lease,omitempty"`
	Ends        *time.Time `json:"ends,omitempty"`
}

func lineOfEntry(e *kv.Entry) (l entryLine) {
	l.Key, l.KeyBase64 = text(e.Key)
	l.Value, l.ValueBase64 = text(e.Value)
	l.Revision, l.Lease = e.Revision, e.Lease
	if !e.Ends.IsZero() {
		l.Ends = &e.Ends
	}
	return l
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
		Args:    wrong.Args(1, 1),
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
		Args:    wrong.Args(2, 3),
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
	minusArgs(cmd)
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
		Args:    wrong.Args(0, 1),
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
		result, err := s.readKV(ctx, kv.List(prefix, after, items, 0), mode, func(result []byte) time.Time {
			page, _ := kv.DecodeList(result) // an error is seen below
			return firstEnd(page.Items)
		})
		if err != nil {
			return err
		}
		page, err := kv.DecodeList(result)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := s.printPair(&item, asJSON); err != nil {
				return err
			}
			after = item.Key
		}
		if left -= len(page.Items); !page.More || limit > 0 && left <= 0 {
			return nil
		}
	}
}

func (s *Session) printPair(item *kv.Entry, asJSON bool) error {
	if asJSON {
		pair := map[string]string{}
		addText(pair, "key", item.Key)
		addText(pair, "value", item.Value)
		return s.encode(pair)
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

func counterChange(s *Session, service, verb, short string, op func(int64) []byte) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " NUMBER", Short: short,
		Long:    describes(short) + ". A result that does not fit 64 bits is an error, and changes nothing. The number may be negative.",
		Example: s.program.example(service+" "+verb+" 5", service+" "+verb+" -5"),
		Args:    wrong.Args(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			n, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usage("%q is not a whole number from %d to %d", args[0], math.MinInt64, math.MaxInt64)
			}
			result, err := s.Invoke(ctx, service, op(n))
			if err != nil {
				return err
			}
			return s.printCounter(result)
		}),
	}
	s.AddCallFlags(cmd)
	minusArgs(cmd)
	return cmd
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

func counterGet(s *Session, service string) *cobra.Command {
	var mode modeFlags
	cmd := &cobra.Command{
		Use: "get", Short: "Print the counter",
		Long:    "Prints the counter. The read is linearizable: it sees every change that had ended when it began.",
		Example: s.program.example(service + " get"),
		Args:    wrong.NoArgs,
		RunE: s.Run(func(ctx context.Context, _ []string) error {
			result, err := s.query(ctx, service, counter.Get(), &mode)
			if err != nil {
				return err
			}
			return s.printCounter(result)
		}),
	}
	mode.add(cmd)
	return cmd
}
