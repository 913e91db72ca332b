package node

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// The states of a replica, as `status --json` has them.
const (
	// StateActive: it takes part, or it was heard lately.
	StateActive = "active"
	// StateAwaiting: it runs, but waits: to hear what it had signed, for a new view, for enough
	// peers; or it may not sign. A peer: connected and not heard yet.
	StateAwaiting = "awaiting"
	// StateUnresponsive: connected, and silent for longer than unresponsiveAfter; oneself: the core
	// has not turned for that long.
	StateUnresponsive = "unresponsive"
	// StateDisconnected: there is no connection.
	StateDisconnected = "disconnected"
)

const (
	unresponsiveAfter = 2 * bft.Second
	// statusAge is how long a status is given out again: asking often costs nothing.
	statusAge = 50 * time.Millisecond
)

// Status is what a replica says of itself and sees of its peers.
type Status struct {
	ClusterID string `json:"cluster_id"`
	ID        int    `json:"id"`
	Name      string `json:"name"`
	PID       int    `json:"pid"`
	Addr      string `json:"addr"`
	HTTP      string `json:"http,omitempty"`
	Version   string `json:"version"`
	State     string `json:"state"`
	// Why says what it waits for or why it does not sign, if it is not active.
	Why       string `json:"why,omitempty"`
	Role      string `json:"role"` // primary or backup
	View      uint64 `json:"view"`
	Primary   int    `json:"primary"`
	Changing  bool   `json:"changing"` // a view change is under way
	Starting  bool   `json:"starting"` // it waits to hear what others hold signed by it
	Executed  uint64 `json:"executed"`
	Committed uint64 `json:"committed"`
	Stable    uint64 `json:"stable"`
	Amnesiac  string `json:"amnesiac,omitempty"`
	Diverged  string `json:"diverged,omitempty"`
	// UptimeSeconds since the start of the process's node.
	UptimeSeconds int64 `json:"uptime_seconds"`
	Pending       int   `json:"pending"`  // bundles that wait to be ordered
	InFlight      int   `json:"inflight"` // numbers proposed and not committed
	Clients       int   `json:"clients"`  // connections
	// SuspectAfterMillis is how long a primary with room to propose may take before this replica asks it again, and then
	// leaves it, in milliseconds (d of rule 14).
	SuspectAfterMillis int64 `json:"suspect_after_millis"`
	// SuspectMeanMillis is how long it lets requests wait in the mean, in milliseconds (rule 14).
	SuspectMeanMillis float64      `json:"suspect_mean_millis"`
	Peers             []PeerStatus `json:"peers"` // the others
	// Members is its table of all, itself included.
	Members []MemberStatus `json:"members"`
}

// PeerStatus is what a replica sees of another.
type PeerStatus struct {
	ID        int    `json:"id"`
	Name      string `json:"name"`
	Addr      string `json:"addr"`
	State     string `json:"state"`
	Connected bool   `json:"connected"` // frames to it travel
	// LastHeardMillis is how long ago a frame came from it, in milliseconds; -1: never.
	LastHeardMillis int64  `json:"last_heard_millis"`
	LastError       string `json:"last_error,omitempty"` // why it is not connected
	Invalid         uint64 `json:"invalid"`              // frames that no correct replica sends
	Dropped         uint64 `json:"dropped"`              // frames from it that were not looked at
}

// statusCache keeps the last answer to FrameStatusRequest.
type statusCache struct {
	mu    sync.Mutex
	at    time.Time
	frame []byte
}

// Status describes the replica as it stands.
func (n *Node) Status() Status {
	info, now := n.info.Load(), n.now()
	core := &n.opts.Core
	s := Status{
		ClusterID: core.Cluster.String(), ID: int(core.Self), Name: n.opts.Names[core.Self], PID: os.Getpid(),
		Addr: n.Addr(), HTTP: n.HTTPAddr(), Version: Version(), Role: "backup",
		View: uint64(info.View), Primary: int(info.Primary), Changing: info.Changing, Starting: info.Starting,
		Executed: n.executed.Load(), Committed: uint64(info.Committed), Stable: uint64(info.Stable),
		Amnesiac: info.Amnesiac, Diverged: info.Diverged, UptimeSeconds: int64(now / bft.Second),
		Pending: info.Pending, InFlight: info.InFlight, SuspectAfterMillis: int64(info.SuspectAfter / bft.Millisecond),
		SuspectMeanMillis: float64(info.SuspectMean) / float64(bft.Millisecond),
	}
	if info.Primary == core.Self {
		s.Role = "primary"
	}
	net := n.net.Stats()
	s.Clients = net.Clients
	reached := 1
	for i := range net.Peers {
		if i == int(core.Self) {
			continue
		}
		p := n.peerStatus(i, now)
		if err := net.Peers[i].LastError; err != nil && !p.Connected {
			p.LastError = err.Error()
		}
		if p.State == StateActive {
			reached++
		}
		s.Peers = append(s.Peers, p)
	}
	s.State, s.Why = n.state(info, now, reached)
	s.Members = n.MemberTable()
	return s
}

// state is the replica's own state, and why it is not active.
func (n *Node) state(info *bft.Info, now bft.Time, reached int) (state, why string) {
	switch q := bft.Quorum(n.opts.Core.N()); {
	case now-bft.Time(n.beat.Load()) > unresponsiveAfter:
		return StateUnresponsive, "the core is stuck"
	case info.Amnesiac != "":
		return StateAwaiting, "it signs nothing: " + info.Amnesiac
	case info.Diverged != "":
		return StateAwaiting, "it repairs its state: " + info.Diverged
	case reached < q:
		return StateAwaiting, fmt.Sprintf("it waits for a quorum: %d of %d replicas are heard, itself included, and %d are needed", reached, n.opts.Core.N(), q)
	case info.Starting:
		return StateAwaiting, "it waits to hear what others hold signed by it"
	case info.Changing:
		return StateAwaiting, "a view change is under way"
	}
	return StateActive, ""
}

func (n *Node) peerStatus(i int, now bft.Time) PeerStatus {
	p := &n.peers[i]
	s := PeerStatus{ID: i, Name: n.opts.Names[i], Connected: p.up.Load(), LastHeardMillis: -1, Invalid: p.invalid.Load(), Dropped: p.dropped.Load()}
	if len(n.opts.Addrs[i]) > 0 {
		s.Addr = n.opts.Addrs[i][0]
	}
	heard := bft.Time(p.heard.Load())
	if heard != 0 {
		s.LastHeardMillis = int64((now - heard) / bft.Millisecond)
	}
	switch {
	case heard != 0 && now-heard <= unresponsiveAfter:
		s.State = StateActive
	case !s.Connected:
		s.State = StateDisconnected
	case heard == 0:
		s.State = StateAwaiting
	default:
		s.State = StateUnresponsive
	}
	return s
}

// statusFrame is the answer to FrameStatusRequest.
func (n *Node) statusFrame() []byte {
	c := &n.status
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.frame == nil || now.Sub(c.at) > statusAge {
		c.at, c.frame = now, append([]byte{FrameStatus}, n.statusJSON()...)
	}
	return c.frame
}

func (n *Node) statusJSON() []byte {
	b, err := json.Marshal(n.Status())
	if err != nil { // numbers and strings only
		panic("node: encoding a status: " + err.Error())
	}
	return b
}

// Version is that of the main module, or its revision when it was built from a working tree.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
