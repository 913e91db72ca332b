package calc_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/sim"
)

// whole is calc as another programmer has understood it: it divides in whole numbers.
type whole struct {
	app.StateMachine
	wrong *int // results that were not exact
}

func (w whole) Apply(ctx app.Context, expression []byte) []byte {
	exact := w.StateMachine.Apply(ctx, expression)
	value, err := calc.Decode(exact)
	if err != nil || value.IsInt() {
		return exact
	}
	*w.wrong++
	return []byte(new(big.Int).Quo(value.Num(), value.Denom()).String())
}

// divide runs four replicas of which some divide in whole numbers, while clients divide. The report
// says whether a client was ever told a wrong result, which breaks the oracle RESULT.
func divide(t *testing.T, seed uint64, wholes ...bft.ReplicaID) (report *sim.Report, wrong int) {
	t.Helper()
	o := sim.DrawService(seed, &sim.Service{
		New: func(p sim.Place) (app.StateMachine, error) {
			m, err := calc.New(nil)
			for _, id := range wholes {
				if p.Replica == id {
					m = whole{m, &wrong}
				}
			}
			return m, err
		},
		Next: func(r *rand.Rand, _ int, _ bool) []byte {
			return fmt.Appendf(nil, "%d/%d", r.IntN(100), 1+r.IntN(9))
		},
		Ended: func(c *sim.Call) error {
			if c.Err != nil {
				return c.Err
			}
			want, err := calc.Evaluate(string(c.Op))
			if got, err2 := calc.Decode(c.Result); err != nil || err2 != nil || got.Cmp(want) != 0 {
				return fmt.Errorf("a client was told that %s is %s", c.Op, c.Result)
			}
			return nil
		},
	})
	// The replicas that divide wrongly count as faulty, and tell no other lie.
	o.Protocol.N, o.Faults, o.Load.BadClients = 4, nil, 0
	o.Behaviours, o.Byzantine, o.Lies = []string{"wrong result"}, wholes, sim.Ranges{}
	if o.Beyond = len(wholes) > bft.MaxFaulty(4); o.Beyond {
		o.Demand = []string{"RESULT"} // with them nothing else is promised either
	}
	report, err := sim.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return report, wrong
}

// TestWholeNumberDivision: a replica that computes wrongly is outvoted, two of four are believed.
func TestWholeNumberDivision(t *testing.T) {
	believed := 0
	for seed := uint64(1); seed <= 5; seed++ {
		report, wrong := divide(t, seed, 2)
		if report.Failure != nil {
			t.Errorf("seed %d, one of four divides in whole numbers: %v", seed, report.Failure)
		}
		if wrong == 0 || report.Stats.Operations == 0 {
			t.Errorf("seed %d: %d wrong results, %d operations: nothing was tested", seed, wrong, report.Stats.Operations)
		}
		if report, _ := divide(t, seed, 1, 2); report.Failure != nil && report.Failure.Oracle == "RESULT" {
			believed++
		}
	}
	if believed == 0 {
		t.Error("two of four that divide in whole numbers were never believed: the test does not see it")
	}
}
