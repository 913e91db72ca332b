package bft

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func lowestRig(t *testing.T) *clientRig {
	cfg := rigConfig(4)
	cfg.Lowest = true
	return newRig(t, cfg)
}

// named has a call answered by those who were asked, and wants a replica to have been named.
func (r *clientRig) named(id CallID, want ReplicaID) {
	r.t.Helper()
	long := strings.Repeat("x", DigestOver)
	r.invoke(id, "op")
	r.tick(0)
	b, replier := r.lastRequest()
	asked := r.asked[len(r.asked)-1]
	if replier != want || asked>>replier&1 == 0 {
		r.t.Fatalf("call %d: replica %d is named, %04b are asked, want %d", id, replier, asked, want)
	}
	r.tick(Millisecond)
	for who := ReplicaID(3); who < 4; who-- {
		if asked>>who&1 != 0 && r.c.Outstanding() > 0 {
			r.reply(who, b, 77, replier, long)
		}
	}
	r.want(id, long)
}

// The lowest replica that can be reached and is active answers in full, also where others are quicker, and again once it
// is back.
func TestRule28LowestActiveReplies(t *testing.T) {
	r := lowestRig(t)
	r.open()
	r.named(1, 0)
	r.named(2, 0)
	r.c.SetFit(0b1110) // the members hold it for silent
	r.named(3, 1)
	r.c.ReplicaDown(1)
	r.named(4, 2)
	r.c.SetFit(0b1111)
	r.named(5, 0)
	r.c.ReplicaDown(0)
	r.named(6, 2)
	r.c.ReplicaUp(1)
	r.named(7, 1)
	r.c.SetFit(0) // what makes no sense leaves those who can be reached
	r.named(8, 1)
}

// One that is silent, or lies, costs one retry. It is not named again until the members have held it for silent
// and hold it for active again, or until all others have failed too.
func TestRule28LowestThatFails(t *testing.T) {
	for _, lies := range []bool{false, true} {
		r := lowestRig(t)
		r.open()
		r.named(1, 0)
		long := strings.Repeat("y", DigestOver)
		r.invoke(2, "op")
		r.tick(0)
		b, replier := r.lastRequest()
		if lies {
			r.reply(replier, b, 77, replier, "lie")
		}
		r.tick(Millisecond)
		r.reply(1, b, 77, replier, long)
		r.reply(2, b, 77, replier, long)
		r.tick(100 * Millisecond)
		if _, who := r.lastRequest(); who != Everyone {
			t.Fatalf("lies %v: %d is named in the retry", lies, who)
		}
		since := len(r.requests)
		r.reply(2, b, 77, Everyone, long)
		r.reply(3, b, 77, Everyone, long)
		r.want(2, long)
		for id := range CallID(allAskedEach * 4) {
			r.named(100+id, 1)
		}
		if n := len(r.requests) - since; n != allAskedEach*4 {
			t.Errorf("lies %v: %d requests for %d calls", lies, n, allAskedEach*4)
		}
		r.c.SetFit(0b1110)
		r.named(3, 1)
		r.c.SetFit(0b1111)
		r.named(4, 0)
	}
}

// Without Lowest clients begin with different repliers, also those whose host takes all for down at first, as it does
// before it is connected.
func TestRepliersAreSpread(t *testing.T) {
	repliers := map[ReplicaID]bool{}
	for k := range byte(16) {
		cfg := rigConfig(4)
		cfg.Key[0] = k
		c, err := NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for id := range ReplicaID(4) {
			c.ReplicaDown(id)
		}
		for id := range ReplicaID(4) {
			c.ReplicaUp((c.home() + id) % 4)
		}
		repliers[c.Replier()] = true
	}
	if len(repliers) != 4 {
		t.Errorf("16 clients have the repliers %v", repliers)
	}
}

// While the whole cluster is slow nobody is blamed.
func TestRule28LowestInSlowCluster(t *testing.T) {
	r := lowestRig(t)
	r.open()
	r.invoke(1, "op")
	r.tick(0)
	b, _ := r.lastRequest()
	r.tick(5 * Second)
	if _, who := r.lastRequest(); who != Everyone {
		t.Fatalf("replier %d in the retry", who)
	}
	r.reply(2, b, 77, Everyone, "op")
	r.reply(3, b, 77, Everyone, "op")
	r.want(1, "op")
	if r.c.Replier() != 0 {
		t.Errorf("the replier is %d", r.c.Replier())
	}
}

// If all have failed they begin anew.
func TestRule28LowestAllFailed(t *testing.T) {
	r := lowestRig(t)
	r.open()
	for id := range ReplicaID(4) {
		if r.c.Replier() != id {
			t.Fatalf("the replier is %d, want %d", r.c.Replier(), id)
		}
		r.c.rotate(id)
	}
	if r.c.Replier() != 0 {
		t.Errorf("after all have failed the replier is %d", r.c.Replier())
	}
}

// TestRule27LiesAreNeverAccepted with the lowest replier, whatever is said of who is active.
func TestRule27LiesAreNeverAcceptedFromTheLowest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkLies(t, true) })
}
