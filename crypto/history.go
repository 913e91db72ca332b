package crypto

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	historyVersion = 1
	// historyMaxLeaves bounds a History well below what its counter can hold;
	// a million leaves per second fill it in 146,000 years.
	historyMaxLeaves = 1 << 62
	historyLevels    = 63
	historyHeader    = 1 + 8
)

// History is an append-only Merkle tree that keeps only its frontier: the top
// nodes of the perfect subtrees, one for each bit set in the number of leaves.
// Its root is that of [MerkleRoot] over all leaves, so that [MerkleProve] by
// someone who has the leaves is checked against it with [MerkleVerify].
//
// The zero History is empty and ready for use. Copying one by value gives an
// independent one. It takes 2 KiB and is not safe for concurrent use.
type History struct {
	n uint64
	// peaks[l] is the node over the 2^l leaves that bit l of n stands for. If
	// that bit is not set it is zero, so equal histories are equal by ==.
	peaks [historyLevels]Digest
}

// Append adds a leaf, in amortised constant time. It panics beyond 2^62 leaves,
// which no history reaches.
func (h *History) Append(leaf Digest) {
	if h.n >= historyMaxLeaves {
		panic("crypto: history is full")
	}
	node, level := leafHash(leaf), 0
	for ; h.n>>level&1 == 1; level++ {
		node = nodeHash(h.peaks[level], node)
		h.peaks[level] = Digest{}
	}
	h.peaks[level] = node
	h.n++
}

// Len returns the number of leaves.
func (h *History) Len() uint64 { return h.n }

// Root returns the root over all leaves, in at most 63 hashes.
func (h *History) Root() Digest {
	var top Digest
	first := true
	for level := range h.peaks {
		switch {
		case h.n>>level&1 == 0:
		case first:
			top, first = h.peaks[level], false
		default:
			top = nodeHash(h.peaks[level], top)
		}
	}
	return rootHash(h.n, top)
}

// MarshalBinary returns a version byte, the number of leaves as 8 bytes, big
// endian, and the peaks, the one of the largest subtree first. Equal histories
// give equal bytes. The error is always nil.
func (h *History) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, historyHeader+DigestSize*bits.OnesCount64(h.n))
	b = append(b, historyVersion)
	b = binary.BigEndian.AppendUint64(b, h.n)
	for level := historyLevels - 1; level >= 0; level-- {
		if h.n>>level&1 == 1 {
			b = append(b, h.peaks[level][:]...)
		}
	}
	return b, nil
}

// UnmarshalBinary accepts exactly what MarshalBinary returns and leaves h as it
// was on an error. Whether the peaks are true it cannot see: compare
// [History.Root], which covers them and the length, with a certified root.
func (h *History) UnmarshalBinary(b []byte) error {
	if len(b) < historyHeader {
		return fmt.Errorf("crypto: history of %d bytes is shorter than its header", len(b))
	}
	if b[0] != historyVersion {
		return fmt.Errorf("crypto: history of version %d, want %d", b[0], historyVersion)
	}
	n := binary.BigEndian.Uint64(b[1:])
	if n > historyMaxLeaves {
		return fmt.Errorf("crypto: history of %d leaves is beyond the bound", n)
	}
	peaks := b[historyHeader:]
	if want := DigestSize * bits.OnesCount64(n); len(peaks) != want {
		return fmt.Errorf("crypto: history of %d leaves has %d bytes of peaks, want %d", n, len(peaks), want)
	}
	*h = History{n: n}
	for level := historyLevels - 1; level >= 0; level-- {
		if n>>level&1 == 1 {
			h.peaks[level] = Digest(peaks[:DigestSize])
			peaks = peaks[DigestSize:]
		}
	}
	return nil
}
