package teach

import "strings"

// A server's order of its two acts.
const (
	actMessage = "M" // it sends the completion message
	actPrint   = "P" // it prints
)

// printerOrder is a server that acts in that order.
type printerOrder struct {
	name string
	acts [2]string
}

// reissue is a client's rule: does it send the request again after it heard of the crash?
type reissue struct {
	name  string
	again func(acked bool) bool
}

func printerOrders() []printerOrder {
	return []printerOrder{
		{"message, then print", [2]string{actMessage, actPrint}},
		{"print, then message", [2]string{actPrint, actMessage}},
	}
}

func reissues() []reissue {
	return []reissue{
		{"always", func(bool) bool { return true }},
		{"never", func(bool) bool { return false }},
		{"only when acknowledged", func(acked bool) bool { return acked }},
		{"only when not acknowledged", func(acked bool) bool { return !acked }},
	}
}

// crashPoint is the run of a server that crashes after so many acts, as Tanenbaum & van Steen
// write it: C after what was done, what was not done in brackets.
func crashPoint(o printerOrder, after int) string {
	s := strings.Join(o.acts[:after], "") + "C"
	if after < len(o.acts) {
		s += "(" + strings.Join(o.acts[after:], "") + ")"
	}
	return s
}

// printed plays one case and counts the prints. A request that is sent again meets a server that
// does not crash a second time.
func printed(o printerOrder, after int, r reissue) int {
	prints, acked := 0, false
	for _, act := range o.acts[:after] {
		switch act {
		case actPrint:
			prints++
		case actMessage:
			acked = true
		}
	}
	if r.again(acked) {
		prints++
	}
	return prints
}

func printerOutcome(prints int) string {
	switch prints {
	case 0:
		return "ZERO"
	case 1:
		return "OK"
	}
	return "DUP"
}

// printerTable is the table of outcomes: a row for each client, a column for each crash point of each server.
func printerTable() (head []string, rows [][]string) {
	head = []string{"client sends again"}
	for _, o := range printerOrders() {
		for _, after := range []int{2, 1, 0} {
			head = append(head, crashPoint(o, after))
		}
	}
	for _, r := range reissues() {
		cells := []string{r.name}
		for _, o := range printerOrders() {
			for _, after := range []int{2, 1, 0} {
				cells = append(cells, printerOutcome(printed(o, after, r)))
			}
		}
		rows = append(rows, cells)
	}
	return head, rows
}

func printer(p *page) {
	head, rows := printerTable()
	p.section("Server: message, then print (three crash points); print, then message (three)")
	p.table(head, rows)
	combinations, right, cases := 0, 0, 0
	tally := map[string]int{}
	for _, cells := range rows {
		for o := range printerOrders() {
			combinations++
			ok := true
			for _, c := range cells[1+3*o : 4+3*o] {
				cases++
				tally[c]++
				ok = ok && c == "OK"
			}
			if ok {
				right++
			}
		}
	}
	p.section("One of them: print, then crash, and a client that always sends again")
	p.show(printerStage())
	p.fact("combinations", combinations, "%d combinations of a server and a client, %d cases.", cases)
	p.fact("ok", tally["OK"], "%d cases print once, %d twice, %d not at all.", tally["DUP"], tally["ZERO"])
	p.fact("right", right, "%d combinations are right at every crash point.")
	p.claim("none", right == 0, "No strategy works: the client cannot see whether the server crashed just before or just after printing.",
		"Some strategy works at every crash point.")
}

// printerStage plays PC(M) with the client that always sends again.
func printerStage() *stage {
	o, r := printerOrders()[1], reissues()[0]
	const after = 1
	s := newStage("", "client", "server", "paper")
	prints, acked := 0, false
	act := func(what string) {
		if what == actPrint {
			s.send(1, 2, what, func() { prints++ })
		} else {
			s.send(1, 0, what, func() { acked = true })
		}
	}
	s.send(0, 1, "print", func() {
		for _, what := range o.acts[:after] {
			act(what)
		}
	})
	s.run(12)
	s.crash(1, "crashes: "+crashPoint(o, after))
	s.run(30)
	s.up(1, "restarts")
	s.send(1, 0, "I was down", func() {
		if r.again(acked) {
			s.send(0, 1, "print (again)", func() {
				for _, what := range o.acts {
					act(what)
				}
			})
		}
	})
	s.run(60)
	s.mark(2, "printed %d times: %s", prints, printerOutcome(prints))
	return s
}
