package counter_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

func TestUnderFaults(t *testing.T) { underFaults(t, counter.New) }

func TestPassiveUnderFaults(t *testing.T) { underFaults(t, counter.NewPassive) }

func underFaults(t *testing.T, factory app.Factory) {
	operation := func(r *rand.Rand, _ int) []byte {
		switch r.IntN(10) {
		case 0:
			return counter.Mul(-1)
		case 1:
			return []byte("nonsense")
		}
		return counter.Add(r.Int64N(100))
	}
	get := func(*rand.Rand, int) []byte { return counter.Get() }
	// The numbers stay far from an overflow, which is tested without faults.
	step := func(n int64, op []byte, _ bool) (int64, []byte) {
		name, operand, _ := strings.Cut(string(op), " ")
		switch x, _ := strconv.ParseInt(operand, 10, 64); name {
		case "add":
			n += x
		case "mul":
			n *= x
		}
		return n, strconv.AppendInt(nil, n, 10)
	}
	simtest.Run(t, factory, 8, simtest.Operations(operation), simtest.Queries(get), simtest.Model(0, step))
}
