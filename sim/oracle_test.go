package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// An oracle that cannot fail proves nothing: each is fed a history that breaks it, made by hand.

// listen returns a verdict and what it heard.
func listen() (*verdict, *[]string) {
	var heard []string
	return &verdict{fail: func(oracle, format string, args ...any) {
		heard = append(heard, oracle+": "+fmt.Sprintf(format, args...))
	}}, &heard
}

// expect checks that exactly one complaint was heard, of the oracle, with the words.
func expect(t *testing.T, heard []string, oracle, words string) {
	t.Helper()
	if len(heard) == 0 || !strings.HasPrefix(heard[0], oracle+": ") || !strings.Contains(heard[0], words) {
		t.Fatalf("heard %q, want one of %s with %q", heard, oracle, words)
	}
}

var testClient = bft.ClientID{1}

// testBatch makes a batch of one bundle that was issued.
func testBatch(o *order, seq bft.Seq, payload string, at bft.Time) *bft.Batch {
	b := &bft.Bundle{Client: testClient, Session: 1, First: 1, Payload: []byte(payload), Digest: crypto.Hash("test", []byte(payload))}
	o.issue(testClient, b.Payload)
	p := bft.Proposal{Body: bft.BodyDigest([]bft.Digest{b.Digest}), Time: at}
	return &bft.Batch{Seq: seq, Proposal: p, Digest: p.Digest(), Bundles: []*bft.Bundle{b}}
}

func TestS1TwoDigestsForANumber(t *testing.T) {
	v, heard := listen()
	o := newOrder(v)
	o.executing(0, testBatch(o, 1, "a", 5))
	o.executing(1, testBatch(o, 1, "a", 5))
	if len(*heard) != 0 {
		t.Fatalf("complains of a good history: %q", *heard)
	}
	o.executing(2, testBatch(o, 1, "a", 6)) // the same bundles at another time
	expect(t, *heard, "S1", "number 1")
}

func TestS1BodyThatIsNotTheProposed(t *testing.T) {
	v, heard := listen()
	o := newOrder(v)
	b := testBatch(o, 1, "a", 5)
	b.Bundles = nil
	o.executing(0, b)
	expect(t, *heard, "S1", "not those of its proposal")
}

func TestS2NumberLeftOut(t *testing.T) {
	v, heard := listen()
	o := newOrder(v)
	o.executing(0, testBatch(o, 2, "a", 5))
	expect(t, *heard, "S2", "no honest one executed 1")
}

func TestS2OtherResults(t *testing.T) {
	v, heard := listen()
	o := newOrder(v)
	b := testBatch(o, 1, "a", 5)
	o.executing(0, b)
	o.executed(0, b, &exec.Outcome{Replies: []exec.Reply{{Results: [][]byte{{0, 1}}}}})
	o.executed(1, b, &exec.Outcome{Replies: []exec.Reply{{Results: [][]byte{{0, 2}}}}})
	expect(t, *heard, "S2", "other results")
}

func TestS3BundleThatNobodyIssued(t *testing.T) {
	v, heard := listen()
	o := newOrder(v)
	b := testBatch(o, 1, "a", 5)
	b.Bundles[0].Payload = []byte("another")
	o.executing(0, b)
	expect(t, *heard, "S3", "never issued")
}

