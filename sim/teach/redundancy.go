package teach

import (
	"fmt"
	"math/bits"
	"strings"
)

// The Hamming code of 4 data bits d0 to d3 (bits 0 to 3 of a nibble). Positions 1 to 7 of a word
// are bits 0 to 6; the parity bits stand at 1, 2 and 4, so that the parities of a damaged word
// spell the position of the damage (Hamming 1950).
func hammingEncode(data uint8) uint8 {
	var w uint8
	for i, pos := range []int{3, 5, 6, 7} {
		w |= data >> i & 1 << (pos - 1)
	}
	for _, pos := range []int{1, 2, 4} {
		if hammingSyndrome(w)&pos != 0 {
			w |= 1 << (pos - 1)
		}
	}
	return w
}

// hammingSyndrome is the position of a single wrong bit, 0 if all parities hold.
func hammingSyndrome(w uint8) int {
	syndrome := 0
	for pos := 1; pos <= 7; pos++ {
		if w>>(pos-1)&1 != 0 {
			syndrome ^= pos
		}
	}
	return syndrome
}

// hammingDecode corrects one bit and takes the data out. at is the position that it turned, or 0.
func hammingDecode(w uint8) (data uint8, at int) {
	at = hammingSyndrome(w)
	if at != 0 {
		w ^= 1 << (at - 1)
	}
	for i, pos := range []int{3, 5, 6, 7} {
		data |= w >> (pos - 1) & 1 << i
	}
	return data, at
}

// parityEncode adds a bit so that the number of ones is even.
func parityEncode(data uint8) uint8 { return data | uint8(bits.OnesCount8(data)&1)<<4 }

// parityHolds tells whether a word could be undamaged.
func parityHolds(w uint8) bool { return bits.OnesCount8(w)%2 == 0 }

// codeTally counts what becomes of damaged words.
type codeTally struct{ words, noticed, recovered, wrong int }

// damage turns every set of k bits of every word of a code.
func damage(length, k int, encode func(uint8) uint8, decode func(w uint8) (data uint8, noticed, repaired bool)) codeTally {
	var t codeTally
	for data := range uint8(16) {
		for mask := 0; mask < 1<<length; mask++ {
			if bits.OnesCount(uint(mask)) != k {
				continue
			}
			t.words++
			got, noticed, repaired := decode(encode(data) ^ uint8(mask))
			if noticed {
				t.noticed++
			}
			switch {
			case repaired && got == data:
				t.recovered++
			case repaired || !noticed:
				t.wrong++ // it is believed, and not what was sent
			}
		}
	}
	return t
}

func parityDecode(w uint8) (uint8, bool, bool) { return w & 15, !parityHolds(w), false }

func hammingRepair(w uint8) (uint8, bool, bool) {
	data, at := hammingDecode(w)
	return data, at != 0, at != 0
}

// The extended code has a parity bit over the seven others (bit 7): it tells two errors from one.
func extendedEncode(data uint8) uint8 {
	w := hammingEncode(data)
	return w | uint8(bits.OnesCount8(w)&1)<<7
}

func extendedDecode(w uint8) (uint8, bool, bool) {
	data, at := hammingDecode(w & 127)
	if parityHolds(w) {
		return data, at != 0, false // no error, or two
	}
	return data, true, true
}

func binary(w uint8, length int) string { return fmt.Sprintf("%0*b", length, w) }

