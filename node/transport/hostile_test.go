package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/baluarte-bft/baluarte/crypto"
)

// openStream connects to server 0 with any key and says hello, for tests that
// then misbehave.
func openStream(t *testing.T, tn *testNet, key *crypto.PrivateKey, prefix string, version uint16, cluster crypto.Digest) (network.MuxedStream, network.MuxedConn, error) {
	t.Helper()
	ep, err := newEndpoint(key, cluster, mustComplete(t, Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseAddress(tn.members[0].Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	id, err := peerID(tn.members[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ep.dial(context.Background(), []address{a}, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	st, err := conn.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st, conn, sayHello(st, prefix, version, cluster, patience)
}

// expectEnd reads until the other end closes the stream.
func expectEnd(t *testing.T, st network.MuxedStream) {
	t.Helper()
	if err := st.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return // closed already
	}
	var timeout interface{ Timeout() bool }
	if _, err := io.Copy(io.Discard, st); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the stream stays open")
	}
}

func TestInvalidFrames(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) { cfg.Limits.MaxClientFrameBytes = 1000 })
	for name, raw := range map[string][]byte{
		"oversize":  {0, 0, 3, 233, 1, 2, 3},
		"huge":      {0xff, 0xff, 0xff, 0xff},
		"empty":     {0, 0, 0, 0},
		"truncated": {0, 0, 0, 9, 'h', 'a', 'l', 'f'},
		"header":    {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			st, _, err := openStream(t, tn, testKey(name), clientProtocol, protocolVersion, testCluster)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Write(append([]byte{0, 0, 0, 1, 'x'}, raw...)); err != nil {
				t.Fatal(err)
			}
			if name == "truncated" || name == "header" {
				st.CloseWrite()
			}
			expectEnd(t, st)
			key := testKey(name).Public()
			waitFor(t, "place given back", func() bool { return tn.servers[0].Stats().Clients == 0 })
			if n := tn.rec[0].fromClient(key); n != 1 {
				t.Errorf("%d frames, want the valid one", n)
			}
		})
	}
}

// The client learns what was wrong with its frame.
func TestInvalidFrameIsExplained(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) { cfg.Limits.MaxClientFrameBytes = 1000 })
	errs := make(chan error, 16)
	c := tn.client("big", func(cfg *ClientConfig) {
		cfg.State = func(_ int, up bool, err error) {
			if !up {
				errs <- err
			}
		}
	})
	waitFor(t, "up", allUp(c))
	c.Send(0, make([]byte, 1001))
	select {
	case err := <-errs:
		if want := "closed by the replica: invalid frame: length 1001 exceeds 1000"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	case <-time.After(patience):
		t.Fatal("no state")
	}
}

// A claimed length alone takes no memory.
func TestClaimedLength(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) {
		cfg.Limits.MaxClientFrameBytes = 512 << 20
		cfg.Limits.ClientQueueBytes = 513 << 20
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 8 {
		st, _, err := openStream(t, tn, testKey(string(rune('a'+i))), clientProtocol, protocolVersion, testCluster)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write(binary.BigEndian.AppendUint32(nil, 512<<20)); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "all connected", func() bool { return tn.servers[0].Stats().Clients == 8 })
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 64<<20 {
		t.Errorf("%d MiB allocated for claims", grown>>20)
	}
}

// Garbage and silence on the raw port leave the traffic of others alone, and
// all of it is gone after the timeouts.
func TestGarbageOnTheRawPort(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, func(_ int, cfg *ServerConfig) {
		cfg.Limits.HandshakeTimeout, cfg.Limits.HelloTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	waitFor(t, "connected", tn.connected)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			tn.servers[1].Send(0, []byte("tick"))
			time.Sleep(time.Millisecond)
		}
	}()
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	hello := []byte("\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n")
	for _, raw := range [][]byte{noise, nil, hello[:7], hello, append(bytes.Clone(hello), noise...),
		bytes.Repeat([]byte("\x13/multistream/1.0.0\n"), 1000), []byte("GET / HTTP/1.1\r\n\r\n"), {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		c := tn.raw(0)
		c.Write(raw) // may fail: the server hangs up
	}
	// A TLS handshake without a hello.
	quiet, _, _ := openStream(t, tn, testKey("quiet"), "/nonsense/", protocolVersion, testCluster)
	before := len(tn.rec[0].got(1))
	waitFor(t, "garbage gone", func() bool { return tn.servers[0].Stats().Handshakes == 0 })
	expectEnd(t, quiet)
	waitFor(t, "traffic goes on", func() bool { return len(tn.rec[0].got(1)) > before })
	close(stop)
	<-done
	if c := tn.servers[1].Stats().Peers[0].Connections; c != 1 {
		t.Errorf("the peers connected %d times", c)
	}
}