func TestS4AppliedTwice(t *testing.T) {
	apply := func(o *order, seq bft.Seq, op string) {
		o.applied(0, &exec.Context{Seq: seq, Session: 1, Op: 7}, []byte(op))
	}
	for name, c := range map[string]struct {
		second func(o *order)
		words  string
	}{
		"in one batch":       {func(o *order) { apply(o, 1, "x") }, "twice"},
		"in another":         {func(o *order) { o.now[0] = nil; apply(o, 2, "x") }, "was at 1"},
		"another operation":  {func(o *order) { o.now[0] = nil; apply(o, 1, "y") }, "was as"},
		"another reply":      {func(o *order) { o.replied(1, &exec.Reply{Session: 1, First: 7, Results: [][]byte{{0, 2}}}) }, "otherwise"},
		"and the same reply": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, heard := listen()
			o := newOrder(v)
			apply(o, 1, "x")
			o.replied(0, &exec.Reply{Session: 1, First: 7, Results: [][]byte{{0, 1}}})
			o.replied(1, &exec.Reply{Session: 1, First: 7, Results: [][]byte{{0, 1}}})
			if c.second == nil {
				if len(*heard) != 0 {
					t.Fatalf("complains of a good history: %q", *heard)
				}
				return
			}
			c.second(o)
			expect(t, *heard, "S4", c.words)
		})
	}
}

