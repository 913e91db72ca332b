package teach

import (
	"fmt"
	"slices"
	"strings"
)

// setting is one of the sixteen combinations of the four dimensions of agreement.
type setting struct{ synchronous, bounded, ordered, multicast bool }

// trial is one run of three processes that want to agree on one of their values although one of
// them may crash: what the adversary does in it.
type trial struct {
	inputs [3]int
	// crash is the process that crashes while it tells its value, or -1; reached are those that
	// its message was sent to.
	crash   int
	reached [3]bool
	// slow is the process that is slow to act (in asynchronous settings), or -1.
	slow int
	// late are the messages that take longer than others, by lateBy: from lateFrom to each of late.
	lateFrom, lateBy int
	late             [3]bool
	// ties says in which order messages sent at the same step arrive.
	ties int
}

// Times of the model, in steps. A process takes one step at a time.
const (
	dimRound  = 10   // what someone waits who knows the bounds
	dimJitter = 4    // by which a message may be late where delays are bounded
	dimSlow   = 1000 // by which a process or a message may be late where nothing is bounded
)

// dimMessage is one message of a trial.
type dimMessage struct {
	from, to      int
	sent, arrives int
	value         int
	marker        bool // sent to itself, to see what was sent before
}

// mail makes the messages of the first round: everyone tells everyone, itself too, its value, one
// at a step unless there is multicast; then each sends itself a marker.
func (t *trial) mail(in setting) []dimMessage {
	var out []dimMessage
	for from := range 3 {
		start := 0
		if from == t.slow {
			start = dimSlow
		}
		crashed := false
		for step := range 3 {
			to := (from + step) % 3
			sent := start
			if !in.multicast {
				sent += step
			}
			reached := to == from || t.reached[to]
			if in.multicast { // all or nobody
				reached = t.reached[(from+1)%3]
			}
			if from == t.crash && !reached {
				crashed = true
				continue
			}
			out = append(out, t.post(from, to, sent, false))
		}
		if !crashed {
			out = append(out, t.post(from, from, start+3, true))
		}
	}
	t.order(in, out)
	return out
}

func (t *trial) post(from, to, sent int, marker bool) dimMessage {
	m := dimMessage{from: from, to: to, sent: sent, arrives: sent + 1, value: t.inputs[from], marker: marker}
	if from == t.lateFrom && t.late[to] && !marker {
		m.arrives += t.lateBy
	}
	return m
}

// order keeps the promise of ordered messages: who is sent one later gets it later.
func (t *trial) order(in setting, mail []dimMessage) {
	rank := func(from int) int { return (from + t.ties) % 3 }
	slices.SortStableFunc(mail, func(a, b dimMessage) int {
		if a.sent != b.sent {
			return a.sent - b.sent
		}
		return rank(a.from) - rank(b.from)
	})
	if in.ordered {
		var last [3]int
		for i := range mail {
			m := &mail[i]
			m.arrives = max(m.arrives, last[m.to])
			last[m.to] = m.arrives
		}
	}
	slices.SortStableFunc(mail, func(a, b dimMessage) int { return a.arrives - b.arrives })
}

// algorithm decides for process p from the messages of a trial; ok is false if it waits for ever.
type algorithm struct {
	name string
	run  func(t *trial, in setting) (decided [3]int, ok bool)
}

// firstMessage decides on the first value that arrives.
func firstMessage(t *trial, in setting) (decided [3]int, ok bool) {
	mail := t.mail(in)
	for p := range 3 {
		i := slices.IndexFunc(mail, func(m dimMessage) bool { return m.to == p && !m.marker })
		if i < 0 {
			return decided, false
		}
		decided[p] = mail[i].value
	}
	return decided, true
}

// byTimeout takes who is not heard within a time for crashed; byMarker who is not heard before
// the marker that the process sent to itself. Then everyone tells who it heard: who has heard all
// decides at once; who misses one waits for the word of the third, for only one process crashes.
func byTimeout(t *trial, in setting) ([3]int, bool) {
	return rounds(t, in, func(dimMessage) int { return dimRound })
}

func byMarker(t *trial, in setting) ([3]int, bool) {
	return rounds(t, in, func(m dimMessage) int { return m.arrives })
}

