package bft

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

func splitRequest(t testing.TB, frame []byte) (payload []byte, sig crypto.Signature, replier ReplicaID) {
	t.Helper()
	var p bftpb.Request
	if err := p.UnmarshalVT(frame[1:]); err != nil || !p.Strict() || len(p.Signature) != len(sig) {
		t.Fatalf("request does not decode: %v", err)
	}
	copy(sig[:], p.Signature)
	return p.Payload, sig, ReplicaID(p.Replier)
}

// A session is opened by the first bundle, which carries operations; what comes meanwhile waits
// for the session's id and then leaves in one bundle.
func TestRule24OpeningCarriesOperations(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invoke(1, "a")
	r.invoke(2, "b")
	r.tick(0)
	b, _ := r.lastRequest()
	if len(r.requests) != 1 || !b.Opens() || b.First != 1 || len(b.Ops) != 2 || b.Close || r.sent[0].To != Everyone {
		t.Fatalf("opening: %d requests, %+v", len(r.requests), b)
	}
	if want := rigClock + 600*Second; b.NotAfter != want {
		t.Fatalf("not after %d, want %d", b.NotAfter, want)
	}
	r.invoke(3, "c")
	r.invoke(4, "d")
	r.tick(Millisecond)
	if len(r.requests) != 1 {
		t.Fatal("a bundle left without a session")
	}
	r.reply(0, b, 12, Everyone, "A", "B")
	r.reply(1, b, 12, Everyone, "A", "B")
	r.want(1, "A")
	r.want(2, "B")
	b, _ = r.lastRequest()
	if b.Opens() || b.Session != 12 || b.First != 3 || b.AnsweredBelow != 3 || len(b.Ops) != 2 {
		t.Fatalf("second bundle: %+v", b)
	}
}

// The window of a session is never exceeded, and what does not fit follows as it moves.
func TestRule24Window(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	for i := range 2000 {
		r.invoke(CallID(i), "x")
	}
	r.tick(0)
	first, last := r.requests[1], r.requests[len(r.requests)-1]
	if end := last.First + uint64(len(last.Ops)); end != first.First+WindowOps {
		t.Fatalf("window from %d to %d", first.First, end)
	}
	// The second bundle's answer moves nothing, the first's moves the window over both.
	for _, k := range []int{2, 1} {
		before := len(r.requests)
		b := r.requests[k]
		d := r.cluster.execute(b)
		for id := range ReplicaID(2) {
			r.c.Step(id, ReplyFrame(id, 0, b, b.Session, d.results, Everyone))
		}
		r.pump()
		if moved := len(r.requests) > before; moved != (k == 1) {
			t.Fatalf("answer to bundle %d: moved %v", k, moved)
		}
	}
	last = r.requests[len(r.requests)-1]
	if end, low := last.First+uint64(len(last.Ops)), r.requests[3].First; last.AnsweredBelow != low || end != low+WindowOps {
		t.Fatalf("answered below %d, end %d, lowest open %d", last.AnsweredBelow, end, low)
	}
}

// A bundle is repeated as it was: nothing about it changes but who shall answer in full.
func TestRule25RetryRepeatsTheSameBytes(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invoke(1, "a")
	r.tick(0)
	for range 6 {
		wake, ok := r.c.Wake()
		if !ok {
			t.Fatal("nothing will wake the client")
		}
		r.invoke(CallID(100+len(r.requests)), "later")
		r.tick(wake - r.now)
	}
	for i, b := range r.requests {
		if b.Digest != r.requests[0].Digest || !bytes.Equal(b.Payload, r.requests[0].Payload) {
			t.Fatalf("request %d differs from the first", i)
		}
	}
	if len(r.requests) != 7 {
		t.Fatalf("%d requests, want 7", len(r.requests))
	}
	// 0.5 s, then doubling to 4 s: 0.5 + 1 + 2 + 4 + 4 + 4.
	if r.now != 15500*Millisecond {
		t.Fatalf("the sixth retry came after %v", r.now.Duration())
	}
}

