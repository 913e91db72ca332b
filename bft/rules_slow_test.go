package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// slowed is a cluster whose pre-prepares of some primaries travel for a time of their own.
type slowed struct {
	*cluster
	held []heldLetter
}

type heldLetter struct {
	at bft.Time
	l  letter
}

// slowDown delays each pre-prepare for which slow is true.
func slowDown(c *cluster, delay bft.Time, slow func(from bft.ReplicaID) bool) *slowed {
	s := &slowed{cluster: c}
	c.dropWhen = func(l letter) bool {
		if l.kind() != bft.TypePrePrepare || !slow(l.from) {
			return false
		}
		s.held = append(s.held, heldLetter{c.now + delay, l})
		return true
	}
	return s
}

// load gives a bundle of a new client to each of the sets of replicas, every 20 ms of a time.
func (s *slowed) load(d bft.Time, until func() bool, clients ...[]int) {
	for end := s.now + d; s.now < end && !until(); {
		for _, to := range clients {
			s.next++
			s.give(s.bundleOf(s.ring.NewKey([32]byte{7, byte(s.next), byte(s.next >> 8)}), 0, 1, counter.Add(1)), to...)
		}
		for range 2 {
			s.pass(10 * bft.Millisecond)
			for len(s.held) > 0 && s.held[0].at <= s.now {
				_ = s.hand(s.held[0].l) // of an old view it is refused
				s.held = s.held[1:]
				s.settle()
			}
		}
	}
}

func (s *slowed) highestView() (v bft.View) {
	for _, h := range s.hosts {
		v = max(v, h.info().View)
	}
	return v
}

var everyone = []int(nil)

// A primary that keeps every request waiting for a little less than d, so that none is even passed on, is replaced
// all the same: the mean counts too.
func TestRule14PrimaryThatIsSlowInTheMean(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	s := slowDown(c, c.cfg.SuspectFloor*8/10, func(from bft.ReplicaID) bool { return from == 0 })
	s.load(4*bft.Second, func() bool { return s.highestView() > 0 }, everyone)
	if s.highestView() == 0 {
		t.Fatal("a primary just under d stays")
	}
	c.pass(bft.Second)
	c.mustAnswer(c.invoke(nil, counter.Add(1)), bft.Second)
	if v := s.highestView(); v != 1 {
		t.Fatalf("view %d: the next primary is quick", v)
	}
}

// A pause is no slowness: after it the primary is as quick as before.
func TestRule14PauseIsForgiven(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	pause := true
	s := slowDown(c, c.cfg.SuspectFloor*8/10, func(bft.ReplicaID) bool { return pause })
	for range 4 {
		pause = true
		s.load(c.cfg.SuspectFloor*8/10, func() bool { return false }, everyone)
		pause = false
		s.load(3*c.cfg.SuspectFloor, func() bool { return false }, everyone)
	}
	if v := s.highestView(); v != 0 {
		t.Fatalf("view %d", v)
	}
}

// Clients that keep their requests from the primary make them late, and cannot depose it unless they are
// more than half of all.
func TestRule14FewClientsCannotMakeThePrimaryLate(t *testing.T) {
	backups := []int{1, 2, 3}
	for name, x := range map[string]struct {
		clients [][]int
		deposed bool
	}{
		"one of three": {[][]int{everyone, everyone, backups}, false},
		"two of three": {[][]int{everyone, backups, backups}, true},
	} {
		c := started(t, 4, nil)
		c.commit(1)
		c.pass(bft.Second)
		s := slowDown(c, 0, func(bft.ReplicaID) bool { return false })
		s.load(4*bft.Second, func() bool { return s.highestView() > 0 }, x.clients...)
		if deposed := s.highestView() > 0; deposed != x.deposed {
			t.Errorf("%s: deposed %v", name, deposed)
		}
	}
}

// If all are slow, the fault is not the primary's: each suspicion doubles what is tolerated, and there is an end of it.
func TestRule14ToleranceDoubles(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	s := slowDown(c, c.cfg.SuspectFloor/8, func(bft.ReplicaID) bool { return true })
	s.load(8*bft.Second, func() bool { return false }, everyone)
	settled := s.highestView()
	if settled < 1 || settled > 4 {
		t.Fatalf("view %d after 8 s", settled)
	}
	s.load(5*bft.Second, func() bool { return false }, everyone)
	if v := s.highestView(); v != settled {
		t.Fatalf("view %d after %d: it does not end", v, settled)
	}
}

