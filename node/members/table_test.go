package members

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// All others are disconnected before the first sign of life, and active after it; oneself is active throughout.
func TestStart(t *testing.T) {
	forPhases(t, 4, func(r *rig) {
		for i, table := range r.tables {
			for id, m := range table.Members(0) {
				if want := map[bool]State{true: Active, false: Disconnected}[id == i]; m.State != want {
					t.Errorf("%d holds %d for %v before anything came, want %v", i, id, m.State, want)
				}
			}
			if table.Active() != 1<<i {
				t.Errorf("%d has other active members than itself before anything came", i)
			}
		}
		r.run(2 * time.Second)
		for key, s := range r.worst {
			if key[0] == key[1] && s < Active {
				t.Errorf("%d held itself for %v", key[0], s)
			}
		}
		for id := range r.tables {
			r.wantAll(id, Active)
		}
		if r.tables[0].Active() != 0b1111 {
			t.Errorf("active: %b", r.tables[0].Active())
		}
	})
}

// A member that stops is suspected, and after more than two ticks unresponsive for all, within three; when it
// goes on it is active again.
func TestStopped(t *testing.T) {
	forPhases(t, 4, func(r *rig) {
		r.run(5*time.Second + 370*time.Millisecond)
		r.clear()
		r.stop[3] = true
		stopped := r.now
		r.run(1900 * time.Millisecond)
		for key := range r.seen {
			if got := r.tables[key[0]].Members(r.now)[3].State; key[0] != 3 && got < Awaiting {
				r.t.Errorf("%d holds it for %v before two ticks", key[0], got)
			}
		}
		r.run(3*time.Second + 3*step - (r.now - stopped))
		r.wantAll(3, Unresponsive)
		for i := range 3 {
			want := []string{"active>awaiting", "awaiting>unresponsive"}
			if got := r.logOf(i, 3); !slices.Equal(got, want) {
				r.t.Errorf("%d saw %v, want %v", i, got, want)
			}
		}
		r.clear()
		r.stop[3] = false
		r.run(2 * time.Second)
		r.wantAll(3, Active)
		for key, s := range r.worst {
			if key[0] == 3 && s < Active && key[1] != 3 {
				r.t.Errorf("who slept holds %d for %v", key[1], s)
			}
		}
	})
}

// TestSleeperBlamesNobody: after a stop the tick comes before what was sent meanwhile is read, and changes nothing. Who has
// really gone is noticed one tick later.
func TestSleeperBlamesNobody(t *testing.T) {
	for _, again := range []time.Duration{10 * time.Millisecond, 400 * time.Millisecond, time.Second} {
		table := tickedTable(t)
		now := 65*time.Second + 300*time.Millisecond
		for _, at := range []time.Duration{now, now + min(again, 400*time.Millisecond)} {
			if changes := table.Tick(at); len(changes) > 0 {
				t.Errorf("woken up, it changes %+v", changes)
			}
		}
		for range 4 {
			now += again
			for id := range 2 {
				table.Heard(now, 1+id, 0)
			}
			again = time.Second
			for _, c := range table.Tick(now) {
				if c.Member == 1 || c.Member == 2 {
					t.Errorf("%+v", c)
				}
			}
		}
		if got := table.Members(now)[3].State; got >= Awaiting {
			t.Errorf("who has gone is held for %v", got)
		}
	}
}

// Where all ticks are late, on a busy machine, who stops is noticed all the same.
func TestLateTicks(t *testing.T) {
	table := tickedTable(t)
	now := 5 * time.Second
	for range 10 {
		now += 1700 * time.Millisecond
		table.Heard(now, 1, 0)
		table.Heard(now, 2, 0)
		table.Tick(now)
	}
	if m := table.Members(now); m[3].State > Unresponsive || m[1].State != Active || m[2].State != Active {
		t.Errorf("%+v", m)
	}
}

// tickedTable is the table of replica 0 of 4, after five seconds in which it heard all.
func tickedTable(t *testing.T) *Table {
	t.Helper()
	cfg := DefaultConfig()
	cfg.N = 4
	table, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for now := time.Duration(0); now <= 5*time.Second; now += time.Second {
		for id := 1; id < 4; id++ {
			table.Learn(now, id, Report{0, 0, 0, 0}, 0)
		}
		table.Tick(now)
	}
	for id, m := range table.Members(5 * time.Second) {
		if m.State != Active {
			t.Fatalf("%d is %v", id, m.State)
		}
	}
	return table
}

