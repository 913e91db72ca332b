package teach

import (
	"fmt"
	"slices"
	"strings"
)

// Times of the groups' models, in milliseconds.
const (
	jobWork    = 10
	jobTimeout = 30
	jobsInAll  = 12
)

// crew is a group of four processes that does jobs. crashed is who crashes at the given time.
type crew struct {
	s       *stage
	down    []bool
	done    map[int]bool
	pending []int
	sent    int
}

func newCrew(title string, names []string, crashed int, at int64) *crew {
	c := &crew{s: newStage(title, names...), down: make([]bool, len(names)), done: map[int]bool{}}
	c.s.delay = 2
	for k := range jobsInAll {
		c.pending = append(c.pending, k+1)
	}
	if crashed >= 0 {
		c.s.after(at, func() {
			c.down[crashed] = true
			c.s.crash(crashed, "crashes")
		})
	}
	return c
}

// send is lost on who is down.
func (c *crew) send(from, to int, text string, got func()) {
	c.sent++
	c.s.send(from, to, text, func() {
		if !c.down[to] {
			got()
		}
	})
}

// hierarchy has process 0 hand out the jobs.
func hierarchy(title string, crashed int) *crew {
	c := newCrew(title, []string{"coordinator", "W1", "W2", "W3"}, crashed, 15)
	var assign func(w int)
	assign = func(w int) {
		if c.down[0] || len(c.pending) == 0 {
			return
		}
		k := c.pending[0]
		c.pending = c.pending[1:]
		c.send(0, w, fmt.Sprint("job ", k), func() {
			c.s.after(jobWork, func() {
				if !c.down[w] {
					c.send(w, 0, fmt.Sprint("done ", k), func() {
						c.done[k] = true
						assign(w)
					})
				}
			})
		})
		c.s.after(jobTimeout, func() {
			if !c.done[k] && !c.down[0] { // the worker is taken for dead, and gets no more
				c.pending = append(c.pending, k)
				assign(1 + w%3)
			}
		})
	}
	for w := 1; w <= 3; w++ {
		assign(w)
	}
	c.s.run(400)
	return c
}

// flat has everyone know the members and deal the jobs by the same rule.
func flat(title string, crashed int) *crew {
	c := newCrew(title, []string{"P1", "P2", "P3", "P4"}, crashed, 15)
	knows := make([]map[int]bool, 4)
	members := make([][]int, 4)
	busy := make([]bool, 4)
	for p := range 4 {
		knows[p], members[p] = map[int]bool{}, []int{0, 1, 2, 3}
	}
	var work func(p int)
	work = func(p int) {
		if busy[p] || c.down[p] {
			return
		}
		place := slices.Index(members[p], p)
		for k := 1; k <= jobsInAll; k++ {
			if knows[p][k] || k%len(members[p]) != place {
				continue
			}
			busy[p] = true
			c.s.after(jobWork, func() {
				busy[p] = false
				if c.down[p] {
					return
				}
				knows[p][k], c.done[k] = true, true
				for q := range 4 {
					if q != p {
						c.send(p, q, fmt.Sprint("done ", k), func() { knows[q][k] = true })
					}
				}
				work(p)
			})
			return
		}
	}
	for p := range 4 {
		work(p)
	}
	if crashed >= 0 {
		c.s.after(15+jobTimeout, func() { // nobody has heard of it for so long
			for p := range 4 {
				members[p] = slices.DeleteFunc(members[p], func(q int) bool { return q == crashed })
			}
			for p := range 4 {
				work(p)
			}
		})
	}
	c.s.run(400)
	return c
}

