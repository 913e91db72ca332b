package client

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/baluarte-bft/baluarte/bft"
)

// How calls fail, see package [bft]; found with errors.Is.
var (
	// ErrNotSubmitted: the operation was not executed and never will be; it may be invoked again.
	ErrNotSubmitted = bft.ErrNotSubmitted
	// ErrOutcomeUnknown: the call ended before f+1 replicas answered alike. The operation may have
	// been executed, or may yet be.
	ErrOutcomeUnknown = bft.ErrOutcomeUnknown
	// ErrOverloaded: the replicas, or this client, had no room for the operation.
	ErrOverloaded = bft.ErrOverloaded
	// ErrContended: the replicas never agreed on the state to read; an [Ordered] read will succeed.
	ErrContended = bft.ErrContended
	// ErrRejected: refused for what it is; not executed.
	ErrRejected = bft.ErrRejected
	// ErrSessionExpired: the cluster has ended the session in which the operation left.
	ErrSessionExpired = bft.ErrSessionExpired
	// ErrReadFailed: the service answered a read with an error.
	ErrReadFailed = bft.ErrReadFailed
)

var errClosed = &bft.CallError{Kind: bft.ErrNotSubmitted, Text: "the client is closed"}

// callError is how a call failed, with what the client knows of the reasons.
type callError struct {
	err   error
	ended error // of the caller's context, or nil
	reach string
	also  []error // that the text of reach is made of
}

// Error is one line.
func (e *callError) Error() string {
	var b strings.Builder
	b.WriteString(e.err.Error())
	if e.reach != "" {
		b.WriteString("; ")
		b.WriteString(e.reach)
	}
	if e.ended != nil {
		b.WriteString(" (")
		b.WriteString(e.ended.Error())
		b.WriteString(")")
	}
	return b.String()
}

// Unwrap gives the reasons to errors.Is.
func (e *callError) Unwrap() []error {
	errs := append([]error{e.err}, e.also...)
	if e.ended != nil {
		errs = append(errs, e.ended)
	}
	return errs
}

// explain adds to an error of the core what the network and the caller's context have to do with it.
func (c *Client) explain(err, ended error) error {
	if err == nil {
		return nil
	}
	e := &callError{err: err, ended: ended}
	if errors.Is(err, ErrNotSubmitted) || errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrOverloaded) {
		if r := c.Reachable(); len(r.Down) > 0 {
			e.reach = r.String()
		}
	}
	if ended == nil && e.reach == "" {
		return err
	}
	return e
}

// Reach says which replicas can be reached.
type Reach struct {
	// N replicas there are, Needed of them are needed for progress.
	N, Needed int
	// Down lists those that are not connected.
	Down []DownReplica
}

// DownReplica is a replica that is not connected.
type DownReplica struct {
	ID   int
	Name string
	// Err is why.
	Err error
}

// Reason is why in a few words: of an error of the operating system, only its own.
func (d DownReplica) Reason() string {
	var errno syscall.Errno
	if errors.As(d.Err, &errno) {
		return errno.Error()
	}
	return d.Err.Error()
}

// Reasons lists why replicas are not connected, each reason once, such as "r0, r2: connection refused; r1: connecting", and
// at most that many.
func Reasons(down []DownReplica, most int) string {
	var reasons []string
	names := map[string][]string{}
	for _, d := range down {
		reason := d.Reason()
		if names[reason] == nil {
			reasons = append(reasons, reason)
		}
		names[reason] = append(names[reason], d.Name)
	}
	for i, reason := range reasons {
		if i == most {
			return strings.Join(append(reasons[:most], fmt.Sprintf("and %d more reasons", len(reasons)-most)), "; ")
		}
		reasons[i] = strings.Join(names[reason], ", ") + ": " + reason
	}
	return strings.Join(reasons, "; ")
}

// String is one line, such as "2 of 4 replicas reachable, 3 needed (r2: connection refused)".
func (r Reach) String() string {
	s := fmt.Sprintf("%d of %d replicas reachable, %d needed", r.N-len(r.Down), r.N, r.Needed)
	if len(r.Down) > 0 {
		const most = 3 // as many reasons as fit a line
		s += " (" + Reasons(r.Down, most) + ")"
	}
	return s
}

// Reachable tells which replicas can be reached at present.
func (c *Client) Reachable() Reach {
	r := Reach{N: len(c.manifest.Members), Needed: bft.Quorum(len(c.manifest.Members))}
	for id, up := range c.net.Connected() {
		if up {
			continue
		}
		d := DownReplica{ID: id, Name: c.manifest.Members[id].Name, Err: c.net.LastError(id)}
		if d.Err == nil {
			d.Err = errors.New("connecting") // it came up between the two questions
		}
		r.Down = append(r.Down, d)
	}
	return r
}
