package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

func kvTxn(s *Session) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "txn STATEMENT... | txn -", Short: "Change several keys at once, if they are as expected",
		Long: fmt.Sprintf(`Does a transaction. Each argument is a statement or, with -, each line of the standard input that is not empty and does not
begin with #:

  if value KEY = VALUE       also == != < >, byte by byte; a key without a value is only != to one
  if revision KEY = NUMBER   also == != < >; the revision of the key's last change, 0 without a value
  if exists KEY, if absent KEY
  then OPERATION, else OPERATION

  put KEY VALUE [lease ID]   get KEY   delete KEY   delete-prefix PREFIX   delete-range FROM BELOW

If every "if" holds, the operations of "then" are done, otherwise those of "else": in their order, all at once or not at
all. What has spaces or odd bytes is written in double quotes, as in Go: "two words", "\x00\n".

Printed is which branch was done, the revision, and the result of each operation. The exit code is 0 if the comparisons
held, 4 if not, 3 if there is no such lease as it names, and then nothing is done. A transaction has up to %d comparisons and %[1]d operations in each branch, its ranges delete up to %d keys,
its gets return up to %d bytes; else nothing is done.`, kv.MaxTxnOps, kv.MaxTxnDeletes, kv.MaxTxnBytes),
		Example: s.program.example(`kv txn 'if value a = 1' 'then put a 2' 'then put b "two words"' 'else get a'`, "kv txn --json - <statements"),
		Args: func(cmd *cobra.Command, args []string) error {
			return wrong.Args(1, 3*kv.MaxTxnOps)(cmd, args)
		},
		RunE: s.Run(func(ctx context.Context, args []string) error {
			txn, err := s.readTxn(args)
			if err != nil {
				return err
			}
			result, err := s.Invoke(ctx, "kv", kv.Transact(txn))
			if err != nil {
				return err
			}
			out, err := kv.DecodeTxn(result)
			if errors.Is(err, kv.ErrTooLarge) {
				return fmt.Errorf("the transaction would delete more than %d keys by ranges, or return more than %d bytes; nothing was changed: do it in parts", kv.MaxTxnDeletes, kv.MaxTxnBytes)
			}
			if err != nil {
				return leaseError(err)
			}
			return s.printTxn(txn, &out, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"held", "revision", "results"}`)
	return cmd
}

// readTxn reads the statements of a transaction.
func (s *Session) readTxn(args []string) (*kv.Txn, error) {
	place := "argument"
	if len(args) == 1 && args[0] == stdinArg {
		args, place = nil, "line"
		lines := bufio.NewScanner(s.program.input())
		lines.Buffer(nil, bft.MaxBundleBytes)
		size := 0
		for lines.Scan() {
			if size += len(lines.Text()); size > bft.MaxBundleBytes {
				return nil, usage("the transaction is larger than any operation may be: do it in parts")
			}
			args = append(args, lines.Text())
		}
		if err := lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				return nil, usage("line %d is larger than any operation may be: do it in parts", len(args)+1)
			}
			return nil, fmt.Errorf("reading line %d: %w", len(args)+1, err)
		}
	}
	txn := &kv.Txn{}
	for i, text := range args {
		text = strings.TrimSpace(text)
		if place == "line" && (text == "" || strings.HasPrefix(text, "#")) {
			continue
		}
		if err := statement(txn, text); err != nil {
			return nil, usage("%s %d, %s: %v", place, i+1, brief([]byte(text)), err)
		}
	}
	if len(txn.Then)+len(txn.Else) == 0 {
		return nil, usage("the transaction has no operation: add 'then …' or 'else …'")
	}
	if err := txn.Validate(); err != nil {
		return nil, usage("%s", strings.TrimPrefix(err.Error(), "kv: "))
	}
	return txn, nil
}

// statement adds a statement to a transaction.
func statement(txn *kv.Txn, text string) error {
	words, err := split(text)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("it is empty")
	}
	rest := words[1:]
	switch words[0] {
	case "if":
		c, err := comparison(rest)
		txn.If = append(txn.If, c)
		return err
	case "then":
		o, err := txnOperation(rest)
		txn.Then = append(txn.Then, o)
		return err
	case "else":
		o, err := txnOperation(rest)
		txn.Else = append(txn.Else, o)
		return err
	}
	return errors.New("a statement begins with if, then or else")
}

// split cuts a statement into words, of which some may be in quotes.
func split(text string) (words []string, err error) {
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		if text[0] != '"' {
			end := strings.IndexAny(text+" ", " \t")
			words, text = append(words, text[:end]), text[end:]
			continue
		}
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return nil, errors.New("a quote is not closed, or has an unknown escape")
		}
		word, err := strconv.Unquote(quoted)
		if text = text[len(quoted):]; err != nil || text != "" && text[0] != ' ' && text[0] != '\t' {
			return nil, errors.New("after a closing quote comes a space")
		}
		words = append(words, word)
	}
	return words, nil
}

func comparison(words []string) (kv.Compare, error) {
	bad := errors.New("a comparison is: if value KEY = VALUE, if revision KEY = NUMBER (or != < >), if exists KEY, if absent KEY")
	switch {
	case len(words) == 2 && words[0] == "exists":
		return kv.IfExists([]byte(words[1])), nil
	case len(words) == 2 && words[0] == "absent":
		return kv.IfAbsent([]byte(words[1])), nil
	case len(words) != 4:
		return kv.Compare{}, bad
	}
	relation, ok := map[string]kv.Relation{"=": kv.Equal, "==": kv.Equal, "!=": kv.NotEqual, "<": kv.Less, ">": kv.Greater}[words[2]]
	switch key := []byte(words[1]); {
	case !ok:
		return kv.Compare{}, bad
	case words[0] == "value":
		return kv.IfValue(key, relation, []byte(words[3])), nil
	case words[0] == "revision":
		n, err := strconv.ParseUint(words[3], 10, 62)
		if err != nil {
			return kv.Compare{}, fmt.Errorf("%q is no revision, which is a whole number", words[3])
		}
		return kv.IfRevision(key, relation, n), nil
	}
	return kv.Compare{}, bad
}

func txnOperation(words []string) (kv.Op, error) {
	bad := errors.New("an operation is: put KEY VALUE [lease ID], get KEY, delete KEY, delete-prefix PREFIX, delete-range FROM BELOW")
	if len(words) < 2 {
		return kv.Op{}, bad
	}
	key := []byte(words[1])
	switch verb, n := words[0], len(words); {
	case verb == "put" && n == 3:
		return kv.Op{Kind: kv.OpPut, Key: key, Value: []byte(words[2])}, nil
	case verb == "put" && n == 5 && words[3] == "lease":
		lease, err := strconv.ParseUint(words[4], 10, 62)
		if err != nil || lease == 0 {
			return kv.Op{}, fmt.Errorf("%q is no number of a lease", words[4])
		}
		return kv.Op{Kind: kv.OpPut, Key: key, Value: []byte(words[2]), Lease: lease}, nil
	case verb == "get" && n == 2:
		return kv.Op{Kind: kv.OpGet, Key: key}, nil
	case verb == "delete" && n == 2:
		return kv.Op{Kind: kv.OpDelete, Key: key}, nil
	case verb == "delete-prefix" && n == 2:
		return kv.DeletePrefix(key), nil
	case verb == "delete-range" && n == 3:
		return kv.Op{Kind: kv.OpDeleteRange, Key: key, Value: []byte(words[2])}, nil
	}
	return kv.Op{}, bad
}

// printTxn tells what a transaction did. That the comparisons did not hold is an exit code of its own.
func (s *Session) printTxn(txn *kv.Txn, out *kv.Outcome, asJSON bool) error {
	branch, name := txn.Then, "then"
	if !out.Held {
		branch, name = txn.Else, "else"
	}
	if len(out.Results) != len(branch) {
		return fmt.Errorf("the transaction has %d results for %d operations", len(out.Results), len(branch))
	}
	var err error
	if asJSON {
		err = s.printTxnJSON(branch, out)
	} else {
		var b strings.Builder
		fmt.Fprintf(&b, "%s: done at revision %d\n", name, out.Revision)
		for i := range branch {
			fmt.Fprintln(&b, txnLine(&branch[i], &out.Results[i]))
		}
		_, err = s.program.stdout.Write([]byte(b.String()))
	}
	if err == nil && !out.Held {
		err = Fail(CodeCompareFailed, "compare failed: the %d operations of else were done", len(branch))
	}
	return err
}

func txnLine(o *kv.Op, r *kv.OpResult) string {
	key := printable(o.Key)
	switch {
	case o.Kind == kv.OpPut:
		return "put\t" + key
	case o.Kind == kv.OpGet && r.Found:
		return "get\t" + key + "\t" + printable(r.Entry.Value)
	case o.Kind == kv.OpGet:
		return "get\t" + key + "\tnot found"
	case o.Kind == kv.OpDelete:
		return fmt.Sprintf("delete\t%s\t%d deleted", key, r.Deleted)
	}
	return fmt.Sprintf("delete\t%s to below %s\t%d deleted", key, rangeEnd(o.Value), r.Deleted)
}

// rangeEnd words the end of a range.
func rangeEnd(end []byte) string {
	if len(end) == 0 {
		return "the end"
	}
	return printable(end)
}

// txnResult is what an operation of a transaction did, as --json prints it.
type txnResult struct {
	Op          string  `json:"op"`
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"key_base64,omitempty"`
	Below       *string `json:"below,omitempty"`
	BelowBase64 []byte  `json:"below_base64,omitempty"`
	Found       *bool   `json:"found,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
	Revision    uint64  `json:"revision,omitempty"`
	Lease       uint64  `json:"lease,omitempty"`
	Deleted     *int    `json:"deleted,omitempty"`
}

func (s *Session) printTxnJSON(branch []kv.Op, out *kv.Outcome) error {
	results := make([]txnResult, len(branch))
	for i := range branch {
		o, r, line := &branch[i], &out.Results[i], &results[i]
		line.Key, line.KeyBase64 = text(o.Key)
		switch o.Kind {
		case kv.OpPut:
			line.Op = "put"
		case kv.OpGet:
			line.Op, line.Found = "get", &r.Found
			if r.Found {
				line.Value, line.ValueBase64 = text(r.Entry.Value)
				line.Revision, line.Lease = r.Entry.Revision, r.Entry.Lease
			}
		case kv.OpDelete:
			line.Op, line.Deleted = "delete", &r.Deleted
		default:
			line.Op, line.Deleted = "delete-range", &r.Deleted
			line.Below, line.BelowBase64 = text(o.Value)
		}
	}
	return s.encode(struct {
		Held     bool        `json:"held"`
		Revision uint64      `json:"revision"`
		Results  []txnResult `json:"results"`
	}{out.Held, out.Revision, results})
}
