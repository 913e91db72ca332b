package crypto

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"pgregory.net/rapid"
)

// fieldPrime is 2^255-19, little endian.
var fieldPrime = [32]byte{0: 0xed, 1: 0xff, 2: 0xff, 3: 0xff, 4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff,
	8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff,
	16: 0xff, 17: 0xff, 18: 0xff, 19: 0xff, 20: 0xff, 21: 0xff, 22: 0xff, 23: 0xff,
	24: 0xff, 25: 0xff, 26: 0xff, 27: 0xff, 28: 0xff, 29: 0xff, 30: 0xff, 31: 0x7f}

// groupOrder is 2^252+27742317777372353535851937790883648493, little endian.
func groupOrder(t testing.TB) [32]byte {
	var b [32]byte
	if err := scalar.BASEPOINT_ORDER.ToBytes(b[:]); err != nil {
		t.Fatal(err)
	}
	return b
}

// torsionPoints returns the eight points of small order, found by multiplying
// points by the order of the large subgroup.
func torsionPoints(t testing.TB) []*curve.EdwardsPoint {
	for y := byte(2); y < 255; y++ {
		var p, q curve.EdwardsPoint
		if !decodePoint(&p, append([]byte{y}, make([]byte, 31)...)) {
			continue
		}
		q.Mul(&p, scalar.BASEPOINT_ORDER)
		points := []*curve.EdwardsPoint{curve.NewEdwardsPoint()}
		for {
			next := curve.NewEdwardsPoint().Add(points[len(points)-1], &q)
			if next.IsIdentity() {
				break
			}
			points = append(points, next)
		}
		if len(points) == 8 {
			return points
		}
	}
	t.Fatal("no point has a component of order 8")
	return nil
}

func encodePoint(p *curve.EdwardsPoint) [32]byte {
	return [32]byte(curve.NewCompressedEdwardsY().SetEdwardsPoint(p)[:])
}

// nonCanonical returns the encodings of points whose y is not reduced, for y from
// 0 to 18 and both signs, as far as they are on the curve.
func nonCanonical() [][32]byte {
	var all [][32]byte
	for y := range byte(19) {
		enc := fieldPrime
		enc[0] += y // 0xed + 18 is the last that does not carry
		for _, sign := range []byte{0, 0x80} {
			enc[31] = 0x7f | sign
			if decodePoint(new(curve.EdwardsPoint), enc[:]) {
				all = append(all, enc)
			}
		}
	}
	return all
}

// smallOrderEncodings returns all encodings of points of small order that
// ZIP-215 accepts: each point with its canonical y, with both signs where x is
// zero, and with y not reduced.
func smallOrderEncodings(t testing.TB) [][32]byte {
	var all [][32]byte
	add := func(enc [32]byte) {
		if !slices.Contains(all, enc) {
			all = append(all, enc)
		}
	}
	for _, p := range torsionPoints(t) {
		enc := encodePoint(p)
		add(enc)
		enc[31] ^= 0x80
		add(enc) // -p, or p once more if x is zero
	}
	for _, enc := range nonCanonical() {
		var p curve.EdwardsPoint
		if decodePoint(&p, enc[:]) && p.IsSmallOrder() {
			add(enc)
		}
	}
	return all
}

// checkBoth wants Verify, VerifyBatch in batches of several sizes, and the
// library's own ZIP-215 verification to say want for every claim.
func checkBoth(t *testing.T, claims []Claim, want func(i int) bool) {
	t.Helper()
	options := &voi.Options{Verify: voi.VerifyOptionsZIP_215}
	v := NewEd25519(16)
	for i, c := range claims {
		if got := v.Verify(c.Key, c.Msg, c.Sig); got != want(i) {
			t.Errorf("claim %d: Verify %v, want %v: key %s, signature %s", i, got, want(i), c.Key, c.Sig)
		}
		if got := voi.VerifyWithOptions(c.Key[:], c.Msg, c.Sig[:], options); got != want(i) {
			t.Errorf("claim %d: the library says %v, want %v: key %s, signature %s", i, got, want(i), c.Key, c.Sig)
		}
	}
	for _, size := range []int{1, batchMin, 16, 100, len(claims)} {
		i := 0
		for chunk := range slices.Chunk(claims, max(size, 1)) {
			for j, got := range v.VerifyBatch(chunk) {
				if got != want(i+j) {
					t.Errorf("claim %d: VerifyBatch by %d says %v, want %v", i+j, size, got, want(i+j))
				}
			}
			i += len(chunk)
		}
	}
}

