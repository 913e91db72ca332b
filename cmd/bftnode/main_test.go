package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bftnode": main, "adder": adder, "forgetter": forgetter, "impostor": impostor, "caller": caller})
}

// scriptsWithin bounds all scripts together; they run side by side.
const scriptsWithin = 5 * time.Minute

// TestScripts runs the scripts of testdata with the real program, in processes of
// its own. Each ends what it starts: a cluster in the directory `cluster` of a
// script is ended whatever becomes of the script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		// A command that should have ended is killed then.
		Deadline:            time.Now().Add(scriptsWithin),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for i, port := range freePorts(t, 4) {
				env.Setenv(fmt.Sprintf("PORT%d", i), strconv.Itoa(port))
			}
			env.Setenv(cli.DirVariable, filepath.Join(env.WorkDir, "cluster"))
			// More than the largest value of kv, and than the largest operation.
			for name, size := range map[string]int{"large": kv.MaxValue + 1, "larger": bft.MaxBundleBytes} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), make([]byte, size), 0o600); err != nil {
					return err
				}
			}
			env.Defer(func() {
				endCluster(t, filepath.Join(env.WorkDir, "cluster"))
				endCluster(t, filepath.Join(env.WorkDir, "own"))
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    cmdCode,
			"replace": cmdReplace,
			"corrupt": cmdCorrupt,
			"oneline": cmdOneLine,
		},
	})
}

// cmdCode runs the program and compares its exit code: code WANT ARG…
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code WANT ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("bftnode", args[1:]...); err != nil {
		coder, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("bftnode %v: %v", args[1:], err)
		}
		got = coder.ExitCode()
	}
	if got != want {
		ts.Fatalf("bftnode %v: exit code %d, want %d", args[1:], got, want)
	}
}