// A primary that sends the pre-prepares of all requests at once, but not the one of a number below them, keeps every
// request waiting as surely as one that sends none: it is slow, long before the request timeout.
func TestRule14GapIsThePrimarysDebt(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	hold := false
	s := &slowed{cluster: c}
	held := map[string]bft.Time{} // the pre-prepares that are held back, and until when
	c.dropWhen = func(l letter) bool {
		if l.kind() != bft.TypePrePrepare || l.from != 0 {
			return false
		}
		until, known := held[string(l.frame)]
		if !known && !hold {
			return false
		}
		if !known {
			until = c.now + c.cfg.RequestTimeout*8/10
			held[string(l.frame)] = until
			s.held = append(s.held, heldLetter{until, l})
		} else if known && hold {
			s.held = append(s.held, heldLetter{until, l})
		}
		return c.now < until // a liar does not repeat it before either
	}
	client := func() *bft.Bundle {
		s.next++
		return s.bundleOf(s.ring.NewKey([32]byte{7, byte(s.next), byte(s.next >> 8)}), 0, 1, counter.Add(1))
	}
	began, rounds := c.now, 0
	for ; rounds < 10 && s.highestView() == 0; rounds++ {
		hold = true
		c.give(client(), 0) // of an accomplice, whom no backup hears
		c.settle()
		hold = false
		before := c.hosts[1].info().Committed
		for range 3 {
			c.give(client()) // honest ones, proposed at once
			c.settle()
		}
		for c.hosts[1].info().Committed < before+2 && s.highestView() == 0 {
			c.pass(10 * bft.Millisecond)
			for len(s.held) > 0 && s.held[0].at <= s.now {
				_ = s.hand(s.held[0].l)
				s.held = s.held[1:]
				s.settle()
			}
		}
	}
	if s.highestView() == 0 {
		t.Fatalf("%d rounds of requests took %v, %v each (suspect floor %v), and the primary stays", rounds, (c.now - began).Duration(),
			((c.now - began) / bft.Time(rounds)).Duration(), c.cfg.SuspectFloor.Duration())
	}
}

// Who was the primary judges the next one as all others do: how long agreement takes is not how long it has run.
func TestRule14FormerPrimaryJudgesToo(t *testing.T) {
	c := started(t, 4, nil)
	c.pass(3600 * bft.Second)
	c.commit(20)
	c.hosts[0].down = true
	c.commit(1) // in view 1
	c.hosts[0].down = false
	c.pass(2 * bft.Second)
	s := &slowed{cluster: c}
	c.dropWhen = func(l letter) bool { // slow towards f+1 correct ones, of which one was the primary before
		if l.kind() != bft.TypePrePrepare || l.from != 1 || l.to == 2 {
			return false
		}
		s.held = append(s.held, heldLetter{c.now + c.cfg.SuspectFloor*8/10, l})
		return true
	}
	began, before := c.now, s.highestView()
	s.load(30*bft.Second, func() bool { return s.highestView() > before }, everyone)
	if took := c.now - began; s.highestView() == before || took > 4*bft.Second {
		t.Fatalf("every request waited %v for the primary of view %d, and it stayed for %v", (c.cfg.SuspectFloor * 8 / 10).Duration(), before, took.Duration())
	}
}

// A complaint that nobody repeats ends: one replica that was slow for a second is no reason to leave a primary because
// another one, long gone, once complained of it.
func TestRule14ComplaintsEnd(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	s := slowDown(c, 0, func(bft.ReplicaID) bool { return false })
	status, err := (&bftpb.Status{Executed: 1, Sent: int64(c.now), Slow: true}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	for to := range bft.ReplicaID(3) { // the last that is heard of replica 3
		if err := c.hand(letter{3, to, append([]byte{byte(bft.TypeStatus)}, status...)}); err != nil {
			t.Fatal(err)
		}
	}
	c.hosts[3].down = true
	deposed := func() bool { return s.highestView() > 0 }
	s.load(60*bft.Second, deposed, []int{0, 1, 2}) // nobody is slow
	c.dropWhen = func(l letter) bool {
		if l.kind() == bft.TypePrePrepare && l.to == 2 {
			s.held = append(s.held, heldLetter{c.now + c.cfg.SuspectFloor*8/10, l})
			return true
		}
		return false
	}
	s.load(4*bft.Second, deposed, []int{0, 1, 2})
	if v := s.highestView(); v != 0 {
		t.Fatalf("view %d: one living replica complains, and one that has been gone for a minute%s", v, c.describe())
	}
}

// While agreement takes its time the primary gathers, but not for so long that a backup would find a request left out.
func TestRule14GatheringIsNotSlowness(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.pass(bft.Second)
	hold := false
	c.dropWhen = func(l letter) bool { return hold && l.kind() == bft.TypeVotes }
	s := &slowed{cluster: c}
	given := 0
	give := func(k int) {
		for range k {
			s.next++
			s.give(s.bundleOf(s.ring.NewKey([32]byte{7, byte(s.next)}), 0, 1, counter.Add(1)))
		}
		given += k
	}
	executed := func() (n int) {
		for _, b := range c.hosts[1].batches {
			n += len(b.Bundles)
		}
		return n - 1
	}
	give(60) // so many at once make two more not worth a proposal
	c.passUntil(bft.Second, "all are executed", func() bool { return executed() == given })
	hold = true
	give(1)
	c.settle()
	give(2)
	c.pass(c.cfg.SuspectFloor * 5 / 2)
	if v := s.highestView(); v != 0 {
		t.Fatalf("view %d: what the primary gathers is taken for left out", v)
	}
	hold = false
	c.passUntil(2*bft.Second, "all are executed", func() bool { return executed() == given })
}
