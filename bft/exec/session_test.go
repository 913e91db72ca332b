package exec

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

func TestRule24OpeningIsRepeatable(t *testing.T) {
	r := newRig(t)
	b := openWith(alice, 1, "x", "y")
	out := r.at(0, b, b)
	first := out.Replies[0]
	r.want(first, "1:x", "2:y")
	for i, reply := range []Reply{out.Replies[1], r.do(b), r.Replay(b), r.again().do(b)} {
		if reply.Session != first.Session || reply.Digest() != first.Digest() {
			t.Errorf("repetition %d: session %d, %q", i, reply.Session, show(reply.Results))
		}
	}
	if r.tape.ops != 2 || r.Sessions() != 1 {
		t.Errorf("%d operations executed, %d sessions", r.tape.ops, r.Sessions())
	}
	other := openWith(bob, 1, "z")
	if reply := r.do(other); reply.Session == first.Session {
		t.Error("the nonce of another key led to the same session")
	}
}

func TestRule24OpeningIsRefusedOutsideItsTime(t *testing.T) {
	r := newRig(t)
	b := openWith(alice, 1, "x")
	b.NotAfter = r.Time() - 1
	r.want(r.do(b), "expired")
	b.NotAfter = r.Time() + r.table.limits.MaxAhead + 1
	r.want(r.do(b), "not now")
	r.want(r.Replay(b), "not now")
	b.NotAfter--
	r.want(r.do(b), "1:x")
	late := openWith(alice, 2, "x")
	late.Expires = r.Time() - 1
	r.want(r.do(late), "too late")
	// Agreed time is clamped: a null proposal, or one whose time lies behind, does not go back.
	r.at(3*hour, nil...)
	r.at(0)
	r.at(hour)
	if r.Time() != 3*hour {
		t.Errorf("time %v", r.Time())
	}
	r.want(r.do(openWith(alice, 3, "x")), "expired")
}

func TestRule24OpeningIsRememberedUntilNotAfterThoughClosed(t *testing.T) {
	r := newRig(t)
	b := openWith(alice, 1, "x") // what a command line does: open, one operation, close
	b.Close = true
	out := r.at(0, b)
	reply := out.Replies[0]
	r.want(reply, "1:x")
	if marks := out.Executed.Marks; len(marks) != 1 || !marks[0].Gone || r.Sessions() != 0 {
		t.Fatalf("marks %+v", marks)
	}
	r.want(r.do(in(alice, reply.Session, 2, "y")), "unknown session")
	r.at(b.NotAfter)
	if again := r.do(b); again.Session != reply.Session || again.Digest() != reply.Digest() {
		t.Errorf("repeated at its NotAfter: %q", show(again.Results))
	}
	r.at(b.NotAfter + 1)
	r.want(r.do(b), "expired")
	if len(r.table.clients) != 0 || r.table.bytes != 0 {
		t.Error("the client is not forgotten")
	}
}

func TestRule24AnOpeningThatWasUsedForOthersIsSuperseded(t *testing.T) {
	r := newRig(t)
	r.do(openWith(alice, 1, "x"))
	r.want(r.do(openWith(alice, 1, "other", "more")), "1:x", "superseded")
}

func TestRule24QuotaRefusesRatherThanEvictsWhatWasUsedWithinT(t *testing.T) {
	r := newRig(t, func(l *Limits) { l.SessionsPerClient, l.MaxAhead = 2, hour })
	first, second := r.open(alice, 1), r.open(alice, 2)
	b := openWith(alice, 3, "x")
	r.want(r.do(b), "refused")
	r.open(bob, 1) // another key has a quota of its own
	r.at(r.Time()+hour, in(alice, second, 1, "y"))
	b2 := openWith(alice, 4, "x")
	b2.NotAfter = 3 * hour
	r.want(r.do(b2), "refused")
	b3 := openWith(alice, 5, "z")
	b3.NotAfter = 3 * hour
	out := r.at(r.Time()+1, b, b3) // the first has been idle for longer than T
	r.want(out.Replies[0], "expired")
	r.want(out.Replies[1], "2:z")
	gone := slices.ContainsFunc(out.Executed.Marks, func(m bft.SessionMark) bool { return m.Session == first && m.Gone })
	if !gone {
		t.Error("no mark says that the first session was evicted")
	}
	r.want(r.do(in(alice, first, 1, "x")), "unknown session")
	r.want(r.do(in(alice, second, 1, "y")), "1:y")
	r.want(r.do(b2), "refused") // that was final
}

