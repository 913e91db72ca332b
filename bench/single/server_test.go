package single

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// testOptions are those of a server that takes a checkpoint every four batches.
func testOptions(t *testing.T) Options {
	t.Helper()
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	like := config.NewManifest("like", []string{"counter", "kv"}, nil)
	like.Protocol.CheckpointInterval, like.Protocol.Window = 4, 8
	return Options{Key: key, Like: like, Services: map[string]exec.Factory{"counter": counter.New, "kv": kv.New},
		Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", Dir: filepath.Join(t.TempDir(), "data"),
		Fatal: func(err error) { t.Error(err) }}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, s *Server) *client.Client {
	t.Helper()
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), Manifest(s.o.Like, s.o.Key.Public(), s.Addr()), key, client.Unreplicated())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t *testing.T, c *client.Client, key, value string) {
	t.Helper()
	result, err := c.Service("kv").Invoke(t.Context(), kv.Put([]byte(key), []byte(value)))
	if err == nil {
		_, err = kv.DecodeDone(result)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, c *client.Client, key, value string, how client.Consistency) {
	t.Helper()
	result, err := c.Service("kv").Query(t.Context(), kv.Get([]byte(key)), how)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kv.DecodeGet(result); err != nil || string(got) != value {
		t.Errorf("%v read of %s: %q (%v), want %q", how, key, got, err, value)
	}
}

// The services answer as those of a cluster do, each operation is executed once, and the metrics tell of it.
func TestServes(t *testing.T) {
	s := start(t, testOptions(t))
	c := dial(t, s)
	put(t, c, "a", "1")
	for _, how := range []client.Consistency{client.Linearizable, client.Ordered, client.Stale} {
		wantValue(t, c, "a", "1", how)
	}
	const adds = 1000
	ended := make(chan error, adds)
	for range adds {
		if err := c.Service("counter").Submit(t.Context(), nil, func(_ []byte, err error) { ended <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range adds {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Service("counter").Query(t.Context(), []byte("get"), client.Linearizable)
	if err != nil || string(got) != fmt.Sprint(adds) {
		t.Errorf("the counter stands at %s (%v), want %d", got, err, adds)
	}
	resp, err := http.Get("http://" + s.HTTPAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	// The put, an ordered read and the additions; reads without ordering are counted apart.
	for _, want := range []string{fmt.Sprintf("\nbaluarte_operations_executed_total %d\n", adds+2), "\nbaluarte_queries_answered_total 3\n", "\nbaluarte_reads_answered_total 3\n", "\nprocess_resident_memory_bytes "} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the metrics do not have %q", strings.TrimSpace(want))
		}
	}
	status := c.Status(t.Context())
	if len(status) != 1 || status[0].Err != nil || !bytes.Contains(status[0].Report, []byte(`"name":"server"`)) {
		t.Errorf("status %+v, want that of the server", status)
	}
}

// What was answered is there after a crash, whether a checkpoint has it or the log.
func TestAnsweredIsDurable(t *testing.T) {
	o := testOptions(t)
	disk := vfs.NewCrashableMem()
	o.FS, o.Dir = disk, "data"
	s := start(t, o)
	c := dial(t, s)
	for i := range 23 { // one batch each: they wait for each other
		put(t, c, fmt.Sprint("key", i), fmt.Sprint("value", i))
	}
	crashed := o
	crashed.FS = disk.CrashClone(vfs.CrashCloneCfg{}) // nothing that was not synced is left
	after := dial(t, start(t, crashed))
	for i := range 23 {
		wantValue(t, after, fmt.Sprint("key", i), fmt.Sprint("value", i), client.Linearizable)
	}
	put(t, after, "after", "it")
	wantValue(t, after, "after", "it", client.Linearizable)
}

// A server that was closed goes on where it was, with the newest snapshot alone.
func TestRestart(t *testing.T) {
	o := testOptions(t)
	for round := range 3 {
		s, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, s)
		for i := range round {
			wantValue(t, c, fmt.Sprint("round", i), "x", client.Linearizable)
		}
		for i := range 5 {
			put(t, c, fmt.Sprint("other", i), "y")
		}
		put(t, c, fmt.Sprint("round", round), "x")
		seqs, listErr := s.store.Snapshots()
		if err := errors.Join(listErr, c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if len(seqs) > 3 {
			t.Errorf("the snapshots are %v, want that old ones were removed", seqs)
		}
	}
}

// The log is bounded: without a durable snapshot no more than the window of batches is executed, and a
// snapshot lets it be cut.
func TestLogIsCut(t *testing.T) {
	o := testOptions(t)
	s := start(t, o)
	c := dial(t, s)
	for i := range 100 {
		put(t, c, "k", fmt.Sprint(i))
	}
	if stable, executed := s.stable.Load(), s.executed.Load(); stable%4 != 0 || executed > stable+8 || executed < 100 {
		t.Errorf("executed %d with a snapshot at %d, want a window of 8", executed, stable)
	}
	wantValue(t, c, "k", "99", client.Linearizable)
}

// rawClient sends frames as they are.
type rawClient struct {
	key  *crypto.PrivateKey
	net  *transport.Client
	got  chan []byte
	down chan error
}

func dialRaw(t *testing.T, s *Server) *rawClient {
	t.Helper()
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rawClient{key: key, got: make(chan []byte, 16), down: make(chan error, 16)}
	up := make(chan struct{}, 16)
	r.net, err = transport.Dial(transport.ClientConfig{Key: key, Cluster: s.manifest.ID(),
		Members: []transport.Member{{Key: s.o.Key.Public(), Addrs: []string{s.Addr()}}},
		Receive: func(_ int, frame []byte) { r.got <- frame },
		State: func(_ int, isUp bool, err error) {
			if isUp {
				up <- struct{}{}
			} else {
				r.down <- err
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.net.Close)
	<-up
	return r
}

// addRequest is a signed bundle that opens a session and adds one.
func (r *rawClient) addRequest(t *testing.T, s *Server) []byte {
	t.Helper()
	core, err := bft.NewClient(bft.ClientConfig{Key: r.key.Public(), Cluster: s.manifest.ID(), N: 1, Seed: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	core.Tick(1, bft.Time(time.Now().UnixNano()))
	if err := core.Invoke(1, exec.EncodeOp("counter", false, nil), bft.CallOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		ready, ok := core.Ready()
		if !ok {
			t.Fatal("the client sends nothing")
		}
		for _, q := range ready.Sign {
			core.Signed(q.ID, r.key.Sign(q.Message))
		}
		if len(ready.Messages) > 0 {
			return bytes.Clone(ready.Messages[0].Frame)
		}
	}
}

// A bundle that is repeated is answered again and not executed again.
func TestRepeatedBundle(t *testing.T) {
	s := start(t, testOptions(t))
	r := dialRaw(t, s)
	frame := r.addRequest(t, s)
	var replies [3][]byte
	for i := range replies {
		if !r.net.Send(0, frame) {
			t.Fatal("the frame was not sent")
		}
		replies[i] = <-r.got
		reply, err := bft.DecodeReply(replies[i])
		if err != nil || len(reply.Results) != 1 || !bytes.Equal(replies[i], replies[0]) {
			t.Errorf("reply %d is %x (%v), want it like the first, %x", i, replies[i], err, replies[0])
		}
	}
	got, err := dial(t, s).Service("counter").Query(t.Context(), []byte("get"), client.Linearizable)
	if err != nil || string(got) != "1" {
		t.Errorf("the counter stands at %s (%v), want 1", got, err)
	}
}

func TestBatchRecord(t *testing.T) {
	now, bundles, err := decodeBatch(encodeBatch(7, nil), 10, 1000)
	if now != 7 || len(bundles) != 0 || err != nil {
		t.Errorf("%d, %v, %v, want an empty batch of time 7", now, bundles, err)
	}
	for name, record := range map[string][]byte{
		"short time":    {1},
		"short length":  append(make([]byte, 8), 1),
		"short payload": append(make([]byte, 8), 0, 0, 1, 0, 5),
		"no bundle":     append(make([]byte, 8), make([]byte, bundleHead+1+crypto.SignatureSize)...),
	} {
		if _, _, err := decodeBatch(record, 10, 1000); !errors.Is(err, errBatch) {
			t.Errorf("%s: %v, want that it does not decode", name, err)
		}
	}
	if _, err := seqOfKey([]byte("strange")); err == nil {
		t.Error("a strange key was taken")
	}
	if seq, err := seqOfKey(batchKey(300)); seq != 300 || err != nil {
		t.Errorf("number %d (%v), want 300", seq, err)
	}
}

func TestFit(t *testing.T) {
	small := [][]byte{{1}, {2}}
	if got := fit(small); &got[0] != &small[0] {
		t.Error("small results were copied")
	}
	large := [][]byte{make([]byte, replyBytes), {1}, {2}}
	got := fit(large)
	if len(got) != 3 || len(got[0]) != replyBytes || got[1][0] != byte(exec.StatusForgotten) || got[2][0] != byte(exec.StatusForgotten) {
		t.Errorf("%d results do not fit as they should", len(got))
	}
}

// What no correct client sends closes its connection, and nobody else's.
func TestBadFrames(t *testing.T) {
	s := start(t, testOptions(t))
	c := dial(t, s)
	put(t, c, "k", "v")
	forged := dialRaw(t, s).addRequest(t, s)
	for name, frame := range map[string]func(*rawClient) []byte{
		"no request": func(*rawClient) []byte { return []byte{byte(bft.TypeRequest), 9, 9} },
		"no query":   func(*rawClient) []byte { return []byte{byte(bft.TypeQuery), 9, 9} },
		"votes":      func(*rawClient) []byte { return []byte{byte(bft.TypeVotes)} },
		"of another": func(*rawClient) []byte { return forged },
		"bad signature": func(r *rawClient) []byte {
			// It is signed for the server of another key.
			return r.addRequest(t, &Server{manifest: Manifest(s.o.Like, r.key.Public(), "127.0.0.1:1")})
		},
	} {
		r := dialRaw(t, s)
		if !r.net.Send(0, frame(r)) {
			t.Fatal("the frame was not sent")
		}
		if err := <-r.down; !errors.Is(err, transport.ErrClosedByPeer) {
			t.Errorf("%s: the connection ended with %v, want that the server closed it", name, err)
		}
	}
	wantValue(t, c, "k", "v", client.Linearizable)
}

// Manifests of one member are for this server's clients alone.
func TestNobodyElseTakesItsManifest(t *testing.T) {
	s := start(t, testOptions(t))
	if err := s.manifest.Validate(); err == nil {
		t.Error("a manifest of one member is valid")
	}
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Dial(t.Context(), s.manifest, key); err == nil {
		t.Error("a client that was not told so took it")
	}
	if _, err := client.Dial(t.Context(), s.o.Like, key, client.Unreplicated()); err == nil {
		t.Error("a client took a manifest without members")
	}
}
