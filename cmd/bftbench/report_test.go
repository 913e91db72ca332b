package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bench"
)

// resultFile writes measurements of these throughputs.
func resultFile(t *testing.T, name string, n int, throughputs ...float64) string {
	t.Helper()
	var results []*bench.Result
	for i, v := range throughputs {
		results = append(results, &bench.Result{OpsPerSecond: v, P50: 1e3 / v, P90: 2e3 / v, P99: 3e3 / v, P999: 4e3 / v, Timeline: []float64{v, v},
			Settings: bench.Settings{N: n, Clients: 1, Depth: 1, Service: bench.Counter, DurationSeconds: 10}, Machine: bench.Machine{Cores: 2}})
		if n == 0 {
			results[i].Settings.N = 4 + 3*i
		}
	}
	data, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReportsRefuse(t *testing.T) {
	good := resultFile(t, "a.json", 4, 100, 101)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"compare one":      {[]string{"compare", good}, codeUsage, "two files"},
		"compare nothing":  {[]string{"compare", good, good + "x"}, codeUsage, good + "x"},
		"compare mixed":    {[]string{"compare", good, resultFile(t, "n.json", 0, 100, 90)}, codeFailure, "n: 4 | 7"},
		"plot nothing":     {[]string{"plot", "-o", "x.svg"}, codeUsage, "takes files"},
		"plot to nowhere":  {[]string{"plot", good}, codeUsage, "--output"},
		"plot pie":         {[]string{"plot", good, "--kind", "pie", "-o", "x.svg"}, codeUsage, "choose one of"},
		"plot gif":         {[]string{"plot", good, "-o", "x.gif"}, codeUsage, ".svg or .png"},
		"plot no usage":    {[]string{"plot", good, "--kind", "usage", "-o", filepath.Join(t.TempDir(), "x.svg")}, codeFailure, "nothing to draw"},
		"plot no folder":   {[]string{"plot", good, "-o", filepath.Join(t.TempDir(), "no", "x.svg")}, codeUsage, "make that directory, or name another file"},
		"sweep nothing":    {[]string{"sweep"}, codeUsage, "--over"},
		"sweep colours":    {[]string{"sweep", "--over", "colour=1"}, codeUsage, "clients, depth"},
		"sweep bad value":  {[]string{"sweep", "--over", "clients=1,0"}, codeUsage, "0 clients"},
		"sweep both":       {[]string{"sweep", "--over", "n=4,7", "--nodes", "4"}, codeUsage, "--nodes"},
		"sweep rate depth": {[]string{"sweep", "--over", "rate=4,7", "--depth", "4"}, codeUsage, "--depth"},
		"sweep n of dir":   {[]string{"sweep", "--over", "n=4,7", "--dir", "x"}, codeUsage, "running cluster"},
		"repeat never":     {[]string{"run", "--repeat", "0"}, codeUsage, "0 repetitions"},
		"csv to nowhere":   {[]string{"run", "--csv", filepath.Join(t.TempDir(), "no", "x.csv")}, codeUsage, "make that directory, or name another file"},
		"csv to a folder":  {[]string{"run", "--csv", t.TempDir()}, codeUsage, "is not a file"},
	} {
		code, stdout, stderr := runLine(t, false, c.args...)
		if code != c.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %q, %q, want %d and one line with %q", name, code, stdout, stderr, c.code, c.want)
		}
	}
	if left, err := filepath.Glob("*x.*"); err != nil || len(left) != 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestReportHelp(t *testing.T) {
	for _, name := range []string{"sweep", "plot", "compare"} {
		code, stdout, stderr := runLine(t, false, name, "--help")
		if code != codeOK || !strings.Contains(stdout, "bftbench "+name+" ") || !strings.Contains(stdout, "Examples:") || stderr != "" {
			t.Errorf("%s: exit code %d, output %q, %q, want help with examples", name, code, stdout, stderr)
		}
	}
}

func TestCompareCommand(t *testing.T) {
	a, b := resultFile(t, "a.json", 4, 1000, 1010, 990), resultFile(t, "b.json", 4, 1200, 1190, 1210)
	code, stdout, stderr := runLine(t, false, "compare", a, b)
	if code != codeOK || stderr != "" || !strings.Contains(stdout, "B is faster than A: throughput +20.0 %") {
		t.Errorf("exit code %d, %q, %q, want that B is faster", code, stdout, stderr)
	}
	code, stdout, stderr = runLine(t, false, "compare", b, a, "--json")
	var c bench.Comparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || code != codeOK || stderr != "" || c.Verdict != bench.Slower {
		t.Errorf("exit code %d, %v, %+v, want slower", code, err, c)
	}
}

