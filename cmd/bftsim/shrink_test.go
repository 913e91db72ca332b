package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/sim"
)

// Two liars of four break more than one promise; --oracle says which of them is shrunk to.
func TestShrinkOracle(t *testing.T) {
	dir := t.TempDir()
	big, small := filepath.Join(dir, "big.sim"), filepath.Join(dir, "small.sim")
	const text = "seed 11\nbeyond\nload clients=3 keys=2\nadversary equivocating primary + wrong replies by r0 r1\n"
	if err := os.WriteFile(big, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, oracle := range []string{"S1", "S5"} {
		if _, _, err := call("shrink", big, "--oracle", oracle, "--runs", "150", "-o", small); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(small)
		if err != nil {
			t.Fatal(err)
		}
		script, err := sim.ParseScript(f)
		f.Close()
		if err != nil || script.Expect != oracle {
			t.Errorf("--oracle %s: %+v, %v", oracle, script, err)
		}
	}
	for want, args := range map[string][]string{
		"there is no such oracle":                 {"shrink", big, "--oracle", "S99"},
		"oracle D2 holds in this run":             {"shrink", big, "--oracle", "D2", "--runs", "20"},
		"every oracle holds in this run":          {"shrink", filepath.Join("..", "..", "sim", "testdata", "view-change.sim")},
		"give --seed N, the name of a scenario (": {"shrink"},
	} {
		if _, _, err := call(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
