package wrong

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// parse reads flags with a command that has one of each kind.
func parse(args ...string) error {
	cmd := &cobra.Command{Use: "prog", RunE: func(*cobra.Command, []string) error { return nil }, SilenceErrors: true, SilenceUsage: true, Args: NoArgs}
	cmd.SetFlagErrorFunc(Flag)
	f := cmd.Flags()
	f.Uint64("seed", 0, "")
	f.Int("limit", 0, "")
	f.Float64("rate", 0, "")
	f.Duration("wait", 0, "")
	f.Bool("json", false, "")
	f.StringSlice("app", nil, "")
	f.Func("odd", "", func(string) error { return errors.New("it is odd") })
	cmd.SetArgs(args)
	return cmd.Execute()
}

func TestFlag(t *testing.T) {
	for args, want := range map[string]string{
		"--seed x":                     `--seed "x" is not a whole number from 0 on; see prog --help`,
		"--seed -1":                    `--seed "-1" is not a whole number from 0 on; see prog --help`,
		"--limit 1.5":                  `--limit "1.5" is not a whole number; see prog --help`,
		"--limit 99999999999999999999": `--limit "99999999999999999999" is out of range; see prog --help`,
		"--rate x":                     `--rate "x" is not a number; see prog --help`,
		"--wait 10":                    `--wait "10" is not a time such as 500ms, 10s or 1h30m; see prog --help`,
		"--json=maybe":                 `--json "maybe" is neither true nor false; see prog --help`,
		`--app a"b`:                    `--app "a\"b" is not a list with commas between; see prog --help`,
		"--odd 2":                      `--odd "2" cannot be: it is odd; see prog --help`,
		"--seed":                       `--seed needs a value; see prog --help`,
		"--nosuch":                     `unknown flag: --nosuch; see prog --help`,
		"---":                          `unknown flag: ---; see prog --help`,
		"-5":                           `unknown flag: -5; put -- before an argument that begins with a minus, as in: -- -5; see prog --help`,
		"now":                          `prog takes no arguments, but got "now"; see prog --help`,
		"--limit -1 --wait -10s":       "",
	} {
		err := parse(strings.Fields(args)...)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && (got != want || !Is(err)) {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(path string) error {
		_, err := os.ReadFile(path)
		return fmt.Errorf("somewhere: %w", err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"):  "there is no PATH: do this",
		dir:                         "PATH is a directory: do this",
		filepath.Join(file, "in"):   "PATH cannot be: a part of it is a file and not a directory: do this",
		strings.Repeat("long", 100): "PATH cannot be used: file name too long: do this",
	} {
		cause := open(path)
		err := File(path, cause, "do this")
		if want = strings.ReplaceAll(want, "PATH", path); err.Error() != want || !Is(err) || !errors.Is(err, cause) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := File(file, errors.New("file: line 1 is odd"), "do this"); err.Error() != "file: line 1 is odd" || !Is(err) {
		t.Errorf("%v", err)
	}
	missing := filepath.Join(dir, "none", "file")
	if err := NewFile(missing, os.WriteFile(missing, nil, 0o600), "do this"); err.Error() != "there is no "+filepath.Dir(missing)+": make that directory, or do this" {
		t.Errorf("%v", err)
	}
	if err := NewFile("/dev/null", fs.ErrNotExist, "do this"); err.Error() != "/dev/null cannot be made: the system allows none there: do this" {
		t.Errorf("%v", err)
	}
	if err := NewDir(missing, fs.ErrNotExist, "do this"); err.Error() != missing+" cannot be made: the system allows none there: do this" {
		t.Errorf("%v", err)
	}
	if err := NewFile(dir, os.WriteFile(dir, nil, 0o600), "do this"); err.Error() != dir+" is a directory: do this" {
		t.Errorf("%v", err)
	}
	if err := File(file, nil, "do this"); err != nil || Is(fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
