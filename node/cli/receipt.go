package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

func (p *Program) receiptCommand() *cobra.Command {
	return group("receipt", "Check a proof that an operation was executed", p.receiptCheckCommand())
}

func (p *Program) receiptCheckCommand() *cobra.Command {
	var dir, manifest string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a receipt, without asking the cluster",
		Long: `Checks a receipt against the manifest of the cluster, in --dir or --manifest, and prints what it proves. FILE has the
receipt, or an answer of a gateway that holds one; - is the standard input. Nobody is asked: whoever has the right manifest needs
to trust neither who shows the receipt nor the gateway that got it. If it proves nothing the exit code is 1. Of an answer
its receipt alone is checked: what stands beside that, such as a value, proves nothing.`,
		Example: p.example("receipt check answer.json", "receipt check --manifest manifest.yaml - <answer.json"),
		Args:    wrong.Args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := receiptManifest(dir, manifest)
			if err != nil {
				return err
			}
			text, within, err := p.readReceipt(args[0])
			if err != nil {
				return err
			}
			r, err := receipt.Parse(text)
			if err != nil {
				return noReceipt(args[0], text, err)
			}
			if err := r.Check(m); err != nil {
				return err
			}
			return p.printReceipt(r, m, within, asJSON)
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&manifest, "manifest", "", "manifest of the cluster, instead of that in --dir")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the receipt as an object")
	return cmd
}

func receiptManifest(dir, manifest string) (*config.Manifest, error) {
	if manifest != "" {
		return readManifest(manifest)
	}
	c, err := openCluster(dir)
	if err != nil {
		return nil, err
	}
	return c.manifest, nil
}

// maxReceiptFile bounds the file of a receipt.
const maxReceiptFile = 16 << 20

// readReceipt returns the text of a receipt, and whether it stands within an answer.
func (p *Program) readReceipt(path string) (text []byte, within bool, err error) {
	in := p.input()
	if path != stdinArg {
		f, err := os.Open(path)
		if err != nil {
			return nil, false, wrong.File(path, err, "name the file of a receipt")
		}
		defer f.Close()
		in = f
	}
	text, err = io.ReadAll(io.LimitReader(in, maxReceiptFile+1))
	if err != nil {
		return nil, false, wrong.File(path, err, "name the file of a receipt")
	}
	var answer struct {
		Receipt json.RawMessage `json:"receipt"`
		Error   string          `json:"receipt_error"`
	}
	if json.Unmarshal(text, &answer) == nil {
		if answer.Error != "" {
			return nil, false, fmt.Errorf("the answer has no receipt: %s", answer.Error)
		}
		if len(answer.Receipt) > 0 {
			return answer.Receipt, true, nil
		}
	}
	return text, false, nil
}

// noReceipt says what a text is that cannot be read as a receipt.
func noReceipt(path string, text []byte, err error) error {
	if path == stdinArg {
		path = "the standard input"
	}
	reason := strings.TrimPrefix(err.Error(), "receipt: ")
	var answer struct {
		Format  *int `json:"format"`
		Cluster any  `json:"cluster"`
	}
	switch json.Unmarshal(text, &answer); {
	case !json.Valid(text):
		reason = "it is not JSON"
	case answer.Format == nil && answer.Cluster == nil:
		reason = "it names neither a format nor a cluster"
	}
	return usage("%s is no receipt: %s; give one, or the answer of a gateway that was asked for it", path, reason)
}

func (p *Program) printReceipt(r *receipt.Receipt, m *config.Manifest, within, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(r)
	}
	names := make([]string, len(r.Signatures))
	for i, s := range r.Signatures {
		for _, member := range m.Members {
			if member.Key.PublicKey == s.Key {
				names[i] = member.Name // what the receipt says of names proves nothing
			}
		}
	}
	lines := [][2]string{
		{"cluster", r.Cluster.String()},
		{"client", r.Client.String()},
		{"service", r.Service},
		{"operation", quoted(r.Operation)},
		{"result", quoted(r.Result)},
		{"executed", fmt.Sprintf("number %d, at %s", r.Executed, r.Time.Format(time.RFC3339Nano))},
		{"signed by", strings.Join(names, ", ")},
	}
	if within {
		lines = append(lines, [2]string{"unchecked", "what stands beside the receipt in the answer"})
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(p.stdout, "%-10s  %s\n", line[0], line[1]); err != nil {
			return err
		}
	}
	return nil
}

// quoted shows bytes on a line, of many the first.
func quoted(b []byte) string {
	const most = 256
	tail := ""
	if len(b) > most {
		tail = fmt.Sprintf("… (%d bytes)", len(b))
		for b = b[:most]; len(b) > 0 && !utf8.RuneStart(b[len(b)-1]); {
			b = b[:len(b)-1]
		}
	}
	return strconv.Quote(string(b)) + tail
}
