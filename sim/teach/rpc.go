package teach

import (
	"fmt"
)

// rpcFailure is one of the five things that can go wrong in a remote procedure call.
type rpcFailure int

const (
	noServer rpcFailure = iota
	requestLost
	serverCrash
	replyLost
	clientCrash
)

// call is one remote procedure call, add 1 to a number, as the client and a bystander who knows
// everything see it.
type call struct {
	// told is what the client is told: a result, an error or nothing before its time-out.
	told string
	// sent is how often the request was sent, executed how often it ran.
	sent, executed int
	// orphan: the server worked for nobody.
	orphan bool
}

// rpcPlay makes a call over a stage. tries is how often the client sends at most, filter whether
// the server remembers what it executed.
type rpcPlay struct {
	s           *stage
	failure     rpcFailure
	tries       int
	filter      bool
	afterwards  bool // a server that crashes does so after executing, not before
	wrong       bool // noServer: there is one, of another version
	out         call
	failed      bool // the failure has happened: it is transient
	serverDown  bool
	remembered  map[int]int // results by call, kept on disk
	number      int         // the state of the service
	clientGone  bool
	answered    bool
	timeoutMsec int64
}

func playRPC(title string, r rpcPlay) (call, *stage) {
	r.s = newStage(title, "client", "server")
	r.timeoutMsec, r.remembered = 50, map[int]int{}
	if r.failure == noServer && !r.wrong {
		r.serverDown = true
	}
	r.try(1)
	r.s.run(1000)
	return r.out, r.s
}

// try sends the request for the i-th time.
func (r *rpcPlay) try(i int) {
	if r.clientGone || r.answered {
		return
	}
	if i > r.tries {
		r.out.told = "no answer"
		r.s.mark(0, "gives up: no answer")
		return
	}
	r.out.sent++
	text := "add 1"
	if i > 1 {
		text = "add 1 (again)"
	}
	switch {
	case r.failure == noServer && !r.wrong:
		r.s.lose(0, 1, text)
		r.s.mark(0, "connection refused")
		r.out.told, r.answered = "no server", true
		return
	case r.failure == requestLost && !r.failed:
		r.failed = true
		r.s.lose(0, 1, text)
	default:
		r.s.send(0, 1, text, r.arrive)
	}
	if r.failure == clientCrash {
		r.s.after(7, func() {
			r.clientGone = true
			r.s.crash(0, "crashes")
		})
	}
	r.s.after(r.timeoutMsec, func() { r.try(i + 1) })
}

// arrive is the request at the server.
func (r *rpcPlay) arrive() {
	switch {
	case r.serverDown:
		return
	case r.wrong:
		r.s.mark(1, "version 2: add takes two numbers")
		r.reply("wrong version", "wrong version")
		return
	case r.failure == serverCrash && !r.failed && !r.afterwards:
		r.crash()
		return
	}
	if old, ok := r.remembered[1]; ok && r.filter {
		r.s.mark(1, "was executed: replies from memory")
		r.reply(fmt.Sprint(old), "")
		return
	}
	r.s.after(4, func() {
		r.number++
		r.out.executed++
		r.remembered[1] = r.number
		r.s.mark(1, "executes: %d", r.number)
		if r.failure == serverCrash && !r.failed {
			r.crash()
			return
		}
		r.reply(fmt.Sprint(r.number), "")
	})
}

func (r *rpcPlay) crash() {
	r.failed, r.serverDown = true, true
	r.s.crash(1, "crashes")
	r.s.after(25, func() {
		r.serverDown = false
		r.s.up(1, "restarts")
	})
}

func (r *rpcPlay) reply(text, told string) {
	if r.failure == replyLost && !r.failed {
		r.failed = true
		r.s.lose(1, 0, text)
		return
	}
	r.s.send(1, 0, text, func() {
		if r.clientGone {
			r.s.mark(1, "nobody takes the reply")
			r.out.orphan, r.out.told = true, "(crashed)"
			return
		}
		if !r.answered {
			r.answered = true
			r.out.told = word(told == "", text, told)
		}
	})
}

// rpcScenario makes the scenario of one failure, played in the given ways.
func rpcScenario(name, title, story string, plays []rpcPlay, titles []string, conclude func(p *page, out []call)) Scenario {
	return model(name, title, story, func(p *page) {
		p.section("What happens")
		var out []call
		var rows [][]string
		for i, r := range plays {
			c, s := playRPC(titles[i], r)
			p.show(s)
			out = append(out, c)
			rows = append(rows, []string{titles[i], fmt.Sprint(c.sent), fmt.Sprint(c.executed), c.told})
		}
		p.section("What each side knows")
		p.table([]string{"case", "sent", "executed", "the client is told"}, rows)
		conclude(p, out)
	})
}

