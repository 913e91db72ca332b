package baluarte_test

import (
	"bytes"
	"context"
	"fmt"
	"go/format"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The documents are run as they stand:
//
//   - A fence "```go PATH" is a file of a program; it is written to PATH beside the clone. A fence
//     "```go" is a fragment, which must be formatted Go. "```python PATH" and "```yaml PATH" are files too, in the
//     directory where the commands run.
//   - A fence "```console" is a session: a line that begins with "$ " is run by the shell, the lines
//     after it are what it prints. "..." stands for any lines. What differs from run to run (process
//     ids, ports, keys, digests, times) may differ, but one that is printed in one place and used in
//     another must be the same in both.
//   - up (without --detach) and run stay in a shell of their own. A session that begins with output
//     instead of a command goes on in the shell of the last one; "^C" is typed there.
//   - A fence "```sh" holds commands that are not run, but checked against --help, like all others.

// docFiles are the documents, in the order in which they are run.
func docFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil || len(files) < 4 {
		t.Fatalf("documents: %v, %v", files, err)
	}
	services, err := filepath.Glob("docs/services/*.md")
	if err != nil || len(services) == 0 {
		t.Fatalf("documents of the services: %v, %v", services, err)
	}
	return slices.Concat([]string{"README.md", "README.pt-BR.md"}, files, services)
}

// fence is a fenced block of a document.
type fence struct {
	info string // what stands after the backquotes
	text string
	line int
}

func fences(t *testing.T, file string) []fence {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []fence
	open := false
	for i, line := range strings.SplitAfter(string(data), "\n") {
		info, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open:
			open = false
		case isFence:
			open, out = true, append(out, fence{strings.TrimSpace(info), "", i + 1})
		case open:
			out[len(out)-1].text += line
		}
	}
	if open {
		t.Fatalf("%s: a fence is not closed", file)
	}
	return out
}

// TestMain makes the test's own binary serve as curl, which not every machine has.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "curl" {
		code := m.Run()
		os.RemoveAll(builtDir)
		os.Exit(code)
	}
	os.Exit(standInCurl(os.Args[1:], os.Stdout, os.Stderr))
}

// builtDir is the directory of the programs once they are built.
var builtDir string

// programs builds the three commands, once, and returns their directory.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "baluarte-docs-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	out, err := exec.Command("go", "build", "-o", dir+"/", "./cmd/...").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building: %w: %s", err, out)
	}
	if _, err := exec.LookPath("curl"); err == nil {
		return dir, nil // the machine's own
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return dir, os.Symlink(self, filepath.Join(dir, "curl"))
})

func programDir(t *testing.T) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDocs runs every document.
func TestDocs(t *testing.T) {
	commands := 0
	for _, file := range docFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := newShell(t)
			for _, f := range fences(t, file) {
				switch lang, path, _ := strings.Cut(f.info, " "); {
				case lang == "go" && path != "":
					s.write(path, f.text)
				case lang == "python" && path != "", lang == "yaml" && path != "":
					s.writeFile(filepath.Join(s.dir, path), f.text)
				case lang == "go":
					if got, err := format.Source([]byte(f.text)); err != nil || string(got) != f.text {
						t.Errorf("%s:%d: not formatted Go: %v", file, f.line, err)
					}
				}
			}
			for _, f := range fences(t, file) {
				if f.info == "console" {
					commands += s.session(fmt.Sprintf("%s:%d", file, f.line), f.text)
				}
			}
		})
	}
	if commands < 40 {
		t.Errorf("only %d commands were run: the test does not see the sessions", commands)
	}
	t.Run("help", testHelp)
}

const (
	// patience bounds one command, such as go test of a new program on a busy machine, and the wait for its output.
	patience = 3 * time.Minute
	pause    = 20 * time.Millisecond
)

