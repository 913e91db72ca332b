package bft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// scenario is a client among n replicas of which f lie, in a network that loses, repeats and
// reorders.
type scenario struct {
	*rapid.T
	r     *clientRig
	liars map[ReplicaID]bool
	next  CallID
	asked map[CallID]string // calls that were taken, with the text of their operation
	reads map[CallID]bool
	net   []inFlight
}

type inFlight struct {
	from  ReplicaID
	frame []byte
}

func (s *scenario) invoke() {
	s.next++
	op := fmt.Sprint("op", s.next)
	read := rapid.Bool().Draw(s.T, "read")
	opts := CallOptions{}
	if rapid.IntRange(0, 9).Draw(s.T, "deadline") == 0 {
		opts.Deadline = s.r.now + Time(rapid.IntRange(1, 900).Draw(s.T, "after"))*Millisecond
	}
	var err error
	if read {
		consistency := Consistency(rapid.IntRange(1, 2).Draw(s.T, "consistency"))
		err = s.r.c.Query(s.next, []byte(op), consistency, opts)
	} else {
		err = s.r.c.Invoke(s.next, []byte(op), opts)
	}
	if err != nil {
		s.Fatal(err)
	}
	s.asked[s.next], s.reads[s.next] = op, read
}

// transmit lets everything that was sent arrive at those replicas that the network chooses.
func (s *scenario) transmit(lossless bool) {
	sent := s.r.sent
	s.r.sent = nil
	for _, m := range sent {
		for id := range ReplicaID(s.r.c.cfg.N) {
			if m.To != Everyone && m.To != id || !lossless && rapid.IntRange(0, 3).Draw(s.T, "lose") == 0 {
				continue
			}
			if s.liars[id] {
				for range rapid.IntRange(0, 3).Draw(s.T, "lies") {
					s.net = append(s.net, inFlight{id, s.lie(id, m.Frame)})
				}
				continue
			}
			if answer := s.r.cluster.answer(s.r, id, m.Frame); answer != nil {
				s.net = append(s.net, inFlight{id, answer})
			}
		}
	}
}

// lie makes what a liar answers: an honest answer, a changed one, another kind, or garbage.
func (s *scenario) lie(id ReplicaID, frame []byte) []byte {
	kind := rapid.IntRange(0, 5).Draw(s.T, "kind")
	if kind == 0 {
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(s.T, "garbage")
	}
	if MessageType(frame[0]) == TypeQuery {
		q, err := DecodeQuery(frame, WindowOps, MaxBundleBytes)
		if err != nil {
			s.Fatal(err)
		}
		values := make([]string, len(q.Ops)+max(0, kind-4))
		for i := range values {
			values[i] = "lie"
		}
		return AnswerFrame(id, Epoch(rapid.IntRange(2, 4).Draw(s.T, "epoch")), 1, q, okResults(values...))
	}
	b, replier := s.r.decodeRequest(frame)
	switch kind {
	case 1:
		return BusyFrame(b)
	case 2:
		d := s.r.cluster.execute(b)
		return ReplyFrame(id, 0, b, d.session+1, d.results, replier)
	case 3:
		gone := make([][]byte, max(1, len(b.Ops)))
		for i := range gone {
			gone[i] = []byte{byte(rapid.IntRange(0, 13).Draw(s.T, "status"))}
		}
		return ReplyFrame(id, 0, b, max(1, b.Session), gone, replier)
	case 4:
		lies := make([][]byte, max(1, len(b.Ops)))
		for i := range lies {
			lies[i] = []byte("\x00lie")
		}
		return ReplyFrame(id, 0, b, max(1, b.Session), lies, ReplicaID(rapid.IntRange(0, 3).Draw(s.T, "form")))
	}
	d := s.r.cluster.execute(b)
	return ReplyFrame(id, 0, b, d.session, d.results, replier)
}

// arrive hands some of what is under way to the client, in any order, some of it twice.
func (s *scenario) arrive(all bool) {
	for n := len(s.net); n > 0; n-- {
		if !all && rapid.Bool().Draw(s.T, "stop") {
			return
		}
		i := rapid.IntRange(0, len(s.net)-1).Draw(s.T, "which")
		m := s.net[i]
		err := s.r.c.Step(m.from, m.frame)
		if err != nil && !s.liars[m.from] && !errors.Is(err, ErrNotRelevant) {
			s.Fatalf("an honest answer was refused: %v", err)
		}
		if all || rapid.IntRange(0, 3).Draw(s.T, "again") > 0 {
			s.net = append(s.net[:i], s.net[i+1:]...)
		}
		s.r.pump()
	}
}

// check: every result is one that the cluster gave, for this operation.
func (s *scenario) check() {
	places := map[uint64]CallID{}
	for id, res := range s.r.results {
		op, taken := s.asked[id]
		if !taken {
			s.Fatalf("call %d was never made", id)
		}
		if res.Err != nil {
			continue
		}
		value := string(res.Value)
		if !s.reads[id] {
			if len(value) < 8 {
				s.Fatalf("call %d: accepted %q", id, value)
			}
			place := binary.BigEndian.Uint64(res.Value)
			if other, taken := places[place]; taken || place == 0 || place > s.r.cluster.ops {
				s.Fatalf("calls %d and %d have place %d of %d", id, other, place, s.r.cluster.ops)
			}
			places[place], value = id, value[8:]
		}
		if value != op {
			s.Fatalf("call %d: accepted %q for %q", id, value, op)
		}
	}
}

