package crypto

import (
	"crypto/sha512"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Ed25519 verifies Ed25519 signatures by the rule of ZIP-215, one by one and in
// batches, with the same answer. It keeps the tables of keys it has seen, which
// make a verification faster. Make one with [NewEd25519]; it is safe for
// concurrent use.
type Ed25519 struct {
	keys keyCache
}

// NewEd25519 returns a verifier that keeps the tables of at most cacheKeys public
// keys, about 1.5 KiB each; with less than 2 it keeps none. A table is kept only
// once a signature of its key has been verified, so that forgeries under keys
// made up at random do not push out those of the members.
func NewEd25519(cacheKeys int) *Ed25519 {
	return &Ed25519{keys: keyCache{half: max(cacheKeys, 0) / 2}}
}

// Verify reports whether sig is a signature of msg by pub under ZIP-215. It does
// not refuse keys of small order; [PublicKey.Check] does.
func (v *Ed25519) Verify(pub PublicKey, msg []byte, sig Signature) bool {
	var e equation
	if !e.decodeSignature(&pub, msg, &sig) {
		return false
	}
	table, cached := v.table(&pub)
	if table == nil || !e.holds(table) {
		return false
	}
	if !cached {
		v.keys.put(pub, table)
	}
	return true
}

// CheckKey returns what [PublicKey.Check] returns. For a key whose table is kept it costs a fraction of it, since the point
// need not be decoded again.
func (v *Ed25519) CheckKey(pub PublicKey) error {
	table := v.keys.get(&pub)
	switch {
	case table == nil:
		return pub.Check()
	case table.Point().IsSmallOrder(): // as the negation of the point is, which the table is of
		return ErrSmallOrder
	}
	return nil
}

// table returns the table of -A for pub and whether it came from the cache, or
// nil if pub is not a point.
func (v *Ed25519) table(pub *PublicKey) (*curve.ExpandedEdwardsPoint, bool) {
	if t := v.keys.get(pub); t != nil {
		return t, true
	}
	var a curve.EdwardsPoint
	if !decodePoint(&a, pub[:]) {
		return nil, false
	}
	return curve.NewExpandedEdwardsPoint(a.Neg(&a)), false
}

// equation is what a signature claims, [8][S]B = [8]R + [8][k]A, without A.
type equation struct {
	r curve.EdwardsPoint
	s scalar.Scalar
	k scalar.Scalar // SHA-512(R ‖ A ‖ message) modulo the group order
}

// decodeSignature fills e and reports whether S is below the group order and R
// decodes. Anything else ZIP-215 accepts.
func (e *equation) decodeSignature(pub *PublicKey, msg []byte, sig *Signature) bool {
	if !scalar.ScMinimalVartime(sig[32:]) || !decodePoint(&e.r, sig[:32]) {
		return false
	}
	if _, err := e.s.SetCanonicalBytes(sig[32:]); err != nil {
		return false
	}
	h := sha512.New()
	h.Write(sig[:32])
	h.Write(pub[:])
	h.Write(msg)
	var sum [sha512.Size]byte
	h.Sum(sum[:0])
	_, err := e.k.SetBytesModOrderWide(sum[:])
	return err == nil
}

// holds checks the equation for the key whose negation has the table.
func (e *equation) holds(negA *curve.ExpandedEdwardsPoint) bool {
	var diff curve.EdwardsPoint
	diff.ExpandedTripleScalarMulBasepointVartime(&e.k, negA, &e.s, &e.r)
	return diff.IsSmallOrder()
}

// decodePoint decodes 32 bytes by the rules of ZIP-215: a y that is not reduced
// and a negative zero x are accepted, only what is not on the curve is refused.
func decodePoint(p *curve.EdwardsPoint, b []byte) bool {
	var y curve.CompressedEdwardsY
	if _, err := y.SetBytes(b); err != nil {
		return false
	}
	_, err := p.SetCompressedY(&y)
	return err == nil
}

// keyCache holds tables in two generations of at most half keys each. When the
// young one is full it becomes the old one, and the old one is dropped: what is
// used again in between moves to the young one, so keys in use stay.
type keyCache struct {
	half int // most keys of a generation, constant

	mu         sync.RWMutex
	young, old map[PublicKey]*curve.ExpandedEdwardsPoint
}

// get returns the table kept for pub, or nil.
func (c *keyCache) get(pub *PublicKey) *curve.ExpandedEdwardsPoint {
	c.mu.RLock()
	table, young := c.young[*pub]
	if !young {
		table = c.old[*pub]
	}
	c.mu.RUnlock()
	if table != nil && !young {
		c.put(*pub, table)
	}
	return table
}

// put keeps the table in the young generation.
func (c *keyCache) put(pub PublicKey, table *curve.ExpandedEdwardsPoint) {
	if c.half == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[pub]; ok {
		return
	}
	if c.young == nil || len(c.young) >= c.half {
		c.old = c.young
		c.young = make(map[PublicKey]*curve.ExpandedEdwardsPoint)
	}
	c.young[pub] = table
	delete(c.old, pub)
}
