package crypto

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Sizes in bytes.
const (
	PublicKeySize = 32
	SignatureSize = 64
	SeedSize      = 32
)

// Why [PublicKey.Check] refuses a key.
var (
	ErrNotAPoint  = errors.New("crypto: public key is not a point of the curve")
	ErrSmallOrder = errors.New("crypto: public key has small order, anyone could sign for it")
)

// PublicKey is an encoded Ed25519 public key. Nothing is known about its bytes
// before [PublicKey.Check] has accepted them.
type PublicKey [PublicKeySize]byte

// Signature is an encoded Ed25519 signature, R followed by S.
type Signature [SignatureSize]byte

// Signer signs for one key. Implementations are safe for concurrent use and do
// not keep msg.
type Signer interface {
	// Public returns the key that verifies what Sign makes.
	Public() PublicKey
	// Sign returns the signature of msg, which is signed as it is; callers
	// separate domains within msg.
	Sign(msg []byte) Signature
}

// Verifier checks signatures. Implementations are safe for concurrent use, keep
// nothing of msg, and give the same answer whenever they are asked the same.
type Verifier interface {
	// Verify reports whether sig is a signature of msg by pub.
	Verify(pub PublicKey, msg []byte, sig Signature) bool
}

// String returns the key as 64 lower-case hex digits.
func (p PublicKey) String() string { return hex.EncodeToString(p[:]) }

// MarshalText returns the key as 64 lower-case hex digits.
func (p PublicKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, p[:]), nil }

// UnmarshalText accepts what [ParsePublicKey] accepts and leaves p as it was on
// an error.
func (p *PublicKey) UnmarshalText(text []byte) error {
	k, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*p = k
	return nil
}

// ParsePublicKey reads a public key from exactly 64 hex digits of either case and
// checks it. About half of all 32-byte strings are no point of the curve, so a
// mistyped digit is noticed about every other time; compare [PublicKey.Fingerprint]
// to be sure.
func ParsePublicKey(s string) (PublicKey, error) {
	var p PublicKey
	if err := parseHex("public key", p[:], []byte(s)); err != nil {
		return PublicKey{}, err
	}
	if err := p.Check(); err != nil {
		return PublicKey{}, fmt.Errorf("%w (a mistyped digit?): %s", err, s)
	}
	return p, nil
}

// Check returns ErrNotAPoint if p does not decode by the rules of ZIP-215, and
// ErrSmallOrder if it is one of the encodings of the eight points of small
// order: with such a key one signature verifies for almost any message.
func (p PublicKey) Check() error {
	var point curve.EdwardsPoint
	if !decodePoint(&point, p[:]) {
		return ErrNotAPoint
	}
	if point.IsSmallOrder() {
		return ErrSmallOrder
	}
	return nil
}

// Fingerprint returns 80 bits of a digest of the key as four groups of four
// letters and digits, like "k3vx-7aqd-mm2c-ohu5", for people to compare.
func (p PublicKey) Fingerprint() string {
	d := Hash("key-fingerprint", p[:])
	s := fingerprintEncoding.EncodeToString(d[:10])
	return s[0:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:16]
}

var fingerprintEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the signature as 128 lower-case hex digits.
func (s Signature) String() string { return hex.EncodeToString(s[:]) }

// PrivateKey is an Ed25519 private key, safe for concurrent use. Printing one
// shows its public key only.
type PrivateKey struct {
	// The standard library's type would do as well and signs the same, in about
	// one and a half times the time (BenchmarkSign).
	key voi.PrivateKey
	pub PublicKey
}

// GenerateKey draws a key from random, or from the operating system if random is
// nil. It returns the error of random, if any.
func GenerateKey(random io.Reader) (*PrivateKey, error) {
	if random == nil {
		random = rand.Reader
	}
	var seed [SeedSize]byte
	defer clear(seed[:])
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("crypto: drawing a private key: %w", err)
	}
	return NewKeyFromSeed(seed), nil
}

// NewKeyFromSeed returns the key of an RFC 8032 seed. Whoever knows the seed
// has the key.
func NewKeyFromSeed(seed [SeedSize]byte) *PrivateKey {
	k := &PrivateKey{key: voi.NewKeyFromSeed(seed[:])}
	copy(k.pub[:], k.key[SeedSize:])
	return k
}

// Seed returns the secret from which [NewKeyFromSeed] makes the key again.
func (k *PrivateKey) Seed() [SeedSize]byte { return [SeedSize]byte(k.key[:SeedSize]) }

// Public returns the public key.
func (k *PrivateKey) Public() PublicKey { return k.pub }

// Sign returns the RFC 8032 signature of msg; it is the same each time.
func (k *PrivateKey) Sign(msg []byte) Signature {
	return Signature(voi.Sign(k.key, msg))
}

// Format prints the public key whatever the verb, so that no log can show the
// secret.
func (k *PrivateKey) Format(f fmt.State, _ rune) {
	if k == nil {
		io.WriteString(f, "<nil>")
		return
	}
	io.WriteString(f, "private key of "+k.pub.String())
}
