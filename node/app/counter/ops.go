package counter

import (
	"fmt"
	"strconv"
)

// Add returns the operation that adds n.
func Add(n int64) []byte { return strconv.AppendInt([]byte("add "), n, 10) }

// Mul returns the operation that multiplies by n.
func Mul(n int64) []byte { return strconv.AppendInt([]byte("mul "), n, 10) }

// Get returns the operation, or the query, that changes nothing.
func Get() []byte { return []byte("get") }

// Increment returns the empty operation, which adds 1 and replies with nothing.
func Increment() []byte { return nil }

// DecodeValue returns the number that the result of Add, Mul or Get tells: what it is after
// the operation. The error is ErrOverflow or ErrSyntax, or says that this is no such result.
func DecodeValue(result []byte) (int64, error) {
	switch string(result) {
	case ErrOverflow.Error():
		return 0, ErrOverflow
	case ErrSyntax.Error():
		return 0, ErrSyntax
	}
	n, err := strconv.ParseInt(string(result), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(result) {
		return 0, fmt.Errorf("counter: %q is not a result", result)
	}
	return n, nil
}

// DecodeIncrement returns the error of the result of Increment, ErrOverflow, or nil.
func DecodeIncrement(result []byte) error {
	if len(result) == 0 {
		return nil
	}
	if _, err := DecodeValue(result); err != nil {
		return err
	}
	return fmt.Errorf("counter: %q is not a result of the empty operation", result)
}
