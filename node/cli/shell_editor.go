package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ergochat/readline"
	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

const (
	// historyLines is how many lines of the history are kept; half of them when there are more at a start.
	historyLines = 2000
	// completionTime bounds a question for keys or names, completions their number.
	completionTime = 300 * time.Millisecond
	completions    = 50
)

// editedLines are the lines typed on a terminal.
type editedLines struct{ editor *readline.Instance }

func (l editedLines) line() (string, error) {
	line, err := l.editor.ReadLine()
	if errors.Is(err, readline.ErrInterrupt) {
		return "", errInterrupted
	}
	return line, err
}

func (l editedLines) close() error { return l.editor.Close() }

// editor makes the line editor of a terminal, or what reads the lines of one that can only print.
func (sh *shell) editor(in, out *os.File) (lineReader, error) {
	prompt := sh.s.program.Name + "> "
	if os.Getenv("TERM") == "dumb" {
		return newPlainLines(prompt, in, out, sh.interrupts), nil
	}
	history, err := openHistory(sh.s.dir)
	if err != nil {
		sh.tell(errors.Join(errors.New("lines are not kept"), err))
	}
	c := &cursor{in: in, out: out, within: func(d time.Duration) bool { return readable(in, d) }}
	e, err := readline.NewFromConfig(&readline.Config{Prompt: prompt, HistoryFile: history, HistoryLimit: historyLines,
		AutoComplete: sh, Stdin: c, Stdout: c, Stderr: sh.s.program.stderr, InterruptPrompt: "^C", EOFPrompt: "exit"})
	if err != nil {
		return nil, err
	}
	return editedLines{e}, nil
}

// Do completes what stands before the cursor; it is called by the line editor, which wants what is to be added, and how
// much of the candidates there is already.
func (sh *shell) Do(line []rune, pos int) (added [][]rune, length int) {
	head := string(line[:pos])
	word := head[strings.LastIndexAny(head, " \t")+1:]
	words, err := shellquote.Split(strings.TrimSuffix(head, word))
	if err != nil || strings.ContainsAny(word, `'"\`) {
		return nil, 0 // within a quotation
	}
	for _, c := range sh.complete(words, word) {
		rest, begins := strings.CutPrefix(shellquote.Join(c), word)
		if !begins {
			continue
		}
		if !strings.HasSuffix(c, "/") { // what is in a directory may follow
			rest += " "
		}
		added = append(added, []rune(rest))
	}
	return added, len([]rune(word))
}

// complete returns what a word that begins so may become, after these words.
func (sh *shell) complete(words []string, word string) []string {
	p := sh.s.program
	if len(words) > 0 && words[0] == p.Name {
		words = words[1:]
	}
	switch {
	case len(words) == 1 && words[0] == "trace":
		return beginning(word, "json", "off", "on")
	case len(words) > 0 && words[0] == "trace":
		return nil
	}
	root := sh.commands()
	if cmd, _, err := root.Find(words); len(words) > 0 && (err != nil || cmd == root) {
		return nil // there is no such command
	}
	visit(root, func(cmd *cobra.Command) {
		if ask := sh.asks(strings.TrimPrefix(cmd.CommandPath(), p.Name+" ")); ask != nil {
			cmd.ValidArgsFunction = ask
		}
	})
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(slices.Concat([]string{cobra.ShellCompNoDescRequestCmd}, words, []string{word}))
	if err := root.ExecuteContext(context.Background()); err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	found, directive := lines[:len(lines)-1], lines[len(lines)-1]
	if directive == ":0" && len(found) == 0 { // cobra has no idea: it may be a local file
		found = localFiles(word)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func beginning(word string, all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, word) })
}

// localFiles are files and directories on this machine.
func localFiles(word string) []string {
	found, err := filepath.Glob(strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(word) + "*")
	if err != nil || len(found) > completions {
		return nil
	}
	for i, f := range found {
		if info, err := os.Stat(f); err == nil && info.IsDir() {
			found[i] = f + string(filepath.Separator)
		}
	}
	return found
}

type completer = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// asks returns what asks the cluster for the arguments of a command; nil if nothing does.
func (sh *shell) asks(command string) completer {
	place, names := 0, sh.fileNames
	switch command {
	case "invoke", "query":
		names = sh.serviceNames
	case "kv get", "kv put", "kv del", "kv cas", "kv scan", "kv watch":
		names = sh.keys
	case "files get", "files delete", "files history":
	case "files update":
		place = 1
	default:
		return nil
	}
	return func(_ *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != place {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return names(word), cobra.ShellCompDirectiveNoFileComp
	}
}

func (sh *shell) serviceNames(word string) []string {
	m, err := sh.s.manifest()
	if err != nil {
		return nil
	}
	return beginning(word, slices.Clone(m.Services)...)
}

// ask asks a service for a state of the past, which will do; nil if there is no quick answer.
func (sh *shell) ask(service string, q []byte) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	s := *sh.s
	s.background = ctx
	result, err := s.Query(ctx, service, q, client.Stale)
	if err != nil {
		return nil
	}
	return result
}

func (sh *shell) keys(word string) []string {
	page, err := kv.DecodeScan(sh.ask("kv", kv.Scan([]byte(word), nil, completions, 0)))
	if err != nil {
		return nil
	}
	var keys []string
	for _, x := range page.Items {
		if k := string(x.Key); utf8.ValidString(k) && strings.IndexFunc(k, unicode.IsControl) < 0 {
			keys = append(keys, k)
		}
	}
	return keys
}

func (sh *shell) fileNames(word string) []string {
	page, _, err := files.DecodeList(sh.ask("files", files.List(before(word), completions)))
	if err != nil {
		return nil
	}
	var names []string
	for i := range page {
		names = append(names, page[i].Name)
	}
	return beginning(word, names...)
}

// before is a name that comes before all that begin with the word.
func before(word string) string {
	if word == "" {
		return ""
	}
	last := len(word) - 1
	return word[:last] + string([]byte{word[last] - 1, '~'})
}
