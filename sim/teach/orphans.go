package teach

import (
	"fmt"
	"strings"
)

// Times of the orphans' model, in milliseconds.
const (
	orphanCrash   = 20
	orphanRestart = 40
	orphanWork    = 120
	orphanLease   = 15
	orphanCutOff  = 70 // until when S3 cannot be reached, where it cannot
	orphanUntil   = 200
)

// job is a computation at a server, on behalf of a client or of the computation that called it.
type job struct {
	name   string
	server int
	owner  int // the stage line of the client at the root
	alive  bool
	done   bool
	epoch  int
}

// estate is what the client C leaves behind when it crashes: it called S1, which called S3; the
// healthy client D called S2. Lines of the stage: C, D, S1, S2, S3.
type estate struct {
	s      *stage
	jobs   []*job
	cutOff bool // S3 cannot be reached for a while
	writes int  // to the client's disk, before calls
	wait   int64
	down   bool
	epoch  int
	killed map[string]int64
	// stale are replies of an old epoch that the new C was sent and refused.
	stale int
}

const (
	lineC = iota
	lineD
	lineS1
	lineS2
	lineS3
)

// remedy says what is done about orphans.
type remedy struct {
	name string
	// prepare runs before the crash, restart when C is up again.
	prepare func(e *estate)
	restart func(e *estate)
}

// newEstate plays the calls, the crash and the restart.
func newEstate(title string, cutOff bool, r remedy) *estate {
	e := &estate{s: newStage(title, "C", "D", "S1", "S2", "S3"), cutOff: cutOff, epoch: 1, killed: map[string]int64{}}
	e.s.delay = 2
	c1 := e.call("c1", lineC, lineS1, lineC)
	e.call("d1", lineD, lineS2, lineD)
	e.s.after(5, func() { e.begin(e.call("c2", lineS1, lineS3, lineC)) })
	e.begin(c1)
	e.begin(e.jobs[1])
	if r.prepare != nil {
		r.prepare(e)
	}
	e.s.after(orphanCrash, func() {
		e.down = true
		e.s.crash(lineC, "crashes")
	})
	e.s.after(orphanRestart, func() {
		e.down = false
		e.s.up(lineC, "restarts")
		e.epoch++
		if r.restart != nil {
			r.restart(e)
		}
	})
	e.s.run(orphanUntil)
	return e
}

// call has the computation of one line call a server.
func (e *estate) call(name string, from, to, owner int) *job {
	j := &job{name: name, server: to, owner: owner, epoch: e.epoch}
	e.jobs = append(e.jobs, j)
	e.s.send(from, to, "call "+name, func() { j.alive = true })
	return j
}

// begin has the job end after its work, and reply to its owner.
func (e *estate) begin(j *job) {
	e.s.after(orphanWork, func() {
		if !j.alive {
			return
		}
		j.alive, j.done = false, true
		e.s.send(j.server, j.owner, "reply "+j.name, func() {
			if j.owner == lineC && j.epoch != e.epoch {
				e.stale++
			}
		})
	})
}

// kill ends the jobs at a server that satisfy which.
func (e *estate) kill(server int, which func(j *job) bool) {
	for _, j := range e.jobs {
		if j.server == server && j.alive && which(j) {
			j.alive = false
			e.killed[j.name] = e.s.now
			e.s.mark(server, "kills %s", j.name)
		}
	}
}

// tell sends a message that is lost while S3 is cut off.
func (e *estate) tell(from, to int, text string, got func()) {
	if to == lineS3 && e.cutOff && e.s.now < orphanCutOff {
		e.s.lose(from, to, text)
		return
	}
	e.s.send(from, to, text, got)
}

// orphans are the computations of the crashed C that ran to their end for nobody, innocents those of D that were killed.
func (e *estate) orphans() (ran, innocents []string) {
	for _, j := range e.jobs {
		switch {
		case j.owner == lineC && j.done:
			ran = append(ran, j.name)
		case j.owner == lineD && !j.done:
			innocents = append(innocents, j.name)
		}
	}
	return ran, innocents
}

// remedies are the four of Nelson 1981, and none.
func remedies() []remedy {
	return []remedy{
		{name: "nothing"},
		{name: "extermination",
			prepare: func(e *estate) { e.writes += 2 }, // C and S1 each note their call on disk before it leaves
			restart: func(e *estate) {
				e.tell(lineC, lineS1, "kill c1", func() {
					e.kill(lineS1, func(j *job) bool { return j.name == "c1" })
					e.tell(lineS1, lineS3, "kill c2", func() { e.kill(lineS3, func(j *job) bool { return j.name == "c2" }) })
				})
			}},
		{name: "reincarnation",
			restart: func(e *estate) {
				for _, to := range []int{lineS1, lineS2, lineS3} {
					e.tell(lineC, to, fmt.Sprint("epoch ", e.epoch), func() { e.kill(to, func(j *job) bool { return j.epoch < e.epoch }) })
				}
			}},
		{name: "gentle reincarnation",
			restart: func(e *estate) {
				for _, to := range []int{lineS1, lineS2, lineS3} {
					e.tell(lineC, to, fmt.Sprint("epoch ", e.epoch), func() { e.lookForOwners(to) })
				}
			}},
		{name: "expiration", prepare: (*estate).lease},
	}
}

