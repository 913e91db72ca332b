package bft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// clientRig drives a Client by hand, or with the replicas of a toyCluster.
type clientRig struct {
	t        testing.TB
	c        *Client
	ring     *crypto.FastRing
	signer   crypto.Signer
	cluster  *toyCluster
	sent     []Outbound // not yet delivered
	results  map[CallID]CallResult
	requests []*Bundle // every request sent, decoded and checked
	repliers []ReplicaID
	asked    []uint64
	queries  []*Query
	journal  *journal // nil: none
	now      Time
}

const rigClock = 1_000_000 * Second

func rigConfig(n int) ClientConfig {
	return ClientConfig{Cluster: Digest{1}, Epoch: 3, N: n, Seed: [32]byte{9}}
}

func newRig(t testing.TB, cfg ClientConfig) *clientRig {
	t.Helper()
	r := &clientRig{t: t, ring: crypto.NewFastRing(), results: map[CallID]CallResult{}}
	r.signer = r.ring.NewKey([32]byte{7})
	cfg.Key = r.signer.Public()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.c, r.cluster = c, &toyCluster{n: cfg.N, epoch: cfg.Epoch, done: map[string]*toyDone{}}
	r.tick(0)
	return r
}

// tick lets time pass and carries out what is ready.
func (r *clientRig) tick(d Time) {
	r.t.Helper()
	r.now += d
	r.c.Tick(r.now, rigClock+r.now)
	r.pump()
}

// pump carries out Readys until there is none.
func (r *clientRig) pump() {
	r.t.Helper()
	for {
		ready, ok := r.c.Ready()
		if !ok {
			return
		}
		if r.journal != nil {
			r.journal.write(&ready)
		}
		for _, res := range ready.Results {
			if before, twice := r.results[res.ID]; twice {
				r.t.Fatalf("call %d ended twice: %v, then %v", res.ID, before, res)
			}
			res.Value = bytes.Clone(res.Value)
			r.results[res.ID] = res
		}
		for _, m := range ready.Messages {
			r.note(m)
			r.sent = append(r.sent, m)
		}
		for _, s := range ready.Sign {
			r.c.Signed(s.ID, r.signer.Sign(s.Message))
		}
	}
}

// note decodes what the client sends, with the checks that a replica makes.
func (r *clientRig) note(m Outbound) {
	r.t.Helper()
	switch MessageType(m.Frame[0]) {
	case TypeRequest:
		b, replier := r.decodeRequest(m.Frame)
		r.requests, r.repliers, r.asked = append(r.requests, b), append(r.repliers, replier), append(r.asked, askedBy(r.t, m.Frame))
	case TypeQuery:
		q, err := DecodeQuery(m.Frame, WindowOps, MaxBundleBytes)
		if err != nil {
			r.t.Fatal(err)
		}
		r.queries = append(r.queries, q)
	default:
		r.t.Fatalf("the client sends a %v", MessageType(m.Frame[0]))
	}
}

func (r *clientRig) decodeRequest(frame []byte) (*Bundle, ReplicaID) {
	r.t.Helper()
	payload, sig, replier := splitRequest(r.t, frame)
	b, err := DecodeBundle(payload, sig, WindowOps, MaxBundleBytes)
	if err != nil {
		r.t.Fatal(err)
	}
	if b.Client != r.signer.Public() || !r.ring.Verify(b.Client, RequestSigningBytes(r.c.cfg.Cluster, payload), sig) {
		r.t.Fatal("request with a bad signature")
	}
	return b, replier
}

func (r *clientRig) invoke(id CallID, op string) {
	r.t.Helper()
	if err := r.c.Invoke(id, []byte(op), CallOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// lastRequest is the newest bundle sent, and the replier named with it.
func (r *clientRig) lastRequest() (*Bundle, ReplicaID) {
	r.t.Helper()
	if len(r.requests) == 0 {
		r.t.Fatal("no request was sent")
	}
	return r.requests[len(r.requests)-1], r.repliers[len(r.repliers)-1]
}

// reply steps a reply of one replica and reports the error.
func (r *clientRig) reply(from ReplicaID, b *Bundle, session SessionID, replier ReplicaID, values ...string) error {
	r.t.Helper()
	err := r.c.Step(from, ReplyFrame(from, View(from), b, session, okResults(values...), replier))
	r.pump()
	return err
}

func okResults(values ...string) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = append([]byte{byte(ResultOK)}, v...)
	}
	return out
}

