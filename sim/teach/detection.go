package teach

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Times of the detectors, in milliseconds.
const (
	beatEvery   = 10
	suspectPast = 25
	detectCrash = 42
	detectUntil = 150
)

// detector watches four processes, of which P4 crashes at detectCrash. It returns when who
// suspected P4 (-1: never) and how many messages were sent.
type detector func() (noticed [3]int64, sent int, s *stage)

func detectorStage(title string) (*stage, *bool) {
	s := newStage(title, "P1", "P2", "P3", "P4")
	s.delay = 2
	down := new(bool)
	s.after(detectCrash, func() {
		*down = true
		s.crash(3, "crashes")
	})
	return s, down
}

// every runs do at once and then at each interval until detectUntil.
func every(s *stage, interval int64, do func()) {
	for t := int64(0); t < detectUntil; t += interval {
		s.after(t, do)
	}
}

// pinging has each of the others ask P4 whether it is alive.
func pinging() (noticed [3]int64, sent int, s *stage) {
	s, down := detectorStage("pinging (P1 only is drawn)")
	noticed = [3]int64{-1, -1, -1}
	for p := range 3 {
		last := int64(0)
		every(s, beatEvery, func() {
			if noticed[p] >= 0 {
				return
			}
			if s.now-last > suspectPast {
				noticed[p] = s.now
				s.mark(p, "suspects P4")
				return
			}
			sent++
			s.send(p, 3, "alive?", func() {
				if !*down {
					sent++
					s.send(3, p, "yes", func() { last = s.now })
				}
			})
		})
	}
	s.run(detectUntil)
	return noticed, sent, s
}

// passive has P4 say by itself that it is alive.
func passive() (noticed [3]int64, sent int, s *stage) {
	s, down := detectorStage("passively: P4 says that it is alive")
	noticed = [3]int64{-1, -1, -1}
	var last [3]int64
	every(s, beatEvery, func() {
		for p := range 3 {
			if !*down {
				sent++
				s.send(3, p, "alive", func() { last[p] = s.now })
			}
			if noticed[p] < 0 && s.now-last[p] > suspectPast {
				noticed[p] = s.now
				s.mark(p, "suspects P4")
			}
		}
	})
	s.run(detectUntil)
	return noticed, sent, s
}

// gossip has each process count its own beats and tell one other at a time all counts that it knows.
func gossip() (noticed [3]int64, sent int, s *stage) {
	s, down := detectorStage("gossip: the counts of P1 P2 P3 P4 are passed on")
	noticed = [3]int64{-1, -1, -1}
	counts := make([][4]int, 4)
	var rose [3]int64 // when the count of P4 last rose
	round := 0
	every(s, beatEvery, func() {
		for p := range 4 {
			if p == 3 && *down {
				continue
			}
			counts[p][p]++
			to := (p + 1 + round%3) % 4
			news := counts[p]
			sent++
			s.send(p, to, strings.Trim(fmt.Sprint(news), "[]"), func() {
				if to == 3 && *down {
					return
				}
				if to < 3 && news[3] > counts[to][3] {
					rose[to] = s.now
				}
				for i, n := range news {
					counts[to][i] = max(counts[to][i], n)
				}
			})
			if p < 3 && noticed[p] < 0 && s.now-rose[p] > 2*suspectPast {
				noticed[p] = s.now
				s.mark(p, "suspects P4")
			}
		}
		round++
	})
	s.run(detectUntil)
	return noticed, sent, s
}

