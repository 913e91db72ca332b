package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// die ends a client as a crash would: nothing more leaves it, and nothing more is written. What it sent has arrived.
func (cl *cluster) die(c *Client) {
	cl.t.Helper()
	c.net.Close()
	c.journal.f.Close()
	for _, r := range cl.replicas {
		waitFor(cl.t, "the end of the connections", func() bool { return r.open() == 0 })
	}
}

func (cl *cluster) dialErr(opts ...Option) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Dial(ctx, cl.manifest, testKey("client"), opts...)
}

// counts is what the counter is by what was executed.
func (cl *cluster) counts() string {
	reply, err := cl.dial().Query(context.Background(), []byte("get"), Ordered)
	if err != nil {
		cl.t.Fatal(err)
	}
	return string(reply)
}

// A client dies with calls outstanding, some executed and some not; the next one finishes or ends them, and knows of each.
func TestJournal(t *testing.T) {
	for _, recovery := range []Recovery{Finish, Exterminate} {
		cl := newCluster(t, 4)
		path := filepath.Join(t.TempDir(), "journal")
		c, err := cl.dialErr(Journal(path, Finish))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Invoke(within(t, patience), []byte("add 1")); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.dialErr(Journal(path, Finish)); err == nil || !strings.Contains(err.Error(), "another client uses it") {
			t.Errorf("two clients with one journal: %v", err)
		}
		cl.setMode(silent, 0, 1, 2)
		// One replica executes it for all, here; nobody believes one.
		before := cl.replicas[3].heard.Load()
		if err := c.Submit(context.Background(), []byte("add 10"), func([]byte, error) {}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the call at the last replica", func() bool { return cl.replicas[3].heard.Load() > before })
		cl.setMode(silent, 3)
		before = cl.replicas[3].heard.Load()
		for i := range 2 {
			if err := c.Submit(context.Background(), fmt.Appendf(nil, "add %d", 100*(i+1)), func([]byte, error) {}); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "more calls", func() bool { return cl.replicas[3].heard.Load() > before })
		waitFor(t, "three operations in the journal", func() bool {
			text, err := os.ReadFile(path)
			return err == nil && strings.Count(string(text), "signature") >= 2
		})
		cl.die(c)
		cl.setMode(honest, 0, 1, 2, 3)
		next := cl.dial(Journal(path, recovery))
		outcomes, err := next.Recovered(within(t, patience))
		if err != nil || len(outcomes) < 2 {
			t.Fatalf("%d outcomes, %v", len(outcomes), err)
		}
		want, added := 1, 0
		for _, o := range outcomes {
			if _, err := fmt.Sscanf(string(o.Op), "add %d", &added); err != nil {
				t.Fatal(err)
			}
			switch {
			case o.Err == nil:
				want += added
			case recovery == Finish || !errors.Is(o.Err, ErrNotSubmitted):
				t.Errorf("recovery %d: %s ended in %v", recovery, o.Op, o.Err)
			}
		}
		if recovery == Exterminate && (outcomes[0].Err != nil || outcomes[1].Err == nil) {
			t.Errorf("what was executed ended in %v, what was not in %v", outcomes[0].Err, outcomes[1].Err)
		}
		if got := cl.counts(); got != fmt.Sprint(want) {
			t.Errorf("recovery %d: the counter is %s, want %d", recovery, got, want)
		}
		if reply, err := next.Invoke(within(t, patience), []byte("add 1000")); err != nil || string(reply) != fmt.Sprint(want+1000) {
			t.Errorf("a new call: %s, %v", reply, err)
		}
		next.Close()
		last := cl.dial(Journal(path, Finish))
		if outcomes, err := last.Recovered(within(t, patience)); err != nil || len(outcomes) != 0 {
			t.Errorf("%d operations are outstanding though all have ended, %v", len(outcomes), err)
		}
	}
}

// What is not a journal of this cluster is left as it is.
func TestJournalRefusesOtherFiles(t *testing.T) {
	cl := newCluster(t, 4)
	for _, text := range []string{"no journal", "no journal\n", `{"cluster":"00"}` + "\n", "{}\n"} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.dialErr(Journal(path, Finish)); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q was taken: %v", text, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	if _, err := cl.dialErr(Journal(filepath.Join(t.TempDir(), "no", "such"), Finish)); err == nil {
		t.Error("a journal in a directory that is not there was taken")
	}
}

// A journal does not grow with what is done.
func TestJournalIsWrittenAnew(t *testing.T) {
	cl := newCluster(t, 4)
	path := filepath.Join(t.TempDir(), "journal")
	c := cl.dial(Journal(path, Finish))
	large := append([]byte("add 1"), make([]byte, 200<<10)...)
	written := 0
	for written < 4*journalSlack {
		_, err := c.Invoke(within(t, patience), large) // which the service refuses
		if !errors.Is(err, ErrRejected) {
			t.Fatal(err)
		}
		written += len(large)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*journalSlack {
		t.Errorf("%d bytes after %d, %v", info.Size(), written, err)
	}
}

// When the disk fails nothing leaves any more, and the caller is told.
func TestJournalThatFails(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial(Journal(filepath.Join(t.TempDir(), "journal"), Finish))
	c.journal.f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := c.Submit(ctx, []byte("add 1"), func([]byte, error) {}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the failure", func() bool { return c.journalFailure() != nil })
	if _, err := c.Invoke(within(t, patience), []byte("add 1")); !errors.Is(err, ErrNotSubmitted) || !strings.Contains(err.Error(), "journal") {
		t.Errorf("a call after it: %v", err)
	}
	if got := cl.counts(); got != "0" {
		t.Errorf("what is not in the journal was executed: %s", got)
	}
}