func flatAndHierarchical(p *page) {
	var rows [][]string
	crews := map[string]*crew{}
	for _, kind := range []string{"hierarchical", "flat"} {
		for _, crash := range []struct {
			name string
			who  int
		}{{"nobody", -1}, {"first process", 0}, {"last process", 3}} {
			c := hierarchy("", crash.who)
			if kind == "flat" {
				c = flat("", crash.who)
			}
			crews[kind+", "+crash.name] = c
			rows = append(rows, []string{kind, crash.name, fmt.Sprintf("%d of %d", len(c.done), jobsInAll), fmt.Sprint(c.sent)})
		}
	}
	p.section("Four processes, twelve jobs (the first process of the hierarchical group is the coordinator)")
	p.table([]string{"group", "crashes", "jobs done", "messages"}, rows)
	p.section("Hierarchical: the coordinator crashes")
	p.show(crews["hierarchical, first process"].s)
	h, f := crews["hierarchical, first process"], crews["flat, first process"]
	p.state("hierarchical-coordinator", len(h.done), fmt.Sprintf("The coordinator crashes: %d of %d jobs are done%s.", len(h.done), jobsInAll, word(len(h.done) < jobsInAll, ", then all stops", "")))
	p.fact("hierarchical-worker", len(crews["hierarchical, last process"].done), "A worker crashes: %d jobs are done; the coordinator gives its job to another.")
	p.fact("flat-crash", len(f.done), "In the flat group the first process crashes: %d of %d jobs are done.", jobsInAll)
	p.state("messages", []int{crews["hierarchical, nobody"].sent, crews["flat, nobody"].sent}, fmt.Sprintf(
		"The price: without a crash the flat group sends %d messages, the hierarchical one %d: everyone must tell everyone.", crews["flat, nobody"].sent, crews["hierarchical, nobody"].sent))
}

// groupServer plays: D joins, the first process of the membership service crashes, E joins.
func groupServer(p *page) {
	central := newStage("with a group server", "server", "A", "D", "E")
	members, down := []string{"A"}, false
	join := func(s *stage, who int) {
		s.send(who, 0, "join", func() {
			if down {
				return
			}
			members = append(members, s.lines[who])
			s.mark(0, "members: %s", strings.Join(members, " "))
		})
	}
	join(central, 2)
	central.run(10)
	down = true
	central.crash(0, "crashes")
	join(central, 3)
	central.run(60)
	central.mark(3, "nobody answers")

	spread := newStage("distributed: everyone keeps the list", "A", "B", "D", "E")
	lists := [][]string{{"A", "B"}, {"A", "B"}, nil, nil}
	dead := make([]bool, 4)
	messages := 0
	announce := func(who int) {
		lists[who] = []string{spread.lines[who]}
		for q := range 4 {
			if q == who || lists[q] == nil {
				continue
			}
			messages++
			spread.send(who, q, "join", func() {
				if dead[q] {
					return
				}
				lists[q] = append(lists[q], spread.lines[who])
				messages++
				spread.send(q, who, "welcome", func() {
					for _, m := range lists[q] {
						if !slices.Contains(lists[who], m) {
							lists[who] = append(lists[who], m)
						}
					}
				})
			})
		}
	}
	announce(2)
	spread.run(20)
	dead[0] = true
	spread.crash(0, "crashes")
	announce(3)
	spread.run(80)
	slices.Sort(lists[1])
	spread.mark(1, "members: %s", strings.Join(lists[1], " "))
	p.section("D joins, then one process crashes, then E wants to join")
	p.show(central)
	p.show(spread)
	p.fact("central", strings.Join(members, " "), "With a group server the members are %s at the end: E is not let in by anybody. The server is a single point of failure.")
	p.claim("central-joined", slices.Contains(members, "E"), "E has joined.", "When it comes back it must rebuild the group, for it has lost it.")
	p.fact("distributed", strings.Join(lists[1], " "), "With distributed membership they are %s: E has joined.")
	p.claim("ghost", slices.Contains(lists[1], "A"), "A, which crashed, still stands in the list: a crashed process does not say goodbye. Others must find out (see failure-detection).",
		"A, which crashed, has gone from the list.")
	p.fact("messages", messages, "%d messages for two joins: everyone must be told.")
}

// joinRun has A and B send a message every 10 ms. D joins at 22 and leaves at 62; A and B learn of
// either after their delays. It counts what D misses as a member and what it gets as none.
func joinRun(delayA, delayB int) (missed, stray int) {
	const joins, leaves = 22, 62
	since := joins + min(delayA, delayB) // someone has told D: you are in
	for _, delay := range []int{delayA, delayB} {
		for t := 0; t < 100; t += 10 {
			knows := t >= joins+delay && t < leaves+delay
			member := t >= since && t < leaves
			if member && !knows {
				missed++
			}
			if !member && knows {
				stray++
			}
		}
	}
	return missed, stray
}

