package transport

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
)

func TestPeersExchangeFrames(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 3, nil)
	waitFor(t, "all connected", tn.connected)
	var want []string
	for k := range 1000 {
		frame := strings.Repeat(fmt.Sprintf("frame %d ", k), 1+k%300)
		want = append(want, frame)
		if !tn.servers[0].Send(1, []byte(frame)) {
			t.Fatal("queue full")
		}
	}
	waitFor(t, "frames at 1", func() bool { return len(tn.rec[1].got(0)) == len(want) })
	if got := tn.rec[1].got(0); !slices.Equal(got, want) {
		t.Error("frames differ or are out of order")
	}
	tn.servers[2].Broadcast([]byte("to all"))
	waitFor(t, "broadcast", func() bool { return len(tn.rec[0].got(2)) == 1 && len(tn.rec[1].got(2)) == 1 })
	if tn.servers[0].Send(0, []byte("x")) || tn.servers[0].Send(3, []byte("x")) || tn.servers[0].Send(-1, []byte("x")) {
		t.Error("sent to nobody")
	}
	st := tn.servers[1].Stats().Peers[0]
	if st.FramesIn != 1000 || tn.servers[0].Stats().Peers[1].BytesOut != st.BytesIn {
		t.Errorf("stats: %+v", st)
	}
}

func TestFrameSizes(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, func(_ int, cfg *ServerConfig) { cfg.Limits.MaxFrameBytes = 3 << 20 })
	waitFor(t, "connected", tn.connected)
	var want []string
	for _, n := range []int{1, 2, smallFrame, smallFrame + 1, slabBytes, firstRead - 1, firstRead, firstRead + 1, 130_000, 1 << 20, 3 << 20, 7} {
		frame := bytes.Repeat([]byte{byte(n)}, n)
		want = append(want, string(frame))
		if !tn.servers[1].Send(0, frame) {
			t.Fatal("refused", n)
		}
	}
	waitFor(t, "frames", func() bool { return len(tn.rec[0].got(1)) == len(want) })
	if !slices.Equal(tn.rec[0].got(1), want) {
		t.Error("frames differ")
	}
	for _, n := range []int{0, 3<<20 + 1} {
		if tn.servers[1].Send(0, make([]byte, n)) {
			t.Errorf("a frame of %d bytes was accepted", n)
		}
	}
	if d := tn.servers[1].Stats().Peers[0].Dropped; d != 2 {
		t.Errorf("dropped %d, want 2", d)
	}
}

func TestPeerRestart(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, nil)
	waitFor(t, "connected", tn.connected)
	for round := range 3 {
		if err := tn.servers[1].Close(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "0 notices", func() bool { return !tn.rec[0].up(1) && !tn.servers[0].Stats().Peers[1].Inbound })
		tn.restart(1)
		waitFor(t, "reconnected", tn.connected)
		frame := fmt.Sprint("round ", round)
		tn.servers[0].Send(1, []byte(frame))
		tn.servers[1].Send(0, []byte(frame))
		waitFor(t, "frames", func() bool {
			return slices.Contains(tn.rec[1].got(0), frame) && slices.Contains(tn.rec[0].got(1), frame)
		})
	}
}

// A peer that comes back is redialled at once, however long the back-off had become.
func TestKickCutsBackoff(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, func(i int, cfg *ServerConfig) {
		if i == 0 {
			cfg.Limits.ReconnectMin, cfg.Limits.ReconnectMax = time.Hour, time.Hour
		}
	})
	waitFor(t, "connected", tn.connected)
	tn.servers[1].Close()
	waitFor(t, "down", func() bool { return !tn.rec[0].up(1) })
	tn.restart(1)
	waitFor(t, "reconnected", tn.connected)
}

