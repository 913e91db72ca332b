package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/cli"
)

// adder is the program of somebody who uses Baluarte, with a service of their own.
func adder() { node.Main(node.Service{Name: "total", New: newTotal, SelfTest: selfTestTotal}) }

// forgetter is one with a service that does not keep its promise.
func forgetter() { node.Main(node.Service{Name: "total", New: newForgetful, SelfTest: selfTestTotal}) }

// selfTestTotal adds 5 in each round.
func selfTestTotal(ctx context.Context, s *cli.Session, round int) (string, error) {
	result, err := s.Invoke(ctx, "total", []byte("5"))
	if want := strconv.Itoa(5 * (round + 1)); err == nil && string(result) != want {
		err = fmt.Errorf("the total is %s, want %s", result, want)
	}
	return "5 was added", err
}

// forgetful is a total that begins anew with each operation.
type forgetful struct{ total }

func newForgetful(app.Store) (app.StateMachine, error) { return new(forgetful), nil }

func (f *forgetful) Apply(ctx app.Context, op []byte) []byte {
	f.sum.Store(0)
	return f.total.Apply(ctx, op)
}

// total is a service that adds up.
type total struct{ sum atomic.Int64 }

func newTotal(app.Store) (app.StateMachine, error) { return new(total), nil }

func (t *total) Apply(_ app.Context, op []byte) []byte {
	n, err := strconv.ParseInt(string(op), 10, 64)
	if err != nil {
		return []byte("not a number")
	}
	return strconv.AppendInt(nil, t.sum.Add(n), 10)
}

func (t *total) Query(context.Context, []byte) ([]byte, error) {
	return strconv.AppendInt(nil, t.sum.Load(), 10), nil
}

func (t *total) Snapshot() (app.Snapshot, error) { return sumAt(t.sum.Load()), nil }

func (t *total) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && len(b) != 8 {
		err = fmt.Errorf("a state of %d bytes", len(b))
	}
	if err == nil {
		t.sum.Store(int64(binary.BigEndian.Uint64(b)))
	}
	return err
}

type sumAt int64

func (s sumAt) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(s)))
	return int64(n), err
}

func (sumAt) Close() error { return nil }
