// Package calc is a service that evaluates arithmetic expressions exactly. Operations and results
// are text, so that they can be read in a log:
//
//	3+5-4/3*4   →  8/3
//	-(1.5 + 2)  →  -7/2
//	1/(2-2)     →  error at 2: division by zero
//	3+*4        →  error at 3: a number or ( belongs here
//
// The service has no state: what an expression is worth depends on nothing else. So it may be
// asked as a question as well as ordered as an operation.
package calc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/baluarte-bft/baluarte/node/app"
)

// machine is the service.
type machine struct{}

// New makes the service. It does not use the store.
func New(app.Store) (app.StateMachine, error) { return machine{}, nil }

// Apply evaluates an expression.
func (machine) Apply(_ app.Context, expression []byte) []byte {
	value, err := Evaluate(string(expression))
	if err != nil {
		return []byte(err.Error())
	}
	return []byte(value.RatString())
}

// Query evaluates an expression too. A wrong one has an answer that says so, as it has a result.
func (m machine) Query(_ context.Context, expression []byte) ([]byte, error) {
	return m.Apply(app.Context{}, expression), nil
}

// Snapshot returns the empty state.
func (m machine) Snapshot() (app.Snapshot, error) { return m, nil }

// WriteTo writes nothing.
func (machine) WriteTo(io.Writer) (int64, error) { return 0, nil }

// Close does nothing: there is nothing to release.
func (machine) Close() error { return nil }

// Restore reads an empty snapshot.
func (machine) Restore(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, 1))
	if err == nil && len(b) > 0 {
		err = errors.New("calc: a snapshot is empty, this one is not")
	}
	return err
}

// Error is why an expression has no value.
type Error struct {
	// Position is where, in characters from 1. What is missing at the end is missing after the last.
	Position int
	// Reason is one of those that this package names.
	Reason string
}

// Error returns the result of the operation.
func (e *Error) Error() string { return fmt.Sprintf("error at %d: %s", e.Position, e.Reason) }

// Decode returns the value that the result of an expression tells, or the *Error. Any other error
// says that this is no such result.
func Decode(result []byte) (*big.Rat, error) {
	text := string(result)
	if rest, ok := strings.CutPrefix(text, "error at "); ok {
		position, reason, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(position); err == nil && n > 0 && reasons[reason] {
			return nil, &Error{n, reason}
		}
	} else if len(text) <= maxResult && strings.Trim(text, "-0123456789/") == "" {
		if value, ok := new(big.Rat).SetString(text); ok && value.RatString() == text {
			return value, nil
		}
	}
	return nil, fmt.Errorf("calc: %.40q is not a result", result)
}

// Decimal writes a value with that many decimal places, the last one rounded, halves away from
// zero. Exact tells that nothing was lost; then zeros at the end are left out.
func Decimal(value *big.Rat, places int) (text string, exact bool) {
	text = value.FloatString(places)
	if rounded, _ := new(big.Rat).SetString(text); rounded.Cmp(value) != 0 {
		return text, false
	}
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text, true
}