func TestClients(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 4, nil)
	for i := range tn.rec {
		tn.rec[i].onClient = func(c *ClientConn, frame []byte) {
			n, _ := c.Value().(int)
			c.SetValue(n + 1)
			c.Send([]byte(fmt.Sprintf("%s/%d", frame, n)))
		}
	}
	const clients, frames = 100, 20
	var received atomic.Int64
	var mu sync.Mutex
	last := map[string]int{}
	var all []*Client
	for k := range clients {
		name := fmt.Sprint("client ", k)
		all = append(all, tn.client(name, func(cfg *ClientConfig) {
			cfg.Receive = func(replica int, frame []byte) {
				received.Add(1)
				mu.Lock()
				defer mu.Unlock()
				key := fmt.Sprint(name, replica)
				if want := fmt.Sprintf("%s %d/%d", name, last[key], last[key]); string(frame) != want {
					t.Errorf("got %q, want %q", frame, want)
				}
				last[key]++
			}
		}))
	}
	for _, c := range all {
		waitFor(t, "client connected", allUp(c))
	}
	for k, c := range all {
		for i := range frames {
			for r := range tn.servers {
				if !c.Send(r, []byte(fmt.Sprintf("client %d %d", k, i))) {
					t.Fatal("queue full")
				}
			}
		}
	}
	waitFor(t, "echoes", func() bool { return received.Load() == clients*frames*4 })
	if n := tn.servers[0].Stats().Clients; n != clients {
		t.Errorf("%d clients counted", n)
	}
	for _, c := range all {
		c.Close()
	}
	waitFor(t, "all gone", func() bool {
		tn.rec[3].mu.Lock()
		defer tn.rec[3].mu.Unlock()
		return tn.rec[3].gone == clients && tn.servers[3].Stats().Clients == 0
	})
	d := tn.servers[0].door
	waitFor(t, "no address counted any more", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.perIP) == 0
	})
}

func TestClientReconnects(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, nil)
	c := tn.client("client", nil)
	waitFor(t, "up", allUp(c))
	tn.servers[0].Close()
	waitFor(t, "down", func() bool { return !c.Connected()[0] && c.LastError(0) != nil })
	tn.restart(0)
	waitFor(t, "up again", allUp(c))
	c.Send(0, []byte("hello"))
	waitFor(t, "frame", func() bool { return tn.rec[0].fromClient(testKey("client").Public()) == 1 })
}

// Each refusal reaches the dialling side as a typed error with the reason.
func TestRefusals(t *testing.T) {
	checkLeaks(t)
	banned := testKey("banned").Public()
	tn := newNet(t, 2, func(_ int, cfg *ServerConfig) {
		cfg.Limits.MaxClients = 2
		cfg.AdmitClient = func(key crypto.PublicKey) error {
			if key == banned {
				return errors.New("banned for ever")
			}
			return nil
		}
	})
	waitFor(t, "connected", tn.connected)
	expect := func(c *Client, want error, text string) {
		t.Helper()
		waitFor(t, want.Error(), func() bool { return errors.Is(c.LastError(0), want) })
		if err := c.LastError(0); !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not say %q", err, text)
		}
	}
	expect(tn.client("banned", nil), ErrNotAdmitted, "banned for ever")
	expect(tn.client("lost", func(cfg *ClientConfig) { cfg.Cluster[0]++ }), ErrWrongCluster, testCluster.Short())
	future, err := newClient(ClientConfig{Key: testKey("future"), Cluster: testCluster, Members: tn.members,
		Receive: func(int, []byte) {}}, protocolVersion+1)
	if err != nil {
		t.Fatal(err)
	}
	future.connect()
	t.Cleanup(future.Close)
	expect(future, ErrWrongVersion, "speaks version 1, not 2")
	swapped := slices.Clone(tn.members[:1])
	swapped[0].Addrs = tn.members[1].Addrs
	expect(tn.client("swapped", func(cfg *ClientConfig) { cfg.Members = swapped }), ErrWrongIdentity, "")

	// Two keys fit, with several connections each; a third key does not.
	waitFor(t, "first", allUp(tn.client("one", nil)))
	waitFor(t, "second", allUp(tn.client("two", nil)))
	expect(tn.client("three", nil), ErrBusy, "2 clients")
}

