package members

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// State is what a replica holds of a member.
type State uint8

// The states, from worst to best.
const (
	// Disconnected: silent, and without a connection; or silent for very long; or never heard.
	Disconnected State = iota
	// Unresponsive: silent for more than UnresponsiveAfter ticks. It is not fit to answer clients.
	Unresponsive
	// Awaiting confirmation: silent for more than AwaitingAfter ticks; the others are asked.
	Awaiting
	// Active: heard, or heard by f+1 others.
	Active
)

// String is the name of the state in tables and logs.
func (s State) String() string {
	switch s {
	case Disconnected:
		return "disconnected"
	case Unresponsive:
		return "unresponsive"
	case Awaiting:
		return "awaiting"
	case Active:
		return "active"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Config says whose table it is, and when a state worsens.
type Config struct {
	// Self is the replica that keeps the table, one of N.
	Self, N int
	// Interval is the time between two ticks, and between two heartbeats of a member.
	Interval time.Duration
	// A member that was silent for more than so many intervals is Awaiting confirmation, Unresponsive, and Disconnected.
	AwaitingAfter, UnresponsiveAfter, DisconnectedAfter int
}

// The bounds of a Config.
const (
	MinInterval = 50 * time.Millisecond
	MaxInterval = time.Minute
	MaxTicks    = 1000
)

// DefaultConfig has the defaults of the interval and the thresholds. Self and N are unset.
func DefaultConfig() Config {
	return Config{Interval: time.Second, AwaitingAfter: 1, UnresponsiveAfter: 2, DisconnectedAfter: 10}
}

// Validate says what is wrong with c, all at once.
func (c *Config) Validate() error {
	var errs []error
	if c.N < 4 || c.N > bft.MaxMembers || c.Self < 0 || c.Self >= c.N {
		errs = append(errs, fmt.Errorf("members: replica %d of %d, want 4 to %d", c.Self, c.N, bft.MaxMembers))
	}
	return errors.Join(append(errs, c.ValidateTimes())...)
}

// ValidateTimes is Validate without Self and N.
func (c *Config) ValidateTimes() error {
	var errs []error
	if c.Interval < MinInterval || c.Interval > MaxInterval {
		errs = append(errs, fmt.Errorf("heartbeat: %v is not within %v and %v", c.Interval, MinInterval, MaxInterval))
	}
	if c.AwaitingAfter < 1 || c.UnresponsiveAfter <= c.AwaitingAfter || c.DisconnectedAfter <= c.UnresponsiveAfter || c.DisconnectedAfter > MaxTicks {
		errs = append(errs, fmt.Errorf("awaiting_after, unresponsive_after, disconnected_after: %d, %d and %d do not rise from 1 to at most %d",
			c.AwaitingAfter, c.UnresponsiveAfter, c.DisconnectedAfter, MaxTicks))
	}
	return errors.Join(errs...)
}

// Never is the silence of a member that was never heard.
const Never = time.Duration(1<<63 - 1)

// Report tells, by member, how long ago its author heard it; Never if it did not yet. The author's own entry does not count.
type Report []time.Duration

// Transition is a change of the state of a member, or of what is known of the link to it.
type Transition struct {
	Member   int
	From, To State
	// Link tells whether the link is taken for broken after the change.
	Link Link
	// Silence is how long ago this replica heard the member itself, or Never.
	Silence time.Duration
	// Confirmed counts the others that do not hear it either.
	Confirmed int
}

// Link is what is known of the connection between this replica and a member.
type Link uint8

// The states of a link.
const (
	// LinkUnknown: nothing is heard, and nobody vouches for the member.
	LinkUnknown Link = iota
	// LinkGood: frames come.
	LinkGood
	// LinkBroken: no frame comes, but f+1 others hear the member.
	LinkBroken
)

// Member is a row of the table.
type Member struct {
	State State
	Link  Link
	// Silence is how long ago this replica heard it, or Never; of itself: how long ago f+1 others did.
	Silence time.Duration
	// HeardBy are the others that say that they hear it.
	HeardBy []int
}

// entry is what is known of a member.
type entry struct {
	state State
	link  Link
	heard time.Duration // on the table's clock; meaningless before ever
	ever  bool
	wired bool // there is a connection
	// late counts the ticks since it has been silent for too long, and question is the one asked first then.
	late     int
	question uint64
	// What it said of all, when, and the question that it answered last.
	report   Report
	reported time.Duration
	answered uint64
}

// Table is the member table of one replica. See the package for its rules.
//
// Invariants:
//
//  1. A state worsens by one step at a time, and improves to Active only.
//  2. link is LinkBroken only if the state is Active or Awaiting and this replica has not heard the member for more
//     than UnresponsiveAfter ticks.
//  3. What members say of a member changes its row only if f+1 of them say so.
type Table struct {
	cfg   Config
	need  int // f+1
	last  time.Duration
	clock time.Duration
	// ticked is when the last tick was, and woke when one came that was late: slept tells that nobody is blamed yet.
	ticked, woke time.Duration
	slept        bool
	// asked numbers the questions to all others, one for each tick while somebody is awaiting confirmation.
	asked   uint64
	asking  bool
	entries []entry
	changes []Transition
}

// New makes a table in which all others are Disconnected. Self is Active: it is there until the others tell otherwise, for
// which they have the time that any member has.
func New(cfg Config) (*Table, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Table{cfg: cfg, need: bft.WeakQuorum(cfg.N), entries: make([]entry, cfg.N)}
	t.entries[cfg.Self].state, t.entries[cfg.Self].link = Active, LinkGood
	return t, nil
}

// advance moves the clock on, by one interval at most.
func (t *Table) advance(now time.Duration) {
	t.clock += min(max(now-t.last, 0), t.cfg.Interval)
	t.last = max(now, t.last)
}

func (t *Table) ticks(n int) time.Duration { return time.Duration(n) * t.cfg.Interval }

// Tick is to be called each interval. It returns what changed, valid until the next call of a method. The
// replica then sends its Report to all, as a question if Question says so.
func (t *Table) Tick(now time.Duration) []Transition {
	t.begin(now)
	t.asked++
	t.asking = false
	blames := !t.asleep(now)
	for id := range t.entries {
		t.judge(id, blames)
		if e := &t.entries[id]; id != t.cfg.Self && e.ever && t.silence(id) > t.ticks(t.cfg.AwaitingAfter) && e.state > Disconnected {
			t.asking = true
		}
	}
	return t.changes
}

// asleep tells, at a tick, whether this replica has just been stopped: what came meanwhile still waits to be read, so
// that nobody is judged by it. Ticks that are all late, on a busy machine, are taken as they come.
func (t *Table) asleep(now time.Duration) bool {
	late := now-t.ticked > t.cfg.Interval*3/2
	t.ticked = now
	switch {
	case late && !t.slept:
		t.slept, t.woke = true, now
	case now-t.woke >= t.cfg.Interval/2:
		t.slept = false
	}
	return t.slept
}

// Question is the number of the question that all others are to be asked at this tick; false if there is none.
func (t *Table) Question() (uint64, bool) { return t.asked, t.asking }

// Wants tells whether an answer to this question, from this member, would be its first.
func (t *Table) Wants(from int, question uint64) bool {
	return t.other(from) && question <= t.asked && question > t.entries[from].answered
}

// Heard tells that a sign of life of a member came, so long before now.
func (t *Table) Heard(now time.Duration, id int, ago time.Duration) []Transition {
	t.begin(now)
	if !t.other(id) {
		return nil
	}
	e := &t.entries[id]
	// The clock may have run slower than time did.
	if at := max(t.clock-max(ago, 0), 0); !e.ever || at > e.heard {
		e.heard, e.ever = at, true
	}
	t.judge(id, false)
	return t.changes
}

// Wired tells whether there is a connection to a member.
func (t *Table) Wired(now time.Duration, id int, wired bool) {
	t.begin(now)
	if t.other(id) {
		t.entries[id].wired = wired
	}
}

// Learn takes what another member says of all. answer is the number of the question that it answers, or 0. It is a sign
// of life too. The report is not kept.
func (t *Table) Learn(now time.Duration, from int, r Report, answer uint64) []Transition {
	t.begin(now)
	if !t.other(from) || len(r) != t.cfg.N {
		return nil
	}
	e := &t.entries[from]
	e.report, e.reported = append(e.report[:0], r...), t.clock
	if t.Wants(from, answer) {
		e.answered = answer
	}
	e.heard, e.ever = t.clock, true
	for id := range t.entries {
		t.judge(id, false)
	}
	return t.changes
}

// Report is what this replica tells the others.
func (t *Table) Report(now time.Duration) Report {
	t.advance(now)
	r := make(Report, t.cfg.N)
	for id := range r {
		if id != t.cfg.Self {
			r[id] = t.silence(id)
		}
	}
	return r
}

// Members returns the table's rows, by member.
func (t *Table) Members(now time.Duration) []Member {
	t.advance(now)
	out := make([]Member, t.cfg.N)
	for id := range out {
		e := &t.entries[id]
		out[id] = Member{State: e.state, Link: e.link, Silence: t.silence(id)}
		if id == t.cfg.Self {
			out[id].Silence, out[id].Link = t.ofSelf(t.vouched(id)), LinkGood
		}
		for r := range t.entries {
			if t.said(r, id) <= t.ticks(t.cfg.UnresponsiveAfter) {
				out[id].HeardBy = append(out[id].HeardBy, r)
			}
		}
	}
	return out
}

// Active has bit i set if member i is Active: fit to answer clients.
func (t *Table) Active() (set uint64) {
	for id := range t.entries {
		if t.entries[id].state == Active {
			set |= 1 << id
		}
	}
	return set
}

func (t *Table) begin(now time.Duration) {
	t.advance(now)
	t.changes = t.changes[:0]
}

func (t *Table) other(id int) bool { return id >= 0 && id < t.cfg.N && id != t.cfg.Self }

// silence is how long ago this replica heard a member itself.
func (t *Table) silence(id int) time.Duration {
	if e := &t.entries[id]; e.ever {
		return t.clock - e.heard
	}
	return Never
}

// said is how long ago r heard a member, by what r said last.
func (t *Table) said(r, id int) time.Duration {
	e := &t.entries[r]
	if r == id || r == t.cfg.Self || e.report == nil || e.report[id] < 0 {
		return Never
	}
	age := t.clock - e.reported
	if e.report[id] > Never-age {
		return Never
	}
	return e.report[id] + age
}

// vouched is a time within which f+1 others have heard a member, and hence a correct one.
func (t *Table) vouched(id int) time.Duration {
	var all [bft.MaxMembers]time.Duration
	said := all[:0]
	for r := range t.entries {
		if r != id && r != t.cfg.Self {
			said = append(said, t.said(r, id))
		}
	}
	slices.Sort(said)
	return said[t.need-1]
}

// judge brings the state of a member up to date. It worsens at ticks, or when the others confirm.
func (t *Table) judge(id int, tick bool) {
	e := &t.entries[id]
	direct, vouched := t.silence(id), t.vouched(id)
	long := t.ticks(t.cfg.UnresponsiveAfter)
	if id == t.cfg.Self {
		direct = t.ofSelf(vouched)
		vouched = direct
	}
	if t.clock <= long && (id == t.cfg.Self && vouched == Never || id != t.cfg.Self && !e.ever) {
		return // it may be about to connect: nothing is broken yet
	}
	switch {
	case direct <= t.ticks(t.cfg.AwaitingAfter):
		e.late = 0
		t.set(id, Active, LinkGood, 0)
	case direct > long && vouched <= long && vouched < direct-t.cfg.Interval/2:
		// They have heard it since. What is as old as what this replica heard itself tells nothing of the link.
		e.late = 0
		t.set(id, Active, LinkBroken, 0)
	case direct <= long:
		e.late = 0
		if tick && e.state == Active && e.link != LinkBroken {
			t.set(id, Awaiting, e.link, 0)
		}
	default:
		t.worsen(id, tick, min(direct, vouched))
	}
}

// ofSelf is how long the others have not heard this replica, if f+1 of them did within vouched: what they say is up to
// a tick old.
func (t *Table) ofSelf(vouched time.Duration) time.Duration {
	if vouched == Never {
		return Never
	}
	return max(0, vouched-t.cfg.Interval)
}

// worsen is judge for a member that neither this replica nor f+1 others hear.
func (t *Table) worsen(id int, tick bool, silence time.Duration) {
	e := &t.entries[id]
	if tick {
		if e.late++; e.late == 1 {
			e.question = t.asked
		}
	}
	confirmed, waiting := t.confirmed(id)
	switch e.state {
	case Active:
		if tick {
			t.set(id, Awaiting, e.link, confirmed)
		}
	case Awaiting:
		if e.late > 1 || e.late == 1 && (confirmed >= t.need || waiting == 0) {
			t.set(id, Unresponsive, LinkUnknown, confirmed)
		}
	case Unresponsive:
		if tick && e.late > 1 && (!e.wired && id != t.cfg.Self || silence > t.ticks(t.cfg.DisconnectedAfter)) {
			t.set(id, Disconnected, LinkUnknown, confirmed)
		}
	}
}

// confirmed counts the others that were asked since the member has been silent for too long and do not hear it
// either, and those that this replica hears and that have not answered yet.
func (t *Table) confirmed(id int) (confirmed, waiting int) {
	for r := range t.entries {
		e := &t.entries[r]
		switch long := t.ticks(t.cfg.UnresponsiveAfter); {
		case r == id || r == t.cfg.Self:
		case e.answered >= t.entries[id].question:
			if t.said(r, id) > long {
				confirmed++
			}
		case t.silence(r) <= long:
			waiting++
		}
	}
	return confirmed, waiting
}

func (t *Table) set(id int, to State, link Link, confirmed int) {
	e := &t.entries[id]
	if e.state == to && e.link == link {
		return
	}
	from := e.state
	e.state, e.link = to, link
	t.changes = append(t.changes, Transition{Member: id, From: from, To: to, Link: link, Silence: t.silence(id), Confirmed: confirmed})
}
