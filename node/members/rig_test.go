package members

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// step is the resolution of the rig's time.
const step = 10 * time.Millisecond

// rig is a cluster of tables in virtual time. Every member sends a sign of life each 100 ms, as the protocol's
// Status is one, and its heartbeats. Messages take one step.
type rig struct {
	t      testing.TB
	cfg    Config
	tables []*Table
	phase  []time.Duration // of the ticks, by member
	now    time.Duration
	stop   []bool          // stopped: it does nothing
	dead   []bool          // and has no connections
	cut    map[[2]int]bool // no frame passes, either way
	lie    func(from int, h *Heartbeat)
	mail   []letter
	log    []string                 // "observer: member from>to"
	worst  map[[2]int]State         // by observer and member, since clear
	seen   map[[2]int]time.Duration // when the present state came about
}

type letter struct {
	from, to int
	beat     *Heartbeat // nil: another frame
}

func newRig(t testing.TB, n int, phases func(i int) time.Duration) *rig {
	t.Helper()
	r := &rig{t: t, stop: make([]bool, n), dead: make([]bool, n), cut: map[[2]int]bool{}, seen: map[[2]int]time.Duration{}}
	for i := range n {
		r.cfg = DefaultConfig()
		r.cfg.Self, r.cfg.N = i, n
		table, err := New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for j := range n {
			table.Wired(0, j, true)
		}
		r.tables, r.phase = append(r.tables, table), append(r.phase, phases(i)%r.cfg.Interval/step*step)
	}
	r.clear()
	return r
}

// clear forgets what was noted.
func (r *rig) clear() { r.log, r.worst = nil, map[[2]int]State{} }

func (r *rig) note(observer int, changes []Transition) {
	for _, c := range changes {
		if c.To < c.From && c.To != c.From-1 {
			r.t.Errorf("%d: %d went from %v to %v at once", observer, c.Member, c.From, c.To)
		}
		if c.To > c.From && c.To != Active {
			r.t.Errorf("%d: %d improved from %v to %v", observer, c.Member, c.From, c.To)
		}
		key := [2]int{observer, c.Member}
		if w, ok := r.worst[key]; !ok || c.To < w {
			r.worst[key] = c.To
		}
		r.seen[key] = r.now
		r.log = append(r.log, fmt.Sprintf("%d: %d %v>%v", observer, c.Member, c.From, c.To))
	}
}

func (r *rig) send(from, to int, h *Heartbeat) {
	if !r.cut[[2]int{min(from, to), max(from, to)}] {
		r.mail = append(r.mail, letter{from, to, h})
	}
}

// run lets time pass.
func (r *rig) run(d time.Duration) {
	for end := r.now + d; r.now < end; {
		r.now += step
		mail := r.mail
		r.mail = nil
		for _, m := range mail {
			if !r.stop[m.to] {
				r.deliver(m)
			} else if !r.dead[m.to] {
				r.mail = append(r.mail, m) // it waits in the kernel
			}
		}
		for i, table := range r.tables {
			if r.stop[i] {
				continue
			}
			if r.now%r.cfg.Interval == r.phase[i] {
				r.tick(i, table)
			}
			if (r.now+r.phase[i])%(100*time.Millisecond) == 0 {
				for to := range r.tables {
					r.send(i, to, nil)
				}
			}
		}
	}
}

func (r *rig) tick(i int, table *Table) {
	r.note(i, table.Tick(r.now))
	h := Heartbeat{Report: table.Report(r.now)}
	if q, ok := table.Question(); ok {
		h.Kind, h.Question = Ask, q
	}
	r.beat(i, h, -1)
}

// beat sends a heartbeat to one or, with -1, to all.
func (r *rig) beat(from int, h Heartbeat, only int) {
	for to := range r.tables {
		if to == from || only >= 0 && to != only {
			continue
		}
		own := h
		own.Report = slices.Clone(h.Report)
		if r.lie != nil {
			r.lie(from, &own)
		}
		r.send(from, to, &own)
	}
}

func (r *rig) deliver(m letter) {
	table := r.tables[m.to]
	if m.from == m.to {
		return
	}
	if m.beat == nil {
		r.note(m.to, table.Heard(r.now, m.from, 0))
		return
	}
	h, err := Decode(m.beat.Append(nil), len(r.tables))
	if err != nil {
		r.t.Fatal(err)
	}
	answer := uint64(0)
	if h.Kind == Answer {
		answer = h.Question
	}
	r.note(m.to, table.Learn(r.now, m.from, h.Report, answer))
	if h.Kind == Ask {
		r.beat(m.to, Heartbeat{Kind: Answer, Question: h.Question, Report: table.Report(r.now)}, m.from)
	}
}

// kill ends a member: its connections break.
func (r *rig) kill(id int) {
	r.stop[id], r.dead[id] = true, true
	for i, table := range r.tables {
		if i != id {
			table.Wired(r.now, id, false)
		}
	}
}

// wantAll checks what all running members hold of one, themselves included.
func (r *rig) wantAll(id int, want State) {
	r.t.Helper()
	for i, table := range r.tables {
		if got := table.Members(r.now)[id].State; !r.stop[i] && got != want {
			r.t.Errorf("at %v %d holds %d for %v, want %v; %v", r.now, i, id, got, want, r.log)
		}
	}
}

// phases are some ways in which the ticks of members lie to each other.
var phases = map[string]func(i int) time.Duration{
	"equal":  func(int) time.Duration { return 0 },
	"spread": func(i int) time.Duration { return time.Duration(i) * 230 * time.Millisecond },
	"close":  func(i int) time.Duration { return time.Duration(i) * step },
	"turned": func(i int) time.Duration { return time.Duration(9-i) * 110 * time.Millisecond },
}

// forPhases runs a test for each of them.
func forPhases(t *testing.T, n int, f func(r *rig)) {
	for name, phase := range phases {
		t.Run(name, func(t *testing.T) { f(newRig(t, n, phase)) })
	}
}
