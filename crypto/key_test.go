package crypto

import (
	"bytes"
	stded25519 "crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"pgregory.net/rapid"
)

// testKey returns a key of its own for each i.
func testKey(i int) *PrivateKey {
	return NewKeyFromSeed(Hash("test-key", []byte(strconv.Itoa(i))))
}

func sizeName(n int) string { return strconv.Itoa(n) }

// TestKeyRFC8032 is test 2 of RFC 8032, section 7.1.
func TestKeyRFC8032(t *testing.T) {
	seed, err := ParseDigest("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
	if err != nil {
		t.Fatal(err)
	}
	k := NewKeyFromSeed(seed)
	if got, want := k.Public().String(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"; got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
	want := "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
		"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
	sig := k.Sign([]byte{0x72})
	if sig.String() != want {
		t.Errorf("signature %s, want %s", sig, want)
	}
	if !NewEd25519(4).Verify(k.Public(), []byte{0x72}, sig) {
		t.Error("the signature does not verify")
	}
	if Digest(k.Seed()) != seed {
		t.Error("the seed is not that of the key")
	}
}

func TestGenerateKey(t *testing.T) {
	k, err := GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 100)))
	if err != nil {
		t.Fatal(err)
	}
	if k.Seed() != [32]byte(bytes.Repeat([]byte{9}, 32)) {
		t.Error("the key is not what the reader gave")
	}
	if _, err := GenerateKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("31 random bytes were enough")
	}
	broken := errors.New("no randomness")
	if _, err := GenerateKey(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the reader", err)
	}
	a, errA := GenerateKey(nil)
	b, errB := GenerateKey(nil)
	if errA != nil || errB != nil || a.Seed() == b.Seed() {
		t.Errorf("two keys of the system: %v, %v, equal %v", errA, errB, a.Seed() == b.Seed())
	}
}

// TestPrivateKeyIsNotPrinted: no verb and no encoder shows the secret.
func TestPrivateKeyIsNotPrinted(t *testing.T) {
	k := testKey(1)
	seed := k.Seed()
	holder := struct{ Key *PrivateKey }{k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{k, holder, &holder} {
			out := fmt.Sprintf(verb, v)
			for _, secret := range []string{
				fmt.Sprintf("%x", seed[:8]), strings.Trim(fmt.Sprint(seed[:4]), "[]"), fmt.Sprintf("0x%x, 0x%x", seed[0], seed[1]),
			} {
				if strings.Contains(out, secret) {
					t.Errorf("%s prints %s", verb, out)
				}
			}
		}
	}
	if out, err := json.Marshal(holder); err != nil || string(out) != `{"Key":{}}` {
		t.Errorf("JSON %s, %v", out, err)
	}
	if out := fmt.Sprint((*PrivateKey)(nil)); out != "<nil>" {
		t.Errorf("a nil key prints %q", out)
	}
}

func TestPublicKeyText(t *testing.T) {
	p := testKey(1).Public()
	for _, s := range []string{p.String(), strings.ToUpper(p.String())} {
		if got, err := ParsePublicKey(s); err != nil || got != p {
			t.Errorf("ParsePublicKey(%q) = %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"":                             "has 0 characters, want 64",
		p.String()[2:]:                 "has 62 characters, want 64",
		"x" + p.String()[1:]:           "not hexadecimal",
		"02" + strings.Repeat("0", 62): ErrNotAPoint.Error(),
		strings.Repeat("0", 64):        ErrSmallOrder.Error(),
	} {
		if got, err := ParsePublicKey(s); err == nil || !strings.Contains(err.Error(), want) || got != (PublicKey{}) {
			t.Errorf("ParsePublicKey(%q) = %v, %v, want an error with %q", s, got, err, want)
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back PublicKey
	if err := json.Unmarshal(text, &back); err != nil || back != p {
		t.Errorf("%s read back as %v, %v", text, back, err)
	}
	if err := back.UnmarshalText([]byte("00")); err == nil || back != p {
		t.Errorf("a failed UnmarshalText: %v, left %v", err, back)
	}
	shape := regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`)
	if f := p.Fingerprint(); !shape.MatchString(f) || f == testKey(2).Public().Fingerprint() {
		t.Errorf("fingerprint %q", f)
	}
}

// TestMistypedKey: one wrong digit is refused about every other time, as the
// documentation says.
func TestMistypedKey(t *testing.T) {
	refused, tried := 0, 0
	good := testKey(1).Public().String()
	for i := range good {
		for _, digit := range "0123456789abcdef" {
			if s := good[:i] + string(digit) + good[i+1:]; s != good {
				tried++
				if _, err := ParsePublicKey(s); err != nil {
					refused++
				}
			}
		}
	}
	if refused < tried*2/5 || refused > tried*3/5 {
		t.Errorf("%d of %d refused", refused, tried)
	}
}

// TestSigningAgrees: the library that was not chosen signs the same, so that the
// choice stays a matter of speed.
func TestSigningAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed")
		msg := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		got := NewKeyFromSeed([32]byte(seed)).Sign(msg)
		if want := stded25519.Sign(stded25519.NewKeyFromSeed(seed), msg); got != Signature(want) {
			t.Fatalf("%s, standard library %x", got, want)
		}
	})
}

// BenchmarkSign compares the two libraries; PrivateKey uses the faster one.
func BenchmarkSign(b *testing.B) {
	k := testKey(1)
	seed := k.Seed()
	msg := make([]byte, 200)
	b.Run("PrivateKey", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k.Sign(msg)
		}
	})
	b.Run("standard", func(b *testing.B) {
		key := stded25519.NewKeyFromSeed(seed[:])
		b.ReportAllocs()
		for b.Loop() {
			stded25519.Sign(key, msg)
		}
	})
	b.Run("voi", func(b *testing.B) {
		key := voi.NewKeyFromSeed(seed[:])
		b.ReportAllocs()
		for b.Loop() {
			voi.Sign(key, msg)
		}
	})
}