// lookForOwners has a server ask the owner of each of its jobs, and kill those whose owner does not
// know them: the new C knows nothing of what the old one called.
func (e *estate) lookForOwners(server int) {
	for _, j := range e.jobs {
		if j.server != server || !j.alive {
			continue
		}
		e.s.send(server, j.owner, "yours? "+j.name, func() {
			answer := word(j.owner == lineC && j.epoch < e.epoch, "no", "yes")
			e.s.send(j.owner, server, answer+": "+j.name, func() {
				if answer == "no" {
					e.kill(server, func(k *job) bool { return k == j })
				}
			})
		})
	}
}

// lease has every job ask for more time, up to its root, and end when it is not given.
func (e *estate) lease() {
	e.wait = orphanLease
	for _, j := range e.jobs {
		e.extend(j)
	}
	e.s.after(6, func() { e.extend(e.jobs[2]) })
}

func (e *estate) extend(j *job) {
	granted := false
	e.s.after(orphanLease-5, func() {
		if !j.alive {
			return
		}
		e.s.send(j.server, j.owner, "more time? "+j.name, func() {
			if j.owner == lineC && (e.down || j.epoch != e.epoch) {
				return
			}
			e.s.send(j.owner, j.server, "yes: "+j.name, func() { granted = true })
		})
	})
	e.s.after(orphanLease, func() {
		switch {
		case granted:
			e.extend(j)
		case j.alive:
			e.kill(j.server, func(k *job) bool { return k == j })
		}
	})
}

// orphanRow is the line of the comparison.
func orphanRow(e *estate) []string {
	ran, innocents := e.orphans()
	last := int64(0)
	for _, j := range e.jobs {
		if j.owner == lineC {
			last = max(last, e.killed[j.name])
		}
	}
	gone := "-"
	if len(ran) == 0 {
		gone = fmt.Sprint(last - orphanCrash)
	}
	return []string{join(ran), gone, join(innocents), fmt.Sprint(e.writes)}
}

// orphanHead: orphans that ran to their end; ms from the crash until all were gone; computations of
// others that were killed; writes to a disk before calls.
var orphanHead = []string{"ran on", "gone after ms", "innocents killed", "disk writes"}

// orphanScenario shows one remedy, with S3 in reach and cut off, beside doing nothing.
func orphanScenario(name, title, story, which string, conclude func(p *page, reach, cut *estate)) Scenario {
	return model(name, title, story, func(p *page) {
		rs := remedies()
		var rows [][]string
		var shown, cut *estate
		for _, r := range rs {
			if r.name != "nothing" && r.name != which {
				continue
			}
			for _, away := range []bool{false, true} {
				e := newEstate("", away, r)
				rows = append(rows, append([]string{r.name, word(away, fmt.Sprintf("away until %d ms", orphanCutOff), "in reach")}, orphanRow(e)...))
				if r.name == which {
					if away {
						cut = e
					} else {
						shown = e
					}
				}
			}
		}
		p.section("C calls S1, which calls S3; D calls S2. C crashes at %d ms, and is up again at %d", orphanCrash, orphanRestart)
		p.show(shown.s)
		p.section("With S3 in reach, and with S3 cut off for a while")
		p.table(append([]string{"remedy", "S3"}, orphanHead...), rows)
		conclude(p, shown, cut)
	})
}

// orphansCompared puts all remedies into one table.
func orphansCompared(p *page) {
	var rows [][]string
	var sure, kind []string
	for _, r := range remedies() {
		reach, cut := newEstate("", false, r), newEstate("", true, r)
		for _, e := range []*estate{reach, cut} {
			rows = append(rows, append([]string{r.name, word(e.cutOff, fmt.Sprintf("away until %d ms", orphanCutOff), "in reach")}, orphanRow(e)...))
		}
		ran, _ := cut.orphans()
		ranReach, innocents := reach.orphans()
		if len(ran) == 0 {
			sure = append(sure, r.name)
			p.keep(cut.s)
		}
		if len(ranReach) == 0 && len(innocents) == 0 {
			kind = append(kind, r.name)
		}
	}
	p.section("C calls S1, which calls S3; D calls S2. C crashes at %d ms, and is up again at %d", orphanCrash, orphanRestart)
	p.table(append([]string{"remedy", "S3"}, orphanHead...), rows)
	p.fact("kind", join(kind), "These leave no orphan and kill nobody else's work, if all servers are in reach: %s.")
	p.fact("sure", join(sure), "These leave no orphan even where it cannot be reached: %s.")
}

