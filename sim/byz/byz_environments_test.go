package byz

import (
	"bytes"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// passes shows the adversary a frame between two instances, and tells whether it is lost.
func (s *stage) passes(from, to int, frame []byte) bool {
	id := func(i int) bft.ReplicaID {
		if i == 4 {
			return liar
		}
		return bft.ReplicaID(i)
	}
	return s.a.Schedule(Passing{From: id(from), To: id(to), FromInstance: from, ToInstance: to, Frame: frame}).Lose
}

// wake shows the statuses by which both twins say that they have started.
func (s *stage) wake() {
	status := wire.Frame(bft.TypeStatus, &bftpb.Status{View: 0})
	s.passes(int(liar), 0, status)
	s.passes(4, 0, status)
}

func TestTwinsWaitForEachOther(t *testing.T) {
	s := newStage(t, "twins", 1)
	d := crypto.Hash("d")
	if out := s.send(s.votes(liar, slot{0, 1}, d, bft.PhasePrepare)); len(out) != 0 {
		t.Fatal("a vote leaves before both have started")
	}
	s.told("waits for its twin")
	if out := s.a.Inject(0); len(out) != 0 {
		t.Fatal("it does not wait")
	}
	s.wake()
	out := s.a.Inject(0)
	if len(out) != 1 || s.read(out[0].Frame).Votes[0].Seq != 1 {
		t.Fatalf("%d frames leave when both have started", len(out))
	}
	if out := s.send(s.votes(liar, slot{0, 2}, d, bft.PhasePrepare)); len(out) != 1 {
		t.Error("it waits on")
	}
}

// In each view one twin is on either side, no honest replica hears both, and nobody else's side matters to it.
func TestTwinsAreKeptApart(t *testing.T) {
	s := newStage(t, "twins", 1)
	s.wake()
	d := crypto.Hash("d")
	for view := range uint64(6) {
		vote := s.votes(0, slot{view, 1}, d, bft.PhasePrepare)
		s.passes(0, 2, vote) // the view is seen
		s.a.Told()
		first, second := 0, 0
		for _, id := range []int{0, 2, 3} {
			toFirst, toSecond := s.passes(id, int(liar), vote), s.passes(id, 4, vote)
			if toFirst == toSecond {
				t.Errorf("in view %d replica %d is heard by both twins or by none", view, id)
			}
			if fromFirst := s.passes(int(liar), id, vote); fromFirst != toFirst {
				t.Errorf("in view %d replica %d hears a twin that does not hear it", view, id)
			}
			if toFirst {
				second++
			} else {
				first++
			}
		}
		if first == 0 || second == 0 {
			t.Errorf("in view %d the sides have %d and %d honest replicas", view, first, second)
		}
		s.told("twins kept apart")
	}
}

func TestTwinsAreDeafToEachOther(t *testing.T) {
	s := newStage(t, "twins", 1)
	s.wake()
	newView := func(view uint64) []byte {
		return wire.Frame(bft.TypeNewView, s.members[liar].Seal(bft.TypeNewView, wire.Marshal(&bftpb.NewView{View: view})))
	}
	s.send(newView(1))
	s.a.Told()
	if !s.a.Receive(0, newView(1)) {
		t.Error("deaf to its own new-view")
	}
	if s.a.Receive(0, newView(5)) {
		t.Error("it hears its twin's new-view")
	}
	s.told("deaf to its twin")
	shown := &bftpb.Status{AnswersStart: true, Newest: []*bftpb.Envelope{wire.Envelope(s.votes(liar, slot{0, 1}, crypto.Hash("d"), bft.PhasePrepare))}}
	if s.a.Receive(0, wire.Frame(bft.TypeStatus, shown)) {
		t.Error("it is shown what its twin signed")
	}
	if !s.a.Receive(0, wire.Frame(bft.TypeStatus, &bftpb.Status{AnswersStart: true})) {
		t.Error("it cannot start")
	}
}

// Each state of the network comes, and each loses what it says and nothing else.
func TestPartitionsTakeAllShapes(t *testing.T) {
	s := newStage(t, "partitions", 3)
	a := s.a.(*partitions)
	vote := s.votes(0, slot{2, 1}, crypto.Hash("d"), bft.PhasePrepare)
	seen := make(map[shape]bool)
	for now := bft.Time(0); now < 60*timeout; now += timeout / 100 {
		for from := range bft.ReplicaID(4) {
			for to := range bft.ReplicaID(4) {
				if from == to {
					continue
				}
				lost := s.pass(now, from, to, vote)
				told := s.a.Told()
				if lost != (len(told) > 0) {
					t.Fatalf("lost is %v, and the lies are %q", lost, told)
				}
				apart := a.in[from] != a.in[to]
				switch {
				case a.shape == whole && lost, a.shape == halves && lost != apart, a.shape == muted && lost != (from == 2),
					a.shape == oneWay && lost != (apart && a.in[from]), a.shape == flapping && lost && !apart:
					t.Fatalf("shape %d, from %d to %d: lost is %v", a.shape, from, to, lost)
				}
				seen[a.shape] = seen[a.shape] || lost
			}
		}
	}
	for x := halves; x < shapes; x++ {
		if !seen[x] {
			t.Errorf("shape %d lost nothing", x)
		}
	}
}

// Damage is of every kind, the same at every start, and noticed by some stores.
func TestFailingDisks(t *testing.T) {
	var records []bft.KV
	for i := range 8 {
		records = append(records, bft.KV{Key: []byte{'a', byte(i)}, Value: bytes.Repeat([]byte{byte(i)}, 8)})
	}
	seen := make(map[string]bool)
	for seed := range uint64(100) {
		s := newStage(t, "failing disks", seed)
		if got := s.a.Records(nil); len(got) != 0 {
			t.Fatal("an empty disk has records")
		}
		for range 4 {
			s.a.Records(records)
		}
		s.a.Told()
		got := s.a.Records(records)
		told := s.a.Told()
		for _, name := range told {
			seen[name] = true
		}
		same := slices.EqualFunc(got, records, func(a, b bft.KV) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) })
		if same != (len(told) == 0) {
			t.Fatalf("seed %d: the records are the same is %v, and the lies are %q", seed, same, told)
		}
		if slices.Contains(told, "damaged store given up") && (len(got) != 1 || string(got[0].Key) != lossRecord || len(got[0].Value) == 0) {
			t.Errorf("seed %d: who gave up finds %d records, not the one that says so", seed, len(got))
		}
	}
	for _, name := range []string{"bit rot", "torn write", "misdirected write", "lost write", "damaged store refused", "damaged store given up"} {
		if !seen[name] {
			t.Errorf("no %s in 100 disks", name)
		}
	}
	if records[3].Value[4] != 3 || len(records) != 8 {
		t.Error("the records of the disk themselves were changed")
	}
}