func rpcFailureScenarios() []Scenario {
	const patience = 3
	return []Scenario{
		rpcScenario("rpc-no-server", "RPC failure 1 of 5: no server, or one of the wrong version",
			`The client cannot locate the server: none is there, or the one that is there has another version of the interface,
			for it was changed and the client was not. Neither goes away by asking again. The client must get an error that says
			so, which ends the illusion that a remote call is like a local one: a local procedure is always there. The two cases
			are played beside each other; the table says how often the request was sent, how often it was executed, and what the
			client is told.`,
			[]rpcPlay{{failure: noServer, tries: patience}, {failure: noServer, wrong: true, tries: patience}}, []string{"no server", "wrong version"},
			func(p *page, out []call) {
				p.fact("no-server", out[0].told, "Without a server the client is told %q, executed %d times.", out[0].executed)
				p.fact("wrong-version", out[1].told, "With a server of another version it is told %q, executed %d times.", out[1].executed)
				p.claim("safe", out[0].executed+out[1].executed == 0, "Nothing was executed: here an error is the whole truth.", "Something was executed in spite of the error.")
			}),
		rpcScenario("rpc-lost-request", "RPC failure 2 of 5: the request is lost",
			`The request does not reach the server. The client's timer ends, and it sends the request again. The server has never
			seen the first one: to it, this is a new request. It is the easy case, for sending again is just right. But the
			client cannot know that this is the case it is in: a lost request, a lost reply, a crashed server and a slow one all
			look like silence. If too many requests are lost it may conclude that there is no server, and be back at failure 1.`,
			[]rpcPlay{{failure: requestLost, tries: 1}, {failure: requestLost, tries: patience}}, []string{"sent once", "sent again"},
			func(p *page, out []call) {
				p.fact("once", out[0].executed, "Sent once, it is executed %d times: %s.", out[0].told)
				p.fact("again", out[1].executed, "Sent again after the time-out, it is executed %d time, and the client is told %s.", out[1].told)
			}),
		rpcScenario("rpc-server-crash", "RPC failure 3 of 5: the server crashes",
			`The server crashes after the request has arrived: before it was executed, or after it was executed but before the
			reply. To the client the two look alike: silence. In the one case it should send the request again, in the other it
			should not, and it does not know which one it is (see printer for what comes of that). The third picture shows the
			one way out: the server notes on its disk, in one step, both the effect and that this request has had it. So does a
			replicated state machine.`,
			[]rpcPlay{{failure: serverCrash, tries: patience}, {failure: serverCrash, tries: patience, afterwards: true},
				{failure: serverCrash, tries: patience, afterwards: true, filter: true}},
			[]string{"crash before executing", "crash after executing", "the same, and the server remembers on disk"},
			func(p *page, out []call) {
				p.fact("before", out[0].executed, "Crash before executing: sent again, executed %d time.")
				p.fact("after", out[1].executed, "Crash after executing: sent again, executed %d times.")
				p.fact("remembered", out[2].executed,
					"If result and effect go to the disk together, the repeated request is recognised: executed %d time. That works for a number on the same disk, and not for ink on paper.")
			}),
		rpcScenario("rpc-lost-reply", "RPC failure 4 of 5: the reply is lost",
			`The request was executed, but the reply does not arrive. The client's timer ends and it sends the request again, as
			it would if the request had been lost. A server that knows nothing of the first executes it twice. One that
			remembers what it has executed, by sequence number, recognises the second and sends the old reply again. How long
			must it remember? Until the client has said that it got the reply, for instance by the number of its next request.`,
			[]rpcPlay{{failure: replyLost, tries: patience}, {failure: replyLost, tries: patience, filter: true}},
			[]string{"the server remembers nothing", "the server remembers"},
			func(p *page, out []call) {
				p.fact("forgetful", out[0].executed, "A server that remembers nothing executes %d times; the client is told %s.", out[0].told)
				p.fact("filtering", out[1].executed, "A server that remembers executes %d time; the client is told %s.", out[1].told)
			}),
		rpcScenario("rpc-client-crash", "RPC failure 5 of 5: the client crashes",
			`The client crashes after it has sent the request. The server works on for nobody: such a computation is called an
			orphan. It costs time, may hold locks, and its reply may confuse the client that has just restarted and does not
			know what its former self had asked for. The picture shows the request being executed for somebody who is no longer
			there. What can be done about orphans is shown by the scenarios of that group: extermination, reincarnation, its
			gentle form, and expiration.`,
			[]rpcPlay{{failure: clientCrash, tries: patience}}, []string{"crash after sending"},
			func(p *page, out []call) {
				p.claim("orphan", out[0].orphan && out[0].executed == 1, "The request was executed, and nobody takes the reply: an orphan.", "No orphan was left behind.")
			}),
	}
}

// semantics is what a client and a server promise together about how often a call is executed.
type semantics struct {
	name   string
	tries  int  // how often the client sends at most
	filter bool // the server recognises what it has executed
}

