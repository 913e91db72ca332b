package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/baluarte-bft/baluarte/node/config"
)

const (
	// restartMin and restartMax bound the wait before a replica that died is started
	// again; it doubles each time, and begins anew once a replica lived for restartReset.
	restartMin   = 100 * time.Millisecond
	restartMax   = 5 * time.Second
	restartReset = 10 * time.Second
	// stopGrace is how long a replica has to end in order before it is killed.
	stopGrace = 5 * time.Second
	// maxLogBytes is the size at which a replica's log is set aside, and trimPause how
	// often the logs are looked at.
	maxLogBytes = 16 << 20
	trimPause   = 5 * time.Second
)

// child is one replica under the supervisor.
type child struct {
	name string
	home string

	mu        sync.Mutex
	proc      *os.Process // nil while none runs
	lastError string      // what the last run ended with, "" while none has ended
	failures  int         // ends so far
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		return 0
	}
	return c.proc.Pid
}

// failure returns how often the replica has ended, and why the last time.
func (c *child) failure() (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures, c.lastError
}

// supervisor runs the replicas of a cluster as processes of their own.
type supervisor struct {
	program  string
	children []*child
	restart  bool
	say      func(format string, args ...any)
	starts   chan startRequest
	wg       sync.WaitGroup
}

type startRequest struct {
	cmd  *exec.Cmd
	done chan error
}

// newSupervisor starts the thread that starts processes. It lasts as long as this
// process does: a child is bound to the thread that started it, see bindChild.
func newSupervisor(c *cluster, program string, restart bool, say func(string, ...any)) *supervisor {
	s := &supervisor{program: program, restart: restart, say: say, starts: make(chan startRequest)}
	for i := range c.manifest.Members {
		s.children = append(s.children, &child{name: c.manifest.Members[i].Name, home: c.home(i)})
	}
	go func() {
		runtime.LockOSThread()
		for r := range s.starts {
			r.done <- r.cmd.Start()
		}
	}()
	return s
}

// start runs every replica until ctx ends; wait returns when all have ended.
func (s *supervisor) start(ctx context.Context) {
	for _, c := range s.children {
		s.wg.Go(func() { s.keep(ctx, c) })
	}
	go s.trimLogs(ctx)
}

// trimLogs keeps the logs of the replicas within their bound until ctx ends.
func (s *supervisor) trimLogs(ctx context.Context) {
	tick := time.NewTicker(trimPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, c := range s.children {
			if err := trimLog(filepath.Join(c.home, config.LogFile), maxLogBytes); err != nil {
				s.say("the log of %s grows beyond its bound: %v", c.name, err)
			}
		}
	}
}

// trimLog sets a log aside that is longer than most, replacing the one that was set
// aside before. The file stays the same one, because the replica has it open for appending;
// lines that it writes just then are lost.
func trimLog(path string, most int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() <= most {
		return nil
	}
	if err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	aside, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(aside, from)
	if e := aside.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Truncate(path, 0)
}

func (s *supervisor) wait() { s.wg.Wait() }

// keep runs one replica, again and again unless that is turned off.
func (s *supervisor) keep(ctx context.Context, c *child) {
	pause := restartMin
	for {
		began := time.Now()
		err := s.runOnce(ctx, c)
		if ctx.Err() != nil {
			return
		}
		reason := strings.TrimPrefix(endReason(c, err), s.program+": ")
		c.mu.Lock()
		repeated := reason == c.lastError && time.Since(began) < restartReset
		c.failures++
		c.lastError = reason
		c.mu.Unlock()
		if !s.restart {
			s.say("replica %s ended: %s", c.name, reason)
			return
		}
		if time.Since(began) >= restartReset {
			pause = restartMin
		}
		// A replica that fails alike each time is told of once.
		if !repeated {
			s.say("replica %s ended: %s; it is started again, with up to %v between attempts", c.name, reason, restartMax)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, restartMax)
	}
}

// runOnce starts a replica and waits for its end. When ctx ends it is asked to end,
// and killed if it does not.
func (s *supervisor) runOnce(ctx context.Context, c *child) error {
	log, err := openLog(filepath.Join(c.home, config.LogFile))
	if err != nil {
		return err
	}
	defer log.Close()
	path, err := ownPath()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "run", "--home", c.home, "--lifeline")
	cmd.Args[0] = s.program
	cmd.Env = fairShare(os.Environ(), runtime.NumCPU(), len(s.children))
	cmd.Stdout, cmd.Stderr = log, log
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer lifeline.Close()
	bindChild(cmd)
	request := startRequest{cmd, make(chan error, 1)}
	s.starts <- request
	if err := <-request.done; err != nil {
		return err
	}
	c.mu.Lock()
	c.proc = cmd.Process
	c.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = stopProcess(cmd.Process, ended)
	}
	c.mu.Lock()
	c.proc = nil
	c.mu.Unlock()
	return err
}

// fairShare lets each replica use its share of the cores, unless GOMAXPROCS is set. A process on a
// machine of its own does best with all cores, but several that each try to use all of them
// mostly wake each other up: with four on two cores the share costs a sixth less per operation.
func fairShare(env []string, cores, replicas int) []string {
	if os.Getenv("GOMAXPROCS") != "" {
		return env
	}
	return append(env, "GOMAXPROCS="+strconv.Itoa(max(1, cores/replicas)))
}

// stopProcess asks a process to end, and kills it if it does not within stopGrace.
func stopProcess(p *os.Process, ended <-chan error) error {
	// An error means that it has ended, and then `ended` says so.
	_ = p.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(stopGrace):
	}
	_ = p.Kill()
	return <-ended
}

// openLog opens a log for appending.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// endReason says why a replica ended: its own last line, if it ended by itself with
// one of our errors, else what the system tells.
func endReason(c *child, err error) string {
	var exit *exec.ExitError
	if err == nil {
		return "exit status 0"
	}
	if !errors.As(err, &exit) || !exit.Exited() {
		return err.Error()
	}
	if line := lastLine(filepath.Join(c.home, config.LogFile)); line != "" {
		return line
	}
	return fmt.Sprintf("%v, see %s", err, filepath.Join(c.home, config.LogFile))
}

// lastLine returns the last line of a file, at most 4 KiB of it.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 4096
	if end, err := f.Seek(0, io.SeekEnd); err != nil || end == 0 {
		return ""
	} else if _, err := f.Seek(max(0, end-tail), io.SeekStart); err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, tail))
	if err != nil {
		return ""
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}
