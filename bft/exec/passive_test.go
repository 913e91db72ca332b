package exec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
)

// tally is a passive service that counts its operations. An update says which one it is, so that one that is left
// out, or comes twice, shows.
type tally struct{ applied, wrong uint64 }

func (s *tally) Apply(_ Context, update []byte) []byte {
	s.applied++
	if len(update) < 8 || binary.BigEndian.Uint64(update) != s.applied {
		s.wrong++
	}
	return update
}

func (s *tally) Query(context.Context, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, s.applied), nil
}
func (s *tally) Snapshot() (StateSnapshot, error) { return nil, errors.New("none") }
func (s *tally) Restore(io.Reader) error          { return errors.New("none") }
func (s *tally) Draft() Draft                     { return &tallyDraft{s.applied} }

type tallyDraft struct{ applied uint64 }

// Update panics at "panic", and gives many bytes at "large".
func (d *tallyDraft) Update(_ Context, op []byte) []byte {
	if string(op) == "panic" {
		panic("as asked")
	}
	d.applied++
	update := append(binary.BigEndian.AppendUint64(nil, d.applied), op...)
	if string(op) == "large" {
		update = append(update, make([]byte, bft.MaxUpdateBytes-20_000)...)
	}
	return update
}

func (d *tallyDraft) ValidateUpdate(_ Context, op, update []byte) error {
	d.applied++
	if len(update) < 8 || binary.BigEndian.Uint64(update) != d.applied || !bytes.HasPrefix(update[8:], op) {
		return fmt.Errorf("update %x at %d", update, d.applied)
	}
	return nil
}

// plainService counts, and is replicated actively.
type plainService struct{ applied uint64 }

func (s *plainService) Apply(Context, []byte) []byte {
	s.applied++
	return binary.BigEndian.AppendUint64(nil, s.applied)
}
func (s *plainService) Query(context.Context, []byte) ([]byte, error) { return nil, nil }
func (s *plainService) Snapshot() (StateSnapshot, error)              { return nil, errors.New("none") }
func (s *plainService) Restore(io.Reader) error                       { return errors.New("none") }

