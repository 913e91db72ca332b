package sim

import "github.com/baluarte-bft/baluarte/bft"

// event is something that happens at a moment of virtual time.
type event struct {
	at  bft.Time
	num uint64 // in the order of scheduling: it breaks ties, so that the order is total
	do  func()
}

// queue holds what is going to happen, as a heap by (at, num). The zero queue is empty.
type queue struct {
	now    bft.Time
	num    uint64
	events []event
}

// at schedules do for time t, or for now if t has passed.
func (q *queue) at(t bft.Time, do func()) {
	t = max(t, q.now)
	q.num++
	q.events = append(q.events, event{at: t, num: q.num, do: do})
	q.up(len(q.events) - 1)
}

// after schedules do for d from now.
func (q *queue) after(d bft.Time, do func()) { q.at(q.now+d, do) }

// step moves to the next event and runs it. It is false if nothing is scheduled.
func (q *queue) step() bool {
	if len(q.events) == 0 {
		return false
	}
	e := q.events[0]
	last := len(q.events) - 1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	q.down(0)
	q.now = e.at
	e.do()
	return true
}

func (q *queue) less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || a.at == b.at && a.num < b.num
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.events[i], q.events[parent] = q.events[parent], q.events[i]
		i = parent
	}
}

func (q *queue) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.events); child++ {
			if q.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		q.events[i], q.events[least] = q.events[least], q.events[i]
		i = least
	}
}
