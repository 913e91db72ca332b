package apptest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
)

// sum adds up what is drawn, or what a clock says: a service that is not deterministic.
type sum struct {
	draw  func() uint64
	total atomic.Uint64
}

// Apply draws by itself: this is the service replicated actively.
func (s *sum) Apply(_ app.Context, op []byte) []byte {
	return binary.BigEndian.AppendUint64(nil, s.total.Add(s.draw()))
}

func (s *sum) Query(context.Context, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, s.total.Load()), nil
}

func (s *sum) Snapshot() (app.Snapshot, error) { return sumSnapshot(s.total.Load()), nil }

func (s *sum) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && len(b) != 8 {
		err = errors.New("a snapshot has 8 bytes")
	}
	if err == nil {
		s.total.Store(binary.BigEndian.Uint64(b))
	}
	return err
}

type sumSnapshot uint64

func (s sumSnapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(s)))
	return int64(n), err
}
func (s sumSnapshot) Close() error { return nil }

// passiveSum is the same replicated passively: the primary draws, all others are told the number. It has a place for each fault.
type passiveSum struct {
	sum
	fault string
}

// Apply adds what was drawn.
func (s *passiveSum) Apply(_ app.Context, update []byte) []byte {
	if len(update) != 8 {
		return []byte("no update")
	}
	n := binary.BigEndian.Uint64(update)
	if s.fault == "apply draws" {
		n = s.draw()
	}
	return binary.BigEndian.AppendUint64(nil, s.total.Add(n))
}

func (s *passiveSum) Draft() app.Draft { return &sumDraft{s} }

type sumDraft struct{ s *passiveSum }

func (d *sumDraft) Update(_ app.Context, op []byte) []byte {
	switch {
	case d.s.fault == "draft changes the state":
		d.s.total.Add(1)
	case d.s.fault == "update panics" && len(op) == 0:
		panic("nothing to do")
	case d.s.fault == "operation changed" && len(op) > 0:
		op[0]++
	}
	return binary.BigEndian.AppendUint64(nil, d.s.draw())
}

func (d *sumDraft) ValidateUpdate(_ app.Context, _, update []byte) error {
	if d.s.fault == "refuses its own" || len(update) != 8 {
		return errors.New("this was not drawn")
	}
	return nil
}

var draws = map[string]func() uint64{
	"random numbers": func() uint64 { return 1 + rand.Uint64N(1<<40) },
	"a clock":        func() uint64 { return uint64(time.Now().UnixNano()) },
}

var sumOps = [][]byte{[]byte("draw"), []byte("draw again"), {}, []byte("x"), []byte("y"), []byte("z"), []byte("last")}

// A service that draws random numbers or reads a clock is refused in active mode, and works in passive mode.
func TestServicesThatAreNotDeterministic(t *testing.T) {
	for name, draw := range draws {
		r := &recorder{TB: t}
		apptest.Check(r, func(app.Store) (app.StateMachine, error) { return &sum{draw: draw}, nil }, sumOps)
		if len(r.errors) == 0 || !strings.Contains(r.errors[0], "another result") {
			t.Errorf("with %s, active: %q", name, r.errors)
		}
		apptest.Check(t, func(app.Store) (app.StateMachine, error) { return &passiveSum{sum: sum{draw: draw}}, nil }, sumOps)
	}
}

// Every fault of a passive service is found.
func TestFaultsOfPassiveServices(t *testing.T) {
	for fault, want := range map[string]string{
		"apply draws":             "another result",
		"draft changes the state": "a draft changes the state",
		"update panics":           "update panics",
		"operation changed":       "update changes the bytes",
		"refuses its own":         "validate refuses an update",
	} {
		r := &recorder{TB: t}
		apptest.Check(r, func(app.Store) (app.StateMachine, error) {
			return &passiveSum{sum: sum{draw: draws["random numbers"]}, fault: fault}, nil
		}, sumOps)
		if len(r.errors) != 1 || !strings.Contains(r.errors[0], want) {
			t.Errorf("%s: %q", fault, r.errors)
		}
	}
}
