package bft

import (
	"errors"
	"strings"
	"testing"
)

func (r *clientRig) query(id CallID, op string, consistency Consistency) {
	r.t.Helper()
	if err := r.c.Query(id, []byte(op), consistency, CallOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *clientRig) lastQuery() *Query {
	r.t.Helper()
	if len(r.queries) == 0 {
		r.t.Fatal("no query was sent")
	}
	return r.queries[len(r.queries)-1]
}

// answer steps an answer of one replica, of the epoch that the client knows.
func (r *clientRig) answer(from ReplicaID, q *Query, values ...string) {
	r.t.Helper()
	if err := r.c.Step(from, AnswerFrame(from, r.c.cfg.Epoch, Seq(from), q, okResults(values...))); err != nil && !errors.Is(err, ErrNotRelevant) {
		r.t.Fatal(err)
	}
	r.pump()
}

// Reads of one turn and consistency share a frame, which goes to all.
func TestQueriesOfOneTurnShareAFrame(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.query(1, "a", Linearizable)
	r.query(2, "b", Stale)
	r.query(3, "c", Linearizable)
	r.tick(0)
	if len(r.queries) != 2 || len(r.queries[0].Ops) != 2 || len(r.queries[1].Ops) != 1 || r.sent[0].To != Everyone {
		t.Fatalf("%d frames", len(r.queries))
	}
	r.deliver()
	r.want(1, "a")
	r.want(2, "b")
	r.want(3, "c")
	if len(r.requests) != 0 {
		t.Fatal("a read was ordered")
	}
}

// A linearizable read takes a quorum that answers alike, a stale one f+1. The number executed
// does not count.
func TestRule27ReadsNeedAQuorum(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7, 8, 9, 10, 13} {
		for _, consistency := range []Consistency{Linearizable, Stale} {
			r := newRig(t, rigConfig(n))
			r.query(1, "q", consistency)
			r.tick(0)
			need := map[Consistency]int{Linearizable: Quorum(n), Stale: WeakQuorum(n)}[consistency]
			for i := range n - need { // as many as may differ
				r.answer(ReplicaID(i), r.lastQuery(), "other")
				if r.results[1].Err != nil {
					t.Fatal(r.results[1].Err)
				}
			}
			clear(r.results) // f+1 alike others are an answer to a stale read, where there are so many
			if consistency == Stale && n-need >= need {
				continue
			}
			for i := range need {
				if len(r.results) != 0 {
					t.Fatalf("n = %d, %v: accepted with %d alike", n, consistency, i)
				}
				r.answer(ReplicaID(n-need+i), r.lastQuery(), "value")
			}
			r.want(1, "value")
		}
	}
}

// Answers of members of another epoch do not count towards this one's quorum.
func TestRule27ReadsOfOneEpoch(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.query(1, "q", Linearizable)
	r.tick(0)
	q := r.lastQuery()
	r.answer(0, q, "v")
	r.answer(1, q, "v")
	for _, epoch := range []Epoch{r.c.cfg.Epoch - 1, r.c.cfg.Epoch + 1} {
		if err := r.c.Step(2, AnswerFrame(2, epoch, 1, q, okResults("v"))); !errors.Is(err, ErrNotRelevant) {
			t.Fatalf("epoch %d: %v", epoch, err)
		}
	}
	r.pump()
	if len(r.results) != 0 {
		t.Fatal("accepted")
	}
	r.answer(3, q, "v")
	r.want(1, "v")
}

// Answers from different states are asked for again, under a new id, a stated number of times; then
// the read ends in ErrContended and was never ordered.
func TestRule27ContendedReadsEnd(t *testing.T) {
	cfg := rigConfig(4)
	cfg.QueryTries = 4
	r := newRig(t, cfg)
	r.query(1, "q", Linearizable)
	r.tick(0)
	for try := range 4 {
		if len(r.queries) != try+1 || len(r.results) != 0 {
			t.Fatalf("try %d: %d queries, results %v", try, len(r.queries), r.results)
		}
		q := r.lastQuery()
		r.answer(0, q, "1")
		r.answer(1, q, "1")
		r.answer(2, q, "2")
		if try > 0 {
			r.answer(3, r.queries[try-1], "1") // an answer to one try never helps another
		}
		if len(r.results) != 0 {
			t.Fatal("answers to different tries were added up")
		}
		r.answer(3, q, "2")
		r.tick(64 * Millisecond)
	}
	if err := r.results[1].Err; !errors.Is(err, ErrContended) || len(r.requests) != 0 {
		t.Fatalf("%v, %d requests", err, len(r.requests))
	}
}

// Of reads that share a frame, those that are not contended end; only the others are repeated.
func TestContentionIsByRead(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.query(1, "quiet", Linearizable)
	r.query(2, "hot", Linearizable)
	r.tick(0)
	q := r.lastQuery()
	for id := range ReplicaID(4) {
		r.answer(id, q, "same", string('0'+rune(id)))
	}
	r.want(1, "same")
	r.tick(Millisecond)
	if q := r.lastQuery(); len(r.queries) != 2 || len(q.Ops) != 1 || string(q.Ops[0]) != "hot" || q.Replier != Everyone {
		t.Fatalf("%d queries, the last %+v", len(r.queries), q)
	}
	r.deliver()
	r.want(2, "hot")
}

