package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

// historyFile is the file in the directory of the cluster in which the shell keeps what was typed.
const historyFile = "shell_history"

// notInShell are commands that a line of the shell cannot be, for they do not end by themselves or read what is typed.
var notInShell = []string{"up", "launch", "run", "gateway", "shell", "files menu"}

const shellLong = `Reads lines and runs each as a command of %[1]s, over one connection to the cluster that is kept open: %[3]s where
you would type %[1]s %[3]s otherwise. Words are quoted as in a POSIX shell; nothing is expanded, and * and ( are
characters like others. A line that begins with # is a comment. What fails is told, and the shell goes on. Beside the commands there are:

  trace on|off|json   print where the time of each call went, see --trace
  exit                leave; the end of the input does so too (Ctrl-D)

On a terminal lines can be edited, are kept in %[2]s in the directory of the cluster, and completed with the tab key:
commands, flags, keys and names of files. Ctrl-C ends the running command, and not the shell. On one that can only print
(TERM=dumb) lines are read as they are typed.

If the input is no terminal it is a script: there are no prompts, an interrupt ends it, and the exit code is that of the
first line that failed.`

// atPrompt is the help within a shell.
const atPrompt = `Commands are typed without %[1]s before them. help COMMAND, or COMMAND --help, tells more of one; exit, or Ctrl-D, leaves.`

// traceWords is how the command of the shell that traces is written.
const traceWords = "trace on|off|json"

func (p *Program) shellCommand() *cobra.Command {
	s := &Session{program: p}
	cmd := &cobra.Command{
		Use: "shell", Short: "Type commands at a prompt",
		Long:    fmt.Sprintf(shellLong, p.Name, historyFile, p.firstCalls()[0]),
		Example: p.example("shell", "shell <commands.txt"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.Run(func(context.Context, []string) error { return s.shell(cmd.Context()) })(cmd, nil)
		},
	}
	s.addFlags(cmd)
	return cmd
}

// shell is a conversation. Each line is run by a command tree of its own, so that no flag outlives its line.
type shell struct {
	s     *Session
	kept  *keptClient
	lines lineReader
	// interrupts and ends are signals to a shell on a terminal; both nil in a script, where the context ends.
	interrupts chan os.Signal
	terminal   bool
	trace      string // the value of --trace for lines without it
}

// lineReader gives the lines of a shell, io.EOF after the last one.
type lineReader interface {
	line() (string, error)
	close() error
}

// keptClient is the connection that calls of a shell have in common.
type keptClient struct {
	dir    string
	client *client.Client
}

// dial connects to the cluster, or takes the connection that a shell keeps; end gives it back.
func (s *Session) dial(ctx context.Context, m *config.Manifest, key *crypto.PrivateKey) (c *client.Client, end func(), err error) {
	k := s.program.kept
	opts, err := s.claims(m)
	if err != nil {
		return nil, nil, err
	}
	if len(opts) > 0 {
		k = nil // the kept client claims nothing
	}
	if k != nil && k.dir == s.dir && k.client != nil {
		return k.client, func() {}, nil
	}
	if c, err = client.Dial(ctx, m, key, append(opts, client.Ephemeral(), client.NoWait())...); err != nil {
		if s.journal != "" {
			err = badJournal(s.journal, err)
		}
		return nil, nil, err
	}
	if k != nil && k.dir == s.dir {
		k.client = c
		return c, func() {}, nil
	}
	return c, func() { c.Close() }, nil
}

// drop ends the connection: a call that was given up may still be under way on it.
func (k *keptClient) drop() {
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
}

// shell runs the lines of the standard input.
func (s *Session) shell(ctx context.Context) error {
	if _, err := s.manifest(); err != nil { // before a prompt invites commands that cannot work
		return err
	}
	if _, err := s.key(); err != nil {
		return err
	}
	p := *s.program
	p.kept = &keptClient{dir: s.dir}
	sh := &shell{s: &Session{program: &p, dir: s.dir, timeout: s.timeout}, kept: p.kept, trace: s.trace}
	defer sh.kept.drop()
	in, inOK := p.stdin.(*os.File)
	out, outOK := p.stdout.(*os.File)
	if sh.terminal = inOK && outOK && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())); !sh.terminal {
		sh.lines = &scriptLines{in: bufio.NewScanner(p.input())}
		p.stdin = scriptInput{}
		return sh.script(ctx)
	}
	// The process's context ends with the first interrupt, which here ends a command only.
	sh.interrupts = make(chan os.Signal, 1)
	lines, err := sh.editor(in, out)
	if err != nil {
		return err
	}
	sh.lines = lines
	defer lines.close()
	signal.Notify(sh.interrupts, os.Interrupt)
	defer signal.Stop(sh.interrupts)
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, func() { lines.close() })()
	return sh.converse(ctx)
}

// script runs all lines, and fails like the first that did.
func (sh *shell) script(ctx context.Context) error {
	done, failed, code := 0, 0, CodeOK
	for {
		line, err := sh.lines.line()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the script: %w", err)
		}
		ran, leave, err := sh.run(ctx, line)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if ran {
			done++
		}
		if err != nil {
			sh.tell(err)
			if failed++; code == CodeOK {
				code = codeOf(err)
			}
		}
		if leave {
			break
		}
	}
	if failed > 0 {
		return Fail(code, "%d of %d lines of the script failed", failed, done)
	}
	return nil
}

