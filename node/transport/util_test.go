package transport

import (
	"crypto/sha256"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
)

// patience bounds every wait; it is long because machines may be slow, and
// reached only by tests that fail.
const patience = 20 * time.Second

func testKey(name string) *crypto.PrivateKey {
	return crypto.NewKeyFromSeed(sha256.Sum256([]byte("transport test " + name)))
}

var testCluster = crypto.Digest(sha256.Sum256([]byte("transport test cluster")))

// waitFor waits until cond holds.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// recorder is a Handler that counts, and calls functions that a test sets.
type recorder struct {
	mu       sync.Mutex
	peerGot  map[int][]string
	peerUp   map[int]bool
	ups      map[int]int
	clients  map[crypto.PublicKey][]string
	gone     int
	onPeer   func(peer int, frame []byte)
	onClient func(c *ClientConn, frame []byte)
}

func newRecorder() *recorder {
	return &recorder{peerGot: map[int][]string{}, peerUp: map[int]bool{}, ups: map[int]int{},
		clients: map[crypto.PublicKey][]string{}}
}

func (r *recorder) FromPeer(peer int, frame []byte) {
	if r.onPeer != nil {
		r.onPeer(peer, frame)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peerGot[peer] = append(r.peerGot[peer], string(frame))
}

func (r *recorder) FromClient(c *ClientConn, frame []byte) {
	if r.onClient != nil {
		r.onClient(c, frame)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients[c.Key()] = append(r.clients[c.Key()], string(frame))
}

func (r *recorder) PeerState(peer int, up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peerUp[peer] = up
	if up {
		r.ups[peer]++
	}
}

func (r *recorder) ClientGone(*ClientConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone++
}

func (r *recorder) got(peer int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.peerGot[peer]...)
}

func (r *recorder) fromClient(key crypto.PublicKey) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients[key])
}

func (r *recorder) up(peer int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peerUp[peer]
}

// testNet is a cluster of servers on loopback.
type testNet struct {
	t       testing.TB
	members []Member
	servers []*Server
	rec     []*recorder
	cfg     []ServerConfig
}

// newNet starts n connected servers on free ports. tweak may change each
// configuration first.
func newNet(t testing.TB, n int, tweak func(i int, cfg *ServerConfig)) *testNet {
	t.Helper()
	tn := &testNet{t: t}
	for i := range n {
		tn.members = append(tn.members, Member{Key: testKey(fmt.Sprint("replica ", i)).Public(), Addrs: []string{"127.0.0.1:0"}})
	}
	for i := range n {
		rec := newRecorder()
		cfg := ServerConfig{Key: testKey(fmt.Sprint("replica ", i)), Self: i, Cluster: testCluster,
			Members: tn.members, Listen: []string{"127.0.0.1:0"}, Handler: rec}
		if tweak != nil {
			tweak(i, &cfg)
		}
		s, err := newServer(cfg, protocolVersion)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.listen(); err != nil {
			t.Fatal(err)
		}
		tn.servers, tn.rec, tn.cfg = append(tn.servers, s), append(tn.rec, rec), append(tn.cfg, cfg)
	}
	for i, s := range tn.servers {
		tn.members[i].Addrs = s.Addrs()
	}
	for i, s := range tn.servers {
		tn.cfg[i].Listen = tn.members[i].Addrs
		for j, l := range s.links {
			if l != nil {
				a, err := parseAddress(tn.members[j].Addrs[0])
				if err != nil {
					t.Fatal(err)
				}
				l.addrs = []address{a}
			}
		}
		s.connect()
	}
	t.Cleanup(tn.close)
	return tn
}

func (tn *testNet) close() {
	for _, s := range tn.servers {
		if err := s.Close(); err != nil {
			tn.t.Error(err)
		}
	}
}

// restart starts server i anew on its old address.
func (tn *testNet) restart(i int) {
	tn.t.Helper()
	tn.rec[i] = newRecorder()
	tn.cfg[i].Handler = tn.rec[i]
	s, err := Listen(tn.cfg[i])
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.servers[i] = s
}

func (tn *testNet) connected() bool {
	for i, s := range tn.servers {
		for j, p := range s.Stats().Peers {
			if i != j && !(p.Connected && p.Inbound) {
				return false
			}
		}
	}
	return true
}

func (tn *testNet) client(name string, tweak func(*ClientConfig)) *Client {
	tn.t.Helper()
	cfg := ClientConfig{Key: testKey(name), Cluster: testCluster, Members: tn.members, Receive: func(int, []byte) {}}
	if tweak != nil {
		tweak(&cfg)
	}
	c, err := Dial(cfg)
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.t.Cleanup(c.Close)
	return c
}

func allUp(c *Client) func() bool {
	return func() bool {
		for _, up := range c.Connected() {
			if !up {
				return false
			}
		}
		return true
	}
}

// raw opens a bare TCP connection to server i.
func (tn *testNet) raw(i int) net.Conn {
	tn.t.Helper()
	c, err := net.Dial("tcp", tn.members[i].Addrs[0])
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.t.Cleanup(func() { c.Close() })
	return c
}

// checkLeaks fails the test if goroutines of this package or of its connections remain
// after everything that the test started has been closed.
func checkLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { // registered first, so runs last
		t.Helper()
		var stacks string
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			buf := make([]byte, 1<<22)
			stacks = string(buf[:runtime.Stack(buf, true)])
			leaked := 0
			for _, g := range strings.Split(stacks, "\n\n") {
				if !strings.Contains(g, "checkLeaks") && (strings.Contains(g, "baluarte/node/transport.") || strings.Contains(g, "go-yamux")) &&
					!strings.Contains(g, "testing.tRunner") {
					leaked++
				}
			}
			if leaked == 0 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("goroutines remain:\n%s", stacks)
	})
}