// TestZIP215Matrix: S = 0 with any small-order encodings of A and R satisfies the
// cofactored equation for every message. These are the cases on which Ed25519
// verifiers of the world differ.
func TestZIP215Matrix(t *testing.T) {
	encodings := smallOrderEncodings(t)
	if len(encodings) != 14 {
		t.Fatalf("%d encodings of small order, ZIP-215 has 14", len(encodings))
	}
	var claims []Claim
	for _, a := range encodings {
		for _, r := range encodings {
			c := Claim{Key: a, Msg: []byte("matrix")}
			copy(c.Sig[:], r[:])
			claims = append(claims, c)
		}
	}
	checkBoth(t, claims, func(int) bool { return true })
	// With S = 1 none of them holds.
	for i := range claims {
		claims[i].Sig[32] = 1
	}
	checkBoth(t, claims, func(int) bool { return false })
}

func TestCheckRefusesSmallOrder(t *testing.T) {
	for _, enc := range smallOrderEncodings(t) {
		if err := PublicKey(enc).Check(); !errors.Is(err, ErrSmallOrder) {
			t.Errorf("%x: %v, want ErrSmallOrder", enc, err)
		}
	}
	// A y that is not reduced is no reason by itself: ZIP-215 decodes it.
	large := 0
	for _, enc := range nonCanonical() {
		if PublicKey(enc).Check() == nil {
			large++
		}
	}
	if large == 0 {
		t.Error("all non-canonical encodings are refused")
	}
	if err := (PublicKey{2}).Check(); !errors.Is(err, ErrNotAPoint) {
		t.Errorf("y = 2: %v, want ErrNotAPoint", err)
	}
}

// mixedOrderClaim signs msg by the rules of RFC 8032 but adds points of small
// order to A and R, which the cofactor takes away again.
func mixedOrderClaim(t testing.TB, secret uint64, addA, addR *curve.EdwardsPoint, msg []byte) Claim {
	a, r := scalar.New().SetUint64(secret), scalar.New().SetUint64(secret+99)
	var point curve.EdwardsPoint
	c := Claim{Msg: msg}
	c.Key = encodePoint(point.Add(point.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, a), addA))
	encR := encodePoint(point.Add(point.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r), addR))
	copy(c.Sig[:], encR[:])
	var e equation
	if !e.decodeSignature(&c.Key, msg, &c.Sig) {
		t.Fatal("own signature does not decode")
	}
	s := scalar.New().Mul(&e.k, a)
	if err := s.Add(s, r).ToBytes(c.Sig[32:]); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMixedOrder(t *testing.T) {
	var claims []Claim
	points := torsionPoints(t)
	for i, addA := range points {
		for _, addR := range points {
			claims = append(claims, mixedOrderClaim(t, uint64(i+2), addA, addR, []byte("mixed")))
		}
	}
	checkBoth(t, claims, func(int) bool { return true })
	for i := range claims {
		claims[i].Msg = []byte("other")
	}
	checkBoth(t, claims, func(int) bool { return false })
}

// TestMalleableS: S plus the group order satisfies the equation and must still be
// refused, or one signature would have two forms.
func TestMalleableS(t *testing.T) {
	k := testKey(1)
	order := groupOrder(t)
	var claims []Claim
	for i := range 20 {
		msg := []byte{byte(i)}
		sig := k.Sign(msg)
		claims = append(claims, Claim{k.Public(), msg, sig})
		carry := 0
		for j := range order {
			carry += int(sig[32+j]) + int(order[j])
			sig[32+j] = byte(carry)
			carry >>= 8
		}
		claims = append(claims, Claim{k.Public(), msg, sig})
		copy(sig[32:], order[:]) // S = 0 in its second form
		claims = append(claims, Claim{k.Public(), msg, sig})
		sig[63] |= 0xe0
		claims = append(claims, Claim{k.Public(), msg, sig})
	}
	checkBoth(t, claims, func(i int) bool { return i%4 == 0 })
}

// TestUndecodable: points that are not on the curve are false, not a panic, and
// spoil no batch.
func TestUndecodable(t *testing.T) {
	k := testKey(1)
	sig := k.Sign([]byte("m"))
	badR := sig
	copy(badR[:32], make([]byte, 32))
	badR[0] = 2
	claims := []Claim{
		{k.Public(), []byte("m"), sig},
		{PublicKey{2}, []byte("m"), sig},
		{k.Public(), []byte("m"), badR},
		{PublicKey{2}, []byte("m"), sig},
		{k.Public(), []byte("m"), sig},
		{k.Public(), []byte("m"), sig},
	}
	checkBoth(t, claims, func(i int) bool { return i == 0 || i >= 4 })
}

