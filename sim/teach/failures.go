package teach

import (
	"fmt"
	"slices"
	"strings"
)

// durationFault is a fault of a component over twenty uses: does use number i fail?
type durationFault struct {
	name  string
	fails func(i int) bool
}

func durations(p *page) {
	const uses, patience = 20, 3
	faults := []durationFault{
		{"transient", func(i int) bool { return i == 6 }},
		{"intermittent", func(i int) bool { return i%6 >= 4 }},
		{"permanent", func(i int) bool { return i >= 6 }},
	}
	var rows [][]string
	s := newStage("", "transient", "intermittent", "permanent")
	for f, fault := range faults {
		var plain, retried, replaced int
		picture := ""
		inARow, spare := 0, false
		for i := range uses {
			bad := fault.fails(i)
			picture += word(bad, "×", "·")
			if bad {
				plain++
				s.rows = append(s.rows, row{kind: rowMark, from: f, sent: int64(i), at: int64(i), text: "fails"})
				if fault.fails(i + 1) {
					retried++
				}
			}
			if bad && !spare {
				replaced++
				inARow++
			} else {
				inARow = 0
			}
			spare = spare || inARow == patience
		}
		rows = append(rows, []string{fault.name, picture, fmt.Sprint(plain), fmt.Sprint(retried), fmt.Sprint(replaced)})
		p.state(fault.name, []int{plain, retried, replaced}, fmt.Sprintf("Fault: %s. The user sees %s without a remedy, %d if each use is tried twice, %d with a spare part after %d in a row.",
			fault.name, plural(plain, "failure"), retried, replaced, patience))
	}
	slices.SortStableFunc(s.rows, func(a, b row) int { return int(a.at - b.at) })
	p.section("Twenty uses of a component (× fails), and how many failures its user sees")
	p.table([]string{"fault", "uses", "no remedy", "one retry", "spare after 3"}, rows)
	p.keep(s)
}

// observation is what a client sees of one request: a total, or nothing, and how long it took.
type observation struct {
	total, msec int
	answered    bool
}

// adder is a server that adds 1 for each request and replies with the total. Its fault strikes at request hit.
type adder struct {
	class string
	total int
	dead  bool
}

const (
	adderHit, adderRequests = 3, 6
	adderSlow               = 60 // ms
	adderDeadline           = 20 // ms
)

// serve answers request i to the first client and to a second one that asks the same thing.
func (a *adder) serve(i int) (first, second observation) {
	hit := i == adderHit
	a.dead = a.dead || a.class == "crash" && hit
	if a.dead || a.class == "receive omission" && hit {
		return observation{}, observation{}
	}
	a.total++
	if a.class == "state transition" && hit {
		a.total++ // a step taken twice
	}
	o := observation{a.total, 5, true}
	second = o
	switch {
	case !hit:
	case a.class == "send omission":
		return observation{}, observation{}
	case a.class == "timing":
		o.msec, second.msec = adderSlow, adderSlow
	case a.class == "value":
		o.total, second.total = 42, 42
	case a.class == "arbitrary":
		second.total = 42 // and the truth to the other
	}
	return o, second
}

// diagnose tells the class of failure from what two clients saw, without knowing the server.
func diagnose(first, second []observation) string {
	missing, offset, jumps := 0, 0, 0
	after := -1 // the answer that follows a missing one
	for i, o := range first {
		if second[i] != o {
			return "arbitrary"
		}
		switch {
		case !o.answered:
			missing++
			after = i + 1
		case o.msec > adderDeadline:
			return "timing"
		case o.total-(i+1) != offset:
			offset = o.total - (i + 1)
			jumps++
		}
	}
	switch {
	case missing > 1 && after == len(first):
		return "crash"
	case missing > 0 && offset < 0:
		return "receive omission"
	case missing > 0:
		return "send omission"
	case jumps > 0 && offset == 0:
		return "value"
	case jumps > 0:
		return "state transition"
	}
	return "none"
}

