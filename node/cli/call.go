package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

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
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return errors.New("interrupted before anything was sent")
			}
			return Fail(CodeNoQuorum, "no quorum within %v: %v; nothing was sent: start the missing replicas and try again", s.timeout, r)
		}
	}
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
