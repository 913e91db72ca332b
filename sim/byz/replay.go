package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Replay.
//
// It keeps what it hears and says: votes, view-changes, new-views, status messages, requests,
// replies. Later it says them again, to anybody: its own of views long gone, those of others on
// its own channel, requests that were executed, replies to questions asked meanwhile. Nothing is
// forged.
//
// Aims at: certificates and votes bound to view, number, type and epoch (rule 2), views and
// watermarks that never go back (rule 17), exactly-once execution (rule 24), the start of a replica
// that is told what it once signed (rule 19).
type replay struct {
	base
	frames  [][]byte
	replies [][]byte
}

// kept is how many frames it remembers.
const kept = 400

func newReplay(env Env) Adversary { return &replay{base: newBase(env)} }

func (a *replay) keep(frame []byte) {
	if len(a.frames) < kept {
		a.frames = append(a.frames, frame)
		return
	}
	// Forgetting at random keeps some that are very old.
	if a.chance(20) {
		a.frames[a.Rand.IntN(kept)] = frame
	}
}

// Receive implements Adversary.
func (a *replay) Receive(_ bft.ReplicaID, frame []byte) bool {
	a.keep(frame)
	return true
}

// Request implements Adversary.
func (a *replay) Request(_ bft.ClientID, frame []byte) bool {
	a.keep(frame)
	return true
}

// Send implements Adversary.
func (a *replay) Send(out bft.Outbound) []bft.Outbound {
	a.keep(out.Frame)
	return []bft.Outbound{out}
}

// Reply implements Adversary.
func (a *replay) Reply(_ bft.ClientID, frame []byte) [][]byte {
	if len(a.replies) < kept {
		a.replies = append(a.replies, frame)
	}
	if !a.chance(30) {
		return [][]byte{frame}
	}
	a.lie("old reply")
	return [][]byte{a.replies[a.Rand.IntN(len(a.replies))], frame}
}

// Inject implements Adversary.
func (a *replay) Inject(bft.Time) []bft.Outbound {
	if len(a.frames) == 0 {
		return nil
	}
	var sent []bft.Outbound
	for range 1 + a.Rand.IntN(4) {
		frame := a.frames[a.Rand.IntN(len(a.frames))]
		to := a.peer()
		if a.chance(20) {
			to = bft.Everyone
		}
		a.lie("old " + wire.TypeOf(frame).String())
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}
