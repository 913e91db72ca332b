package mutants

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The enumeration of twins finds a quorum that is too small: its own test fails with it.
func TestTwinsFindAQuorumThatIsTooSmall(t *testing.T) {
	root, err := Root(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := Choose(all, []string{"quorum-too-small"})
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{Options: Options{Root: root}, temp: t.TempDir()}
	overlay, err := r.overlay(chosen[0], filepath.Join(r.temp, "mutant"))
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "test", "-count=1", "-overlay", overlay, "-run", "^TestTwinsOfTwoViews$", "./sim")
	run.Dir = root
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("the twins find nothing:\n%s", out)
	}
	if text := string(out); !strings.Contains(text, "scenario ") || !strings.Contains(text, "distinct signers") && !strings.Contains(text, "S1 at") {
		t.Errorf("they fail, but not by a certificate that is too small or two histories:\n%s", text)
	}
}
