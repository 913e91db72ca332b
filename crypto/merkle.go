package crypto

import (
	"encoding/binary"
	"math/bits"
)

// The tree over n leaves has the shape of RFC 6962 (section 2.1): the left
// subtree of n > 1 leaves is the largest perfect one of fewer than n. It differs
// in two ways. Leaves, inner nodes and roots are hashed in domains of this
// package, whose names are short so that a leaf stays within one block of
// SHA-256 and a node within two. And the root commits to n as well: RFC 6962
// leaves a proof open to be read under another n, which is safe only if n comes
// from a trusted source, and here both n and the proof come from one peer.
const (
	domainLeaf = "mt-leaf"
	domainNode = "mt-node"
	domainRoot = "mt-root"
)

func leafHash(leaf Digest) Digest        { return Hash(domainLeaf, leaf[:]) }
func nodeHash(left, right Digest) Digest { return Hash(domainNode, left[:], right[:]) }

// rootHash binds the number of leaves to the top node, which is zero for n = 0.
func rootHash(n uint64, top Digest) Digest {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return Hash(domainRoot, b[:], top[:])
}

// MerkleRoot returns the root of the tree over the leaves. It depends on their
// values, order and number. No leaves have a root too.
func MerkleRoot(leaves []Digest) Digest {
	if len(leaves) == 0 {
		return rootHash(0, Digest{})
	}
	return rootHash(uint64(len(leaves)), subtree(leaves))
}

// subtree returns the top node over at least one leaf.
func subtree(leaves []Digest) Digest {
	if len(leaves) == 1 {
		return leafHash(leaves[0])
	}
	k := splitPoint(len(leaves))
	return nodeHash(subtree(leaves[:k]), subtree(leaves[k:]))
}

// splitPoint returns the largest power of two below n, for n > 1.
func splitPoint(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// MerkleProve returns the path that shows leaf i in the tree over the leaves: the
// siblings from the leaf upwards, at most ⌈log2 n⌉. It is empty if there is one
// leaf, and nil if i is out of range. It hashes all the leaves.
func MerkleProve(leaves []Digest, i int) []Digest {
	if i < 0 || i >= len(leaves) {
		return nil
	}
	path := make([]Digest, 0, bits.Len(uint(len(leaves)-1)))
	return prove(path, leaves, i)
}

// prove appends the siblings of leaf i, from the leaf upwards, to path.
func prove(path, leaves []Digest, i int) []Digest {
	if len(leaves) == 1 {
		return path
	}
	k := splitPoint(len(leaves))
	if i < k {
		return append(prove(path, leaves[:k], i), subtree(leaves[k:]))
	}
	return append(prove(path, leaves[k:], i-k), subtree(leaves[:k]))
}

// MerkleVerify reports whether path shows that the tree of the given root has n
// leaves and leaf at index i. Nothing but root has to be trusted: another n, i,
// leaf or path does not verify. Exactly one path does.
func MerkleVerify(root Digest, leaf Digest, i, n int, path []Digest) bool {
	if i < 0 || i >= n {
		return false
	}
	node := leafHash(leaf)
	// at is the node's index and last that of the rightmost one on its level.
	at, last := uint64(i), uint64(n-1)
	for _, sibling := range path {
		if last == 0 {
			return false // the path is too long
		}
		if at&1 == 0 && at == last {
			// A rightmost node without a sibling rises to the level where it
			// is a right child.
			up := bits.TrailingZeros64(at)
			at, last = at>>up, last>>up
		}
		if at&1 == 1 {
			node = nodeHash(sibling, node)
		} else {
			node = nodeHash(node, sibling)
		}
		at, last = at>>1, last>>1
	}
	return last == 0 && rootHash(uint64(n), node) == root
}
