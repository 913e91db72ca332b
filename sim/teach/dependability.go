package teach

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
)

// outage is a system that is down for a while, always after the same period. Both in milliseconds.
type outage struct {
	name         string
	period, down int64
}

const (
	msSecond = int64(1000)
	msHour   = 3600 * msSecond
	msDay    = 24 * msHour
	msYear   = 365 * msDay
)

func outages() []outage {
	return []outage{{"1 ms in every hour", msHour, 1}, {"two weeks every March", msYear, 14 * msDay}}
}

// available is the share of the time in which the system is up.
func (o outage) available() *big.Rat { return big.NewRat(o.period-o.down, o.period) }

// reliable is the probability that it stays up for t when one begins at a random moment: the
// share of the beginnings from which the next t are free of any outage.
func (o outage) reliable(t int64) *big.Rat {
	return big.NewRat(max(0, o.period-o.down-t), o.period)
}

// percent prints a share exactly to so many digits, the rest cut off: 99.99997 is not yet 100.
func percent(r *big.Rat, digits int) string {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n := new(big.Int).Mul(r.Num(), scale)
	n.Mul(n, big.NewInt(100)).Quo(n, r.Denom())
	whole, rest := new(big.Int).QuoRem(n, scale, new(big.Int))
	return fmt.Sprintf("%s.%0*s %%", whole, digits, rest)
}

// spanOf prints milliseconds in the largest unit that is at least one.
func spanOf(ms int64) string {
	switch {
	case ms >= msDay:
		return plural(int(ms/msDay), "day")
	case ms >= msHour:
		return fmt.Sprintf("%.5g h", float64(ms)/float64(msHour))
	case ms >= msSecond:
		return fmt.Sprintf("%.4g s", float64(ms)/float64(msSecond))
	}
	return fmt.Sprintf("%d ms", ms)
}

func availability(p *page) {
	os := outages()
	spans := []int64{msHour, msDay, 30 * msDay}
	head := []string{"down", "available", "down in a year"}
	for _, t := range spans {
		head = append(head, "up for "+spanOf(t))
	}
	var rows [][]string
	for _, o := range os {
		cells := []string{o.name, percent(o.available(), 7), spanOf(o.down * (msYear / o.period))}
		for _, t := range spans {
			cells = append(cells, percent(o.reliable(t), 1))
		}
		rows = append(rows, cells)
	}
	p.section("Two systems")
	p.table(head, rows)
	p.say("up for t: the probability that nothing fails within t of a moment chosen at random.")
	for i, o := range os {
		s := newStage("", "system")
		for k := range int64(2) {
			s.run(o.period*k + o.period - o.down)
			s.crash(0, "down for "+spanOf(o.down))
			s.run(o.period * (k + 1))
			s.up(0, "up for "+spanOf(o.period-o.down))
		}
		if i == 0 {
			p.keep(s)
		}
	}
	hour, march := os[0], os[1]
	p.fact("hour-available", percent(hour.available(), 7), "1 ms an hour: available %s of the time. The textbook says \"over 99.9999 percent\"; exactly it is 1 - 1/3,600,000.")
	p.fact("hour-reliable", percent(hour.reliable(msHour), 1), "It runs for an hour without interruption with a probability of %s: highly available, and not reliable.")
	p.fact("march-available", percent(march.available(), 2), "Two weeks each March: available %s of the time; the textbook rounds to 96 percent.")
	p.fact("march-reliable", percent(march.reliable(30*msDay), 1), "It runs for thirty days with a probability of %s, whenever one begins, and for %s on end between two Marches: reliable, and not very available.", spanOf(march.period-march.down))
}

// machine is described by its mean time between failures (here: from repair to failure) and to repair, in hours.
type machine struct {
	name       string
	mtbf, mttr float64
}

func (m machine) available() float64             { return m.mtbf / (m.mtbf + m.mttr) }
func (m machine) reliable(hours float64) float64 { return math.Exp(-hours / m.mtbf) }
func (m machine) repaired(hours float64) float64 { return 1 - math.Exp(-hours/m.mttr) }

// measured runs the machine for so many failures, whose times are drawn.
func (m machine) measured(r *rand.Rand, failures int) float64 {
	var up, down float64
	for range failures {
		up += r.ExpFloat64() * m.mtbf
		down += r.ExpFloat64() * m.mttr
	}
	return up / (up + down)
}

func repairTimes(p *page, o Options) error {
	const failures = 20000
	machines := []machine{{"as it is", 1000, 10}, {"fails a tenth as often", 10000, 10}, {"repaired ten times as fast", 1000, 1}}
	var rows [][]string
	worst := 0.0
	for i, m := range machines {
		got := m.measured(rand.New(rand.NewPCG(o.Seed, uint64(i))), failures)
		worst = max(worst, math.Abs(got-m.available()))
		rows = append(rows, []string{m.name, fmt.Sprintf("%.0f h", m.mtbf), fmt.Sprintf("%.0f h", m.mttr), share(m.available()), share(got), share(m.reliable(168)), share(m.repaired(8))})
	}
	p.section("A machine, and two ways to make it better")
	p.table([]string{"machine", "MTBF", "MTTR", "available", "measured", "up for a week", "repaired in 8 h"}, rows)
	p.say("available = MTBF / (MTBF + MTTR), with MTBF counted from repair to failure; measured over %d failures whose times are drawn.", failures)
	s := newStage("one ms stands for one hour", machines[0].name, machines[1].name, machines[2].name)
	for i, m := range machines {
		for t := 0.0; t < 3000; {
			t += m.mtbf
			s.rows = append(s.rows, row{kind: rowCrash, from: i, sent: int64(t), at: int64(t), text: "fails"})
			t += m.mttr
			s.rows = append(s.rows, row{kind: rowUp, from: i, sent: int64(t), at: int64(t), text: "repaired"})
		}
	}
	p.keep(s)
	a, b, c := machines[0], machines[1], machines[2]
	p.fact("as-it-is", share(a.available()), "As it is, the machine is available %s of the time.")
	p.fact("rarer", share(b.available()), "Failing a tenth as often makes it available %s of the time.")
	p.fact("faster", share(c.available()), "Being repaired ten times as fast makes it available %s of the time: for availability, maintainability counts as much as reliability.")
	p.claim("same", b.available() == c.available(), "These two are equally available.", "These two are not equally available.")
	p.fact("reliability", share(b.reliable(168))+" against "+share(c.reliable(168)), "They run through a week with a probability of %s: not equally reliable.")
	p.claim("measured", worst < 0.001, "What was measured agrees with the formula within 0.1 %.", "What was measured does not agree with the formula.")
	return nil
}

