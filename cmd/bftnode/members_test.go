package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/cli"
	"github.com/baluarte-bft/baluarte/node/client"
)

// held is what the others that answer hold of a replica, and how many of them there are.
func held(s *cli.Status, id int) (states []string) {
	for i := range s.Replicas {
		if r := &s.Replicas[i]; i != id && id < len(r.Members) && r.State != cli.StateDisconnected && r.State != cli.StateUnresponsive {
			states = append(states, r.Members[id].State)
		}
	}
	return states
}

// untilHeld waits until so many others hold a replica for something, and returns how long that took.
func (r *running) untilHeld(id int, state string, others int) time.Duration {
	r.t.Helper()
	began := time.Now()
	r.await(fmt.Sprintf("r%d is %s for %d others", id, state, others), func() (bool, string) {
		states := held(r.status(), id)
		n := 0
		for _, s := range states {
			if s == state {
				n++
			}
		}
		return n == others, fmt.Sprint(states)
	})
	return time.Since(began)
}

// untilReplier waits until a client would ask a replica for full results.
func (r *running) untilReplier(c *client.Client, id int) {
	r.t.Helper()
	r.await(fmt.Sprintf("r%d is the replier", id), func() (bool, string) {
		return c.Replier() == id, fmt.Sprintf("it is r%d", c.Replier())
	})
}

// With default settings: a replica that is paused becomes unresponsive for every other, and is not asked for full
// results; it goes on, and is active again for all, and asked again; it is killed, and becomes disconnected.
func TestMembersOnProcesses(t *testing.T) {
	r := up(t, "--no-restart", "--app", "kv")
	for id := range 4 {
		r.untilHeld(id, cli.StateActive, 3)
	}
	c := r.dial()
	defer c.Close()
	r.untilReplier(c, 0)
	l := startLoad(r, "members") // the calls of another client go on
	defer l.stop()
	pid := r.pids()[0]
	r.kill(pid, syscall.SIGSTOP)
	defer syscall.Kill(pid, syscall.SIGCONT)
	t.Logf("paused: unresponsive for all others after %v", r.untilHeld(0, cli.StateUnresponsive, 3))
	r.untilReplier(c, 1)
	r.kill(pid, syscall.SIGCONT)
	t.Logf("continued: active for all others after %v", r.untilHeld(0, cli.StateActive, 3))
	r.untilReplier(c, 0)
	r.kill(pid, syscall.SIGKILL)
	t.Logf("killed: disconnected for all others after %v", r.untilHeld(0, cli.StateDisconnected, 3))
	r.untilReplier(c, 1)

	out, err := exec.Command("bftnode", "logs", "r1", "--dir", r.dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"member r0: active → awaiting", "member r0: awaiting → unresponsive", "member r0: unresponsive → active",
		"member r0: unresponsive → disconnected"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("the log of r1 lacks %q", line)
		}
	}
	var s cli.Status
	if out, err = exec.Command("bftnode", "status", "--json", "--dir", r.dir).Output(); err != nil || json.Unmarshal(out, &s) != nil {
		t.Fatalf("status: %v", err)
	}
	if m := s.Replicas[1].Members; len(m) != 4 || m[0].Name != "r0" || m[0].State != cli.StateDisconnected || m[1].State != cli.StateActive {
		t.Errorf("r1 says %+v", m)
	}
}
