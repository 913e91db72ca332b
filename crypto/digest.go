package crypto

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
)

// DigestSize is the size of a Digest in bytes.
const DigestSize = sha256.Size

// Digest is a SHA-256 digest as [Hash] makes it. The zero Digest stands for
// "none": no input is known that hashes to it.
type Digest [DigestSize]byte

// String returns the digest as 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short returns the first 8 hex digits, for logs. It identifies nothing: 32 bits
// are easily made to collide.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// IsZero reports whether d is the zero Digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText returns the digest as 64 lower-case hex digits.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText accepts what [ParseDigest] accepts and leaves d as it was on an error.
func (d *Digest) UnmarshalText(text []byte) error { return parseHex("digest", d[:], text) }

// ParseDigest reads a digest from exactly 64 hex digits of either case.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	err := parseHex("digest", d[:], []byte(s))
	return d, err
}

// parseHex decodes text, which must be exactly as long as dst wants, into dst.
// It does not touch dst on an error.
func parseHex(what string, dst, text []byte) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("crypto: %s has %d characters, want %d hex digits", what, len(text), 2*len(dst))
	}
	raw := make([]byte, len(dst))
	if _, err := hex.Decode(raw, text); err != nil {
		return fmt.Errorf("crypto: %s is not hexadecimal: %w", what, err)
	}
	copy(dst, raw)
	return nil
}

// hashBuffer is how many bytes, prefixes included, Hash gathers on the stack.
// Gathering beats streaming into a hash state for small inputs, and it does not
// allocate; headers, votes and tree nodes all fit.
const hashBuffer = 512

// Hash returns the SHA-256 digest of the domain and the parts, each preceded by
// its length as 8 bytes, big endian. So no two different (domain, parts) have
// the same encoding, and digests of different domains never stand for each
// other. Hash does not allocate and lets nothing of its arguments escape.
func Hash(domain string, parts ...[]byte) Digest {
	size := 8 + len(domain)
	for _, p := range parts {
		size += 8 + len(p)
	}
	if size > hashBuffer {
		return hashLong(domain, parts)
	}
	var space [hashBuffer]byte
	b := binary.BigEndian.AppendUint64(space[:0], uint64(len(domain)))
	b = append(b, domain...)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return sha256.Sum256(b)
}

// hashLong is Hash for what does not fit the stack buffer. It does not go through
// a Hasher: the compiler sees which hash this is, so neither its state nor the
// parts escape, not even from Hash.
func hashLong(domain string, parts [][]byte) Digest {
	h := sha256.New()
	var prefix [8]byte
	binary.BigEndian.PutUint64(prefix[:], uint64(len(domain)))
	h.Write(prefix[:])
	h.Write([]byte(domain))
	for _, p := range parts {
		binary.BigEndian.PutUint64(prefix[:], uint64(len(p)))
		h.Write(prefix[:])
		h.Write(p)
	}
	var d Digest
	h.Sum(d[:0])
	return d
}

// Hasher computes the digest that [Hash] computes, part by part, for inputs that
// are not at hand all at once. Make one with [NewHasher]; it is not safe for
// concurrent use.
type Hasher struct {
	domain []byte
	state  hash.Hash
	// What goes through the state's interface escapes; from here it need not be
	// allocated on each call.
	prefix [8]byte
	digest Digest
}

// NewHasher returns a Hasher for the domain, with no parts written.
func NewHasher(domain string) *Hasher {
	h := &Hasher{domain: []byte(domain), state: sha256.New()}
	h.Reset()
	return h
}

// Reset drops all parts written, keeping the domain.
func (h *Hasher) Reset() {
	h.state.Reset()
	h.Part(h.domain)
}

// Part adds one part.
func (h *Hasher) Part(p []byte) {
	binary.BigEndian.PutUint64(h.prefix[:], uint64(len(p)))
	h.state.Write(h.prefix[:])
	h.state.Write(p)
}

// Uint64 adds a part of 8 bytes: v, big endian.
func (h *Hasher) Uint64(v uint64) {
	binary.BigEndian.PutUint64(h.prefix[:], 8)
	h.state.Write(h.prefix[:])
	binary.BigEndian.PutUint64(h.prefix[:], v)
	h.state.Write(h.prefix[:])
}

// Digest adds a part of 32 bytes: d.
func (h *Hasher) Digest(d Digest) {
	h.digest = d
	h.Part(h.digest[:])
}

// Sum returns the digest of the parts so far; more parts may follow.
func (h *Hasher) Sum() Digest {
	h.state.Sum(h.digest[:0])
	return h.digest
}
