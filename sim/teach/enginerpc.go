package teach

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/baluarte-bft/baluarte/sim"
)

// counting is a cluster of four whose clients count, one call after the other.
func counting(o Options, clients int) sim.Options {
	so := sim.Plain()
	so.Seed = o.Seed
	so.Load.Service, so.Load.Clients, so.Load.Ordered = "counter", clients, 10
	so.Load.Calls, so.Load.Sequences = 20, 20
	return so
}

// cutClient loses messages between all replicas and a client: those to it, from it, or both, by their numbers.
func cutClient(so *sim.Options, client int, to, from sim.Ranges) {
	c := so.Protocol.N + client
	for r := range so.Protocol.N {
		if to != nil {
			so.Drops = append(so.Drops, sim.Drop{From: r, To: c, Messages: to})
		}
		if from != nil {
			so.Drops = append(so.Drops, sim.Drop{From: c, To: r, Messages: from})
		}
	}
}

// ledger is what a single client of the counter ordered, and what it was told.
type ledger struct {
	calls, answered, open int
	// values are those at which the counter may stand; more than one only if calls were left open.
	values []int64
	// last is the last value that the client was told.
	last int64
	// resent are requests that a replica received more than once, arrivals the receptions in all.
	resent, arrivals int
	wrong            string // the first answer that cannot be
}

// keep reads the ledger of a run with one client that makes one call at a time.
func keep(e *engineRun) *ledger {
	l := &ledger{values: []int64{0}}
	seen := make(map[string]int)
	for _, x := range e.events {
		switch {
		case x.kind == sim.KindDeliver && x.to == 0 && strings.HasPrefix(x.text, "request "):
			key := fmt.Sprint(x.from, " ", x.text)
			seen[key]++
			l.arrivals++
			if seen[key] == 2 {
				l.resent++
			}
		case x.kind == sim.KindCall:
			l.calls++
		case x.kind == sim.KindResult:
			l.result(x.text)
		}
	}
	return l
}

// result books the end of a call: `add 5 → ?: "12", <nil>`.
func (l *ledger) result(text string) {
	call, outcome, _ := strings.Cut(text, " → ?: ")
	quoted, err := strconv.QuotedPrefix(outcome)
	if err != nil {
		l.wrong = text
		return
	}
	after := make([]int64, len(l.values))
	for i, v := range l.values {
		after[i] = apply(call, v)
	}
	if !strings.HasSuffix(outcome, ", <nil>") {
		l.open++
		for _, v := range after { // it may have happened, or not
			if !slices.Contains(l.values, v) {
				l.values = append(l.values, v)
			}
		}
		return
	}
	l.answered++
	told, _ := strconv.Unquote(quoted)
	n, err := strconv.ParseInt(told, 10, 64)
	if (err != nil || !slices.Contains(after, n)) && l.wrong == "" {
		l.wrong = text
	}
	l.values, l.last = []int64{n}, n
}

// apply is the operation as its caller means it: once.
func apply(call string, v int64) int64 {
	if n, ok := strings.CutPrefix(call, "add "); ok {
		k, err := strconv.ParseInt(n, 10, 64)
		if err == nil {
			return v + k
		}
	}
	if call == "negate" {
		return -v
	}
	return v
}

var ledgerKinds = []sim.Kind{sim.KindDeliver, sim.KindCall, sim.KindResult}

func engineBank(p *page, o Options) error {
	so := counting(o, 1)
	cutClient(&so, 0, sim.Ranges{{First: 3, Last: 4}, {First: 8, Last: 8}, {First: 12, Last: 13}}, nil)
	e, err := runEngine(so, ledgerKinds...)
	if err != nil {
		return err
	}
	l := keep(e)
	p.section("What the client did, and was told")
	var rows [][]string
	for _, x := range e.events {
		if x.kind == sim.KindResult && len(rows) < engineRows {
			call, outcome, _ := strings.Cut(x.text, " → ?: ")
			rows = append(rows, []string{call, strings.TrimSuffix(outcome, ", <nil>")})
		}
	}
	p.table([]string{"call", "told"}, rows)
	w := drawWindow(e, 100*engineMilli)
	p.res.run = &w
	p.section("In numbers")
	p.line("calls of the client          %d, answered %d, left open %d", l.calls, l.answered, l.open)
	p.line("requests at replica 0        %d, of which sent more than once %d", l.arrivals, l.resent)
	p.line("replies lost on the way      %d", e.report.Stats.Lost)
	p.claim("resent", l.resent > 0, "Requests whose replies were lost reached the replicas more than once.", "No request was sent twice.")
	p.claim("exactly-once", l.wrong == "" && l.answered > 0, "Every answer is what one execution of each call so far makes: none was executed twice, none was left out.",
		"An answer is not what one execution of each call makes: "+l.wrong)
	p.claim("oracles", e.report.OK(), "Every oracle held: at most once (S4) and linearizable (S5) among them.", "An oracle broke: "+e.broke())
	return nil
}