func spaced(xs []string) string { return strings.Join(xs, " ") }

// orphanFacts are the facts that all remedies share.
func orphanFacts(p *page, reach, cut *estate) {
	ran, innocents := reach.orphans()
	p.fact("orphans", len(ran), "With all servers in reach, %d orphans run to their end.")
	p.state("innocents", spaced(innocents), word(len(innocents) == 0, "Nobody else's computation is killed.", "Killed though its client is alive and well: "+join(innocents)+"."))
	ranCut, _ := cut.orphans()
	p.state("orphans-cut-off", spaced(ranCut), word(len(ranCut) == 0, "It works too when S3 is cut off.",
		fmt.Sprintf("When S3 is cut off at the wrong time, this orphan runs to its end: %s. Stale replies to the new C: %d.", join(ranCut), cut.stale)))
}

func orphanScenarios() []Scenario {
	return []Scenario{
		orphanScenario("orphan-extermination", "Orphans: extermination",
			`A computation whose client has crashed is an orphan: it wastes time, may hold locks, and its reply may confuse the
			client that has just come back. Extermination: before each call, who calls writes to its disk what it is about to
			do. After a crash it reads that log, and has every computation killed that it finds there; servers that called
			others do the same. It costs a disk write for every call, crash or no crash, and fails where an orphan cannot be
			reached (Nelson 1981; Tanenbaum & van Steen, ch. 8).`, "extermination",
			func(p *page, reach, cut *estate) {
				orphanFacts(p, reach, cut)
				p.fact("writes", reach.writes, "The price is a disk write before each call, crash or no crash: %d here.")
			}),
		orphanScenario("orphan-reincarnation", "Orphans: reincarnation by epochs",
			`Time is divided into epochs. A client that restarts declares a new one to everybody, and every server kills the
			remote computations of older epochs. Nothing is written to a disk before a call. Where the declaration does not
			arrive an orphan lives on; but its reply bears the number of the old epoch, so the client knows it for what it is.
			The remedy is crude: it also hits the computations of clients that never crashed. See in the picture what happens to
			d1, which belongs to D.`, "reincarnation", orphanFacts),
		orphanScenario("orphan-gentle", "Orphans: gentle reincarnation",
			`As with reincarnation, a new epoch is declared when a client restarts; but a server first looks for the owner of
			each of its computations, and kills only those whose owner is not found or knows nothing of them. So nobody else's
			work is lost. The price is a search at every declaration, by every server, for the owner of everything that it
			computes. An owner that is merely slow to answer may still lose its work: not being found is, once more, a matter of
			a time-out.`, "gentle reincarnation",
			func(p *page, reach, cut *estate) {
				orphanFacts(p, reach, cut)
				asked := count(reach.s.rows, func(r row) bool { return strings.HasPrefix(r.text, "yours?") })
				p.fact("asked", asked, "The price is a question for every computation that runs anywhere: %d here.")
			}),
		orphanScenario("orphan-expiration", "Orphans: expiration with extension",
			`Each call gets a fixed time. Whatever takes longer must ask its client for more before that ends. A crashed client
			gives no more: its orphans die by themselves, reachable or not, and nobody has to hunt them; if it waits that time
			before it restarts, none is left. The trouble is to choose the time: short, and long computations must ask again and
			again; long, and orphans linger. Leases of files, locks and sessions work in this way; where replicas grant them,
			they must agree on the time too.`, "expiration",
			func(p *page, reach, cut *estate) {
				orphanFacts(p, reach, cut)
				asked := count(reach.s.rows, func(r row) bool { return strings.HasPrefix(r.text, "more time?") })
				p.fact("asked", asked, "The price is asking again and again: %d times here.")
				latest := int64(0)
				for _, j := range reach.jobs {
					if j.owner == lineC {
						latest = max(latest, reach.killed[j.name], cut.killed[j.name])
					}
				}
				p.claim("within", latest-orphanCrash <= orphanLease+2*reach.s.delay,
					fmt.Sprintf("All orphans are gone after a term of %d ms and the time of the messages, the last %d ms after the crash.", orphanLease, latest-orphanCrash),
					fmt.Sprintf("The last orphan is gone only %d ms after the crash, more than a term of %d.", latest-orphanCrash, orphanLease))
			}),
		model("orphans-compared", "Orphans: the remedies side by side",
			`What is left of the four remedies when they are put beside each other, and beside doing nothing? The same crash of
			the same client is played with each, once with all servers in reach and once with one of them cut off at the wrong
			time. The columns are what a designer has to weigh: orphans that ran on all the same, how soon the last was gone, work
			of others that was killed for nothing, and what is paid before every call, crash or no crash. Only one of the
			remedies needs no message to reach the orphan.`, orphansCompared),
		model("orphan-children", "Orphans' children",
			`An orphan may have called others, and these again: grandorphans. To kill the orphan alone leaves its children
			running, with nobody left who knows of them: the crashed client only ever knew whom it had called itself. C calls
			S1, which calls S2, and so on down to S4; then C crashes. Once only the child is killed; once everyone on the way
			knows whom it called, and passes the killing on. That knowledge must survive crashes on the way too: a log at every
			server, not only at the client.`, orphanChildren),
		model("orphan-locks", "What a killed orphan leaves behind: locks, and work half done",
			`An orphan is killed in the middle of its work. What it had locked stays locked, what it had written of several
			updates stays half written, and what it had put into queues for others will still be done. Killing is not enough:
			there must be an end to locks, and a way to undo. An orphan locks two files, writes both and unlocks them; it is
			killed after each of its steps, once with plain locks and once with locks that end by themselves and updates that
			are undone when they do.`, orphanLocks),
	}
}