// passiveMachine hosts both, as "p" and "a".
func passiveMachine(t rapid.TB, l Limits) (*Machine, *tally) {
	s := new(tally)
	m, err := New(Config{Services: []Service{{"p", s}, {"a", new(plainService)}}, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

func passiveOp(op string) []byte { return EncodeOp("p", false, []byte(op)) }

// batchOf makes the next batch of m.
func batchOf(m *Machine, at bft.Time, bundles ...*bft.Bundle) *bft.Batch {
	for i, b := range bundles {
		b.Digest = bft.Digest{byte(i), 1}
	}
	return &bft.Batch{Seq: m.Executed() + 1, Proposal: bft.Proposal{Body: bft.Digest{1}, Time: at}, Digest: bft.Digest{byte(m.Executed())}, Bundles: bundles}
}

// propose has the updates of a batch computed, and judged by another machine in the same state. It cuts the batch to what is proposed.
func propose(t rapid.TB, primary, backup *Machine, b *bft.Batch) Computed {
	c := primary.Plan(b).Compute()
	b.Bundles, b.Updates = b.Bundles[:c.Bundles], c.Updates
	if err := backup.Plan(b).Check(b.Updates); err != nil {
		t.Fatalf("an honest primary's updates are refused: %v", err)
	}
	return c
}

func firstBundle(nonce byte, ops ...string) *bft.Bundle {
	b := &bft.Bundle{Client: bft.ClientID{1}, Nonce: bft.Nonce{nonce}, NotAfter: 1000, First: 1}
	for _, op := range ops {
		b.Ops = append(b.Ops, passiveOp(op))
	}
	return b
}

// drawMeeting draws bundles that meet: of few clients, sessions and numbers.
func drawMeeting(t *rapid.T, m *Machine) *bft.Bundle {
	b := &bft.Bundle{Client: bft.ClientID{byte(rapid.IntRange(1, 3).Draw(t, "client"))}, First: rapid.Uint64Range(1, 12).Draw(t, "first")}
	if rapid.IntRange(0, 2).Draw(t, "opens") == 0 {
		b.Nonce, b.NotAfter = bft.Nonce{byte(rapid.IntRange(0, 9).Draw(t, "nonce"))}, m.Time()+bft.Time(rapid.IntRange(-50, 900).Draw(t, "not after"))
	} else {
		b.Session = bft.SessionID(rapid.Uint64Range(1, uint64(m.table.last)+2).Draw(t, "session"))
	}
	if b.Opens() && rapid.Bool().Draw(t, "claims") {
		b.Claim = &bft.Claim{Instance: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "instance")}
		if b.Claim.Instance == "" || rapid.Bool().Draw(t, "leased") {
			b.Claim.Lease = bft.Time(rapid.IntRange(1, 300).Draw(t, "lease"))
		}
		if b.Claim.Instance != "" {
			b.Claim.Replace = bft.Replacement(rapid.IntRange(0, 2).Draw(t, "replace"))
			if b.Claim.Replace == bft.ReplaceSilent {
				b.Claim.Grace = bft.Time(rapid.IntRange(1, 300).Draw(t, "grace"))
			}
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "operations") {
		b.Ops = append(b.Ops, EncodeOp(rapid.SampledFrom([]string{"p", "p", "p", "a", "none"}).Draw(t, "service"), rapid.IntRange(0, 9).Draw(t, "read") == 0, nil))
	}
	b.AnsweredBelow = rapid.Uint64Range(0, b.First).Draw(t, "answered")
	if rapid.IntRange(0, 3).Draw(t, "expires") == 0 {
		b.Expires = m.Time() + bft.Time(rapid.IntRange(-100, 300).Draw(t, "expiry"))
	}
	b.Close = rapid.IntRange(0, 5).Draw(t, "close") < 2
	return b
}

// TestPlanForetellsWhatIsExecuted: whatever the clients do, all that is planned is executed, and exactly once; all replicas
// agree; and what is void for want of certainty is not so for long.
func TestPlanForetellsWhatIsExecuted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := DefaultLimits()
		l.MaxSessions, l.SessionsPerClient, l.MaxOpenings, l.OpeningsPerClient, l.MaxAhead = 3, 2, 5, 3, 800
		m, s := passiveMachine(t, l)
		other, _ := passiveMachine(t, l)
		at := bft.Time(1000)
		run := func(b *bft.Batch) Outcome {
			propose(t, m, other, b)
			out, again := m.Execute(b), other.Execute(b)
			if len(m.updates.entries) > 0 || m.updates.void || s.wrong > 0 {
				t.Fatalf("number %d: %d updates are left, void %v, %d in the wrong place", b.Seq, len(m.updates.entries), m.updates.void, s.wrong)
			}
			for i := range out.Replies {
				if out.Replies[i].Digest() != again.Replies[i].Digest() || m.HistoryRoot() != other.HistoryRoot() {
					t.Fatalf("number %d: the replicas disagree", b.Seq)
				}
			}
			return out
		}
		for range rapid.IntRange(1, 30).Draw(t, "batches") {
			at += bft.Time(rapid.SampledFrom([]int{1, 50, 300, 900}).Draw(t, "time"))
			var bundles []*bft.Bundle
			for range rapid.IntRange(1, 5).Draw(t, "bundles") {
				bundles = append(bundles, drawMeeting(t, m))
			}
			b := batchOf(m, at, bundles...)
			out := run(b)
			for i, r := range out.Replies {
				for tries := 0; r.Void; tries++ {
					if tries == 2 {
						t.Fatalf("bundle %d of %d is void alone, twice: %+v", i, b.Seq, b.Bundles[i])
					}
					r = run(batchOf(m, at, b.Bundles[i])).Replies[0]
				}
			}
		}
	})
}