func TestRule24TotalOfSessionsIsBounded(t *testing.T) {
	r := newRig(t, func(l *Limits) { l.MaxSessions, l.SessionsPerClient = 2, 2 })
	s := r.open(alice, 1)
	r.open(bob, 1)
	r.want(r.do(openWith(bft.ClientID{'c'}, 1)), "refused")
	oneShot := openWith(bft.ClientID{'c'}, 2, "x")
	oneShot.Close = true
	r.want(r.do(oneShot), "1:x") // it takes no place beyond its bundle
	end := in(alice, s, 1)
	end.Close = true
	r.want(r.do(end), "ok")
	r.open(bft.ClientID{'c'}, 3)
}

func TestRule24OpeningsAreBoundedAndSayNotNow(t *testing.T) {
	r := newRig(t, func(l *Limits) { l.OpeningsPerClient = 1 })
	r.open(alice, 1)
	b := openWith(alice, 2, "x")
	b.NotAfter += hour
	r.want(r.do(b), "not now")
	r.want(r.at(2*hour+1, b).Replies[0], "1:x") // which was not final
}

func TestRule24ClosedSessionAnswersRetriesOnly(t *testing.T) {
	r := newRig(t, func(l *Limits) { l.SessionsPerClient = 1 })
	s := r.open(alice, 1)
	last := in(alice, s, 1, "x")
	last.Close = true
	r.want(r.do(last), "1:x")
	r.want(r.do(last), "1:x")
	r.want(r.Replay(last), "1:x")
	end := in(alice, s, 1)
	end.Close = true
	r.want(r.do(end), "ok")
	r.want(r.do(in(alice, s, 2, "y")), "unknown session")
	for nonce := byte(2); nonce < 4; nonce++ { // others that are closed push it out
		end := in(alice, r.open(alice, nonce), 1)
		end.Close = true
		r.do(end)
		r.check()
	}
	r.want(r.do(last), "unknown session")
}

func TestRule24WindowOfNumbers(t *testing.T) {
	r := newRig(t)
	s := r.open(alice, 1)
	r.want(r.do(in(alice, s, bft.WindowOps, "last", "beyond")), "1:last", "too far")
	r.want(r.Replay(in(alice, s, bft.WindowOps+1, "beyond")), "too far")
	r.want(r.Replay(in(alice, s, 5, "open")), "not now")
	r.want(r.do(in(alice, s, 1, "first")), "2:first")
	r.want(r.do(in(alice, s, bft.WindowOps+1, "beyond")), "3:beyond")
	m := r.Marks()[0]
	if m.Low != 2 || !m.Decided(bft.WindowOps, 2) || m.Decided(2, 1) {
		t.Errorf("mark %+v", m)
	}
	for _, b := range []*bft.Bundle{in(alice, s, 0, "x"), in(alice, s, ^uint64(0), "x", "y")} {
		r.want(r.do(b), slices.Repeat([]string{"invalid"}, len(b.Ops))...)
	}
	long := &bft.Bundle{Client: alice, Session: s, First: 1, Ops: slices.Repeat(ops("x"), bft.WindowOps+1)}
	if results := show(r.do(long).Results); results[0] != "invalid" || len(results) != len(long.Ops) {
		t.Errorf("a bundle of more than a window: %q", results[:1])
	}
}

func TestRule24AnsweredBelowDropsResultsAndGivesUpGaps(t *testing.T) {
	r := newRig(t)
	reply := r.do(openWith(alice, 1, "a"))
	s := reply.Session
	r.do(in(alice, s, 2, "b", "c"))
	r.do(in(alice, s, 6, "f"))
	b := in(alice, s, 8, "h")
	b.AnsweredBelow = 3
	r.do(b)
	r.want(r.do(in(alice, s, 1, "a", "b", "c")), "forgotten", "forgotten", "3:c")
	r.want(r.do(openWith(alice, 1, "a")), "forgotten")
	b = in(alice, s, 9, "i")
	b.AnsweredBelow = 6 // 4 and 5 were never sent, or sent and given up
	r.do(b)
	r.want(r.do(in(alice, s, 4, "d", "e", "f", "g", "h", "i")), "forgotten", "forgotten", "4:f", "7:g", "5:h", "6:i")
	if m := r.Marks()[0]; m.Low != 10 {
		t.Errorf("low is %d", m.Low)
	}
}

