package counter_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

func TestCounterKeepsThePromisesOfAService(t *testing.T) {
	ops := apptest.Generate(1, 300, func(r *rand.Rand) []byte {
		switch r.IntN(4) {
		case 0:
			return counter.Add(r.Int64() >> r.IntN(64))
		case 1:
			return counter.Mul(int64(r.IntN(7)) - 3)
		case 2:
			return counter.Increment()
		}
		return counter.Get()
	})
	for _, factory := range []app.Factory{counter.New, counter.NewPassive} {
		apptest.Check(t, factory, ops, apptest.Queries(counter.Get(), []byte("nonsense")))
	}
}

func start(t rapid.TB) app.StateMachine {
	m, err := counter.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCounterComputesLikeBigNumbers(t *testing.T) {
	number := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 1, -1, 2, math.MaxInt64, math.MinInt64}))
	rapid.Check(t, func(t *rapid.T) {
		m, model := start(t), new(big.Int)
		for range rapid.IntRange(1, 30).Draw(t, "operations") {
			n := number.Draw(t, "operand")
			op, want := counter.Add(n), new(big.Int).Add(model, big.NewInt(n))
			if rapid.Bool().Draw(t, "multiply") {
				op, want = counter.Mul(n), new(big.Int).Mul(model, big.NewInt(n))
			}
			got, err := counter.DecodeValue(m.Apply(app.Context{}, op))
			if want.IsInt64() {
				model = want
				if err != nil || got != want.Int64() {
					t.Fatalf("%s: %d, %v, want %d", op, got, err, want)
				}
			} else if !errors.Is(err, counter.ErrOverflow) {
				t.Fatalf("%s: %d, %v, want an overflow", op, got, err)
			}
		}
		answer, err := m.Query(context.Background(), counter.Get())
		if got, err2 := counter.DecodeValue(answer); err != nil || err2 != nil || got != model.Int64() {
			t.Fatalf("get: %q, %v, want %d", answer, err, model)
		}
	})
}

func TestEmptyOperationAddsOneAndSaysNothing(t *testing.T) {
	m := start(t)
	for range 3 {
		if result := m.Apply(app.Context{}, counter.Increment()); counter.DecodeIncrement(result) != nil || len(result) != 0 {
			t.Fatalf("result %q", result)
		}
	}
	if got := string(m.Apply(app.Context{}, counter.Get())); got != "3" {
		t.Fatalf("the counter is %s", got)
	}
	m.Apply(app.Context{}, counter.Add(math.MaxInt64-3))
	if err := counter.DecodeIncrement(m.Apply(app.Context{}, nil)); !errors.Is(err, counter.ErrOverflow) {
		t.Fatalf("beyond the end: %v", err)
	}
}

// TestModesAgree: in both modes the same operations have the same results, and lead to the same number.
func TestModesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		active := start(t)
		passive, err := counter.NewPassive(nil)
		if err != nil {
			t.Fatal(err)
		}
		draft := passive.(app.Updater).Draft()
		for range rapid.IntRange(1, 20).Draw(t, "operations") {
			n := rapid.OneOf(rapid.Int64Range(-9, 9), rapid.Int64()).Draw(t, "operand")
			op := rapid.SampledFrom([][]byte{counter.Add(n), counter.Mul(n), counter.Increment(), counter.Get()}).Draw(t, "operation")
			want, got := active.Apply(app.Context{}, op), passive.Apply(app.Context{}, draft.Update(app.Context{}, op))
			if !bytes.Equal(want, got) {
				t.Fatalf("%q: %q actively, %q passively", op, want, got)
			}
		}
		a, _ := active.Query(context.Background(), counter.Get())
		p, _ := passive.Query(context.Background(), counter.Get())
		if !bytes.Equal(a, p) {
			t.Fatalf("the counters stand at %s and %s", a, p)
		}
	})
}

func FuzzCounter(f *testing.F) {
	for _, op := range [][]byte{nil, counter.Add(-5), counter.Mul(3), counter.Get(), []byte("add"), []byte("mul  1")} {
		f.Add(op)
	}
	f.Fuzz(func(t *testing.T, op []byte) {
		m := start(t)
		result := m.Apply(app.Context{}, op)
		valid := m.(app.Validator).Validate(op) == nil
		_, err := counter.DecodeValue(result)
		if len(op) == 0 {
			err = counter.DecodeIncrement(result)
		}
		if valid != (err == nil) {
			t.Errorf("%q: valid is %v, but its result %q: %v", op, valid, result, err)
		}
		counter.DecodeValue(op)
		m.Restore(bytes.NewReader(op))
	})
}
