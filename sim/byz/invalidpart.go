package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// The view-change with one invalid part among valid ones.
//
// Everything in it is as it should be but for one certificate, the first: a vote too few, or one with a
// flipped bit in its signature. Who gives up the certificate and takes the rest has a view-change that its
// sender never made; who looks at the parts in turn, and stops at the first that is no good, has not looked
// at the others. For those the accomplice has prepared something: behind the invalid part it puts, for each
// number that was executed, its own pre-prepare of nothing, from a later view, with no votes at all.
//
// Aims at: rule 8: an invalid part voids its view-change, before selection, and hides no other one; a
// new-view that holds a void one is refused whole.
type invalidPart struct{ witness }

func newInvalidPart(env Env) Adversary {
	a := &invalidPart{newWitness(env)}
	a.testify = a.spoil
	return a
}

// spoil makes the first certificate invalid, and now and then puts empty ones behind it.
func (a *invalidPart) spoil(t *testimony) bool {
	view, primary, led := a.ledBelow(t.view)
	first := t.stable + 1
	if len(t.prepared) > 0 && t.prepared[0].seq != first && led {
		t.put(certificate{seq: first, view: view, pre: nullProposal(slot{view, first}, primary)})
	}
	switch {
	case len(t.prepared) == 0:
		return false
	case a.chance(25):
		a.lie("one bad signature among good ones")
		c := &t.prepared[0]
		bad := c.pre
		if len(c.votes) > 0 {
			bad = c.votes[0]
		}
		x := &bftpb.Envelope{Type: bad.Type, Signer: bad.Signer, Epoch: bad.Epoch, Payload: bad.Payload, Signature: bytes.Clone(bad.Signature)}
		x.Signature[a.Rand.IntN(len(x.Signature))] ^= 1
		if len(c.votes) > 0 {
			c.votes = append([]*bftpb.Envelope{x}, c.votes[1:]...)
		} else {
			c.pre = x
		}
		return true
	}
	a.lie("one certificate with a vote too few")
	if c := &t.prepared[0]; len(c.votes) > 0 {
		c.votes = c.votes[1:]
	}
	if !led {
		return true
	}
	for seq := first + 1; seq <= min(a.Plan.shift.top(), t.stable+uint64(a.Window)); seq++ {
		a.lie("certificate without votes behind an invalid one")
		t.put(certificate{seq: seq, view: view, pre: nullProposal(slot{view, seq}, primary)})
	}
	return true
}