// The kind is guessed, the format is that of the name, and what was there is replaced.
func TestPlotCommand(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		file, kind, magic string
	}{
		"x.svg": {resultFile(t, "n.json", 0, 1000, 500, 400), "nodes", "<?xml"},
		"x.PNG": {resultFile(t, "a.json", 4, 1000, 1010), "time", "\x89PNG"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := runLine(t, false, "plot", c.file, "-o", path)
		if want := fmt.Sprintf("%s: %s\n", path, c.kind); code != codeOK || stdout != want || stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q, want %q", name, code, stdout, stderr, want)
		}
		if data, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(data, []byte(c.magic)) {
			t.Errorf("%s has %d bytes (%v), want a picture", name, len(data), err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("%v is there (%v), want the two pictures", left, err)
	}
}

// Files with the same name in different folders stay apart, and "-" is the standard input.
func TestReadSources(t *testing.T) {
	a, b, c := resultFile(t, "same.json", 4, 1), resultFile(t, "same.json", 4, 2), resultFile(t, "other.json", 4, 3)
	data, err := os.ReadFile(c)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := readSources(bytes.NewReader(data), []string{a, b, c, "-"})
	if err != nil || len(sources) != 4 {
		t.Fatalf("%d sources, %v", len(sources), err)
	}
	for i, want := range []string{a, b, "other", "input"} {
		if sources[i].Name != want || sources[i].Results[0].OpsPerSecond != float64(min(i+1, 3)) {
			t.Errorf("source %d is %q of %v, want %q", i, sources[i].Name, sources[i].Results[0].OpsPerSecond, want)
		}
	}
}

// A file that is not finished does not replace the one that was there, and leaves nothing behind.
func TestPendingFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	p, err := newPendingFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.commit(func(w io.Writer) error { _, _ = w.Write([]byte("half")); return broken }); !errors.Is(err, broken) {
		t.Errorf("it ended with %v, want %v", err, broken)
	}
	p.discard()
	if p, err = newPendingFile(path); err != nil {
		t.Fatal(err)
	}
	p.discard()
	data, err := os.ReadFile(path)
	left, errLeft := os.ReadDir(dir)
	if err != nil || errLeft != nil || string(data) != "old" || len(left) != 1 {
		t.Errorf("%q among %v (%v, %v), want the old file alone", data, left, err, errLeft)
	}
}

// One command line makes several measurements with clusters of their own, and writes them in all forms.
func TestSweepCommand(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	table, log := filepath.Join(dir, "x.csv"), filepath.Join(dir, "x.hlog")
	code, stdout, stderr := runLine(t, true, "sweep", "--bftnode", program, "--over", "clients=1,2", "--depth", "4", "--warmup", "0s", "--duration", "3s",
		"--json", "--csv", table, "--histogram", log)
	if code != codeOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	results, err := bench.ReadResults(strings.NewReader(stdout))
	if err != nil || len(results) != 2 || results[0].Settings.Clients != 1 || results[1].Settings.Clients != 2 || results[1].Settings.Depth != 4 {
		t.Fatalf("%d results, %v, want those of 1 and 2 clients:\n%s", len(results), err, stdout)
	}
	if !strings.Contains(stderr, "2 of 2: measuring") {
		t.Errorf("the progress %q does not say which measurement it is", stderr)
	}
	f, err := os.Open(table)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if lines, err := csv.NewReader(f).ReadAll(); err != nil || len(lines) != 3 {
		t.Errorf("the CSV has %d lines, %v, want a header and two", len(lines), err)
	}
	if data, err := os.ReadFile(log); err != nil || strings.Count(string(data), "\n") != 6 {
		t.Errorf("the log of latencies is %q (%v), want four lines of header and two of intervals", data, err)
	}
}

// What an interrupted command has measured is printed.
func TestInterruptedSweepPrints(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	progress := &interrupter{at: "2 of 2: measuring", interrupt: cancel}
	code := execute(ctx, []string{"run", "--bftnode", program, "--no-reference", "--repeat", "2", "--clients", "1", "--depth", "4", "--warmup", "0s", "--duration", "3s", "--json"},
		&out, progress, true)
	var rep bench.Repeated
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatalf("exit code %d, %v: %s\n%s", code, err, &out, &progress.said)
	}
	if code != codeFailure || len(rep.Measurements) != 1 || rep.OpsPerSecond <= 0 || !strings.Contains(progress.said.String(), "ended after 1 of 2 measurements") {
		t.Errorf("exit code %d with %d measurements, want %d and the one that was made; it says %q", code, len(rep.Measurements), codeFailure, &progress.said)
	}
}

// interrupter is a terminal at which somebody interrupts when it shows a certain text.
type interrupter struct {
	at        string
	interrupt func()
	said      bytes.Buffer
}

func (i *interrupter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), i.at) {
		i.interrupt()
	}
	return i.said.Write(p)
}