// TestBatchFindsTheBadOnes: whatever is bad, wherever it stands, exactly that is
// found.
func TestBatchFindsTheBadOnes(t *testing.T) {
	const most = 2*batchMax + 50
	good := make([]Claim, most)
	for i := range good {
		k := testKey(i % 7)
		msg := fmt.Appendf(nil, "message %d", i)
		good[i] = Claim{k.Public(), msg, k.Sign(msg)}
	}
	v := NewEd25519(4) // fewer than the keys, so that it also evicts
	rapid.Check(t, func(t *rapid.T) {
		claims := slices.Clone(good[:rapid.IntRange(0, most).Draw(t, "claims")])
		share := rapid.SampledFrom([]int{0, 1, 10, 50, 100}).Draw(t, "percent bad")
		rng := mathrand.New(mathrand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		want := make([]bool, len(claims))
		for i := range claims {
			if want[i] = rng.IntN(100) >= share; !want[i] {
				spoil(&claims[i], rng)
			}
		}
		if got := v.VerifyBatch(claims); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// spoil makes a claim wrong in one of several ways.
func spoil(c *Claim, rng *mathrand.Rand) {
	switch rng.IntN(4) {
	case 0:
		c.Msg = append([]byte("not "), c.Msg...)
	case 1:
		c.Key = testKey(1000).Public()
	case 2:
		c.Sig[32+rng.IntN(31)] ^= 1 << rng.IntN(8)
	case 3:
		c.Sig[rng.IntN(32)] ^= 1 << rng.IntN(8)
	}
}

// TestBatchErrorsDoNotCancel: two wrong signatures whose errors are opposite pass
// an unweighted sum. The random factors must keep them apart.
func TestBatchErrorsDoNotCancel(t *testing.T) {
	var claims []Claim
	k := testKey(1)
	for i := range 8 {
		msg := []byte{byte(i)}
		claims = append(claims, Claim{k.Public(), msg, k.Sign(msg)})
	}
	shift := func(c *Claim, by *scalar.Scalar) {
		s, err := scalar.NewFromCanonicalBytes(c.Sig[32:])
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(s, by).ToBytes(c.Sig[32:]); err != nil {
			t.Fatal(err)
		}
	}
	by := scalar.New().SetUint64(12345)
	shift(&claims[2], by)
	shift(&claims[6], scalar.New().Neg(by))
	checkBoth(t, claims, func(i int) bool { return i != 2 && i != 6 })
}

// TestBatchEffort: a batch full of forgeries costs a bounded number of sums.
func TestBatchEffort(t *testing.T) {
	k := testKey(1)
	claims := make([]Claim, batchMax)
	for i := range claims {
		claims[i] = Claim{k.Public(), []byte{byte(i)}, k.Sign([]byte("another"))}
	}
	b := newBatch(NewEd25519(4), claims, make([]bool, len(claims)))
	start := b.effort
	b.settle(b.items, false)
	if b.effort < 0 || b.effort > start-2*len(claims) {
		t.Errorf("effort went from %d to %d", start, b.effort)
	}
	if slices.Contains(b.ok, true) {
		t.Error("a forgery was accepted")
	}
}

func TestKeyCacheIsBounded(t *testing.T) {
	const keys = 10
	v := NewEd25519(keys)
	member := testKey(0)
	msg := []byte("m")
	for i := range 20 * keys {
		k := testKey(1 + i)
		if !v.Verify(k.Public(), msg, k.Sign(msg)) || !v.Verify(member.Public(), msg, member.Sign(msg)) {
			t.Fatal("a good signature was refused")
		}
		v.Verify(testKey(5000+i).Public(), msg, Signature{})
		if n := len(v.keys.young) + len(v.keys.old); n > keys {
			t.Fatalf("%d tables are kept, bound %d", n, keys)
		}
		pub := member.Public()
		if v.keys.get(&pub) == nil {
			t.Fatal("a key in use was evicted")
		}
		forged := testKey(5000 + i).Public()
		if v.keys.get(&forged) != nil {
			t.Fatal("a key that verified nothing is kept")
		}
	}
	for _, size := range []int{-1, 0, 1} {
		v := NewEd25519(size)
		if !v.Verify(member.Public(), msg, member.Sign(msg)) || len(v.keys.young) != 0 {
			t.Errorf("with %d keys: wrong answer or kept", size)
		}
	}
}

func TestVerifierIsConcurrent(t *testing.T) {
	v := NewEd25519(4)
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for i := range 30 {
				k := testKey((g + i) % 6)
				msg := []byte{byte(i)}
				sig := k.Sign(msg)
				if !v.Verify(k.Public(), msg, sig) || v.Verify(k.Public(), []byte("x"), sig) {
					t.Error("wrong answer")
				}
				got := v.VerifyBatch([]Claim{{k.Public(), msg, sig}, {k.Public(), nil, sig}, {k.Public(), msg, sig}, {k.Public(), msg, sig}})
				if !slices.Equal(got, []bool{true, false, true, true}) {
					t.Errorf("batch says %v", got)
				}
			}
		})
	}
	wait.Wait()
}

// FuzzVerify: arbitrary bytes get the same answer from Verify, VerifyBatch and
// the library.
func FuzzVerify(f *testing.F) {
	k := testKey(1)
	pub, sig := k.Public(), k.Sign([]byte("m"))
	f.Add(pub[:], []byte("m"), sig[:])
	for i, enc := range smallOrderEncodings(f) {
		f.Add(enc[:], []byte{byte(i)}, append(enc[:], make([]byte, 32)...))
	}
	v := NewEd25519(8)
	f.Fuzz(func(t *testing.T, pub, msg, sig []byte) {
		if len(pub) != PublicKeySize || len(sig) != SignatureSize {
			return
		}
		c := Claim{PublicKey(pub), msg, Signature(sig)}
		want := voi.VerifyWithOptions(pub, msg, sig, &voi.Options{Verify: voi.VerifyOptionsZIP_215})
		if got := v.Verify(c.Key, c.Msg, c.Sig); got != want {
			t.Errorf("Verify %v, library %v", got, want)
		}
		if got := v.VerifyBatch(slices.Repeat([]Claim{c}, batchMin+1)); slices.Contains(got, !want) {
			t.Errorf("VerifyBatch %v, library %v", got, want)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := testKey(1)
	msg := make([]byte, 200)
	pub, sig := k.Public(), k.Sign(msg)
	for name, cache := range map[string]int{"cached": 4, "uncached": 0} {
		v := NewEd25519(cache)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Verify(pub, msg, sig)
			}
		})
	}
	ring := NewFastRing()
	fast := ring.NewKey(k.Seed())
	fastSig := fast.Sign(msg)
	b.Run("FastRing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ring.Verify(pub, msg, fastSig)
		}
	})
}

