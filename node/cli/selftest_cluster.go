package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	selfTestReplicas = 4
	// selfTestInterval is that of checkpoints, so short that the few operations of a test reach several.
	selfTestInterval = 8
)

// selfTest is a run of the command selftest.
type selfTest struct {
	program *Program
	timeout time.Duration
	out     io.Writer
	result  SelfTestResult

	cluster    *cluster
	supervisor *supervisor
	watcher    *watcher
	session    *Session
	victim     int // the replica that was killed
}

// run makes all checks. Its error is that the test itself could not be made.
func (t *selfTest) run(ctx context.Context) (*SelfTestResult, error) {
	dir, err := os.MkdirTemp("", t.program.Name+"-selftest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	t.line("CHECK", "RESULT", "TIME", "WHAT WAS SEEN")
	replicas, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		if t.watcher != nil {
			t.watcher.close()
		}
		if t.supervisor != nil {
			t.supervisor.wait()
		}
	}()
	if t.check(ctx, "start", func(ctx context.Context) (string, error) { return t.start(ctx, replicas, dir) }) {
		t.play(ctx, replicas)
		t.check(ctx, "end", func(context.Context) (string, error) {
			stop()
			t.supervisor.wait()
			return "all processes have ended, and nothing is left of the directory", os.RemoveAll(dir)
		})
	}
	if ctx.Err() != nil {
		return nil, errors.New("interrupted: the processes have ended, and the directory is gone")
	}
	t.result.Millis = time.Since(began).Milliseconds()
	t.result.OK = t.result.failure() == nil
	return &t.result, nil
}

// play makes the checks between start and end.
func (t *selfTest) play(ctx, replicas context.Context) {
	t.services(ctx, roundFresh)
	if t.check(ctx, "kill", t.kill) {
		t.services(ctx, roundKilled)
		if t.check(ctx, "restart", func(ctx context.Context) (string, error) { return t.restart(ctx, replicas) }) {
			t.services(ctx, roundBack)
		}
	}
	t.check(ctx, "replicas agree", t.agree)
}

// services calls each service that has a test, and tells once which of those that the cluster hosts has none.
func (t *selfTest) services(ctx context.Context, round int) {
	for _, s := range t.program.Services {
		if s.SelfTest != nil {
			t.check(ctx, s.Name+roundNames[round], func(ctx context.Context) (string, error) {
				session := *t.session
				session.background = ctx
				return s.SelfTest(ctx, &session, round)
			})
		} else if round == roundFresh && !s.Asked {
			t.result.NotCalled = append(t.result.NotCalled, s.Name)
			t.line(s.Name, "-", "", "not called: give its Service a SelfTest, which calls it")
		}
	}
}

// start makes a cluster and waits until all of it agrees.
func (t *selfTest) start(ctx, replicas context.Context, dir string) (string, error) {
	var err error
	if t.cluster, err = createCluster(dir, selfTestReplicas, t.program.testedNames(), func(c *cluster) {
		c.manifest.Protocol.CheckpointInterval = selfTestInterval
	}); err != nil {
		return "", err
	}
	key, err := readClientKey(t.cluster.dir)
	if err != nil {
		return "", err
	}
	if t.watcher, err = newWatcher(t.cluster.manifest, key); err != nil {
		return "", err
	}
	// The checks do not talk: what is to be seen is in their lines.
	quiet := *t.program
	quiet.stdout, quiet.stderr = io.Discard, io.Discard
	t.session = &Session{program: &quiet, dir: dir, timeout: t.timeout}
	t.supervisor = newSupervisor(t.cluster, t.program.Name, false, func(string, ...any) {})
	t.supervisor.start(replicas)
	st, err := t.await(ctx, func(st *Status) bool {
		_, agreeing, _ := st.active()
		return agreeing == st.N || t.supervisor.hopeless(0)
	})
	if err != nil || t.supervisor.hopeless(0) {
		return "", fmt.Errorf("the replicas do not agree: %s%s", st.notes(), t.supervisor.failures())
	}
	_, _, view := st.active()
	return fmt.Sprintf("%d processes have found each other and agree in view %d", st.N, view), nil
}