func rounds(t *trial, in setting, end func(marker dimMessage) int) (decided [3]int, ok bool) {
	mail := t.mail(in)
	var heard [3][3]bool
	for p := range 3 {
		if p != t.crash {
			heard[p] = t.heard(mail, p, end)
		}
	}
	for p := range 3 {
		if p == t.crash {
			continue
		}
		known := heard[p]
		for q := range 3 {
			if q == p || !heard[p][q] || heard[p] == [3]bool{true, true, true} {
				continue
			}
			if q == t.crash {
				return decided, false // p suspects somebody else, and waits for the word of q
			}
			for i := range known {
				known[i] = known[i] || heard[q][i]
			}
		}
		decided[p] = 1
		for i, k := range known {
			if k {
				decided[p] = min(decided[p], t.inputs[i])
			}
		}
	}
	return decided, true
}

// heard tells whose value process p has when its first round ends.
func (t *trial) heard(mail []dimMessage, p int, end func(marker dimMessage) int) (heard [3]bool) {
	marker := slices.IndexFunc(mail, func(m dimMessage) bool { return m.to == p && m.marker })
	until := end(mail[marker])
	if p == t.slow {
		until = max(until, mail[marker].sent) // it cannot look before it acts
	}
	heard[p] = true
	for i, m := range mail {
		if m.to == p && (m.arrives < until || m.arrives == until && i < marker) {
			heard[m.from] = true
		}
	}
	return heard
}

// algorithms are the three that together solve every case that can be solved.
func algorithms() []algorithm {
	return []algorithm{
		{"time-out", byTimeout},
		{"marker", byMarker},
		{"first message", firstMessage},
	}
}

// trials lists what the adversary can do in a setting.
func trials(in setting) []trial {
	var out []trial
	for bits := range 8 {
		base := trial{inputs: [3]int{bits & 1, bits >> 1 & 1, bits >> 2}, crash: -1, slow: -1, lateFrom: -1, reached: [3]bool{true, true, true}}
		crashes := []trial{base}
		for p := range 3 {
			for reach := range 4 { // of the two others
				c := base
				c.crash = p
				c.reached[(p+1)%3], c.reached[(p+2)%3] = reach&1 != 0, reach&2 != 0
				crashes = append(crashes, c)
			}
		}
		for _, c := range crashes {
			for ties := range 3 {
				c.ties = ties
				out = append(out, disturb(c, in)...)
			}
		}
	}
	return out
}

// disturb adds what a setting lets the adversary slow down.
func disturb(c trial, in setting) []trial {
	out := []trial{c}
	for p := range 3 {
		if !in.synchronous {
			s := c
			s.slow = p
			out = append(out, s)
		}
		for set := 1; set < 8; set++ {
			s := c
			s.lateFrom, s.lateBy = p, dimJitter
			if !in.bounded {
				s.lateBy = 2 * dimSlow
			}
			s.late = [3]bool{set&1 != 0, set&2 != 0, set&4 != 0}
			out = append(out, s)
		}
	}
	return out
}

// broken finds a trial in which the algorithm fails in that setting: somebody waits for ever,
// two living processes decide differently, or on a value that nobody had.
// The second result says how, or is empty; the third is how many trials were made.
func broken(a algorithm, in setting) (trial, string, int) {
	for made, t := range trials(in) {
		decided, ok := a.run(&t, in)
		if !ok {
			return t, "somebody waits for ever", made + 1
		}
		first := -1
		for p := range 3 {
			switch {
			case p == t.crash:
			case !slices.Contains(t.inputs[:], decided[p]):
				return t, fmt.Sprintf("P%d decides on what nobody said", p+1), made + 1
			case first < 0:
				first = p
			case decided[p] != decided[first]:
				return t, fmt.Sprintf("P%d decides %d, P%d decides %d", first+1, decided[first], p+1, decided[p]), made + 1
			}
		}
	}
	return trial{}, "", len(trials(in))
}

