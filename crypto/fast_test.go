package crypto

import (
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/blake2b"
	"pgregory.net/rapid"
)

// The fast keys must fit wherever the real ones do.
var (
	_ Verifier = (*FastRing)(nil)
	_ Verifier = (*Ed25519)(nil)
	_ Signer   = (*PrivateKey)(nil)
)

func TestFastRing(t *testing.T) {
	var r FastRing
	rapid.Check(t, func(t *rapid.T) {
		seeds := rapid.SliceOfNDistinct(rapid.Byte(), 2, 2, rapid.ID).Draw(t, "seeds")
		a, b := r.NewKey([32]byte{seeds[0]}), r.NewKey([32]byte{seeds[1]})
		msg := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "message")
		sig := a.Sign(msg)
		if !r.Verify(a.Public(), msg, sig) {
			t.Fatal("a signature does not verify")
		}
		bad := sig
		bad[rapid.IntRange(0, 63).Draw(t, "byte")] ^= 1
		claims := []Claim{
			{a.Public(), msg, sig},
			{b.Public(), msg, sig},
			{a.Public(), append(slices.Clone(msg), 0), sig},
			{a.Public(), msg, bad},
			{PublicKey{1}, msg, sig},
			{b.Public(), msg, b.Sign(msg)},
		}
		if got := r.VerifyBatch(claims); !slices.Equal(got, []bool{true, false, false, false, false, true}) {
			t.Fatalf("batch says %v", got)
		}
	})
}

// TestFastKeyIsReproducible: a simulation repeats from its seed, also in another
// ring, and the keys pass for members' keys.
func TestFastKeyIsReproducible(t *testing.T) {
	a, b := NewFastRing(), NewFastRing()
	var keys []PublicKey
	for i := range 10 {
		seed := [32]byte{byte(i)}
		x, y := a.NewKey(seed), b.NewKey(seed)
		if x.Public() != y.Public() || x.Sign([]byte("m")) != y.Sign([]byte("m")) || a.NewKey(seed).Sign([]byte("m")) != x.Sign([]byte("m")) {
			t.Fatal("the same seed made different keys")
		}
		keys = append(keys, x.Public())
	}
	if _, err := NewKeyRing(keys); err != nil {
		t.Error(err)
	}
}

// TestFastKeyIsBLAKE2b: the state that is reused is set back for each message.
func TestFastKeyIsBLAKE2b(t *testing.T) {
	k := NewFastRing().NewKey([32]byte{5})
	seed := [32]byte{5}
	secret := Hash("fast-key", seed[:])
	for _, msg := range []string{"first", "second", "", "first"} {
		mac, err := blake2b.New512(secret[:])
		if err != nil {
			t.Fatal(err)
		}
		mac.Write([]byte(msg))
		if got := k.Sign([]byte(msg)); !slices.Equal(got[:], mac.Sum(nil)) {
			t.Errorf("signature of %q is %s", msg, got)
		}
	}
}

func TestFastRingIsConcurrent(t *testing.T) {
	r := NewFastRing()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range 100 {
				k := r.NewKey([32]byte{byte(i % 5)})
				msg := []byte{byte(i)}
				if !r.Verify(k.Public(), msg, k.Sign(msg)) {
					t.Error("a signature does not verify")
				}
			}
		})
	}
	wait.Wait()
}