func information(p *page) {
	const sent, turned = 0b1011, 5
	s := newStage("", "sender", "receiver")
	damagedHamming := hammingEncode(sent) ^ 1<<(turned-1)
	damagedParity := parityEncode(sent) ^ 1<<2
	got, at := hammingDecode(damagedHamming)
	s.send(0, 1, "parity "+binary(parityEncode(sent), 5), func() {
		s.mark(1, "arrives as %s: %s", binary(damagedParity, 5), word(parityHolds(damagedParity), "looks right", "damaged, ask again"))
	})
	s.run(10)
	s.send(0, 1, "Hamming "+binary(hammingEncode(sent), 7), func() {
		s.mark(1, "arrives as %s: bit %d is wrong, the data are %s", binary(damagedHamming, 7), at, binary(got, 4))
	})
	s.run(20)
	p.section("The data %s with one damaged bit", binary(sent, 4))
	p.show(s)
	p.section("Every word with every damage")
	codes := []struct {
		name   string
		length int
		encode func(uint8) uint8
		decode func(uint8) (uint8, bool, bool)
	}{
		{"parity (5 bits)", 5, parityEncode, parityDecode},
		{"Hamming (7 bits)", 7, hammingEncode, hammingRepair},
		{"extended Hamming (8 bits)", 8, extendedEncode, extendedDecode},
	}
	var rows [][]string
	tally := make([][3]codeTally, len(codes))
	for i, c := range codes {
		for k := 1; k <= 2; k++ {
			t := damage(c.length, k, c.encode, c.decode)
			tally[i][k] = t
			rows = append(rows, []string{c.name, fmt.Sprint(k), fmt.Sprint(t.words), fmt.Sprint(t.noticed), fmt.Sprint(t.recovered), fmt.Sprint(t.wrong)})
		}
	}
	p.table([]string{"code of 4 data bits", "bits turned", "words", "noticed", "recovered", "wrong and believed"}, rows)
	one, ham, two := tally[0][1], tally[1][1], tally[1][2]
	p.fact("parity-notices", one.noticed, "Parity notices %d of %d single errors.", one.words)
	p.fact("parity-recovers", one.recovered, "It recovers %d: it knows that a bit is wrong, not which. Detection needs time redundancy to mask anything.")
	p.fact("hamming-recovers", ham.recovered, "Hamming's code recovers %d of %d: the three parities spell the position. The error is masked.", ham.words)
	p.fact("hamming-double-wrong", two.wrong, "Of two errors it makes %d wrong words out of %d: beyond what it is built for, masking misleads.", two.words)
	ext := tally[2][2]
	p.claim("extended-double", ext.noticed == ext.words && ext.wrong == 0, "One more bit makes it notice every double error and believe none.", "One more bit does not help against double errors.")
}

// attempts retries an operation until it works; fails tells whether attempt number i (from 1) fails.
func attempts(limit int, fails func(i int) bool) (needed int, ok bool) {
	for i := 1; i <= limit; i++ {
		if !fails(i) {
			return i, true
		}
	}
	return limit, false
}

