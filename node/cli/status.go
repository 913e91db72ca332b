package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// The states of a replica in a [Status].
const (
	StateActive       = "active"       // answers and takes part
	StateAwaiting     = "awaiting"     // answers late, or says that it waits: for a start, a new view, a quorum
	StateUnresponsive = "unresponsive" // connected, and no answer for missedTicks
	StateDisconnected = "disconnected" // no connection
)

// The roles of a replica in a [Status].
const (
	RolePrimary = "primary"
	RoleBackup  = "backup"
	RoleUnknown = "unknown" // it does not answer, and fewer than f+1 others tell of the view that they are in
)

// Status is what one observer sees of a cluster; `status --json` prints it.
type Status struct {
	ClusterID string `json:"cluster_id"`
	N         int    `json:"n"`
	F         int    `json:"f"`
	Quorum    int    `json:"quorum"`
	// Observer is who looked: "client" for the command itself.
	Observer string          `json:"observer"`
	Replicas []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is what the observer knows of one replica. PID, View, Executed and
// Stable are 0 while they are not known.
type ReplicaStatus struct {
	ID       int    `json:"id"`
	PID      int    `json:"pid"`
	Addr     string `json:"addr"`
	State    string `json:"state"`
	Role     string `json:"role"`
	View     uint64 `json:"view"`
	Executed uint64 `json:"executed"`
	Stable   uint64 `json:"stable"`
	// Members is its own table of all, itself included, as it last told it.
	Members []MemberStatus `json:"members,omitempty"`

	name string
	note string // why it is not active
	live bool   // answered at all
}

// answer is what a replica says of itself, see package node.
type answer struct {
	PID      int    `json:"pid"`
	State    string `json:"state"`
	Why      string `json:"why"` // not active
	View     uint64 `json:"view"`
	Executed uint64 `json:"executed"`
	Stable   uint64 `json:"stable"`

	Members []MemberStatus `json:"members"`
}

const (
	// statusTick is how long a replica has to answer, and after missedTicks of it
	// without an answer it counts as unresponsive.
	statusTick  = 200 * time.Millisecond
	missedTicks = 2
	// settlePause is the time between questions while replicas are still connecting,
	// watchPause that of status --watch.
	settlePause = 10 * time.Millisecond
	watchPause  = 500 * time.Millisecond
)

// watcher asks all replicas of a cluster how they are, again and again.
type watcher struct {
	manifest *config.Manifest
	client   *client.Client
	began    time.Time
	seen     []sighting
}

// sighting is what the watcher knows of one replica.
type sighting struct {
	last answer
	at   time.Time // of the last answer; zero before the first
	now  bool      // it answered the last question
	down error     // why it is not connected; nil if it is
}

func newWatcher(m *config.Manifest, key *crypto.PrivateKey) (*watcher, error) {
	c, err := client.Dial(context.Background(), m, key, client.NoWait())
	if err != nil {
		return nil, err
	}
	return &watcher{manifest: m, client: c, began: time.Now(), seen: make([]sighting, len(m.Members))}, nil
}

func (w *watcher) close() { w.client.Close() }

// poll asks every replica once.
func (w *watcher) poll(ctx context.Context) *Status {
	ctx, cancel := context.WithTimeout(ctx, statusTick)
	defer cancel()
	reports := w.client.Status(ctx)
	down := map[int]error{}
	for _, d := range w.client.Reachable().Down {
		down[d.ID] = d.Err
	}
	now := time.Now()
	for i := range w.seen {
		seen := &w.seen[i]
		seen.down, seen.now = down[i], false
		var a answer
		// What is no answer of a replica of ours leaves it unresponsive.
		if reports[i].Report != nil && json.Unmarshal(reports[i].Report, &a) == nil {
			seen.last, seen.at, seen.now = a, now, true
		}
	}
	return w.status(now)
}

func (w *watcher) status(now time.Time) *Status {
	m := w.manifest
	n := len(m.Members)
	s := &Status{ClusterID: m.ID().String(), N: n, F: bft.MaxFaulty(n), Quorum: bft.Quorum(n), Observer: "client"}
	view, tellers := w.commonView(now)
	for i := range m.Members {
		r := ReplicaStatus{ID: i, Addr: m.Members[i].Addresses[0], name: m.Members[i].Name, Role: RoleBackup}
		seen := &w.seen[i]
		if !seen.at.IsZero() {
			a := &seen.last
			r.PID, r.View, r.Executed, r.Stable, r.Members = a.PID, a.View, a.Executed, a.Stable, a.Members
		}
		r.State, r.note = w.state(seen, now)
		r.live = seen.now || r.State == StateAwaiting && !seen.at.IsZero()
		own := view
		if r.State == StateActive {
			own = r.View
		}
		switch {
		case r.State != StateActive && tellers < bft.WeakQuorum(n):
			r.Role = RoleUnknown
		case bft.Primary(bft.View(own), n) == bft.ReplicaID(i):
			r.Role = RolePrimary
		}
		s.Replicas = append(s.Replicas, r)
	}
	return s
}

// commonView is the view that most replicas are in that answer, or did until just now, and how many those are; of equally many
// the higher one.
func (w *watcher) commonView(now time.Time) (view uint64, tellers int) {
	count := map[uint64]int{}
	best := uint64(0)
	for i := range w.seen {
		if w.seen[i].at.IsZero() || now.Sub(w.seen[i].at) > missedTicks*statusTick {
			continue
		}
		v := w.seen[i].last.View
		count[v]++
		if count[v] > count[best] || count[v] == count[best] && v > best {
			best = v
		}
	}
	return best, count[best]
}

// state judges one replica, and says why it is not active.
func (w *watcher) state(seen *sighting, now time.Time) (state, note string) {
	since := seen.at
	if since.IsZero() {
		since = w.began
	}
	late := now.Sub(since) > missedTicks*statusTick
	a := &seen.last
	switch {
	case seen.now && (a.State == StateActive || a.State == StateAwaiting || a.State == StateUnresponsive):
		return a.State, a.Why
	case seen.down != nil && !isPending(seen.down) && !isTimeout(seen.down):
		return StateDisconnected, client.DownReplica{Err: seen.down}.Reason()
	case late:
		// If it is not connected, the system accepts connections, but the process does not.
		return StateUnresponsive, "does not answer"
	case seen.down != nil:
		return StateDisconnected, "connecting"
	}
	return StateAwaiting, "answers late"
}

// isPending: the first attempt to connect has not ended yet.
func isPending(err error) bool { return errors.Is(err, transport.ErrNotConnected) }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// reachable counts the replicas that answer.
func (s *Status) reachable() int {
	n := 0
	for _, r := range s.Replicas {
		if r.live {
			n++
		}
	}
	return n
}

// active counts the active replicas, and those in the view that most of them are in.
func (s *Status) active() (active, agreeing int, view uint64) {
	views := map[uint64]int{}
	for _, r := range s.Replicas {
		if r.State == StateActive {
			active++
			views[r.View]++
			if views[r.View] > agreeing {
				agreeing, view = views[r.View], r.View
			}
		}
	}
	return active, agreeing, view
}

// missing says what keeps the cluster from working; "" if nothing does.
func (s *Status) missing() string {
	if n := s.reachable(); n < s.Quorum {
		return fmt.Sprintf("%d of %d reachable, %d needed", n, s.N, s.Quorum)
	}
	if active, agreeing, _ := s.active(); agreeing < s.Quorum {
		return fmt.Sprintf("%d of %d reachable, %d active, %d in one view, %d needed", s.reachable(), s.N, active, agreeing, s.Quorum)
	}
	return ""
}

// settled asks until every replica has answered or is beyond hope of doing so soon.
func (w *watcher) settled(ctx context.Context) *Status {
	var st *Status
	_ = w.until(ctx, settlePause, func(now *Status) bool {
		st = now
		for i := range w.seen {
			seen := &w.seen[i]
			if !seen.now && (seen.down == nil || isPending(seen.down)) && now.Replicas[i].State != StateUnresponsive {
				return false
			}
		}
		return true
	})
	return st
}

// until asks again and again, with the given pause between, until done returns true or
// ctx ends.
func (w *watcher) until(ctx context.Context, pause time.Duration, done func(*Status) bool) error {
	for {
		if done(w.poll(ctx)) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Status) table(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tPID\tADDRESS\tSTATE\tROLE\tVIEW\tEXECUTED\tSTABLE")
	for _, r := range s.Replicas {
		known := func(v uint64) string {
			if r.PID == 0 {
				return "-"
			}
			return fmt.Sprint(v)
		}
		role := r.Role
		if role == RoleUnknown {
			role = "-"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.name, known(uint64(r.PID)), r.Addr, r.State, role,
			known(r.View), known(r.Executed), known(r.Stable))
	}
	t.Flush()
}

// notes lists why replicas are not active.
func (s *Status) notes() string {
	var notes []client.DownReplica
	for _, r := range s.Replicas {
		if r.note != "" {
			notes = append(notes, client.DownReplica{Name: r.name, Err: errors.New(r.note)})
		}
	}
	return client.Reasons(notes, len(notes))
}

func (p *Program) statusCommand() *cobra.Command {
	s := &Session{program: p}
	var asJSON, watch, members bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what each replica says of itself",
		Long: `Asks every replica how it is, and prints a table, or JSON with --json. PID, view, executed
and stable are 0 in JSON while they are unknown, and the role "unknown". Without a quorum it prints the same, says
what is missing, and ends with exit code 6.

States: active; awaiting (answers late, or is starting or changing views); unresponsive
(does not answer); disconnected. With --watch it prints again at each change, until Ctrl-C.

With --members it prints instead what each replica holds of each in its member table, of itself by what the others say of it.
A member whose link is broken is heard by f+1 others.`,
		Example: p.example("status", "status --members", "status --json", "status --watch"),
		Args:    wrong.NoArgs,
		RunE: s.Run(func(ctx context.Context, _ []string) error {
			if watch {
				return s.watchStatus(asJSON, members)
			}
			w, err := s.watcher()
			if err != nil {
				return err
			}
			defer w.close()
			return s.printStatus(w.settled(ctx), asJSON, members)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&members, "members", false, "print the member tables of all replicas")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, printing at each change")
	s.addFlags(cmd)
	return cmd
}

// printStatus prints s, and returns what is missing as an error.
func (s *Session) printStatus(st *Status, asJSON, members bool) error {
	s.fillPIDs(st)
	switch {
	case asJSON:
		enc := json.NewEncoder(s.program.stdout)
		if err := enc.Encode(st); err != nil {
			return err
		}
	case members:
		st.members(s.program.stdout)
	default:
		st.table(s.program.stdout)
	}
	if m := st.missing(); m != "" {
		return Fail(CodeNoQuorum, "no quorum: %s (%s); %s", m, st.notes(), s.howToStart())
	}
	if notes := st.notes(); notes != "" && !asJSON {
		fmt.Fprintln(s.program.stderr, notes)
	}
	return nil
}

// watchStatus prints the status whenever it has changed, until it is interrupted.
func (s *Session) watchStatus(asJSON, members bool) error {
	w, err := s.watcher()
	if err != nil {
		return err
	}
	defer w.close()
	ctx := s.background
	w.settled(ctx)
	last := ""
	_ = w.until(ctx, watchPause, func(st *Status) bool {
		s.fillPIDs(st)
		text, err := st.changed(members)
		if err != nil || string(text) == last {
			return false
		}
		if last != "" && !asJSON {
			fmt.Fprintln(s.program.stdout)
		}
		last = string(text)
		if err := s.printStatus(st, asJSON, members); err != nil {
			fmt.Fprintln(s.program.stderr, singleLine(err.Error()))
		}
		return false
	})
	return nil
}
