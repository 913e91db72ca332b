package byz

import (
	"math/rand/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// What behaviours do with requests.

// farFuture is an agreed time that a run does not reach, and less ahead than openings may be.
const farFuture = bft.Time(1_700_003_600) * bft.Second

// operation draws an operation of the service kv, on a key that no honest client uses.
func operation(r *rand.Rand) []byte {
	value := make([]byte, 8)
	for i := range value {
		value[i] = 'a' + byte(r.IntN(26))
	}
	return exec.EncodeOp("kv", false, kv.Put([]byte("bad0"), value))
}

// opening draws a bundle that opens a session of a client and has one operation. It depends on nothing that
// was executed before, so that whoever believes in its client orders it.
func opening(r *rand.Rand, client bft.ClientID) *bft.Bundle {
	b := &bft.Bundle{Client: client, NotAfter: farFuture, First: 1, Ops: [][]byte{operation(r)}}
	for i := range b.Nonce {
		b.Nonce[i] = byte(r.Uint32())
	}
	b.Payload = bft.EncodeBundle(b)
	return b
}

// invented makes the frame of a request in the name of a client, with noise for a signature.
func invented(r *rand.Rand, client bft.ClientID) []byte {
	b := opening(r, client)
	for i := range b.Signature {
		b.Signature[i] = byte(r.Uint32())
	}
	b.Signature[crypto.SignatureSize-1] &= 0x0f // so that it looks like one
	return bft.RequestFrame(b, bft.Everyone)
}

// bundleOf decodes the bundle of a request, without checking its signature; nil if there is none.
func bundleOf(frame []byte) *bft.Bundle {
	var q bftpb.Request
	if wire.Read(bft.TypeRequest, frame, &q) != nil || len(q.Signature) != crypto.SignatureSize {
		return nil
	}
	b, err := bft.DecodeBundle(q.Payload, crypto.Signature(q.Signature), bft.WindowOps, bft.MaxBundleBytes)
	if err != nil {
		return nil
	}
	return b
}

// signed makes the frame of a bundle of this client, of which all but payload and signature is set.
func (b *clientBase) signed(x *bft.Bundle) []byte {
	x.Payload = bft.EncodeBundle(x)
	x.Signature = b.ClientEnv.Sign(bft.RequestSigningBytes(b.Cluster, x.Payload))
	return bft.RequestFrame(x, bft.Everyone)
}

// receivers lists the replicas that an outbound frame is for.
func (b *clientBase) receivers(out bft.Outbound) []bft.ReplicaID {
	if out.To != bft.Everyone {
		return []bft.ReplicaID{out.To}
	}
	ids := make([]bft.ReplicaID, b.N)
	for i := range ids {
		ids[i] = bft.ReplicaID(i)
	}
	return ids
}
