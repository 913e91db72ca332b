package client

import (
	"encoding/binary"
	"testing"
	"time"
)

func activeFrame(set uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{membersAnswer}, set)
}

// A replica is unfit once f+1 connected ones say so, not before, and whatever they say of those that do not exist.
func TestFitness(t *testing.T) {
	f := newFitness(4, 2)
	want := func(fit uint64) {
		t.Helper()
		if got := f.get(); got != fit {
			t.Errorf("fit %04b, want %04b", got, fit)
		}
	}
	want(0b1111)
	if f.hear(1, activeFrame(0b1110)) || f.hear(1, activeFrame(0)) {
		t.Error("one alone makes others unfit")
	}
	if !f.hear(2, activeFrame(1<<40|0b1110)) {
		t.Error("f+1 say that 0 is silent, and nothing changes")
	}
	want(0b1110)
	for _, bad := range [][]byte{{membersAnswer}, append(activeFrame(0), 0), {0x90, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if f.hear(3, bad) {
			t.Errorf("% x changes something", bad)
		}
	}
	want(0b1110)
	if !f.lost(1) {
		t.Error("a lost connection changes nothing")
	}
	want(0b1111)
	f.hear(1, activeFrame(0b1110))
	if !f.hear(2, activeFrame(0b1111)) {
		t.Error("0 stays unfit")
	}
	want(0b1111)
}

// The replier is the lowest replica that f+1 do not hold for silent, and the lowest again once they hold it for active.
func TestReplierFollowsMembers(t *testing.T) {
	cl := newCluster(t, 4)
	c := cl.dial()
	tell := func(active uint64, want int, replicas ...int) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for c.Replier() != want {
			if time.Now().After(deadline) {
				t.Fatalf("the replier is %d, want %d", c.Replier(), want)
			}
			for _, id := range replicas {
				cl.replicas[id].tell(active) // they may not have been asked yet
			}
			time.Sleep(time.Millisecond)
		}
	}
	tell(0b1111, 0, 0, 1, 2, 3)
	tell(0b1110, 1, 1, 2)
	tell(0b1100, 2, 3, 2)
	tell(0b1111, 0, 3, 2)
	cl.replicas[0].stop()
	tell(0b1111, 1)
	// A call at the end only: on a slow machine a replier may be too slow for the client, which then prefers another.
	if _, err := c.Invoke(within(t, patience), []byte("add 1")); err != nil {
		t.Fatal(err)
	}
}
