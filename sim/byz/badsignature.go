package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Badly signed requests.
//
// A Byzantine client sends bundles whose signature is not valid to all replicas, each over its own
// channel, where it is authentic all the same (rule 23). The Byzantine primary proposes them
// although it should have verified them, and those who heard them vote. From then on the bundle
// is in prepared certificates that no view change may stumble over.
//
// Aims at: rule 23: what an honest replica signed is not checked again in O and under certificates,
// or the cluster halts.
type badSignature struct {
	base
	taken bool
	// left are the proposals until this primary goes quiet, once it has proposed such requests.
	left int
}

func newBadSignature(env Env) Adversary {
	return &badSignature{base: newBase(env), left: 5 + env.Rand.IntN(30)}
}

// Checked implements Adversary: every signature is good enough.
func (a *badSignature) Checked(valid bool) bool {
	if !valid {
		a.lie("badly signed request taken")
		a.taken = true
	}
	return true
}

// Send implements Adversary: after a while it proposes nothing more, so that views change while
// such requests are prepared.
func (a *badSignature) Send(out bft.Outbound) []bft.Outbound {
	if wire.TypeOf(out.Frame) == bft.TypePrePrepare && a.own(wire.Envelope(out.Frame)) {
		if a.left--; a.left < 0 && a.taken {
			a.lie("withheld pre-prepare")
			return nil
		}
	}
	return []bft.Outbound{out}
}

// badSigner is the client of the story.
type badSigner struct{ clientBase }

// Sign implements ClientAdversary.
func (c *badSigner) Sign(_ []byte, signature crypto.Signature) crypto.Signature {
	c.lie("bad signature")
	signature[0] ^= 1
	return signature
}
