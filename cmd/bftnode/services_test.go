package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/cli"
)

// together are the services as their pages show them: the primary is killed after the commands before.
var together = []struct {
	service, page string
	before, after []string
}{
	{"kv", "README.md",
		[]string{"bftnode kv put a 1", "bftnode kv get a"},
		[]string{"bftnode kv put a 2", "bftnode kv get a"}},
	{"counter", "README.md",
		[]string{"bftnode counter add 5"},
		[]string{"bftnode counter get"}},
	{"echo", "docs/services/echo.md",
		[]string{"bftnode echo send hello", "bftnode echo send 'good morning'"},
		[]string{"bftnode echo send 'still there'", "bftnode echo history", "bftnode echo history --from 3 --json"}},
	{"calc", "docs/services/calc.md",
		[]string{"bftnode calc '3+5-4/3*4'", "bftnode calc '-3+5'"},
		[]string{"bftnode calc '-(1.5 + 2)'", "bftnode calc '0.1 + 0.2'", "bftnode calc --places 40 1/7", "bftnode invoke calc 4/6"}},
	{"files", "docs/services/files.md",
		[]string{"echo 'first draft' >report.txt", "bftnode files put report.txt reports/2026.txt",
			"echo 'second, longer draft' >report.txt", "bftnode files update report.txt reports/2026.txt"},
		[]string{"head -c 8388608 /dev/urandom >film", "bftnode files put film film", "bftnode files get film copy", "cmp film copy",
			"bftnode files get --version 1 reports/2026.txt draft.txt", "cat draft.txt", "bftnode files list",
			"bftnode files delete film", "bftnode files history"}},
}

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
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			console, fresh = line == "```console\n", true
		case console && isCommand:
			fresh = false
			out = append(out, shown{command: strings.TrimSpace(command)})
		case console && !fresh:
			out[len(out)-1].output += line
		}
	}
	return out
}

// differs is what differs from run to run: dates, and the key of the client.
var differs = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\b[0-9a-f]{8}\b`)

// TestServicesTogether: one cluster hosts all services, and whoever types what their pages show sees what they show,
// while for each service the primary is killed once.
func TestServicesTogether(t *testing.T) {
	r := up(t, "--app", "kv,echo,calc,counter,files")
	work := t.TempDir()
	for _, s := range together {
		t.Run(s.service, func(t *testing.T) {
			page := sessions(t, s.page)
			play := func(commands []string) {
				for _, command := range commands {
					for len(page) > 0 && page[0].command != command {
						page = page[1:]
					}
					if len(page) == 0 {
						t.Fatalf("%s no longer has %q at this place: take another command from it", s.page, command)
					}
					r.typed(t, work, page[0])
				}
			}
			play(s.before)
			_, pid := r.primary()
			r.kill(pid, syscall.SIGKILL)
			play(s.after)
		})
		// At most one is to be down at a time. One that left its view while the primary was away may wait for the next.
		r.await("all replicas there, with the same executed", func() (bool, string) {
			now := r.status().Replicas
			for _, x := range now {
				if x.State != cli.StateActive && x.State != cli.StateAwaiting || x.Executed != now[0].Executed {
					return false, fmt.Sprintf("%+v", now)
				}
			}
			return len(now) == 4, fmt.Sprintf("%+v", now)
		})
	}
}

// typed runs a command in a shell. It must succeed and print what is shown.
func (r *running) typed(t *testing.T, dir string, want shown) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", want.command)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), cli.DirVariable+"="+r.dir)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%5.2f s  %s", time.Since(began).Seconds(), want.command)
	if got, want := differs.ReplaceAllString(string(out), "•"), differs.ReplaceAllString(want.output, "•"); err != nil || got != want {
		t.Errorf("printed (%v)\n%swant\n%s", err, got, want)
	}
}
