package wire

import (
	"fmt"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// Describe says in one line what a frame carries, for a reader of a trace.
func Describe(frame []byte) string {
	t := TypeOf(frame)
	if e := Envelope(frame); e != nil {
		return fmt.Sprintf("%v by %d: %s", t, e.Signer, DescribePayload(t, e.Payload))
	}
	switch t {
	case bft.TypeStatus:
		var s bftpb.Status
		if Read(t, frame, &s) == nil {
			return describeStatus(&s)
		}
	case bft.TypeFetch:
		var f bftpb.Fetch
		if Read(t, frame, &f) == nil {
			return fmt.Sprintf("fetch kind %d, %d digests, %d..%d", f.Kind, len(f.Digests)/32, f.From, f.To)
		}
	case bft.TypeData:
		var d bftpb.Data
		if Read(t, frame, &d) == nil {
			return describeData(&d)
		}
	case bft.TypeRequest:
		var r bftpb.Request
		var b bftpb.Bundle
		if Read(t, frame, &r) == nil && b.UnmarshalVT(r.Payload) == nil {
			return fmt.Sprintf("request session %d, from %d, %d operations, of %x", b.Session, b.First, len(b.Operations), b.Client[:min(2, len(b.Client))])
		}
	case bft.TypeReply:
		if r, err := bft.DecodeReply(frame); err == nil {
			return fmt.Sprintf("reply session %d, from %d, %q %s", r.Session, r.First, r.Results, short(r.Digest[:]))
		}
	case bft.TypeBusy:
		if b, err := bft.DecodeBusy(frame); err == nil {
			return fmt.Sprintf("busy session %d, from %d", b.Session, b.First)
		}
	case bft.TypeAnswer:
		if a, err := bft.DecodeAnswer(frame); err == nil {
			return fmt.Sprintf("answer %d at %d, %q %s", a.ID, a.Executed, a.Results, short(a.Digest[:]))
		}
	case bft.TypeQuery:
		if q, err := bft.DecodeQuery(frame, bft.WindowOps, bft.MaxFrameBytes); err == nil {
			return fmt.Sprintf("%v query %d, %d reads", q.Consistency, q.ID, len(q.Ops))
		}
	}
	return fmt.Sprintf("%v of %d bytes that do not decode", t, len(frame))
}

// DescribePayload says what the payload of an envelope of type t says.
func DescribePayload(t bft.MessageType, payload []byte) string {
	e := &bftpb.Envelope{Type: uint32(t), Payload: payload}
	switch t {
	case bft.TypePrePrepare:
		if h, err := Header(e); err == nil {
			d := Proposal(h).Digest()
			return fmt.Sprintf("view %d number %d digest %s body %s", h.View, h.Seq, d.Short(), short(h.Body))
		}
	case bft.TypeVotes:
		if v, err := Votes(e); err == nil {
			var b strings.Builder
			fmt.Fprintf(&b, "view %d", v.View)
			for _, x := range v.Votes {
				fmt.Fprintf(&b, ", %v %d %s", bft.Phase(x.Phase), x.Seq, short(x.Digest))
			}
			return b.String()
		}
	case bft.TypeCheckpoint:
		if c, err := Checkpoint(e); err == nil {
			return fmt.Sprintf("number %d state %s history %s", c.Seq, short(c.State), short(c.History))
		}
	case bft.TypeViewChange:
		if v, err := ViewChange(e); err == nil {
			var b strings.Builder
			fmt.Fprintf(&b, "to view %d, stable %d", v.View, v.Stable)
			for _, p := range v.Prepared {
				if int(p.PrePrepare) < len(v.Envelopes) {
					if h, err := Header(v.Envelopes[p.PrePrepare]); err == nil {
						d := Proposal(h).Digest()
						fmt.Fprintf(&b, ", prepared %d in view %d %s", h.Seq, h.View, d.Short())
					}
				}
			}
			return b.String()
		}
	case bft.TypeNewView:
		if v, err := NewView(e); err == nil {
			var b strings.Builder
			fmt.Fprintf(&b, "view %d from", v.View)
			for _, r := range v.ViewChanges {
				fmt.Fprintf(&b, " %d", r.Signer)
			}
			for _, p := range v.PrePrepares {
				if h, err := Header(p); err == nil {
					d := Proposal(h).Digest()
					fmt.Fprintf(&b, ", %d %s", h.Seq, d.Short())
				}
			}
			return b.String()
		}
	}
	return fmt.Sprintf("%d bytes that do not decode", len(payload))
}

func describeStatus(s *bftpb.Status) string {
	var more string
	if s.Changing {
		more += " changing"
	}
	if s.Starting {
		more += " starting"
	}
	if s.Slow {
		more += " slow"
	}
	if s.AnswersStart {
		more += fmt.Sprintf(" answers a start with %d", len(s.Newest))
	}
	return fmt.Sprintf("status view %d stable %d executed %d held %x prepared %x committed %x%s",
		s.View, s.Stable, s.Executed, s.Held, s.Prepared, s.Committed, more)
}

func describeData(d *bftpb.Data) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(len(d.Bundles), "bundles")
	add(len(d.Bodies), "bodies")
	if n := len(d.Committed); n > 0 {
		parts = append(parts, fmt.Sprintf("committed %d..%d", d.Committed[0].Seq, d.Committed[n-1].Seq))
	}
	if d.Part != nil {
		parts = append(parts, fmt.Sprintf("part %d/%d of snapshot %d", d.Part.Index, d.Part.Total, d.Part.Seq))
	}
	add(len(d.Checkpoint), "checkpoints")
	if d.Gone != 0 {
		parts = append(parts, fmt.Sprintf("snapshot %d is gone", d.Gone))
	}
	add(len(d.ViewChanges), "view-changes")
	return "data: " + strings.Join(parts, ", ")
}

func short(b []byte) string { return fmt.Sprintf("%x", b[:min(4, len(b))]) }
