package exec

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// TestFreshReplies: a reply is fresh if its bundle was executed as a whole just now, and never if a result may be that of
// something else.
func TestFreshReplies(t *testing.T) {
	r := newRig(t)
	fresh := func(b *bft.Bundle) bool { return r.do(b).Fresh }
	open := openWith(alice, 1, "x")
	if !fresh(open) || fresh(open) {
		t.Error("an opening with an operation must be fresh once")
	}
	session := r.do(open).Session
	next := in(alice, session, 2, "y", "z")
	if !fresh(next) || fresh(next) {
		t.Error("a bundle must be fresh once")
	}
	for name, b := range map[string]*bft.Bundle{
		"uses a number again":  in(alice, session, 3, "other", "new"),
		"has no operation":     in(alice, session, 5),
		"is of no session":     in(alice, 99, 1, "y"),
		"is of another client": in(bob, session, 5, "y"),
		"is beyond the window": in(alice, session, 5+bft.WindowOps, "y"),
	} {
		if fresh(b) {
			t.Errorf("a bundle that %s is fresh", name)
		}
	}
	late := in(alice, session, 5, "late")
	if late.Expires = 1; fresh(late) {
		t.Error("a bundle that came too late is fresh")
	}
}