func TestRule24ResultsAreBoundedInBytes(t *testing.T) {
	one := sizeOf(make([]byte, 1+4+100))
	r := newRig(t, func(l *Limits) {
		l.SessionResultBytes, l.ClientResultBytes, l.TotalResultBytes = 3*one, 5*one, 6*one
	})
	x := strings.Repeat("x", 100)
	kept := func(client bft.ClientID, s bft.SessionID, n uint64) (count int) {
		for i := range n {
			if reply := r.do(in(client, s, 1+i, x)); Status(reply.Results[0][0]) == StatusOK {
				count++
			}
		}
		return count
	}
	a1, a2, b1 := r.open(alice, 1), r.open(alice, 2), r.open(bob, 1)
	r.do(in(alice, a1, 1, x, x, x, x))
	if n := kept(alice, a1, 4); n != 3 {
		t.Errorf("a session keeps %d results", n)
	}
	r.want(r.do(in(alice, a1, 1, x)), "forgotten") // the lowest number went first
	r.do(in(alice, a2, 1, x, x, x, x))
	if n := kept(alice, a2, 4); n != 2 {
		t.Errorf("the client's second session keeps %d results", n)
	}
	r.do(in(bob, b1, 1, x, x, x, x))
	if n := kept(bob, b1, 4); n != 1 {
		t.Errorf("another client keeps %d results of what is left", n)
	}
	b := openWith(bob, 2, x)
	r.do(b)
	r.want(r.do(b), "forgotten")
	if r.tape.ops != 13 {
		t.Errorf("%d operations executed", r.tape.ops)
	}
	r.check()
	r.again().check()
}

func TestRule25FirstOrderedOperationOfANumberCounts(t *testing.T) {
	r := newRig(t)
	s := r.open(alice, 1)
	out := r.at(0, in(alice, s, 1, "x", "y"), in(alice, s, 2, "other", "z"))
	r.want(out.Replies[1], "2:y", "3:z")
	r.want(r.do(in(alice, s, 1, "p", "q", "r", "s")), "1:x", "2:y", "3:z", "4:s")
	if string(r.tape.bytes) != "xyzs" {
		t.Errorf("executed %q", r.tape.bytes)
	}
}

func TestASessionIsItsOwnersAlone(t *testing.T) {
	r := newRig(t)
	s := r.open(alice, 1)
	b := in(bob, s, 1, "x")
	b.Close = true
	out := r.at(0, b)
	r.want(out.Replies[0], "unknown session")
	if len(out.Executed.Marks) != 0 || r.Sessions() != 1 {
		t.Errorf("it left a mark: %+v", out.Executed.Marks)
	}
	r.want(r.Replay(b), "unknown session")
}

func TestALateBundleUsesUpItsNumbersAndDoesNothing(t *testing.T) {
	r := newRig(t)
	s := r.open(alice, 1)
	b := in(alice, s, 1, "x")
	b.Expires, b.Close = r.Time()-1, true
	r.want(r.do(b), "too late")
	r.want(r.do(in(alice, s, 1, "x")), "too late") // also without an expiry
	r.want(r.do(in(alice, s, 2, "y")), "1:y")
	empty := in(alice, s, 3)
	empty.Expires, empty.Close = r.Time()-1, true
	r.want(r.do(empty), "too late")
	far := in(alice, s, 5000, "x")
	far.Expires = r.Time() - 1
	r.want(r.do(far), "too late")
	b.Expires = r.Time() // not late yet
	b.First = 3
	r.want(r.do(b), "2:x")
	if r.Sessions() != 0 {
		t.Error("it is not closed")
	}
}

func TestRestoredSessionsAreLinkedToTheirOpenings(t *testing.T) {
	r := newRig(t)
	s := r.do(openWith(alice, 1, "x")).Session
	o := r.again()
	b := in(alice, s, 2, "y")
	b.AnsweredBelow = 2
	for _, x := range []*rig{r, o} {
		x.do(b)
		x.want(x.do(openWith(alice, 1, "x")), "forgotten")
	}
	if !bytes.Equal(r.bytes(), o.bytes()) {
		t.Error("states differ")
	}
}