// Busy ends nothing. At the deadline it makes the difference of ErrOverloaded, if f+1 said it.
func TestRule26BusyLeavesTheOutcomeOpen(t *testing.T) {
	for _, test := range []struct {
		busy int
		want error
	}{{0, ErrOutcomeUnknown}, {1, ErrOutcomeUnknown}, {2, ErrOverloaded}, {4, ErrOverloaded}} {
		r := newRig(t, rigConfig(4))
		if err := r.c.Invoke(1, []byte("a"), CallOptions{Deadline: 300 * Millisecond}); err != nil {
			t.Fatal(err)
		}
		r.invoke(2, "b")
		r.tick(0)
		b, _ := r.lastRequest()
		for i := range test.busy {
			if err := r.c.Step(ReplicaID(i), BusyFrame(b)); err != nil {
				t.Fatal(err)
			}
		}
		r.tick(299 * Millisecond)
		if len(r.results) != 0 {
			t.Fatalf("ended before its deadline: %v", r.results)
		}
		r.tick(Millisecond)
		err := r.results[1].Err
		if !errors.Is(err, test.want) || !errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("%d busy: %v, want %v", test.busy, err, test.want)
		}
		if errors.Is(err, ErrOverloaded) != (test.want == ErrOverloaded) {
			t.Fatalf("%d busy: %v", test.busy, err)
		}
		// The other operation of the bundle is still answered, and the first does not end again.
		r.reply(0, b, 5, Everyone, "A", "B")
		r.reply(3, b, 5, Everyone, "A", "B")
		r.want(2, "B")
	}
}

// A result that is ordered but not final, such as an opening for which there is no room yet, is
// like Busy.
func TestRule26NotFinalIsRetried(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invoke(1, "a")
	r.tick(0)
	b, _ := r.lastRequest()
	for id := range ReplicaID(3) {
		r.c.Step(id, ReplyFrame(id, 0, b, 0, [][]byte{{byte(ResultNotNow)}}, Everyone))
	}
	r.pump()
	if len(r.results) != 0 {
		t.Fatalf("ended: %v", r.results)
	}
	r.tick(500 * Millisecond)
	if again, _ := r.lastRequest(); len(r.requests) != 2 || again.Digest != b.Digest {
		t.Fatal("not sent again")
	}
	r.reply(1, b, 8, Everyone, "A")
	r.reply(2, b, 8, Everyone, "A")
	r.want(1, "A")
}

// f+1 alike: not f, not one replica several times, not f+1 that differ in the results or in the
// session that was opened. The view and the form, in full or as a digest, do not count.
func TestRule27FPlusOneAlike(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, n := range []int{4, 5, 6, 7, 8, 9, 10, 13} {
		r := newRig(t, rigConfig(n))
		r.invoke(1, "a")
		r.tick(0)
		b, _ := r.lastRequest()
		f := MaxFaulty(n)
		for i := range f { // f liars, each as often as it likes
			for range 3 {
				r.reply(ReplicaID(i), b, 5, Everyone, "lie")
				r.reply(ReplicaID(i), b, 5, Everyone, long)
			}
		}
		r.reply(ReplicaID(f), b, 6, Everyone, long) // another session
		for i := range f {                          // views differ, see reply
			r.reply(ReplicaID(f+1+i), b, 7, ReplicaID(f+1), long)
			if len(r.results) != 0 {
				t.Fatalf("n = %d: accepted with %d alike: %v", n, i+1, r.results)
			}
		}
		r.reply(ReplicaID(2*f+1), b, 7, ReplicaID(f+1), long)
		r.want(1, long)
	}
}

// A server without replicas has f = 0: its one reply decides, whether it answers a bundle or a read.
func TestClientOfOneServer(t *testing.T) {
	r := newRig(t, rigConfig(1))
	r.invoke(1, "a")
	r.tick(0)
	b, replier := r.lastRequest()
	if replier != 0 {
		t.Errorf("replica %d was named to answer, want the only one", replier)
	}
	r.reply(0, b, 7, replier, "A")
	r.want(1, "A")
	r.query(2, "b", Linearizable)
	r.tick(0)
	r.answer(0, r.lastQuery(), "B")
	r.want(2, "B")
	r.c.ReplicaDown(0)
	r.invoke(3, "c")
	r.tick(Second)
	r.c.ReplicaUp(0)
	r.pump()
	b, replier = r.lastRequest()
	r.reply(0, b, 7, replier, "C")
	r.want(3, "C")
}

// What a replica says last is its vote, so that one that could not yet answer is not lost.
func TestRule27LastVoteCounts(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invoke(1, "a")
	r.tick(0)
	b, _ := r.lastRequest()
	r.reply(0, b, 5, Everyone, "old")
	r.reply(0, b, 5, Everyone, "new")
	r.reply(1, b, 5, Everyone, "old")
	if len(r.results) != 0 {
		t.Fatal("an overruled vote was counted")
	}
	r.reply(2, b, 5, Everyone, "new")
	r.want(1, "new")
}