// A stranger, a lost replica and a second process with the same key cannot use
// the replica protocol; a member of a later version is told so.
func TestReplicaProtocolRefusals(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, nil)
	waitFor(t, "connected", tn.connected)
	try := func(name string, version uint16, cluster crypto.Digest, want error) {
		t.Helper()
		_, _, err := openStream(t, tn, testKey(name), replicaProtocol, version, cluster)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	other := testCluster
	other[5]++
	try("stranger", 1, testCluster, ErrNotAdmitted)
	try("replica 0", 1, testCluster, ErrNotAdmitted)
	try("replica 1", 2, testCluster, ErrWrongVersion)
	try("replica 1", 1, other, ErrWrongCluster)
	if !tn.connected() {
		t.Error("a refused connection disturbed the others")
	}
}

// A key with too many connections loses its oldest, which is told why.
func TestConnectionsOfOneKey(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) {
		cfg.Limits.MaxConnsPerKey, cfg.Limits.MaxClients = 2, 2
	})
	var why atomic.Value
	slow := func(cfg *ClientConfig) { cfg.Limits.ReconnectMin, cfg.Limits.ReconnectMax = time.Hour, time.Hour }
	first := tn.client("same", func(cfg *ClientConfig) {
		slow(cfg)
		cfg.State = func(_ int, up bool, err error) {
			if !up && !errors.Is(err, ErrClosed) {
				why.Store(err)
			}
		}
	})
	waitFor(t, "first", allUp(first))
	second, third := tn.client("same", slow), (*Client)(nil)
	waitFor(t, "second", allUp(second))
	third = tn.client("same", slow)
	waitFor(t, "third", allUp(third))
	waitFor(t, "first gives way", func() bool { return why.Load() != nil })
	if err := why.Load().(error); !errors.Is(err, ErrClosedByPeer) || !strings.Contains(err.Error(), "newer connection") {
		t.Error(err)
	}
	if !second.Connected()[0] || !third.Connected()[0] {
		t.Error("a newer connection was closed")
	}
}

func TestConfigErrors(t *testing.T) {
	key := testKey("replica 0")
	good := ServerConfig{Key: key, Cluster: testCluster, Listen: []string{"127.0.0.1:0"}, Handler: newRecorder(),
		Members: []Member{{Key: key.Public(), Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}}}
	s, err := Listen(good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for name, spoil := range map[string]func(*ServerConfig){
		"no key":         func(c *ServerConfig) { c.Key = nil },
		"wrong key":      func(c *ServerConfig) { c.Key = testKey("x") },
		"self":           func(c *ServerConfig) { c.Self = 1 },
		"double member":  func(c *ServerConfig) { c.Members = append(c.Members[:1:1], c.Members[0]) },
		"no address":     func(c *ServerConfig) { c.Members = append(c.Members[:1:1], Member{Key: testKey("y").Public()}) },
		"udp":            func(c *ServerConfig) { c.Listen = []string{"/ip4/127.0.0.1/udp/1"} },
		"no port":        func(c *ServerConfig) { c.Listen = []string{"127.0.0.1"} },
		"negative limit": func(c *ServerConfig) { c.Limits.MaxClients = -1 },
		"small queue":    func(c *ServerConfig) { c.Limits.PeerQueueBytes = 1 << 20 },
		"back-off":       func(c *ServerConfig) { c.Limits.ReconnectMin = time.Hour },
	} {
		cfg := good
		spoil(&cfg)
		if s, err := Listen(cfg); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	if DefaultLimits() != mustComplete(t, Limits{}) {
		t.Error("zero limits are not the defaults")
	}
}

func mustComplete(t *testing.T, l Limits) Limits {
	t.Helper()
	l, err := l.complete()
	if err != nil {
		t.Fatal(err)
	}
	return l
}
