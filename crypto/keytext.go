package crypto

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// The text of a key file is these lines, each ended by a newline, nothing else:
//
//	BALUARTE PRIVATE KEY v1
//	public: <64 hex digits>
//	protection: none
//	key: <64 hex digits, the seed>
//	check: <16 hex digits>
//
// or, encrypted,
//
//	BALUARTE PRIVATE KEY v1
//	public: <64 hex digits>
//	protection: argon2id xchacha20poly1305
//	passes: <decimal>
//	memory-kib: <decimal>
//	lanes: <decimal>
//	salt: <32 hex digits>
//	nonce: <48 hex digits>
//	key: <96 hex digits, the sealed seed>
//	check: <16 hex digits>
//
// The check is a digest of all lines before it. It is no protection, it tells
// damage from a wrong passphrase. What protects an encrypted file is the seal,
// which covers all lines before the key as additional data.
const (
	keyFileMagic      = "BALUARTE PRIVATE KEY "
	keyFileHeader     = keyFileMagic + "v1"
	keyFileMaxBytes   = 4096
	protectionNone    = "none"
	protectionSealed  = "argon2id xchacha20poly1305"
	keyFileCheckBytes = 8
	saltBytes         = 16
)

// kdf is the cost of Argon2id.
type kdf struct {
	passes    uint32
	memoryKiB uint32
	lanes     uint8
}

// defaultKDF is the second recommendation of RFC 9106, section 4, for machines
// that cannot spare 2 GiB.
var defaultKDF = kdf{passes: 3, memoryKiB: 64 << 10, lanes: 4}

// Bounds on what a file may ask for: 256 MiB, and 16 passes over it are seconds.
const (
	kdfMaxPasses    = 16
	kdfMaxMemoryKiB = 256 << 10
	kdfMaxLanes     = 16
)

// valid reports whether the cost is within the bounds. Argon2 itself wants 8 KiB
// per lane.
func (c kdf) valid() bool {
	return c.passes >= 1 && c.passes <= kdfMaxPasses &&
		c.lanes >= 1 && c.lanes <= kdfMaxLanes &&
		c.memoryKiB >= 8*uint32(c.lanes) && c.memoryKiB <= kdfMaxMemoryKiB
}

// encodeKey returns the text of a key file.
func encodeKey(k *PrivateKey, passphrase []byte, cost kdf) ([]byte, error) {
	seed := k.Seed()
	defer clear(seed[:])
	var b bytes.Buffer
	b.Grow(keyFileMaxBytes) // growing would leave copies of the seed behind
	fmt.Fprintf(&b, "%s\npublic: %s\n", keyFileHeader, k.Public())
	if len(passphrase) == 0 {
		fmt.Fprintf(&b, "protection: %s\nkey: %x\n", protectionNone, seed)
	} else {
		var salt [saltBytes]byte
		var nonce [chacha20poly1305.NonceSizeX]byte
		drawRandom(salt[:])
		drawRandom(nonce[:])
		fmt.Fprintf(&b, "protection: %s\npasses: %d\nmemory-kib: %d\nlanes: %d\nsalt: %x\nnonce: %x\n",
			protectionSealed, cost.passes, cost.memoryKiB, cost.lanes, salt, nonce)
		seal, err := newSeal(passphrase, salt[:], cost)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "key: %x\n", seal.Seal(nil, nonce[:], seed[:], b.Bytes()))
	}
	fmt.Fprintf(&b, "check: %s\n", keyFileCheck(b.Bytes()))
	return b.Bytes(), nil
}

// newSeal derives the key of the seal from the passphrase. The cost is valid.
func newSeal(passphrase, salt []byte, cost kdf) (cipher.AEAD, error) {
	key := argon2.IDKey(passphrase, salt, cost.passes, cost.memoryKiB, cost.lanes, chacha20poly1305.KeySize)
	defer clear(key)
	return chacha20poly1305.NewX(key)
}

// keyFileCheck returns the check line's value for the lines before it.
func keyFileCheck(lines []byte) string {
	sum := sha256.Sum256(lines)
	return hex.EncodeToString(sum[:keyFileCheckBytes])
}

// drawRandom fills b from the operating system. It cannot fail: the runtime
// ends the process if there is no randomness.
func drawRandom(b []byte) { rand.Read(b) }

