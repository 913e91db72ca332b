package crypto

import (
	"hash"
	"sync"

	"golang.org/x/crypto/blake2b"
)

// FastRing makes and checks signatures for simulations, which run thousands of
// replicas' signatures per second and need no secrecy. It is a drop-in for
// Ed25519 keys and verifier that costs a hash instead of curve arithmetic.
//
// FOR SIMULATION ONLY. A signature is a keyed BLAKE2b MAC and the ring knows all
// the secrets: who can verify can also sign. What holds is only that a simulated
// replica which is handed its own [Signer] and never the ring's secrets cannot
// sign for another one.
//
// The zero FastRing is empty and ready for use; it is safe for concurrent use.
type FastRing struct {
	mu   sync.RWMutex
	keys map[PublicKey]*fastKey
}

// NewFastRing returns an empty ring.
func NewFastRing() *FastRing { return &FastRing{} }

// NewKey returns the signer of a seed and makes the ring verify for it. The
// public key is the Ed25519 key of the seed, so it passes [PublicKey.Check] and
// fits a [KeyRing]. The same seed gives the same key and signatures in any ring.
func (r *FastRing) NewKey(seed [SeedSize]byte) Signer {
	pub := NewKeyFromSeed(seed).Public()
	secret := Hash("fast-key", seed[:])
	mac, err := blake2b.New512(secret[:])
	if err != nil {
		panic("crypto: 32 bytes are a valid BLAKE2b key: " + err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.keys[pub]; ok {
		return k
	}
	if r.keys == nil {
		r.keys = make(map[PublicKey]*fastKey)
	}
	k := &fastKey{pub: pub, mac: mac}
	r.keys[pub] = k
	return k
}

// Verify reports whether sig was made for msg by the ring's key pub; for keys
// that the ring did not make it is false.
func (r *FastRing) Verify(pub PublicKey, msg []byte, sig Signature) bool {
	r.mu.RLock()
	k := r.keys[pub]
	r.mu.RUnlock()
	return k != nil && k.Sign(msg) == sig
}

// VerifyBatch returns for each claim what Verify would. It exists so that the
// ring can stand wherever [Ed25519] does.
func (r *FastRing) VerifyBatch(claims []Claim) []bool {
	ok := make([]bool, len(claims))
	for i := range claims {
		c := &claims[i]
		ok[i] = r.Verify(c.Key, c.Msg, c.Sig)
	}
	return ok
}

// fastKey is a key of a FastRing.
type fastKey struct {
	pub PublicKey

	mu  sync.Mutex
	mac hash.Hash // reused, for setting one up costs as much as a short MAC
	sig Signature // what mac writes to, so that nothing is allocated
}

func (k *fastKey) Public() PublicKey { return k.pub }

func (k *fastKey) Sign(msg []byte) Signature {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mac.Reset()
	k.mac.Write(msg)
	k.mac.Sum(k.sig[:0])
	return k.sig
}