// With a replica down the others decide at once whether they agree; with one merely silent they
// decide when the retry is due.
func TestContentionWithSilentReplica(t *testing.T) {
	for _, down := range []bool{true, false} {
		r := newRig(t, rigConfig(4))
		if down {
			r.c.ReplicaDown(3)
		}
		r.query(1, "q", Linearizable)
		r.tick(0)
		for id := range ReplicaID(3) {
			r.answer(id, r.queries[0], string('0'+rune(id&1)))
		}
		r.tick(Millisecond)
		if again := len(r.queries) == 2; again != down {
			t.Fatalf("down %v: %d queries", down, len(r.queries))
		}
		r.tick(500 * Millisecond)
		r.tick(Millisecond)
		if len(r.queries) < 2 || r.lastQuery().ID == r.queries[0].ID {
			t.Fatalf("down %v: not tried again", down)
		}
		for id := range ReplicaID(3) {
			r.answer(id, r.lastQuery(), "v")
		}
		r.want(1, "v")
	}
}

// Where enough have answered, though not alike, a silent one gets as long again as they took, also after a loss that made
// the client patient.
func TestRule27SilentOnesAreNotWaitedForLong(t *testing.T) {
	r := newRig(t, rigConfig(4))
	r.query(1, "q", Linearizable)
	for range 4 { // all is lost
		r.tick(0)
		r.tick(4 * Second)
	}
	for range 3 {
		tries := len(r.queries)
		q := r.lastQuery()
		r.tick(2 * Millisecond)
		for id := range ReplicaID(3) {
			r.answer(id, q, string('0'+rune(id&1)))
		}
		r.tick(2*Millisecond + replyFloor)
		r.tick(64 * Millisecond)
		if len(r.queries) != tries+1 || r.lastQuery().ID == q.ID {
			t.Fatalf("%d queries, %d before", len(r.queries), tries)
		}
	}
	for id := range ReplicaID(3) {
		r.answer(id, r.lastQuery(), "v")
	}
	r.want(1, "v")
}

// A replica's refusal is no answer. A read that too few answer is repeated under its id, so that
// late answers count, and ends at its deadline with what is known.
func TestReadsThatTooFewAnswer(t *testing.T) {
	for _, test := range []struct {
		refusals int
		want     error
	}{{0, ErrOutcomeUnknown}, {1, ErrOutcomeUnknown}, {2, ErrOverloaded}} {
		r := newRig(t, rigConfig(4))
		if err := r.c.Query(1, []byte("q"), Linearizable, CallOptions{Deadline: 800 * Millisecond}); err != nil {
			t.Fatal(err)
		}
		r.query(2, "q", Linearizable)
		r.tick(0)
		q := r.lastQuery()
		for i := range test.refusals {
			if err := r.c.Step(ReplicaID(i), AnswerFrame(ReplicaID(i), r.c.cfg.Epoch, 0, q, nil)); err != nil {
				t.Fatal(err)
			}
		}
		r.tick(500 * Millisecond)
		if len(r.queries) != 2 || r.lastQuery().ID != q.ID {
			t.Fatalf("%d queries, ids %d and %d", len(r.queries), q.ID, r.lastQuery().ID)
		}
		r.tick(300 * Millisecond)
		if err := r.results[1].Err; !errors.Is(err, test.want) {
			t.Fatalf("%v, want %v", err, test.want)
		}
		for id := range ReplicaID(3) {
			r.answer(id, q, "x", "v")
		}
		r.want(2, "v")
	}
}

// A large result comes from the replier; when that fails all are asked.
func TestRule28RepliersOfReads(t *testing.T) {
	long := strings.Repeat("x", DigestOver)
	for _, fails := range []bool{false, true} {
		r := newRig(t, rigConfig(4))
		r.query(1, "q", Linearizable)
		r.tick(0)
		q := r.lastQuery()
		for i := range ReplicaID(3) {
			r.answer((q.Replier+1+i)%4, q, long)
		}
		if len(r.results) != 0 {
			t.Fatal("ended without the results")
		}
		if fails {
			r.tick(10 * Millisecond)
			again := r.lastQuery()
			if again.Replier != Everyone || again.ID != q.ID || r.c.Info().Replier == q.Replier {
				t.Fatalf("asked again: %+v", again)
			}
			r.answer((q.Replier+1)%4, again, long)
		} else {
			r.answer(q.Replier, q, long)
		}
		r.want(1, long)
	}
}

// The frames that await answers are bounded; the reads that wait share the next one.
func TestQueriesAreBounded(t *testing.T) {
	r := newRig(t, rigConfig(4))
	for i := range 200 {
		r.query(CallID(i), "q", Linearizable)
		r.pump()
	}
	if len(r.queries) != sentAtOnce {
		t.Fatalf("%d queries", len(r.queries))
	}
	r.deliver()
	if len(r.queries) != sentAtOnce+1 || len(r.results) != 200 {
		t.Fatalf("%d queries, %d results", len(r.queries), len(r.results))
	}
	// Beyond these only full ones leave.
	cfg := rigConfig(4)
	cfg.MaxBundleOps = 8
	r = newRig(t, cfg)
	for i := range (maxQueries + 10) * cfg.MaxBundleOps {
		r.query(CallID(i), "q", Linearizable)
		r.pump()
	}
	if len(r.queries) != maxQueries/2 {
		t.Fatalf("%d queries", len(r.queries))
	}
}

// Linearizable reads that too few replicas can answer do not keep stale ones waiting, for which f+1 are enough.
func TestStaleReadsDoNotWaitForLinearizableOnes(t *testing.T) {
	r := newRig(t, rigConfig(4))
	for i := range sentAtOnce {
		r.query(CallID(1+i), "read", Linearizable)
		r.pump()
	}
	r.query(100, "read", Stale)
	r.pump()
	q := r.lastQuery()
	if q == nil || q.Consistency != Stale {
		t.Fatalf("the stale read has not left: %+v, %+v", q, r.c.Info())
	}
}
