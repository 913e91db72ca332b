package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// kvIssue executes operations on a service, one at a time; fail may refuse the n-th, from 1.
func kvIssue(t *testing.T, fail func(n int) (refused, failed error)) (issue, app.StateMachine) {
	t.Helper()
	machine, err := kv.New(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	return func(op operation, done func([]byte, error)) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		refused, failed := fail(n)
		if refused != nil {
			return refused
		}
		if failed != nil {
			done(nil, failed)
			return nil
		}
		done(machine.Apply(app.Context{}, op.payload), nil)
		return nil
	}, machine
}

// All records are there, also after errors that pass, with values of their size.
func TestFillRecords(t *testing.T) {
	issues, machine := kvIssue(t, func(n int) (error, error) {
		switch n % 50 {
		case 7:
			return bft.ErrOverloaded, nil
		case 9:
			return nil, bft.ErrOutcomeUnknown
		}
		return nil, nil
	})
	r := records{count: 777, size: 33}
	if err := fillRecords(t.Context(), r, []issue{issues, issues, issues}, func(int) {}); err != nil {
		t.Fatal(err)
	}
	get := r.gets()
	values := map[string]bool{}
	for i := range r.count {
		result, err := machine.Query(t.Context(), get.of(uint64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.checkRead(result); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		values[string(bytes.Clone(result))] = true
	}
	if len(values) != r.count {
		t.Errorf("%d different values of %d records", len(values), r.count)
	}
}

// An error that stays ends the filling, and says which record it was.
func TestFillRecordsGivesUp(t *testing.T) {
	issues, _ := kvIssue(t, func(int) (error, error) { return nil, bft.ErrOverloaded })
	err := fillRecords(t.Context(), records{count: 1000}, []issue{issues}, func(int) {})
	if !errors.Is(err, bft.ErrOverloaded) || !strings.Contains(fmt.Sprint(err), "could not be loaded") {
		t.Errorf("it ended with %v, want the error of a record", err)
	}
}

func TestFillRecordsEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent := func(operation, func([]byte, error)) error {
		cancel()
		return nil
	}
	if err := fillRecords(ctx, records{count: 10}, []issue{silent}, func(int) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want that it was cancelled", err)
	}
}