// orderedRun is the same with one order for messages, joining and leaving, in the order in which they
// reach the sequencer: D gets what lies between.
func orderedRun(delayJoin, delayLeave int, delays [2]int) (missed, stray int) {
	type item struct {
		at   int
		what string
	}
	items := []item{{22 + delayJoin, "join"}, {62 + delayLeave, "leave"}}
	for _, d := range delays {
		for t := 0; t < 100; t += 10 {
			items = append(items, item{t + d, "message"})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.at - b.at })
	join := slices.IndexFunc(items, func(i item) bool { return i.what == "join" })
	leave := slices.IndexFunc(items, func(i item) bool { return i.what == "leave" })
	in := false
	for k, i := range items {
		switch i.what {
		case "join":
			in = true
		case "leave":
			in = false
		default:
			member := k > join && k < leave
			if member && !in {
				missed++
			}
			if !member && in {
				stray++
			}
		}
	}
	return missed, stray
}

func joinAndLeave(p *page) {
	delays := []int{5, 15, 25, 35}
	var rows [][]string
	cases, bad, worst := 0, 0, 0
	for _, a := range delays {
		for _, b := range delays {
			m, st := joinRun(a, b)
			cases++
			if m+st > 0 {
				bad++
			}
			worst = max(worst, m+st)
			if a == 5 {
				rows = append(rows, []string{fmt.Sprint(a), fmt.Sprint(b), fmt.Sprint(m), fmt.Sprint(st)})
			}
		}
	}
	orderedBad := 0
	for _, j := range delays {
		for _, l := range delays {
			for _, a := range delays {
				for _, b := range delays {
					if m, st := orderedRun(j, l, [2]int{a, b}); m+st > 0 {
						orderedBad++
					}
				}
			}
		}
	}
	s := joinStage()
	p.section("The news travels on its own: D is a member, and B does not know")
	p.show(s)
	p.section("A hears of D after 5 ms, B after more")
	p.table([]string{"A hears after", "B hears after", "messages that D misses", "messages after leaving"}, rows)
	p.fact("apart-bad", bad, "If joining and leaving travel apart from the messages, %d of %d combinations of delays go wrong.", cases)
	p.fact("apart-worst", worst, "In the worst of them %d messages are missed, or delivered to one who has left.")
	p.fact("ordered-bad", orderedBad, "If they take their place in the same order as the messages, %d of %d go wrong: all messages after joining, none after leaving.", len(delays)*len(delays)*len(delays)*len(delays))
}

// joinStage is the beginning with delays of 5 and 25 ms.
func joinStage() *stage {
	s := newStage("", "A", "B", "D")
	var knows [2]bool
	s.run(22)
	for q, delay := range []int64{5, 25} {
		s.sendIn(delay, 2, q, "I join", func() {
			if !knows[0] && !knows[1] {
				s.send(q, 2, "you are in", nil)
			}
			knows[q] = true
		})
	}
	s.run(40)
	for q := range knows {
		if knows[q] {
			s.send(q, 2, "m", nil)
		} else {
			s.mark(q, "sends m to %s only: has not heard of D", s.lines[1-q])
		}
	}
	s.run(60)
	return s
}

// rebuildRun has the three that are left of seven processes start to rebuild the group at the given times: each
// proposes itself as its founder to the others. It returns whom each follows at the end.
func rebuildRun(starts [3]int64, highest bool) (follows [3]int, s *stage) {
	s = newStage("", "P5", "P6", "P7")
	follows = [3]int{-1, -1, -1}
	consider := func(p, founder int) {
		if follows[p] < 0 || highest && founder > follows[p] {
			follows[p] = founder
			s.mark(p, "follows %s", s.lines[founder])
		}
	}
	for p := range 3 {
		s.after(starts[p], func() {
			if follows[p] >= 0 {
				return // the group is being rebuilt already
			}
			consider(p, p)
			for q := range 3 {
				if q != p {
					s.send(p, q, "who is there?", func() { consider(q, p) })
				}
			}
		})
	}
	s.run(100)
	return follows, s
}

