package bft

import (
	"strings"
	"testing"
)

// replicaManner is how a replica answers, as a function of what it was asked: after what delay, 0 for never, and with what
// instead of the truth: "digest" for the right digest alone.
type replicaManner func(call int, asked uint64, resent bool) (delay Time, lie string)

// dueReply is a reply under way.
type dueReply struct {
	at    Time
	from  ReplicaID
	frame []byte
}

// closedLoop has the client make calls one after the other, and returns how long they took, how many asked all at once,
// and how many requests were repeated.
func (r *clientRig) closedLoop(calls int, value string, replicas []replicaManner) (total Time, all int, resent int) {
	r.t.Helper()
	begin := r.now
	r.results = map[CallID]CallResult{}
	id := CallID(5_000_000)
	for k := range calls {
		id++
		r.sent = nil
		r.invoke(id, "op")
		var queue []dueReply
		seen := 0
		first := true
		for {
			r.tick(0)
			for ; seen < len(r.sent); seen++ {
				m := r.sent[seen]
				b, replier := r.decodeRequest(m.Frame)
				asked := askedBy(r.t, m.Frame)
				if first {
					first = false
					if asked&(1<<r.c.cfg.N-1) == 1<<r.c.cfg.N-1 {
						all++
					}
				} else {
					resent++
				}
				for i := range ReplicaID(r.c.cfg.N) {
					if m.To != Everyone && m.To != i || asked>>i&1 == 0 {
						continue
					}
					delay, lie := replicas[i](k, asked&(1<<r.c.cfg.N-1), m.To != Everyone || replier == Everyone && seen > 0)
					if delay == 0 {
						continue
					}
					v, rep := value, replier
					if lie == "digest" {
						rep = (i + 1) % ReplicaID(r.c.cfg.N) // its digest, whoever is named
					} else if lie != "" {
						v = lie
					}
					queue = append(queue, dueReply{r.now + delay, i, ReplyFrame(i, 0, b, 77, okResults(v), rep)})
				}
			}
			if _, done := r.results[id]; done {
				break
			}
			next, at := never, -1
			for i := range queue {
				if queue[i].at < next {
					next, at = queue[i].at, i
				}
			}
			if due, ok := r.c.Wake(); ok && due < next {
				r.tick(max(0, due-r.now))
				continue
			}
			if at < 0 {
				r.t.Fatal("a call never ends")
			}
			r.tick(max(0, next-r.now))
			e := queue[at]
			queue = append(queue[:at], queue[at+1:]...)
			r.c.Step(e.from, e.frame)
			r.pump()
		}
	}
	return r.now - begin, all, resent
}

func answersAfter(delay Time) replicaManner {
	return func(int, uint64, bool) (Time, string) { return delay, "" }
}

// A replier that sends the right digest, in time, and never the results in full is not named any more.
func TestRule28ReplierThatWithholdsIsRotatedAway(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	first := ReplicaID(0)
	r.c.replier = 0
	long := strings.Repeat("x", 1000)
	withholds := func(_ int, asked uint64, _ bool) (Time, string) {
		if asked == 0b1111 {
			return Millisecond / 2, ""
		}
		return Millisecond / 2, "digest"
	}
	rs := []replicaManner{withholds, answersAfter(Millisecond), answersAfter(Millisecond + 1), answersAfter(Millisecond + 2)}
	r.closedLoop(200, long, rs) // to settle
	const calls = 10_000
	took, _, resent := r.closedLoop(calls, long, rs)
	t.Logf("replier %d, %d µs a call in the mean, %d requests repeated in %d calls, shunned %+v", r.c.Info().Replier, took/calls/Microsecond, resent, calls, r.c.asked.shunned)
	if r.c.Info().Replier == first {
		t.Errorf("replica %d withholds the results of %d calls and is still the replier: %d µs a call instead of 1000", first, calls, took/calls/Microsecond)
	}
}

// One that is the first when all are asked, and just in time when f+1 are, does not slow a client for ever.
func TestRule28JustInTimeIsNotGoodEnough(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	late := func(_ int, asked uint64, _ bool) (Time, string) {
		if asked == 0b1111 {
			return Millisecond / 2, ""
		}
		return replyPatience*r.c.asked.took + replyFloor - 1, ""
	}
	rs := []replicaManner{late, answersAfter(Millisecond), answersAfter(Millisecond + 1), answersAfter(Millisecond + 2)}
	r.closedLoop(200, "v", rs)
	const calls = 10_000
	took, _, resent := r.closedLoop(calls, "v", rs)
	t.Logf("%d µs a call in the mean, %d requests repeated, shunned %+v", took/calls/Microsecond, resent, r.c.asked.shunned)
	if took/calls > 5*Millisecond {
		t.Errorf("one slow replica of four: %d µs a call instead of 1000, for ever; it is not shunned", took/calls/Microsecond)
	}
}

// Correct replicas that are late once in a while are asked all the same, however long a client lives.
func TestRule28FailuresAreForgiven(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	x := uint64(88172645463325252)
	rnd := func() uint64 { x ^= x << 13; x ^= x >> 7; x ^= x << 17; return x }
	hiccup := func(base Time) replicaManner {
		return func(int, uint64, bool) (Time, string) {
			if rnd()%2000 == 0 { // a garbage collection, a slow fsync
				return 40 * Millisecond, ""
			}
			return base + Time(rnd()%200_000), ""
		}
	}
	rs := []replicaManner{hiccup(Millisecond), hiccup(Millisecond), hiccup(Millisecond), hiccup(Millisecond)}
	const calls = 50_000
	for range 3 {
		_, all, _ := r.closedLoop(calls, "v", rs)
		if all > calls/10 {
			t.Errorf("of %d calls %.1f %% asked all: %+v", calls, 100*float64(all)/calls, r.c.asked.shunned)
		}
	}
}

// One liar that is the first when all are asked, and silent else, does not make the client ask all for long.
func TestRule28SilentWhenChosen(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.open()
	silent := func(_ int, asked uint64, _ bool) (Time, string) {
		if asked == 0b1111 {
			return Millisecond / 2, ""
		}
		return 0, ""
	}
	rs := []replicaManner{silent, answersAfter(Millisecond), answersAfter(Millisecond + 1), answersAfter(Millisecond + 2)}
	const calls = 20_000
	_, all, _ := r.closedLoop(calls, "v", rs)
	t.Logf("%.1f %% of bundles asked all; %+v", 100*float64(all)/calls, r.c.asked.shunned)
	if all > calls/10 {
		t.Errorf("%.1f %% of bundles ask all, though three replicas of four answer quickly whenever they are asked", 100*float64(all)/calls)
	}
}

// The loss of one that was asked is not the fault of another that has had no time to answer.
func TestRule28LossOfOneShunsNoOther(t *testing.T) {
	r := newRig(t, rigConfig(7))
	r.open() // by 0, 1, 2
	r.invoke(1, "op")
	r.tick(0)
	b, replier := r.lastRequest()
	if asked := r.asked[len(r.asked)-1]; asked != 0b111 {
		t.Fatalf("asks %07b", asked)
	}
	r.tick(Millisecond / 2)
	r.reply(0, b, 77, replier, "op")
	r.c.ReplicaDown(2) // it cuts its connection
	r.tick(0)
	if x := r.c.asked.shunned[1]; x.failures != 0 {
		t.Errorf("replica 1 is shunned (%+v) because replica 2 was lost half a millisecond after the request left", x)
	}
}
