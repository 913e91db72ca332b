package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const menuLine = "[u] upload  [d] delete  [h] history  [t] details  [s] quit"

func filesMenu(s *Session) *cobra.Command {
	return &cobra.Command{
		Use: "menu", Short: "Upload, delete and look at files by a menu",
		Long: `Shows a menu and does what is chosen, until [s] or the end of the input:

  ` + menuLine + `

Upload asks for a local file and a name, and before a file of this name gets a new version. Details and history ask for a
name; an empty line means all files. If the input is no terminal there are no prompts, and the exit code is that of the
first request that failed.`,
		Example: s.program.example("files menu"),
		Args:    wrong.NoArgs,
		RunE: s.runFiles(func(c *cabinet, _ []string) error {
			m := &menu{c: c, lines: make(chan string), quit: make(chan struct{})}
			defer close(m.quit)
			f, ok := s.program.stdin.(*os.File)
			m.prompts = ok && term.IsTerminal(int(f.Fd()))
			go m.read(s.program.stdin)
			return m.run()
		}),
	}
}

// menu is a conversation.
type menu struct {
	c       *cabinet
	prompts bool
	// lines come from a goroutine of their own, so that an interrupt need not wait for a line.
	lines chan string
	quit  chan struct{} // closed when nobody wants lines any more
	err   error         // why there are no more lines, if it is not the end; set before lines is closed
}

func (m *menu) read(r io.Reader) {
	in := bufio.NewScanner(r)
	for in.Scan() {
		select {
		case m.lines <- strings.TrimSpace(in.Text()):
		case <-m.quit:
			return
		}
	}
	m.err = in.Err()
	close(m.lines)
}

// errInterrupted ends the menu by a signal.
var errInterrupted = errors.New("interrupted")

// line asks for a line. The error is io.EOF at the end of the input.
func (m *menu) line(prompt string) (string, error) {
	if m.prompts {
		if _, err := fmt.Fprint(m.c.s.program.stdout, prompt); err != nil {
			return "", err
		}
	}
	select {
	case l, ok := <-m.lines:
		switch {
		case ok:
			return l, nil
		case m.err != nil:
			return "", m.err
		}
		return "", io.EOF
	case <-m.c.ctx.Done():
		return "", errInterrupted
	}
}

// run does what is chosen. What fails is told, and the menu goes on.
func (m *menu) run() error {
	done, failed, code := 0, 0, CodeOK
	for {
		choice, err := m.line(menuLine + "\n> ")
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF || choice == "s" {
			break
		}
		if choice == "" {
			continue
		}
		err = filesError(m.do(choice))
		if errors.Is(err, errInterrupted) || errors.Is(m.c.ctx.Err(), context.Canceled) {
			return errInterrupted
		}
		if done++; err != nil {
			failed++
			if code == CodeOK {
				code = codeOf(err)
			}
			fmt.Fprintf(m.c.s.program.stderr, "%s: %s\n", m.c.s.program.Name, singleLine(err.Error()))
		}
	}
	if failed > 0 && !m.prompts {
		return Fail(code, "%d of %d requests of the menu failed", failed, done)
	}
	return nil
}

func (m *menu) do(choice string) error {
	switch choice {
	case "u":
		return m.upload()
	case "d":
		name, err := m.name("name: ")
		if err != nil {
			return err
		}
		r, err := m.c.delete(name)
		if err != nil {
			return err
		}
		return m.c.s.printDone(&r, false)
	case "h":
		name, err := m.optional("name, or nothing for all: ")
		if err != nil {
			return err
		}
		return m.c.printHistory(name, 0, false)
	case "t":
		return m.details()
	}
	return usage("there is no [%s] in the menu: %s", choice, menuLine)
}

// name asks for the name of a file.
func (m *menu) name(prompt string) (string, error) {
	name, err := m.line(prompt)
	if err != nil {
		return "", m.cut(err)
	}
	return name, checkFileName(name)
}

// optional asks for a name, or nothing.
func (m *menu) optional(prompt string) (string, error) {
	name, err := m.line(prompt)
	if err == io.EOF || err == nil && name == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return name, checkFileName(name)
}

// cut is the error for an input that ends within a request.
func (m *menu) cut(err error) error {
	if err == io.EOF {
		return usage("the input ended within a request")
	}
	return err
}

// upload asks for a local file and its name.
func (m *menu) upload() error {
	path, err := m.line("local file: ")
	if err != nil {
		return m.cut(err)
	}
	name, err := m.line(fmt.Sprintf("name [%s]: ", filepath.Base(path)))
	if err != nil && err != io.EOF {
		return err
	}
	if name == "" {
		name = filepath.Base(path)
	}
	if err := checkFileName(name); err != nil {
		return err
	}
	local, err := openLocal(path)
	if err != nil {
		return err
	}
	defer local.Close()
	if err := checkFileSize(local); err != nil {
		return err
	}
	mode, err := m.mode(name)
	if err != nil {
		return err
	}
	r, err := m.c.upload(mode, name, local)
	if err != nil {
		return err
	}
	return m.c.s.printDone(&r, false)
}

// mode asks whether a file that is there is to get a new version.
func (m *menu) mode(name string) (files.Mode, error) {
	versions, err := m.c.versions(name)
	if err != nil || len(versions) == 0 {
		return files.Create, err
	}
	answer, err := m.line(fmt.Sprintf("%s is there, in version %d: store the next one? [y/N] ", name, versions[len(versions)-1].Version))
	if err != nil && err != io.EOF {
		return 0, err
	}
	if answer != "y" && answer != "Y" {
		return 0, Fail(CodeCompareFailed, "%s was left as it is", name)
	}
	return files.Update, nil
}

// details prints all that is known of a file, or of all files and what they use of the limits.
func (m *menu) details() error {
	name, err := m.optional("name, or nothing for all: ")
	if err != nil {
		return err
	}
	if name == "" {
		if err := m.c.list("", 0, m.c.s.fileTable(false, "")); err != nil {
			return err
		}
		return m.c.printUsage(false)
	}
	result, err := m.c.ask(files.File(name, 0))
	if err != nil {
		return err
	}
	info, chunks, err := files.DecodeFile(result)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.c.s.program.stdout, `name      %s
version   %d
bytes     %d
parts     %d
digest    %v
stored    %s
client    %v
request   %d
`, info.Name, info.Version, info.Size, len(chunks), info.Digest, when(info.Time), info.Client, info.Request)
	return err
}
