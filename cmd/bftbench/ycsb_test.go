package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/baluarte-bft/baluarte/bench"
)

func TestYCSB(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	stdout, _ := measured(t, false, "ycsb", "--mix", "c", "--records", "40", "--size", "64", "--bftnode", program, "--clients", "2", "--depth", "4",
		"--warmup", "0s", "--no-reference", "--json")
	var result bench.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if s := result.Settings; result.Ops == 0 || result.Reads == nil || result.Reads.Ops != result.Ops || result.Updates != nil || s.Mix != "C" || s.Records != 40 || s.SizeBytes != 64 || s.Reads != bench.ReadLinearizable {
		t.Errorf("%d operations, reads %+v, settings %+v, want those of the command line", result.Ops, result.Reads, s)
	}
	if result.Unreplicated != nil || result.UnreplicatedOpsPerSecond != 0 {
		t.Errorf("a reference %+v, want none", result.Unreplicated)
	}
}