// logOf is what an observer saw of a member.
func (r *rig) logOf(observer, id int) (out []string) {
	for _, line := range r.log {
		if rest, ok := strings.CutPrefix(line, string(rune('0'+observer))+": "+string(rune('0'+id))+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// One that was killed goes through all states to disconnected, one step at a time.
func TestKilled(t *testing.T) {
	forPhases(t, 4, func(r *rig) {
		r.run(5 * time.Second)
		r.clear()
		r.kill(2)
		r.run(5 * time.Second)
		r.wantAll(2, Disconnected)
		for _, i := range []int{0, 1, 3} {
			want := []string{"active>awaiting", "awaiting>unresponsive", "unresponsive>disconnected"}
			if got := r.logOf(i, 2); !slices.Equal(got, want) {
				r.t.Errorf("%d saw %v, want %v", i, got, want)
			}
			r.wantAll(i, Active)
		}
	})
}

// A connection that stays although nothing comes makes no difference after ten ticks.
func TestSilentForLong(t *testing.T) {
	r := newRig(t, 4, phases["spread"])
	r.run(5 * time.Second)
	r.stop[1] = true
	r.run(9 * time.Second)
	r.wantAll(1, Unresponsive)
	r.run(3 * time.Second)
	r.wantAll(1, Disconnected)
}

// With one link cut nobody is called dead: the others vouch for both ends, and the link is known to be broken.
func TestOneLinkCut(t *testing.T) {
	for _, n := range []int{4, 7} {
		forPhases(t, n, func(r *rig) {
			r.run(5 * time.Second)
			r.clear()
			r.cut[[2]int{0, 1}] = true
			r.tables[0].Wired(r.now, 1, false)
			r.run(60 * time.Second)
			for key, s := range r.worst {
				if s < Awaiting {
					r.t.Errorf("%d held %d for %v", key[0], key[1], s)
				}
			}
			for id := range r.tables {
				r.wantAll(id, Active)
			}
			for _, x := range [][2]int{{0, 1}, {1, 0}} {
				m := r.tables[x[0]].Members(r.now)[x[1]]
				if m.Link != LinkBroken || len(m.HeardBy) != n-2 {
					r.t.Errorf("%d of %d: %+v", x[0], x[1], m)
				}
				if got := r.logOf(x[0], x[1]); !slices.Equal(got, []string{"active>awaiting", "awaiting>active"}) {
					r.t.Errorf("%d saw of %d: %v", x[0], x[1], got)
				}
			}
			delete(r.cut, [2]int{0, 1})
			r.run(time.Second)
			if m := r.tables[0].Members(r.now)[1]; m.Link != LinkGood || m.State != Active {
				r.t.Errorf("after the link is back: %+v", m)
			}
		})
	}
}

// Who is alive behind a broken link and then stops is noticed all the same.
func TestStoppedBehindBrokenLink(t *testing.T) {
	forPhases(t, 4, func(r *rig) {
		r.run(5 * time.Second)
		r.cut[[2]int{0, 1}] = true
		r.run(10 * time.Second)
		r.stop[1] = true
		r.run(4 * time.Second)
		r.wantAll(1, Unresponsive)
	})
}

// With too few witnesses a replica believes itself, and says so one tick later at most.
func TestNoWitnesses(t *testing.T) {
	forPhases(t, 4, func(r *rig) {
		r.run(5 * time.Second)
		r.kill(2)
		r.kill(3)
		r.run(6 * time.Second)
		r.stop[1] = true
		r.run(4 * time.Second)
		if got := r.tables[0].Members(r.now)[1].State; got != Unresponsive {
			r.t.Errorf("held for %v", got)
		}
		// Nobody is left who could tell that it is heard.
		r.run(8 * time.Second)
		r.wantAll(0, Disconnected)
	})
}

// Up to f members that lie change nothing: neither do they make one active that stopped, nor one dead that is
// heard, nor one whose link is cut while f+1 correct ones hear it.
func TestLiars(t *testing.T) {
	silent := func(_ int, h *Heartbeat) {
		for i := range h.Report {
			h.Report[i] = Never
		}
	}
	alive := func(_ int, h *Heartbeat) {
		for i := range h.Report {
			h.Report[i] = 0
		}
	}
	of := func(liars int, lie func(int, *Heartbeat)) func(int, *Heartbeat) {
		return func(from int, h *Heartbeat) {
			if from >= 7-liars {
				lie(from, h)
			}
		}
	}
	for name, lie := range map[string]func(int, *Heartbeat){"all are silent": silent, "all are alive": alive} {
		t.Run(name, func(t *testing.T) {
			forPhases(t, 7, func(r *rig) { // f is 2: one lies, one stops
				r.lie = of(1, lie)
				r.run(5 * time.Second)
				for id := range r.tables {
					r.wantAll(id, Active)
				}
				r.clear()
				r.cut[[2]int{0, 1}] = true
				r.stop[2] = true
				r.run(8 * time.Second)
				for i := range r.tables {
					if m := r.tables[i].Members(r.now); i != 2 && (m[2].State != Unresponsive || m[0].State != Active || m[1].State != Active) {
						r.t.Errorf("%d holds %+v", i, m)
					}
				}
				for key, s := range r.worst {
					if key[1] != 2 && s < Awaiting {
						r.t.Errorf("%d held %d for %v", key[0], key[1], s)
					}
				}
			})
		})
	}
	// The rule is tight: f+1 liars are believed.
	r := newRig(t, 7, phases["spread"])
	r.lie = of(3, alive)
	r.run(5 * time.Second)
	r.stop[2] = true
	r.run(8 * time.Second)
	if m := r.tables[0].Members(r.now)[2]; m.State != Active || m.Link != LinkBroken {
		t.Errorf("f+1 say that it is alive: %+v", m)
	}
}

// Whoever did not run itself blames nobody for the time, though its messages waited.
func TestOwnPause(t *testing.T) {
	r := newRig(t, 4, phases["spread"])
	r.run(5 * time.Second)
	r.clear()
	// The tick comes before what waits in the kernel.
	table := r.tables[0]
	r.now += 30 * time.Second
	r.note(0, table.Tick(r.now))
	for id := 1; id < 4; id++ {
		if got := table.Members(r.now)[id].State; got < Active {
			t.Errorf("%d is held for %v", id, got)
		}
	}
	r.now -= 30 * time.Second // time does not run backwards for it either
	r.run(time.Second)
	for id := range r.tables {
		r.wantAll(id, Active)
	}
}

// What no member says changes nothing.
func TestNonsense(t *testing.T) {
	r := newRig(t, 4, phases["equal"])
	table := r.tables[0]
	for _, f := range []func() []Transition{
		func() []Transition { return table.Learn(1, 0, make(Report, 4), 0) },
		func() []Transition { return table.Learn(1, 4, make(Report, 4), 0) },
		func() []Transition { return table.Learn(1, 1, make(Report, 5), 0) },
		func() []Transition { return table.Heard(1, -1, 0) },
		func() []Transition { return table.Heard(1, 0, 0) },
	} {
		if got := f(); len(got) != 0 || table.Active() != 1 {
			t.Errorf("changes: %+v", got)
		}
	}
	table.Learn(1, 1, Report{-5, -5, -5, -5}, 99) // an answer to what was never asked
	if got := table.Members(1)[2]; got.State != Disconnected || len(got.HeardBy) != 0 {
		t.Errorf("%+v", got)
	}
	if table.entries[1].answered != 0 {
		t.Error("the answer counts")
	}
}

func TestValidate(t *testing.T) {
	good := DefaultConfig()
	good.N = 4
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for i, change := range []func(*Config){
		func(c *Config) { c.N = 3 },
		func(c *Config) { c.Self = 4 },
		func(c *Config) { c.Interval = 0 },
		func(c *Config) { c.Interval = time.Hour },
		func(c *Config) { c.AwaitingAfter = 0 },
		func(c *Config) { c.UnresponsiveAfter = 1 },
		func(c *Config) { c.DisconnectedAfter = 2 },
		func(c *Config) { c.DisconnectedAfter = MaxTicks + 1 },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%d: taken", i)
		}
	}
}

// Whatever comes and is lost, who hears a member directly holds it for active; states worsen one step at a
// time (see rig.note); and after all is well again all are active.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(4, 7).Draw(rt, "n")
		offsets := rapid.SliceOfN(rapid.IntRange(0, 99), n, n).Draw(rt, "phases")
		r := newRig(t, n, func(i int) time.Duration { return time.Duration(offsets[i]) * step })
		for range rapid.IntRange(1, 12).Draw(rt, "events") {
			a, b := rapid.IntRange(0, n-1).Draw(rt, "a"), rapid.IntRange(0, n-1).Draw(rt, "b")
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				r.stop[a] = !r.stop[a]
			case 1:
				key := [2]int{min(a, b), max(a, b)}
				r.cut[key] = !r.cut[key]
			case 2:
				r.tables[a].Wired(r.now, b, rapid.Bool().Draw(rt, "wired"))
			}
			r.run(time.Duration(rapid.IntRange(1, 400).Draw(rt, "steps")) * step)
			r.checkDirect()
		}
		clear(r.stop)
		clear(r.cut)
		r.run(4 * time.Second)
		for id := range n {
			r.wantAll(id, Active)
		}
	})
}

// checkDirect checks the invariants of the tables' rows.
func (r *rig) checkDirect() {
	for i, table := range r.tables {
		for id, m := range table.Members(r.now) {
			switch direct := table.silence(id); {
			case r.stop[i] || id == i:
			case direct <= r.cfg.Interval/2 && m.State != Active:
				r.t.Errorf("%d hears %d, and holds it for %v", i, id, m.State)
			case m.Link == LinkBroken && (m.State < Awaiting || direct <= 2*r.cfg.Interval):
				r.t.Errorf("%d of %d: %+v", i, id, m)
			}
		}
	}
}
