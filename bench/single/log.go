package single

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// The log has one record for each batch: its time, and its bundles as they came. Keys are areaBatch and the
// number of the batch, so that cutting the log is one range.

const areaBatch = 'b'

func batchKey(seq bft.Seq) []byte {
	return binary.BigEndian.AppendUint64([]byte{areaBatch}, uint64(seq))
}

func seqOfKey(key []byte) (bft.Seq, error) {
	if len(key) != 9 || key[0] != areaBatch {
		return 0, fmt.Errorf("single: the log has a record under the key %x, which is not one of its own", key)
	}
	return bft.Seq(binary.BigEndian.Uint64(key[1:])), nil
}

// bundleHead is the length of a payload, before it and the signature.
const bundleHead = 4

// encodeBatch is the record of a batch.
func encodeBatch(now bft.Time, bundles []*bft.Bundle) []byte {
	size := 8
	for _, b := range bundles {
		size += bundleHead + len(b.Payload) + len(b.Signature)
	}
	out := binary.BigEndian.AppendUint64(make([]byte, 0, size), uint64(now))
	for _, b := range bundles {
		out = binary.BigEndian.AppendUint32(out, uint32(len(b.Payload)))
		out = append(out, b.Payload...)
		out = append(out, b.Signature[:]...)
	}
	return out
}

var errBatch = errors.New("single: a record of the log does not decode")

// decodeBatch undoes encodeBatch. The bundles refer to the record.
func decodeBatch(record []byte, maxOps, maxBytes int) (bft.Time, []*bft.Bundle, error) {
	if len(record) < 8 {
		return 0, nil, errBatch
	}
	now, rest := bft.Time(binary.BigEndian.Uint64(record)), record[8:]
	var bundles []*bft.Bundle
	for len(rest) > 0 {
		if len(rest) < bundleHead {
			return 0, nil, errBatch
		}
		n := int(binary.BigEndian.Uint32(rest))
		rest = rest[bundleHead:]
		if len(rest)-crypto.SignatureSize < n {
			return 0, nil, errBatch
		}
		b, err := bft.DecodeBundle(rest[:n:n], crypto.Signature(rest[n:n+crypto.SignatureSize]), maxOps, maxBytes)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %w", errBatch, err)
		}
		bundles, rest = append(bundles, b), rest[n+crypto.SignatureSize:]
	}
	return now, bundles, nil
}

// newBatch is what the machine executes: numbered, dated and named as a cluster's.
func newBatch(seq bft.Seq, now bft.Time, interval bft.Seq, bundles []*bft.Bundle) *bft.Batch {
	digests := make([]bft.Digest, len(bundles))
	for i, b := range bundles {
		digests[i] = b.Digest
	}
	p := bft.Proposal{Body: bft.BodyDigest(digests), Time: now}
	return &bft.Batch{Seq: seq, Proposal: p, Digest: p.Digest(), Bundles: bundles, Checkpoint: seq%interval == 0}
}