// orphanChildren kills the first of a chain of computations, with and without logs at each.
func orphanChildren(p *page) {
	const depth = 4
	run := func(title string, logs int) (left int, s *stage) {
		names := []string{"C"}
		for i := range depth {
			names = append(names, fmt.Sprintf("S%d", i+1))
		}
		s = newStage(title, names...)
		alive := make([]bool, depth+1)
		var call func(i int)
		call = func(i int) {
			s.send(i-1, i, fmt.Sprint("call ", i), func() {
				alive[i] = true
				if i < depth {
					call(i + 1)
				}
			})
		}
		call(1)
		s.run(30)
		s.crash(0, "crashes")
		s.run(40)
		s.up(0, "restarts")
		var kill func(i int)
		kill = func(i int) {
			s.send(i-1, i, fmt.Sprint("kill ", i), func() {
				alive[i] = false
				s.mark(i, "ends")
				if i < logs { // it knows whom it called
					kill(i + 1)
				}
			})
		}
		kill(1)
		s.run(100)
		return count(alive, func(b bool) bool { return b }), s
	}
	p.section("C calls S1, which calls S2, and so on")
	var left [2]int
	for i, logs := range []int{1, depth} {
		var s *stage
		left[i], s = run(word(i == 0, "only the child is killed", "everyone knows whom it called, and has them killed too"), logs)
		p.show(s)
	}
	p.fact("children-left", left[0], "If only the orphan itself is killed, %d grandorphans are left.")
	p.fact("logs-left", left[1], "If everyone on the way has noted whom it called, %d are left.")
}

// orphanLocks kills an orphan at each of its steps.
func orphanLocks(p *page) {
	steps := []string{"lock A", "lock B", "write A", "write B", "unlock B", "unlock A"}
	after := func(done int, recover bool) (locked, half bool) {
		locks, writes := 0, 0
		for _, st := range steps[:done] {
			switch {
			case strings.HasPrefix(st, "lock"):
				locks++
			case strings.HasPrefix(st, "unlock"):
				locks--
			default:
				writes++
			}
		}
		if recover && locks > 0 {
			locks, writes = 0, 0 // the lease ends, and what was written under the lock is undone
		}
		return locks > 0, writes == 1
	}
	var rows [][]string
	var tally [4]int
	for done := 0; done <= len(steps); done++ {
		l1, h1 := after(done, false)
		l2, h2 := after(done, true)
		at := "before all"
		if done > 0 {
			at = "after " + steps[done-1]
		}
		rows = append(rows, []string{at, yes(l1), yes(h1), yes(l2), yes(h2)})
		for i, b := range []bool{l1, h1, l2, h2} {
			if b {
				tally[i]++
			}
		}
	}
	s := newStage("", "orphan", "files")
	for i, st := range steps[:3] {
		s.send(0, 1, st, nil)
		s.run(int64(10 * (i + 1)))
	}
	s.crash(0, "is killed")
	locked, half := after(3, false)
	s.mark(1, "locked: %s, half written: %s", yes(locked), yes(half))
	p.section("Killed after the third step")
	p.show(s)
	p.section("Killed at every step; with plain locks, and with locks that end and updates that are undone")
	p.table([]string{"killed", "locked for ever", "half written", "locked, with leases", "half written, with undo"}, rows)
	p.fact("locked", tally[0], "At %d of %d moments the kill leaves a file locked for ever.", len(steps)+1)
	p.fact("half", tally[1], "At %d of them it leaves one update of two.")
	p.fact("leases", tally[2]+tally[3], "With locks that end by themselves and an undo log it leaves either at %d.")
}
