package bft

import (
	"errors"
	"testing"
)

// claimRig is a client with an open session that claims it.
func claimRig(t *testing.T, c Claim) *clientRig {
	t.Helper()
	cfg := rigConfig(4)
	cfg.Claim = c
	r := newRig(t, cfg)
	r.open()
	if b, _ := r.lastRequest(); b.Claim == nil || *b.Claim != c {
		t.Fatalf("the session is opened with %+v", b.Claim)
	}
	r.sent = nil
	return r
}

func (r *clientRig) status(b *Bundle, s ResultStatus) {
	r.t.Helper()
	for id := range ReplicaID(r.c.need) {
		r.c.Step(id, ReplyFrame(id, 0, b, b.Session, [][]byte{{byte(s)}}, Everyone))
	}
	r.pump()
}

// Whoever must be heard to live is heard, with new numbers, and only while nothing else is sent.
func TestShowsLifeWhileIdle(t *testing.T) {
	for _, c := range []Claim{{Lease: 3 * Second}, {Instance: "a", Replace: ReplaceSilent, Grace: 3 * Second}, {Instance: "a", Lease: 9 * Second, Replace: ReplaceSilent, Grace: 3 * Second}} {
		r := claimRig(t, c)
		sent := len(r.requests)
		if due, ok := r.c.Wake(); !ok || due > r.now+Second {
			t.Fatalf("%+v: wakes at %d", c, due)
		}
		last := uint64(1)
		for range 3 {
			r.tick(Second)
			b, _ := r.lastRequest()
			if sent++; len(r.requests) != sent || len(b.Ops) != 1 || len(b.Ops[0]) != 0 || b.First != last+1 || b.Expires != rigClock+r.now+3*Second {
				t.Fatalf("%+v: %d requests, want %d; %+v", c, len(r.requests), sent, b)
			}
			last = b.First
			r.sent = nil
			r.status(b, ResultInvalid)
		}
		r.invoke(1, "x")
		r.tick(0)
		if b, _ := r.lastRequest(); b.First != last+1 || b.AnsweredBelow != last+1 {
			t.Fatalf("%+v", b)
		}
		r.deliver()
		r.tick(Second / 2)
		if len(r.requests) != sent+1 {
			t.Fatalf("it shows life though it has just called")
		}
	}
	r := claimRig(t, Claim{Instance: "a", Replace: ReplaceAll})
	sent := len(r.requests)
	if r.tick(60 * Second); len(r.requests) != sent {
		t.Fatal("nobody asks for life, but it is shown")
	}
}

// What the cluster says of each operation of a session that has ended is what its call ends in; then a new one is opened.
func TestLeaseRanOut(t *testing.T) {
	r := claimRig(t, Claim{Lease: 3 * Second})
	r.invoke(1, "a")
	r.tick(0)
	first, _ := r.lastRequest()
	r.invoke(2, "b")
	r.tick(0)
	second, _ := r.lastRequest()
	r.sent = nil
	r.status(first, ResultEnded)
	r.invoke(3, "c")
	r.tick(0)
	if b, _ := r.lastRequest(); b.Digest != second.Digest {
		t.Fatal("something leaves in a session that has ended")
	}
	if err := r.results[1].Err; !errors.Is(err, ErrSessionExpired) || !errors.Is(err, ErrNotSubmitted) {
		t.Fatal(err)
	}
	for id := range ReplicaID(2) {
		r.reply(id, second, second.Session, Everyone, "b")
	}
	r.want(2, "b")
	if b, _ := r.lastRequest(); !b.Opens() || string(b.Ops[0]) != "c" {
		t.Fatalf("%+v", b)
	}
}

// A client that was replaced calls nothing any more: else it would replace its successor in turn.
func TestReplacedClientStops(t *testing.T) {
	r := claimRig(t, Claim{Instance: "a", Replace: ReplaceAll})
	r.invoke(1, "a")
	r.tick(0)
	b, _ := r.lastRequest()
	sent := len(r.requests)
	r.status(b, ResultReplaced)
	r.invoke(2, "b")
	r.tick(Second)
	for id := CallID(1); id <= 2; id++ {
		if err := r.results[id].Err; !errors.Is(err, ErrReplaced) || !errors.Is(err, ErrNotSubmitted) {
			t.Fatalf("call %d: %v", id, err)
		}
	}
	r.c.Close()
	r.tick(0)
	if len(r.requests) != sent || !r.c.Closed() {
		t.Fatalf("%d more requests, closed %v", len(r.requests)-sent, r.c.Closed())
	}
}

func TestClaimsAreValidated(t *testing.T) {
	long := string(make([]byte, MaxInstance+1))
	for _, c := range []Claim{{Replace: ReplaceAll}, {Instance: "a", Replace: ReplaceSilent}, {Instance: "a", Grace: 1}, {Lease: -1}, {Instance: long},
		{Instance: "a", Replace: replacementEnd}} {
		cfg := rigConfig(4)
		cfg.Claim = c
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("%+v was taken", c)
		}
		b := &Bundle{First: 1, NotAfter: 1, Claim: &c}
		if c.Lease < 0 {
			continue // it has no encoding
		}
		if _, err := DecodeBundle(EncodeBundle(b), b.Signature, WindowOps, MaxBundleBytes); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v was read: %v", c, err)
		}
	}
	b := &Bundle{First: 1, Session: 5, Ops: [][]byte{nil}, Claim: &Claim{Lease: 1}}
	if _, err := DecodeBundle(EncodeBundle(b), b.Signature, WindowOps, MaxBundleBytes); !errors.Is(err, ErrInvalid) {
		t.Errorf("a claim outside an opening: %v", err)
	}
}