// TestVoidUpdatesExecuteNothing: updates that were computed on another state, or none, or ones that do not decode, are void for
// all operations of passive services; those of others are executed.
func TestVoidUpdatesExecuteNothing(t *testing.T) {
	m, s := passiveMachine(t, DefaultLimits())
	b := batchOf(m, 10, firstBundle(1, "x"))
	propose(t, m, m, b)
	good := b.Updates
	stale := bytes.Clone(good)
	stale[0] ^= 1
	for name, updates := range map[string][]byte{"stale": stale, "none": nil, "malformed": good[:len(good)-1], "for another operation": func() []byte {
		u := bytes.Clone(good)
		u[33]++
		return u
	}()} {
		b := batchOf(m, 10, firstBundle(1, "x"), firstBundle(2))
		b.Bundles[1].Ops = [][]byte{EncodeOp("a", false, nil)}
		b.Bundles[1].Nonce[1] = byte(len(name))
		b.Updates = updates
		if m.Plan(b).Check(updates) == nil {
			t.Errorf("%s: a backup takes them", name)
		}
		sessions := m.Sessions()
		out := m.Execute(b)
		if !out.Replies[0].Void || s.applied != 0 || m.Sessions() != sessions+1 || !slices.Equal(out.Executed.Void, []bft.Digest{b.Bundles[0].Digest}) ||
			!slices.Contains(out.Executed.Again, b.Bundles[0].Digest) {
			t.Errorf("%s: %+v, %d applied", name, out, s.applied)
		}
		if r := out.Replies[1]; r.Void || Status(r.Results[0][0]) != StatusOK {
			t.Errorf("%s: the operation of an active service ends with %+v", name, r)
		}
	}
	b = batchOf(m, 10, firstBundle(1, "x"))
	propose(t, m, m, b)
	out := m.Execute(b)
	if s.applied != 1 || out.Replies[0].Void || len(out.Executed.Void) > 0 {
		t.Fatalf("ordered again: %+v", out)
	}
	// In an open session, a void operation leaves its number open, and no close takes effect.
	more := func() *bft.Bundle {
		return &bft.Bundle{Client: bft.ClientID{1}, Session: out.Replies[0].Session, First: 2, Ops: [][]byte{passiveOp("y")}, Close: true}
	}
	b = batchOf(m, 10, more())
	if out := m.Execute(b); !out.Replies[0].Void || s.applied != 1 {
		t.Fatalf("without its update: %+v", out)
	}
	b = batchOf(m, 10, more())
	propose(t, m, m, b)
	if out := m.Execute(b); out.Replies[0].Void || s.applied != 2 || !out.Executed.Marks[0].Gone {
		t.Fatalf("ordered again: %+v", out)
	}
}

// TestUpdateThatFails: an operation at which the service panics, or whose update is too large, gets a result that says so, and so do
// those behind it in its bundle. Bundles before it are proposed first, and those behind it are executed later.
func TestUpdateThatFails(t *testing.T) {
	m, s := passiveMachine(t, DefaultLimits())
	waiting := []*bft.Bundle{firstBundle(1, "x", "y"), firstBundle(2, "z", "panic", "u"), firstBundle(3, "large", "large", "v"), firstBundle(4, "w")}
	results := map[byte][]string{}
	for round := 0; len(waiting) > 0; round++ {
		if round == 10 {
			t.Fatalf("%d bundles are still not executed", len(waiting))
		}
		b := batchOf(m, 10, waiting...)
		propose(t, m, m, b)
		for i, r := range m.Execute(b).Replies {
			if r.Void {
				t.Fatalf("bundle %d is void", b.Bundles[i].Nonce[0])
			}
			for _, x := range r.Results {
				text := Status(x[0]).String()
				if Status(x[0]) == StatusOK {
					text = string(x[9:min(len(x), 14)])
				}
				results[b.Bundles[i].Nonce[0]] = append(results[b.Bundles[i].Nonce[0]], text)
			}
			waiting = slices.DeleteFunc(waiting, func(w *bft.Bundle) bool { return w == b.Bundles[i] })
		}
	}
	want := map[byte][]string{1: {"x", "y"}, 2: {"z", "failed", "failed"}, 3: {"large", "failed", "failed"}, 4: {"w"}}
	if fmt.Sprint(results) != fmt.Sprint(want) || s.wrong > 0 || s.applied != 5 {
		t.Fatalf("%v, want %v; %d applied, %d wrong", results, want, s.applied, s.wrong)
	}
}

