//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// newPrompt is a prompt on a line of its own; one that is drawn again stands behind no line end.
const newPrompt = "\nbftnode> "

// typist has a shell on a terminal.
type typist struct {
	t    *testing.T
	mute bool // the terminal does not say where its cursor is
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{} // closed when the terminal has ended

	mu   sync.Mutex
	seen bytes.Buffer // what came since it was last looked for
}

// whereIs is a terminal's question for the place of the cursor, and here an answer.
var whereIs, here = []byte("\x1b[6n"), []byte("\x1b[1;1R")

func startShell(t *testing.T, r *running, term string, mute bool) *typist {
	t.Helper()
	x := &typist{t: t, mute: mute, cmd: exec.Command("bftnode", "shell", "--dir", r.dir), done: make(chan struct{})}
	x.cmd.Env = append(os.Environ(), "TERM="+term)
	x.cmd.Dir = t.TempDir()
	var err error
	if x.tty, err = pty.StartWithSize(x.cmd, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	go x.watch()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill() // it may have ended
		<-x.done
		x.tty.Close()
	})
	x.expect("bftnode> ")
	return x
}

// watch keeps what the shell writes, and answers where the cursor is.
func (x *typist) watch() {
	defer close(x.done)
	buf := make([]byte, 4096)
	for {
		n, err := x.tty.Read(buf)
		x.mu.Lock()
		x.seen.Write(buf[:n])
		asked := bytes.Count(x.seen.Bytes(), whereIs)
		if x.mute {
			asked = 0
		}
		// A blank and a step back, before each prompt, move the cursor off the edge of the screen.
		rest := bytes.ReplaceAll(bytes.ReplaceAll(x.seen.Bytes(), whereIs, nil), []byte(" \b"), nil)
		x.seen = *bytes.NewBuffer(bytes.Clone(rest))
		x.mu.Unlock()
		for range asked {
			if _, err := x.tty.Write(here); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write types keys.
func (x *typist) write(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.tty, keys); err != nil {
		x.t.Fatal(err)
	}
}

// expect waits until a text has appeared, and forgets what stands before and in it.
func (x *typist) expect(text string) {
	x.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		all := x.seen.String()
		if i := strings.Index(all, text); i >= 0 {
			x.seen.Next(i + len(text))
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		if time.Now().After(deadline) {
			x.t.Fatalf("%q did not appear in %q", text, all)
		}
	}
}

// line types a line, and waits for what it prints and the next prompt.
func (x *typist) line(keys, prints string) {
	x.t.Helper()
	x.write(keys + "\r")
	x.expect(prints)
	x.expect(newPrompt)
}

// end waits until the shell has ended, with an exit code.
func (x *typist) end(code int) {
	x.t.Helper()
	err := x.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		x.t.Fatal(err)
	}
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d", got, code)
	}
}

// A shell on a terminal: lines are run, completed, kept; an interrupt ends a command and not the shell.
func TestShellOnATerminal(t *testing.T) {
	r := up(t, "--app", "kv,calc,files")
	x := startShell(t, r, "xterm", false)
	x.line("kv put 'a key' \"a value\"", "")
	x.line("kv get a\\ key", "a value")
	x.line("calc (3+5)*2", "16")
	x.line("kv get nothing", `bftnode: key "nothing" not found`)
	x.line("'", "bftnode: the line ends within a quotation")
	x.line("up", "bftnode: bftnode up is no command for the shell")
	x.line("trace on", "")
	x.line("kv put colour blue", "kv operation, number ")
	x.line("trace off", "")

	// The tab key completes commands, flags, keys and files.
	x.line("cal\t2*21", "42")
	x.line("kv get col\t", "blue")
	x.line("kv get --sta\tcolour", "blue")
	if err := os.WriteFile(filepath.Join(x.cmd.Dir, "letter.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.line("files put let\tpost/letter", "post/letter: version 1, 4 bytes")
	x.line("files history po\t", "DIGEST")
	x.line("files get pos\tcopy.txt", "in copy.txt")
	if got, err := os.ReadFile(filepath.Join(x.cmd.Dir, "copy.txt")); err != nil || string(got) != "dear" {
		t.Errorf("%q, %v", got, err)
	}

	// Ctrl-C at the prompt gives up the line, in a command the command.
	x.write("kv put colour red\x03")
	x.expect(newPrompt)
	x.line("kv get colour", "blue")
	x.write("kv watch --from 1\r")
	x.expect("a value\r") // it runs
	x.write("\x03")
	x.expect(newPrompt)
	x.line("kv get colour", "blue")

	// The arrow brings back what was typed, also in the next shell; the file is the user's alone.
	x.line("\x1b[A", "blue")
	x.write("\x04")
	x.end(0)
	if info, err := os.Stat(filepath.Join(r.dir, "shell_history")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	x = startShell(t, r, "xterm", false)
	x.line("\x1b[A", "blue")
	x.write("exit\r")
	x.end(0)
}

// TestShellOnAMuteTerminal: a terminal that answers nothing, and one that can only print, run what is typed.
func TestShellOnAMuteTerminal(t *testing.T) {
	r := up(t, "--app", "kv")
	for _, term := range []string{"xterm", "dumb"} {
		x := startShell(t, r, term, true)
		x.line("kv put a 1", "")
		x.line("kv get a", "1")
		x.write("kv put a 2\x03")
		x.expect(newPrompt)
		x.line("kv get a", "1")
		x.write("kv watch --from 1\r")
		x.expect("put\ta\t1\r")
		x.write("\x03")
		x.expect(newPrompt)
		x.write("exit\r")
		x.end(0)
	}
}
