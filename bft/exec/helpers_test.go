package exec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// tape is a service that records what it executed: a result tells the operation's place on the
// tape, so one that is executed twice, or out of order, shows.
type tape struct {
	ops   int
	bytes []byte
	seen  []Context
}

func (p *tape) Apply(ctx Context, op []byte) []byte {
	p.ops++
	p.bytes = append(p.bytes, op...)
	p.seen = append(p.seen, ctx)
	if string(op) == "quiet" {
		return nil
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(p.ops)), op...)
}

func (p *tape) Query(_ context.Context, q []byte) ([]byte, error) {
	if string(q) == "fail" {
		return nil, errors.New("failed as asked")
	}
	return append([]byte("re: "), q...), nil
}

func (p *tape) Validate(op []byte) error {
	if string(op) == "invalid" {
		return errors.New("invalid as asked")
	}
	return nil
}

type tapeState []byte

func (p *tape) Snapshot() (StateSnapshot, error) {
	return tapeState(append(binary.BigEndian.AppendUint32(nil, uint32(p.ops)), p.bytes...)), nil
}
func (s tapeState) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s)
	return int64(n), err
}
func (s tapeState) Close() error { return nil }

func (p *tape) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && len(b) < 4 {
		err = errors.New("short tape")
	}
	if err == nil {
		p.ops, p.bytes = int(binary.BigEndian.Uint32(b)), b[4:]
	}
	return err
}

// tb is what testing and rapid have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

var _ tb = (testing.TB)(nil)

const hour = 3600 * bft.Second

// rig is a machine with a tape, and shorthands.
type rig struct {
	tb
	*Machine
	tape *tape
}

func newRig(t tb, change ...func(*Limits)) *rig {
	t.Helper()
	l := DefaultLimits()
	for _, c := range change {
		c(&l)
	}
	p := &tape{}
	m, err := New(Config{Cluster: bft.Digest{1}, Services: []Service{{"tape", p}}, Limits: l})
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	m.time = hour
	return &rig{t, m, p}
}

func op(payload string) []byte { return EncodeOp("", false, []byte(payload)) }

func ops(payloads ...string) (list [][]byte) {
	for _, p := range payloads {
		list = append(list, op(p))
	}
	return list
}

var alice, bob = bft.ClientID{'a'}, bft.ClientID{'b'}

// opening is a bundle that opens a session.
func openWith(client bft.ClientID, nonce byte, payloads ...string) *bft.Bundle {
	return &bft.Bundle{Client: client, Nonce: bft.Nonce{nonce}, NotAfter: 2 * hour, First: 1, Ops: ops(payloads...)}
}

func in(client bft.ClientID, s bft.SessionID, first uint64, payloads ...string) *bft.Bundle {
	return &bft.Bundle{Client: client, Session: s, First: first, Ops: ops(payloads...)}
}

// at executes bundles as the next batch, at a time.
func (r *rig) at(now bft.Time, bundles ...*bft.Bundle) Outcome {
	p := bft.Proposal{Body: bft.Digest{1}, Time: now}
	return r.Execute(&bft.Batch{Seq: r.Executed() + 1, Proposal: p, Digest: p.Digest(), Bundles: bundles})
}

// do executes one bundle at the last agreed time.
func (r *rig) do(b *bft.Bundle) Reply { return r.at(0, b).Replies[0] }

// open opens a session and returns its id.
func (r *rig) open(client bft.ClientID, nonce byte) bft.SessionID {
	r.Helper()
	reply := r.do(openWith(client, nonce))
	if reply.Session == 0 {
		r.Fatalf("no session was opened: %s", show(reply.Results))
	}
	return reply.Session
}

// want checks the results of a reply against strings: a status by its name, or the payload of
// a value, which is preceded by its place on the tape.
func (r *rig) want(reply Reply, results ...string) {
	r.Helper()
	got := show(reply.Results)
	if len(got) != len(results) {
		r.Fatalf("results %q, want %q", got, results)
	}
	for i := range got {
		if got[i] != results[i] {
			r.Fatalf("results %q, want %q", got, results)
		}
	}
}

