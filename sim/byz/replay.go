package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Replay: votes of old views, and whatever else was said before.
//
// A new view takes up what an older one left unfinished, with the same digests at the same numbers.
// So a vote of the old view would be as good, it seems. The accomplices say nothing new: where they voted
// for the proposal before, they say that old vote again, signature and all, and keep the new one back. Whoever
// counts it has a certificate of one view out of votes of two, and perhaps in neither was there a quorum.
// They shift a partition, so that views change and those who fall behind ask for such certificates.
//
// All else that they hear and say they keep too: votes, view-changes, new-views, status messages, requests,
// replies. Later they say them again, to anybody: their own of views long gone, those of others on
// their own channel, requests that were executed, replies to questions asked meanwhile. Nothing is
// forged.
//
// Aims at: certificates and votes bound to view, number, type and epoch (rule 2), views and
// watermarks that never go back (rule 17), exactly-once execution (rule 24), the start of a replica
// that is told what it once signed (rule 19).
type replay struct {
	conspirator
	frames  [][]byte
	replies [][]byte
	// said are the first own votes for a digest at a number.
	said map[saidKey]saidVote
}

// saidKey is what a vote is for, whatever the view.
type saidKey struct {
	seq    uint64
	phase  uint32
	digest bft.Digest
}

// saidVote is a vote and the view in which it was given.
type saidVote struct {
	view uint64
	e    *bftpb.Envelope
}

// kept is how many frames it remembers.
const kept = 400

func newReplay(env Env) Adversary {
	return &replay{conspirator: newConspirator(env), said: make(map[saidKey]saidVote)}
}

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
	if e := wire.Envelope(out.Frame); wire.TypeOf(out.Frame) == bft.TypeVotes && a.own(e) {
		return a.votes(out, e)
	}
	return []bft.Outbound{out}
}

// votes says old votes instead of new ones for the same.
func (a *replay) votes(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	v, err := wire.Votes(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	var sent []bft.Outbound
	var fresh []*bftpb.Vote
	for _, x := range v.Votes {
		key := saidKey{x.Seq, x.Phase, wire.DigestOf(x.Digest)}
		was, ok := a.said[key]
		switch {
		case !ok:
			a.said[key] = saidVote{v.View, e}
			fresh = append(fresh, x)
		case was.view < v.View:
			a.lie("vote of an old view instead of a new one")
			sent = append(sent, bft.Outbound{To: out.To, Frame: a.envelopeFrame(was.e)})
		default:
			fresh = append(fresh, x)
		}
	}
	switch {
	case len(fresh) == len(v.Votes):
		return []bft.Outbound{out}
	case len(fresh) > 0:
		v.Votes = fresh
		sent = append(sent, bft.Outbound{To: out.To, Frame: a.seal(bft.TypeVotes, wire.Marshal(v))})
	}
	return sent
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