// rpcCase is one of the five failures on the engine.
type rpcCase struct {
	name    string
	clients int
	strike  func(so *sim.Options)
}

func rpcCases() []rpcCase {
	return []rpcCase{
		{"no server: all are down for a second", 1, func(so *sim.Options) {
			so.Faults = []sim.Fault{{Kind: sim.Blackout, At: engineFault / 2, Until: engineFault/2 + 1000*engineMilli}}
		}},
		{"lost request: the third and the fourth", 1, func(so *sim.Options) { cutClient(so, 0, nil, sim.Ranges{{First: 3, Last: 4}}) }},
		{"server crash: the primary, for a second", 1, func(so *sim.Options) {
			so.Faults = []sim.Fault{{Kind: sim.Crash, Targets: firstReplicas(1), At: engineFault / 2, Until: engineFault/2 + 1000*engineMilli}}
		}},
		{"lost reply: the third and the fourth", 1, func(so *sim.Options) { cutClient(so, 0, sim.Ranges{{First: 3, Last: 4}}, nil) }},
		{"client crash: after its fifth request", 2, func(so *sim.Options) {
			const forever = 1 << 30
			cutClient(so, 1, sim.Ranges{{First: 5, Last: forever}}, sim.Ranges{{First: 6, Last: forever}})
		}},
	}
}

func engineRPC(p *page, o Options) error {
	var rows [][]string
	names := []string{"no-server", "lost-request", "server-crash", "lost-reply", "client-crash"}
	for i, c := range rpcCases() {
		so := counting(o, c.clients)
		so.Load.Think = 50 * engineMilli
		c.strike(&so)
		e, err := runEngine(so, ledgerKinds...)
		if err != nil {
			return err
		}
		l := keep(e)
		rows = append(rows, []string{c.name, fmt.Sprint(l.calls), fmt.Sprint(l.answered), fmt.Sprint(l.resent), fmt.Sprint(e.report.Stats.ViewChanges), e.oracle()})
		if c.name == rpcCases()[3].name {
			w := drawWindow(e, 100*engineMilli)
			p.res.run = &w
		}
		if c.clients == 1 {
			struck := e.hits()+e.report.Stats.Lost > 0
			p.claim(names[i], struck && e.report.OK() && l.wrong == "" && l.answered+l.open == l.calls,
				sentence(c.name)+": every call ended, and each was executed exactly once.", c.name+": "+e.broke()+" "+l.wrong)
			continue
		}
		orphan := orphaned(e)
		p.claim(names[i], orphan && e.safe(), sentence(c.name)+": its last request was executed, and nobody takes the reply; the other client goes on.", c.name+": no orphan was left behind, or worse: "+e.broke())
		p.fact("client-crash-oracle", e.oracle(), "To the simulator that client is still waiting: oracle %s says so, and it is right. An orphaned request holds no lock here: an operation is over when it has been executed.")
	}
	p.section("Four replicas, a client that makes calls one after the other")
	p.table([]string{"failure", "calls", "answered", "sent again", "views", "oracle"}, rows)
	return nil
}

// sentence has s begin with a capital letter.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// orphaned tells whether replies to the second client were lost for good, and the first was answered afterwards.
func orphaned(e *engineRun) bool {
	gone := e.opts.Protocol.N + 1
	lost, after := false, false
	for _, m := range e.run.Messages {
		lost = lost || m.To == gone && m.Lost && m.Type == "reply"
		after = after || lost && m.To == gone-1 && !m.Lost && m.Type == "reply"
	}
	return lost && after
}
