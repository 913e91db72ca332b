package node

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/members"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// Members says how a replica watches the others; see package members.
type Members struct {
	// Interval is the time between two heartbeats; the thresholds are counts of it.
	Interval                                            time.Duration
	AwaitingAfter, UnresponsiveAfter, DisconnectedAfter int
	// LogEvery is the time between two logs of the whole table; 0: it is not logged.
	LogEvery time.Duration
}

// DefaultMembers are the defaults of docs/configuration.md.
func DefaultMembers() Members {
	c := members.DefaultConfig()
	return Members{Interval: c.Interval, AwaitingAfter: c.AwaitingAfter, UnresponsiveAfter: c.UnresponsiveAfter,
		DisconnectedAfter: c.DisconnectedAfter, LogEvery: 20 * time.Second}
}

// A peer's plain heartbeats are looked at, and its questions answered, at most so often in an interval of ours.
const (
	beatsTaken   = 8
	asksAnswered = 4
)

// watch is the host of the member table: it feeds it, sends what it says, logs what changes, and tells clients.
type watch struct {
	n     *Node
	peers []watched

	mu    sync.Mutex
	table *members.Table
	// active is the set that clients were last told; subscribers are those who are.
	active      uint64
	subscribers map[*transport.ClientConn]struct{}
}

// watched is what the watch keeps of one peer.
type watched struct {
	// silent: the table does not hold it for active, or its link for good, so that its next frame is news.
	silent      atomic.Bool
	transitions atomic.Uint64
	// When its last heartbeat was looked at, and its last question answered; under the lock.
	taken, told time.Duration
}

func newWatch(n *Node) (*watch, error) {
	o, m := &n.opts.Core, &n.opts.Members
	table, err := members.New(members.Config{Self: int(o.Self), N: o.N(), Interval: m.Interval, AwaitingAfter: m.AwaitingAfter,
		UnresponsiveAfter: m.UnresponsiveAfter, DisconnectedAfter: m.DisconnectedAfter})
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	w := &watch{n: n, peers: make([]watched, o.N()), table: table, active: table.Active(),
		subscribers: make(map[*transport.ClientConn]struct{})}
	for i := range w.peers {
		w.peers[i].silent.Store(true)
	}
	return w, nil
}

// loop is the replica's own ticks. It waits for no disk and for no other goroutine of the pipeline.
func (w *watch) loop() {
	defer w.n.running.Done()
	t := time.NewTicker(w.n.opts.Members.Interval)
	defer t.Stop()
	logged := w.n.now()
	w.tick()
	for {
		select {
		case <-t.C:
			w.tick()
		case <-w.n.ctx.Done():
			return
		}
		if every := bft.Time(w.n.opts.Members.LogEvery); every > 0 && w.n.now()-logged >= every {
			logged = w.n.now()
			log.Infof("members: %s", w)
		}
	}
}

// tick looks at all members and sends this replica's heartbeat.
func (w *watch) tick() {
	n := w.n
	now := n.now()
	w.mu.Lock()
	w.listen(now)
	w.note(w.table.Tick(time.Duration(now)))
	h := members.Heartbeat{Report: w.table.Report(time.Duration(now))}
	if q, ok := w.table.Question(); ok {
		h.Kind, h.Question = members.Ask, q
	}
	w.mu.Unlock()
	if w.turns() {
		n.net.Broadcast(h.Append([]byte{FrameHeartbeat}))
	}
}

// listen tells the table when peers were last heard. Called with the lock held.
func (w *watch) listen(now bft.Time) {
	for i := range w.n.peers {
		if heard := bft.Time(w.n.peers[i].heard.Load()); heard != 0 {
			w.note(w.table.Heard(time.Duration(now), i, time.Duration(now-heard)))
		}
	}
}

// heard is called for every frame of a peer.
func (w *watch) heard(id int) {
	if !w.peers[id].silent.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(w.table.Heard(time.Duration(w.n.now()), id, 0))
}

// wired notes whether frames to a peer travel.
func (w *watch) wired(id int, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.table.Wired(time.Duration(w.n.now()), id, up)
}

// heartbeat takes what a peer says, and answers if it asks. The error accuses the peer.
func (w *watch) heartbeat(id int, frame []byte) error {
	n := w.n
	h, err := members.Decode(frame[1:], n.opts.Core.N())
	if err != nil {
		return fmt.Errorf("%w: %w", bft.ErrInvalid, err)
	}
	now, interval := time.Duration(n.now()), n.opts.Members.Interval
	p := &w.peers[id]
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case h.Kind == members.Answer:
		if !w.table.Wants(id, h.Question) {
			return nil
		}
		w.note(w.table.Learn(now, id, h.Report, h.Question))
	case p.taken == 0 || now-p.taken >= interval/beatsTaken:
		p.taken = now
		w.note(w.table.Learn(now, id, h.Report, 0))
	}
	if h.Kind == members.Ask && (p.told == 0 || now-p.told >= interval/asksAnswered) && w.turns() {
		p.told = now
		w.listen(bft.Time(now))
		reply := members.Heartbeat{Kind: members.Answer, Question: h.Question, Report: w.table.Report(now)}
		n.net.Send(id, reply.Append([]byte{FrameHeartbeat}))
	}
	return nil
}