// Replies to other bundles and sessions, or of the wrong size, are refused.
func TestRepliesThatDoNotFit(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	r.invoke(1, "a")
	r.tick(0)
	b, _ := r.lastRequest()
	other := *b
	other.Session++
	opening := *r.requests[0]
	opening.Nonce[0]++
	for _, test := range []struct {
		name string
		b    *Bundle
		of   SessionID
		vals []string
		want error
	}{
		{"other session", &other, other.Session, []string{"a"}, ErrNotRelevant},
		{"opening that is over", r.requests[0], 77, []string{"open"}, ErrNotRelevant},
		{"other nonce", &opening, 77, []string{"open"}, ErrNotRelevant},
		{"too many results", b, 77, []string{"a", "b"}, ErrInvalid},
	} {
		for id := range ReplicaID(4) {
			if err := r.reply(id, test.b, test.of, Everyone, test.vals...); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
		}
	}
	if err := r.reply(4, b, 77, Everyone, "a"); !errors.Is(err, ErrInvalid) {
		t.Errorf("from a stranger: %v", err)
	}
	if len(r.results) != 1 {
		t.Fatalf("ended: %v", r.results)
	}
}

// Only the named replier sends large results in full; the digests of the others confirm them.
func TestRule28ReplierAndDigests(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invoke(1, "a")
	r.tick(0)
	b, replier := r.lastRequest()
	if int(replier) >= 4 {
		t.Fatalf("replier %d", replier)
	}
	long := strings.Repeat("x", DigestOver)
	r.tick(2 * Millisecond)
	r.reply((replier+1)%4, b, 5, replier, long)
	r.reply((replier+2)%4, b, 5, replier, long)
	if len(r.results) != 0 {
		t.Fatal("ended without the results")
	}
	r.tick(Millisecond)
	if len(r.requests) != 1 {
		t.Fatal("the replier was given no time")
	}
	r.reply(replier, b, 5, replier, long)
	r.want(1, long)
	if r.c.Info().Replier != replier {
		t.Fatal("rotated away from a replier that did its part")
	}
}

// A replier that sends nothing, or something else than f+1 others, is asked once: then all are asked
// for the full results, and another one is named from there on.
func TestRule28RetryAsksAllAndRotates(t *testing.T) {
	long := strings.Repeat("x", DigestOver)
	for _, lies := range []bool{false, true} {
		r := newRig(t, rigConfig(4))
		r.invoke(1, "a")
		r.tick(0)
		b, replier := r.lastRequest()
		if lies {
			r.reply(replier, b, 5, replier, "lie")
		}
		r.tick(2 * Millisecond)
		r.reply((replier+1)%4, b, 5, replier, long)
		r.reply((replier+2)%4, b, 5, replier, long)
		if lies {
			r.tick(0)
		} else {
			r.tick(12 * Millisecond)
		}
		if again, who := r.lastRequest(); len(r.requests) != 2 || who != Everyone || again.Digest != b.Digest {
			t.Fatalf("lies %v: %d requests, replier %d", lies, len(r.requests), who)
		}
		if r.c.Info().Replier == replier {
			t.Fatal("the replier was not changed")
		}
		r.reply((replier+2)%4, b, 5, Everyone, long)
		r.want(1, long)
	}
}

// A replier that is always a little late, within every retry, does not hold the client up for
// long.
func TestRule28SlowReplier(t *testing.T) {
	long := strings.Repeat("x", DigestOver)
	r := newRig(t, rigConfig(4))
	r.open()
	r.invoke(1, "a")
	r.tick(0)
	b, replier := r.lastRequest()
	r.tick(Millisecond)
	r.reply((replier+1)%4, b, 77, replier, long)
	r.reply((replier+2)%4, b, 77, replier, long)
	r.now += 13 * Millisecond // it answers just before the client notices
	r.c.now = r.now
	r.reply(replier, b, 77, replier, long)
	r.want(1, long)
	if r.c.Info().Replier == replier {
		t.Fatal("the slow replier keeps its role")
	}
}