func rebuild(p *page) {
	const n, left = 7, 3
	times := []int64{0, 4, 8, 12}
	cases := 0
	split := map[bool]int{}
	for _, a := range times {
		for _, b := range times {
			for _, c := range times {
				cases++
				for _, rule := range []bool{false, true} {
					f, _ := rebuildRun([3]int64{a, b, c}, rule)
					if !same(f[:]) {
						split[rule]++
					}
				}
			}
		}
	}
	groupsOf := func(f [3]int) int {
		x := slices.Sorted(slices.Values(f[:]))
		return len(slices.Compact(x))
	}
	bad, s1 := rebuildRun([3]int64{0, 4, 8}, false)
	good, s2 := rebuildRun([3]int64{0, 4, 8}, true)
	s1.title, s2.title = "each follows the first that it hears of", "each follows the highest that it hears of"
	p.section("P1 to P4 are gone; P5 and P6 start to rebuild before they hear of each other")
	p.show(s1)
	p.show(s2)
	p.fact("groups-first", groupsOf(bad), "Following the first leads to %d groups in the picture.")
	p.fact("split-first", split[false], "It leads to more than one group in %d of %d combinations of starting times.", cases)
	p.fact("groups-highest", groupsOf(good), "Following the highest leads to %d group in the picture.")
	p.fact("split-highest", split[true], "It leads to more than one group in %d of %d: several may start at once if a fixed rule says who wins.", cases)
	p.claim("majority", 2*left > n,
		fmt.Sprintf("%d of %d are still a majority: nobody else can have rebuilt the group elsewhere.", left, n),
		fmt.Sprintf("%d of %d are no majority: the others may not be dead but cut off, and rebuild the group too. Only someone who knows, an operator, may let them.", left, n))
}

func groupScenarios() []Scenario {
	return []Scenario{
		model("flat-and-hierarchical", "Flat and hierarchical groups",
			`In a hierarchical group a coordinator hands out the work: decisions are simple, and all stops when it dies. In a
			flat group all are equal and decide together: nobody's death stops it, but every decision costs more. Twelve jobs
			are done by four processes, in either way; then again with the first process crashing, and with the last. In the
			flat group everyone deals the jobs by the same rule from the list of members, and tells all others what is done;
			when one falls silent the rest deal again. A PBFT group is both: a primary proposes, and is replaced when it fails.`, flatAndHierarchical),
		model("group-server", "A group server as single point of failure, against distributed membership",
			`Who is a member? A group server can keep the list: simple, efficient, and gone when it crashes. Or every member
			keeps it: to join, one tells them all, and each answers with the members that it knows. That has no single point of
			failure. But to leave without a word, by crashing, is something that the others have to find out: who does not say
			goodbye stays on the list. Both are played: D joins, then one process crashes, the server in the one case and a
			member in the other, then E wants to join.`, groupServer),
		model("join-and-leave", "Joining and leaving in step with the messages",
			`Who joins a group must get every message from then on; who has left must get none. If the news of it travels on its
			own, some member sends by an old list: the new one misses messages, and the one who left still gets some. If joining
			and leaving are messages of the group, ordered like all others, everyone changes the list at the same place. Two
			senders and a third process that joins and leaves are tried with every combination of delays, in both ways. A
			replicated state machine can order changes of its membership as it orders requests.`, joinAndLeave),
		model("rebuild", "Rebuilding a group after most of it failed",
			`So many members have failed that the group cannot go on, and one that is left starts to rebuild it: who is there?
			follow me. But others may do so at the same moment: then it must be settled who wins, or there will be two groups.
			Three are left of seven. Every combination of starting times is tried with two rules: follow the first of whom you
			hear, and follow the highest. One question no rule can answer: are the missing ones dead, or are they rebuilding the
			group on the other side of a broken network?`, rebuild),
	}
}
