package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Framing the honest.
//
// Faulty replicas are found out by what they signed; so it makes things that an honest one is supposed
// to have signed. It shows to an honest replica votes, proposals and view-changes with that replica's own
// name on them, of which it cannot remember anything: whoever believed that would have to conclude that
// its disk has lost records, and could not sign any more. It hands to others, as if it had collected
// them, two commits of one member for different digests, in certificates and on its own channel. And
// genuine votes it repeats out of place: those of another view beside those of this one, and those of
// one replica in the evidence against another.
//
// Aims at: rule 19: a replica takes itself to be amnesiac only when it is shown its own signature;
// rule 2: signatures are bound to view, number, type, epoch and cluster; rule 33: evidence never names
// an honest replica (oracle A2).
type frameUp struct {
	base
	at heights
	// genuine are votes of others.
	genuine []*bftpb.Envelope
}

func newFrameUp(env Env) Adversary { return &frameUp{base: newBase(env)} }

// Receive implements Adversary.
func (a *frameUp) Receive(_ bft.ReplicaID, frame []byte) bool {
	a.at.hear(frame)
	if wire.TypeOf(frame) == bft.TypeVotes {
		if e := wire.Envelope(frame); e != nil {
			if a.genuine = append(a.genuine, e); len(a.genuine) > 256 {
				a.genuine = a.genuine[1:]
			}
		}
	}
	return true
}

// Inject implements Adversary.
func (a *frameUp) Inject(bft.Time) []bft.Outbound {
	if a.at.view == 0 && a.at.executed == 0 {
		return nil
	}
	var sent []bft.Outbound
	for _, to := range a.Plan.honest() {
		if a.chance(20) {
			sent = append(sent, bft.Outbound{To: to, Frame: a.shown(to)})
		}
	}
	if honest := a.Plan.honest(); a.chance(30) {
		who := honest[a.Rand.IntN(len(honest))]
		sent = append(sent, bft.Outbound{To: a.peer(), Frame: a.evidence(who)})
	}
	return sent
}

// forge makes an envelope in the name of a member: with the own signature, or with a genuine one of
// that member, of something else.
func (a *frameUp) forge(who bft.ReplicaID, t bft.MessageType, payload []byte) *bftpb.Envelope {
	e := a.Seal(t, payload)
	e.Signer = uint32(who)
	if a.chance(50) {
		for _, g := range a.genuine {
			if g.Signer == uint32(who) {
				e.Signature = g.Signature
				break
			}
		}
	}
	return e
}

// shown makes a status that shows to a replica what it is supposed to have signed.
func (a *frameUp) shown(to bft.ReplicaID) []byte {
	s := bftpb.Status{View: a.at.view, Stable: a.at.stable, Executed: a.at.executed, AnswersStart: true}
	seq, d := a.at.executed+1+a.Rand.Uint64N(uint64(a.Window)), a.digest()
	switch a.Rand.IntN(3) {
	case 0:
		a.lie("votes shown to who did not sign them")
		v := bftpb.Votes{View: a.at.view, Votes: []*bftpb.Vote{{Phase: 1 + uint32(a.Rand.IntN(2)), Seq: seq, Digest: d[:]}}}
		s.Newest = append(s.Newest, a.forge(to, bft.TypeVotes, wire.Marshal(&v)))
	case 1:
		a.lie("pre-prepare shown to who did not sign it")
		h := bftpb.Header{View: a.at.view, Seq: seq, Body: d[:], Time: 1}
		s.Newest = append(s.Newest, a.forge(to, bft.TypePrePrepare, wire.Marshal(&h)))
	default:
		a.lie("view-change shown to who did not sign it")
		v := bftpb.ViewChange{View: a.at.view + 1 + a.Rand.Uint64N(8)}
		s.Newest = append(s.Newest, a.forge(to, bft.TypeViewChange, wire.Marshal(&v)))
	}
	return wire.Frame(bft.TypeStatus, &s)
}

// evidence makes data that would prove that a member committed to two proposals for one number.
func (a *frameUp) evidence(who bft.ReplicaID) []byte {
	var es []*bftpb.Envelope
	for range 2 {
		d := a.digest()
		v := bftpb.Votes{View: a.at.view, Votes: []*bftpb.Vote{{Phase: uint32(bft.PhaseCommit), Seq: a.at.executed + 1, Digest: d[:]}}}
		es = append(es, a.forge(who, bft.TypeVotes, wire.Marshal(&v)))
	}
	if a.chance(30) {
		a.lie("forged vote on the own channel")
		return a.envelopeFrame(es[0])
	}
	a.lie("forged commits as evidence")
	for i := 0; i < a.quorum() && i < len(a.genuine); i++ {
		es = append(es, a.genuine[len(a.genuine)-1-i])
	}
	c := bftpb.Committed{Seq: a.at.executed + 1, View: a.at.view, Content: &bftpb.Body{}, Votes: es[:min(len(es), a.quorum())]}
	return wire.Frame(bft.TypeData, &bftpb.Data{Committed: []*bftpb.Committed{&c}})
}