// The replier that goes down is not waited for, and one that comes up gets what is outstanding.
func TestReplicaUpAndDown(t *testing.T) {
	r := newRig(t, rigConfig(4))
	for id := range ReplicaID(4) {
		r.c.ReplicaDown(id)
	}
	r.invoke(1, "a")
	if err := r.c.Invoke(2, []byte("b"), CallOptions{Deadline: Second}); err != nil {
		t.Fatal(err)
	}
	r.tick(Second)
	if len(r.requests) != 0 || !errors.Is(r.results[2].Err, ErrNotSubmitted) || errors.Is(r.results[2].Err, ErrOutcomeUnknown) {
		t.Fatalf("nobody reachable: %d requests, %v", len(r.requests), r.results)
	}
	r.c.ReplicaUp(2)
	r.tick(0)
	b, replier := r.lastRequest()
	if replier != 2 || len(b.Ops) != 1 {
		t.Fatalf("replier %d, %d operations", replier, len(b.Ops))
	}
	r.c.ReplicaUp(1)
	r.tick(0)
	if m := r.sent[len(r.sent)-1]; m.To != 1 || len(r.requests) != 2 || r.requests[1].Digest != b.Digest {
		t.Fatalf("what is outstanding went to %d in %d requests", m.To, len(r.requests))
	}
	r.c.ReplicaDown(2)
	r.tick(0)
	if _, who := r.lastRequest(); len(r.requests) != 3 || who != Everyone {
		t.Fatalf("%d requests, replier %d", len(r.requests), who)
	}
	if r.c.Info().Replier != 1 || r.c.Reachable() != 1 {
		t.Fatalf("%+v", r.c.Info())
	}
}

// Every status of a result has its error, and the error says whether the operation may have been
// executed.
func TestResultStatuses(t *testing.T) {
	for _, test := range []struct {
		result string
		want   error
		open   bool // the outcome
	}{
		{"", ErrOutcomeUnknown, true}, {"\x02", ErrSessionExpired, true}, {"\x04", ErrRejected, false},
		{"\x05", ErrRejected, false}, {"\x07", ErrRejected, false}, {"\x08", ErrRejected, false},
		{"\x09", ErrOutcomeUnknown, true}, {"\x0a", ErrRejected, false}, {"\x0bno such key", ErrReadFailed, false},
		{"\x0c", ErrSessionExpired, false}, {"\x0d", ErrReplaced, false}, {"\x0f", ErrOutcomeUnknown, true}, {"\x08x", ErrOutcomeUnknown, true},
	} {
		r := newRig(t, rigConfig(4))
		r.invoke(1, "a")
		r.tick(0)
		b, _ := r.lastRequest()
		for id := range ReplicaID(2) {
			r.c.Step(id, ReplyFrame(id, 0, b, 0, [][]byte{[]byte(test.result)}, Everyone))
		}
		r.pump()
		err := r.results[1].Err
		if !errors.Is(err, test.want) || errors.Is(err, ErrOutcomeUnknown) != test.open {
			t.Errorf("result %q: %v, want %v", test.result, err, test.want)
		}
	}
}

// What a caller sees is one line that says what happened.
func TestCallErrorText(t *testing.T) {
	for _, e := range append(resultErrors[:], errBadResult, errWaiting, errUnheard, errBusy, errFull, errClosing, errContended, errNoAnswer, errNoReader) {
		if e == nil {
			continue
		}
		if s := e.Error(); !strings.Contains(s, e.Kind.Error()) || !strings.HasSuffix(s, e.Text) || strings.Contains(s, "\n") {
			t.Errorf("%q", s)
		}
	}
}

