package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/receipt"
	"github.com/baluarte-bft/baluarte/node/trace"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// patience bounds every wait; only tests that fail reach it.
const patience = 20 * time.Second

func testKey(name string) *crypto.PrivateKey {
	return crypto.NewKeyFromSeed(sha256.Sum256([]byte("client test " + name)))
}

// cluster is n replicas without agreement: one execution serves them all, in the order in which
// bundles first reach any of them. What each tells the client is up to its mode.
type cluster struct {
	t        testing.TB
	manifest *config.Manifest
	admit    func(crypto.PublicKey) error
	replicas []*replica

	mu      sync.Mutex
	machine *exec.Machine
	replies map[bft.Digest]exec.Reply
	fresh   map[receipt.Name]*executed // of bundles that were executed as a whole, with index 0
	bundles int
}

// mode is how a replica treats clients.
type mode int

const (
	honest mode = iota
	lying
	silent
	busy
	garbage
	unwilling // to sign receipts
)

type replica struct {
	cl     *cluster
	id     bft.ReplicaID
	addr   string
	server *transport.Server
	heard  atomic.Int64 // frames of clients

	mu      sync.Mutex
	mode    mode
	clients []*transport.ClientConn // that asked who is active
	conns   map[*transport.ClientConn]bool
}

// tell has the replica say that these are active.
func (r *replica) tell(active uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		c.Send(activeFrame(active))
	}
}

