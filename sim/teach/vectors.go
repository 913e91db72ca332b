package teach

import (
	"fmt"
	"slices"
	"strings"
)

// unknown is what stands in a vector where no value has a majority.
const unknown = "?"

// nothing is what stands where no message came.
const nothing = "-"

// exchange is Byzantine agreement by exchanged vectors: each process tells every other its
// value, and then the vector of all that it was told. What the liar says comes from say.
type exchange struct {
	n int
	// liar is a process, or -1.
	liar int
	// first is what the liar tells process to that its value is; second is what it says it was told
	// by process about. nothing means that it keeps silent.
	first  func(to int) string
	second func(to, about int) string
	// lost tells whether the message of that round is lost.
	lost func(round, from, to int) bool
	// naive also counts what a process says about itself in the second round.
	naive bool
}

// value is what honest process i has to say.
func value(i int) string { return fmt.Sprint(i + 1) }

// told is the vector of every process after the first round.
func (x *exchange) told() [][]string {
	out := make([][]string, x.n)
	for p := range out {
		out[p] = make([]string, x.n)
		for q := range x.n {
			switch {
			case q == p:
				out[p][q] = value(q)
			case x.lost != nil && x.lost(1, q, p):
				out[p][q] = nothing
			case q == x.liar:
				out[p][q] = x.first(p)
			default:
				out[p][q] = value(q)
			}
		}
	}
	return out
}

// passed is, for each process, the vector that each other one passed on to it.
func (x *exchange) passed(told [][]string) [][][]string {
	out := make([][][]string, x.n)
	for p := range out {
		out[p] = make([][]string, x.n)
		for q := range x.n {
			v := slices.Clone(told[q])
			for i := range v {
				switch {
				case q != p && x.lost != nil && x.lost(2, q, p):
					v[i] = nothing
				case q != p && q == x.liar:
					v[i] = x.second(p, i)
				}
			}
			out[p][q] = v
		}
	}
	return out
}

// result is the vector that each process ends with. For each entry it counts what it was told
// itself and what the others were told; what a process says about itself a second time is not
// counted (Lamport, Shostak & Pease 1982), or a liar could divide the others about its own entry.
func (x *exchange) result() [][]string {
	told := x.told()
	passed := x.passed(told)
	out := make([][]string, x.n)
	for p := range out {
		out[p] = make([]string, x.n)
		for i := range x.n {
			if i == p {
				out[p][i] = value(i)
				continue
			}
			var votes []string
			for q := range x.n {
				switch {
				case q == p && !x.naive:
					votes = append(votes, told[p][i])
				case q != p && (x.naive || q != i):
					votes = append(votes, passed[p][q][i])
				}
			}
			out[p][i] = majority(votes)
		}
	}
	return out
}

// majority is what more than half of the votes say, and unknown if that is nothing.
func majority(votes []string) string {
	for _, v := range votes {
		if v != nothing && 2*count(votes, func(o string) bool { return o == v }) > len(votes) {
			return v
		}
	}
	return unknown
}

// agree tells whether the honest processes end with the same vector, and whether that vector
// has the value of every honest process.
func (x *exchange) agree() (same, right bool) {
	res := x.result()
	same, right = true, true
	var first []string
	for p := range x.n {
		if p == x.liar {
			continue
		}
		if first == nil {
			first = res[p]
		}
		same = same && slices.Equal(first, res[p])
		for i := range x.n {
			right = right && (i == x.liar || res[p][i] == value(i))
		}
	}
	return same, right
}

func vector(v []string) string { return "(" + strings.Join(v, " ") + ")" }

// honest lists the processes that do not lie.
func (x *exchange) honest() []int {
	var out []int
	for p := range x.n {
		if p != x.liar {
			out = append(out, p)
		}
	}
	return out
}

// tables shows the vectors of every process.
func (x *exchange) tables(p *page) [][]string {
	told := x.told()
	passed := x.passed(told)
	res := x.result()
	p.section("Vectors after the first round, and what each honest process is passed in the second")
	head := []string{"process", "was told"}
	for q := range x.n {
		head = append(head, fmt.Sprintf("passed on by %d", q+1))
	}
	head = append(head, "ends with")
	var rows [][]string
	for i := range x.n {
		cells := []string{fmt.Sprint(i + 1), vector(told[i])}
		if i == x.liar {
			cells = append(cells, slices.Repeat([]string{""}, x.n)...)
			rows = append(rows, append(cells, "(lies)"))
			continue
		}
		for q := range x.n {
			cell := vector(passed[i][q])
			if q == i {
				cell = "(itself)"
			}
			cells = append(cells, cell)
		}
		rows = append(rows, append(cells, vector(res[i])))
	}
	p.table(head, rows)
	return res
}

