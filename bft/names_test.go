package bft_test

import (
	"fmt"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// names turns digests into what a reader of a story knows: bundles by the names that the story gave
// them, proposals by what they hold. A second proposal of the same bundles, at another time, gets a
// prime.
type names struct {
	bundles map[bft.Digest]string
	bodies  map[bft.Digest]string
	props   map[bft.Digest]string
	times   map[bft.Digest][]bft.Proposal // by body
}

func newNames() names {
	return names{map[bft.Digest]string{}, map[bft.Digest]string{}, map[bft.Digest]string{bft.Null.Digest(): "null"}, map[bft.Digest][]bft.Proposal{}}
}

func (n names) bundle(d bft.Digest) string {
	if s, ok := n.bundles[d]; ok {
		return s
	}
	return "bundle?"
}

func (n names) list(ds []byte) (all []string) {
	for ; len(ds) >= 32; ds = ds[32:] {
		all = append(all, n.bundle(bft.Digest(ds[:32])))
	}
	return all
}

func (n names) proposal(p bft.Proposal) string {
	if p == bft.Null {
		return "null"
	}
	d := p.Digest()
	if s, ok := n.props[d]; ok {
		return s
	}
	s, ok := n.bodies[p.Body]
	if !ok {
		return "{?}"
	}
	n.props[d] = s + strings.Repeat("'", len(n.times[p.Body]))
	n.times[p.Body] = append(n.times[p.Body], p)
	return n.props[d]
}

func (n names) digest(b []byte) string {
	if s, ok := n.props[bft.Digest(b)]; ok {
		return s
	}
	return "{?}"
}

func (n names) header(e *bftpb.Envelope) string {
	var p bftpb.Header
	if err := p.UnmarshalVT(e.GetPayload()); err != nil {
		return "?"
	}
	x := bft.Proposal{Time: bft.Time(p.Time)}
	copy(x.Body[:], p.Body)
	return fmt.Sprintf("#%d %s", p.Seq, n.proposal(x))
}

func (n names) body(b *bftpb.Body) string {
	s := "{" + strings.Join(n.list(b.GetBundles()), " ") + "}"
	var ds []bft.Digest
	for l := b.GetBundles(); len(l) >= 32; l = l[32:] {
		ds = append(ds, bft.Digest(l[:32]))
	}
	n.bodies[bft.BodyDigest(ds)] = s
	return s
}

// frame describes a frame in one line.
func (n names) frame(frame []byte) string {
	kind, b := bft.MessageType(frame[0]), frame[1:]
	var err error
	out := ""
	switch kind {
	case bft.TypeRequest:
		var p bftpb.Request
		err = p.UnmarshalVT(b)
		if x, bad := bft.DecodeBundle(p.Payload, [64]byte(p.Signature), bft.WindowOps, bft.MaxBundleBytes); bad == nil {
			out = n.bundle(x.Digest)
		}
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		err = p.UnmarshalVT(b)
		n.body(p.Body)
		var h bftpb.Header
		if e := h.UnmarshalVT(p.Header.GetPayload()); e == nil {
			out = fmt.Sprintf("v%d %s", h.View, n.header(p.Header))
		}
	case bft.TypeFetch:
		var p bftpb.Fetch
		err = p.UnmarshalVT(b)
		out = n.fetch(&p)
	case bft.TypeData:
		var p bftpb.Data
		err = p.UnmarshalVT(b)
		out = n.data(&p)
	default:
		var e bftpb.Envelope
		if err = e.UnmarshalVT(b); err == nil {
			out = n.envelope(&e)
		}
	}
	if err != nil {
		return kind.String() + " that does not decode"
	}
	return kind.String() + " " + out
}

func (n names) fetch(p *bftpb.Fetch) string {
	switch p.Kind {
	case 1:
		return "bundles " + strings.Join(n.list(p.Digests), " ")
	case 2:
		return fmt.Sprintf("%d bodies", len(p.Digests)/32)
	case 3:
		return fmt.Sprintf("%d view-changes", len(p.Digests)/32)
	case 4:
		return fmt.Sprintf("committed #%d to #%d", p.From, p.To)
	}
	return fmt.Sprintf("state of #%d from part %d", p.From, p.To)
}

func (n names) data(p *bftpb.Data) string {
	var all []string
	for _, r := range p.Bundles {
		if x, err := bft.DecodeBundle(r.Payload, [64]byte(r.Signature), bft.WindowOps, bft.MaxBundleBytes); err == nil {
			all = append(all, "bundle "+n.bundle(x.Digest))
		}
	}
	for _, b := range p.Bodies {
		all = append(all, "body "+n.body(b))
	}
	for _, c := range p.Committed {
		x := bft.Proposal{Time: bft.Time(c.Time)}
		copy(x.Body[:], c.Body)
		n.body(c.Content)
		all = append(all, fmt.Sprintf("committed #%d %s", c.Seq, n.proposal(x)))
	}
	if p.Part != nil {
		all = append(all, fmt.Sprintf("state of #%d part %d of %d", p.Part.Seq, p.Part.Index+1, p.Part.Total))
	}
	if len(p.Checkpoint) > 0 {
		all = append(all, "certificate of "+n.envelope(p.Checkpoint[0]))
	}
	for _, e := range p.ViewChanges {
		all = append(all, fmt.Sprintf("view-change of %d: %s", e.Signer, n.envelope(e)))
	}
	return strings.Join(all, ", ")
}

func (n names) envelope(e *bftpb.Envelope) string {
	var all []string
	switch bft.MessageType(e.Type) {
	case bft.TypeVotes:
		var p bftpb.Votes
		_ = p.UnmarshalVT(e.Payload)
		for _, v := range p.Votes {
			all = append(all, fmt.Sprintf("%v #%d %s", bft.Phase(v.Phase), v.Seq, n.digest(v.Digest)))
		}
		return fmt.Sprintf("v%d %s", p.View, strings.Join(all, ", "))
	case bft.TypeCheckpoint:
		var p bftpb.Checkpoint
		_ = p.UnmarshalVT(e.Payload)
		return fmt.Sprintf("#%d", p.Seq)
	case bft.TypeViewChange:
		var p bftpb.ViewChange
		_ = p.UnmarshalVT(e.Payload)
		for _, c := range p.Prepared {
			var h bftpb.Header
			_ = h.UnmarshalVT(p.Envelopes[c.PrePrepare].Payload)
			all = append(all, fmt.Sprintf(", prepared in v%d %s", h.View, n.header(p.Envelopes[c.PrePrepare])))
		}
		return fmt.Sprintf("to v%d, stable %d%s", p.View, p.Stable, strings.Join(all, ""))
	case bft.TypeNewView:
		var p bftpb.NewView
		_ = p.UnmarshalVT(e.Payload)
		for _, r := range p.ViewChanges {
			all = append(all, fmt.Sprint(r.Signer))
		}
		s := fmt.Sprintf("v%d by the view-changes of %s", p.View, strings.Join(all, ","))
		for _, h := range p.PrePrepares {
			s += ", " + n.header(h)
		}
		return s
	}
	return "?"
}