func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	cl := &cluster{t: t, replies: map[bft.Digest]exec.Reply{}, fresh: map[receipt.Name]*executed{}}
	members := make([]config.Member, n)
	for i := range members {
		members[i] = config.Member{Name: fmt.Sprintf("r%d", i), Key: config.Key{PublicKey: testKey(fmt.Sprint("replica", i)).Public()},
			Addresses: []string{"127.0.0.1:1"}}
		cl.replicas = append(cl.replicas, &replica{cl: cl, id: bft.ReplicaID(i), addr: "127.0.0.1:0",
			conns: map[*transport.ClientConn]bool{}})
	}
	cl.manifest = config.NewManifest("test", []string{"counter"}, members)
	service, err := counter.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	cl.machine, err = exec.New(exec.Config{Cluster: cl.manifest.ID(), Limits: cl.manifest.ExecLimits(),
		Services: []exec.Service{{Name: "counter", Machine: service}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range cl.replicas {
		r.start()
	}
	for i, r := range cl.replicas { // the cluster id does not cover addresses
		cl.manifest.Members[i].Addresses = []string{r.addr}
	}
	t.Cleanup(func() {
		for _, r := range cl.replicas {
			r.stop()
		}
	})
	return cl
}

func (r *replica) start() {
	r.cl.t.Helper()
	members := make([]transport.Member, len(r.cl.replicas))
	for i, m := range r.cl.manifest.Members {
		members[i] = transport.Member{Key: m.Key.PublicKey, Addrs: []string{"127.0.0.1:1"}}
	}
	var err error
	r.server, err = transport.Listen(transport.ServerConfig{Key: testKey(fmt.Sprint("replica", r.id)), Self: int(r.id),
		Cluster: r.cl.manifest.ID(), Members: members, Listen: []string{r.addr}, Handler: r,
		Limits: transport.Limits{MaxFrameBytes: bft.MaxFrameBytes, PeerQueueBytes: 2 * bft.MaxFrameBytes, ClientQueueBytes: 2 * bft.MaxFrameBytes},
		AdmitClient: func(key crypto.PublicKey) error {
			if r.cl.admit != nil {
				return r.cl.admit(key)
			}
			return nil
		}})
	if err != nil {
		r.cl.t.Fatal(err)
	}
	r.addr = r.server.Addrs()[0]
}

func (r *replica) stop() {
	if r.server != nil {
		r.server.Close()
		r.server = nil
	}
}

func (cl *cluster) setMode(m mode, ids ...int) {
	for _, id := range ids {
		r := cl.replicas[id]
		r.mu.Lock()
		r.mode = m
		r.mu.Unlock()
	}
}

func (r *replica) FromPeer(int, []byte) {}
func (r *replica) PeerState(int, bool)  {}

// ClientGone is called when all that a client sent over a connection has been handled.
func (r *replica) ClientGone(c *transport.ClientConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// open returns how many connections there are over which something came.
func (r *replica) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

func (r *replica) FromClient(conn *transport.ClientConn, frame []byte) {
	r.mu.Lock()
	r.conns[conn] = true
	r.mu.Unlock()
	if frame[0] == membersRequest {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.clients = append(r.clients, conn)
		return
	}
	r.mu.Lock()
	mode := r.mode
	r.mu.Unlock()
	r.heard.Add(1)
	send := func(reply []byte) { conn.Send(reply) }
	if frame[0] == trace.FrameCall {
		frame, send = r.traced(conn, frame, mode)
	}
	switch {
	case mode == silent, frame[0] == trace.FrameAsk:
	case mode == garbage:
		conn.Send(bytes.Repeat([]byte{byte(bft.TypeReply), 0x22, 0xff, byte(len(frame))}, 5))
	case frame[0] == receipt.FrameAsk:
		r.sign(conn, frame, mode)
	case frame[0] == statusRequest:
		conn.Send(fmt.Appendf([]byte{statusAnswer}, `{"id":%d}`, r.id))
	case bft.MessageType(frame[0]) == bft.TypeQuery:
		r.query(send, frame, mode)
	default:
		r.request(conn, send, frame, mode)
	}
}

// traced takes the frame out of a traced one; send wraps the reply to it. A liar's times are lies too.
func (r *replica) traced(conn *transport.ClientConn, frame []byte, mode mode) (inner []byte, send func([]byte)) {
	arrived := time.Now()
	id, attempt, inner, err := trace.ParseCall(frame)
	if err != nil {
		r.cl.t.Errorf("traced call: %v", err)
	}
	return inner, func(reply []byte) {
		at := time.Since(arrived)
		if mode == lying {
			at += time.Hour
		}
		first := trace.Accepted
		if read := bft.MessageType(inner[0]) == bft.TypeQuery; read {
			first = trace.Released
		}
		conn.Send(trace.ReplyFrame(id, &trace.Report{Attempt: attempt, Read: first == trace.Released, Seq: 3,
			Events: []trace.Event{{Step: first}, {Step: trace.Committed, At: at / 2}, {Step: trace.Executed, At: at}, {Step: trace.Replied, At: at}}}, reply))
	}
}

func (r *replica) request(conn *transport.ClientConn, send func([]byte), frame []byte, mode mode) {
	var p bftpb.Request
	if err := p.UnmarshalVT(frame[1:]); err != nil {
		r.cl.t.Errorf("request: %v", err)
		return
	}
	b, err := bft.DecodeBundle(p.Payload, crypto.Signature(p.Signature), bft.WindowOps, bft.MaxBundleBytes)
	if err != nil || b.Client != conn.Key() {
		r.cl.t.Errorf("bundle: %v", err)
		return
	}
	if mode == busy {
		conn.Send(bft.BusyFrame(b))
		return
	}
	reply := r.cl.execute(b)
	session, results := reply.Session, slices.Clone(reply.Results)
	if mode == lying {
		for i := range results {
			results[i] = append([]byte{byte(exec.StatusOK)}, "a lie"...)
		}
		if b.Opens() {
			session++
		}
	}
	send(bft.ReplyFrame(r.id, 0, b, session, results, bft.ReplicaID(p.Replier)))
}

func (r *replica) query(send func([]byte), frame []byte, mode mode) {
	q, err := bft.DecodeQuery(frame, bft.WindowOps, bft.MaxBundleBytes)
	if err != nil {
		r.cl.t.Errorf("query: %v", err)
		return
	}
	results := r.cl.machine.Query(context.Background(), q.Ops)
	if mode == lying {
		for i := range results {
			results[i] = append([]byte{byte(exec.StatusOK)}, "a lie"...)
		}
	}
	send(bft.AnswerFrame(r.id, 0, 1, q, results))
}

// executed is what replicas sign for a receipt.
type executed struct {
	leaves []bft.Digest
	said   exec.Receipted
}

// sign answers a question for a receipt. A liar's signature is of something else.
func (r *replica) sign(conn *transport.ClientConn, frame []byte, mode mode) {
	name, err := receipt.DecodeAsk(frame)
	if err != nil {
		r.cl.t.Errorf("question for a receipt: %v", err)
		return
	}
	r.cl.mu.Lock()
	x := r.cl.fresh[receipt.Name{Session: name.Session, First: name.First}]
	r.cl.mu.Unlock()
	a := receipt.Answer{Name: name}
	if x != nil && mode != unwilling {
		said := x.said
		a.Known, a.Executed, a.Time, a.Count, a.Root = true, said.Seq, said.Time, uint32(len(x.leaves)), said.Root
		a.Path = crypto.MerkleProve(x.leaves, int(name.Index))
		if mode == lying {
			said.Seq++
		}
		a.Signature = testKey(fmt.Sprint("replica", r.id)).Sign(said.SigningBytes(r.cl.manifest.ID(), 0))
	}
	conn.Send(a.Encode())
}

// execute returns what became of b, executing it if it is the first time.
func (cl *cluster) execute(b *bft.Bundle) exec.Reply {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if r, ok := cl.replies[b.Digest]; ok {
		return r
	}
	if key := b.Client; !crypto.NewEd25519(0).Verify(key, bft.RequestSigningBytes(cl.manifest.ID(), b.Payload), b.Signature) {
		cl.t.Error("a bundle with a bad signature")
	}
	cl.bundles++
	out := cl.machine.Execute(&bft.Batch{Seq: cl.machine.Executed() + 1, Bundles: []*bft.Bundle{b},
		Proposal: bft.Proposal{Body: bft.BodyDigest([]bft.Digest{b.Digest}), Time: bft.Time(time.Now().UnixNano())}})
	cl.replies[b.Digest] = out.Replies[0]
	if r := &out.Replies[0]; r.Fresh {
		leaves := exec.ReceiptLeaves(r.First, b.Ops, r.Results)
		cl.fresh[receipt.Name{Session: r.Session, First: r.First}] = &executed{leaves, exec.Receipted{Client: b.Client, Session: r.Session,
			First: r.First, Seq: out.Executed.Seq, Time: out.Executed.Time, Root: crypto.MerkleRoot(leaves)}}
	}
	return out.Replies[0]
}

func (cl *cluster) sessions() int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.machine.Sessions()
}

func (cl *cluster) dial(opts ...Option) *Client {
	cl.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Dial(ctx, cl.manifest, testKey("client"), opts...)
	if err != nil {
		cl.t.Fatal(err)
	}
	cl.t.Cleanup(func() { c.Close() })
	return c
}

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

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
