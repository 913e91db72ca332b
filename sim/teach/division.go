package teach

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/sim"
)

// wholeCalc is calc as another programmer has understood it: it divides in whole numbers.
type wholeCalc struct {
	exec.StateMachine
	wrong *int // results that were not exact
}

// Apply rounds what is not a whole number toward zero.
func (w wholeCalc) Apply(ctx exec.Context, expression []byte) []byte {
	exact := w.StateMachine.Apply(ctx, expression)
	value, err := calc.Decode(exact)
	if err != nil || value.IsInt() {
		return exact
	}
	*w.wrong++
	return wholePart(value)
}

func wholePart(v *big.Rat) []byte { return []byte(new(big.Int).Quo(v.Num(), v.Denom()).String()) }

// divided is a division, and what its client was told.
type divided struct {
	expression, told string
	exact            *big.Rat
}

// divideRun is a run in which some replicas divide in whole numbers.
type divideRun struct {
	*engineRun
	wrong int       // results of these replicas that are not exact
	told  []divided // that a client was told, in their order
}

// wronglyTold counts the clients that were told what is not exact.
func (d *divideRun) wronglyTold() int {
	return count(d.told, func(x divided) bool { return x.told != x.exact.RatString() })
}

// divide runs four replicas of calc, of which some divide in whole numbers. Clients divide. The oracle RESULT breaks as
// soon as one is told what is not exact.
func divide(o Options, wholes ...bft.ReplicaID) (*divideRun, error) {
	d := &divideRun{}
	so := cluster(o, 4)
	so.Load.Service = "service"
	so.Service = &sim.Service{
		New: func(p sim.Place) (exec.StateMachine, error) {
			m, err := calc.New(nil)
			if slices.Contains(wholes, p.Replica) {
				m = wholeCalc{m, &d.wrong}
			}
			return m, err
		},
		Next: func(r *rand.Rand, _ int, _ bool) []byte {
			return fmt.Appendf(nil, "%d/%d", 1+r.IntN(99), 2+r.IntN(8))
		},
		Ended: func(c *sim.Call) error {
			if c.Err != nil {
				return c.Err
			}
			exact, err := calc.Evaluate(string(c.Op))
			if err != nil {
				return err
			}
			d.told = append(d.told, divided{string(c.Op), string(c.Result), exact})
			if string(c.Result) != exact.RatString() {
				return fmt.Errorf("a client was told that %s is %s", c.Op, c.Result)
			}
			return nil
		},
	}
	// The replicas are faulty in this way alone: what the behaviour itself would say wrongly is left out.
	so.Behaviours, so.Byzantine, so.Lies = []string{"wrong result"}, wholes, sim.Ranges{}
	if so.Beyond = len(wholes) > bft.MaxFaulty(4); so.Beyond {
		so.Demand = []string{"RESULT"} // with them nothing else is promised either
	}
	var err error
	d.engineRun, err = runEngine(so)
	return d, err
}

func divisionScenario() Scenario {
	return scenario("whole-number-division", "Two programs that divide differently",
		`The service calc, on the real engine, from two programmers: one divides in fractions, as it should be, the other in whole
		numbers, as the division of many languages does. 7/2 is 7/2 here and 3 there. Both programs are correct by their own lights;
		to the cluster the second has a value failure: what it answers is well formed, signed, in time, and wrong. As calc has no
		state no checkpoint can tell; only the client can, who believes what f+1 replicas say alike. First one of four divides in whole
		numbers, and is outvoted. Then two do, each pair in turn: now two answers stand against two, and a client believes those
		that come first. The same program twice fails in the same way twice: replication masks failures that are independent,
		and against wrong programs it takes several programs.`, division)
}

// dividedRows is how many divisions are shown.
const dividedRows = 6

func division(p *page, o Options) error {
	one, err := divide(o, 0)
	if err != nil {
		return err
	}
	var believed *divideRun
	var pairs [][]string
	wrong := one.wrong > 0
	for a := range bft.ReplicaID(4) {
		for b := a + 1; b < 4; b++ {
			two, err := divide(o, a, b)
			if err != nil {
				return err
			}
			wrong = wrong && two.wrong > 0
			pairs = append(pairs, []string{fmt.Sprintf("r%d and r%d", a, b), fmt.Sprint(len(two.told)), fmt.Sprint(two.wronglyTold()), two.oracle()})
			if believed == nil && two.wronglyTold() > 0 {
				believed = two
			}
		}
	}
	p.section("One of four divides in whole numbers: r0")
	p.divisions(one)
	p.section("What happened meanwhile")
	p.draws(one.engineRun, 0)
	p.section("Two of four, each pair in turn")
	p.table([]string{"in whole numbers", "answers", "wrong ones", "oracle that broke"}, pairs)
	p.claim("hit", wrong, "Replicas really computed wrong results, in every run.", "In some run no replica computed a wrong result.")
	p.claim("masked", one.report.OK(), "One of four: every oracle held, and every call was answered.", "One of four: "+one.broke()+".")
	p.fact("told-wrongly", one.wronglyTold(), "One of four: %d wrong results were told to clients. The value failure is masked.")
	p.claim("beyond-believed", believed != nil, "Two of four are more than f: with some pairs a client was told a wrong result, by f+1 replicas alike.", "Two of four: no client was told a wrong result.")
	if believed != nil {
		p.section("With a pair that was believed")
		p.divisions(believed)
		p.fact("beyond-oracle", believed.oracle(), "Two of four: oracle that broke: %s, which compares each answer with the exact value.")
	}
	return nil
}

// divisions shows the last divisions that do not come out even.
func (p *page) divisions(d *divideRun) {
	var rows [][]string
	for _, x := range d.told {
		if !x.exact.IsInt() {
			rows = append(rows, []string{x.expression, x.exact.RatString(), string(wholePart(x.exact)), x.told})
		}
	}
	p.table([]string{"division", "in fractions", "in whole numbers", "the client is told"}, rows[max(0, len(rows)-dividedRows):])
}
