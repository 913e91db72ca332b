package teach

import (
	"fmt"
	"math/bits"
	"slices"
)

// Sizes of the connection's model.
const (
	tcpItems = 3
	tcpTries = 3
)

// transfer carries tcpItems over a link that loses what lost says (segment number, counted over
// both directions): stop and wait, with numbers, acknowledgements and retransmission.
func transfer(title string, lost func(segment int) bool) (got []int, ok bool, s *stage) {
	s = newStage(title, "sender", "receiver")
	segment := 0
	next := 1 // what the receiver expects
	for item := 1; item <= tcpItems; item++ {
		acked := false
		for try := 0; try < tcpTries && !acked; try++ {
			text := fmt.Sprintf("segment %d", item)
			segment++
			if lost(segment) {
				s.lose(0, 1, text)
				s.run(s.now + 20)
				continue
			}
			s.send(0, 1, text, func() {
				if item == next {
					got = append(got, item)
					next++
				} else {
					s.mark(1, "has it already")
				}
			})
			s.run(s.now + 6)
			segment++
			if lost(segment) {
				s.lose(1, 0, fmt.Sprintf("ack %d", item))
				s.run(s.now + 20)
				continue
			}
			s.send(1, 0, fmt.Sprintf("ack %d", item), func() { acked = true })
			s.run(s.now + 6)
		}
		if !acked {
			s.mark(0, "connection is broken")
			return got, false, s
		}
	}
	return got, true, s
}

// session sends three requests of add 1, one after the other; at the request of that number the
// connection breaks, before the server took it in or after. The client reconnects or not.
type session struct {
	reconnect, numbers bool
}

// run returns the sum at the server at the end.
func (c session) run(title string, at int, taken bool) (sum int, s *stage) {
	s = newStage(title, "client", "server")
	last := 0
	serve := func(i int) {
		if c.numbers && i <= last {
			s.mark(1, "#%d was done", i)
			return
		}
		last = i
		sum++
	}
	for i := 1; i <= tcpItems; i++ {
		if i != at {
			s.send(0, 1, fmt.Sprintf("#%d add 1", i), func() { serve(i) })
			s.run(s.now + 10)
			continue
		}
		if taken {
			s.send(0, 1, fmt.Sprintf("#%d add 1", i), func() { serve(i) })
		} else {
			s.lose(0, 1, fmt.Sprintf("#%d add 1", i))
		}
		s.run(s.now + 10)
		s.mark(0, "connection reset")
		if !c.reconnect {
			return sum, s
		}
		s.send(0, 1, "connect", nil)
		s.run(s.now + 10)
		s.send(0, 1, fmt.Sprintf("#%d add 1", i), func() { serve(i) })
		s.run(s.now + 10)
	}
	return sum, s
}

func tcp(p *page) {
	const segments = 8
	patterns, masked, gaveUp, spoilt := 0, 0, 0, 0
	whole := []int{1, 2, 3}
	for mask := range 1 << segments {
		if bits.OnesCount(uint(mask)) > 3 {
			continue
		}
		patterns++
		got, ok, _ := transfer("", func(k int) bool { return k <= segments && mask>>(k-1)&1 != 0 })
		switch {
		case ok && slices.Equal(got, whole):
			masked++
		case ok || !slices.Equal(got, whole[:len(got)]):
			spoilt++
		default:
			gaveUp++
		}
	}
	_, _, s := transfer("", func(k int) bool { return k == 1 || k == 5 })
	p.section("Omission: segments and acknowledgements are lost")
	p.show(s)
	var rows [][]string
	clients := []struct {
		name string
		c    session
	}{{"gives up", session{}}, {"reconnects, sends it again", session{reconnect: true}}, {"the same, numbered", session{true, true}}}
	right := make([]int, len(clients))
	cases := 0
	for i, c := range clients {
		cells := []string{c.name}
		for at := 1; at <= tcpItems; at++ {
			for _, taken := range []bool{false, true} {
				sum, _ := c.c.run("", at, taken)
				cells = append(cells, fmt.Sprint(sum))
				if i == 0 {
					cases++
				}
				if sum == tcpItems {
					right[i]++
				}
			}
		}
		rows = append(rows, cells)
	}
	p.section("A broken connection: three times add 1, it breaks at request #1, #2 or #3")
	p.table([]string{"client", "#1 lost", "#1 taken in", "#2 lost", "#2 taken in", "#3 lost", "#3 taken in"}, rows)
	_, s = session{reconnect: true}.run("reconnects, #2 was taken in", 2, true)
	p.show(s)
	p.fact("masked", masked, "Of %[2]d ways to lose up to three of the first %[3]d segments, %[1]d are masked: everything arrives once and in order.", patterns, segments)
	p.fact("gave-up", gaveUp, "In %d the sender gives up after "+fmt.Sprint(tcpTries)+" attempts: the connection breaks.")
	p.fact("spoilt", spoilt, "In %d something arrives twice or out of order.")
	p.fact("gives-up", right[0], "When the connection breaks, a client that gives up ends right in %d of %d cases.", cases)
	p.fact("reconnects", right[1], "One that reconnects and sends again ends right in %d of %d.", cases)
	p.fact("numbers", right[2], "One whose requests have numbers ends right in %d of %d.", cases)
}