// decodeKey reads the text of a key file.
func decodeKey(text []byte, passphrase func() ([]byte, error)) (*PrivateKey, error) {
	r, err := openKeyText(text)
	if err != nil {
		return nil, err
	}
	var pub PublicKey
	r.hex("public", pub[:])
	protection := string(r.value("protection"))
	if r.err != nil {
		return nil, r.err
	}
	var seed [SeedSize]byte
	defer clear(seed[:])
	switch protection {
	case protectionNone:
		r.hex("key", seed[:])
		r.end()
		err = r.err
	case protectionSealed:
		err = r.unseal(seed[:], passphrase)
	default:
		err = fmt.Errorf("%w: protection %q", ErrKeyFileVersion, protection)
	}
	if err != nil {
		return nil, err
	}
	k := NewKeyFromSeed(seed)
	if k.Public() != pub {
		return nil, fmt.Errorf("%w: its private key is not that of its public key", ErrKeyFileDamaged)
	}
	return k, nil
}

// openKeyText checks the first and the last line and returns a reader of those
// between.
func openKeyText(text []byte) (*keyTextReader, error) {
	header, _, _ := bytes.Cut(text, []byte("\n"))
	switch {
	case !bytes.HasPrefix(header, []byte(keyFileMagic)):
		return nil, ErrNotKeyFile
	case string(header) != keyFileHeader:
		return nil, fmt.Errorf("%w: %q", ErrKeyFileVersion, header)
	}
	end := bytes.LastIndex(text, []byte("\ncheck: ")) + 1
	if end == 0 {
		return nil, fmt.Errorf("%w: its last line is missing", ErrKeyFileDamaged)
	}
	if string(text[end:]) != "check: "+keyFileCheck(text[:end])+"\n" {
		return nil, fmt.Errorf("%w: its contents do not match its last line", ErrKeyFileDamaged)
	}
	return &keyTextReader{text: text[:end], at: len(keyFileHeader) + 1}, nil
}

// keyTextReader takes "name: value" lines off a text in a fixed order. After an
// error it reads nothing more. It works on bytes, not strings, so that the text
// of a private key can be cleared.
type keyTextReader struct {
	text []byte
	at   int // text[at:] is not read yet
	err  error
}

// fail keeps the first error.
func (r *keyTextReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrKeyFileDamaged}, args...)...)
	}
}

// value returns the value of the next line, which must have the name.
func (r *keyTextReader) value(name string) []byte {
	if r.err != nil {
		return nil
	}
	line, _, whole := bytes.Cut(r.text[r.at:], []byte("\n"))
	value, found := bytes.CutPrefix(line, []byte(name+": "))
	if !whole || !found {
		r.fail("the line %q is not where it belongs", name)
		return nil
	}
	r.at += len(line) + 1
	return value
}

// hex decodes the value of the next line into dst, which it must fill.
func (r *keyTextReader) hex(name string, dst []byte) {
	value := r.value(name)
	if r.err != nil {
		return
	}
	if len(value) != 2*len(dst) {
		r.fail("%q has %d digits, want %d", name, len(value), 2*len(dst))
	} else if _, err := hex.Decode(dst, value); err != nil {
		r.fail("%q is not hexadecimal", name)
	}
}

// number returns the value of the next line, a decimal without sign or leading
// zeros, below 2^bits.
func (r *keyTextReader) number(name string, bits int) uint64 {
	value := string(r.value(name))
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, bits)
	if err != nil || strconv.FormatUint(n, 10) != value {
		r.fail("%q is not a number in range", name)
	}
	return n
}

// end wants all lines to have been read.
func (r *keyTextReader) end() {
	if r.err == nil && r.at != len(r.text) {
		r.fail("there are lines too many")
	}
}

// unseal reads the lines of an encrypted key and decrypts it into seed.
func (r *keyTextReader) unseal(seed []byte, passphrase func() ([]byte, error)) error {
	cost := kdf{
		passes:    uint32(r.number("passes", 32)),
		memoryKiB: uint32(r.number("memory-kib", 32)),
		lanes:     uint8(r.number("lanes", 8)),
	}
	var salt [saltBytes]byte
	var nonce [chacha20poly1305.NonceSizeX]byte
	var sealed [SeedSize + chacha20poly1305.Overhead]byte
	r.hex("salt", salt[:])
	r.hex("nonce", nonce[:])
	covered := r.text[:r.at]
	r.hex("key", sealed[:])
	r.end()
	if r.err != nil {
		return r.err
	}
	if !cost.valid() {
		return fmt.Errorf("%w: %d passes, %d KiB, %d lanes", ErrKeyFileParameter, cost.passes, cost.memoryKiB, cost.lanes)
	}
	if passphrase == nil {
		return ErrPassphraseNeeded
	}
	secret, err := passphrase()
	if err != nil {
		return fmt.Errorf("asking for the passphrase: %w", err)
	}
	defer clear(secret)
	seal, err := newSeal(secret, salt[:], cost)
	if err != nil {
		return err
	}
	if _, err := seal.Open(seed[:0], nonce[:], sealed[:], covered); err != nil {
		return ErrWrongPassphrase // not damage: the check was right
	}
	return nil
}