// BenchmarkVerifyBatch measures whole batches, of 4 keys as replicas' messages
// have and of as many keys as claims, and with one or all bad.
func BenchmarkVerifyBatch(b *testing.B) {
	for _, size := range []int{16, 64, 256} {
		for _, c := range []struct {
			name      string
			keys, bad int
		}{{"4 keys", 4, 0}, {"all keys", size, 0}, {"4 keys one bad", 4, 1}, {"4 keys all bad", 4, size}} {
			b.Run(fmt.Sprintf("%d/%s", size, c.name), func(b *testing.B) {
				claims := make([]Claim, size)
				for i := range claims {
					k := testKey(i % c.keys)
					msg := bytes.Repeat([]byte{byte(i)}, 200)
					claims[i] = Claim{k.Public(), msg, k.Sign(msg)}
					if i < c.bad {
						claims[i].Sig[40] ^= 1
					}
				}
				v := NewEd25519(2 * size)
				v.VerifyBatch(claims)
				b.ReportAllocs()
				for b.Loop() {
					v.VerifyBatch(claims)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/claim")
			})
		}
	}
}

// BenchmarkLibraryBatch is the library's own batch verifier, for comparison.
func BenchmarkLibraryBatch(b *testing.B) {
	const size = 64
	keys := make([]*voi.ExpandedPublicKey, size)
	msg := make([]byte, 200)
	sigs := make([]Signature, size)
	for i := range keys {
		k := testKey(i % 4)
		pub := k.Public()
		keys[i], _ = voi.NewExpandedPublicKey(pub[:])
		sigs[i] = k.Sign(msg)
	}
	options := &voi.Options{Verify: voi.VerifyOptionsZIP_215}
	for b.Loop() {
		v := voi.NewBatchVerifierWithCapacity(size)
		for i := range keys {
			v.AddExpandedWithOptions(keys[i], msg, sigs[i][:], options)
		}
		if !v.VerifyBatchOnly(rand.Reader) {
			b.Fatal("refused")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/claim")
}
