package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// Effect says what a request that failed has changed.
type Effect string

// The effects.
const (
	// None: nothing was changed, and nothing will be.
	None Effect = "none"
	// Unknown: what was asked for may have been done, or may yet be. The status is then never 503, which is for what may
	// be asked again as it is.
	Unknown Effect = "unknown"
)

// Error is how a request failed.
type Error struct {
	// Status is the status of the response.
	Status int
	// Code is for programs: it does not change with releases, and openapi.json lists all.
	Code string
	// Message is a line for people.
	Message string
	// Effect is None unless it says otherwise. Unless it is set, that of a server's error is Unknown once an operation was executed.
	Effect Effect
	// RetryAfter is the wait after which the same may succeed; 0: not said.
	RetryAfter time.Duration
	// Details are further members of the error object.
	Details map[string]any

	allow string // the methods that a path is for
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// MarshalJSON returns the error object.
func (e *Error) MarshalJSON() ([]byte, error) {
	effect := e.Effect
	if effect == "" {
		effect = None
	}
	o := map[string]any{"code": e.Code, "message": e.Message, "effect": effect}
	for k, v := range e.Details {
		o[k] = v
	}
	return json.Marshal(o)
}

// unchanged is the error of a service that refused an operation: its state is as it was.
func unchanged(status int, code, format string, args ...any) *Error {
	e := fail(status, code, format, args...)
	e.Effect = None
	return e
}

func fail(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// soon is what clients are told to wait where something is full for the moment.
const soon = time.Second

func busy(code, format string, args ...any) *Error {
	e := fail(http.StatusServiceUnavailable, code, format, args...)
	e.RetryAfter = soon
	return e
}

// writeHeaders writes those that an error has beside its body.
func (e *Error) writeHeaders(h http.Header) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="baluarte"`)
	}
}

// callFailed words an error of the client. A read changes nothing whatever becomes of it.
func callFailed(err error, read bool) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, client.ErrRejected):
		return fail(http.StatusUnprocessableEntity, "rejected", "%v", err)
	case errors.Is(err, client.ErrReadFailed):
		return fail(http.StatusUnprocessableEntity, "read_failed", "%v", err)
	case errors.Is(err, client.ErrContended):
		return busy("contended", "%v", err)
	}
	switch open := errors.Is(err, client.ErrOutcomeUnknown); {
	case open && read:
		return fail(http.StatusGatewayTimeout, "no_answer", "%v", err)
	case open:
		e := fail(http.StatusGatewayTimeout, "outcome_unknown", "%v", err)
		e.Effect = Unknown
		switch {
		case errors.Is(err, client.ErrOverloaded):
			e.Code, e.RetryAfter = "outcome_unknown_overloaded", soon
		case errors.Is(err, client.ErrSessionExpired):
			e.Code = "outcome_unknown_expired"
		}
		return e
	case errors.Is(err, client.ErrOverloaded):
		return busy("overloaded", "%v", err)
	case errors.Is(err, transport.ErrNotAdmitted):
		return fail(http.StatusForbidden, "not_admitted", "%v", err)
	}
	return busy("not_submitted", "%v", err)
}

// malformed: the replicas agree on a result that this program cannot read.
func malformed(err error) *Error {
	return fail(http.StatusBadGateway, "malformed_result", "the cluster's result cannot be read: %v; is the gateway of the release that the replicas have?", err)
}
