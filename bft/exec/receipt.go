package exec

import (
	"encoding/binary"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Receipted names a bundle that was executed, for a receipt: what f+1 members sign, so that a third party believes that
// an operation had its result (rule 32, the sooner of the two ways).
type Receipted struct {
	Client  bft.ClientID
	Session bft.SessionID
	// First is the number of the bundle's first operation.
	First uint64
	// Seq is the number at which it was executed, and Time the agreed time.
	Seq  bft.Seq
	Time bft.Time
	// Root is crypto.MerkleRoot over the ReceiptLeaf of each operation, which binds how many there are.
	Root bft.Digest
}

// ReceiptLeaf binds an operation, as it is framed, to the result that it had, status included.
func ReceiptLeaf(number uint64, op, result []byte) bft.Digest {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], number)
	return crypto.Hash("baluarte/receipt-leaf", n[:], op, result)
}

// ReceiptLeaves are those of a bundle that was executed as a whole.
func ReceiptLeaves(first uint64, ops, results [][]byte) []bft.Digest {
	leaves := make([]bft.Digest, len(ops))
	for i := range ops {
		leaves[i] = ReceiptLeaf(first+uint64(i), ops[i], results[i])
	}
	return leaves
}

// SigningBytes is what a member signs: domain, cluster, epoch and what r says, each with its length, so that no other
// signature of the member can be read as one of a receipt.
func (r *Receipted) SigningBytes(cluster bft.Digest, epoch bft.Epoch) []byte {
	const domain = "baluarte/receipt"
	b := make([]byte, 0, 256)
	field := func(f []byte) { b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...) }
	number := func(n uint64) { field(binary.BigEndian.AppendUint64(nil, n)) }
	field([]byte(domain))
	field(cluster[:])
	number(uint64(epoch))
	field(r.Client[:])
	number(uint64(r.Session))
	number(r.First)
	number(uint64(r.Seq))
	number(uint64(r.Time))
	field(r.Root[:])
	return b
}