// stage plays the two rounds as messages.
func (x *exchange) stage() *stage {
	var names []string
	for i := range x.n {
		names = append(names, fmt.Sprintf("P%d", i+1))
	}
	s := newStage("", names...)
	if x.liar >= 0 {
		s.liars[x.liar] = true
	}
	told := x.told()
	passed := x.passed(told)
	for round := 1; round <= 2; round++ {
		for q := range x.n {
			for to := range x.n {
				if to == q {
					continue
				}
				text := value(q)
				switch {
				case round == 2:
					text = vector(passed[to][q])
				case q == x.liar:
					text = x.first(to)
				}
				if x.lost != nil && x.lost(round, q, to) {
					s.lose(q, to, text)
				} else {
					s.send(q, to, text, nil)
				}
			}
		}
		s.run(int64(round) * 10)
	}
	res := x.result()
	for _, h := range x.honest() {
		s.mark(h, "ends with %s", vector(res[h]))
	}
	return s
}

// census tries every lie of a liar that chooses from the given words, in both rounds, one entry
// at a time: what it says about one entry has no influence on another. It counts the lies, those
// after which honest processes differ, and those after which an honest value is not known to all.
func census(n, liar int, words []string, naive bool) (lies, differ, missed int) {
	free := func(about int) int { // what the liar says about one entry: n words of the first round
		k := n // to each process in the second round
		if about == liar {
			k += n // and in the first
		}
		return k
	}
	for about := range n {
		total := 1
		for range free(about) {
			total *= len(words)
		}
		for draw := range total {
			digits := make([]string, free(about))
			for i, d := 0, draw; i < len(digits); i++ {
				digits[i] = words[d%len(words)]
				d /= len(words)
			}
			if digits[liar] != words[0] || about == liar && digits[n+liar] != words[0] {
				continue // what it tells itself makes no difference
			}
			x := exchange{n: n, liar: liar, naive: naive,
				first: func(to int) string {
					if about == liar {
						return digits[n+to]
					}
					return words[0]
				},
				second: func(to, i int) string {
					if i == about {
						return digits[to]
					}
					return words[0]
				}}
			lies++
			ok, right := x.entry(about)
			if !ok {
				differ++
			}
			if !right {
				missed++
			}
		}
	}
	return lies, differ, missed
}

// entry is agree for one entry of the vectors.
func (x *exchange) entry(i int) (same, right bool) {
	res := x.result()
	h := x.honest()
	same, right = true, true
	for _, p := range h {
		same = same && res[p][i] == res[h[0]][i]
		right = right && (i == x.liar || res[p][i] == value(i))
	}
	return same, right
}

// letters makes the liar of the picture: it says a different letter each time.
func letters(x *exchange) {
	x.first = func(to int) string { return string("xyzw"[to]) }
	x.second = func(to, about int) string { return string(rune('a' + (to*x.n+about)%22)) }
}

func vectorsFour(p *page) {
	x := exchange{n: 4, liar: 2}
	letters(&x)
	res := x.tables(p)
	p.keep(x.stage())
	ok, right := x.agree()
	p.fact("vector", vector(res[0]), "Process 1 ends with %s; ? means Unknown: no majority for that entry.")
	p.claim("agree", ok, "All honest processes end with the same vector.", "The honest processes end with different vectors.")
	p.claim("right", right, "It has the value of every honest process, whatever process 3 said.", "It lacks the value of an honest process.")
	lies, differ, missed := census(4, 2, []string{"1", "2", nothing}, false)
	p.fact("lies-tried", lies, "%d different lies were tried, entry by entry: each time the liar says 1, 2 or nothing to each.")
	p.fact("lies-that-divide", differ, "%d of them make honest processes differ.")
	p.fact("lies-that-hide", missed, "%d of them hide an honest value from an honest process.")
	_, naive, _ := census(4, 2, []string{"1", "2", nothing}, true)
	p.fact("lies-that-divide-naive", naive,
		"%d would divide them if what the liar says about itself a second time counted, and what they were told themselves did not.")
}