// await asks the replicas until what they say is as it should be.
func (t *selfTest) await(ctx context.Context, is func(*Status) bool) (*Status, error) {
	st := t.watcher.poll(ctx)
	err := t.watcher.until(ctx, settlePause, func(now *Status) bool {
		st = now
		return is(now)
	})
	return st, err
}

// kill kills the primary and waits until its process is gone.
func (t *selfTest) kill(ctx context.Context) (string, error) {
	st, err := t.await(ctx, func(st *Status) bool {
		for i := range st.Replicas {
			if r := &st.Replicas[i]; r.Role == RolePrimary && r.State == StateActive {
				t.victim = i
				return true
			}
		}
		return false
	})
	if err != nil {
		return "", fmt.Errorf("no replica says that it is the primary: %s", st.notes())
	}
	c := t.supervisor.children[t.victim]
	pid, err := c.kill()
	if err != nil {
		return "", fmt.Errorf("killing the primary, %s: %w", c.name, err)
	}
	for {
		if ends, _ := c.failure(); ends > 0 {
			return fmt.Sprintf("%s, the primary of view %d, was killed: process %d", c.name, st.Replicas[t.victim].View, pid), nil
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return "", fmt.Errorf("process %d of %s does not end", pid, c.name)
		}
	}
}

// restart starts the killed replica again and waits until it has what the others have.
func (t *selfTest) restart(ctx, replicas context.Context) (string, error) {
	c := t.supervisor.children[t.victim]
	t.supervisor.wg.Go(func() { t.supervisor.keep(replicas, c) })
	st, err := t.await(ctx, together)
	if err != nil {
		return "", fmt.Errorf("%s does not catch up: %s", c.name, apart(st))
	}
	r := &st.Replicas[t.victim]
	return fmt.Sprintf("%s is back as a %s in view %d, and has what was executed without it", c.name, r.Role, r.View), nil
}

// agree waits until all replicas have executed the same, and have certified the same checkpoint: a replica whose state has
// another digest than that of a quorum has no such checkpoint, and says so.
func (t *selfTest) agree(ctx context.Context) (string, error) {
	certified := func(st *Status) bool {
		r := &st.Replicas[0]
		return r.Stable == r.Executed-r.Executed%selfTestInterval
	}
	st, err := t.await(ctx, func(st *Status) bool { return together(st) && certified(st) })
	if err != nil {
		return "", fmt.Errorf("the replicas have not come to the same: %s", apart(st))
	}
	r := &st.Replicas[0]
	text := fmt.Sprintf("all %d have executed the same %d numbers", st.N, r.Executed)
	if r.Stable > 0 {
		text += fmt.Sprintf(", and their states have one digest at %d", r.Stable)
	}
	return text, nil
}

// together: a quorum works in one view, and all have executed and certified the same. One that suspected the primary while
// the others did not may wait for the next view: it has what they have.
func together(st *Status) bool {
	for i := range st.Replicas {
		r, first := &st.Replicas[i], &st.Replicas[0]
		if !r.live || r.Executed != first.Executed || r.Stable != first.Stable {
			return false
		}
	}
	return st.missing() == ""
}

// apart says how replicas differ.
func apart(st *Status) string {
	text := ""
	for _, r := range st.Replicas {
		text += fmt.Sprintf("%s is %s in view %d, has executed %d and certified %d; ", r.name, r.State, r.View, r.Executed, r.Stable)
	}
	return text + st.notes()
}

// kill ends the process of a replica at once, and returns which it was.
func (c *child) kill() (pid int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		return 0, errors.New("it is not running")
	}
	return c.proc.Pid, c.proc.Kill()
}

// localFile is the path of a file for a check to work with.
func (s *Session) localFile(name string) string { return filepath.Join(s.dir, name) }
