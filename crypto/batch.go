package crypto

import (
	"crypto/rand"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

const (
	// batchMax is how many claims are put into one sum. Beyond it the tables
	// fall out of the processor's cache and a larger sum gains nothing.
	batchMax = 128
	// batchMin is the number of claims from which one sum is cheaper than as
	// many single checks.
	batchMin = 4
	// halfMin is the same for halves of a sum that did not hold: some of them
	// do not hold either and are paid for twice.
	halfMin = 16
)

// Claim says that Sig is a signature of Msg by Key.
type Claim struct {
	Key PublicKey
	Msg []byte
	Sig Signature
}

// VerifyBatch returns for each claim what Verify would, and costs less the more
// claims there are and the fewer different keys they have. It sums the claims'
// equations with random factors; if a sum does not hold, it halves it until it
// has found the claims at fault. However many those are, it costs less than three
// times as much as checking every claim singly.
func (v *Ed25519) VerifyBatch(claims []Claim) []bool {
	ok := make([]bool, len(claims))
	for from := 0; from < len(claims); from += batchMax {
		to := min(from+batchMax, len(claims))
		b := newBatch(v, claims[from:to], ok[from:to])
		b.settle(b.items, false)
		b.keepKeys(v)
	}
	return ok
}

// batch is the state of one VerifyBatch over at most batchMax claims.
type batch struct {
	keys  []batchKey
	items []batchItem
	ok    []bool // of the caller, by claim
	// effort is how many more claims may be put into sums. A faulty client must
	// not make a replica halve its way through batches full of forgeries: when
	// the effort is spent the rest is checked singly.
	effort int
}

// batchKey is one of the different keys of a batch.
type batchKey struct {
	pub    PublicKey
	negA   *curve.ExpandedEdwardsPoint // nil: not a point
	cached bool
	proven bool // a signature of it was verified in this batch
	sum    scalar.Scalar
	inSum  bool
}

// batchItem is a claim that decodes.
type batchItem struct {
	equation
	claim int // its index in the caller's slice
	key   int // its index in batch.keys
}

// newBatch decodes the claims; those that do not decode are settled as false.
func newBatch(v *Ed25519, claims []Claim, ok []bool) *batch {
	b := &batch{
		items:  make([]batchItem, 0, len(claims)),
		ok:     ok,
		effort: 3 * len(claims),
	}
	index := make(map[PublicKey]int)
	for i := range claims {
		c := &claims[i]
		key, known := index[c.Key]
		if !known {
			key = len(b.keys)
			index[c.Key] = key
			negA, cached := v.table(&c.Key)
			b.keys = append(b.keys, batchKey{pub: c.Key, negA: negA, cached: cached})
		}
		if b.keys[key].negA == nil {
			continue
		}
		item := batchItem{claim: i, key: key}
		if item.decodeSignature(&c.Key, c.Msg, &c.Sig) {
			b.items = append(b.items, item)
		}
	}
	return b
}

// settle finds out which of the items hold. knownBad says that at least one does
// not, so that their sum need not be computed to learn that.
func (b *batch) settle(items []batchItem, knownBad bool) {
	least := batchMin
	if len(items) < len(b.items) {
		least = halfMin
	}
	if len(items) < least || b.effort < len(items) {
		for i := range items {
			it := &items[i]
			b.set(it, it.holds(b.keys[it.key].negA))
		}
		return
	}
	if !knownBad && b.sumHolds(items) {
		for i := range items {
			b.set(&items[i], true)
		}
		return
	}
	left, right := items[:len(items)/2], items[len(items)/2:]
	b.settle(left, false)
	// The whole is bad: if the left half is good, then the right half is not.
	leftGood := true
	for i := range left {
		leftGood = leftGood && b.ok[left[i].claim]
	}
	b.settle(right, leftGood)
}

// set records the outcome of an item.
func (b *batch) set(it *batchItem, holds bool) {
	b.ok[it.claim] = holds
	if holds {
		b.keys[it.key].proven = true
	}
}

// sumHolds checks Σ zᵢ(Rᵢ + kᵢA − sᵢB), times the cofactor, to be zero, for
// factors zᵢ of 128 random bits. If every equation holds it is zero; if one does
// not, it is zero with probability 2⁻¹²⁸. Items of one key share its term.
func (b *batch) sumHolds(items []batchItem) bool {
	b.effort -= len(items)
	n := len(items)
	random := make([]byte, 16*n)
	rand.Read(random) // never fails: the runtime ends the process instead

	factors := make([]scalar.Scalar, n)
	dynScalars := make([]*scalar.Scalar, n)
	dynPoints := make([]*curve.EdwardsPoint, n)
	var base, t scalar.Scalar
	for i := range items {
		it, z, key := &items[i], &factors[i], &b.keys[items[i].key]
		setScalar128(z, random[16*i:])
		base.Add(&base, t.Mul(z, &it.s))
		if !key.inSum {
			key.inSum = true
			key.sum.Zero()
		}
		key.sum.Add(&key.sum, t.Mul(z, &it.k))
		dynScalars[i], dynPoints[i] = z, &it.r
	}

	// All tables are of negated points, so all the signs of the sum are turned.
	statScalars := make([]*scalar.Scalar, 0, len(b.keys)+1)
	statPoints := make([]*curve.ExpandedEdwardsPoint, 0, len(b.keys)+1)
	for i := range b.keys {
		if key := &b.keys[i]; key.inSum {
			key.inSum = false
			key.sum.Neg(&key.sum)
			statScalars = append(statScalars, &key.sum)
			statPoints = append(statPoints, key.negA)
		}
	}
	statScalars = append(statScalars, base.Neg(&base))
	statPoints = append(statPoints, basepointTable)

	var sum curve.EdwardsPoint
	sum.ExpandedMultiscalarMulVartime(statScalars, statPoints, dynScalars, dynPoints)
	return sum.IsSmallOrder()
}

// keepKeys puts into the cache of v the keys that the batch has proven.
func (b *batch) keepKeys(v *Ed25519) {
	for i := range b.keys {
		if key := &b.keys[i]; key.proven && !key.cached {
			v.keys.put(key.pub, key.negA)
		}
	}
}

// setScalar128 sets z to the first 16 bytes of b.
func setScalar128(z *scalar.Scalar, b []byte) {
	var wide [scalar.ScalarSize]byte
	copy(wide[:16], b)
	if _, err := z.SetCanonicalBytes(wide[:]); err != nil {
		panic("crypto: 128 bits are below the group order: " + err.Error())
	}
}

var basepointTable = curve.NewExpandedEdwardsPoint(curve.ED25519_BASEPOINT_POINT)
