package bft

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// loseReplies has the replicas take what was sent; what they answer is lost.
func (r *clientRig) loseReplies() {
	r.t.Helper()
	for _, m := range r.sent {
		for id := range ReplicaID(r.c.cfg.N) {
			if m.To == Everyone || m.To == id {
				r.cluster.answer(r, id, m.Frame)
			}
		}
	}
	r.sent = nil
}

// loseRequests has nothing arrive of what was sent.
func (r *clientRig) loseRequests() { r.sent = nil }

func (r *clientRig) invokeAs(id CallID, op string, opts CallOptions) {
	r.t.Helper()
	if err := r.c.Invoke(id, []byte(op), opts); err != nil {
		r.t.Fatal(err)
	}
}

// counted is how often each operation was executed, by what replicas would have decided.
func (tc *toyCluster) counted() map[string]int {
	times := map[string]int{}
	for _, d := range tc.done {
		for _, res := range d.results {
			if len(res) > 9 {
				times[string(res[9:])]++
			}
		}
	}
	return times
}

// What each semantics promises, and no more, whatever is lost: requests, replies, or for a while both.
func TestSemanticsUnderLoss(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		semantics := rapid.SampledFrom([]Semantics{ExactlyOnce, AtMostOnce, AtLeastOnce, Maybe}).Draw(rt, "semantics")
		cfg := rigConfig(4)
		cfg.Ephemeral = rapid.Bool().Draw(rt, "ephemeral")
		r := newRig(t, cfg)
		calls := rapid.IntRange(1, 5).Draw(rt, "calls")
		for i := 1; i <= calls; i++ {
			opts := CallOptions{Semantics: semantics}
			if semantics == AtMostOnce {
				opts.Deadline = r.now + 3*Second
			}
			r.invokeAs(CallID(i), fmt.Sprint("op", i), opts)
			for range rapid.IntRange(0, 3).Draw(rt, "losses") {
				r.tick(0)
				if rapid.Bool().Draw(rt, "replies") {
					r.loseReplies()
				} else {
					r.loseRequests()
				}
				r.tick(r.c.cfg.MaxRetry)
			}
			r.tick(0)
			r.deliver()
		}
		for range 10 {
			r.tick(r.c.cfg.MaxRetry)
			r.deliver()
		}
		times := r.cluster.counted()
		for i := 1; i <= calls; i++ {
			res, ended := r.results[CallID(i)]
			n := times[fmt.Sprint("op", i)]
			switch {
			case !ended:
				rt.Fatalf("%v: call %d has not ended", semantics, i)
			case semantics == ExactlyOnce && (n != 1 || res.Err != nil),
				semantics == AtLeastOnce && (n < 1 || res.Err != nil),
				semantics == AtMostOnce && (n > 1 || res.Err == nil && n != 1),
				semantics == Maybe && (n > 1 || res.Err == nil && n != 1):
				rt.Fatalf("%v: call %d was executed %d times and ended in %v", semantics, i, n, res.Err)
			}
		}
		if r.c.Outstanding() != 0 {
			rt.Fatalf("%d calls outstanding", r.c.Outstanding())
		}
	})
}

// The same bytes again are the same operation; an operation that is to be executed at least once leaves anew.
func TestAtLeastOnceIsExecutedTwice(t *testing.T) {
	for _, ephemeral := range []bool{false, true} {
		cfg := rigConfig(4)
		cfg.Ephemeral = ephemeral
		r := newRig(t, cfg)
		if !ephemeral {
			r.open()
		}
		r.sent = nil
		r.invokeAs(1, "a", CallOptions{Semantics: AtLeastOnce})
		r.tick(0)
		first, _ := r.lastRequest()
		r.loseReplies()
		for range 2 { // the others are asked first, with the same bytes
			r.tick(r.c.cfg.RetryAfter)
		}
		second, _ := r.lastRequest()
		if first.Digest == second.Digest || ephemeral == (first.Nonce == second.Nonce) || !ephemeral && first.First == second.First {
			t.Fatalf("first %+v, then %+v", first, second)
		}
		r.deliver()
		r.want(1, string(toyResult([]byte("a"), 2)[1:]))
		if n := r.cluster.counted()["a"]; n != 2 {
			t.Fatalf("executed %d times", n)
		}
	}
}

// An operation to be executed at most once says itself until when, and is not repeated after that.
func TestAtMostOnceEndsWithItsDeadline(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invokeAs(1, "a", CallOptions{Semantics: AtMostOnce, Deadline: r.now + 1234*Millisecond})
	r.invokeAs(2, "b", CallOptions{Semantics: AtMostOnce, Deadline: r.now + 1201*Millisecond})
	r.tick(0)
	b, _ := r.lastRequest()
	if want := rigClock + 1300*Millisecond; b.Expires != want || len(b.Ops) != 2 {
		t.Fatalf("expires %d, want %d; %d operations", b.Expires, want, len(b.Ops))
	}
	r.tick(r.c.cfg.RetryAfter)
	if again, _ := r.lastRequest(); again.Digest != b.Digest {
		t.Fatal("it was not repeated as it is")
	}
	r.tick(2 * Second)
	sent := len(r.requests)
	r.tick(r.c.cfg.MaxRetry)
	r.c.ReplicaUp(1)
	r.pump()
	if err := r.results[1].Err; !errors.Is(err, ErrOutcomeUnknown) || len(r.requests) != sent {
		t.Fatalf("%v, then %d more requests", err, len(r.requests)-sent)
	}
	r.invoke(3, "c")
	r.tick(0)
	if next, _ := r.lastRequest(); next.AnsweredBelow != b.First+2 {
		t.Fatalf("%+v does not give up what was given up", next)
	}
}

