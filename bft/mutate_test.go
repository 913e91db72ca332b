package bft_test

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// mutation makes a lie of a true message: it changes some of its fields and signs it again with the
// liar's key. draw decides what is changed.
type mutation struct {
	c      *cluster
	signer int
	draw   func() int
}

// number moves a number a little, far, or to an edge.
func (m *mutation) number(x uint64) uint64 {
	switch k := m.draw(); k % 8 {
	case 0:
		return x + 1
	case 1:
		return x - 1
	case 2:
		return x + uint64(k)
	case 3:
		return uint64(k % 40)
	case 4:
		return 1<<62 - uint64(k%2)
	case 5:
		return x + 1<<uint(k%40)
	}
	return x
}

func (m *mutation) digest(d []byte) []byte {
	if len(d) == 0 || m.draw()%2 == 0 {
		return d
	}
	out := append([]byte(nil), d...)
	out[m.draw()%len(out)] ^= 1
	return out
}

// list drops, doubles or swaps elements.
func list[T any](m *mutation, xs []T) []T {
	if len(xs) == 0 {
		return xs
	}
	i := m.draw() % len(xs)
	switch m.draw() % 5 {
	case 0:
		return append(append([]T(nil), xs[:i]...), xs[i+1:]...)
	case 1:
		return append(append([]T(nil), xs...), xs[i])
	case 2:
		out := append([]T(nil), xs...)
		out[0], out[i] = out[i], out[0]
		return out
	case 3:
		return xs[:i]
	}
	return xs
}

// spoil gives the frame of a lie, or nil if the message is not of the kind.
func (m *mutation) spoil(frame []byte) []byte {
	kind := bft.MessageType(frame[0])
	switch kind {
	case bft.TypeVotes, bft.TypeCheckpoint, bft.TypeViewChange, bft.TypeNewView:
		var e bftpb.Envelope
		must(m.c.t, e.UnmarshalVT(frame[1:]))
		return m.c.framed(m.envelope(&e))
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		must(m.c.t, p.UnmarshalVT(frame[1:]))
		if m.draw()%3 == 0 {
			p.Body.Bundles = m.digest(p.Body.Bundles)
		}
		p.Header = m.envelope(p.Header)
		return m.c.frame(kind, &p)
	case bft.TypeStatus:
		var p bftpb.Status
		must(m.c.t, p.UnmarshalVT(frame[1:]))
		p.View, p.Stable, p.Executed = m.number(p.View), m.number(p.Stable), m.number(p.Executed)
		p.Echo, p.EchoDelay, p.Sent = int64(m.number(uint64(p.Echo))), int64(m.number(uint64(p.EchoDelay))), int64(m.number(uint64(p.Sent)))
		p.Held, p.Committed, p.Starting = m.number(p.Held), m.number(p.Committed), m.draw()%2 == 0
		return m.c.frame(kind, &p)
	case bft.TypeFetch:
		var p bftpb.Fetch
		must(m.c.t, p.UnmarshalVT(frame[1:]))
		p.Kind, p.From, p.To, p.Digests = uint32(m.number(uint64(p.Kind))), m.number(p.From), m.number(p.To), m.digest(p.Digests)
		return m.c.frame(kind, &p)
	case bft.TypeData:
		var p bftpb.Data
		must(m.c.t, p.UnmarshalVT(frame[1:]))
		m.data(&p)
		return m.c.frame(kind, &p)
	case bft.TypeRequest:
		return frame
	}
	return nil
}

func (m *mutation) data(p *bftpb.Data) {
	p.Bundles, p.Bodies, p.Committed = list(m, p.Bundles), list(m, p.Bodies), list(m, p.Committed)
	p.Checkpoint, p.ViewChanges = list(m, p.Checkpoint), list(m, p.ViewChanges)
	for _, x := range p.Committed {
		x.Seq, x.View, x.Votes, x.Bundles = m.number(x.Seq), m.number(x.View), list(m, x.Votes), list(m, x.Bundles)
	}
	if p.Part != nil {
		p.Part.Index, p.Part.Total, p.Part.Seq = uint32(m.number(uint64(p.Part.Index))), uint32(m.number(uint64(p.Part.Total))), m.number(p.Part.Seq)
	}
	for i := range p.Checkpoint {
		if p.Checkpoint[i].Signer == uint32(m.signer) {
			p.Checkpoint[i] = m.envelope(p.Checkpoint[i])
		}
	}
}

// envelope changes the payload and has the liar sign it.
func (m *mutation) envelope(e *bftpb.Envelope) *bftpb.Envelope {
	kind := bft.MessageType(e.Type)
	var payload wire
	switch kind {
	case bft.TypeVotes:
		var p bftpb.Votes
		must(m.c.t, p.UnmarshalVT(e.Payload))
		p.View = m.number(p.View)
		for _, v := range p.Votes {
			v.Seq, v.Digest = m.number(v.Seq), m.digest(v.Digest)
			if m.draw()%4 == 0 {
				v.Phase = 3 - v.Phase
			}
		}
		p.Votes = list(m, p.Votes)
		payload = &p
	case bft.TypePrePrepare:
		var p bftpb.Header
		must(m.c.t, p.UnmarshalVT(e.Payload))
		p.View, p.Seq, p.Body = m.number(p.View), m.number(p.Seq), m.digest(p.Body)
		if m.draw()%3 == 0 {
			p.Time = int64(m.number(uint64(p.Time)))
		}
		payload = &p
	case bft.TypeCheckpoint:
		var p bftpb.Checkpoint
		must(m.c.t, p.UnmarshalVT(e.Payload))
		p.Seq, p.State = m.number(p.Seq), m.digest(p.State)
		payload = &p
	case bft.TypeViewChange:
		var p bftpb.ViewChange
		must(m.c.t, p.UnmarshalVT(e.Payload))
		p.View, p.Stable = m.number(p.View), m.number(p.Stable)
		p.Checkpoint, p.Prepared = list(m, p.Checkpoint), list(m, p.Prepared)
		if m.draw()%2 == 0 {
			p.Envelopes = list(m, p.Envelopes)
		}
		for _, x := range p.Prepared {
			x.Seq, x.Votes = m.number(x.Seq), list(m, x.Votes)
		}
		payload = &p
	case bft.TypeNewView:
		var p bftpb.NewView
		must(m.c.t, p.UnmarshalVT(e.Payload))
		p.View = m.number(p.View)
		p.ViewChanges, p.PrePrepares = list(m, p.ViewChanges), list(m, p.PrePrepares)
		for i := range p.PrePrepares {
			if m.draw()%2 == 0 {
				p.PrePrepares[i] = m.envelope(p.PrePrepares[i])
			}
		}
		payload = &p
	default:
		return e
	}
	return m.c.envelope(m.signer, kind, payload)
}
