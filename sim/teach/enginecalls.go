package teach

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim"
)

// callsCase is something that happens to clients whose calls have all four semantics.
type callsCase struct {
	name   string
	strike func(so *sim.Options)
}

// Of the calls in each of its runs.
const (
	callsEach    = 24
	callsClients = 8
	callsTurn    = 700 * engineMilli
)

// losing has all replicas lose the messages of a type, by turns.
func losing(kind sim.FaultKind, of bft.MessageType) func(so *sim.Options) {
	return func(so *sim.Options) {
		so.Beyond = true // clients' messages alone: no oracle has less to say for it
		so.Faults = []sim.Fault{{Kind: kind, On: of.String(), Lasts: sim.Intermittent, Every: callsTurn, Targets: firstReplicas(so.Protocol.N),
			At: engineFault / 2, Until: so.Heal}}
	}
}

func callsCases() []callsCase {
	return []callsCase{
		{"nothing is lost", func(*sim.Options) {}},
		{"requests are lost", losing(sim.ReceiveOmission, bft.TypeRequest)},
		{"replies are lost", losing(sim.SendOmission, bft.TypeReply)},
		{"clients crash", func(so *sim.Options) {
			// In the midst of calls, which follow each other closely for that.
			so.Load.Crashes, so.Load.Think, so.Load.Outstanding, so.Load.Calls, so.Heal = so.Load.Clients-1, 5*engineMilli, 8, 8*callsEach, engineFault
		}},
	}
}

// calling is a cluster of four with clients that add to a counter, each call with a semantics of its own.
func calling(o Options) sim.Options {
	so := counting(o, callsClients)
	so.Load.Calls, so.Load.Outstanding, so.Load.Ordered, so.Load.Think = callsEach, 2, 0, 200*engineMilli
	so.Load.Semantics = sim.Semantics{AtMostOnce: 25, AtLeastOnce: 25, Maybe: 25}
	so.Heal = 12 * engineFault
	return so
}

// callsRun is what came of a case, by the semantics of the calls.
type callsRun struct {
	*engineRun
	of map[bft.Semantics]sim.Calls
}

func engineCalls(p *page, o Options) error {
	runs := map[string]callsRun{}
	var rows [][]string
	held := true
	for i, c := range callsCases() {
		so := calling(o)
		c.strike(&so)
		e, err := runEngine(so)
		if err != nil {
			return err
		}
		r := callsRun{e, map[bft.Semantics]sim.Calls{}}
		for k, x := range e.report.Stats.Calls {
			r.of[bft.Semantics(k)] = x
			rows = append(rows, append([]string{word(k == 0, c.name, ""), x.Semantics}, callsRow(&x)...))
		}
		runs[c.name] = r
		if !e.report.OK() {
			return fmt.Errorf("%s: %s", c.name, e.broke())
		}
		held = held && len(r.of) > 0
		if i == 2 {
			w := drawWindow(e, engineFault/2)
			p.res.run = &w
		}
	}
	p.section("%d clients that add to a counter, twice at a time", callsClients)
	p.table([]string{"what happens", "semantics", "calls", "answered", "never", "unknown", "crashed", "run 0×", "1×", "2×+"}, rows)
	p.say("Answered, never, unknown: what callers know. Never: it was not executed and will not be, such as one that had not left when its caller gave up; crashed: nobody is there to know. The last three: how often the replicas executed it.")
	requests, replies, crash := runs[callsCases()[1].name].of, runs[callsCases()[2].name].of, runs[callsCases()[3].name].of
	p.claim("promises", held, "Every oracle held in each run, C1 among them: no call was executed more often, later, or less often than its caller was promised.", "In some run no calls were counted.")
	p.claim("exactly-once", once(requests[bft.ExactlyOnce]) && once(replies[bft.ExactlyOnce]), "Exactly once: whatever was lost, each call that left was executed once, also where its caller did not wait for the answer.", "Exactly once: a call that left was not executed once.")
	p.claim("at-most-once", requests[bft.AtMostOnce].More+replies[bft.AtMostOnce].More == 0 && requests[bft.AtMostOnce].Answered < requests[bft.AtMostOnce].Calls,
		"At most once: no call was executed twice; some deadlines passed first, and nothing happened after them.", "At most once: a call was executed twice, or no deadline passed.")
	p.claim("at-least-once", replies[bft.AtLeastOnce].More > 0, fmt.Sprintf("At least once: %d calls whose replies were lost were executed twice or more. For adding to a counter that is wrong.", replies[bft.AtLeastOnce].More),
		"At least once: no call was executed twice.")
	p.claim("maybe", zero(requests[bft.Maybe]) > 0 && requests[bft.Maybe].More+replies[bft.Maybe].More == 0 && replies[bft.Maybe].Unknown > 0,
		"Maybe: lost requests were executed never, those whose replies were lost once, and both callers know nothing.", "Maybe: no request was lost for good, or a call was executed twice.")
	p.claim("crash", orphans(crash) > 0, "A client that crashes leaves calls behind that are executed or not: nobody is there to be told.", "No client left a call behind.")
	return nil
}

// callsRow are the counts of one semantics.
func callsRow(x *sim.Calls) []string {
	var out []string
	for _, n := range []int{x.Calls, x.Answered, x.Never, x.Unknown, x.Calls - x.Answered - x.Never - x.Unknown, zero(*x), x.Once, x.More} {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

// zero is how many calls were not executed.
func zero(x sim.Calls) int { return x.Calls - x.Once - x.More }

// once tells whether all calls that left were executed once.
func once(x sim.Calls) bool { return x.Calls > 0 && x.Once == x.Calls-x.Never }

// orphans are the calls of clients that crashed.
func orphans(of map[bft.Semantics]sim.Calls) int {
	n := 0
	for _, x := range of {
		n += x.Calls - x.Answered - x.Never - x.Unknown
	}
	return n
}
