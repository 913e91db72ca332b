package exec

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

func openingOf(client, nonce byte, notAfter bft.Time, c *bft.Claim, ops ...string) *bft.Bundle {
	b := firstBundle(nonce, ops...)
	b.Client, b.NotAfter, b.Claim = bft.ClientID{client}, notAfter, c
	return b
}
func inSession(client byte, s bft.SessionID, first uint64, ops ...string) *bft.Bundle {
	b := &bft.Bundle{Client: bft.ClientID{client}, Session: s, First: first}
	for _, op := range ops {
		b.Ops = append(b.Ops, passiveOp(op))
	}
	return b
}

// Two openings of one instance in one batch, the second of which is older and so refused, void nobody else's update.
func TestPlanOfTwoOpeningsOfAnInstance(t *testing.T) {
	m, _ := passiveMachine(t, DefaultLimits())
	other, _ := passiveMachine(t, DefaultLimits())
	victim := openingOf(9, 9, 5000, nil, "victim")
	b := batchOf(m, 1000, openingOf(1, 1, 3000, strict("x")), openingOf(1, 2, 2000, strict("x"), "a"), victim)
	propose(t, m, other, b)
	out := m.Execute(b)
	if out.Replies[2].Void {
		t.Error("the victim's update is void because of another client")
	}
}

// Nor does a session that is used, replaced and used again in one batch.
func TestPlanOfASessionReplacedInItsBatch(t *testing.T) {
	m, _ := passiveMachine(t, DefaultLimits())
	other, _ := passiveMachine(t, DefaultLimits())
	b := batchOf(m, 1000, openingOf(1, 1, 3000, strict("x")))
	propose(t, m, other, b)
	id := m.Execute(b).Replies[0].Session
	other.Execute(b)
	b = batchOf(m, 1001, inSession(1, id, 1, "a"), openingOf(1, 2, 4000, strict("x")), inSession(1, id, 2, "b"), openingOf(9, 9, 5000, nil, "victim"))
	propose(t, m, other, b)
	out := m.Execute(b)
	if out.Replies[3].Void {
		t.Error("the victim's update is void because of another client")
	}
}

// What an opening before it in the batch may evict or replace, or what has ended by itself, is not certain to be there: its
// operation is not planned, and voids nobody's update.
func TestPlanOfASessionThatMayBeGone(t *testing.T) {
	const late, short = 2000, 5
	for name, k := range map[string]struct {
		claim *bft.Claim
		first *bft.Bundle // of the batch
	}{
		"idle for long, and an opening takes its place": {nil, openingOf(3, 1, late+100, nil)},
		"replaced by an opening":                        {strict("x"), openingOf(1, 2, late+100, strict("x"))},
		"its lease has ended":                           {lease(short), nil},
	} {
		l := DefaultLimits()
		l.MaxSessions, l.SessionsPerClient, l.MaxAhead = 2, 2, 500
		if k.claim != nil {
			l.MaxSessions, l.SessionsPerClient, l.MaxAhead = 10, 10, 5000
		}
		m, _ := passiveMachine(t, l)
		other, _ := passiveMachine(t, l)
		open := func(at bft.Time, x *bft.Bundle) bft.SessionID {
			b := batchOf(m, at, x)
			propose(t, m, other, b)
			other.Execute(b)
			return m.Execute(b).Replies[0].Session
		}
		var gone, kept bft.SessionID
		if k.first != nil {
			gone = open(1000, openingOf(1, 1, 1100, k.claim))
		}
		kept = open(late-1, openingOf(9, 9, late+100, nil))
		if k.first == nil {
			gone = open(late-1, openingOf(1, 1, late+100, k.claim))
		}
		bundles := []*bft.Bundle{inSession(1, gone, 1, "a"), inSession(9, kept, 1, "victim")}
		if k.first != nil {
			bundles = append([]*bft.Bundle{k.first}, bundles...)
		}
		b := batchOf(m, late+2*short, bundles...)
		propose(t, m, other, b)
		replies := m.Execute(b).Replies
		if last := replies[len(replies)-1]; last.Void || Status(last.Results[0][0]) != StatusOK {
			t.Errorf("%s: the victim's update is void because of another client", name)
		}
		if x := replies[len(replies)-2]; x.Void || Status(x.Results[0][0]) == StatusOK {
			t.Errorf("%s: the session is not gone: %s", name, show(x.Results))
		}
	}
}

// An opening that replaces another session when the quota is used up is executed, once.
func TestPlanOfAReplacementAtTheQuota(t *testing.T) {
	l := DefaultLimits()
	l.SessionsPerClient, l.MaxSessions = 2, 10
	m, s := passiveMachine(t, l)
	other, _ := passiveMachine(t, l)
	do := func(at bft.Time, x *bft.Bundle) Outcome {
		b := batchOf(m, at, x)
		propose(t, m, other, b)
		other.Execute(b)
		return m.Execute(b)
	}
	do(1000, openingOf(1, 1, 3000, strict("x")))
	do(1001, openingOf(1, 2, 4000, named("x")))
	x := openingOf(1, 3, 5000, strict("x"), "a")
	for i := range 20 {
		do(1002+bft.Time(i), x)
	}
	if s.applied != 1 {
		t.Error("the operation is never executed; its nonce answers ", show(m.Replay(x).Results))
	}
}
func named(i string) *bft.Claim { return &bft.Claim{Instance: i} }