// volatile is what may differ between the document and a run. In cmp they are equal; in bind
// they stand for each other from then on.
var (
	volatile = regexp.MustCompile(`\bprocess \d{1,7}\b|\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z|127\.0\.0\.1:\d+|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}\b|\b[a-z2-7]{4}(-[a-z2-7]{4}){3}\b|\b\d+\.\d+s\b|\(cached\)|\bview \d+\b|\b\d{4,7}\b`)
	unbound  = regexp.MustCompile(`^(\d+\.\d+s|\(cached\)|view \d+|.*Z)$`)
	number   = regexp.MustCompile(`\d+(\.\d+)?([nµm]?s)?`)
	// ofContent is a line with the digest of a content that the document itself gave: it is the same in every run.
	ofContent = regexp.MustCompile(`^(digest|\d+ \d+ \d+) [0-9a-f]{64}$`)
	address   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	// process is a process id, which stands before an address and may have any number of digits.
	process = regexp.MustCompile(`\b(\d{1,7}) (127\.0\.0\.1:)`)
)

// shell runs the sessions of one document.
type shell struct {
	t     *testing.T
	top   string // the directory in which clone and programs lie beside each other
	dir   string
	env   []string
	bound map[string]string // of the document → of this run
	last  *foreground
}

func newShell(t *testing.T) *shell {
	bin := programDir(t)
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	// One place for all pages, one after the other: what go has compiled of the clone for one is of use to the next.
	top := filepath.Join(builtDir, "pages")
	if err := os.RemoveAll(top); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(top, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, top: top, dir: filepath.Join(top, "shell"), bound: map[string]string{}}
	s.env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GOPROXY=off", "GOSUMDB=off", "GOFLAGS=", "GOWORK=off", "BFTNODE_DIR=")
	if err := os.Symlink(root, filepath.Join(top, "baluarte")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whatever runs detached, in whatever directory
		locks, _ := filepath.Glob(filepath.Join(top, "*", "*", "up.lock"))
		for _, l := range locks {
			_ = exec.Command(filepath.Join(bin, "bftnode"), "down", "--dir", filepath.Dir(l)).Run() // fails if none runs
		}
	})
	return s
}

// write writes a file of a program beside the clone, with what is needed to resolve its imports offline.
func (s *shell) write(path, text string) {
	s.t.Helper()
	if got, err := format.Source([]byte(text)); err != nil || string(got) != text {
		s.t.Errorf("%s is not formatted Go: %v", path, err)
	}
	s.writeFile(filepath.Join(s.top, filepath.FromSlash(path)), text)
}

func (s *shell) writeFile(path, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// session runs one fence, and returns the number of its commands.
func (s *shell) session(place, text string) int {
	s.t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	commands := 0
	for len(lines) > 0 {
		command, isCommand := strings.CutPrefix(lines[0], "$ ")
		if isCommand {
			lines, commands = lines[1:], commands+1
			for strings.HasSuffix(command, "\\") {
				command, lines = strings.TrimSuffix(command, "\\")+strings.TrimPrefix(strings.TrimSpace(lines[0]), "> "), lines[1:]
			}
		}
		n := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "$ ") })
		if n < 0 {
			n = len(lines)
		}
		if err := s.do(isCommand, command, lines[:n]); err != nil {
			s.t.Fatalf("%s: %s\n%v", place, command, err)
		}
		lines = lines[n:]
	}
	return commands
}

func (s *shell) do(isCommand bool, command string, want []string) error {
	command = s.translate(command)
	words := append(strings.Fields(command), "", "")
	program := filepath.Base(words[0])
	switch {
	case !isCommand && s.last == nil:
		return fmt.Errorf("no shell to go on in")
	case !isCommand:
		return s.last.expect(s, want)
	case program == "cd":
		s.dir = filepath.Join(s.dir, words[1])
		return nil
	case !strings.Contains(command, "--detach") && (words[1] == "up" || words[1] == "run" || words[1] == "gateway" && words[2] != "token") && program != "bftsim" && program != "go":
		return s.start(command, want)
	}
	// What only looks may have to look again: replicas that are not needed lag a little.
	traces := strings.Contains(command, "--trace")
	looks := program == "curl" || words[1] == "status" || traces
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		got, err := s.run(command)
		if s.match(want, got, program == "bftsim" || traces) {
			return nil
		}
		if !looks || time.Now().After(deadline) {
			return fmt.Errorf("printed (%v):\n%s\nwant:\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// translate puts what this run has in the place of what the document has; an address that was
// not printed before gets a port that is free.
func (s *shell) translate(command string) string {
	for _, a := range address.FindAllString(command, -1) {
		if s.bound[a] == "" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				s.t.Fatal(err)
			}
			defer l.Close()
			s.bound[a] = l.Addr().String()
		}
	}
	return volatile.ReplaceAllStringFunc(command, func(v string) string {
		if b, ok := s.bound[v]; ok {
			return b
		}
		return v
	})
}

func (s *shell) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.WaitDelay = time.Second
	return cmd
}

