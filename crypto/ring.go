package crypto

import (
	"fmt"
	"slices"
)

// KeyRing is the immutable list of the members' keys, by index. It is safe for
// concurrent use. The nil KeyRing is empty.
type KeyRing struct {
	keys  []PublicKey
	index map[PublicKey]int
}

// NewKeyRing returns a ring of the keys in their order. It refuses a key that
// does not pass [PublicKey.Check] and a key that stands twice: one signer must
// not count as two. It keeps no reference to the slice.
func NewKeyRing(keys []PublicKey) (*KeyRing, error) {
	r := &KeyRing{keys: slices.Clone(keys), index: make(map[PublicKey]int, len(keys))}
	for i, k := range r.keys {
		if err := k.Check(); err != nil {
			return nil, fmt.Errorf("key %d of the ring: %w: %s", i, err, k)
		}
		if j, ok := r.index[k]; ok {
			return nil, fmt.Errorf("crypto: keys %d and %d of the ring are the same: %s", j, i, k)
		}
		r.index[k] = i
	}
	return r, nil
}

// Len returns the number of keys.
func (r *KeyRing) Len() int {
	if r == nil {
		return 0
	}
	return len(r.keys)
}

// Key returns key i, and false if there is none.
func (r *KeyRing) Key(i int) (PublicKey, bool) {
	if i < 0 || i >= r.Len() {
		return PublicKey{}, false
	}
	return r.keys[i], true
}

// Index returns the index of a key, and false if it is not in the ring.
func (r *KeyRing) Index(k PublicKey) (int, bool) {
	if r == nil {
		return 0, false
	}
	i, ok := r.index[k]
	return i, ok
}