func (o observation) String() string {
	switch {
	case !o.answered:
		return "-"
	case o.msec > adderDeadline:
		return fmt.Sprintf("%d(late)", o.total)
	}
	return fmt.Sprint(o.total)
}

func classes(p *page) {
	names := []string{"none", "crash", "send omission", "receive omission", "timing", "value", "state transition", "arbitrary"}
	var rows [][]string
	right := 0
	for _, class := range names {
		a := adder{class: class}
		var first, second []observation
		for i := 1; i <= adderRequests; i++ {
			x, y := a.serve(i)
			first, second = append(first, x), append(second, y)
		}
		d := diagnose(first, second)
		if d == class {
			right++
		}
		rows = append(rows, []string{class, strings.Trim(fmt.Sprint(first), "[]"), strings.Trim(fmt.Sprint(second), "[]"), d})
		p.fact(strings.ReplaceAll(class, " ", "-"), strings.Trim(fmt.Sprint(second), "[]"), "Failure: "+class+". Six requests to add 1 end with %s.")
	}
	p.section("A server that adds 1 for each request and replies with the total; a fault strikes at the third")
	p.table([]string{"failure", "client A sees", "client B sees", "what a bystander makes of it"}, rows)
	s := newStage("", "A", "server", "B")
	s.liars[1] = true
	a := adder{class: "arbitrary"}
	for i := 1; i <= adderHit; i++ {
		x, y := a.serve(i)
		s.send(1, 0, fmt.Sprint(x), nil)
		s.send(1, 2, fmt.Sprint(y), nil)
		s.run(s.now + 10)
	}
	p.section("The arbitrary one up to its third reply (! is a reply of the faulty server)")
	p.show(s)
	p.fact("told-apart", right, "From what clients see, %d of %d can be told apart here. A clever arbitrary failure could look like any of the others.", len(names))
}

// bufferRun sends messages at the given times to a receiver that needs work per message and has
// room for capacity of them. It tells how many are lost and the latest end.
func bufferRun(title string, times []int64, capacity int, work int64) (lost int, end int64, s *stage) {
	s = newStage(title, "sender", "receiver")
	waiting := 0
	busy := int64(0)
	for i, t := range times {
		s.run(t)
		name := fmt.Sprintf("#%d", i+1)
		s.send(0, 1, name, func() {
			if waiting == capacity {
				lost++
				s.mark(1, "%s finds the buffer full: lost", name)
				return
			}
			waiting++
			busy = max(busy, s.now) + work
			s.after(busy-s.now, func() {
				waiting--
				end = s.now
				s.mark(1, "%s is done", name)
			})
		})
	}
	s.run(1000)
	return lost, end, s
}

func fullBuffer(p *page) {
	const capacity, work, deadline = 2, 10, 60
	runs := []struct {
		name  string
		times []int64
	}{
		{"on time", []int64{0, 10, 20, 30}},
		{"too late", []int64{0, 10, 20, 90}},
		{"too early", []int64{0, 1, 2, 3}},
	}
	var rows [][]string
	for _, r := range runs {
		lost, end, s := bufferRun(r.name, r.times, capacity, work)
		p.show(s)
		rows = append(rows, []string{r.name, fmt.Sprint(lost), fmt.Sprint(end), yes(lost == 0 && end <= deadline)})
		p.fact(strings.ReplaceAll(r.name, " ", "-"), lost, "Sent "+r.name+": %d messages lost, the last done at %d ms (it should be done by %d).", end, deadline)
	}
	p.section("Room for %d messages, %d ms for each", capacity, work)
	p.table([]string{"sent", "lost", "last done at", "in order"}, rows)
}

// door is a machine that knows three messages.
type door struct{ name string }

var doorSpec = map[string]map[string]string{
	"open":   {"close": "closed"},
	"closed": {"open": "open", "lock": "locked"},
	"locked": {"unlock": "closed"},
}