// executions plays a call in which of each try's request and reply are lost what mask says, and
// tells how often it was executed and whether the client had a reply.
func (m semantics) executions(mask int) (times int, told bool) {
	for try := range m.tries {
		lostRequest, lostReply := mask>>(2*try)&1 != 0, mask>>(2*try+1)&1 != 0
		if lostRequest {
			continue
		}
		if !m.filter || times == 0 {
			times++
		}
		if !lostReply {
			return times, true
		}
	}
	return times, false
}

func callSemantics(p *page) {
	const tries = 3
	kinds := []semantics{
		{"no guarantee: resend or not, remember nothing", 2, false},
		{"at least once: resend, remember nothing", tries, false},
		{"at most once: do not resend", 1, false},
		{"at most once: resend, the server remembers", tries, true},
	}
	var rows [][]string
	type span struct{ least, most, leastTold int }
	spans := make([]span, len(kinds))
	for i, k := range kinds {
		sp := span{tries, 0, tries}
		told := 0
		for mask := range 1 << (2 * k.tries) {
			n, ok := k.executions(mask)
			sp.least, sp.most = min(sp.least, n), max(sp.most, n)
			if ok {
				told++
				sp.leastTold = min(sp.leastTold, n)
			}
		}
		spans[i] = sp
		rows = append(rows, []string{k.name, fmt.Sprintf("%d of %d", told, 1<<(2*k.tries)), fmt.Sprintf("%d to %d", sp.leastTold, sp.most), fmt.Sprint(sp.least)})
	}
	p.section("Every way to lose requests and replies, client sending up to %d times", tries)
	p.table([]string{"semantics", "client is told", "executed if told", "at least, if not"}, rows)
	_, s := playRPC("", rpcPlay{failure: replyLost, tries: tries})
	p.section("At least once: what two executions look like")
	p.show(s)
	p.fact("none-span", fmt.Sprintf("%d to %d", spans[0].least, spans[0].most), "No guarantee: a call is executed %s times, and the client cannot tell.")
	p.fact("least-told", spans[1].leastTold, "At least once: a client that is told so knows that it was executed at least %d time; up to %d times here.", spans[1].most)
	p.fact("most", spans[2].most, "At most once, by not sending again: executed at most %d time, perhaps not at all.")
	p.claim("exactly", spans[3].most == 1 && spans[3].leastTold == 1,
		"Sending again to a server that remembers: whoever is told a result knows that it was executed exactly once. Who is told nothing does not know: exactly once for all is not to be had.",
		"Sending again to a server that remembers does not lead to exactly one execution.")
}

func idempotence(p *page) {
	ops := []struct {
		name  string
		apply func(x int) int
	}{
		{"read the number", func(x int) int { return x }},
		{"set it to 7", func(int) int { return 7 }},
		{"add 1", func(x int) int { return x + 1 }},
		{"double it", func(x int) int { return 2 * x }},
		{"take the larger of it and 7", func(x int) int { return max(x, 7) }},
	}
	var rows [][]string
	var idem []string
	for _, op := range ops {
		all := true
		for x := range 20 {
			all = all && op.apply(op.apply(x)) == op.apply(x)
		}
		if all {
			idem = append(idem, op.name)
		}
		rows = append(rows, []string{op.name, fmt.Sprint(op.apply(5)), fmt.Sprint(op.apply(op.apply(5))), yes(all)})
	}
	p.section("Once and twice")
	p.table([]string{"operation", "once on 5", "twice on 5", "idempotent"}, rows)
	servers := []struct {
		name   string
		server dupServer
	}{
		{"remembers nothing", dupServer{}},
		{"remembers the last number of each client", dupServer{numbers: true}},
		{"the same, but looks only at marked requests", dupServer{numbers: true, marks: true}},
	}
	// Request 1 is delayed on its way and sent again; the first copy arrives last.
	arrivals := []arrival{{1, true}, {1, false}, {2, false}, {3, false}}
	clean := []arrival{{1, false}, {1, true}, {2, false}, {3, false}}
	var table [][]string
	for i := range servers {
		a, b := servers[i].server, servers[i].server
		a.take(clean)
		b.take(arrivals)
		table = append(table, []string{servers[i].name, fmt.Sprint(a.sum), fmt.Sprint(a.looked), fmt.Sprint(b.sum)})
		servers[i].server = a
		p.fact(fmt.Sprintf("server-%d", i+1), a.sum, "Server: "+servers[i].name+". Three times add 1, one of them sent twice, makes %d.")
		if i == 2 {
			p.fact("overtaken", b.sum, "If the marked copy overtakes the first, the mark alone is not enough: %d.")
		}
	}
	p.section("Three calls of add 1; the first is sent twice")
	p.table([]string{"the server", "sum", "looked up", "sum if the marked copy is first"}, table)
	s := newStage("", "client", "server")
	for _, a := range clean {
		s.send(0, 1, a.String(), nil)
		s.run(s.now + 10)
	}
	p.show(s)
	p.fact("idempotent", join(idem), "Of the operations these do no harm when done twice: %s.")
	saved := servers[1].server.looked - servers[2].server.looked
	p.fact("mark-saves", saved, "The mark saves the server %d of %d look-ups: only a request that is marked can have been executed before, if messages keep their order.", servers[1].server.looked)
}

