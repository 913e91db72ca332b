package crypto

import (
	"errors"
	"strings"
	"testing"
)

func TestKeyRing(t *testing.T) {
	keys := make([]PublicKey, 7)
	for i := range keys {
		keys[i] = testKey(i).Public()
	}
	given := append([]PublicKey(nil), keys...)
	r, err := NewKeyRing(given)
	if err != nil {
		t.Fatal(err)
	}
	clear(given) // the ring must not notice
	if r.Len() != len(keys) {
		t.Errorf("length %d, want %d", r.Len(), len(keys))
	}
	for i, k := range keys {
		if got, ok := r.Key(i); !ok || got != k {
			t.Errorf("key %d is %v, %v", i, got, ok)
		}
		if got, ok := r.Index(k); !ok || got != i {
			t.Errorf("index of key %d is %d, %v", i, got, ok)
		}
	}
	for _, i := range []int{-1, len(keys)} {
		if _, ok := r.Key(i); ok {
			t.Errorf("there is a key %d", i)
		}
	}
	if _, ok := r.Index(testKey(99).Public()); ok {
		t.Error("a stranger has an index")
	}
}

func TestEmptyKeyRing(t *testing.T) {
	empty, err := NewKeyRing(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*KeyRing{nil, empty} {
		_, hasKey := r.Key(0)
		_, hasIndex := r.Index(PublicKey{})
		if r.Len() != 0 || hasKey || hasIndex {
			t.Errorf("%v is not empty", r)
		}
	}
}

func TestKeyRingRefuses(t *testing.T) {
	a, b := testKey(1).Public(), testKey(2).Public()
	if _, err := NewKeyRing([]PublicKey{a, b, a}); err == nil || !strings.Contains(err.Error(), "keys 0 and 2") {
		t.Errorf("a key that stands twice: %v", err)
	}
	if _, err := NewKeyRing([]PublicKey{a, {2}}); !errors.Is(err, ErrNotAPoint) || !strings.Contains(err.Error(), "key 1") {
		t.Errorf("no point: %v", err)
	}
	for _, enc := range smallOrderEncodings(t) {
		if _, err := NewKeyRing([]PublicKey{a, b, enc}); !errors.Is(err, ErrSmallOrder) {
			t.Errorf("%x: %v, want ErrSmallOrder", enc, err)
		}
	}
}
