package meter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Remote names whoever a replica has a channel to, as the host numbers them: members and clients.
type Remote int

// bytesPerClaim is the least number of bytes that a remote must send for each signature that it makes
// a replica verify. An envelope or a bundle brings a signature of 64 bytes of its own, and is
// verified once. A bundle that is held already is named in a proposal by a digest of 32 bytes, and
// if it is not known to be authentic any more it is verified for that: the cheapest cause there is.
// So k of "claims ≤ bytes/64·k + constant" is 2.
const bytesPerClaim = 32

// freeClaims is the constant: what may be verified a second time without a byte more. After a state
// transfer a replica forgets openings that the new state cannot tell to be decided; those of
// a proposal that it is about to vote for are gathered from the log and verified anew.
const freeClaims = bft.MaxProposalBundles

// Work is oracle R2 for one replica: the verification work that each remote causes is bounded by
// the bytes that it sends. The zero value is ready for use.
//
// Signatures within messages are charged to the sender. A bundle's, which the core asks for by
// Ready.Check, is charged to the remote that last delivered the bundle or named it in a proposal.
type Work struct {
	of    []account
	cause map[bft.Digest]Remote
	// uncaused is the number of bundles that were verified although nobody delivered or named them.
	uncaused int64
}

type account struct{ bytes, claims int64 }

// account gives that of a remote; numbers are small, as those of endpoints are.
func (w *Work) account(r Remote) *account {
	if int(r) >= len(w.of) {
		w.of = slices.Grow(w.of, int(r)+1-len(w.of))[:int(r)+1]
	}
	return &w.of[r]
}

// Received notes bytes that came from a remote, whatever becomes of them.
func (w *Work) Received(from Remote, bytes int) { w.account(from).bytes += int64(bytes) }

// Verified notes signatures that were verified because of a remote, whether they held or not.
func (w *Work) Verified(from Remote, claims int) { w.account(from).claims += int64(claims) }

// Frame is Received for a whole frame; it also notes which bundles the frame delivers or names, for
// Checked. What does not decode brings nothing.
func (w *Work) Frame(from Remote, frame []byte) {
	w.Received(from, len(frame))
	if w.cause == nil {
		w.cause = make(map[bft.Digest]Remote)
	}
	for _, d := range bundlesOf(frame) {
		w.cause[d] = from
	}
}

// Checked notes that the signature of a bundle was verified, see Ready.Check.
func (w *Work) Checked(b *bft.Bundle) {
	if from, ok := w.cause[b.Digest]; ok {
		w.Verified(from, 1)
	} else {
		w.uncaused++
	}
}

// Claims and Bytes are what was noted for a remote.
func (w *Work) Claims(r Remote) int64 { return w.account(r).claims }

// Bytes is what a remote has sent so far.
func (w *Work) Bytes(r Remote) int64 { return w.account(r).bytes }

// Judge returns an error that names every remote that caused more than
// bytes/32 + 1024 verifications, and nil if there is none.
func (w *Work) Judge() error {
	var errs []error
	for r := range w.of {
		a := &w.of[r]
		if most := a.bytes/bytesPerClaim + freeClaims; a.claims > most {
			errs = append(errs, fmt.Errorf("R2: remote %d caused the verification of %d signatures with %d bytes, %d are meant to be the most",
				r, a.claims, a.bytes, most))
		}
	}
	if w.uncaused > freeClaims {
		errs = append(errs, fmt.Errorf("R2: %d bundles were verified that nobody delivered or named", w.uncaused))
	}
	return errors.Join(errs...)
}

// bundlesOf lists the bundles that a frame delivers or names.
func bundlesOf(frame []byte) (ds []bft.Digest) {
	deliver := func(qs ...*bftpb.Request) {
		for _, q := range qs {
			if len(q.GetSignature()) == 64 {
				if b, err := bft.DecodeBundle(q.Payload, [64]byte(q.Signature), bft.WindowOps, bft.MaxBundleBytes); err == nil {
					ds = append(ds, b.Digest)
				}
			}
		}
	}
	name := func(list []byte) {
		for ; len(list) >= digestBytes; list = list[digestBytes:] {
			ds = append(ds, bft.Digest(list[:digestBytes]))
		}
	}
	switch t := wire.TypeOf(frame); t {
	case bft.TypeRequest:
		var q bftpb.Request
		if wire.Read(t, frame, &q) == nil {
			deliver(&q)
		}
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		if wire.Read(t, frame, &p) == nil {
			name(p.GetBody().GetBundles())
		}
	case bft.TypeData:
		var d bftpb.Data
		if wire.Read(t, frame, &d) == nil {
			deliver(d.Bundles...)
			for _, b := range d.Bodies {
				name(b.GetBundles())
			}
			for _, c := range d.Committed {
				deliver(c.GetBundles()...)
			}
		}
	}
	return ds
}
