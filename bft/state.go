package bft

import "github.com/baluarte-bft/baluarte/crypto"

// The digest of a state is one over the parts in which its serialised snapshot travels, so
// that a replica which fetches it can check each part on its own, from whomever it came
// (rule 20).

// PartDigest is the digest of one part of a serialised snapshot.
func PartDigest(data []byte) Digest { return crypto.Hash("baluarte/part", data) }

// StateDigest is the digest that a checkpoint certifies: over the number of parts and the root
// of the Merkle tree over their digests. It binds the number, so a part that comes with a
// false Total does not pass [CheckPart].
func StateDigest(parts []Digest) Digest {
	return stateDigest(uint32(len(parts)), crypto.MerkleRoot(parts))
}

func stateDigest(total uint32, root Digest) Digest {
	var n [8]byte
	putUint64(n[:], uint64(total))
	return crypto.Hash("baluarte/state", n[:], root[:])
}

// ProvePart returns the path that shows part i of parts to be in the state: the siblings from
// the part upwards, and last the root of the tree. It is nil if i is out of range.
func ProvePart(parts []Digest, i int) []Digest {
	if i < 0 || i >= len(parts) {
		return nil
	}
	return append(crypto.MerkleProve(parts, i), crypto.MerkleRoot(parts))
}

// CheckPart tells whether p is a part of the state: its data, index, total and length are then
// true. Exactly one path is accepted. It does not look at p.Seq.
func CheckPart(state Digest, p SnapshotPart) bool {
	if len(p.Path) == 0 || p.Index >= p.Total {
		return false
	}
	last := p.Index == p.Total-1
	switch {
	case len(p.Data) > PartSize, !last && len(p.Data) != PartSize:
		return false
	case last && len(p.Data) == 0 && p.Total > 1:
		return false
	}
	path, root := p.Path[:len(p.Path)-1], p.Path[len(p.Path)-1]
	return stateDigest(p.Total, root) == state &&
		crypto.MerkleVerify(root, PartDigest(p.Data), int(p.Index), int(p.Total), path)
}
