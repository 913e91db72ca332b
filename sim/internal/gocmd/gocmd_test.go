package gocmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRootIsThatOfTheModule(t *testing.T) {
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "sim", "internal", "gocmd", "gocmd.go")); err != nil {
		t.Errorf("%s is not the root: %v", root, err)
	}
	t.Chdir(t.TempDir())
	if _, err := Root(t.Context()); err == nil || !strings.Contains(err.Error(), "in the source tree of") {
		t.Errorf("outside of the tree: %v", err)
	}
}

func TestErrorsSayWhatFailed(t *testing.T) {
	if _, err := Run(t.Context(), "", "vet", "./nothing-here"); err == nil || !strings.HasPrefix(err.Error(), "go vet: ") {
		t.Errorf("a package that does not exist: %v", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(done, "", "version"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Run(t.Context(), "", "version"); !errors.Is(err, ErrMissing) {
		t.Errorf("without a go command: %v", err)
	}
	if _, err := Root(t.Context()); !errors.Is(err, ErrMissing) {
		t.Errorf("the root without a go command: %v", err)
	}
}

func TestTail(t *testing.T) {
	if got := Tail("1\n2\n3\n4\n5\n6\n\n"); got != "2 | 3 | 4 | 5 | 6" {
		t.Errorf("%q", got)
	}
}