// TestBackupsJudge: a backup refuses what no correct primary proposes.
func TestBackupsJudge(t *testing.T) {
	m, _ := passiveMachine(t, DefaultLimits())
	b := batchOf(m, 10, firstBundle(1, "x", "y"), firstBundle(2, "z"))
	propose(t, m, m, b)
	base, entries, err := decodeUpdates(b.Updates, 3)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d updates, %v", len(entries), err)
	}
	encode := func(es ...entry) []byte {
		u := append([]byte(nil), base[:]...)
		for i := range es {
			u = es[i].append(u)
		}
		return u
	}
	failed := func(e entry) entry { return entry{index: e.index, failed: failurePanic} }
	if err := m.Plan(b).Check(encode(entries...)); err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string][]byte{
		"the last left out":               encode(entries[:2]...),
		"one in the middle left out":      encode(entries[0], entries[2]),
		"one that is invalid":             encode(entries[0], entry{index: entries[1].index, update: entries[0].update}, entries[2]),
		"more than operations":            encode(append(slices.Clone(entries), entry{index: entries[2].index + 1})...),
		"a failure with more behind":      encode(entries[0], failed(entries[1])),
		"a failure with one applied":      encode(failed(entries[0]), entries[1], entries[2]),
		"a failure behind another bundle": encode(entries[0], entries[1], failed(entries[2])),
		"a failure of what does not fail": encode(failed(entries[0]), entry{index: entries[1].index, failed: failureBefore}),
		"an unknown failure":              encode(entries[0], entry{index: entries[1].index, failed: failureEnd - 1}, entry{index: entries[2].index, failed: 9}),
	} {
		if err := m.Plan(b).Check(u); !errors.Is(err, ErrBadUpdates) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for op, ok := range map[string]bool{"panic": true, "y": false} {
		first := batchOf(m, 10, firstBundle(1, "x", op))
		if err := m.Plan(first).Check(encode(entries[0], failed(entries[1]))); (err == nil) != ok {
			t.Errorf("a failure of %q in the only bundle: %v", op, err)
		}
	}
	// It does fail, but bundles are proposed with it which a correct primary leaves for later.
	for name, bundles := range map[string][]*bft.Bundle{
		"a failure behind a sound bundle":   {firstBundle(1, "x"), firstBundle(2, "panic")},
		"a failure with a bundle behind it": {firstBundle(1, "panic"), firstBundle(2)},
	} {
		more := batchOf(m, 10, bundles...)
		u := encode(failed(entries[0]))
		if len(bundles[1].Ops) > 0 {
			u = encode(entries[0], failed(entry{index: 1 << 32}))
		}
		if err := m.Plan(more).Check(u); !errors.Is(err, ErrBadUpdates) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeUpdates(f *testing.F) {
	f.Add(append(make([]byte, 32), 0, 0, 4, 'x'))
	f.Add(append(make([]byte, 32), 0, 1, 1))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		base, entries, err := decodeUpdates(b, 100)
		if err != nil {
			return
		}
		again := append([]byte(nil), base[:]...)
		for i := range entries {
			again = entries[i].append(again)
		}
		base2, entries2, err := decodeUpdates(again, 100)
		if err != nil || base2 != base || fmt.Sprint(entries) != fmt.Sprint(entries2) {
			t.Fatalf("%x: %v", b, err)
		}
		m, _ := passiveMachine(t, DefaultLimits())
		m.Execute(&bft.Batch{Seq: 1, Updates: b, Bundles: []*bft.Bundle{firstBundle(1, "x")}})
	})
}
