// Package counter is a service that holds a signed 64-bit number, and an example of how short
// a service can be. Operations and results are text, so that they can be read in a log:
//
//	add 5    →  5
//	mul -3   →  -15
//	get      →  -15
//	add 9223372036854775807  →  9223372036854775792
//	mul 2    →  overflow     (and the number stays as it was)
//	(empty)  →  (empty)      adds one
//
// The empty operation is what the benchmarks send.
package counter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/baluarte-bft/baluarte/node/app"
)

// How an operation can fail. The number is then as it was.
var (
	// ErrOverflow: the result does not fit into 64 bits.
	ErrOverflow = errors.New("overflow")
	// ErrSyntax: there is no such operation.
	ErrSyntax = errors.New("syntax error")

	errQuestion = fmt.Errorf("%w: the only question is get", ErrSyntax)
)

// machine is the service. Its state is one number, which Query reads while Apply changes it.
type machine struct{ value atomic.Int64 }

// New makes a counter that stands at 0. It does not use the store.
func New(app.Store) (app.StateMachine, error) { return new(machine), nil }

// Apply executes one operation.
func (m *machine) Apply(_ app.Context, op []byte) []byte {
	next, err := step(m.value.Load(), op)
	if err != nil {
		return []byte(err.Error())
	}
	m.value.Store(next)
	if len(op) == 0 {
		return nil
	}
	return strconv.AppendInt(nil, next, 10)
}

// Query answers "get".
func (m *machine) Query(_ context.Context, q []byte) ([]byte, error) {
	if string(q) != "get" {
		return nil, errQuestion
	}
	return strconv.AppendInt(nil, m.value.Load(), 10), nil
}

// Validate refuses what is not an operation before it is ordered.
func (m *machine) Validate(op []byte) error {
	if _, err := step(0, op); err != nil && err != ErrOverflow {
		return err
	}
	return nil
}

// step returns the number after op, when it was v before.
func step(v int64, op []byte) (int64, error) {
	switch string(op) {
	case "":
		return add(v, 1)
	case "get":
		return v, nil
	}
	name, operand, _ := strings.Cut(string(op), " ")
	n, err := strconv.ParseInt(operand, 10, 64)
	switch {
	case err != nil:
		return v, ErrSyntax
	case name == "add":
		return add(v, n)
	case name == "mul":
		return mul(v, n)
	}
	return v, ErrSyntax
}

func add(a, b int64) (int64, error) {
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return a, ErrOverflow
	}
	return sum, nil
}

func mul(a, b int64) (int64, error) {
	product := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	if !product.IsInt64() {
		return a, ErrOverflow
	}
	return product.Int64(), nil
}

// snapshot is the number at one point.
type snapshot int64

// Snapshot returns the present number.
func (m *machine) Snapshot() (app.Snapshot, error) { return snapshot(m.value.Load()), nil }

// WriteTo writes 8 bytes, big endian.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(s)))
	return int64(n), err
}

// Close does nothing: there is nothing to release.
func (s snapshot) Close() error { return nil }

// Restore sets the number to that of a snapshot.
func (m *machine) Restore(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, 9))
	if err == nil && len(b) != 8 {
		err = errors.New("counter: a snapshot has 8 bytes")
	}
	if err != nil {
		return err
	}
	m.value.Store(int64(binary.BigEndian.Uint64(b)))
	return nil
}