func TestFailingDisksLieAboutSyncs(t *testing.T) {
	s := newStage(t, "failing disks", 1)
	undone, crashes := 0, 0
	for seq := range bft.Seq(200) {
		if !s.a.Sync(nil) {
			undone++
			s.told("sync not done")
		}
		if s.a.Execute(seq).Crash {
			crashes++
			s.told("power failure")
		}
	}
	if undone == 0 || undone > 100 || crashes == 0 {
		t.Errorf("%d of 200 syncs were not done, and the power failed %d times", undone, crashes)
	}
}

func TestSickServices(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(20) {
		s := newStage(t, "sick service", seed)
		for seq := bft.Seq(1); seq < 60; seq++ {
			e := s.a.Execute(seq)
			for _, name := range s.a.Told() {
				seen[name]++
			}
			if e.Apply == nil {
				continue
			}
			sick, well := &cell{value: []byte("before")}, &cell{value: []byte("before")}
			result, right := e.Apply(sick, exec.Context{}, []byte("5")), well.Apply(exec.Context{}, []byte("5"))
			if bytes.Equal(result, right) && bytes.Equal(sick.value, well.value) {
				t.Fatalf("number %d: result and state are right", seq)
			}
		}
	}
	for _, name := range []string{"out of memory", "service hangs", "nondeterministic result", "nondeterministic state"} {
		if seen[name] == 0 {
			t.Errorf("no %s in 20 services: %v", name, seen)
		}
	}
}

// The halves are kept apart under a primary of the adversary's, and an honest one is silenced.
func TestConspiracyFollowsThePrimary(t *testing.T) {
	s := newStage(t, "conspiracy", 1)
	all := s.a.(chain)
	s.a = all[len(all)-1] // what it adds to the others
	d := crypto.Hash("d")
	own := s.votes(0, slot{1, 1}, d, bft.PhasePrepare) // view 1 is the liar's
	lost := 0
	for _, pair := range [][2]bft.ReplicaID{{0, 2}, {0, 3}, {2, 3}} {
		if s.pass(timeout, pair[0], pair[1], own) {
			lost++
		}
	}
	if lost != 2 {
		t.Errorf("%d of 3 pairs of honest replicas are apart, want the one from the two", lost)
	}
	s.told("halves kept apart")
	if s.pass(timeout, liar, 2, own) {
		t.Error("an accomplice is not let through")
	}
	honest := s.votes(2, slot{2, 1}, d, bft.PhasePrepare)
	s.pass(2*timeout, 2, 0, honest)
	if !s.pass(3*timeout, 2, 0, honest) || s.pass(3*timeout, 3, 0, honest) {
		t.Error("the honest primary is not silenced, or another is")
	}
	s.told("honest primary silenced")
	if s.pass(5*timeout, 2, 0, honest) {
		t.Error("a view is held up for good")
	}
	// It is all the others too: two stories, and wrong replies.
	s.a = all
	if out := s.propose(1, 1, digests(0, 4)); len(to(out, 0, bft.TypePrePrepare))+len(to(out, 2, bft.TypePrePrepare))+len(to(out, 3, bft.TypePrePrepare)) < 3 {
		t.Errorf("its proposals do not reach the others: %d frames", len(out))
	}
}