func failureDetection(p *page) {
	var rows [][]string
	p.section("P4 crashes at %d ms", detectCrash)
	for _, d := range []struct {
		name string
		run  detector
	}{{"pinging", pinging}, {"passive", passive}, {"gossip", gossip}} {
		noticed, sent, s := d.run()
		all, last := true, int64(0)
		for _, t := range noticed {
			all = all && t >= detectCrash
			last = max(last, t)
		}
		if d.name == "pinging" {
			p.keep(s)
			p.show(s.only(0, 3))
		} else {
			p.keep(s)
		}
		rows = append(rows, []string{d.name, fmt.Sprint(sent), strings.Trim(fmt.Sprint(noticed), "[]"), fmt.Sprint(last - detectCrash)})
		p.state(d.name, []int{sent, int(last - detectCrash)}, fmt.Sprintf("%s: %s, all suspect P4 at the latest %d ms after its crash%s.",
			strings.ToUpper(d.name[:1])+d.name[1:], plural(sent, "message"), last-detectCrash, word(all, "", " (or did so wrongly)")))
	}
	p.section("A beat every %d ms; who is not heard for %d ms is suspected (gossip: %d ms)", beatEvery, suspectPast, 2*suspectPast)
	p.table([]string{"how", "messages", "P1, P2, P3 suspect at", "after at most"}, rows)
	p.say("")
	p.say("Pinging and the passive way watch only P4 here: to watch everybody takes so many messages for each. Gossip watches all four with what it sends.")
}

// only is the stage with the messages and marks of two lines.
func (s *stage) only(a, b int) *stage {
	out := newStage(s.title, s.lines[a], s.lines[b])
	place := map[int]int{a: 0, b: 1}
	for _, r := range s.rows {
		from, ok := place[r.from]
		to, ok2 := place[r.to]
		if r.kind != rowMessage {
			to, ok2 = 0, true
		}
		if ok && ok2 {
			r.from, r.to = from, to
			out.rows = append(out.rows, r)
		}
	}
	return out
}

// lag draws what a reply takes: mostly little, sometimes very long, as networks and collectors do.
func lag(r *rand.Rand) int {
	switch n := r.IntN(1000); {
	case n < 900:
		return 2 + r.IntN(8)
	case n < 990:
		return 10 + r.IntN(40)
	}
	return 50 + r.IntN(450)
}

func falsePositives(p *page, o Options) error {
	const pings = 100000
	timeouts := []int{10, 20, 50, 100, 200, 500}
	wrong := make([]int, len(timeouts))
	r := rand.New(rand.NewPCG(o.Seed, 0))
	s := newStage("", "detector", "process")
	for i := range pings {
		d := lag(r)
		for k, t := range timeouts {
			if d > t {
				wrong[k]++
			}
		}
		if i < 40 {
			s.sendIn(int64(d), 1, 0, fmt.Sprintf("yes (%d ms)", d), nil)
			s.run(s.now + 10)
		}
	}
	s.run(s.now + 600)
	p.keep(s)
	var rows [][]string
	falling := true
	for k, t := range timeouts {
		rows = append(rows, []string{fmt.Sprintf("%d ms", t), fmt.Sprint(wrong[k]), fmt.Sprintf("%.3f %%", 100*float64(wrong[k])/pings), fmt.Sprintf("%d ms", t)})
		falling = falling && (k == 0 || wrong[k] <= wrong[k-1])
	}
	p.section("%d pings of a process that is alive all the time; its replies take what is drawn", pings)
	p.table([]string{"time-out", "wrongly suspected", "share", "a real crash is noticed after"}, rows)
	p.claim("trade", falling, "A longer time-out suspects less often wrongly, and notices a real crash later.", "A longer time-out does not help.")
	p.claim("short", wrong[0] > 0, fmt.Sprintf("With %d ms a process that is alive is suspected %d times.", timeouts[0], wrong[0]), "The shortest time-out is long enough.")
	last := len(timeouts) - 1
	p.claim("none-left", wrong[last] == 0, fmt.Sprintf("With %d ms it is never suspected, for no reply here takes longer. Where delays have no bound, no time-out is long enough.", timeouts[last]),
		fmt.Sprintf("Even with %d ms it is suspected %d times.", timeouts[last], wrong[last]))
	return nil
}

