package node

import (
	"bufio"
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// moody is a passive counter, of one replica, whose Update may do anything.
type moody struct {
	exec.StateMachine
	self   int
	before func(self int, op []byte) // what Update does first
	judges bool
}

func (m moody) Draft() exec.Draft {
	d := moodyDraft{m.StateMachine.(exec.Updater).Draft(), &m}
	if m.judges {
		return judgingDraft{d}
	}
	return d
}

type moodyDraft struct {
	exec.Draft
	m *moody
}

func (d moodyDraft) Update(ctx exec.Context, op []byte) []byte {
	d.m.before(d.m.self, op)
	return d.Draft.Update(ctx, op)
}

// judgingDraft is one that tells what may have come of an operation.
type judgingDraft struct{ moodyDraft }

func (d judgingDraft) ValidateUpdate(ctx exec.Context, op, update []byte) error {
	return d.Draft.(exec.UpdateValidator).ValidateUpdate(ctx, op, update)
}

// moodyRig is a cluster that serves moody beside kv.
func moodyRig(t *testing.T, judges bool, before func(self int, op []byte)) (*rig, *testClient) {
	t.Helper()
	r := newRig(t, 4, nil)
	r.tune = func(o *Options) {
		self := int(o.Core.Self)
		o.Services = map[string]exec.Factory{"kv": kv.New, "moody": func(s exec.Store) (exec.StateMachine, error) {
			m, err := counter.NewPassive(s)
			return moody{m, self, before, judges}, err
		}}
	}
	r.startAll()
	r.untilActive(0, 1, 2, 3)
	return r, r.client(1)
}

// added adds to the counter, which must then have a value.
func (c *testClient) added(n int64, want string) {
	c.t.Helper()
	if got := c.wait(c.invoke("moody", counter.Add(n))); string(got) != want {
		c.t.Fatalf("after %d was added the counter is %q, want %s", n, got, want)
	}
}

// failed tells whether an operation has failed at the primary; if not, it must have its result.
func (c *testClient) failed(op []byte, otherwise string) bool {
	c.t.Helper()
	select {
	case x := <-c.invoke("moody", op):
		failed := x.Err != nil && strings.Contains(x.Err.Error(), "the service failed at the primary, nothing was changed")
		if !failed && (x.Err != nil || string(x.Value) != otherwise) {
			c.t.Fatalf("%q: %q, %v", op, x.Value, x.Err)
		}
		return failed
	case <-time.After(patience):
		c.t.Fatal("no result")
		return false
	}
}

// untilLeft waits until the second replica has left view 0.
func (r *rig) untilLeft() {
	r.t.Helper()
	r.until("view 0 is left", func() bool { return r.nodes[1].Status().View > 0 })
}

// untilEqual waits until all have executed the same.
func (r *rig) untilEqual() {
	r.t.Helper()
	r.until("all have executed the same", func() bool {
		for _, n := range r.nodes {
			if n.executed.Load() != r.nodes[0].executed.Load() || n.Status().State != StateActive {
				return false
			}
		}
		return true
	})
}

var poison = counter.Add(13)

// Where Update panics the operation fails: its client is told, the primary logs why, the state stays as it was, and all go on.
func TestPanicInUpdate(t *testing.T) {
	lines := logging.NewPipeReader()
	defer lines.Close()
	if err := logging.SetLogLevel("baluarte/node", "error"); err != nil {
		t.Fatal(err)
	}
	defer logging.SetAllLoggers(logging.LevelFatal)
	said := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(lines); s.Scan(); {
			if strings.Contains(s.Text(), "could not be executed") {
				said <- s.Text()
				return
			}
		}
	}()
	r, c := moodyRig(t, true, func(_ int, op []byte) {
		if bytes.Equal(op, poison) {
			panic("an unlucky number")
		}
	})
	c.added(1, "1")
	if !c.failed(poison, "") {
		t.Error("it has a result")
	}
	c.added(2, "3")
	c.put("k", "v")
	if line := <-said; !strings.Contains(line, "service moody: panic: an unlucky number") {
		t.Errorf("logged: %s", line)
	}
	r.untilEqual()
}

// A primary at which alone Update panics is replaced where the service judges updates, and believed where it does not.
func TestPanicInUpdateOfThePrimaryAlone(t *testing.T) {
	for name, judges := range map[string]bool{"judged": true, "believed": false} {
		t.Run(name, func(t *testing.T) {
			r, c := moodyRig(t, judges, func(self int, op []byte) {
				if self == 0 && bytes.Equal(op, poison) {
					panic("an unlucky machine")
				}
			})
			if judges {
				c.added(13, "13")
				c.added(1, "14")
				r.untilLeft()
			} else if c.failed(poison, "13") {
				c.added(1, "1")
			} else { // the machine is so slow that the primary was another one
				r.untilLeft()
			}
			r.untilEqual()
		})
	}
}

// An Update that does not come back costs its replica primacy and nothing else: the others change the view and the services go
// on, the replica applies, votes, and is counted on. When it comes back
// after all, what it brings is forgotten, and its replica can be the primary again.
func TestUpdateThatHangs(t *testing.T) {
	var gates [4]atomic.Pointer[chan struct{}]
	first, second := make(chan struct{}), make(chan struct{})
	r, c := moodyRig(t, false, func(self int, _ []byte) {
		if gate := gates[self].Load(); gate != nil {
			<-*gate
		}
	})
	gates[0].Store(&first)
	c.added(1, "1")
	c.put("k", "v")
	r.untilLeft()
	r.untilEqual()
	r.stop(3) // no quorum without the replica that hangs
	c.added(2, "3")
	if got := c.get("k"); got != "v" {
		t.Errorf("k is %q", got)
	}
	r.start(3)
	r.untilEqual()

	gates[0].Store(nil)
	close(first)
	for i := 1; i < 4; i++ {
		gates[i].Store(&second)
	}
	c.added(3, "6") // by the one that hung before: no other can
	close(second)
	c.put("k", "w")
	r.untilEqual()
}

// An operation at which each primary hangs is tried by one after the other; once Update comes back it is executed, once.
func TestUpdateThatHangsEverywhere(t *testing.T) {
	gate := make(chan struct{})
	var tried [4]atomic.Bool
	r, c := moodyRig(t, true, func(self int, op []byte) {
		if bytes.Equal(op, poison) {
			tried[self].Store(true)
			<-gate
		}
	})
	c.added(1, "1")
	result := c.invoke("moody", poison)
	r.until("each has tried it", func() bool {
		for i := range tried {
			if !tried[i].Load() {
				return false
			}
		}
		return true
	})
	close(gate)
	if got := c.wait(result); string(got) != "14" {
		t.Errorf("the counter is %q", got)
	}
	c.added(1, "15")
	c.put("k", "v")
	r.untilEqual()
}