// converse runs what is typed until the end of the input.
func (sh *shell) converse(ctx context.Context) error {
	for {
		line, err := sh.lines.line()
		switch {
		case errors.Is(err, errInterrupted):
			continue // what was typed is gone
		case ctx.Err() != nil || err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading a line: %w", err)
		}
		_, leave, err := sh.interruptible(ctx, line)
		if err != nil {
			sh.tell(err)
		}
		if leave || ctx.Err() != nil {
			return nil
		}
	}
}

// interruptible runs a line, which an interrupt ends.
func (sh *shell) interruptible(ctx context.Context, line string) (ran, leave bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for len(sh.interrupts) > 0 { // it came too late for the line before
		<-sh.interrupts
	}
	go func() {
		select {
		case <-sh.interrupts:
			fmt.Fprintln(sh.s.program.stderr) // the terminal has written ^C
			cancel()
		case <-ctx.Done():
		}
	}()
	return sh.run(ctx, line)
}

func (sh *shell) tell(err error) {
	fmt.Fprintf(sh.s.program.stderr, "%s: %s\n", sh.s.program.Name, singleLine(err.Error()))
}

// run runs a line. It is not ran if there is nothing on it.
func (sh *shell) run(ctx context.Context, line string) (ran, leave bool, err error) {
	p := sh.s.program
	if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
		return false, false, nil
	}
	words, err := shellquote.Split(line)
	if err != nil {
		return true, false, usage("the line ends within a quotation: %q", line)
	}
	if words[0] == p.Name { // a line copied from a document
		words = words[1:]
	}
	switch {
	case len(words) == 1 && (words[0] == "exit" || words[0] == "quit"):
		return true, true, nil
	case len(words) > 0 && words[0] == "trace":
		return true, false, sh.setTrace(words[1:])
	}
	root := sh.commands()
	cmd, _, err := root.Find(words)
	if err == nil && sh.refuses(cmd) {
		return true, false, usage("%s is no command for the shell: leave it with exit first", cmd.CommandPath())
	}
	root.SetArgs(words)
	err = root.ExecuteContext(ctx)
	if ctx.Err() != nil || codeOf(err) == CodeTimeout || codeOf(err) == CodeNoQuorum {
		sh.kept.drop()
	}
	return true, false, err
}

// commands is a tree of commands for one line, with the flags of the shell as the defaults of its own.
func (sh *shell) commands() *cobra.Command {
	p := sh.s.program
	root := p.root()
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	defaults := map[string]string{"dir": sh.s.dir, "timeout": sh.s.timeout.String(), "trace": sh.trace}
	visit(root, func(cmd *cobra.Command) {
		for name, value := range defaults {
			if f := cmd.Flags().Lookup(name); f != nil && value != "" {
				_ = f.Value.Set(value) // it was a value of the same flag before
				f.DefValue = value
			}
		}
		if sh.refuses(cmd) {
			cmd.Hidden = true
		}
	})
	root.Long, root.Example = fmt.Sprintf(atPrompt, p.Name), ""
	// Those of the shell itself are run before they come here; the tree has them for its help and completion.
	own := func(*cobra.Command, []string) {}
	root.AddCommand(&cobra.Command{Use: traceWords, Short: "Print where the time of each call went", Run: own},
		&cobra.Command{Use: "exit", Aliases: []string{"quit"}, Short: "Leave the shell", Args: wrong.NoArgs, Run: own})
	return root
}

// refuses tells whether a command is not for the shell.
func (sh *shell) refuses(cmd *cobra.Command) bool {
	return slices.Contains(notInShell, strings.TrimPrefix(cmd.CommandPath(), sh.s.program.Name+" "))
}

func visit(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		visit(c, f)
	}
}

func (sh *shell) setTrace(words []string) error {
	values := map[string]string{"on": traceAuto, "off": traceOff, "json": traceJSON}
	if len(words) == 1 && values[words[0]] != "" {
		sh.trace = values[words[0]]
		return nil
	}
	return usage("the usage is: %s", traceWords)
}

// scriptLines are the lines of a script.
type scriptLines struct{ in *bufio.Scanner }

func (l *scriptLines) line() (string, error) {
	if l.in.Scan() {
		return l.in.Text(), nil
	}
	if err := l.in.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

func (l *scriptLines) close() error { return nil }

// scriptInput stands for the standard input of the commands in a script.
type scriptInput struct{}

func (scriptInput) Read([]byte) (int, error) {
	return 0, usage("the standard input is the script: give the text as an argument")
}

// openHistory makes the file of the history, for the user alone, and leaves the newest lines in it.
func openHistory(dir string) (string, error) {
	path := filepath.Join(dir, historyFile)
	data, err := os.ReadFile(path)
	switch lines := strings.SplitAfter(string(data), "\n"); {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", err
	case err == nil && len(lines) <= historyLines:
		return path, os.Chmod(path, 0o600)
	case err == nil:
		data = []byte(strings.Join(lines[len(lines)-historyLines/2:], ""))
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}