func (s *shell) run(line string) ([]string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := s.command(ctx, line).CombinedOutput()
	return outputLines(out), err
}

func outputLines(out []byte) []string {
	text := strings.TrimSuffix(string(out), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// match compares output, and binds what differs. Of the simulator no number counts: every change
// of the protocol changes them.
func (s *shell) match(want, got []string, anyNumber bool) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if strings.TrimSpace(want[0]) == "..." {
		for skip := range len(got) + 1 {
			if s.match(want[1:], got[skip:], anyNumber) {
				return true
			}
		}
		return false
	}
	if len(got) == 0 {
		return false
	}
	bindings, ok := s.matchLine(want[0], got[0], anyNumber)
	if !ok || !s.match(want[1:], got[1:], anyNumber) {
		return false
	}
	for w, g := range bindings {
		s.bound[w] = g
	}
	return true
}

func (s *shell) matchLine(want, got string, anyNumber bool) (map[string]string, bool) {
	bindings := map[string]string{}
	want, got = strings.Join(strings.Fields(want), " "), strings.Join(strings.Fields(got), " ")
	if ofContent.MatchString(want) {
		return bindings, want == got
	}
	if w, g := process.FindStringSubmatch(want), process.FindStringSubmatch(got); w != nil && g != nil {
		if b, ok := s.bound[w[1]]; ok && b != g[1] {
			return nil, false
		}
		bindings[w[1]] = g[1]
		want, got = process.ReplaceAllString(want, "• $2"), process.ReplaceAllString(got, "• $2")
	}
	w, g := volatile.FindAllString(want, -1), volatile.FindAllString(got, -1)
	want, got = volatile.ReplaceAllString(want, "•"), volatile.ReplaceAllString(got, "•")
	if anyNumber {
		want, got = number.ReplaceAllString(strings.ReplaceAll(want, "•", "0"), "0"), number.ReplaceAllString(strings.ReplaceAll(got, "•", "0"), "0")
	}
	if want != got {
		return nil, false
	}
	for i := range min(len(w), len(g)) {
		if unbound.MatchString(w[i]) || anyNumber && len(w[i]) != 64 {
			continue
		}
		if b, ok := s.bound[w[i]]; ok && b != g[i] {
			return nil, false
		}
		bindings[w[i]] = g[i]
	}
	return bindings, true
}

// foreground is a program that stays in a shell of its own.
type foreground struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended

	mu   sync.Mutex
	out  bytes.Buffer
	seen int // lines that the document has shown
}

// Write collects what the program prints.
func (f *foreground) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

// lines are those that ended and were not shown yet.
func (f *foreground) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.out.Bytes()
	return outputLines(all[:bytes.LastIndexByte(all, '\n')+1])[f.seen:]
}

// start starts a program in a shell of its own and waits for what it is to print.
func (s *shell) start(line string, want []string) error {
	f := &foreground{cmd: s.command(context.Background(), "exec "+line), done: make(chan struct{})}
	f.cmd.Stdout, f.cmd.Stderr = f, f
	if err := f.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = f.cmd.Wait() // expect looks at how it ended
		close(f.done)
	}()
	s.t.Cleanup(func() {
		_ = f.cmd.Process.Signal(os.Interrupt) // it may have ended
		select {
		case <-f.done:
		case <-time.After(patience):
			s.t.Errorf("%s did not end after Ctrl-C", line)
			_ = f.cmd.Process.Kill()
			<-f.done
		}
	})
	s.last = f
	return f.expect(s, want)
}

