package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Bounds of an evidence file.
const (
	// MaxFileBytes bounds an evidence file.
	MaxFileBytes = 64 << 20
	// maxEnvelopes: a new-view and the view-changes that it names.
	maxEnvelopes = bft.MaxMembers + 1
)

// fileFormat names the format and its version.
const fileFormat = "baluarte evidence 1"

// file is the JSON of an evidence file: one object, bytes in base64, digests in hex.
type file struct {
	Format    string        `json:"format"`
	Cluster   bft.Digest    `json:"cluster"`
	Epoch     bft.Epoch     `json:"epoch"`
	Culprit   bft.ReplicaID `json:"culprit"`
	Kind      Kind          `json:"kind"`
	Envelopes []sealed      `json:"envelopes"`
}

// sealed is an envelope in an evidence file.
type sealed struct {
	Type      uint32 `json:"type"`
	Signer    uint32 `json:"signer"`
	Epoch     uint64 `json:"epoch"`
	Payload   []byte `json:"payload"`
	Signature []byte `json:"signature"`
}

// Encode writes evidence as a file: JSON, with payloads and signatures in base64 as they were
// signed. It needs nothing beside it but the manifest to be checked. It fails if the evidence has
// no known kind or would not fit MaxFileBytes.
func Encode(e Evidence) ([]byte, error) {
	f := file{Format: fileFormat, Cluster: e.Cluster, Epoch: e.Epoch, Culprit: e.Culprit, Kind: e.Kind, Envelopes: []sealed{}}
	for _, x := range e.Envelopes {
		if x == nil {
			return nil, errMissing
		}
		f.Envelopes = append(f.Envelopes, sealed{x.Type, x.Signer, x.Epoch, x.Payload, x.Signature})
	}
	b, err := json.MarshalIndent(&f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("account: writing evidence: %w", err)
	}
	if b = append(b, '\n'); len(b) > MaxFileBytes {
		return nil, fmt.Errorf("account: evidence of %d bytes, a file holds %d", len(b), MaxFileBytes)
	}
	return b, nil
}

// Decode reads what Encode writes. It checks the form alone; what the evidence claims is for
// [Check].
func Decode(b []byte) (Evidence, error) {
	if len(b) > MaxFileBytes {
		return Evidence{}, fmt.Errorf("account: evidence of %d bytes, a file holds %d", len(b), MaxFileBytes)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Evidence{}, fmt.Errorf("account: evidence file does not decode: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Evidence{}, fmt.Errorf("account: evidence file goes on after its end")
	}
	switch {
	case f.Format != fileFormat:
		return Evidence{}, fmt.Errorf("account: format %.40q; this version reads %q", f.Format, fileFormat)
	case f.Kind == 0:
		return Evidence{}, fmt.Errorf("account: evidence file without a kind")
	case len(f.Envelopes) == 0 || len(f.Envelopes) > maxEnvelopes:
		return Evidence{}, fmt.Errorf("account: evidence with %d envelopes, 1 to %d can prove something", len(f.Envelopes), maxEnvelopes)
	}
	e := Evidence{Cluster: f.Cluster, Epoch: f.Epoch, Culprit: f.Culprit, Kind: f.Kind}
	for i, x := range f.Envelopes {
		if len(x.Payload) > bft.MaxFrameBytes || len(x.Signature) != crypto.SignatureSize {
			return Evidence{}, fmt.Errorf("account: envelope %d of the evidence has %d bytes and a signature of %d", i+1, len(x.Payload), len(x.Signature))
		}
		e.Envelopes = append(e.Envelopes, &bftpb.Envelope{Type: x.Type, Signer: x.Signer, Epoch: x.Epoch, Payload: x.Payload, Signature: x.Signature})
	}
	return e, nil
}
