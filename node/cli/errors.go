package cli

import (
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// The exit codes, as docs/configuration.md lists them.
const (
	CodeOK            = 0
	CodeFailure       = 1
	CodeUsage         = wrong.Code
	CodeNotFound      = 3
	CodeCompareFailed = 4
	CodeTimeout       = 5
	CodeNoQuorum      = 6
)

// Error is a failure with its exit code. Its text is one line that says what was
// wrong and what to do.
type Error struct {
	Code int
	Err  error
}

// Error returns the text of the line.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fail makes an Error with the given exit code.
func Fail(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

func usage(format string, args ...any) error { return Fail(CodeUsage, format, args...) }

// codeOf returns the exit code for an error of a command.
func codeOf(err error) int {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case wrong.Is(err):
		return CodeUsage
	}
	return CodeFailure
}