func timeRedundancy(p *page) {
	const limit = 5
	faults := []struct {
		name  string
		fails func(i int) bool
	}{
		{"none", func(int) bool { return false }},
		{"transient", func(i int) bool { return i <= 2 }},
		{"intermittent", func(i int) bool { return i%3 != 0 }},
		{"permanent", func(int) bool { return true }},
	}
	var rows [][]string
	s := newStage("", "client", "server")
	for _, f := range faults {
		once, _ := attempts(1, f.fails)
		n, ok := attempts(limit, f.fails)
		rows = append(rows, []string{f.name, yes(!f.fails(1)), yes(ok), fmt.Sprint(n)})
		if f.name == "transient" {
			for i := once; i <= n; i++ {
				if f.fails(i) {
					s.lose(0, 1, fmt.Sprint("try ", i))
					s.run(s.now + 20)
					continue
				}
				s.send(0, 1, fmt.Sprint("try ", i), func() { s.send(1, 0, "done", nil) })
				s.run(s.now + 20)
			}
		}
		p.claim(f.name, ok, fmt.Sprintf("Fault: %s. Retrying gives a result, after %s.", f.name, plural(n, "attempt")),
			fmt.Sprintf("Fault: %s. Retrying does not help: %s failed.", f.name, plural(n, "attempt")))
	}
	p.section("A transient fault: the first two messages are lost")
	p.show(s)
	p.section("One attempt against up to %d", limit)
	p.table([]string{"fault", "one attempt works", "retrying works", "attempts"}, rows)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// chain is three stages in a row, each made of copies; voters stand between them.
type chain struct {
	copies, voters int
	// wrong tells whether a copy computes wrongly, and wrongVoter whether a voter does.
	wrong, wrongVoter func(stage, i int) bool
}

// output computes x through three stages that each add one, and votes on what comes out.
func (c *chain) output(x int) int {
	in := make([]int, c.copies)
	for i := range in {
		in[i] = x
	}
	for st := range 3 {
		out := make([]int, c.copies)
		for i := range out {
			out[i] = in[i] + 1
			if c.wrong(st, i) {
				out[i] += 100 + i
			}
		}
		for v := range in {
			in[v] = out[v%len(out)]
			if c.voters > 0 {
				voter := v % c.voters
				in[v] = vote(out)
				if c.wrongVoter(st, voter) {
					in[v] = -1
				}
			}
		}
	}
	return vote(in)
}

// vote is the value of the majority, or that of the first if there is none.
func vote(xs []int) int {
	for _, x := range xs {
		if 2*count(xs, func(y int) bool { return y == x }) > len(xs) {
			return x
		}
	}
	return xs[0]
}

// tmrTally counts for how many sets of k faulty parts the output is right.
func tmrTally(copies, voters, k int) (sets, right int) {
	parts := 3 * (copies + voters)
	for mask := range 1 << parts {
		if bits.OnesCount(uint(mask)) != k {
			continue
		}
		c := chain{copies: copies, voters: voters,
			wrong:      func(st, i int) bool { return mask>>(st*copies+i)&1 != 0 },
			wrongVoter: func(st, i int) bool { return mask>>(3*copies+st*voters+i)&1 != 0 }}
		sets++
		if c.output(0) == 3 {
			right++
		}
	}
	return sets, right
}

func physical(p *page) {
	p.section("Three stages in a row, each adds one; every set of faulty parts")
	builds := []struct {
		name           string
		copies, voters int
	}{{"single parts", 1, 0}, {"tripled, a single voter between", 3, 1}, {"tripled, three voters between", 3, 3}}
	var rows [][]string
	right := make(map[string]int)
	for _, b := range builds {
		for k := 1; k <= 3; k++ {
			sets, ok := tmrTally(b.copies, b.voters, k)
			rows = append(rows, []string{b.name, fmt.Sprint(3 * (b.copies + b.voters)), fmt.Sprint(k), fmt.Sprint(sets), fmt.Sprint(ok)})
			right[fmt.Sprintf("%d/%d", b.voters, k)] = ok
			right[fmt.Sprintf("sets%d/%d", b.voters, k)] = sets
		}
	}
	p.table([]string{"build", "parts", "faulty", "sets", "right result"}, rows)
	s := newStage("", "A1", "A2", "A3", "voter", "next")
	s.liars[1] = true
	for i, v := range []int{1, 102, 1} {
		s.send(i, 3, fmt.Sprint(v), nil)
	}
	s.run(6)
	s.send(3, 4, fmt.Sprint(vote([]int{1, 102, 1})), nil)
	s.run(12)
	p.section("One stage with its voter: A2 is wrong")
	p.show(s)
	p.fact("single-survives", right["0/1"], "Without redundancy %d of 3 single faults is masked.")
	p.fact("one-voter-survives", right["1/1"], "Tripled with one voter, %d of %d: the voter is a single point of failure.", right["sets1/1"])
	p.fact("three-voters-survive", right["3/1"], "Tripled with three voters, %d of %d: a wrong voter is a wrong input to one part of the next stage, and outvoted there.", right["sets3/1"])
	p.fact("three-voters-two-faults", right["3/2"], "Of two faults, %d of %d are masked; the others spoil two of the three inputs of one vote.", right["sets3/2"])
}

// sizes shows for each kind of failure what n processes can still do with k faulty ones.
func sizes(p *page) {
	const k = 1
	silent := func(n int) bool { return n-k >= 1 } // somebody answers
	voting := func(n int) bool {                   // the client takes what the majority answers, at worst against k liars
		answers := make([]string, n)
		for i := range answers {
			answers[i] = "42"
			if i < k {
				answers[i] = "17"
			}
		}
		return majority(answers) == "42"
	}
	agreeing := func(n int) bool { // no lie divides or deceives the honest ones
		if n < 3 {
			return false // there are no two honest ones to agree
		}
		_, differ, missed := census(n, 0, []string{"2", "1", nothing}, false)
		return differ == 0 && missed == 0
	}
	var rows [][]string
	least := map[string]int{}
	for n := 1; n <= 5; n++ {
		cells := []string{fmt.Sprint(n)}
		for _, m := range []struct {
			name string
			ok   func(int) bool
		}{{"silent", silent}, {"voting", voting}, {"agreeing", agreeing}} {
			ok := m.ok(n)
			cells = append(cells, yes(ok))
			if !ok {
				least[m.name] = n + 1 // so far: below it does not work, or not always
			}
		}
		rows = append(rows, cells)
	}
	p.section("One faulty process among n (k = %d)", k)
	p.table([]string{"n", "it is silent: somebody answers", "it lies: a client can vote", "it lies: the others agree"}, rows)
	s := newStage("", "client", "S1", "S2", "S3")
	s.liars[1] = true
	for i, v := range []string{"17", "42", "42"} {
		s.send(i+1, 0, v, nil)
	}
	s.run(10)
	s.mark(0, "takes %s", majority([]string{"17", "42", "42"}))
	p.section("A vote of 2k+1")
	p.show(s)
	p.fact("silent", least["silent"], "Against k silent processes it takes k+1 = %d: the one that is left answers.")
	p.fact("voting", least["voting"], "Against k liars whose answers a client compares, 2k+1 = %d: the honest ones outvote them.")
	p.fact("agreeing", least["agreeing"], "Against k liars among processes that must agree with each other, 3k+1 = %d: see vectors-four and vectors-three.")
	p.fact("sizes", strings.Join([]string{fmt.Sprint(least["silent"]), fmt.Sprint(least["voting"]), fmt.Sprint(least["agreeing"])}, "/"), "Side by side: %s for k = 1.")
}

func redundancyScenarios() []Scenario {
	return []Scenario{
		model("information-redundancy", "Masking by information redundancy: bits that recover, not only detect",
			`Extra bits are added to a message. A parity bit makes an even number of ones: one damaged bit is noticed, and the
			receiver can only ask again. Hamming's code has three parities over overlapping parts, placed so that together they
			spell the position of a damaged bit: the receiver turns it back, and nobody sees that there was an error. That is
			masking: bits that recover, not only detect. Each code is tried on all 16 words and every damage of one bit and of
			two; a code is good against the damage that it was built for (Hamming 1950).`, information),
		model("time-redundancy", "Masking by time redundancy: do it again",
			`An operation that failed is done again. That masks what goes away by itself, at the price of time, and does nothing
			about what stays: a permanent fault fails as often as one likes. Four components are used: without a fault, and with
			a transient, an intermittent and a permanent one; once with a single attempt, once with several. Retrying is safe
			only if doing the operation twice is: the first attempt may have been carried out, and only its answer lost. See
			idempotence and bank-transfer for what follows.`, timeRedundancy),
		model("physical-redundancy", "Masking by physical redundancy: triple modular",
			`Three parts in place of one, and a vote on what they say. A signal passes three stages, each of which adds one. The
			stages are single, or tripled with one voter after each, or tripled with three voters. Every set of one, two and
			three faulty parts is tried, voters included, for a voter is a part like any other: who watches the watchmen? With
			three voters a wrong one is nothing but a wrong input to one of the next three parts (von Neumann 1956; Tanenbaum &
			van Steen, ch. 8).`, physical),
		model("how-many", "k+1, 2k+1, 3k+1: how many processes it takes",
			`How many processes are needed if k of them may fail? That depends on what the faulty ones do and on what the others
			must do. Silent ones leave a gap that one other can fill. Liars must be outvoted. And if the processes themselves
			have to agree while liars talk to each of them differently, two thirds must be honest. Here each question is put to
			groups of one to five with k = 1, the last by trying every lie.`, sizes),
	}
}
