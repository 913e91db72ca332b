package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/files"
)

func writeLocal(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPlaceReplacesNothingUnasked: what has come to the target during a download stays, unless --force was given.
func TestPlaceReplacesNothingUnasked(t *testing.T) {
	target, fresh := writeLocal(t, "old"), writeLocal(t, "new")
	if err := place(fresh, target, false); err == nil {
		t.Fatal("the target was there")
	}
	if data, _ := os.ReadFile(target); string(data) != "old" {
		t.Fatalf("the target has %q", data)
	}
	if err := place(fresh, target, true); err != nil {
		t.Fatal(err)
	}
	free := target + "2"
	if err := place(target, free, false); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(free); string(data) != "new" {
		t.Errorf("the target has %q", data)
	}
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file beside it is still there: %v", err)
	}
}

// TestTargets: a link that leads nowhere is a local file that is there.
func TestTargets(t *testing.T) {
	file := writeLocal(t, "x")
	link := file + "-link"
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  string
		force bool
		ok    bool
	}{{file, false, false}, {file, true, true}, {link, false, false}, {filepath.Dir(file), true, false},
		{file + "-free", false, true}, {file + "/under", false, false}} {
		if err := checkTarget(c.path, c.force); (err == nil) != c.ok {
			t.Errorf("%s, force %t: %v", c.path, c.force, err)
		}
	}
}

// TestALocalFileThatChangesIsNoted: a file must keep its size while it is read.
func TestALocalFileThatChangesIsNoted(t *testing.T) {
	f, err := openLocal(writeLocal(t, "0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	part := make([]byte, 4)
	if err := readPart(f, part, 6, 10); err != nil || string(part) != "6789" {
		t.Fatalf("%q, %v", part, err)
	}
	if readPart(f, part, 2, 9) == nil {
		t.Error("it has grown")
	}
	if readPart(f, part, 8, 12) == nil {
		t.Error("it has shrunk")
	}
}

// TestTheFirstErrorEndsATransfer: no further part begins, and those that began have ended.
func TestTheFirstErrorEndsATransfer(t *testing.T) {
	c := &cabinet{s: &Session{program: &Program{stderr: new(bytes.Buffer)}}}
	const n = 1000
	var began [n]bool
	if err := c.parallel("testing", n, n, func(i uint64) (int, error) { began[i] = true; return 1, nil }); err != nil {
		t.Fatal(err)
	}
	for i, b := range began {
		if !b {
			t.Fatalf("part %d never began", i)
		}
	}
	wrong := errors.New("wrong")
	var count [n]int
	err := c.parallel("testing", n, n, func(i uint64) (int, error) {
		count[i]++
		return 0, fmt.Errorf("part %d: %w", i, wrong)
	})
	sum := 0
	for _, k := range count {
		sum += k
	}
	if !errors.Is(err, wrong) || sum > transfers {
		t.Errorf("%v after %d parts", err, sum)
	}
	if err := c.parallel("testing", 0, 0, nil); err != nil {
		t.Error(err)
	}
}

func TestErrorsOfFilesHaveTheirExitCodes(t *testing.T) {
	for err, code := range map[error]int{files.ErrNotFound: CodeNotFound, files.ErrExists: CodeCompareFailed,
		files.ErrQuota: CodeFailure, files.ErrBadPart: CodeFailure} {
		if got := codeOf(filesError(fmt.Errorf("x: %w", err))); got != code {
			t.Errorf("%v: exit code %d, want %d", err, got, code)
		}
	}
	if filesError(nil) != nil {
		t.Error("no error became one")
	}
}
