package account

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Manifest is what one must know of a cluster to judge evidence.
type Manifest struct {
	// Cluster is the cluster id, the digest of its genesis manifest.
	Cluster bft.Digest
	// Epoch is the epoch whose members these are. Envelopes of another one prove nothing here.
	Epoch bft.Epoch
	// Members are the public keys of the replicas, by ReplicaID; 4 to bft.MaxMembers.
	Members []crypto.PublicKey
	// Interval is the checkpoint interval; 0: not known, and no checkpoint is off it.
	Interval bft.Seq
	// Verifier checks signatures; nil: Ed25519.
	Verifier crypto.Verifier
}

// Validate says what is wrong with m.
func (m *Manifest) Validate() error {
	switch n := len(m.Members); {
	case n < 4 || n > bft.MaxMembers:
		return fmt.Errorf("account: manifest with %d members; give all keys of the epoch, 4 to %d", n, bft.MaxMembers)
	case m.Cluster.IsZero():
		return fmt.Errorf("account: manifest without a cluster id; give the digest of the genesis manifest")
	}
	if _, err := crypto.NewKeyRing(m.Members); err != nil {
		return fmt.Errorf("account: member keys of the manifest: %w", err)
	}
	return nil
}

// quorum is the least number of which any two sets share a correct member: with f of n faulty,
// 2q − n ≥ f+1. It is computed here on its own, as in wire.Judge.
func (m *Manifest) quorum() int {
	n := len(m.Members)
	f := (n - 1) / 3
	q := 0
	for 2*q-n < f+1 {
		q++
	}
	return q
}

// primary is the member that proposes in a view.
func (m *Manifest) primary(v bft.View) bft.ReplicaID {
	return bft.ReplicaID(uint64(v) % uint64(len(m.Members)))
}