// Replicas that refuse what came too late have not executed it: that is known then.
func TestAtMostOnceIsToldThatItCameTooLate(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invokeAs(1, "a", CallOptions{Semantics: AtMostOnce, Deadline: r.now + 2*Second})
	r.tick(0)
	b, _ := r.lastRequest()
	for id := range ReplicaID(2) {
		r.c.Step(id, ReplyFrame(id, 0, b, b.Session, [][]byte{{byte(ResultTooLate)}}, Everyone))
	}
	r.pump()
	if err := r.results[1].Err; !errors.Is(err, ErrRejected) || errors.Is(err, ErrOutcomeUnknown) {
		t.Fatal(err)
	}
}

// A call that may be executed or not leaves once: no timer, no returning replica, no failed replier sends it again.
func TestMaybeLeavesOnce(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	before := len(r.requests)
	r.invokeAs(1, "a", CallOptions{Semantics: Maybe})
	r.tick(0)
	r.loseReplies()
	for _, step := range []func(){
		func() { r.c.ReplicaDown(0) }, func() { r.c.ReplicaUp(0) }, func() { r.tick(r.c.cfg.RetryAfter) }, func() { r.tick(r.c.cfg.MaxRetry) },
	} {
		step()
		r.tick(0)
		if n := len(r.requests) - before; n != 1 {
			t.Fatalf("sent %d times", n)
		}
	}
	if err := r.results[1].Err; !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatal(err)
	}
}

// A declared idempotent operation is invoked anew where its session, and with it the outcome, is gone; but not for ever.
func TestIdempotentMovesToANewSession(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invokeAs(1, "a", CallOptions{Idempotent: true})
	for moves := 0; ; moves++ {
		r.tick(0)
		b, _ := r.lastRequest()
		if len(b.Ops) != 1 || string(b.Ops[0]) != "a" || moves > 0 && !b.Opens() {
			t.Fatalf("move %d: %+v", moves, b)
		}
		status := ResultUnknownSession
		if b.Opens() {
			status = ResultExpired
		}
		for id := range ReplicaID(2) {
			r.c.Step(id, ReplyFrame(id, 0, b, b.Session, [][]byte{{byte(status)}}, Everyone))
		}
		r.pump()
		if res, ended := r.results[1]; ended {
			if moves != maxMoves || !errors.Is(res.Err, ErrSessionExpired) {
				t.Fatalf("after %d moves: %v", moves, res.Err)
			}
			return
		}
	}
}

// A call that left before, and waits for the next session, may have been executed: however it ends, nobody says that
// it was not.
func TestWaitsForItsNextSessionAfterItLeft(t *testing.T) {
	for name, end := range map[string]func(r *clientRig, opening *Bundle){
		"deadline": func(r *clientRig, _ *Bundle) { r.tick(2 * Second) },
		"cancel":   func(r *clientRig, _ *Bundle) { r.c.Cancel(1) },
		"refused": func(r *clientRig, opening *Bundle) {
			for id := range ReplicaID(2) {
				r.c.Step(id, ReplyFrame(id, 0, opening, 0, [][]byte{{byte(ResultRefused)}}, Everyone))
			}
		},
		"replaced": func(r *clientRig, opening *Bundle) {
			for id := range ReplicaID(2) {
				r.c.Step(id, ReplyFrame(id, 0, opening, 0, [][]byte{{byte(ResultReplaced)}}, Everyone))
			}
		},
	} {
		r := newRig(t, rigConfig(4))
		r.open()
		r.invokeAs(1, "a", CallOptions{Semantics: AtLeastOnce, Deadline: r.now + Second})
		r.tick(0)
		b, _ := r.lastRequest()
		for id := range ReplicaID(2) {
			r.c.Step(id, ReplyFrame(id, 0, b, b.Session, [][]byte{{byte(ResultUnknownSession)}}, Everyone))
		}
		r.pump()
		opening, _ := r.lastRequest()
		if !opening.Opens() || len(opening.Ops) != 0 {
			t.Fatalf("%s: %+v does not open a session first", name, opening)
		}
		end(r, opening)
		r.pump()
		err := r.results[1].Err
		if !errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrNotSubmitted) || errors.Is(err, ErrRejected) || errors.Is(err, ErrReplaced) {
			t.Errorf("%s: it ends in %v, want that its outcome is unknown", name, err)
		}
	}
}

