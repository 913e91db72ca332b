package teach

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/sim"
)

// trusting is a passive service whose drafts judge no update.
type trusting struct {
	exec.StateMachine
	exec.Updater
}

// Draft hides what else the draft can do.
func (t trusting) Draft() exec.Draft { return struct{ exec.Draft }{t.Updater.Draft()} }

// tally is a run of the counter with one client, who knows what the number must be.
type tally struct {
	*engineRun
	right int64
	// open are the numbers of calls that did not end yet, or never will since the client gave up: each may have been added, or not.
	open  []int64
	told  [][]string // operation, right, told
	wrong int
}

// reachable tells whether some of the numbers add up to a sum.
func reachable(sum int64, of []int64) bool {
	return sum == 0 || len(of) > 0 && (reachable(sum, of[1:]) || reachable(sum-of[0], of[1:]))
}

// countUp adds numbers up, passively or actively, behind a first primary that lies about the updates. The oracle RESULT breaks as
// soon as the client is told another number than its own.
func countUp(o Options, passive, validates bool) (*tally, error) {
	t := &tally{}
	so := cluster(o, 4)
	so.Load.Service, so.Load.Clients, so.Load.Outstanding, so.Load.Linearizable = "service", 1, 1, 0
	so.Service = &sim.Service{
		Passive: passive,
		New: func(sim.Place) (exec.StateMachine, error) {
			if !passive {
				return counter.New(nil)
			}
			m, err := counter.NewPassive(nil)
			if err == nil && !validates {
				m = trusting{m, m.(exec.Updater)}
			}
			return m, err
		},
		Next: func(r *rand.Rand, _ int, _ bool) []byte {
			t.open = append(t.open, 1+r.Int64N(9))
			return counter.Add(t.open[len(t.open)-1])
		},
		Ended: func(c *sim.Call) error {
			told, err := counter.DecodeValue(c.Result)
			if err != nil || c.Err != nil {
				return fmt.Errorf("%q ended with %v, %v", c.Op, err, c.Err)
			}
			var n int64
			if _, err := fmt.Sscanf(string(c.Op), "add %d", &n); err != nil {
				return err
			}
			at := slices.Index(t.open, n)
			t.open = slices.Delete(t.open, at, at+1)
			right := t.right + n
			if reachable(told-right, t.open) {
				right = told
			}
			t.right = right
			t.told = append(t.told, []string{string(c.Op), fmt.Sprint(right), string(c.Result)})
			if told != right {
				t.wrong++
				return fmt.Errorf("the client was told %d after %q, it is %d", told, c.Op, right)
			}
			return nil
		},
	}
	if passive {
		so.Protocol.Pipeline = 1
		so.Behaviours = []string{"lying update"}
	} else {
		so.Behaviours = []string{"wrong result"}
	}
	so.Byzantine = firstReplicas(1)
	var err error
	t.engineRun, err = runEngine(so)
	return t, err
}

func passiveScenario() Scenario {
	return scenario("lying-update", "A lying primary under passive replication",
		`A counter, on the real engine, that one client adds to; the first primary lies about what comes of that. Replicated actively, all
		execute and the client believes what f+1 say alike: the lie is outvoted. Replicated passively, the primary alone executes, and
		the others apply its update. Agreement then is on the update, right or wrong: all replicas have the same wrong number, every
		signature and every certificate is in order, and f+1 tell it to the client. Primary and backup mask crashes, not lies. But the
		service may know better: if its drafts validate updates, the backups compute on the state before what could have come of the
		operation, do not vote for anything else, and replace the primary. What a service cannot tell, such as which number was
		drawn, remains a matter of trust.`, lyingUpdate)
}

// toldRows is how many results are shown.
const toldRows = 4

func lyingUpdate(p *page, o Options) error {
	var runs [3]*tally
	names := [3]string{"active", "passive, validated", "passive, trusted"}
	for i := range runs {
		var err error
		if runs[i], err = countUp(o, i > 0, i == 1); err != nil {
			return err
		}
	}
	active, validated, trusted := runs[0], runs[1], runs[2]
	p.section("Passive, with updates that are validated: what happened")
	p.draws(validated.engineRun, 0)
	p.section("Passive, with updates that are trusted: what the client is told")
	p.table([]string{"operation", "it should be", "the client is told"}, trusted.told[max(0, len(trusted.told)-toldRows):])
	p.section("Side by side")
	var rows [][]string
	for i, r := range runs {
		rows = append(rows, []string{names[i], fmt.Sprint(r.hits()), fmt.Sprint(len(r.told)), fmt.Sprint(r.wrong), r.oracle()})
	}
	p.table([]string{"counter", "times it lied", "answers", "wrong ones", "oracle that broke"}, rows)
	p.claim("hit", active.hits() > 0 && validated.hits() > 0 && trusted.hits() > 0, "The replica really lied, in every run.", "In some run the replica did not lie.")
	p.claim("active-masked", active.report.OK(), "Active: the lie is outvoted, every oracle held.", "Active: "+active.broke()+".")
	p.claim("validated-caught", validated.report.OK() && validated.replaced(), "Passive with validation: no update of the liar was applied, and its primacy was over.", "Passive with validation: "+validated.broke()+".")
	p.claim("trusted-deceived", trusted.wrong > 0, "Passive without: the client was told a wrong number, by all replicas alike.", "Passive without: no client was told a wrong number.")
	p.fact("trusted-oracle", trusted.oracle(), "Passive without: oracle that broke: %s, which adds up for itself; none of the protocol's own did.")
	return nil
}
