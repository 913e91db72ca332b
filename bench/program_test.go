package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// TestInstalledProgram: outside of a checkout, where bftnode cannot be built, the one in PATH is taken, and without one it
// is said what to do.
func TestInstalledProgram(t *testing.T) {
	o := Options{}
	if path, err := installed(t.Context(), &o); path != "" || err != nil {
		t.Errorf("within a checkout: %q, %v", path, err)
	}
	bin := t.TempDir()
	search := bin + string(os.PathListSeparator) + os.Getenv("PATH")
	t.Chdir(t.TempDir())
	t.Setenv("PATH", bin)
	c := &cluster{temp: t.TempDir()}
	if _, err := c.program(t.Context(), &o); !wrong.Is(err) || !strings.Contains(err.Error(), "name the program with --bftnode") {
		t.Errorf("neither Go nor bftnode: %v", err)
	}
	t.Setenv("PATH", search)
	want := filepath.Join(bin, "bftnode")
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := c.program(t.Context(), &o); path != want || err != nil {
		t.Errorf("no checkout: %q, %v, want %s", path, err, want)
	}
	o.Profiles = "profiles"
	if _, err := installed(t.Context(), &o); !wrong.Is(err) {
		t.Errorf("profiles without a checkout: %v", err)
	}
}