func (t *trial) String() string {
	var parts []string
	if t.crash >= 0 {
		parts = append(parts, fmt.Sprintf("P%d crashes", t.crash+1))
	}
	if t.slow >= 0 {
		parts = append(parts, fmt.Sprintf("P%d is slow", t.slow+1))
	}
	if t.lateFrom >= 0 {
		parts = append(parts, fmt.Sprintf("messages of P%d are late", t.lateFrom+1))
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing goes wrong")
	}
	return strings.Join(parts, ", ")
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func (in setting) String() string {
	return fmt.Sprintf("%s, %s, %s, %s", word(in.synchronous, "synchronous", "asynchronous"), word(in.bounded, "bounded", "unbounded"),
		word(in.ordered, "ordered", "unordered"), word(in.multicast, "multicast", "unicast"))
}

func settings() []setting {
	var out []setting
	for i := range 16 {
		out = append(out, setting{i&8 == 0, i&4 == 0, i&2 != 0, i&1 != 0})
	}
	return out
}

func dimensions(p *page) {
	solved := make(map[setting]string)
	var breaks [][]string
	runs := 0
	for _, in := range settings() {
		for _, a := range algorithms() {
			t, how, made := broken(a, in)
			runs += made
			if how == "" && solved[in] == "" {
				solved[in] = a.name
			}
			if how != "" && in == (setting{}) {
				breaks = append(breaks, []string{a.name, t.String(), how})
			}
		}
	}
	p.section("The algorithms")
	p.line("time-out       tell all; who is not heard in time has crashed")
	p.line("marker         tell all, then send yourself a marker; who is not heard before it has crashed")
	p.line("first message  tell all; the first value that arrives is the decision")
	p.say("After the first two everyone passes on what it heard. Who heard all decides on the least value at once; who misses one waits for the word of the other.")
	p.section("Can three processes agree although one may crash?")
	mark := func(in setting) string {
		if solved[in] != "" {
			return "yes"
		}
		return "-"
	}
	var rows [][]string
	for _, sync := range []bool{true, false} {
		for _, bounded := range []bool{true, false} {
			cells := []string{word(sync, "synchronous", "asynchronous"), word(bounded, "bounded", "unbounded")}
			for _, ordered := range []bool{false, true} {
				for _, multicast := range []bool{false, true} {
					cells = append(cells, mark(setting{sync, bounded, ordered, multicast}))
				}
			}
			rows = append(rows, cells)
		}
	}
	p.table([]string{"processes", "delays", "unordered, unicast", "multicast", "ordered, unicast", "multicast"}, rows)
	p.section("What breaks them in the worst setting: %v", setting{})
	p.table([]string{"algorithm", "adversary", "outcome"}, breaks)
	p.keep(dimensionsStage())
	concludeDimensions(p, solved, runs)
}

func concludeDimensions(p *page, solved map[setting]string, runs int) {
	law := true
	for _, in := range settings() {
		can := in.synchronous && in.bounded || in.synchronous && in.ordered || in.ordered && in.multicast
		law = law && can == (solved[in] != "")
	}
	p.fact("runs", runs, "%d runs were made: all inputs, crashes, slow processes and late messages of each setting, until an algorithm broke.")
	p.fact("solved", len(solved), "In %d of 16 settings one of the three algorithms always leads to agreement.")
	p.claim("law", law,
		"These are the settings with synchronous processes and bounded delays, or synchronous processes and ordered messages, or ordered multicast.",
		"The settings do not follow the known rule.")
	p.fact("ordered-multicast-async", word(solved[setting{false, false, true, true}] != "", "enough", "not enough"),
		"Ordered multicast alone is %s. That is why state machine replication orders requests first.")
	p.say("")
	p.say("That no other algorithm helps in the other eight is no result of these runs but a theorem: Dolev, Dwork & Stockmeyer 1987.")
}

// dimensionsStage is the run in which a slow process divides the others by time-out.
func dimensionsStage() *stage {
	s := newStage("", "P1", "P2", "P3")
	t, _, _ := broken(algorithms()[0], setting{})
	mail := t.mail(setting{})
	for _, m := range mail {
		if m.from == m.to {
			continue
		}
		s.rows = append(s.rows, row{kind: rowMessage, from: m.from, to: m.to, sent: int64(m.sent), at: int64(m.arrives), text: fmt.Sprint(m.value)})
	}
	decided, _ := byTimeout(&t, setting{})
	for p, d := range decided {
		s.rows = append(s.rows, row{kind: rowMark, from: p, sent: 2 * dimSlow, at: 2 * dimSlow, text: fmt.Sprintf("decides %d", d)})
	}
	return s
}

func agreementScenarios() []Scenario {
	return append(vectorScenarios(), model("four-dimensions", "The four dimensions of agreement",
		`Whether processes can agree at all when one may crash depends on four things: do they run in step (synchronous), is
			there a bound on delays, are messages delivered in the order in which they were sent, and does a message go to one
			or to all at once (multicast)? For each of the sixteen combinations three algorithms are tried against every input,
			crash, slow process and late message that the combination allows (Turek & Shasha 1992; Tanenbaum & van Steen, ch.
			8).`, dimensions))
}
