package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/cli"
)

// asNode makes this test's program be bftnode.
const asNode = "BFTBENCH_TEST_AS_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" && len(os.Args) > 1 && (os.Args[1] == "server" || os.Args[1] == "replica") {
		main() // the reference of a run, or a replica with a fault; does not return
	}
	if os.Getenv(asNode) != "" {
		node.Main(cli.KV(), cli.Counter()) // does not return
	}
	os.Exit(m.Run())
}

func runLine(t *testing.T, terminal bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs, terminal)
	return code, out.String(), errs.String()
}

func TestBadUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown command":  {"walk"},
		"unknown flag":     {"run", "--fast"},
		"argument":         {"run", "now"},
		"no number":        {"run", "--clients", "many"},
		"no clients":       {"run", "--clients", "0"},
		"sized counter":    {"run", "--size", "16"},
		"unknown service":  {"run", "--service", "files"},
		"nodes of running": {"run", "--dir", "x", "--nodes", "4"},
		"program and dir":  {"run", "--dir", "x", "--bftnode", "y"},
		"no rate":          {"run", "--rate", "0"},
		"rate and depth":   {"run", "--rate", "10", "--depth", "3"},
		"seed alone":       {"run", "--seed", "3"},
		"seed of even":     {"run", "--rate", "10", "--arrivals", "even", "--seed", "3"},
		"other arrivals":   {"run", "--rate", "10", "--arrivals", "late"},
		"other mix":        {"ycsb", "--mix", "F"},
		"no records":       {"ycsb", "--records", "0"},
		"mix of a service": {"ycsb", "--service", "counter"},
		"other read":       {"ycsb", "--read", "dirty"},
		"server nowhere":   {"server"},
		"server's address": {"server", "--dir", "x", "--listen", "7000"},
		"server's port":    {"server", "--dir", "x", "--http", "127.0.0.1:70000"},
	} {
		code, stdout, stderr := runLine(t, false, args...)
		if code != codeUsage || stdout != "" {
			t.Errorf("%s: exit code %d with output %q, want %d and none", name, code, stdout, codeUsage)
		}
		if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "bftbench: ") {
			t.Errorf("%s: it says %q, want one line", name, stderr)
		}
	}
}

func TestNoCluster(t *testing.T) {
	code, stdout, stderr := runLine(t, false, "run", "--dir", t.TempDir())
	if code != codeUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "start one with bftnode up") {
		t.Errorf("exit code %d, output %q, %q, want one line that says what to do", code, stdout, stderr)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"run", "--help"}, {"ycsb", "--help"}, {"server", "--help"}} {
		code, stdout, stderr := runLine(t, false, args...)
		if code != codeOK || !strings.Contains(stdout, "bftbench run") || stderr != "" {
			t.Errorf("%v: exit code %d, output %q, %q, want help", args, code, stdout, stderr)
		}
	}
}

// measured runs a command line that measures, for longer if nothing ended: this machine may be busy.
func measured(t *testing.T, terminal bool, args ...string) (stdout, stderr string) {
	t.Helper()
	for d := 300 * time.Millisecond; ; d *= 2 {
		code, stdout, stderr := runLine(t, terminal, append(args, "--duration", d.String())...)
		if code == codeOK {
			return stdout, stderr
		}
		if !strings.Contains(stderr, "nothing was measured") {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
}

// One command line makes a cluster, shows progress on a terminal, and prints JSON alone.
func TestRunJSON(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := measured(t, true, "run", "--bftnode", program, "--clients", "2", "--depth", "4", "--warmup", "0s",
		"--service", "kv", "--size", "16", "--json")
	var result bench.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if result.Ops == 0 || result.Settings.Clients != 2 || result.Settings.Depth != 4 || result.Settings.SizeBytes != 16 {
		t.Errorf("%d operations with settings %+v, want those of the command line", result.Ops, result.Settings)
	}
	if result.UnreplicatedOpsPerSecond <= 0 || result.ReplicationFactor <= 0 {
		t.Errorf("%v operations a second without replicas, warnings %q, want that they were measured too", result.UnreplicatedOpsPerSecond, result.Warnings)
	}
	if !strings.Contains(stderr, "measuring") || !strings.HasSuffix(stderr, "\r") {
		t.Errorf("progress %q, want it shown and removed", stderr)
	}
}

func TestProgressLine(t *testing.T) {
	var b strings.Builder
	p := &progressLine{w: &b}
	p.show(bench.Progress{Phase: "a long phase"})
	p.show(bench.Progress{Phase: "b"})
	p.show(bench.Progress{Phase: "b", Total: time.Second}) // too soon for another of the same phase
	p.clear()
	if want := "\ra long phase\rb           \r \r"; b.String() != want {
		t.Errorf("it wrote %q, want %q", b.String(), want)
	}
	(*progressLine)(nil).clear()
}