// The number of calls, their bytes and their size are bounded, with an error that says so.
func TestClientBounds(t *testing.T) {
	cfg := rigConfig(4)
	cfg.MaxCalls, cfg.MaxBundleBytes, cfg.MaxBytes = 3, 1024, 2000
	r := newRig(t, cfg)
	if err := r.c.Invoke(1, make([]byte, r.c.MaxOp()+1), CallOptions{}); !errors.Is(err, ErrRejected) {
		t.Fatalf("too large: %v", err)
	}
	for id := CallID(1); id <= 2; id++ {
		if err := r.c.Invoke(id, make([]byte, r.c.MaxOp()), CallOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.c.Query(3, make([]byte, 300), Stale, CallOptions{}); !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrNotSubmitted) {
		t.Fatalf("too many bytes: %v", err)
	}
	if err := r.c.Query(3, nil, Stale, CallOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.c.Invoke(4, nil, CallOptions{}); !errors.Is(err, ErrOverloaded) {
		t.Fatalf("too many calls: %v", err)
	}
	if err := r.c.Query(4, nil, 3, CallOptions{}); !errors.Is(err, ErrRejected) {
		t.Fatalf("unknown consistency: %v", err)
	}
	r.tick(0)
	r.deliver()
	if len(r.results) != 3 || r.c.Outstanding() != 0 || r.c.bytes != 0 {
		t.Fatalf("%d results, %d outstanding, %d bytes", len(r.results), r.c.Outstanding(), r.c.bytes)
	}
	for _, b := range r.requests {
		if len(b.Payload) > cfg.MaxBundleBytes {
			t.Fatalf("bundle of %d bytes", len(b.Payload))
		}
	}
}

// Under load calls leave together: with some bundles under way the next one leaves when it is full, or when one of those ends.
func TestBundlesGatherUnderLoad(t *testing.T) {
	cfg := rigConfig(4)
	cfg.MaxBundleOps = 8
	r := newRig(t, cfg)
	r.open()
	call := CallID(0)
	invoke := func(n int) {
		for range n {
			r.invoke(call, "a")
			r.tick(0)
			call++
		}
	}
	sent := func() []*Bundle { return r.requests[1:] }
	invoke(sentAtOnce + 3)
	if len(sent()) != sentAtOnce {
		t.Fatalf("%d bundles", len(sent()))
	}
	for _, from := range []ReplicaID{1, 2} {
		r.reply(from, sent()[0], 77, Everyone, "a")
	}
	r.tick(0)
	if n := len(sent()); n != sentAtOnce+1 || len(sent()[n-1].Ops) != 3 {
		t.Fatalf("%d bundles, the last one of %d", n, len(sent()[n-1].Ops))
	}
	invoke(cfg.MaxBundleOps)
	if n := len(sent()); n != sentAtOnce+2 || len(sent()[n-1].Ops) != cfg.MaxBundleOps {
		t.Fatalf("%d bundles, the last one of %d", n, len(sent()[n-1].Ops))
	}
}

// Full results are kept within a bound for each replica, so that a liar uses up only its own.
func TestKeptResultsAreBounded(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	for i := range sentAtOnce {
		r.invoke(CallID(i), "a")
		r.tick(0)
	}
	big := strings.Repeat("x", 4<<20)
	for _, b := range r.requests[1:] {
		r.reply(3, b, 77, Everyone, big)
	}
	if kept := r.c.kept[3]; kept == 0 || kept > keptPerReplica {
		t.Fatalf("%d bytes kept", kept)
	}
	for _, b := range r.requests[1:] {
		r.reply(1, b, 77, Everyone, "a")
		r.reply(2, b, 77, Everyone, "a")
	}
	for i := range sentAtOnce {
		r.want(CallID(i), "a")
	}
	for id, kept := range r.c.kept {
		if kept != 0 {
			t.Fatalf("%d bytes of replica %d kept", kept, id)
		}
	}
}

// Cancel tells apart what has not left, what has, and what there is not.
func TestCancel(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.invoke(1, "a")
	r.tick(0)
	r.invoke(2, "b")
	if err := r.c.Query(3, []byte("q"), Linearizable, CallOptions{}); err != nil {
		t.Fatal(err)
	}
	r.pump()
	if err := r.c.Query(4, []byte("q"), Stale, CallOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		id   CallID
		want error
	}{{4, ErrNotSubmitted}, {1, ErrOutcomeUnknown}, {2, ErrNotSubmitted}, {3, ErrOutcomeUnknown}} {
		if !r.c.Cancel(test.id) || r.c.Cancel(test.id) {
			t.Fatalf("call %d: not cancelled once", test.id)
		}
		r.pump()
		if err := r.results[test.id].Err; !errors.Is(err, test.want) {
			t.Fatalf("call %d: %v, want %v", test.id, err, test.want)
		}
	}
	r.deliver()
	if len(r.results) != 4 || r.c.Outstanding() != 0 || r.c.Info().Bundles != 0 {
		t.Fatalf("%d results, %+v", len(r.results), r.c.Info())
	}
}

func TestClientConfigErrors(t *testing.T) {
	cfg := ClientConfig{N: 3, MaxBundleOps: WindowOps + 1, MaxBundleBytes: 10, MaxBytes: 5, RetryAfter: -1, QueryTries: -1, OpenWithin: -1}
	_, err := NewClient(cfg)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"replicas: 3", "cluster", "seed", "operations: 1025", "bytes: 10", "retry", "session times", "query tries"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// What fills a bundle by its bytes leaves at once, as what fills it by its number does.
func TestCallsThatFillABundleByBytesDoNotWait(t *testing.T) {
	cfg := rigConfig(4)
	cfg.MaxBundleBytes = 4096
	r := newRig(t, cfg)
	r.open()
	before := r.c.Info().Bundles
	for i := range 3 * sentAtOnce {
		r.invoke(CallID(100+i), strings.Repeat("x", 3000)) // two do not fit
		r.pump()
	}
	// The last one may still have room for a small one.
	if got := r.c.Info(); got.Bundles-before < 3*sentAtOnce-1 {
		t.Fatalf("%d bundles left, %d calls wait", got.Bundles-before, got.Waiting)
	}
}
