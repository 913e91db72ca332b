package bft

import (
	"slices"
	"testing"
)

// opened is a client of four replicas whose session is open: 0 and 1 have answered.
func opened(t *testing.T) *clientRig {
	t.Helper()
	r := newRig(t, rigConfig(4))
	r.open()
	return r
}

// asking begins a call and returns the bundle that leaves, and who shall answer it in full.
func (r *clientRig) asking(id CallID, op string) (*Bundle, ReplicaID) {
	r.t.Helper()
	r.invoke(id, op)
	r.tick(0)
	return r.lastRequest()
}

// answered has a call answered by some replicas, each a while after the other, and returns who was asked.
func (r *clientRig) answered(id CallID, by ...ReplicaID) uint64 {
	r.t.Helper()
	b, replier := r.asking(id, "op")
	asked := r.asked[len(r.asked)-1]
	for _, who := range by {
		r.tick(Millisecond)
		r.reply(who, b, 77, replier, "op")
	}
	r.want(id, "op")
	return asked
}

// requestsTo is to whom the last requests went since there were some number of them.
func (r *clientRig) requestsTo(since int) (to []ReplicaID) {
	for _, m := range r.sent[since:] {
		if MessageType(m.Frame[0]) == TypeRequest {
			to = append(to, m.To)
		}
	}
	return to
}

// wantRequests wants requests to some replicas, and to no others, since there were some number of messages.
func (r *clientRig) wantRequests(since int, to ...ReplicaID) {
	r.t.Helper()
	if got := r.requestsTo(since); !slices.Equal(got, to) {
		r.t.Fatalf("requests go to %v, not %v", got, to)
	}
}

const everybody = 0b1111

// All are asked first; the f+1 who answered first are asked from then on, and all again from time to time.
func TestRule28AsksThoseWhoAnswerFirst(t *testing.T) {
	r := opened(t)
	if r.asked[0] != everybody {
		t.Fatalf("the first bundle asks %04b", r.asked[0])
	}
	all := 0
	for i := range CallID(2 * allAskedEach) {
		switch asked := r.answered(1+i, 1, 0); asked {
		case everybody:
			all++
		case 0b0011:
		default:
			t.Fatalf("bundle %d asks %04b", i, asked)
		}
	}
	if all != 2 {
		t.Errorf("%d of %d bundles asked all", all, 2*allAskedEach)
	}
	for i := range CallID(allAskedEach) { // others are quicker now
		if r.answered(1000+i, 2, 3) == everybody {
			break
		}
	}
	if asked := r.answered(2000, 3, 2); asked != 0b1100 {
		t.Errorf("asks %04b, not those who are quicker", asked)
	}
	if who := r.c.Info().Replier; who < 2 {
		t.Errorf("replier %d is not among those who are asked", who)
	}
}

// One that was asked and is silent costs one more round: then the others are asked, and it is not asked again for a while
// that doubles.
func TestRule28SilentOneIsNotAskedAgain(t *testing.T) {
	r := opened(t)
	id := CallID(0)
	silence := func() { // goes on until 0 is asked, and silent
		t.Helper()
		for {
			id++
			b, replier := r.asking(id, "op")
			r.tick(Millisecond)
			asked, since := r.asked[len(r.asked)-1], len(r.sent)
			if asked&everybody == everybody {
				r.reply(0, b, 77, replier, "op") // then it is the first
			}
			for who := ReplicaID(1); r.c.Outstanding() > 0 && who < 4; who++ {
				if asked>>who&1 != 0 {
					r.reply(who, b, 77, replier, "op")
				}
			}
			if r.c.Outstanding() == 0 {
				continue
			}
			r.tick(400 * Millisecond)
			to := r.requestsTo(since)
			if len(to) != 2 || asked>>to[0]&1 != 0 || asked>>to[1]&1 != 0 {
				t.Fatalf("%04b were asked, after the silence %v", asked, to)
			}
			r.reply(to[0], b, 77, Everyone, "op")
			r.want(id, "op")
			return
		}
	}
	silence()
	for _, rounds := range []CallID{1, 2, 4} {
		last := id
		silence()
		if n := id - last; n < rounds*allAskedEach || n > (rounds+1)*allAskedEach+2 { // until all are asked next
			t.Errorf("chosen again after %d bundles, want %d", n, rounds*allAskedEach)
		}
	}
}

// Where those who were asked do not agree, the others are asked at once.
func TestRule28DisagreementAsksAllAtOnce(t *testing.T) {
	r := opened(t)
	b, replier := r.asking(1, "op")
	since := len(r.sent)
	r.reply(0, b, 77, replier, "lie")
	r.wantRequests(since) // one answer alone has nobody asked
	r.reply(1, b, 77, replier, "op")
	r.wantRequests(since, 2, 3)
	r.reply(3, b, 77, Everyone, "op")
	r.want(1, "op")
	if asked := r.answered(2, 1, 3); asked != 0b1010 {
		t.Errorf("after a lie %04b are asked", asked)
	}
}

// The loss of one that was asked is as good as its silence, at once.
func TestRule28LostOneIsNotWaitedFor(t *testing.T) {
	r := opened(t)
	b, _ := r.asking(1, "op")
	since := len(r.sent)
	r.c.ReplicaDown(0)
	r.tick(0)
	r.wantRequests(since, 2, 3)
	r.reply(1, b, 77, Everyone, "op")
	r.reply(3, b, 77, Everyone, "op")
	r.want(1, "op")
	if asked := r.answered(2, 3, 1); asked != 0b1010 {
		t.Errorf("after the loss %04b are asked", asked)
	}
}

// Where the whole cluster is slow nobody is to blame, and the client learns to wait.
func TestRule28SlowClusterShunsNobody(t *testing.T) {
	r := opened(t)
	b, _ := r.asking(1, "op")
	r.tick(100 * Millisecond)
	for id := range ReplicaID(2) {
		r.reply(id, b, 77, Everyone, "op")
	}
	r.want(1, "op")
	for i := range r.c.asked.shunned {
		if r.c.asked.shunned[i].until != 0 {
			t.Errorf("replica %d is shunned", i)
		}
	}
	if r.c.asked.took < 10*Millisecond {
		t.Errorf("bundles take %v", r.c.asked.took)
	}
	if asked := r.answered(2, 0, 1); asked != 0b0011 {
		t.Errorf("asks %04b", asked)
	}
}

// Who answered first and then went down is not named as the one that answers in full.
func TestRule28NamedReplierIsConnected(t *testing.T) {
	for gone := range ReplicaID(4) {
		for other := range ReplicaID(4) {
			r := newRig(t, rigConfig(4))
			b, replier := r.asking(1, "a")
			if gone == other || gone == replier || other == replier {
				continue
			}
			r.reply(gone, b, 77, Everyone, "a")
			r.c.ReplicaDown(gone)
			r.reply(other, b, 77, Everyone, "a")
			r.want(1, "a")
			if _, who := r.asking(2, "b"); who == gone {
				t.Errorf("replica %d is named, which is down", who)
			}
		}
	}
}
