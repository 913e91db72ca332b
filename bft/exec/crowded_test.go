package exec

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// talker is a service whose answers are as long as the operation says, in KiB: its first two bytes.
type talker struct{ applied int }

func (s *talker) Apply(_ Context, op []byte) []byte {
	s.applied++
	return make([]byte, (int(op[0])<<8+int(op[1]))<<10)
}
func (s *talker) Query(_ context.Context, q []byte) ([]byte, error) {
	return s.Apply(Context{}, q), nil
}
func (s *talker) Snapshot() (StateSnapshot, error) { return nil, errors.New("none") }
func (s *talker) Restore(io.Reader) error          { return errors.New("none") }

func talk(read bool, kib int) []byte {
	return EncodeOp("t", read, []byte{byte(kib >> 8), byte(kib)})
}

func talking(t *testing.T) (*Machine, *talker) {
	s := new(talker)
	m, err := New(Config{Services: []Service{{"t", s}}, Limits: DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

func statuses(results [][]byte) (out []Status) {
	for _, r := range results {
		out = append(out, Status(r[0]))
	}
	return out
}

// However much the operations of a bundle answer, its results are bounded: those for which there is no room are not executed,
// and their numbers are used up, so that the client can call them again.
func TestResultsOfABundleAreBounded(t *testing.T) {
	for _, read := range []bool{false, true} {
		m, s := talking(t)
		b := &bft.Bundle{Client: bft.ClientID{1}, Nonce: bft.Nonce{1}, NotAfter: 1000, First: 1}
		for range 256 {
			b.Ops = append(b.Ops, talk(read, 1024))
		}
		reply := m.Execute(batchOf(m, 10, b)).Replies[0]
		size := 0
		for i, x := range statuses(reply.Results) {
			if want := StatusOK; x != want && i < 4 || i >= 4 && x != StatusCrowded {
				t.Fatalf("read %v: result %d is %v", read, i, x)
			}
			size += len(reply.Results[i])
		}
		if size > ReplyBytes+MaxResultBytes || s.applied != 4 || !reply.Fresh {
			t.Errorf("read %v: %d bytes, %d executed, fresh %v", read, size, s.applied, reply.Fresh)
		}
		// Ordered again, nothing more is executed under these numbers.
		again := &bft.Bundle{Client: b.Client, Session: reply.Session, First: 200, Ops: [][]byte{talk(read, 1)}}
		if got := m.Execute(batchOf(m, 11, again)).Replies[0].Results[0]; Status(got[0]) != StatusCrowded || s.applied != 4 {
			t.Errorf("read %v: a number that is used up has %v, %d executed", read, Status(got[0]), s.applied)
		}
		again.First = 257
		if got := m.Execute(batchOf(m, 12, again)).Replies[0].Results[0]; Status(got[0]) != StatusOK {
			t.Errorf("read %v: called again it is %v", read, Status(got[0]))
		}
	}
}

// So are the answers to a question.
func TestAnswersToAQuestionAreBounded(t *testing.T) {
	m, s := talking(t)
	var frames [][]byte
	for range 256 {
		frames = append(frames, talk(true, 1024))
	}
	for i, x := range statuses(m.Query(context.Background(), frames)) {
		if i < 4 != (x == StatusOK) || i >= 4 && x != StatusCrowded {
			t.Fatalf("answer %d is %v", i, x)
		}
	}
	if s.applied != 4 {
		t.Errorf("%d were asked", s.applied)
	}
}

// A result that is too long for any frame is not kept, and an answer that is says so.
func TestResultThatIsTooLong(t *testing.T) {
	m, s := talking(t)
	b := firstBundle(1)
	b.Ops = [][]byte{talk(false, 5<<10), talk(false, 1), talk(true, 5<<10), talk(true, 1)}
	got := statuses(m.Execute(batchOf(m, 10, b)).Replies[0].Results)
	if got[0] != StatusForgotten || got[1] != StatusOK || got[2] != StatusFailed || got[3] != StatusOK || s.applied != 4 {
		t.Errorf("%v, %d executed", got, s.applied)
	}
}

// What has an update was planned, and is executed however much there is to tell.
func TestUpdatesAreNeverCrowded(t *testing.T) {
	m, s := passiveMachine(t, DefaultLimits())
	b := firstBundle(1, "x")
	for range 5 {
		b.Ops = append(b.Ops, passiveOp("large"))
	}
	// The updates are too large for one proposal: they are ordered as a liar would, who proposes what a batch cannot hold.
	u := append([]byte(nil), make([]byte, 32)...)
	root := m.history.Root()
	copy(u, root[:])
	d := m.services[0].updater
	if d == nil {
		d = m.services[1].updater
	}
	draft := d.Draft()
	for i, op := range b.Ops {
		x, _ := DecodeOp(op)
		u = (&entry{index: uint64(i), update: draft.Update(Context{}, x.Payload)}).append(u)
	}
	batch := batchOf(m, 10, b)
	batch.Updates = u
	reply := m.Execute(batch).Replies[0]
	if reply.Void || s.applied != 6 || s.wrong != 0 {
		t.Errorf("void %v, %d applied, %d wrong, %v", reply.Void, s.applied, s.wrong, statuses(reply.Results))
	}
	size := 0
	for i, x := range statuses(reply.Results) {
		if x != StatusOK && x != StatusForgotten {
			t.Errorf("result %d is %v", i, x)
		}
		size += len(reply.Results[i])
	}
	if size > ReplyBytes+MaxResultBytes {
		t.Errorf("%d bytes of results", size)
	}
}

// A host may let go of the results of a bundle before the next is executed: what is agreed on does not change.
func TestRepliesOneByOne(t *testing.T) {
	m, _ := talking(t)
	other, _ := talking(t)
	var bundles []*bft.Bundle
	for i := range 8 {
		b := firstBundle(byte(1 + i))
		b.Ops = [][]byte{talk(false, 16), talk(true, i)}
		bundles = append(bundles, b)
	}
	bundles = append(bundles, &bft.Bundle{Client: bft.ClientID{1}, Session: 99, First: 1, Ops: [][]byte{talk(false, 1)}})
	next := 0
	out := m.ExecuteEach(batchOf(m, 10, bundles...), func(i int, r *Reply) {
		if i != next || len(r.Results) != len(bundles[i].Ops) {
			t.Fatalf("reply %d with %d results", i, len(r.Results))
		}
		next++
		r.Results = nil
	})
	want := other.Execute(batchOf(other, 10, bundles...))
	if next != len(bundles) || m.HistoryRoot() != other.HistoryRoot() || len(out.Executed.Again) != len(want.Executed.Again) {
		t.Errorf("%d replies, %d are ordered again, want %d", next, len(out.Executed.Again), len(want.Executed.Again))
	}
}

// Nor does a bundle whose numbers are those of several others get more than a frame holds; what is kept stays.
func TestKeptResultsOfABundleAreBounded(t *testing.T) {
	m, _ := talking(t)
	open := firstBundle(1)
	open.Ops = [][]byte{talk(false, 3<<10)}
	session := m.Execute(batchOf(m, 10, open)).Replies[0].Session
	for n := uint64(2); n <= 5; n++ {
		m.Execute(batchOf(m, 10, &bft.Bundle{Client: open.Client, Session: session, First: n, Ops: [][]byte{talk(false, 3<<10)}}))
	}
	all := &bft.Bundle{Client: open.Client, Session: session, First: 1}
	for range 5 {
		all.Ops = append(all.Ops, talk(false, 1))
	}
	for _, reply := range []Reply{m.Replay(all), m.Execute(batchOf(m, 11, all)).Replies[0]} {
		size := 0
		for _, r := range reply.Results {
			size += len(r)
		}
		if got := statuses(reply.Results); size > ReplyBytes+MaxResultBytes || got[0] != StatusOK || got[4] != StatusForgotten {
			t.Errorf("%d bytes, %v", size, got)
		}
	}
	last := m.Replay(&bft.Bundle{Client: open.Client, Session: session, First: 5, Ops: [][]byte{talk(false, 1)}})
	if Status(last.Results[0][0]) != StatusOK {
		t.Error("a kept result is gone")
	}
}