// turns tells whether the core turns. A replica whose core is stuck is of no use to anybody: it is silent.
func (w *watch) turns() bool { return w.n.now()-w.n.lastBeat() <= unresponsiveAfter }

// note logs what changed, and tells the subscribers. Called with the lock held.
func (w *watch) note(changes []members.Transition) {
	for _, c := range changes {
		p := &w.peers[c.Member]
		p.transitions.Add(1)
		p.silent.Store(c.To != members.Active || c.Link != members.LinkGood)
		name := w.n.opts.Names[c.Member]
		line := fmt.Sprintf("member %s: %v → %v%s", name, c.From, c.To, w.why(&c))
		if c.To == members.Active {
			log.Info(line)
		} else {
			log.Warn(line)
		}
	}
	if set := w.table.Active(); set != w.active {
		w.active = set
		for c := range w.subscribers {
			c.Send(membersFrame(set))
		}
	}
}

// why explains a transition.
func (w *watch) why(c *members.Transition) string {
	silence := "never heard"
	if c.Silence != members.Never {
		silence = fmt.Sprintf("silent for %.1fs", c.Silence.Seconds())
	}
	switch {
	case c.Member == int(w.n.opts.Core.Self):
		return " (this replica, by what the others say of it)"
	case c.Link == members.LinkBroken && c.To == members.Active:
		return fmt.Sprintf(" (%s, but %d others hear it: the link to it is broken)", silence, bft.WeakQuorum(w.n.opts.Core.N()))
	case c.To == members.Active:
		return ""
	case c.To == members.Awaiting:
		return fmt.Sprintf(" (%s; the others are asked)", silence)
	case c.Confirmed > 0:
		return fmt.Sprintf(" (%s; %d others do not hear it either)", silence, c.Confirmed)
	}
	return fmt.Sprintf(" (%s)", silence)
}

// subscribe tells a client who is active, now and whenever that changes.
func (w *watch) subscribe(c *transport.ClientConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscribers[c] = struct{}{}
	c.Send(membersFrame(w.active))
}

func (w *watch) unsubscribe(c *transport.ClientConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.subscribers, c)
}

// String is the whole table on one line.
func (w *watch) String() string {
	var b strings.Builder
	for i, m := range w.n.MemberTable() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", m.Name, m.State)
		if m.Note != "" {
			fmt.Fprintf(&b, " (%s)", m.Note)
		}
	}
	return b.String()
}

// MemberStatus is a row of a replica's table of all members, itself included.
type MemberStatus struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	// State is one of those of a replica, such as StateActive.
	State string `json:"state"`
	// SilentMillis is how long ago this replica heard it, in milliseconds; -1: never. Of itself: how long ago f+1 others did.
	SilentMillis int64 `json:"silent_millis"`
	// HeardBy are the others that say that they hear it.
	HeardBy []int `json:"heard_by"`
	// LinkBroken: this replica does not hear it, f+1 others do.
	LinkBroken bool `json:"link_broken"`
	// Note says the same for people, if there is anything to say.
	Note string `json:"note,omitempty"`

	state members.State
}

// MemberTable is the replica's table as it stands.
func (n *Node) MemberTable() []MemberStatus {
	w := n.watch
	w.mu.Lock()
	now := n.now()
	w.listen(now)
	rows := w.table.Members(time.Duration(now))
	w.mu.Unlock()
	out := make([]MemberStatus, len(rows))
	for i, m := range rows {
		s := MemberStatus{ID: i, Name: n.opts.Names[i], State: m.State.String(), SilentMillis: -1, HeardBy: append([]int{}, m.HeardBy...),
			LinkBroken: m.Link == members.LinkBroken, state: m.State}
		if m.Silence != members.Never {
			s.SilentMillis = m.Silence.Milliseconds()
		}
		switch {
		case s.LinkBroken:
			s.Note = "the link is broken, heard by " + n.names(m.HeardBy)
		case m.State != members.Active && m.Silence == members.Never:
			s.Note = "never heard"
		case m.State != members.Active:
			s.Note = fmt.Sprintf("silent for %.1fs", m.Silence.Seconds())
		}
		out[i] = s
	}
	return out
}

func (n *Node) names(ids []int) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = n.opts.Names[id]
	}
	return strings.Join(names, " and ")
}
