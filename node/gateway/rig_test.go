package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/builtin"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

// patience bounds every wait; only tests that fail reach it.
const patience = 20 * time.Second

func testKey(name string) *crypto.PrivateKey {
	return crypto.NewKeyFromSeed(sha256.Sum256([]byte("gateway test " + name)))
}

// world is the executed state of a cluster without replicas: whoever calls it is answered at once.
type world struct {
	mu       sync.Mutex
	machine  *exec.Machine
	behind   time.Duration // as much is its clock
	manifest *config.Manifest
}

func newWorld(t testing.TB) *world {
	t.Helper()
	names := []string{"calc", "counter", "echo", "files", "kv"}
	var members []config.Member
	for i := range 4 {
		members = append(members, config.Member{Name: fmt.Sprintf("r%d", i), Key: config.Key{PublicKey: testKey(fmt.Sprint(i)).Public()},
			Addresses: []string{"127.0.0.1:1"}})
	}
	w := &world{manifest: config.NewManifest("test", names, members)}
	cfg := exec.Config{Cluster: w.manifest.ID(), Limits: w.manifest.ExecLimits()}
	for _, name := range names {
		factory, _ := builtin.Lookup(name)
		machine, err := factory(memstore.New())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Services = append(cfg.Services, exec.Service{Name: name, Machine: machine})
	}
	var err error
	if w.machine, err = exec.New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// fakeCluster is a client of a world.
type fakeCluster struct {
	world *world
	key   crypto.PublicKey

	mu   sync.Mutex
	down int // replicas that cannot be reached
	// before is called with each operation and question; its error is the outcome.
	before func(ctx context.Context, service string, op []byte) error
	last   Operation         // that was to be executed once
	once   map[string][]byte // what such operations had for results
	// receipt is that of every operation; nil: there is none in time.
	receipt *receipt.Receipt
}

func (f *fakeCluster) hook(ctx context.Context, service string, op []byte) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, service, op)
}

func (f *fakeCluster) set(before func(ctx context.Context, service string, op []byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

func (f *fakeCluster) Invoke(ctx context.Context, o Operation) (out Outcome, err error) {
	if err := f.hook(ctx, o.Service, o.Op); err != nil {
		return Outcome{}, err
	}
	frame := exec.EncodeOp(o.Service, false, o.Op)
	if o.Once != "" {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last = o
		name := o.Once + "/" + string(frame)
		if v, ok := f.once[name]; ok {
			return Outcome{Value: v}, nil
		}
		defer func() { f.once[name] = out.Value }()
	}
	out.Value, err = f.world.execute(f.key, frame)
	if o.Receipt && err == nil {
		if out.Receipt = f.receipt; f.receipt == nil {
			err = client.ErrNoReceipt
		}
	}
	return out, err
}

func (f *fakeCluster) Query(ctx context.Context, service string, q []byte, mode client.Consistency) ([]byte, error) {
	if err := f.hook(ctx, service, q); err != nil {
		return nil, err
	}
	if mode == client.Ordered {
		return f.world.execute(f.key, exec.EncodeOp(service, true, q))
	}
	return value(f.world.machine.Query(ctx, [][]byte{exec.EncodeOp(service, true, q)})[0])
}

func (f *fakeCluster) Reachable() client.Reach {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := client.Reach{N: 4, Needed: 3}
	for i := range f.down {
		r.Down = append(r.Down, client.DownReplica{ID: i, Name: fmt.Sprintf("r%d", i), Err: io.EOF})
	}
	return r
}

// execute executes a framed operation in a session that it opens and closes.
func (w *world) execute(key crypto.PublicKey, frame []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq := w.machine.Executed() + 1
	now := max(bft.Time(time.Now().Add(-w.behind).UnixNano()), w.machine.Time()+1)
	b := &bft.Bundle{Client: key, First: 1, Ops: [][]byte{frame}, NotAfter: now, Close: true}
	b.Nonce[0], b.Nonce[1], b.Nonce[2], b.Nonce[3] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
	out := w.machine.Execute(&bft.Batch{Seq: seq, Bundles: []*bft.Bundle{b}, Proposal: bft.Proposal{Time: now}})
	return value(out.Replies[0].Results[0])
}

func value(result []byte) ([]byte, error) {
	v, err := exec.Result(result)
	switch {
	case err == nil:
		return bytes.Clone(v), nil
	case exec.Status(result[0]) == exec.StatusFailed:
		return nil, &bft.CallError{Kind: client.ErrReadFailed, Text: string(result[1:])}
	}
	return nil, &bft.CallError{Kind: client.ErrRejected, Text: err.Error()}
}

// rig is a gateway that listens, in front of a world.
type rig struct {
	t       testing.TB
	g       *Gateway
	cluster *fakeCluster // of who shows no token
	url     string
	addr    string
	client  *http.Client
	stop    func() // ends the gateway and waits for it
}

// newRig starts a gateway; change may be nil.
func newRig(t testing.TB, change func(cfg *config.Gateway, o *Options)) *rig {
	t.Helper()
	w := newWorld(t)
	cfg := config.DefaultGateway()
	r := &rig{t: t, cluster: &fakeCluster{world: w, key: testKey("client").Public(), once: map[string][]byte{}}}
	o := Options{Config: cfg, Manifest: w.manifest, Accounts: []Account{{Name: "anonymous", Key: r.cluster.key, Cluster: r.cluster}}}
	if change != nil {
		change(cfg, &o)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.g, err = New(o); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	r.url = "http://" + r.addr
	r.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 2000}, Timeout: patience}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.g.Serve(ctx, l) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the gateway ended: %v", err)
		}
		r.client.CloseIdleConnections()
	})
	t.Cleanup(r.stop)
	return r
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) object(t testing.TB) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(a.body, &o); err != nil {
		t.Fatalf("%d with %q, which is no object: %v", a.status, a.body, err)
	}
	return o
}

