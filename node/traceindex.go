package node

import (
	"hash/maphash"

	"github.com/baluarte-bft/baluarte/bft"
)

// bodyIndex is the bundles of a number, to be looked up: an open hash table of places, of which at most half are taken. For a
// full batch a map would cost ten times more.
type bodyIndex struct {
	body   []bft.Digest
	places []uint16 // place in body + 1, 0: free; a power of two of them
}

// maxIndexed is how many bundles of a number can be looked up; no proposal has as many.
const maxIndexed = 1<<15 - 1

// indexBody makes the index of a body, which must not change.
func indexBody(seed maphash.Seed, body []bft.Digest) bodyIndex {
	x := bodyIndex{body: body}
	if len(body) == 0 {
		return x
	}
	size := 2
	for size < 2*min(len(body), maxIndexed) {
		size *= 2
	}
	x.places = make([]uint16, size)
	for i := range body[:min(len(body), maxIndexed)] {
		at, there := x.find(maphash.Bytes(seed, body[i][:]), body[i])
		if !there { // a liar may name one again and again
			x.places[at] = uint16(i + 1)
		}
	}
	return x
}

// lacks tells whether the index is of another body than this one, which has bundles.
func (x *bodyIndex) lacks(body []bft.Digest) bool {
	return len(x.body) != len(body) || &x.body[0] != &body[0]
}

// has looks up a bundle with its hash.
func (x *bodyIndex) has(hash uint64, bundle bft.Digest) bool {
	if len(x.places) == 0 {
		return false
	}
	_, there := x.find(hash, bundle)
	return there
}

// find returns the place of a bundle, or the free one where it belongs.
func (x *bodyIndex) find(hash uint64, bundle bft.Digest) (at uint64, there bool) {
	for mask := uint64(len(x.places) - 1); ; hash++ {
		at = hash & mask
		switch i := x.places[at]; {
		case i == 0:
			return at, false
		case x.body[i-1] == bundle:
			return at, true
		}
	}
}
