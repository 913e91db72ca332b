package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// modeFlags say what a read promises.
type modeFlags struct{ ordered, stale bool }

func (f *modeFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.ordered, "ordered", false, "order the read like a write: slower, never contended")
	cmd.Flags().BoolVar(&f.stale, "stale", false, "accept a state of the past, as f+1 replicas tell it alike")
}

func (f *modeFlags) mode() (client.Consistency, error) {
	switch {
	case f.ordered && f.stale:
		return 0, usage("--ordered and --stale exclude each other: leave one out")
	case f.ordered:
		return client.Ordered, nil
	case f.stale:
		return client.Stale, nil
	}
	return client.Linearizable, nil
}

// Invoke has a service execute an operation, exactly once unless flags say otherwise, and returns its result. The
// operation opens a session of its own and closes it. Errors are made for the user: one
// line, with the exit code.
func (s *Session) Invoke(ctx context.Context, service string, op []byte) ([]byte, error) {
	return s.call(ctx, service, bft.Quorum, func(c *client.Service) ([]byte, error) { return c.Invoke(ctx, op) })
}

// query is Query with the mode that flags say.
func (s *Session) query(ctx context.Context, service string, q []byte, f *modeFlags) ([]byte, error) {
	mode, err := f.mode()
	if err != nil {
		return nil, err
	}
	return s.Query(ctx, service, q, mode)
}

// Query has a service answer a question, and returns the answer; errors as in Invoke.
func (s *Session) Query(ctx context.Context, service string, q []byte, mode client.Consistency) ([]byte, error) {
	need := bft.Quorum
	if mode == client.Stale {
		need = bft.WeakQuorum // it is believed from f+1
	}
	return s.call(ctx, service, need, func(c *client.Service) ([]byte, error) { return c.Query(ctx, q, mode) })
}

// call runs f once as many replicas are connected as need(n) says.
func (s *Session) call(ctx context.Context, service string, need func(n int) int, f func(*client.Service) ([]byte, error)) ([]byte, error) {
	m, key, err := s.accessTo(service)
	if err != nil {
		return nil, err
	}
	calls, err := s.callOptions()
	if err != nil {
		return nil, err
	}
	c, end, err := s.dial(ctx, m, key)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.reach(ctx, c, need); err != nil {
		return nil, err
	}
	result, err := f(c.Service(service).With(calls...))
	if err != nil {
		return nil, s.explain(err, c)
	}
	return result, nil
}

// reachPause is the time between looks at the connections that are being made.
const reachPause = 2 * time.Millisecond

// reach waits until need(n) replicas are connected, so that an operation that
// cannot be answered is not sent either. It fails early if too many refuse this client.
func (s *Session) reach(ctx context.Context, c *client.Client, need func(n int) int) error {
	notice := s.waitNotice()
	for {
		r := c.Reachable()
		r.Needed = need(r.N)
		if len(r.Down) <= r.N-r.Needed {
			return nil
		}
		var refusal error
		refused := 0
		for _, d := range r.Down {
			if errors.Is(d.Err, transport.ErrNotAdmitted) || errors.Is(d.Err, transport.ErrWrongCluster) || errors.Is(d.Err, transport.ErrWrongVersion) {
				refused, refusal = refused+1, d.Err
			}
		}
		switch {
		case refused <= r.N-r.Needed:
		case errors.Is(refusal, transport.ErrNotAdmitted):
			return fmt.Errorf("%w; have the key in %s added to the manifest's clients", refusal, filepath.Join(s.dir, config.ClientKeyFile))
		default:
			return fmt.Errorf("%w; get the manifest and the program that the replicas have", refusal)
		}
		select {
		case <-time.After(reachPause):
			notice(r)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return errors.New("interrupted before anything was sent")
			}
			return Fail(CodeNoQuorum, "no quorum within %v: %v; nothing was sent: %s and try again", s.timeout, r, s.howToStart())
		}
	}
}

// noticeAfter is how long replicas are waited for in silence.
const noticeAfter = time.Second

// waitNotice returns a function that says once on a terminal what is waited for, when that takes long. A cluster that is being
// started again refuses connections as one does that has ended: so the wait lasts for as long as --timeout.
func (s *Session) waitNotice() func(client.Reach) {
	f, isFile := s.program.stderr.(*os.File)
	told := !isFile || !term.IsTerminal(int(f.Fd()))
	began := time.Now()
	return func(r client.Reach) {
		if !told && time.Since(began) >= noticeAfter {
			told = true
			s.tell("%v; waiting for them, within %v in all", r, s.timeout)
		}
	}
}

// howToStart says how replicas are started that are missing: those of a cluster that `up` made, by it.
func (s *Session) howToStart() string {
	const start = "start the missing replicas"
	path := filepath.Join(s.dir, upLockFile)
	if _, err := os.Stat(path); err != nil || s.discover.name != "" {
		return start
	}
	pid, err := lockHolder(path)
	if err != nil {
		return start
	}
	dir := ""
	if s.dir != DefaultDir {
		dir = " --dir " + s.dir
	}
	if pid != 0 { // up runs, and has said why a replica does not
		return fmt.Sprintf("%s, after a look at %s logs%s", start, s.program.Name, dir)
	}
	return fmt.Sprintf("%s with %s up%s", start, s.program.Name, dir)
}

// explain gives an error of the client its exit code, and says what to do.
func (s *Session) explain(err error, c *client.Client) error {
	if s.background.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	r := c.Reachable()
	code, prefix := CodeTimeout, ""
	if len(r.Down) > r.N-r.Needed {
		code, prefix = CodeNoQuorum, "no quorum: "
	}
	switch {
	case errors.Is(err, client.ErrRejected):
		return fmt.Errorf("%w; nothing was executed", err)
	case errors.Is(err, client.ErrReadFailed):
		return fmt.Errorf("%w; correct the question", err)
	case errors.Is(err, client.ErrContended):
		return fmt.Errorf("%w; use --ordered, or try again", err)
	case errors.Is(err, client.ErrNotSubmitted):
		return Fail(code, "%s%w; nothing was executed: try again", prefix, err)
	}
	return Fail(code, "%s%w; %s", prefix, err, s.unknownOutcome(err))
}