func TestS5NotLinearizable(t *testing.T) {
	put := func(from, till bft.Time, v string) call {
		return call{in: input{kind: opPut, key: "k", value: v}, from: from, till: till, out: &output{}}
	}
	get := func(from, till bft.Time, v string) call {
		return call{in: input{kind: opGet, key: "k"}, from: from, till: till, out: &output{value: v, found: v != ""}}
	}
	lost := put(1, 2, "lost")
	lost.out = nil
	for name, c := range map[string]struct {
		calls []call
		good  bool
	}{
		"in order":               {[]call{put(1, 2, "a"), get(3, 4, "a"), put(5, 6, "b"), get(7, 8, "b")}, true},
		"old value":              {[]call{put(1, 2, "a"), put(3, 4, "b"), get(5, 6, "a")}, false},
		"lost write":             {[]call{put(1, 2, "a"), get(3, 4, "")}, false},
		"open write seen":        {[]call{lost, get(3, 4, "lost")}, true},
		"open write never seen":  {[]call{lost, get(3, 4, "")}, true},
		"open write comes, goes": {[]call{lost, get(3, 4, "lost"), get(5, 6, "")}, false},
		"swap that cannot be":    {[]call{put(1, 2, "a"), {in: input{kind: opSwap, key: "k", old: "x", value: "y"}, from: 3, till: 4, out: &output{done: true}}}, false},
		"swap twice": {[]call{put(1, 2, "a"),
			{in: input{kind: opSwap, key: "k", old: "a", value: "b"}, from: 3, till: 9, out: &output{done: true}},
			{in: input{kind: opSwap, key: "k", old: "a", value: "c"}, from: 3, till: 9, out: &output{done: true}}}, false},
		"counter":           {[]call{{in: input{kind: opAdd, n: 2}, from: 1, till: 2, out: &output{n: 2}}, {in: input{kind: opNegate}, from: 3, till: 4, out: &output{n: -2}}}, true},
		"counter, twice":    {[]call{{in: input{kind: opAdd, n: 2}, from: 1, till: 2, out: &output{n: 2}}, {in: input{kind: opNumber}, from: 3, till: 4, out: &output{n: 4}}}, false},
		"delete of nothing": {[]call{{in: input{kind: opDelete, key: "k"}, from: 1, till: 2, out: &output{found: true}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := history{calls: c.calls}
			err, unknown := h.check(time.Minute)
			if unknown || (err == nil) != c.good {
				t.Fatalf("good is %v, and the check says %v, unknown %v", c.good, err, unknown)
			}
			if c.good != (h.picture == nil) || !c.good && !bytes.Contains(h.picture, []byte("<html")) {
				t.Errorf("good is %v, and the picture has %d bytes", c.good, len(h.picture))
			}
		})
	}
}

func TestS7CheckpointsThatDiffer(t *testing.T) {
	v, heard := listen()
	o := newOrder(v)
	o.snapshot(0, bft.Snapshot{Seq: 8, State: bft.Digest{1}})
	o.snapshot(1, bft.Snapshot{Seq: 8, State: bft.Digest{1}})
	o.installed(2, bft.Snapshot{Seq: 8, State: bft.Digest{1}})
	if len(*heard) != 0 {
		t.Fatalf("complains of a good history: %q", *heard)
	}
	o.snapshot(2, bft.Snapshot{Seq: 8, State: bft.Digest{2}})
	expect(t, *heard, "S7", "checkpoint 8")
}

func TestS7SnapshotFromNowhere(t *testing.T) {
	v, heard := listen()
	newOrder(v).installed(2, bft.Snapshot{Seq: 8, State: bft.Digest{1}})
	expect(t, *heard, "S7", "no honest replica has taken")
}

// member is a replica with its promises watched, for the tests of S6, S8, S9 and D2.
type member struct {
	p       *promises
	heard   *[]string
	members []wire.Member
	disk    *disk
}

func newMember() *member {
	ring := crypto.NewFastRing()
	m := &member{disk: newDisk(&queue{}, &Options{}, stream(1, "test"))}
	var keys []crypto.PublicKey
	for id := range 4 {
		s := ring.NewKey(seedOf(1, fmt.Sprint(id)))
		keys = append(keys, s.Public())
		m.members = append(m.members, wire.Member{Self: bft.ReplicaID(id), Cluster: bft.Digest{1}, Signer: s})
	}
	var v *verdict
	v, m.heard = listen()
	m.p = newPromises(v, &wire.Judge{Cluster: bft.Digest{1}, Members: keys, Interval: 8, Verifier: ring}, 4)
	return m
}

// votes makes an envelope of votes of a member.
func (m *member) votes(by int, phase bft.Phase, view, seq uint64, d byte) *bftpb.Envelope {
	digest := bft.Digest{d}
	return m.members[by].Seal(bft.TypeVotes, wire.Marshal(&bftpb.Votes{View: view, Votes: []*bftpb.Vote{{Phase: uint32(phase), Seq: seq, Digest: digest[:]}}}))
}

// sign has member 0 ask for the signature of an envelope, with a record that its vote binds.
func (m *member) sign(e *bftpb.Envelope, lsn bft.LSN) {
	r := bft.Ready{Sign: []bft.SignRequest{{Message: bft.SigningBytes(bft.Digest{1}, 0, bft.MessageType(e.Type), e.Payload)}}}
	for _, c := range claims(e) {
		r.Records = append(r.Records, bft.Record{LSN: lsn, Key: []byte(voteKey(c.key))})
	}
	m.p.ready(0, &r, 0)
}

func (m *member) send(e *bftpb.Envelope) {
	m.p.sent(0, wire.Frame(bft.MessageType(e.Type), e), m.disk)
}

func TestS6CertificateThatProvesNothing(t *testing.T) {
	null := bft.Null.Digest()
	m := newMember()
	certificate := func(signers ...int) []byte {
		c := &bftpb.Committed{Seq: 3, View: 1, Content: &bftpb.Body{}}
		for _, s := range signers {
			e := m.members[s].Seal(bft.TypeVotes, wire.Marshal(&bftpb.Votes{View: 1, Votes: []*bftpb.Vote{{Phase: 2, Seq: 3, Digest: null[:]}}}))
			c.Votes = append(c.Votes, e)
		}
		return wire.Frame(bft.TypeData, &bftpb.Data{Committed: []*bftpb.Committed{c}})
	}
	m.p.sent(0, certificate(0, 1, 2), m.disk)
	if len(*m.heard) != 0 {
		t.Fatalf("complains of a good certificate: %q", *m.heard)
	}
	for _, signers := range [][]int{{0, 1}, {0, 1, 1}} {
		*m.heard = nil
		m.p.sent(0, certificate(signers...), m.disk)
		expect(t, *m.heard, "S6", "2 distinct signers, 3 needed")
	}
}

func TestS6PrimarysOwnPrepareCounted(t *testing.T) {
	m := newMember()
	pre := m.members[1].Seal(bft.TypePrePrepare, wire.Marshal(&bftpb.Header{View: 1, Seq: 3}))
	null := bft.Null.Digest()
	prepare := func(by int) *bftpb.Envelope {
		return m.members[by].Seal(bft.TypeVotes, wire.Marshal(&bftpb.Votes{View: 1, Votes: []*bftpb.Vote{{Phase: 1, Seq: 3, Digest: null[:]}}}))
	}
	change := func(by ...int) *bftpb.Envelope {
		v := &bftpb.ViewChange{View: 2, Envelopes: []*bftpb.Envelope{pre}, Prepared: []*bftpb.Prepared{{Seq: 3}}}
		for i, b := range by {
			v.Envelopes = append(v.Envelopes, prepare(b))
			v.Prepared[0].Votes = append(v.Prepared[0].Votes, uint32(i+1))
		}
		return m.members[0].Seal(bft.TypeViewChange, wire.Marshal(v))
	}
	if err := m.p.judge.ViewChange(change(2, 3)); err != nil {
		t.Fatalf("refuses a good certificate: %v", err)
	}
	m.send(change(1, 2))
	expect(t, *m.heard, "S6", "rule 1")
}

func TestS8GoingBack(t *testing.T) {
	m := newMember()
	m.p.observe(0, bft.Info{View: 3, Stable: 8})
	m.p.observe(0, bft.Info{View: 3, Stable: 0})
	expect(t, *m.heard, "S8", "goes back")
}

func TestS8RestartThatForgetsTheView(t *testing.T) {
	m := newMember()
	m.p.started(0, bft.Info{})
	e := m.members[0].Seal(bft.TypeViewChange, wire.Marshal(&bftpb.ViewChange{View: 2}))
	m.send(e)
	m.p.started(0, bft.Info{View: 2})
	if len(*m.heard) != 0 {
		t.Fatalf("complains of a good restart: %q", *m.heard)
	}
	m.p.started(0, bft.Info{View: 1})
	expect(t, *m.heard, "S8", "restarts in view 1")
}

func TestS9TwoDigestsSigned(t *testing.T) {
	m := newMember()
	m.sign(m.votes(0, bft.PhasePrepare, 1, 3, 1), 1)
	m.sign(m.votes(0, bft.PhaseCommit, 1, 3, 1), 2)
	m.sign(m.votes(0, bft.PhasePrepare, 2, 3, 2), 3)
	if len(*m.heard) != 0 {
		t.Fatalf("complains of a good history: %q", *m.heard)
	}
	m.sign(m.votes(0, bft.PhasePrepare, 1, 3, 2), 4)
	expect(t, *m.heard, "S9", "prepare of number 3 in view 1")
}

func TestS9AcrossARestart(t *testing.T) {
	m := newMember()
	// What never left binds nobody.
	m.sign(m.votes(0, bft.PhasePrepare, 1, 3, 1), 1)
	m.p.started(0, bft.Info{})
	e := m.votes(0, bft.PhasePrepare, 1, 3, 2)
	m.sign(e, 1)
	m.disk.durable = 1
	m.send(e)
	if len(*m.heard) != 0 {
		t.Fatalf("complains of a good history: %q", *m.heard)
	}
	m.p.started(0, bft.Info{View: 1})
	m.sign(m.votes(0, bft.PhasePrepare, 1, 3, 3), 2)
	expect(t, *m.heard, "S9", "earlier life")
}

func TestD2VoteBeforeItsRecord(t *testing.T) {
	m := newMember()
	e := m.votes(0, bft.PhaseCommit, 1, 3, 1)
	m.sign(e, 5)
	m.disk.durable = 5
	m.send(e)
	if len(*m.heard) != 0 {
		t.Fatalf("complains of a durable vote: %q", *m.heard)
	}
	m.disk.durable = 4
	m.send(e)
	expect(t, *m.heard, "D2", "binds record 5")
	*m.heard = nil
	m.send(m.votes(0, bft.PhaseCommit, 1, 4, 1))
	expect(t, *m.heard, "D2", "no record of it")
}