// With f lying replicas a lie is never accepted, every call ends at most once (the rig sees to
// it), and once messages arrive every call ends, with its honest result or by its deadline.
func TestRule27LiesAreNeverAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkLies(t, false) })
}

// checkLies is the property; with lowest the client has the lowest active replica answer in full.
func checkLies(t *rapid.T, lowest bool) {
	n := rapid.IntRange(4, 10).Draw(t, "n")
	cfg := rigConfig(n)
	cfg.Lowest = lowest
	cfg.Ephemeral = rapid.Bool().Draw(t, "ephemeral")
	cfg.MaxBundleOps = rapid.IntRange(1, 5).Draw(t, "bundle")
	r := newRig(rapidTB{TB: nil, T: t}, cfg)
	s := &scenario{T: t, r: r, liars: map[ReplicaID]bool{}, asked: map[CallID]string{}, reads: map[CallID]bool{}}
	for len(s.liars) < MaxFaulty(n) {
		s.liars[ReplicaID(rapid.IntRange(0, n-1).Draw(t, "liar"))] = true
	}
	actions := 6
	if lowest {
		actions = 7
	}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch rapid.IntRange(0, actions).Draw(t, "action") {
		case 0, 1:
			s.invoke()
		case 2:
			r.tick(Time(rapid.IntRange(0, 700).Draw(t, "ms")) * Millisecond)
		case 3:
			s.transmit(false)
		case 4:
			s.arrive(false)
		case 5:
			r.c.ReplicaDown(ReplicaID(rapid.IntRange(0, n-1).Draw(t, "down")))
			r.pump()
		case 6:
			r.c.ReplicaUp(ReplicaID(rapid.IntRange(0, n-1).Draw(t, "up")))
			r.pump()
		case 7:
			r.c.SetFit(rapid.Uint64().Draw(t, "fit"))
			r.pump()
		}
		s.check()
	}
	for id := range ReplicaID(n) {
		r.c.ReplicaUp(id)
	}
	for range 100 { // now everything arrives: rounds of a retry each
		r.tick(100 * Millisecond)
		s.transmit(true)
		s.arrive(true)
		s.check()
		if r.c.Outstanding() == 0 {
			break
		}
	}
	s.atEnd()
}

func (s *scenario) atEnd() {
	c := s.r.c
	if c.Outstanding() != 0 || len(s.r.results) != len(s.asked) || c.bytes != 0 {
		s.Fatalf("%d calls of %d ended; %d outstanding with %d bytes; %+v", len(s.r.results), len(s.asked), c.Outstanding(), c.bytes, c.Info())
	}
	for id, res := range s.r.results {
		if res.Err != nil && !errors.Is(res.Err, ErrNotSubmitted) && !errors.Is(res.Err, ErrOutcomeUnknown) &&
			!(s.reads[id] && errors.Is(res.Err, ErrContended)) {
			s.Fatalf("call %d: %v", id, res.Err)
		}
	}
	for len(c.bundles) > 0 { // bundles whose calls have all ended by their deadlines
		s.r.tick(Second)
		s.r.deliver()
	}
	for id, kept := range c.kept {
		if kept != 0 {
			s.Fatalf("%d bytes of replica %d are kept", kept, id)
		}
	}
}

// rapidTB lets the rig report to a property's run.
type rapidTB struct {
	testing.TB
	T *rapid.T
}

func (t rapidTB) Helper()                           {}
func (t rapidTB) Fatal(args ...any)                 { t.T.Fatal(args...) }
func (t rapidTB) Fatalf(format string, args ...any) { t.T.Fatalf(format, args...) }

// A replica can send anything: the client does not panic, keeps what it keeps within bounds, and
// believes nothing that f+1 do not say.
func FuzzClientStep(f *testing.F) {
	b := &Bundle{Session: 77, First: 2}
	f.Add(ReplyFrame(2, 6, b, 77, okResults("a"), 2), []byte{})
	f.Add(BusyFrame(b), ReplyFrame(1, 0, b, 77, [][]byte{{byte(ResultUnknownSession)}}, Everyone))
	q := &Query{ID: 1, Consistency: Linearizable, Ops: [][]byte{{1}}, Replier: Everyone}
	f.Add(AnswerFrame(2, 3, 4, q, okResults("c")), AnswerFrame(2, 3, 4, q, nil))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		r := newRig(t, rigConfig(4))
		r.open()
		r.invoke(1, "a")
		r.query(2, "b", Linearizable)
		r.query(3, "c", Stale)
		r.tick(0)
		for range 2 {
			for _, frame := range [][]byte{one, two} {
				if err := r.c.Step(3, frame); err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotRelevant) {
					t.Fatal(err)
				}
				r.tick(Second)
			}
		}
		if len(r.results) != 1 || r.c.kept[3] > keptPerReplica {
			t.Fatalf("one replica made up a result: %v", r.results)
		}
		r.deliver()
		r.tick(5 * Second)
		r.deliver()
		if len(r.results) != 4 || r.results[1].Err != nil || r.results[2].Err != nil || r.results[3].Err != nil {
			t.Fatalf("results %v", r.results)
		}
	})
}