func vectorsThree(p *page) {
	x := exchange{n: 3, liar: 2}
	letters(&x)
	res := x.tables(p)
	p.keep(x.stage())
	ok, right := x.agree()
	p.fact("vector-1", vector(res[0]), "Process 1 ends with %s.")
	p.fact("vector-2", vector(res[1]), "Process 2 ends with %s.")
	p.claim("agree", ok, "They agree.", "They do not agree: each knows nothing but its own value.")
	p.claim("right", right, "Every honest value is known to all.", "The value of the other honest process is Unknown: one says this, one says that, and there is no third.")
	lies, differ, missed := census(3, 2, []string{"1", "2", nothing}, false)
	p.fact("lies-tried", lies, "%d different lies were tried, as with four processes.")
	p.fact("lies-that-divide", differ, "%d of them make the two honest processes differ.")
	p.fact("lies-that-hide", missed, "%d of them hide an honest value from an honest process.")
}

// lossCensus tries every set of k lost messages among those of four honest processes. It counts
// the sets, and those after which some entry is unknown to someone or two processes differ.
func lossCensus(k int) (sets, broken, divided int) {
	type link struct{ round, from, to int }
	var links []link
	for round := 1; round <= 2; round++ {
		for from := range 4 {
			for to := range 4 {
				if from != to {
					links = append(links, link{round, from, to})
				}
			}
		}
	}
	var pick func(from int, chosen []link)
	pick = func(from int, chosen []link) {
		if len(chosen) == k {
			x := exchange{n: 4, liar: -1, lost: func(round, a, b int) bool { return slices.Contains(chosen, link{round, a, b}) }}
			same, right := x.agree()
			sets++
			if !right {
				broken++
			}
			if !same {
				divided++
			}
			return
		}
		for i := from; i < len(links); i++ {
			pick(i+1, append(slices.Clone(chosen), links[i]))
		}
	}
	pick(0, nil)
	return sets, broken, divided
}

func vectorsLost(p *page) {
	x := exchange{n: 4, liar: 2, lost: func(round, from, to int) bool { return round == 1 && from == 1 && to == 0 }}
	letters(&x)
	x.second = func(to, about int) string {
		if to == 3 && about == 1 {
			return value(1) // the truth, where it does the most harm
		}
		return string(rune('a' + (to*x.n+about)%22))
	}
	res := x.tables(p)
	p.keep(x.stage())
	ok, _ := x.agree()
	p.section("Nobody lies, but messages are lost: every set of lost messages, of the 24 there are")
	var rows [][]string
	first := 0
	for k := range 4 {
		sets, broken, divided := lossCensus(k)
		rows = append(rows, []string{fmt.Sprint(k), fmt.Sprint(sets), fmt.Sprint(broken), fmt.Sprint(divided)})
		if first == 0 && broken > 0 {
			first = k
		}
	}
	p.table([]string{"lost", "sets", "with an Unknown", "with different vectors"}, rows)
	p.fact("vector-1", vector(res[0]), "Message 2→1 is lost and process 3 lies: process 1 ends with %s.")
	p.fact("vector-4", vector(res[3]), "Process 4 ends with %s.")
	p.claim("agree", ok, "They agree all the same.", "Four processes with one liar do not agree when one message is lost: the sender of a lost message counts as faulty too.")
	p.fact("losses-without-liar", first, "Without a liar it takes %d lost messages to make an entry Unknown to someone.")
}

func vectorScenarios() []Scenario {
	return []Scenario{
		model("vectors-four", "Byzantine agreement by exchanged vectors: four processes, one liar",
			`Four processes want to know each other's value; one of them lies. Each tells every other its value (first round),
			then passes on the vector of what it was told (second round). Entry by entry everyone takes what the majority says,
			and Unknown if there is none. Process 3 lies, differently to each. The honest ones agree: with one liar among 3·1+1
			processes two honest witnesses outvote it (Lamport, Shostak & Pease 1982; Tanenbaum & van Steen, ch. 8).`, vectorsFour),
		model("vectors-three", "Byzantine agreement by exchanged vectors: three processes, one liar",
			`The same with three processes, one of which lies. For each entry there is one's own ear and one other witness: if
			they differ, nobody can tell who lies, the witness about the entry or its owner to the witness. There is no
			majority, and so no agreement: what one knows another does not. With n = 3f the honest ones are too few to outvote
			the liars about each other. All lies are tried again: this time many of them make honest processes differ, or hide
			an honest value from an honest process. No cleverer algorithm helps (Pease, Shostak & Lamport 1980).`, vectorsThree),
		model("vectors-lost", "Byzantine agreement by exchanged vectors: a message is lost",
			`Again four processes, one of which lies; but the message in which process 2 tells process 1 its value is lost. The
			algorithm needs channels that lose nothing: a process whose message is lost looks like one that is silent, and one
			fault is all that four processes can bear. The liar tells the truth to one process and not to the other, and the
			entry is known to one and Unknown to the other. Below: no liar at all, and every way to lose up to three messages.`, vectorsLost),
	}
}