// A replica that says more than its answer on the stream that it should only read from
// breaks the protocol; so does a client that dials as many streams as it likes.
func TestSecondStream(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, nil)
	_, conn, err := openStream(t, tn, testKey("many"), clientProtocol, protocolVersion, testCluster)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		st, err := conn.OpenStream(context.Background())
		if err != nil {
			return // refused, as it should be
		}
		if sayHello(st, clientProtocol, protocolVersion, testCluster, patience) == nil {
			t.Error("a second stream was accepted")
		}
	}
	if n := tn.servers[0].Stats().Clients; n != 1 {
		t.Errorf("%d clients", n)
	}
}

func TestTooManyFromOneAddress(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, func(_ int, cfg *ServerConfig) { cfg.Limits.MaxConnsPerIP = 3 })
	waitFor(t, "connected", tn.connected) // members do not count
	var clients []*Client
	for _, name := range []string{"a", "b", "c"} {
		clients = append(clients, tn.client(name, nil))
	}
	for _, c := range clients {
		waitFor(t, "up", allUp(c))
	}
	fourth := tn.client("d", nil)
	waitFor(t, "refused", func() bool { return tn.servers[0].Stats().Refused > 2 })
	if fourth.Connected()[0] {
		t.Error("a fourth connection was accepted")
	}
	clients[0].Close()
	waitFor(t, "place taken", allUp(fourth))
}

func TestRateOfConnections(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) { cfg.Limits.AcceptRate, cfg.Limits.AcceptBurst = 1, 5 })
	for range 50 {
		if c, err := net.Dial("tcp", tn.members[0].Addrs[0]); err == nil { // or is reset already
			t.Cleanup(func() { c.Close() })
		}
	}
	waitFor(t, "refusals", func() bool { return tn.servers[0].Stats().Refused >= 40 })
	if n := tn.servers[0].Stats().Handshakes; n > 10 {
		t.Errorf("%d handshakes", n)
	}
}

// Handshakes that hang give way to newer connections, though not at once.
func TestSlowlorisGivesWay(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) {
		cfg.Limits.MaxHandshakes = 4
		cfg.Limits.HandshakeTimeout = time.Hour
	})
	for range 4 {
		tn.raw(0)
	}
	waitFor(t, "all places taken", func() bool { return tn.servers[0].Stats().Handshakes == 4 })
	waitFor(t, "a client gets in", allUp(tn.client("honest", nil)))
}

// One peer's handler that blocks does not hold up others; what cannot be sent
// is dropped, and the stream is given up once the write deadline has passed.
func TestStalledReader(t *testing.T) {
	checkLeaks(t)
	release := make(chan struct{})
	tn := newNet(t, 3, func(i int, cfg *ServerConfig) {
		cfg.Limits.WriteTimeout = 500 * time.Millisecond
		cfg.Limits.PeerQueueBytes = 5 << 20
		if i == 2 {
			cfg.Handler.(*recorder).onPeer = func(peer int, _ []byte) {
				if peer == 0 {
					<-release
				}
			}
		}
	})
	waitFor(t, "connected", tn.connected)
	frame := make([]byte, 1<<20)
	waitFor(t, "the queue is full", func() bool { return !tn.servers[0].Send(2, frame) })
	tn.servers[0].Send(1, []byte("still"))
	tn.servers[1].Send(0, []byte("works"))
	waitFor(t, "others go on", func() bool { return len(tn.rec[1].got(0)) == 1 && len(tn.rec[0].got(1)) == 1 })
	waitFor(t, "the stream is given up", func() bool {
		tn.rec[0].mu.Lock()
		defer tn.rec[0].mu.Unlock()
		return tn.rec[0].ups[2] > 1 || !tn.rec[0].peerUp[2]
	})
	if tn.servers[0].Stats().Peers[2].Dropped == 0 {
		t.Error("nothing was counted as dropped")
	}
	close(release)
	waitFor(t, "reconnected", tn.connected)
}
