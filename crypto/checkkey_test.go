package crypto

import (
	"errors"
	"testing"
)

// TestCheckKey: a key whose table is kept is judged like any other.
func TestCheckKey(t *testing.T) {
	v := NewEd25519(64)
	msg := []byte("message")
	key := testKey(1)
	for _, kept := range []bool{false, true} {
		if (v.keys.get(ptr(key.Public())) != nil) != kept {
			t.Fatalf("the key's table is kept: %v", !kept)
		}
		if err := v.CheckKey(key.Public()); err != nil {
			t.Error(err)
		}
		if !v.Verify(key.Public(), msg, key.Sign(msg)) {
			t.Fatal("a signature does not hold")
		}
	}
	if err := v.CheckKey(PublicKey{2}); !errors.Is(err, ErrNotAPoint) {
		t.Errorf("no point: %v", err)
	}
	for _, enc := range smallOrderEncodings(t) {
		// R and S zero: R is the neutral element, so the equation holds whatever the key's point of small order is.
		var sig Signature
		sig[0] = 1
		pub := PublicKey(enc)
		if !v.Verify(pub, msg, sig) || v.keys.get(&pub) == nil {
			t.Errorf("%x: its table is not kept", enc)
		}
		if err := v.CheckKey(pub); !errors.Is(err, ErrSmallOrder) {
			t.Errorf("%x: %v, want ErrSmallOrder", enc, err)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func BenchmarkCheckKey(b *testing.B) {
	v := NewEd25519(64)
	key := testKey(1)
	b.Run("unknown", func(b *testing.B) {
		for b.Loop() {
			if err := v.CheckKey(key.Public()); err != nil {
				b.Fatal(err)
			}
		}
	})
	v.Verify(key.Public(), nil, key.Sign(nil))
	b.Run("kept", func(b *testing.B) {
		for b.Loop() {
			if err := v.CheckKey(key.Public()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