// want checks that a call has ended with a value.
func (r *clientRig) want(id CallID, value string) {
	r.t.Helper()
	res, ok := r.results[id]
	if !ok || res.Err != nil || string(res.Value) != value {
		r.t.Fatalf("call %d: ended %v with %q and error %v, want %q", id, ok, res.Value, res.Err, value)
	}
}

// open opens the session with one call, answered by f+1.
func (r *clientRig) open() {
	r.t.Helper()
	r.invoke(1_000_000, "open")
	r.tick(0)
	b, _ := r.lastRequest()
	for i := range r.c.need {
		r.reply(ReplicaID(i), b, 77, Everyone, "open")
	}
	r.want(1_000_000, "open")
}

// toyCluster executes bundles as a correct cluster would: once, in the order of their coming.
type toyCluster struct {
	n        int
	epoch    Epoch
	sessions SessionID
	ops      uint64
	done     map[string]*toyDone
}

type toyDone struct {
	session SessionID
	results [][]byte
}

func toyKey(b *Bundle) string { return fmt.Sprint(b.Session, b.Nonce, b.First) }

// execute returns what became of b. The value of an operation is the operation, and its place in
// the order of all.
func (tc *toyCluster) execute(b *Bundle) *toyDone {
	if d := tc.done[toyKey(b)]; d != nil {
		return d
	}
	d := &toyDone{session: b.Session}
	if b.Opens() {
		tc.sessions++
		d.session = tc.sessions
	}
	for _, op := range b.Ops {
		if len(op) == 0 {
			d.results = append(d.results, []byte{byte(ResultInvalid)})
			continue
		}
		tc.ops++
		d.results = append(d.results, toyResult(op, tc.ops))
	}
	if len(b.Ops) == 0 {
		d.results = [][]byte{{byte(ResultOK)}}
	}
	tc.done[toyKey(b)] = d
	return d
}

func toyResult(op []byte, place uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{byte(ResultOK)}, place), op...)
}

// askedBy is who shall answer a request.
func askedBy(t testing.TB, frame []byte) uint64 {
	t.Helper()
	var p bftpb.Request
	if err := p.UnmarshalVT(frame[1:]); err != nil {
		t.Fatal(err)
	}
	if p.Asked == 0 {
		return ^uint64(0)
	}
	return p.Asked
}

// answer is what the correct replica id answers to a frame of the client; nil: nothing.
func (tc *toyCluster) answer(r *clientRig, id ReplicaID, frame []byte) []byte {
	if MessageType(frame[0]) == TypeQuery {
		q, err := DecodeQuery(frame, WindowOps, MaxBundleBytes)
		if err != nil {
			r.t.Fatal(err)
		}
		return AnswerFrame(id, tc.epoch, Seq(tc.ops), q, okResults(stringsOf(q.Ops)...))
	}
	b, replier := r.decodeRequest(frame)
	d := tc.execute(b)
	if asked := askedBy(r.t, frame); asked>>id&1 == 0 {
		return nil
	}
	return ReplyFrame(id, 0, b, d.session, d.results, replier)
}

func stringsOf(bs [][]byte) []string {
	out := make([]string, len(bs))
	for i, b := range bs {
		out[i] = string(b)
	}
	return out
}

// deliver hands everything sent to all correct replicas, and their answers to the client.
func (r *clientRig) deliver() {
	r.t.Helper()
	for len(r.sent) > 0 {
		sent := r.sent
		r.sent = nil
		for _, m := range sent {
			for id := range ReplicaID(r.c.cfg.N) {
				if m.To != Everyone && m.To != id {
					continue
				}
				if answer := r.cluster.answer(r, id, m.Frame); answer != nil {
					r.c.Step(id, answer)
				}
			}
		}
		r.pump()
	}
}
