package bft

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// journal is what a host keeps of the bundles of a client.
type journal struct{ bundles []*Bundle }

// write takes what is ready to the journal.
func (j *journal) write(ready *ClientReady) {
	j.bundles = append(j.bundles, ready.Leaving...)
	for _, name := range ready.Answered {
		for i, b := range j.bundles {
			if b.Name() == name {
				j.bundles = append(j.bundles[:i:i], j.bundles[i+1:]...)
				break
			}
		}
	}
}

// outstanding decodes what is in the journal, and gives each operation a call.
func (j *journal) outstanding(t tester, from CallID) (bundles []*Bundle, calls [][]CallID) {
	t.Helper()
	for _, b := range j.bundles {
		d, err := DecodeBundle(b.Payload, b.Signature, WindowOps, MaxBundleBytes)
		if err != nil {
			t.Fatalf("%v", err)
		}
		ids := make([]CallID, len(d.Ops))
		for k := range ids {
			from++
			ids[k] = from
		}
		bundles, calls = append(bundles, d), append(calls, ids)
	}
	return bundles, calls
}

type tester interface {
	Helper()
	Fatalf(string, ...any)
}

// A client dies with calls outstanding, of which the cluster has executed some; the next life reads the journal. When it
// repeats, each is executed once; when it ends them, each once or not at all, and it is told which.
func TestResume(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		end := rapid.Bool().Draw(rt, "end")
		cfg := rigConfig(4)
		cfg.Journal, cfg.Ephemeral = true, rapid.Bool().Draw(rt, "ephemeral")
		r := newRig(t, cfg)
		r.journal = new(journal)
		if !cfg.Ephemeral && rapid.Bool().Draw(rt, "opened") {
			r.invoke(100, "open")
			r.tick(0)
			r.deliver()
		}
		calls := rapid.IntRange(1, 4).Draw(rt, "calls")
		for i := range calls {
			r.invoke(CallID(i+1), fmt.Sprint("op", i+1))
			r.tick(0)
			switch rapid.IntRange(0, 3).Draw(rt, "fate") {
			case 0:
				r.loseReplies()
			case 1:
				r.deliver()
			case 2:
				r.loseRequests()
			}
		}
		late := r.sent // what is on its way when it dies
		bundles, ids := r.journal.outstanding(rt, 1000)
		cfg.Seed[0]++
		next := newRig(t, cfg)
		next.cluster, next.journal = r.cluster, r.journal
		if err := next.c.Resume(bundles, ids, end); err != nil {
			rt.Fatalf("%v", err)
		}
		next.invoke(1, "new")
		next.tick(0)
		next.deliver()
		next.sent = late
		next.deliver()
		if next.c.Outstanding() != 0 || len(next.journal.bundles) != 0 {
			rt.Fatalf("%d calls and %d bundles are outstanding", next.c.Outstanding(), len(next.journal.bundles))
		}
		times := next.cluster.counted()
		if times["new"] != 1 {
			rt.Fatalf("the new call was executed %d times", times["new"])
		}
		for i, b := range bundles {
			for k, id := range ids[i] {
				n, res := times[string(b.Ops[k])], next.results[id]
				switch {
				case res.Err == nil && n != 1, end && errors.Is(res.Err, ErrNotSubmitted) && n != 0,
					!end && res.Err != nil, end && res.Err != nil && !errors.Is(res.Err, ErrNotSubmitted):
					rt.Fatalf("end %v: executed %d times, ended in %v", end, n, res.Err)
				}
			}
		}
	})
}

func TestResumeRefusesWhatIsNotOfOneLife(t *testing.T) {
	r := newRig(t, rigConfig(4))
	key := r.signer.Public()
	ops := [][]byte{nil, nil}
	for _, bundles := range [][]*Bundle{
		{{Client: ClientID{1}, Session: 1, First: 1, Ops: ops}},
		{{Client: key, Session: 1, First: 1, Ops: ops}, {Client: key, Session: 2, First: 3, Ops: ops}},
		{{Client: key, Session: 1, First: 1, Ops: ops}, {Client: key, Session: 1, First: 2, Ops: ops}},
		{{Client: key, First: 1, Ops: ops}, {Client: key, First: 3, Ops: ops}},
		{{Client: key, Session: 1, First: 1, Ops: ops[:1]}},
	} {
		calls := make([][]CallID, len(bundles))
		for i := range calls {
			calls[i] = []CallID{CallID(2 * i), CallID(2*i + 1)}
		}
		if r.c.Resume(bundles, calls, false) == nil || r.c.Outstanding() != 0 {
			t.Errorf("%+v was taken", bundles)
		}
	}
}
