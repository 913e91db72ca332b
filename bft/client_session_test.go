package bft

import (
	"errors"
	"testing"
)

// Everything of a command line is in one bundle: opening, operations, close. The next bundle is
// another session.
func TestEphemeral(t *testing.T) {
	cfg := rigConfig(4)
	cfg.Ephemeral = true
	r := newRig(t, cfg)
	r.invoke(1, "a")
	r.invoke(2, "b")
	r.tick(0)
	r.invoke(3, "c")
	r.tick(0)
	first, _ := r.lastRequest()
	if len(r.requests) != 1 || !first.Opens() || !first.Close || len(first.Ops) != 2 || first.NotAfter != rigClock+30*Second {
		t.Fatalf("%d requests, %+v", len(r.requests), first)
	}
	r.deliver()
	second, _ := r.lastRequest()
	if len(r.requests) != 2 || !second.Opens() || second.Nonce == first.Nonce || second.First != 1 {
		t.Fatalf("%d requests, %+v", len(r.requests), second)
	}
	if len(r.results) != 3 {
		t.Fatalf("%d results", len(r.results))
	}
	r.c.Close()
	r.tick(0)
	if !r.c.Closed() || len(r.requests) != 2 {
		t.Fatal("nothing was left to close")
	}
}

// Close lets the calls end, then ends the session; new calls are refused.
func TestClose(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invoke(1, "a")
	r.tick(0)
	r.invoke(3, "b")
	r.c.Close()
	if err := r.c.Invoke(2, nil, CallOptions{}); !errors.Is(err, ErrNotSubmitted) {
		t.Fatalf("after Close: %v", err)
	}
	r.tick(0)
	if b, _ := r.lastRequest(); b.First != 3 || b.Close || r.c.Closed() {
		t.Fatalf("a close beside an outstanding bundle may be ordered before it: %+v", b)
	}
	r.deliver()
	b, _ := r.lastRequest()
	if !b.Close || len(b.Ops) != 0 || !r.c.Closed() || len(r.results) != 3 {
		t.Fatalf("closed %v with %+v", r.c.Closed(), b)
	}
}

// With nothing outstanding before them, the last operations take the close along.
func TestCloseWithTheLastOperations(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invoke(1, "a")
	r.c.Close()
	r.tick(0)
	if b, _ := r.lastRequest(); !b.Close || len(b.Ops) != 1 {
		t.Fatalf("%+v", b)
	}
	r.deliver()
	if len(r.requests) != 2 || !r.c.Closed() || len(r.results) != 2 {
		t.Fatalf("%d requests, closed %v", len(r.requests), r.c.Closed())
	}
}

// A session that the replicas have given up ends the calls that left in it, and no others.
func TestSessionExpired(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invoke(1, "a")
	r.tick(0)
	b, _ := r.lastRequest()
	r.invoke(2, "b") // leaves in a bundle of its own
	r.tick(0)
	r.c.ReplicaDown(0)
	gone := [][]byte{{byte(ResultUnknownSession)}}
	r.c.Step(1, ReplyFrame(1, 0, b, b.Session, gone, Everyone))
	r.pump()
	if len(r.results) != 1 {
		t.Fatal("one replica ended the session")
	}
	r.invoke(3, "c")
	r.c.Step(2, ReplyFrame(2, 0, b, b.Session, gone, Everyone))
	r.pump()
	for id := CallID(1); id <= 2; id++ {
		if err := r.results[id].Err; !errors.Is(err, ErrSessionExpired) || !errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("call %d: %v", id, err)
		}
	}
	next, _ := r.lastRequest()
	if !next.Opens() || len(next.Ops) != 1 || next.Nonce == r.requests[0].Nonce {
		t.Fatalf("next bundle: %+v", next)
	}
	r.deliver()
	if res := r.results[3]; res.Err != nil {
		t.Fatal(res.Err)
	}
}

// A session idle for so long that replicas may soon give it up is not used again.
func TestIdleSessionIsReplaced(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.tick(r.c.cfg.MaxIdle + 1)
	r.invoke(1, "a")
	r.tick(0)
	if b, _ := r.lastRequest(); !b.Opens() {
		t.Fatal("the idle session is used again")
	}
}
