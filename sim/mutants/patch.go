package mutants

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

//go:embed patches/*.patch
var patches embed.FS

// Mutant is one wrong protocol.
type Mutant struct {
	// Name is that of the patch file, without its number and extension.
	Name string `json:"name"`
	// File is the name of the patch file.
	File string `json:"file"`
	// Title says in a few words what is wrong.
	Title string `json:"title"`
	// Breaks says which rule of the protocol the mutant breaks.
	Breaks string `json:"breaks"`
	// Notices says what should notice, and why.
	Notices string `json:"notices"`
	// Under are the behaviours under which it is noticed best: seeds are tried with them first.
	Under []string `json:"under,omitempty"`
	// Test names a test of ./bft/... that notices it when no seed does; without one, all are tried.
	Test string `json:"test,omitempty"`

	files []*gitdiff.File
}

// ErrStale is wrapped by the errors of patches that do not fit the source tree.
var ErrStale = errors.New("stale patch")

var fileName = regexp.MustCompile(`^[0-9]{2}-([a-z0-9]+(?:-[a-z0-9]+)*)\.patch$`)

// All returns the mutants in the order of their file names. It fails if one of the patch files is
// no patch, or lacks its head.
func All() ([]*Mutant, error) { return load(patches, "patches") }

func load(fsys fs.FS, dir string) ([]*Mutant, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var out []*Mutant
	for _, e := range entries {
		text, err := fs.ReadFile(fsys, path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		m, err := parse(e.Name(), text)
		if err != nil {
			return nil, fmt.Errorf("mutants: %s: %w", e.Name(), err)
		}
		if slices.ContainsFunc(out, func(x *Mutant) bool { return x.Name == m.Name }) {
			return nil, fmt.Errorf("mutants: %s: another patch has the same name", e.Name())
		}
		out = append(out, m)
	}
	return out, nil
}

// parse reads a patch file: lines that begin with # and say title, Breaks, Notices and perhaps Under and Test,
// then the diff.
func parse(name string, text []byte) (*Mutant, error) {
	match := fileName.FindStringSubmatch(name)
	if match == nil {
		return nil, errors.New("the file must be named like 07-a-name.patch")
	}
	files, preamble, err := gitdiff.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	m := &Mutant{Name: match[1], File: name, files: files}
	into := &m.Title
	var under string
	for line := range strings.Lines(preamble) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			return nil, fmt.Errorf("%q before the diff does not begin with #", strings.TrimSpace(line))
		}
		comment = strings.TrimSpace(comment)
		if rest, ok := strings.CutPrefix(comment, "Breaks: "); ok {
			into, comment = &m.Breaks, rest
		} else if rest, ok := strings.CutPrefix(comment, "Notices: "); ok {
			into, comment = &m.Notices, rest
		} else if rest, ok := strings.CutPrefix(comment, "Under: "); ok {
			into, comment = &under, rest
		} else if rest, ok := strings.CutPrefix(comment, "Test: "); ok {
			into, comment = &m.Test, rest
		}
		*into = strings.TrimSpace(*into + " " + comment)
	}
	for name := range strings.SplitSeq(under, ",") {
		if name = strings.TrimSpace(name); name != "" {
			m.Under = append(m.Under, name)
		}
	}
	if m.Title == "" || m.Breaks == "" || m.Notices == "" {
		return nil, errors.New("the head must have a title, a line with Breaks and one with Notices")
	}
	if len(files) == 0 {
		return nil, errors.New("there is no diff")
	}
	for _, f := range files {
		if f.IsNew || f.IsDelete || f.IsRename || f.IsBinary || len(f.TextFragments) == 0 {
			return nil, fmt.Errorf("%s: a mutant only changes lines of files that exist", f.NewName)
		}
	}
	return m, nil
}

// apply returns the changed files of the tree at root, by their slash-separated path in it. An
// error that is ErrStale says that the patch does not fit.
func (m *Mutant) apply(root string) (map[string][]byte, error) {
	out := make(map[string][]byte, len(m.files))
	for _, f := range m.files {
		name := path.Clean(strings.TrimPrefix(f.NewName, "b/"))
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, m.stale("there is no %s any more", name)
		case err != nil:
			return nil, err
		case out[name] != nil:
			return nil, fmt.Errorf("mutants: %s changes %s twice", m.File, name)
		}
		changed, err := m.change(f, name, source)
		if err != nil {
			return nil, err
		}
		out[name] = changed
	}
	return out, nil
}

func (m *Mutant) stale(format string, args ...any) error {
	return fmt.Errorf("mutants: %w %s: %s; write it anew against the present code", ErrStale, m.File, fmt.Sprintf(format, args...))
}

// change applies the hunks of one file. Lines above a hunk come and go, so it is looked for
// where its own lines stand; but they must stand in one place only.
func (m *Mutant) change(f *gitdiff.File, name string, source []byte) ([]byte, error) {
	lines := slices.Collect(bytes.Lines(source))
	moved := *f
	moved.TextFragments = make([]*gitdiff.TextFragment, len(f.TextFragments))
	for i, t := range f.TextFragments {
		at, count := find(lines, t)
		if count != 1 {
			return nil, m.stale("what it changes near line %d of %s stands there %d times", t.OldPosition, name, count)
		}
		x := *t
		x.NewPosition += int64(at) + 1 - x.OldPosition
		x.OldPosition = int64(at) + 1
		moved.TextFragments[i] = &x
	}
	var out bytes.Buffer
	if err := gitdiff.Apply(&out, bytes.NewReader(source), &moved); err != nil {
		return nil, m.stale("%s: %v", name, err)
	}
	return out.Bytes(), nil
}

// find returns where the old lines of a hunk stand, and how often.
func find(lines [][]byte, t *gitdiff.TextFragment) (at, count int) {
	var old []string
	for _, l := range t.Lines {
		if l.Old() {
			old = append(old, l.Line)
		}
	}
	for i := 0; i+len(old) <= len(lines); i++ {
		same := true
		for k := range old {
			if same = string(lines[i+k]) == old[k]; !same {
				break
			}
		}
		if same {
			at = i
			count++
		}
	}
	return at, count
}