// failure returns code and effect of an error.
func (a *answer) failure(t testing.TB) (code, effect string) {
	t.Helper()
	e, _ := a.object(t)["error"].(map[string]any)
	if e == nil {
		t.Fatalf("%d with %s, which is no error", a.status, a.body)
	}
	return e["code"].(string), e["effect"].(string)
}

// do sends a request; one that begins with { goes as JSON. What comes back must be as openapi.json has it.
func (r *rig) do(method, path, body string, headers ...string) *answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	checkDescribed(r.t, method, req.URL.EscapedPath(), a)
	return a
}

// wants sends a request that must be answered so.
func (r *rig) wants(method, path, body string, status int, want string, headers ...string) {
	r.t.Helper()
	a := r.do(method, path, body, headers...)
	got := strings.TrimSpace(string(a.body))
	if a.status != status || got != want {
		r.t.Errorf("%s %s %s\n is %d %s\nnot %d %s", method, path, body, a.status, got, status, want)
	}
}

// fails sends a request that must fail so, with the effect that belongs to the code.
func (r *rig) fails(method, path, body string, status int, code string, headers ...string) {
	r.t.Helper()
	a := r.do(method, path, body, headers...)
	effect := None
	if strings.HasPrefix(code, "outcome_unknown") {
		effect = Unknown
	}
	if got, is := a.failure(r.t); a.status != status || got != code || is != string(effect) {
		r.t.Errorf("%s %s %.60s is %d %.300s, want %d %s, effect %s", method, path, body, a.status, a.body, status, code, effect)
	}
}

// idle waits until nothing is served and nothing held.
func (r *rig) idle() {
	r.t.Helper()
	for _, s := range []*shares{r.g.serving, r.g.watches, r.g.memory} {
		r.waitFor(s.what+" that are given back", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.all == 0 && len(s.used) == 0
		})
	}
}

// waitFor waits for a state.
func (r *rig) waitFor(what string, reached func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("no %s", what)
		}
	}
}
