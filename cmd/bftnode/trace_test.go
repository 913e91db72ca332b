package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// tracedCall is what --trace=json prints.
type tracedCall struct {
	Service, Kind string
	Nanos         int64
	Via           int
	Number        uint64
	Phases        []tracedPhase
	Replicas      []struct {
		Name, Answer, Error string
		ReceivedNanos       int64 `json:"received_nanos"`
		Phases              []tracedPhase
	}
}

type tracedPhase struct {
	Phase string
	Nanos *int64
}

// addsUp wants all five phases, which together take the time that they are of, within 5 %.
func addsUp(phases []tracedPhase, of int64) error {
	sum, names := int64(0), []string{}
	for _, p := range phases {
		if p.Nanos == nil || *p.Nanos < 0 {
			return fmt.Errorf("%s is not told apart", p.Phase)
		}
		sum += *p.Nanos
		names = append(names, p.Phase)
	}
	if want := []string{"request", "coordination", "agreement", "execution", "response"}; !slices.Equal(names, want) {
		return fmt.Errorf("the phases are %v", names)
	}
	if math.Abs(float64(sum-of)) > 0.05*float64(of) {
		return fmt.Errorf("they add up to %d ns, of %d", sum, of)
	}
	return nil
}

// traced runs a command with --trace=json, which must succeed, and returns its calls.
func traced(t *testing.T, r *running, args ...string) []tracedCall {
	t.Helper()
	_, stderr, code := run(t, append(args, "--trace=json", "--dir", r.dir)...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
	var calls []tracedCall
	for line := range strings.Lines(stderr) {
		var c tracedCall
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v: %v: %s", args, err, line)
		}
		calls = append(calls, c)
	}
	if len(calls) == 0 {
		t.Fatalf("%v: no call was traced", args)
	}
	return calls
}

// Any call of any service can be traced, whatever its kind: all five phases are there, and their times add up to the
// call's, with a replica that is down too.
func TestTraceOfEveryService(t *testing.T) {
	r := up(t, "--app", "kv,echo,calc,counter,files")
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, make([]byte, 3000), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := [][]string{
		{"kv", "put", "a", "1"}, {"kv", "get", "a"}, {"kv", "get", "--stale", "a"}, {"kv", "get", "--ordered", "a"},
		{"echo", "send", "hello"}, {"echo", "history"}, {"calc", "1+2"}, {"invoke", "counter", "add 5"}, {"query", "counter", "get"},
		{"files", "put", local, "f"}, {"files", "list"}, {"files", "update", local, "f"},
	}
	try := func(args []string) {
		t.Helper()
		// A replica that learned of the commitment from others cannot tell all phases apart.
		r.await(strings.Join(args, " "), func() (bool, string) {
			for _, c := range traced(t, r, args...) {
				if c.Via < 0 {
					return false, fmt.Sprintf("%+v", c)
				}
				if err := addsUp(c.Phases, c.Nanos); err != nil {
					return false, err.Error()
				}
			}
			return true, ""
		})
	}
	for _, args := range commands {
		if args[0] == "files" && args[1] == "put" {
			traced(t, r, args...) // it succeeds once
			continue
		}
		try(args)
	}
	// A replica that has stopped has the reason in its row; those that live have times of their own.
	_, primary := r.primary()
	dead, pid := -1, 0
	for _, x := range r.status().Replicas {
		if x.PID != primary {
			dead, pid = x.ID, x.PID
		}
	}
	r.kill(pid, syscall.SIGSTOP)
	defer r.kill(pid, syscall.SIGCONT)
	r.await("a trace beside a stopped replica", func() (bool, string) {
		c := traced(t, r, "kv", "put", "a", "2")[0]
		if err := addsUp(c.Phases, c.Nanos); err != nil {
			return false, err.Error()
		}
		for i, x := range c.Replicas {
			if i == dead {
				if x.Answer != "none" || x.Error == "" || len(x.Phases) != 0 {
					t.Errorf("a stopped replica: %+v", x)
				}
			} else if err := addsUp(x.Phases, x.ReceivedNanos); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

// --trace prints a table for people, leaves the result alone, and refuses a format that it does not know.
func TestTraceFlag(t *testing.T) {
	r := up(t, "--app", "kv,calc")
	stdout, stderr, code := run(t, "calc", "--trace", "--dir", r.dir, "1+2")
	lines := strings.Split(stderr, "\n")
	if code != 0 || stdout != "3\n" || len(lines) != 8 || !strings.HasPrefix(lines[0], "calc operation, number ") ||
		!slices.Equal(strings.Fields(lines[1]), []string{"ms", "request", "coordination", "agreement", "execution", "response", "sum"}) ||
		!strings.HasPrefix(lines[2], "call ") {
		t.Errorf("exit code %d, %q:\n%s", code, stdout, stderr)
	}
	stdout, stderr, code = run(t, "calc", "--trace", "--json", "--dir", r.dir, "1+2")
	if code != 0 || !strings.HasPrefix(stdout, `{"expression":"1+2"`) || !strings.HasPrefix(stderr, `{"service":"calc"`) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if stdout, stderr, code = run(t, "kv", "put", "--trace=off", "--dir", r.dir, "a", "1"); code != 0 || stderr != "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	_, stderr, code = run(t, "kv", "put", "--trace=loud", "--dir", r.dir, "a", "1")
	if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "table or json") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
