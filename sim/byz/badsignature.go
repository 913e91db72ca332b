package byz

import (
	"math/big"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Badly signed requests.
//
// A Byzantine client sends bundles whose signature is not valid to all replicas, each over its own
// channel, where it is authentic all the same (rule 23); or valid to some, and not valid to others. The
// Byzantine primary proposes them although it should have verified them, and those who heard them vote.
// From then on the bundle is in prepared certificates that no view change may stumble over. At the edge of
// validity verifiers differ, if they do not agree on one rule: a scalar that is not reduced, a point
// whose encoding is not, a point of small order. And with a key of small order, which nobody has
// drawn, one signature holds for whatever is said: in its name anybody may speak.
//
// Aims at: rule 23: what an honest replica signed is not checked again in O and under certificates, or
// the cluster halts; an invalid signature never ends in a proposal; one rule for all (ZIP-215); keys of
// small order are refused.
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

// Inject implements Adversary: it passes on requests of clients whose keys are of small order.
func (a *badSignature) Inject(bft.Time) []bft.Outbound {
	if !a.chance(10) {
		return nil
	}
	a.lie("request under a key of small order")
	key := smallOrder[a.Rand.IntN(len(smallOrder))]
	b := opening(a.Rand, key)
	r := smallOrder[a.Rand.IntN(len(smallOrder))]
	copy(b.Signature[:], r[:]) // R of small order too and S zero: that satisfies the equation for any message
	return []bft.Outbound{{To: bft.Everyone, Frame: bft.RequestFrame(b, bft.Everyone)}}
}

// smallOrder are encodings of points of small order: the identity, its twin with a sign, the point of
// order two, those of order four, and some of them again, not reduced.
var smallOrder = []bft.ClientID{
	{0: 1},
	{0: 1, 31: 0x80},
	encoding(fieldPrime(), -1),
	{},
	{31: 0x80},
	encoding(fieldPrime(), 0),
	encoding(fieldPrime(), 1),
}

// fieldPrime is 2^255 − 19.
func fieldPrime() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
}

// groupOrder is that of the large subgroup: 2^252 + 27742317777372353535851937790883648493.
func groupOrder() *big.Int {
	l, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	return l.Add(l, new(big.Int).Lsh(big.NewInt(1), 252))
}

// encoding is the number n + more as 32 bytes, the lowest first.
func encoding(n *big.Int, more int64) (out [32]byte) {
	n.Add(n, big.NewInt(more)).FillBytes(out[:])
	for i := range 16 {
		out[i], out[31-i] = out[31-i], out[i]
	}
	return out
}

// badSigner is the client of the story.
type badSigner struct{ clientBase }

// Sign implements ClientAdversary.
func (c *badSigner) Sign(_ []byte, signature crypto.Signature) crypto.Signature {
	c.lie("bad signature")
	return c.spoil(signature)
}

// Send implements ClientAdversary: some replicas may be told one with another signature.
func (c *badSigner) Send(out bft.Outbound) []bft.Outbound {
	b := bundleOf(out.Frame)
	if b == nil || !c.chance(40) {
		return []bft.Outbound{out}
	}
	c.lie("valid to some, invalid to others")
	valid := *b
	good := c.signed(&valid)
	var sent []bft.Outbound
	for _, to := range c.receivers(out) {
		frame := out.Frame
		if c.chance(50) {
			frame = good
		}
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}

// spoil makes an invalid signature of a valid one, one that some verifier might take.
func (c *badSigner) spoil(s crypto.Signature) crypto.Signature {
	switch c.Rand.IntN(5) {
	case 0: // S + L: the same scalar, not reduced
		var scalar [32]byte
		for i := range scalar {
			scalar[i] = s[63-i]
		}
		sum := new(big.Int).SetBytes(scalar[:])
		sum.Add(sum, groupOrder()).Mod(sum, new(big.Int).Lsh(big.NewInt(1), 256)) // a fast signature may be above 2^256 − L
		shifted := encoding(sum, 0)
		copy(s[32:], shifted[:])
	case 1: // the other sign of R
		s[31] ^= 0x80
	case 2: // R of small order
		r := smallOrder[c.Rand.IntN(len(smallOrder))]
		copy(s[:32], r[:])
	case 3:
		s = crypto.Signature{}
	default:
		s[c.Rand.IntN(len(s))] ^= 1 << c.Rand.IntN(8)
	}
	return s
}
