package node

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/members"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// quickMembers makes the tables of a rig fast.
func quickMembers(o *Options) {
	o.Members = DefaultMembers()
	o.Members.Interval = 100 * time.Millisecond
}

// state is what one replica holds of another.
func (r *rig) state(observer, id int) string { return r.nodes[observer].MemberTable()[id].State }

// untilHeld waits until the observers hold a replica for something.
func (r *rig) untilHeld(id int, state string, observers ...int) {
	r.t.Helper()
	r.until("held for "+state, func() bool {
		for _, i := range observers {
			if r.state(i, id) != state {
				return false
			}
		}
		return true
	})
}

// Every replica holds itself for active from the start, and then all; it notices the end of one, and its return; the
// table stands in status and metrics.
func TestMemberTable(t *testing.T) {
	r := newRig(t, 4, nil)
	r.tune = quickMembers
	r.tune = func(o *Options) { // the time in which nobody has to have heard it does not end here
		o.Members = DefaultMembers()
		o.Members.Interval = members.MaxInterval
	}
	r.start(1)
	if s := r.nodes[1].MemberTable(); s[1].State != StateActive || s[0].State != StateDisconnected {
		t.Errorf("alone it holds %+v", s)
	}
	r.stop(1)
	r.tune = quickMembers
	r.startAll()
	for id := range 4 {
		r.untilHeld(id, StateActive, 0, 1, 2, 3)
	}
	r.until("heard by others", func() bool { return len(r.nodes[1].MemberTable()[0].HeardBy) > 0 })
	if s := r.nodes[1].Status().Members; len(s) != 4 || s[1].ID != 1 || s[1].Name != "r1" {
		t.Errorf("%+v", s)
	}
	r.stop(2)
	r.untilHeld(2, StateDisconnected, 0, 1, 3)
	resp, err := http.Get("http://" + r.nodes[0].HTTPAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`baluarte_member_state{peer="0"} 3`, `baluarte_member_state{peer="2"} 0`, `baluarte_member_link_broken{peer="1"} 0`} {
		if !strings.Contains(string(text), line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if table := r.nodes[0].watch.String(); !strings.Contains(table, "r0 active, r1 active, r2 disconnected (silent for ") {
		t.Errorf("the log of the table: %s", table)
	}
	r.start(2)
	for id := range 4 {
		r.untilHeld(id, StateActive, 0, 1, 2, 3)
	}
}

// A heartbeat that no correct member sends is an accusation; a flood of good ones is looked at now and then.
func TestHostileHeartbeats(t *testing.T) {
	r := newRig(t, 4, nil)
	r.hostile = true
	r.startAll()
	r.untilHeld(3, StateActive, 0)
	h, peer := handler{r.nodes[0]}, &r.nodes[0].peers[3]
	for i, frame := range [][]byte{{FrameHeartbeat}, make([]byte, 26)[:25], append([]byte{FrameHeartbeat, 9}, make([]byte, 24)...)} {
		frame[0] = FrameHeartbeat
		peer.quarantine.Store(0)
		before := peer.invalid.Load()
		h.FromPeer(3, frame)
		if peer.invalid.Load() != before+1 {
			t.Errorf("%d: not accused", i)
		}
	}
	peer.quarantine.Store(0)
	lie := members.Heartbeat{Kind: members.Ask, Question: 1, Report: members.Report{members.Never, members.Never, members.Never, 0}}
	before := r.nodes[0].net.Stats().Peers[3].FramesOut
	for range 5000 {
		h.FromPeer(3, lie.Append([]byte{FrameHeartbeat}))
	}
	if n := r.nodes[0].net.Stats().Peers[3]; n.FramesOut+uint64(n.QueueFrames)-before > 2500 {
		t.Errorf("%d frames in answer to 5000 questions", n.FramesOut-before)
	}
	for id := range 4 {
		r.untilHeld(id, StateActive, 0)
	}
}

// A client that asks is told who is active, and told again when that changes.
func TestClientsAreToldWhoIsActive(t *testing.T) {
	r := newRig(t, 4, nil)
	r.tune = quickMembers
	r.startAll()
	got := make(chan []byte, 64)
	up := make(chan struct{}, 16)
	c, err := transport.Dial(transport.ClientConfig{Key: crypto.NewKeyFromSeed([32]byte{202}), Cluster: r.core.Cluster,
		Members: []transport.Member{{Key: r.core.Members[0], Addrs: r.addrs[0]}},
		Receive: func(_ int, f []byte) { got <- f },
		State: func(_ int, ok bool, _ error) {
			if ok {
				up <- struct{}{}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	<-up
	c.Send(0, []byte{FrameMembersRequest})
	told := func(want uint64) {
		t.Helper()
		for timeout := time.After(patience); ; {
			select {
			case f := <-got:
				if len(f) != 9 || f[0] != FrameMembers {
					t.Fatalf("% x", f)
				}
				if binary.BigEndian.Uint64(f[1:]) == want {
					return
				}
			case <-timeout:
				t.Fatalf("not told %b", want)
			}
		}
	}
	told(0b1111)
	r.stop(2)
	told(0b1011)
	r.start(2)
	told(0b1111)
	c.Close()
	r.until("the client is forgotten", func() bool {
		w := r.nodes[0].watch
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.subscribers) == 0
	})
}