// arrival is a request with its sequence number, marked if it is a retransmission.
type arrival struct {
	seq  int
	mark bool
}

func (a arrival) String() string {
	return fmt.Sprintf("#%d add 1%s", a.seq, word(a.mark, " (again)", ""))
}

// dupServer adds 1 for each request that it takes for new.
type dupServer struct {
	numbers, marks bool
	sum, looked    int
	last           int
}

func (d *dupServer) take(as []arrival) {
	for _, a := range as {
		if d.numbers && (!d.marks || a.mark) {
			d.looked++
			if a.seq <= d.last {
				continue
			}
		}
		d.sum++
		d.last = max(d.last, a.seq)
	}
}

// bank plays a transfer of 100 from A to B whose reply is lost.
func bank(p *page) {
	type account struct{ a, b int }
	run := func(title string, filter bool) (account, *stage) {
		s := newStage(title, "customer", "bank")
		acc := account{500, 0}
		done := map[int]bool{}
		lost := false
		var answered bool
		var send func(again string)
		send = func(again string) {
			if answered {
				return
			}
			s.send(0, 1, "#1 transfer 100 A to B"+again, func() {
				if !filter || !done[1] {
					done[1] = true
					acc.a -= 100
					acc.b += 100
					s.mark(1, "A %d, B %d", acc.a, acc.b)
				} else {
					s.mark(1, "#1 was done: nothing to do")
				}
				if !lost {
					lost = true
					s.lose(1, 0, "done")
					return
				}
				s.send(1, 0, "done", func() { answered = true })
			})
			s.after(50, func() { send(" (again)") })
		}
		send("")
		s.run(200)
		return acc, s
	}
	p.section("What happens")
	plain, s1 := run("a bank that remembers nothing", false)
	p.show(s1)
	safe, s2 := run("a bank that remembers request numbers", true)
	p.show(s2)
	p.fact("plain-a", plain.a, "The bank that remembers nothing ends with %d in A and %d in B: the customer ordered 100, and paid %d.", plain.b, 500-plain.a)
	p.fact("safe-a", safe.a, "The bank that remembers request numbers ends with %d in A and %d in B.", safe.b)
	p.claim("sum", plain.a+plain.b == 500 && safe.a+safe.b == 500,
		"No money was lost in either bank: a check of the sum does not find a transfer that was made twice.", "Money was lost.")
}

func rpcScenarios() []Scenario {
	return append(rpcFailureScenarios(),
		model("call-semantics", "At least once, at most once, no guarantee",
			`How often is a call executed if messages are lost? A client that sends again until it hears something gets at least
			once; one that never sends again, at most once; without rules, anything. The table tries every way to lose requests
			and replies, and shows what a client knows that was told a result, and what one knows that was not. Exactly once for
			every call is what everybody wants, and nobody can have where messages may be lost for good. A server that remembers
			comes as near as one can: exactly once for whoever is told.`, callSemantics),
		model("printer", "The printer: two server orders, four client strategies, no good one",
			`A client wants a text printed, once. The server prints (P) and sends a completion message (M), in one order or the
			other, and may crash (C) anywhere in between. When it is up again the client hears of the crash and decides by a
			fixed rule whether to send the request again. Every combination is played. OK: printed once; DUP: twice; ZERO: not
			at all (Tanenbaum & van Steen, ch. 8).`, printer),
		model("idempotence", "Idempotence, sequence numbers, retransmission mark",
			`Three ways to make sending again harmless. Choose operations that do nothing the second time: these are called
			idempotent, and reading or setting a value is one. Or number the requests, and let the server remember for each
			client the last number that it executed. Or let the client also mark what it sends again, so that the server has to
			look closely only at marked requests. The last saves work, and hides a trap: it holds only as long as messages keep
			their order. The table has a column for the case that the marked copy comes first.`, idempotence),
		model("bank-transfer", "The doubled bank transfer",
			`A customer transfers 100 from account A to account B. The bank does it, but its reply is lost. The customer's
			program hears nothing and, being written to be reliable, sends the request again. A transfer is not idempotent: it
			is done again. Note that the sum of the accounts stays right all the while, so that no audit of the sums will find
			it. The second bank remembers the numbers of the requests that it has executed. See engine-bank-transfer for the
			same on replicated servers.`, bank))
}
