package teach

import (
	"fmt"
	"slices"
)

// The multi-update's model: a coordinator updates three servers. Whoever crashes is up again later.
const atomicServers = 3

// commit is one run of an update of three servers by a coordinator.
type commit struct {
	s *stage
	// twoPhase: ask all first, note the decision on disk, then tell them.
	twoPhase bool
	// The process who (0: the coordinator) crashes before its act number at.
	who, at int
	acts    []int
	down    []bool
	refuses int // a server that cannot do it, or 0

	prepared, updated []bool
	ready             int
	refused           bool
	noted             bool // the decision, on the coordinator's disk
}

// act counts what a process does, and crashes it when its time has come. It tells whether it is up.
func (c *commit) act(p int) bool {
	if c.down[p] {
		return false
	}
	c.acts[p]++
	if p == c.who && c.acts[p] == c.at {
		c.down[p] = true
		c.s.crash(p, "crashes")
		c.s.after(60, func() {
			c.down[p] = false
			c.s.up(p, "restarts")
			c.recover(p)
		})
		return false
	}
	return true
}

// send is lost on who is down.
func (c *commit) send(from, to int, text string, got func()) {
	if c.act(from) {
		c.s.send(from, to, text, func() {
			if !c.down[to] {
				got()
			}
		})
	}
}

func (c *commit) run() {
	names := []string{"coordinator"}
	for i := range atomicServers {
		names = append(names, fmt.Sprintf("S%d", i+1))
	}
	c.s = newStage("", names...)
	c.acts, c.down = make([]int, len(names)), make([]bool, len(names))
	c.prepared, c.updated = make([]bool, len(names)), make([]bool, len(names))
	for i := 1; i < len(names); i++ {
		if c.twoPhase {
			c.send(0, i, "can you?", func() { c.vote(i) })
		} else {
			c.send(0, i, "update", func() { c.apply(i) })
		}
	}
	if c.twoPhase {
		c.s.after(40, func() { // who has not answered by now is taken for a no
			if !c.noted && !c.down[0] {
				c.refused = true
			}
		})
	}
	c.s.run(400)
}

// apply does the update at server i, if it can.
func (c *commit) apply(i int) {
	if i == c.refuses {
		c.s.mark(i, "cannot")
		return
	}
	if c.act(i) && !c.updated[i] {
		c.updated[i] = true
		c.s.mark(i, "updates")
	}
}

// vote is server i's promise, which it notes on its disk, or refusal.
func (c *commit) vote(i int) {
	if i == c.refuses {
		c.send(i, 0, "no", func() { c.refused = true })
		return
	}
	if !c.act(i) {
		return
	}
	c.prepared[i] = true
	c.send(i, 0, "yes", func() {
		c.ready++
		if c.ready == atomicServers && !c.refused && c.act(0) {
			c.noted = true
			c.s.mark(0, "notes: do it")
			c.tell()
		}
	})
}

// tell announces the decision to do it.
func (c *commit) tell() {
	for i := 1; i <= atomicServers; i++ {
		c.send(0, i, "do it", func() { c.apply(i) })
	}
}

// recover is what a process does after a restart: the coordinator announces what it had noted, or
// that nothing comes of it; a server that had promised asks.
func (c *commit) recover(p int) {
	switch {
	case !c.twoPhase:
	case p == 0 && c.noted:
		c.tell()
	case p == 0:
		c.refused = true
	case c.prepared[p] && !c.updated[p]:
		c.send(p, 0, "what now?", func() {
			if c.noted {
				c.send(0, p, "do it", func() { c.apply(p) })
			}
		})
	}
}

// done counts the servers that have made the update.
func (c *commit) done() int { return count(c.updated, func(b bool) bool { return b }) }

func atomicUpdate(p *page) {
	var rows [][]string
	half := map[bool]int{}
	cases := map[bool]int{}
	for _, two := range []bool{false, true} {
		outcomes := make([]int, atomicServers+1)
		for refuses := 0; refuses <= atomicServers; refuses++ {
			for who := range atomicServers + 1 {
				for at := 1; at <= 8; at++ {
					c := commit{twoPhase: two, who: who, at: at, refuses: refuses}
					c.run()
					if c.acts[who] < at {
						break // it does not do so much
					}
					outcomes[c.done()]++
					cases[two]++
					if c.done() != 0 && c.done() != atomicServers {
						half[two]++
					}
				}
			}
		}
		cells := []string{word(two, "in two phases, with notes on disk", "one after the other")}
		for _, n := range outcomes {
			cells = append(cells, fmt.Sprint(n))
		}
		rows = append(rows, cells)
	}
	plain := commit{who: 0, at: 3}
	plain.run()
	two := commit{twoPhase: true, who: 0, at: 6}
	two.run()
	plain.s.title, two.s.title = "one after the other", "in two phases"
	p.section("The coordinator crashes in the middle")
	p.show(plain.s)
	p.show(two.s)
	p.section("Every process crashes before every one of its acts; nobody or one server cannot do the update")
	p.table([]string{"how", "0 updated", "1 updated", "2 updated", "all 3 updated"}, rows)
	p.fact("plain-half", half[false], "One after the other, %d of %d runs end with some servers updated and others not, for good.", cases[false])
	p.fact("two-half", half[true], "In two phases, %d of %d: all or none, once whoever crashed is up again.", cases[true])
	waited := slices.ContainsFunc(two.s.rows, func(r row) bool { return r.kind == rowUp })
	p.claim("blocks", waited && two.done() == atomicServers,
		"The price is seen in the second picture: servers that have promised must wait for the coordinator to come back. Replicated state machines do not have to: see the engine's scenarios.",
		"Nobody has to wait for the coordinator.")
}

func atomicScenarios() []Scenario {
	return []Scenario{
		model("atomic-update", "Several updates as one: all or none",
			`Three servers are to make an update: all of them, or none. Telling one after the other leaves the job half done when
			somebody crashes or cannot do it. In two phases the coordinator first asks all; who says yes has noted it on its
			disk and can no longer step back; the decision is noted too before anybody is told. Every process crashes before
			every one of its acts, with all servers able to update and with one that is not, and everybody comes back later. The
			table counts how many servers have made the update at the end; the pictures show the same crash of the coordinator
			in both ways (Tanenbaum & van Steen, ch. 8).`, atomicUpdate),
	}
}
