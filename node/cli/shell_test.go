package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/config"
)

// shellOf is a shell in a directory with a manifest, whose replicas do not run.
func shellOf(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.ManifestFile), testManifest(t, 4).Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	p := &Program{Name: "bftnode", Services: []Service{KV(), Calc(), Files()}, stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	return &shell{s: &Session{program: p, dir: dir, timeout: time.Second}, kept: &keptClient{}}
}

func TestShellCompletes(t *testing.T) {
	sh := shellOf(t)
	t.Chdir(t.TempDir())
	for _, name := range []string{"one file", "other"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string][]string{
		"cal":             {"c "},
		"bftnode cal":     {"c "},
		"kv sc":           {"an "},
		"kv get --st":     {"ale "},
		"ex":              {"it "},
		"tra":             {"ce "},
		"trace o":         {"ff ", "n "},
		"invoke k":        {"v "},
		"query nothing":   nil,
		"u":               nil, // up is no command for the shell
		"files me":        nil,
		"files put oth":   {"er "},
		"files put fo":    {"lder/"},
		"files put 'oth":  nil, // within a quotation
		"kv get 'a b' --": nil,
		"nonsense ":       nil,
	} {
		added, length := sh.Do([]rune(line), len([]rune(line)))
		var got []string
		for _, a := range added {
			got = append(got, string(a))
		}
		if line == "kv get 'a b' --" {
			if len(got) < 5 || !slices.Contains(got, "raw ") {
				t.Errorf("%q: %q", line, got)
			}
			continue
		}
		word := line[strings.LastIndex(line, " ")+1:]
		if !slices.Equal(got, want) || len(got) > 0 && length != len(word) {
			t.Errorf("%q: %q, %d, want %q", line, got, length, want)
		}
	}
	// What the cursor stands behind counts.
	if added, _ := sh.Do([]rune("cal 1+2"), 3); len(added) != 1 || string(added[0]) != "c " {
		t.Errorf("%q", added)
	}
}

// The help within a shell is of the shell: its own commands, and none that it refuses.
func TestShellHelp(t *testing.T) {
	for _, line := range []string{"help", "--help"} {
		sh := shellOf(t)
		if _, leave, err := sh.run(t.Context(), line); err != nil || leave {
			t.Fatal(err)
		}
		out := sh.s.program.stdout.(*strings.Builder).String()
		for _, want := range []string{"\n  trace ", "\n  exit ", "\n  kv ", "\n  status ", "Ctrl-D"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", line, want, out)
			}
		}
		for _, refused := range []string{"up", "run", "gateway", "shell"} {
			if strings.Contains(out, "\n  "+refused+" ") || strings.Contains(out, "bftnode "+refused) {
				t.Errorf("%s has %s, which the shell refuses:\n%s", line, refused, out)
			}
		}
	}
	sh := shellOf(t)
	if _, leave, err := sh.run(t.Context(), "exit now"); err == nil || leave {
		t.Errorf("exit with an argument: %v", err)
	}
	if _, leave, err := sh.run(t.Context(), "quit"); err != nil || !leave {
		t.Errorf("quit: %v", err)
	}
}

// All names that begin with a word come after what is asked for with it, and none that comes before all of them but few.
func TestBefore(t *testing.T) {
	for _, word := range []string{"a", "report", "b/", "é"} {
		for _, name := range []string{word, word + "\x01", word + "/x"} {
			if before(word) >= name {
				t.Errorf("%q is not before %q", before(word), name)
			}
		}
	}
	if before("b") <= "an ordinary name" {
		t.Error("names that do not begin so would fill the page")
	}
}

func TestHistoryFile(t *testing.T) {
	dir := t.TempDir()
	path, err := openHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if mode() != 0o600 {
		t.Errorf("mode %v", mode())
	}
	var all strings.Builder
	for i := range historyLines {
		fmt.Fprintf(&all, "line %d\n", i)
	}
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openHistory(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n >= historyLines || n < historyLines/3 || !strings.HasSuffix(string(data), fmt.Sprintf("line %d\n", historyLines-1)) || mode() != 0o600 {
		t.Errorf("%d lines, mode %v", n, mode())
	}
	if _, err := openHistory(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("no error without a directory")
	}
}