// The same once it has left again: that this time it was not executed says nothing of the first.
func TestRefusedAfterItLeft(t *testing.T) {
	for status, never := range map[ResultStatus]bool{ResultTooLate: false, ResultEnded: false, ResultReplaced: false, ResultInvalid: true, ResultUnknownService: true} {
		r := newRig(t, rigConfig(4))
		r.open()
		r.invokeAs(1, "a", CallOptions{Semantics: AtLeastOnce})
		r.tick(0)
		first, _ := r.lastRequest()
		for range 2 { // the others are asked first, with the same bytes
			r.tick(r.c.cfg.RetryAfter)
		}
		b, _ := r.lastRequest()
		if b.First == first.First {
			t.Fatalf("status %d: %+v, and then %+v: not a new operation", status, first, b)
		}
		for id := range ReplicaID(2) {
			r.c.Step(id, ReplyFrame(id, 0, b, b.Session, [][]byte{{byte(status)}}, Everyone))
		}
		r.pump()
		if err := r.results[1].Err; errors.Is(err, ErrOutcomeUnknown) == never || errors.Is(err, ErrRejected) != never || errors.Is(err, ErrNotSubmitted) {
			t.Errorf("status %d: it ends in %v", status, err)
		}
	}
}

// What waits for a session that cannot be opened did not leave.
func TestWaitsForItsSession(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invokeAs(1, "a", CallOptions{Semantics: AtMostOnce})
	r.tick(0)
	b, _ := r.lastRequest()
	if !b.Opens() || len(b.Ops) != 0 || b.Close {
		t.Fatalf("%+v does not open a session first", b)
	}
	for id := range ReplicaID(2) {
		r.c.Step(id, ReplyFrame(id, 0, b, 0, [][]byte{{byte(ResultRefused)}}, Everyone))
	}
	r.pump()
	if err := r.results[1].Err; !errors.Is(err, ErrRejected) || !errors.Is(err, ErrNotSubmitted) {
		t.Fatal(err)
	}
	if r.tick(r.c.cfg.MaxRetry); len(r.requests) != 1 {
		t.Fatal("it goes on opening sessions for nobody")
	}
}

// crowd answers the newest bundle as replicas do that had room for the results of its first operations only.
func (r *clientRig) crowd(room int) {
	r.t.Helper()
	b, _ := r.lastRequest()
	results := make([][]byte, len(b.Ops))
	for i := range results {
		if results[i] = okResults(string(b.Ops[i]))[0]; i >= room {
			results[i] = []byte{byte(ResultCrowded)}
		}
	}
	for id := range ReplicaID(2) {
		r.c.Step(id, ReplyFrame(id, 0, b, 77, results, Everyone))
	}
	r.pump()
}

// Operations for whose results there was no room beside those of others were not executed, and are called again.
func TestCrowdedCallsLeaveAgain(t *testing.T) {
	for _, s := range []Semantics{ExactlyOnce, AtMostOnce, AtLeastOnce, Maybe} {
		r := newRig(t, rigConfig(4))
		r.open()
		const calls = 7
		for id := range CallID(calls) {
			if err := r.c.Invoke(id, []byte{byte(id)}, CallOptions{Semantics: s, Deadline: r.now + Second}); err != nil {
				t.Fatal(err)
			}
		}
		r.tick(0)
		if b, _ := r.lastRequest(); len(b.Ops) != calls {
			t.Fatalf("%v: %d operations in a bundle", s, len(b.Ops))
		}
		first := r.requests[len(r.requests)-1].First
		if r.crowd(3); s == Maybe { // which leave once
			if err := r.results[calls-1].Err; !errors.Is(err, ErrNotSubmitted) || errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("%v: %v", s, err)
			}
			continue
		}
		r.tick(Millisecond)
		b, _ := r.lastRequest()
		if len(b.Ops) != calls-3 || b.First != first+calls {
			t.Fatalf("%v: %d operations from number %d leave again", s, len(b.Ops), b.First)
		}
		r.crowd(1)
		r.tick(Millisecond)
		r.crowd(calls)
		for id := range CallID(calls) {
			r.want(id, string([]byte{byte(id)}))
		}
	}
}

// So are reads, with those that wait.
func TestCrowdedReadsLeaveAgain(t *testing.T) {
	r := newRig(t, rigConfig(4))
	const reads = 7
	for id := range CallID(reads) {
		if err := r.c.Query(id, []byte{byte(id)}, Linearizable, CallOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for room := range 4 {
		r.tick(Millisecond)
		q := r.queries[len(r.queries)-1]
		results := make([][]byte, len(q.Ops))
		for i := range results {
			if results[i] = okResults(string(q.Ops[i]))[0]; i > room {
				results[i] = []byte{byte(ResultCrowded)}
			}
		}
		for id := range ReplicaID(3) {
			r.c.Step(id, AnswerFrame(id, r.c.cfg.Epoch, 9, q, results))
		}
		r.pump()
	}
	for id := range CallID(reads) {
		r.want(id, string([]byte{byte(id)}))
	}
	if info := r.c.Info(); info.Waiting != 0 {
		t.Errorf("%+v", info)
	}
}
