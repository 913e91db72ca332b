package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Replayed requests.
//
// A request that is executed once may be sent again forever, and its signature stays valid. The client
// repeats what it ever sent, at any time, to one replica or to all: after the answer, after the number
// has left the window, after its session has ended. Accomplices keep the requests of others too, honest
// clients' among them, pass them on again long after, and as primary put executed ones into their
// proposals, beside new ones.
//
// Aims at: rule 24: each operation of a session is executed once, at most, however often its bundle is
// ordered, and a retry gets the reply of the first time.
type replayRequests struct {
	smuggling
	// old are requests, the oldest first.
	old [][]byte
}

func newReplayRequests(env Env) Adversary { return &replayRequests{smuggling: newSmuggling(env)} }

// Request implements Adversary.
func (a *replayRequests) Request(_ bft.ClientID, frame []byte) bool {
	if len(a.old) < kept {
		a.old = append(a.old, frame)
	}
	return true
}

// former draws a request of some time ago; nil if there is none.
func (a *replayRequests) former() []byte {
	if len(a.old) < 8 {
		return nil
	}
	return a.old[a.Rand.IntN(len(a.old)/2)]
}

// Send implements Adversary.
func (a *replayRequests) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) != bft.TypePrePrepare || !a.own(e) {
		return []bft.Outbound{out}
	}
	h, err := wire.Header(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	frame, ok := a.again(h)
	if request := a.former(); !ok && request != nil && a.chance(40) {
		frame = a.smuggle(out.Frame, request)
	}
	if frame == nil {
		return []bft.Outbound{out}
	}
	a.lie("executed request proposed again")
	return []bft.Outbound{{To: out.To, Frame: frame}}
}

// Inject implements Adversary.
func (a *replayRequests) Inject(bft.Time) []bft.Outbound {
	sent := a.hand("executed request handed out")
	if request := a.former(); request != nil && a.chance(40) {
		a.lie("old request passed on")
		sent = append(sent, bft.Outbound{To: a.peer(), Frame: request})
	}
	return sent
}

// repeater is the client of the story.
type repeater struct {
	clientBase
	sent [][]byte
}

// Send implements ClientAdversary.
func (c *repeater) Send(out bft.Outbound) []bft.Outbound {
	if len(c.sent) < kept {
		c.sent = append(c.sent, out.Frame)
	}
	return []bft.Outbound{out}
}

// Inject implements ClientAdversary.
func (c *repeater) Inject(bft.Time) []bft.Outbound {
	if len(c.sent) == 0 || !c.chance(40) {
		return nil
	}
	to := bft.ReplicaID(bft.Everyone)
	if c.chance(50) {
		to = bft.ReplicaID(c.Rand.IntN(c.N))
	}
	c.lie("old request")
	return []bft.Outbound{{To: to, Frame: c.sent[c.Rand.IntN(len(c.sent))]}}
}
