// Package receipt has proofs that an operation was executed with a result, for those who were not there: f+1 members have
// signed it, so that at least one correct one has. They need the cluster's manifest and nothing else; see
// docs/gateway.md.
package receipt

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Format is the version of receipts that this build makes and reads.
const Format = 1

// Receipt shows that a cluster has executed an operation, and with which result.
type Receipt struct {
	Format  int        `json:"format"`
	Cluster bft.Digest `json:"cluster"`
	Epoch   bft.Epoch  `json:"epoch"`
	// Client is the key that signed the operation; Session and Number are its name among that client's.
	Client  crypto.PublicKey `json:"client"`
	Session bft.SessionID    `json:"session"`
	Number  uint64           `json:"number"`
	// Executed is the number in the order of the cluster at which it was executed, Time the agreed time.
	Executed bft.Seq   `json:"executed"`
	Time     time.Time `json:"time"`
	// Service, Read (it was an ordered read) and Operation are what was asked for, Result what came of it. In JSON both
	// are in base64.
	Service   string `json:"service"`
	Read      bool   `json:"read,omitempty"`
	Operation []byte `json:"operation_base64"`
	Result    []byte `json:"result_base64"`
	// First, Count, Path and Root show the operation among those that were executed in the same bundle.
	First uint64       `json:"first"`
	Count int          `json:"count"`
	Path  []bft.Digest `json:"path"`
	Root  bft.Digest   `json:"root"`
	// Signatures are those of f+1 members, or more.
	Signatures []Signature `json:"signatures"`
}

// Signature is that of one member.
type Signature struct {
	// Member is the name in the manifest, for people.
	Member string `json:"member"`
	// Key is the member's, which counts.
	Key crypto.PublicKey `json:"key"`
	// Signature is 128 hex digits.
	Signature HexSignature `json:"signature"`
}

// HexSignature is a signature that stands as hex digits in JSON.
type HexSignature crypto.Signature

// MarshalText returns hex digits.
func (s HexSignature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText accepts 128 hex digits.
func (s *HexSignature) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(s) {
		return errors.New("a signature is 128 hex digits")
	}
	copy(s[:], b)
	return nil
}

// maxReceipt bounds the text of a receipt: the largest operation and result in base64, and room for the rest.
const maxReceipt = 16 << 20

// Parse reads a receipt from JSON.
func Parse(text []byte) (*Receipt, error) {
	if len(text) > maxReceipt {
		return nil, fmt.Errorf("receipt: longer than %d bytes", maxReceipt)
	}
	var r Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("receipt: malformed: %w", err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("receipt: format %d, this build reads format %d", r.Format, Format)
	}
	return &r, nil
}

// Check tells whether r proves what it says, to somebody who trusts that no more than f members of the cluster that the
// manifest describes are faulty. The error is one line that says what does not hold.
func (r *Receipt) Check(m *config.Manifest) error {
	members := m.Keys()
	switch {
	case r.Format != Format:
		return fmt.Errorf("receipt: format %d, this build reads format %d", r.Format, Format)
	case r.Cluster != m.ID():
		return fmt.Errorf("receipt: it is of cluster %s, the manifest is of %s", r.Cluster.Short(), m.ID().Short())
	case r.Epoch != 0:
		return fmt.Errorf("receipt: it is of epoch %d, and the manifest says who were members in epoch 0", r.Epoch)
	case r.Number < r.First || r.Number-r.First >= uint64(max(r.Count, 0)):
		return errors.New("receipt: its operation is not one of its bundle")
	case !exec.ValidServiceName(r.Service) && r.Service != "":
		return fmt.Errorf("receipt: %q is not a name of a service", r.Service)
	case len(r.Signatures) > len(members):
		return fmt.Errorf("receipt: %d signatures of %d members", len(r.Signatures), len(members))
	}
	leaf := exec.ReceiptLeaf(r.Number, exec.EncodeOp(r.Service, r.Read, r.Operation), append([]byte{byte(exec.StatusOK)}, r.Result...))
	if !crypto.MerkleVerify(r.Root, leaf, int(r.Number-r.First), r.Count, r.Path) {
		return errors.New("receipt: the operation and the result are not those that were signed")
	}
	var counted []crypto.PublicKey
	for _, s := range r.Signatures {
		switch {
		case !slices.Contains(members, s.Key):
			return fmt.Errorf("receipt: the key %s is of no member", s.Key.Fingerprint())
		case slices.Contains(counted, s.Key):
			return fmt.Errorf("receipt: the member with key %s signed twice", s.Key.Fingerprint())
		case !r.Holds(&s):
			return fmt.Errorf("receipt: the signature of the member with key %s does not hold", s.Key.Fingerprint())
		}
		counted = append(counted, s.Key)
	}
	if need := bft.WeakQuorum(len(members)); len(counted) < need {
		return fmt.Errorf("receipt: %d members have signed, %d are needed", len(counted), need)
	}
	return nil
}

// Holds tells whether a signature is that of its key under what r says, whoever has that key.
func (r *Receipt) Holds(s *Signature) bool {
	said := exec.Receipted{Client: r.Client, Session: r.Session, First: r.First, Seq: r.Executed, Time: bft.Time(r.Time.UnixNano()), Root: r.Root}
	return crypto.NewEd25519(0).Verify(s.Key, said.SigningBytes(r.Cluster, r.Epoch), crypto.Signature(s.Signature))
}
