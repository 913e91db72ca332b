package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// sockets is a command that prints how many sockets the process has that runs it under a lock.
const sockets = `kv lock %s -- sh -c 'ls -l /proc/$PPID/fd | grep -c socket:'`

// TestShellSharesItsConnection: whatever a shell runs goes over one connection to each replica.
func TestShellSharesItsConnection(t *testing.T) {
	r := up(t, "--app", "kv")
	script := strings.Join([]string{"kv put a 1", "kv watch --from 1 --limit 1", fmt.Sprintf(sockets, "one"), "kv txn 'then put a 2'", fmt.Sprintf(sockets, "two")}, "\n")
	shell := exec.Command("bftnode", "shell", "--dir", r.dir)
	shell.Stdin = strings.NewReader(script)
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 5 {
		t.Fatalf("printed %q", lines)
	}
	for _, i := range []int{1, 4} {
		// A quorum is connected, and the fourth may not be yet.
		if n, err := strconv.Atoi(lines[i]); err != nil || n < 3 || n > 4 {
			t.Errorf("%q sockets to four replicas, want one to each (printed %q)", lines[i], lines)
		}
	}
}
