package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/cli"
)

// together are the pages from which a new user takes the commands of the services, in the order in which they are played on
// one cluster.
var together = []struct {
	page     string
	commands int // that the page has at least
	// killBefore is a command before which the primary is killed, beside the place where the page itself says so.
	killBefore string
}{
	{"docs/services/echo.md", 8, "bftnode echo history"},
	{"docs/services/kv.md", 20, "bftnode kv lease grant 1h"},
	{"README.md", 7, "bftnode counter get"},
	{"docs/services/calc.md", 11, "bftnode calc '-(1.5 + 2)'"},
	{"docs/services/counter.md", 4, "bftnode counter mul -3"},
	{"docs/services/files.md", 15, "bftnode files history"},
}

// Not played are commands that start, end or look at clusters, which the test does itself, those of the simulator, and those of
// the service that this cluster does not host.
var notPlayed = regexp.MustCompile(`^(bftnode (up|down|status)|bftsim|kill|go) |^bftnode (up|down|status)$|counter-passive`)

// failing is what commands print that are shown as failing.
var failing = regexp.MustCompile(`(?m)^bftnode: (compare failed|key ".*" not found|file ".*" exists already|character \d+ of the expression|the result does not fit)`)

// shown is a command on a page, and what stands there as its output.
type shown struct{ command, output string }

// sessions are the commands on a page, in their order.
func sessions(t *testing.T, page string) []shown {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	var out []shown
	console, fresh := false, false // fresh: what a fence begins with is said in another shell
	goesOn := false
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			console, fresh, goesOn = line == "```console\n", true, false
		case console && (isCommand || goesOn):
			if !isCommand {
				command = out[len(out)-1].command + strings.TrimPrefix(line, "> ")
				out = out[:len(out)-1]
			}
			fresh = false
			if command, goesOn = strings.CutSuffix(command, "\\\n"); !goesOn {
				command = strings.TrimSpace(command)
			}
			out = append(out, shown{command: command})
		case console && !fresh:
			out[len(out)-1].output += line
		}
	}
	return out
}

// differs is what differs from run to run: dates, and the key of the client.
var differs = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}\b`)

// TestServicesTogether: one cluster hosts all services, and whoever types all that their pages show sees what they show,
// while for each service the primary is killed, where the page says so and once more.
func TestServicesTogether(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv,echo,calc,counter,files")
	work := t.TempDir()
	for _, p := range together {
		t.Run(filepath.Base(p.page), func(t *testing.T) {
			// A page begins with a new counter; what others hold is not disturbed by the pages before.
			if out, stderr, code := run(t, "counter", "mul", "0", "--dir", r.dir); code != 0 || out != "0\n" {
				t.Fatalf("exit code %d: %s%s", code, out, stderr)
			}
			kills, commands := 0, 0
			for _, s := range sessions(t, p.page) {
				if strings.HasPrefix(s.command, "kill -9 ") || s.command == p.killBefore {
					r.killPrimary()
					kills++
				}
				if notPlayed.MatchString(s.command) {
					continue
				}
				commands++
				r.typed(t, work, s)
			}
			if commands < p.commands {
				t.Errorf("%d commands of the page were played, want %d: the test does not see them", commands, p.commands)
			}
			if kills == 0 {
				t.Errorf("the primary was not killed: the page has no kill and no %q", p.killBefore)
			}
		})
	}
}

// killPrimary kills the primary once all replicas are there, for at most one is to be down at a time. One that left its view
// while the primary was away may wait for the next.
func (r *running) killPrimary() {
	r.t.Helper()
	r.await("all replicas there, with the same executed", func() (bool, string) {
		now := r.status().Replicas
		for _, x := range now {
			if x.State != cli.StateActive && x.State != cli.StateAwaiting || x.Executed != now[0].Executed {
				return false, fmt.Sprintf("%+v", now)
			}
		}
		return len(now) == 4, fmt.Sprintf("%+v", now)
	})
	_, pid := r.primary()
	r.kill(pid, syscall.SIGKILL)
}

// typed runs a command in a shell. It must print what is shown, and succeed unless it is shown to fail.
func (r *running) typed(t *testing.T, dir string, want shown) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", want.command)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), cli.DirVariable+"="+r.dir)
	cmd.WaitDelay = time.Second // what a command under a killed lock leaves behind may hold its output
	began := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%5.2f s  %s", time.Since(began).Seconds(), want.command)
	fails := failing.MatchString(want.output) || strings.Contains(want.command, "kill -9 $PPID")
	if (err != nil) != fails || !alike(compared(want.output), compared(string(out))) {
		t.Errorf("%s\nprinted (%v)\n%swant\n%s", want.command, err, out, want.output)
	}
}

// compared is what counts of an output: columns may be wider, and what differs from run to run is left out.
func compared(output string) (out []string) {
	for line := range strings.Lines(differs.ReplaceAllString(output, "•")) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}

// alike compares; "..." stands for any lines.
func alike(want, got []string) bool {
	i := slices.Index(want, "...")
	if i < 0 {
		return slices.Equal(want, got)
	}
	rest := want[i+1:]
	return len(got) >= i+len(rest) && slices.Equal(want[:i], got[:i]) && slices.Equal(rest, got[len(got)-len(rest):])
}