// neighbours tries every state of the links among a detector M, two neighbours and a process S.
func neighbours(p *page) {
	links := []string{"M-S", "M-N1", "M-N2", "N1-S", "N2-S"}
	verdict := func(alive bool, up [5]bool, ask bool) bool { // suspected?
		reach := up[0] || ask && (up[1] && up[3] || up[2] && up[4])
		return !(alive && reach)
	}
	count := func(failures int, ask bool) (cases, wrong, missed int) {
		for mask := range 1 << len(links) {
			var up [5]bool
			broken := 0
			for i := range links {
				up[i] = mask>>i&1 == 0
				if !up[i] {
					broken++
				}
			}
			if broken != failures {
				continue
			}
			cases++
			if verdict(true, up, ask) {
				wrong++
			}
			if !verdict(false, up, ask) {
				missed++
			}
		}
		return cases, wrong, missed
	}
	var rows [][]string
	var alone, asking, missedAll int
	for k := range 4 {
		c, w1, m1 := count(k, false)
		_, w2, m2 := count(k, true)
		rows = append(rows, []string{fmt.Sprint(k), fmt.Sprint(c), fmt.Sprint(w1), fmt.Sprint(w2), fmt.Sprint(m1 + m2)})
		if k == 1 {
			alone, asking = w1, w2
		}
		missedAll += m1 + m2
	}
	s := newStage("", "M", "N1", "N2", "S")
	s.lose(0, 3, "alive?")
	s.run(20)
	s.send(0, 1, "is S alive?", func() { s.send(1, 3, "alive?", func() { s.send(3, 1, "yes", func() { s.send(1, 0, "it is", nil) }) }) })
	s.run(50)
	s.mark(0, "%s", word(verdict(true, [5]bool{false, true, true, true, true}, true), "suspects S", "does not suspect S: its own link is broken"))
	p.section("The link from M to S is broken")
	p.show(s)
	p.section("Every set of broken links among M, its neighbours N1 and N2, and S")
	p.table([]string{"broken links", "sets", "S suspected wrongly by M alone", "after asking", "a dead S not suspected"}, rows)
	p.fact("alone", alone, "One broken link leads to %d wrong suspicion if M judges alone.")
	p.fact("asking", asking, "It leads to %d if M asks its neighbours: a broken link is told from a dead process.")
	p.fact("missed", missedAll, "A dead process escapes suspicion in %d cases: asking can only clear who answers somebody.")
}

func detectionScenarios() []Scenario {
	return []Scenario{
		model("failure-detection", "Failure detection: pinging, passively, by gossip",
			`Is it still there? One can ask (ping), wait for it to say so by itself (passive), or let news of everybody spread
			from neighbour to neighbour (gossip). In all three cases silence for some time is taken for a crash: nothing else
			can be observed from outside. Four processes run, P4 crashes, and the table shows who noticed when, and how many
			messages it took until then. With gossip each process counts its own beats and passes on all counts that it knows;
			whose count no longer rises is suspected, and must be given more time, for news travels by detours.`, failureDetection),
		scenario("false-positives", "Time-outs and false positives",
			`A time-out cannot tell a crash from a slow reply. The process that is watched here never crashes; most of its
			replies are fast, a few are very slow, as a full queue or a garbage collection makes them. How often is it wrongly
			suspected? A short time-out notices a crash at once and cries wolf; a long one is right more often and late when it
			matters. If delays have no bound, no time-out is right always: a detector can only suspect. What is built on one
			must stay correct when it errs, as a change of view does: a wrong suspicion costs time there, and nothing else.`, falsePositives),
		model("asking-neighbours", "Asking the neighbours before suspecting",
			`Before it gives up on a process, a detector asks its neighbours whether they can reach it. If one of them can, the
			process is alive and the link is broken; if none can, it is dead, or cut off from all, which for the others comes to
			the same. So a broken link is told from a dead process, and a false positive more is avoided. Every set of broken
			links among a detector M, two neighbours and a process S is tried, with S alive and with S dead. What neighbours say
			is taken for true here: a neighbour that lies could keep a dead process alive, or worse.`, neighbours),
		model("tcp", "TCP masks omission, but not a broken connection",
			`TCP numbers what it sends, acknowledges what arrives and sends again what does not: lost segments are masked, and
			who uses it never hears of them. But when the connection itself breaks, because one end crashed or nothing got
			through for too long, the other cannot tell what was still taken in. Masking that is the application's business:
			reconnect, and number the requests oneself, so that the server knows what it has seen. First, lost segments in every
			combination; then a connection that breaks at each of three requests, for three kinds of client.`, tcp),
	}
}
