package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The view-change with made-up certificates.
//
// Nobody ever voted for what these certificates are about. The accomplice who led a view signs, long after,
// a pre-prepare of that view for the null request, at each number that the others executed; the
// accomplices add their prepares, and the prepares of honest replicas are noise under their names. The view is
// the highest that an accomplice led, so that such a certificate would win over the genuine one, and the next
// primary would have nothing executed where something was.
//
// Aims at: rule 2: every signature within a certificate is checked, not only that of the view-change
// around it; rule 8: one made-up certificate voids the view-change that has it.
type makeUp struct{ witness }

func newMakeUp(env Env) Adversary {
	a := &makeUp{newWitness(env)}
	a.testify = a.invent
	return a
}

// invent adds certificates of the null request for what may have been executed.
func (a *makeUp) invent(t *testimony) bool {
	view, primary, ok := a.ledBelow(t.view)
	top := min(a.Plan.shift.top(), t.stable+uint64(a.Window))
	if !ok || top <= t.stable {
		return false
	}
	for seq := t.stable + 1; seq <= top; seq++ {
		a.lie("made-up prepared certificate")
		t.put(a.madeUp(slot{view, seq}, primary))
	}
	return true
}

// madeUp makes a certificate of the null request out of an accomplice's pre-prepare, the prepares of the others and
// noise in the names of honest replicas.
func (a *makeUp) madeUp(s slot, primary *wire.Member) certificate {
	c := certificate{seq: s.seq, view: s.view, pre: nullProposal(s, primary)}
	payload := prepare(s, bft.Null.Digest())
	for i := range a.Plan.members {
		if m := &a.Plan.members[i]; m.Self != primary.Self {
			c.votes = append(c.votes, m.Seal(bft.TypeVotes, payload))
		}
	}
	for _, id := range a.Plan.honest() {
		if len(c.votes) < a.quorum()-1 {
			noise := make([]byte, len(c.pre.Signature))
			for i := range noise {
				noise[i] = byte(a.Rand.IntN(256))
			}
			c.votes = append(c.votes, &bftpb.Envelope{Type: uint32(bft.TypeVotes), Signer: uint32(id), Epoch: c.pre.Epoch, Payload: payload, Signature: noise})
		}
	}
	c.votes = c.votes[:a.quorum()-1]
	return c
}

// nullProposal is a header that proposes the null request.
func nullProposal(s slot, by *wire.Member) *bftpb.Envelope {
	return by.Seal(bft.TypePrePrepare, wire.Marshal(&bftpb.Header{View: s.view, Seq: s.seq}))
}