func show(results [][]byte) []string {
	var list []string
	for _, result := range results {
		value, err := Result(result)
		switch {
		case err == nil && bytes.HasPrefix(value, []byte("re: ")):
			list = append(list, string(value))
		case err == nil && len(value) >= 4:
			list = append(list, string('0'+rune(value[3]))+":"+string(value[4:]))
		case errors.Is(err, ErrFailed):
			list = append(list, err.Error())
		default:
			list = append(list, Status(result[0]).String())
		}
	}
	return list
}

// bytes serialises the machine.
func (r *rig) bytes() []byte {
	r.Helper()
	s, err := r.Snapshot()
	if err != nil {
		r.Fatalf("snapshot: %v", err)
	}
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); err != nil || n != int64(b.Len()) {
		r.Fatalf("write snapshot: %d of %d bytes, %v", n, b.Len(), err)
	}
	if err := s.Close(); err != nil {
		r.Fatalf("close snapshot: %v", err)
	}
	return b.Bytes()
}

// again returns a fresh machine that restored what r holds.
func (r *rig) again() *rig {
	r.Helper()
	m, err := New(Config{Cluster: r.cluster, Services: []Service{{"tape", &tape{}}}, Limits: r.table.limits})
	if err != nil {
		r.Fatalf("new: %v", err)
	}
	other := &rig{r.tb, m, m.services[0].machine.(*tape)}
	if err := other.Restore(bytes.NewReader(r.bytes())); err != nil {
		r.Fatalf("restore: %v", err)
	}
	return other
}

// check verifies the invariants that the types state.
func (r *rig) check() {
	r.Helper()
	t, sum := r.table, 0
	perClient := map[*client]int{}
	count := func(c *client, k *cache) {
		bytes, last := 0, uint64(0)
		for _, run := range k.runs {
			if run.first < last || len(run.results) == 0 {
				r.Fatalf("runs out of order: %v", k.runs)
			}
			last = run.end()
			for _, result := range run.results {
				bytes += sizeOf(result)
			}
		}
		if bytes != k.bytes || bytes > t.limits.SessionResultBytes {
			r.Fatalf("a cache counts %d bytes, it has %d", k.bytes, bytes)
		}
		sum += bytes
		perClient[c] += bytes
	}
	for _, l := range []*list{&t.live, &t.closed} {
		n := 0
		for s := l.head; s != nil; s = s.links[inTable].next {
			n++
			if t.sessions[s.id] != s || s.decided(s.low) || t.clients[s.owner.key] != s.owner || s.closed != (l == &t.closed) {
				r.Fatalf("session %d is not as it should be: %+v", s.id, s)
			}
			for _, run := range s.cache.runs {
				if run.first < s.kept(0) || !s.decided(run.first) || !s.decided(run.end()-1) {
					r.Fatalf("session %d keeps results of %d to %d, low is %d", s.id, run.first, run.end(), s.low)
				}
			}
			count(s.owner, &s.cache)
		}
		if n != l.len {
			r.Fatalf("a list of %d says %d", n, l.len)
		}
	}
	for _, o := range t.expiry {
		if t.openings[openingKey{o.owner.key, o.nonce}] != o || t.clients[o.owner.key] != o.owner || o.notAfter < r.time {
			r.Fatalf("opening %d is not as it should be", o.id)
		}
		count(o.owner, &o.results)
	}
	if sum != t.bytes || t.bytes > t.limits.TotalResultBytes || t.live.len+t.closed.len != len(t.sessions) || len(t.expiry) != len(t.openings) {
		r.Fatalf("the table counts %d bytes, it has %d", t.bytes, sum)
	}
	for _, c := range t.clients {
		if c.bytes != perClient[c] || c.bytes > t.limits.ClientResultBytes || c.live.len+c.closed.len+c.openings == 0 {
			r.Fatalf("a client counts %d bytes, it has %d", c.bytes, perClient[c])
		}
	}
}