// expect waits for the lines that the document shows, and types ^C where it does.
func (f *foreground) expect(s *shell, want []string) error {
	if i := slices.Index(want, "^C"); i >= 0 {
		if err := f.expect(s, want[:i]); err != nil {
			return err
		}
		if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		select {
		case <-f.done:
		case <-time.After(patience):
			return fmt.Errorf("it did not end after Ctrl-C")
		}
		if code := f.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("it ended with exit code %d after Ctrl-C", code)
		}
		return f.expect(s, want[i+1:])
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		got := f.lines()
		for n := range len(got) + 1 {
			if s.match(want, got[:n], false) {
				f.seen += n
				return nil
			}
		}
		select {
		case <-f.done:
			if code := f.cmd.ProcessState.ExitCode(); code != 0 {
				return fmt.Errorf("ended with exit code %d, printed:\n%s", code, strings.Join(f.lines(), "\n"))
			}
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("printed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// span is code within a line of text.
var (
	span    = regexp.MustCompile("`([^`\n]+)`")
	aFlag   = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
	ourProg = regexp.MustCompile(`(?:\./cmd/|^|[\s|(])(bftnode|bftsim|bftbench|\./auction)((?:\s+[a-z][a-z-]*)*)([^|#]*)`)
)

// testHelp wants each command and flag that the documents name to be in the --help of its program.
func testHelp(t *testing.T) {
	bin := programDir(t)
	cache := map[string]string{}
	help := func(program string, path []string) string {
		key := program + " " + strings.Join(path, " ")
		if _, ok := cache[key]; !ok {
			out, err := exec.Command(filepath.Join(bin, program), append(slices.Clone(path), "--help")...).CombinedOutput()
			if err != nil {
				t.Errorf("%s --help: %v", key, err)
			}
			cache[key] = string(out)
		}
		return cache[key]
	}
	has := func(text, word string) bool {
		return regexp.MustCompile(`(^|[\s,])` + regexp.QuoteMeta(word) + `([\s,]|$)`).MatchString(text)
	}
	named := 0
	check := func(place, line string) {
		for _, m := range ourProg.FindAllStringSubmatch(line, -1) {
			program, path := m[1], []string{}
			if strings.HasPrefix(program, "./") {
				program = "bftnode" // of node.Main
			}
			for _, word := range strings.Fields(m[2]) {
				text := help(program, path)
				if !strings.Contains(text, "Available Commands:") {
					break // an argument
				}
				if word != "launch" && !regexp.MustCompile(`(?m)^  `+word+`\s`).MatchString(text) {
					t.Errorf("%s: %s has no command %s", place, program, word)
					return
				}
				path, named = append(path, word), named+1
			}
			for _, f := range aFlag.FindAllStringSubmatch(m[3], -1) {
				if named++; !has(help(program, path), f[1]) {
					t.Errorf("%s: %s %s has no flag %s", place, program, strings.Join(path, " "), f[1])
				}
			}
		}
	}
	for _, file := range append(docFiles(t), "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		prose, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fences(t, file) {
			if f.info == "sh" || f.info == "console" {
				for _, line := range strings.Split(strings.ReplaceAll(f.text, "\\\n", " "), "\n") {
					if command, ok := strings.CutPrefix(line, "$ "); ok || f.info == "sh" {
						check(fmt.Sprintf("%s:%d", file, f.line), strings.TrimPrefix(command, "$ "))
					}
				}
			}
		}
		for _, m := range span.FindAllStringSubmatch(string(prose), -1) {
			check(file+": "+m[0], m[1])
		}
	}
	if named < 60 {
		t.Errorf("only %d commands and flags are named: the test does not see them", named)
	}
}

// TestServiceIsShort keeps the service of write-your-own.md at about forty lines of its own, and what the README
// shows of it as it stands there.
func TestServiceIsShort(t *testing.T) {
	const page = "docs/services/write-your-own.md"
	all := fences(t, page)
	i := slices.IndexFunc(all, func(f fence) bool { return f.info == "go auction/main.go" })
	if i < 0 {
		t.Fatalf("%s has no auction/main.go", page)
	}
	_, body, _ := strings.Cut(all[i].text, "\n)\n")
	lines := 0
	for line := range strings.SplitSeq(body, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			lines++
		}
	}
	if lines > 44 {
		t.Errorf("the service has %d lines", lines)
	}
	for _, readme := range []string{"README.md", "README.pt-BR.md"} {
		fragments := 0
		for _, f := range fences(t, readme) {
			if f.info != "go" {
				continue
			}
			if fragments++; !strings.Contains(body, f.text) {
				t.Errorf("%s:%d: not as in %s", readme, f.line, page)
			}
		}
		if fragments == 0 {
			t.Errorf("%s shows nothing of the service", readme)
		}
	}
}