func share(x float64) string { return fmt.Sprintf("%.2f %%", 100*x) }

// signal is a railway signal with two channels; each says whether the track is free.
type channelState int

const (
	channelGood channelState = iota
	channelStuckGreen
	channelStuckRed
	channelDead
	channelStates
)

// says is what a channel reports about a track: 1 free, 0 occupied, -1 nothing.
func (c channelState) says(free bool) int {
	switch {
	case c == channelDead:
		return -1
	case c == channelStuckGreen || c == channelGood && free:
		return 1
	}
	return 0
}

// safety tries every state of the channels of three designs.
func safety(p *page) {
	designs := []struct {
		name  string
		green func(a, b int) bool
	}{
		{"one channel", func(a, _ int) bool { return a == 1 }},
		{"two, either may say green", func(a, b int) bool { return a == 1 || b == 1 }},
		{"two, both must say green", func(a, b int) bool { return a == 1 && b == 1 }},
	}
	faulty := func(a, b channelState) int { return bits.OnesCount(uint(min(1, a))<<1 | uint(min(1, b))) }
	var rows [][]string
	danger := make([]int, len(designs))
	halted := make([]int, len(designs))
	single := 0
	for i, d := range designs {
		for a := range channelStates {
			for b := range channelStates {
				if faulty(a, b) != 1 {
					continue
				}
				if i == 0 {
					single++
				}
				if d.green(a.says(false), b.says(false)) {
					danger[i]++
				}
				if !d.green(a.says(true), b.says(true)) {
					halted[i]++
				}
			}
		}
		rows = append(rows, []string{d.name, fmt.Sprint(single), fmt.Sprint(danger[i]), fmt.Sprint(halted[i])})
	}
	p.section("A railway signal: two channels, one of them stuck at green, stuck at red or dead")
	p.table([]string{"design", "faults", "green though occupied (unsafe)", "red though free (unavailable)"}, rows)
	s := newStage("", "channel A", "channel B", "signal", "train")
	s.liars[0] = true
	s.mark(2, "the track is occupied")
	a, b := channelStuckGreen.says(false), channelGood.says(false)
	s.send(0, 2, colour(a == 1), nil)
	s.send(1, 2, colour(b == 1), nil)
	s.run(6)
	s.send(2, 3, colour(designs[2].green(a, b)), nil)
	s.run(12)
	p.section("Both must say green; A is stuck at green")
	p.show(s)
	p.fact("either-unsafe", danger[1], "If either channel may say green, %d of %d faults let a train onto an occupied track.", single)
	p.fact("either-halted", halted[1], "Of the same faults %d stop the traffic: that design is available, and not safe.")
	p.fact("both-unsafe", danger[2], "If both must say green, %d of %d faults are dangerous.", single)
	p.fact("both-halted", halted[2], "Of the same faults %d of %d stop the traffic: that design is safe, and less available. Red is this system's safe state; an aircraft has none.", single)
}

func colour(green bool) string { return word(green, "green", "red") }

func dependabilityScenarios() []Scenario {
	return []Scenario{
		model("availability", "Available is not reliable",
			`Availability is the probability that a system works at a given moment; reliability, that it works without
			interruption for a given time. One system is down for a millisecond in every hour: it is hardly ever down, and yet
			no computation of an hour gets through it. Another is down for two weeks every March: in March it is useless, and
			for the rest of the year perfect. Each is good at what the other is bad at. The shares are computed as fractions and
			cut off, not rounded, so that what is not 100 % never reads as 100 % (Tanenbaum & van Steen, ch. 8).`, availability),
		scenario("repair", "MTBF, MTTR and maintainability",
			`A system runs for so long until it fails (MTBF), and takes so long to be repaired (MTTR). Its availability is what
			is left of the two: the share of the time in which it runs. What can be repaired quickly is called maintainable, and
			that alone makes it more available. Three machines are computed by the formula and, to check it, run with failure
			and repair times that are drawn from the seed. Look at the last two: the formula cannot tell them apart, and a user
			who needs a week without interruption very well can.`, repairTimes),
		model("safety", "Safety: what happens when it fails",
			`A system is safe if nothing terrible happens when it fails. That is not the same as being available, and the two may
			pull in opposite directions. A railway signal is built of two channels that look whether the track is free; each may
			be good, stuck at green, stuck at red, or dead. In one design either channel may say green, in the other both must.
			Every single fault is tried, with a free track and with an occupied one, and the table counts what follows: a train
			where there is one already, or one that waits for nothing.`, safety),
	}
}
