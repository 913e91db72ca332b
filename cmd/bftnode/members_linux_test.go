package main

import (
	"encoding/json"
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

// lanCluster is a cluster whose replicas are hosts of a network of their own.
type lanCluster struct {
	t    *testing.T
	net  *lan
	dir  string
	logs []string
}

// newLANCluster makes keys, manifest and homes as operators do, and runs each replica on a host.
func newLANCluster(t *testing.T) *lanCluster {
	t.Helper()
	c := &lanCluster{t: t, net: newLAN(t, 4), dir: t.TempDir()}
	create := []string{"manifest", "create", "--name", "lan", "--app", "kv", "--out", c.path("manifest.yaml")}
	for i := range 4 {
		out, errs, code := run(t, "keys", "new", "--home", c.path(fmt.Sprintf("r%d", i)))
		if code != 0 {
			t.Fatal(errs)
		}
		create = append(create, "--member", fmt.Sprintf("r%d=%s@%s:7000", i, strings.TrimSpace(out), c.net.address(i)))
	}
	c.must(create...)
	c.must("init", "--dir", c.path("cluster"), "--manifest", c.path("manifest.yaml"))
	for i := range 4 {
		home := c.path(fmt.Sprintf("r%d", i))
		c.must("init", "--home", home, "--manifest", c.path("manifest.yaml"))
		c.start(i, home)
	}
	return c
}

func (c *lanCluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *lanCluster) must(args ...string) {
	c.t.Helper()
	if _, errs, code := run(c.t, args...); code != 0 {
		c.t.Fatalf("bftnode %s: %s", strings.Join(args, " "), errs)
	}
}

func (c *lanCluster) start(i int, home string) {
	c.t.Helper()
	name := c.path(fmt.Sprintf("log%d", i))
	log, err := os.Create(name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.logs = append(c.logs, name)
	// nsenter becomes the program that it runs: the signal reaches it.
	cmd := c.net.hosts[i].command("bftnode", "run", "--home", home)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		log.Close()
	})
}

// on runs a command of a client at the switch, whom all hosts reach.
func (c *lanCluster) on(args ...string) *exec.Cmd {
	return c.net.command(append([]string{"bftnode"}, append(args, "--dir", c.path("cluster"))...)...)
}

// await waits for a state of the members' tables.
func (c *lanCluster) await(what string, is func(*cli.Status) bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, _ := c.on("status", "--json").Output() // its exit code tells of a quorum
		var s cli.Status
		if json.Unmarshal(out, &s) == nil && is(&s) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %v: %s", what, patience, out)
		}
	}
}

// broken tells whether all hold all for active, and the broken links are those given, by observer and member.
func broken(s *cli.Status, links map[[2]int]bool) bool {
	for i := range s.Replicas {
		if len(s.Replicas[i].Members) != len(s.Replicas) {
			return false
		}
		for id, m := range s.Replicas[i].Members {
			if m.State != cli.StateActive || m.LinkBroken != links[[2]int{i, id}] {
				return false
			}
		}
	}
	return true
}

var suspicion = regexp.MustCompile(`member r(\d): \w+ → (awaiting|unresponsive|disconnected)`)

// With one link cut between two replicas nobody is called dead: all hold all for active, and the two at its ends know that
// the link is broken. Operations go on, and when the link is back it is good again.
func TestOneLinkCutOnTheNetwork(t *testing.T) {
	c := newLANCluster(t)
	c.await("all are active", func(s *cli.Status) bool { return broken(s, nil) })
	c.net.cut(0, 1, true)
	c.await("the link is broken, and all are active", func(s *cli.Status) bool {
		return broken(s, map[[2]int]bool{{0, 1}: true, {1, 0}: true})
	})
	if out, err := c.on("kv", "put", "a", "1").CombinedOutput(); err != nil {
		t.Errorf("put with the link cut: %v: %s", err, out)
	}
	if out, err := c.on("status", "--members").Output(); err != nil || strings.Count(string(out), "active, link broken") != 2 {
		t.Errorf("the table (%v):\n%s", err, out)
	}
	c.net.cut(0, 1, false)
	c.await("all links are good", func(s *cli.Status) bool { return broken(s, nil) })

	// Whoever was held for dead at one end of the cut, or was only suspected elsewhere, for the machine may be slow.
	dead, elsewhere := []string{}, 0
	for i, name := range c.logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range suspicion.FindAllStringSubmatch(string(text), -1) {
			switch member := int(m[1][0] - '0'); {
			case i+member != 1: // 0 of 1, and 1 of 0
				elsewhere++
			case m[2] != "awaiting":
				dead = append(dead, fmt.Sprintf("r%d: %s", i, m[0]))
			}
		}
	}
	if len(dead) > 0 && elsewhere == 0 {
		t.Errorf("called dead: %v", dead)
	}
}