// next is the state after a message; "crash" if the process ends.
func (d door) next(state, message string) string {
	if to, ok := doorSpec[state][message]; ok {
		return to
	}
	switch d.name {
	case "falls through to the last branch":
		return "open" // what its author thought of as the remaining case
	case "asserts that it cannot happen":
		return "crash"
	}
	return state
}

func unknownMessage(p *page) {
	messages := []string{"open", "close", "lock", "unlock", "tilt"}
	states := []string{"open", "closed", "locked"}
	doors := []door{{"falls through to the last branch"}, {"asserts that it cannot happen"}, {"refuses and stays"}}
	var rows [][]string
	for _, d := range doors {
		tried, wrong, crashed := 0, 0, 0
		for _, st := range states {
			for _, m := range messages {
				if _, ok := doorSpec[st][m]; ok {
					continue
				}
				tried++
				switch d.next(st, m) {
				case st:
				case "crash":
					crashed++
				default:
					wrong++
				}
			}
		}
		rows = append(rows, []string{d.name, fmt.Sprint(tried), fmt.Sprint(wrong), fmt.Sprint(crashed), d.next("locked", "tilt")})
		p.fact(strings.Fields(d.name)[0], wrong+crashed, "A door that "+d.name+": %d of %d unexpected messages lead to a failure.", tried)
	}
	p.section("A door: open, closed or locked; every message that it does not expect")
	p.table([]string{"the door", "messages", "wrong state", "crash", "tilt while locked leads to"}, rows)
	s := newStage("", "stranger", "door")
	d, state := doors[0], "locked"
	s.mark(1, "%s", state)
	s.send(0, 1, "tilt", func() {
		state = d.next(state, "tilt")
		s.mark(1, "%s", state)
	})
	s.run(10)
	p.section("The first door")
	p.show(s)
}

func failureScenarios() []Scenario {
	return []Scenario{
		model("failure-durations", "Transient, intermittent, permanent",
			`A transient fault happens once and goes away: a bird flies through the beam of a microwave link. An intermittent one
			comes, goes and comes again: a loose contact. A permanent one stays until the part is replaced: a burnt-out chip.
			Each asks for another remedy: the first for doing it again, the last for a spare; the one in between is the hardest
			to find, for whenever the doctor comes it has just gone. One component is used twenty times under each fault, with
			three remedies, and the table counts the failures that its user still sees.`, durations),
		model("failure-classes", "The classes of failure, as clients see them",
			`Crash, omission (of sending, of receiving), timing, value, state transition, arbitrary (Cristian 1991; Tanenbaum &
			van Steen, ch. 8). A small server adds 1 for each request and replies with the total; it suffers each failure in
			turn, at its third request. Its two clients see only replies: none, late ones, wrong ones, or different ones. What
			they see is given to a bystander who has to name the class, and does so from the replies alone. Note how little it
			takes to tell a lost reply from a lost request: the next total.`, classes),
		model("full-buffer", "Timing: too late, and too early into a full buffer",
			`A reply that comes too late is a timing failure; so is one that comes too early, if the receiver has no room for it
			yet. A sender has four messages for a receiver that works on each for a while and can keep two. It keeps to its
			times, or its last message is late, or it sends all at once. Being early loses messages, which looks like omission
			from outside: one class of failure turns into another on its way. That is why every queue here has a bound and every
			sender a limit.`, fullBuffer),
		model("unknown-message", "State transition: a message that it does not know",
			`A server that gets a message for which it has no transition, because it does not know it or not in this state, must
			do something. If it slips into some state, that is a state transition failure: it began with a wrong message, but
			what makes it a failure is the server's own step. If it asserts that this cannot happen, anybody can make it crash.
			The right thing is dull: refuse, and stay. Three doors are tried, in every state with every message that is not
			meant for it; one message, tilt, is meant for none.`, unknownMessage),
	}
}
