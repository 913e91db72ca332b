package byz

import (
	"cmp"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// witness is a conspirator whose own view-changes say something else than its replica would have them
// say: the same each time that one is sent, also where new-views name it and where it is served.
type witness struct {
	conspirator
	// altered are the view-changes as they were sent, by the digest of the true one.
	altered map[bft.Digest]*bftpb.Envelope
	// testify makes another testimony of a true one, and is false if it leaves it at that.
	testify func(t *testimony) bool
}

func newWitness(env Env) witness {
	return witness{conspirator: newConspirator(env), altered: make(map[bft.Digest]*bftpb.Envelope)}
}

// testimony is what a view-change says.
type testimony struct {
	view, stable uint64
	checkpoint   []*bftpb.Envelope
	// prepared are the certificates, by number.
	prepared []certificate
}

// certificate is a prepared certificate.
type certificate struct {
	seq, view uint64
	pre       *bftpb.Envelope
	votes     []*bftpb.Envelope
}

// read takes a view-change apart. It is false if there is a hole in it.
func read(e *bftpb.Envelope) (*testimony, bool) {
	v, err := wire.ViewChange(e)
	if err != nil {
		return nil, false
	}
	ok := true
	at := func(i uint32) *bftpb.Envelope {
		if int64(i) >= int64(len(v.Envelopes)) {
			ok = false
			return nil
		}
		return v.Envelopes[i]
	}
	t := &testimony{view: v.View, stable: v.Stable}
	for _, i := range v.Checkpoint {
		t.checkpoint = append(t.checkpoint, at(i))
	}
	for _, p := range v.Prepared {
		c := certificate{seq: p.Seq, pre: at(p.PrePrepare)}
		for _, i := range p.Votes {
			c.votes = append(c.votes, at(i))
		}
		if h, err := wire.Header(c.pre); err == nil {
			c.view = h.View
			t.prepared = append(t.prepared, c)
		}
	}
	return t, ok
}

// payload puts a view-change together, each envelope once, the certificates in the order of their numbers.
func (t *testimony) payload() []byte {
	v := &bftpb.ViewChange{View: t.view, Stable: t.stable}
	for _, e := range t.checkpoint {
		v.Checkpoint = append(v.Checkpoint, index(v, e))
	}
	slices.SortStableFunc(t.prepared, func(a, b certificate) int { return cmp.Compare(a.seq, b.seq) })
	for _, c := range t.prepared {
		v.Prepared = append(v.Prepared, c.into(v, c.seq))
	}
	return wire.Marshal(v)
}

// into adds the certificate's envelopes to a view-change, as one for number seq.
func (c *certificate) into(v *bftpb.ViewChange, seq uint64) *bftpb.Prepared {
	p := &bftpb.Prepared{Seq: seq, PrePrepare: index(v, c.pre)}
	for _, e := range c.votes {
		p.Votes = append(p.Votes, index(v, e))
	}
	return p
}

// index tells where an envelope stands in a view-change, to which it is added if it is not there.
func index(v *bftpb.ViewChange, e *bftpb.Envelope) uint32 {
	i := slices.IndexFunc(v.Envelopes, func(x *bftpb.Envelope) bool { return same(x, e) })
	if i < 0 {
		i = len(v.Envelopes)
		v.Envelopes = append(v.Envelopes, e)
	}
	return uint32(i)
}

// put makes c the certificate of its number.
func (t *testimony) put(c certificate) {
	t.prepared = slices.DeleteFunc(t.prepared, func(x certificate) bool { return x.seq == c.seq })
	t.prepared = append(t.prepared, c)
}

// Send implements Adversary.
func (a *witness) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypeViewChange && a.own(e):
		return []bft.Outbound{{To: out.To, Frame: a.envelopeFrame(a.alter(e))}}
	case t == bft.TypeNewView && a.own(e):
		return []bft.Outbound{{To: out.To, Frame: a.newView(e, out.Frame)}}
	case t == bft.TypeData:
		return []bft.Outbound{{To: out.To, Frame: a.data(out.Frame)}}
	}
	return []bft.Outbound{out}
}

// alter makes another view-change of an own one, once.
func (a *witness) alter(e *bftpb.Envelope) *bftpb.Envelope {
	d := wire.Digest(e)
	if was, ok := a.altered[d]; ok {
		if was != e {
			a.lie("altered view-change, again")
		}
		return was
	}
	a.altered[d] = e
	if t, ok := read(e); ok && a.testify(t) {
		a.altered[d] = a.Seal(bft.TypeViewChange, t.payload())
	}
	return a.altered[d]
}

// newView makes an own new-view name the own view-change as it was sent.
func (a *witness) newView(e *bftpb.Envelope, frame []byte) []byte {
	v, err := wire.NewView(e)
	if err != nil {
		return frame
	}
	changed := false
	for _, r := range v.ViewChanges {
		if was, ok := a.altered[wire.DigestOf(r.Digest)]; ok {
			if d := wire.Digest(was); d != wire.DigestOf(r.Digest) {
				r.Digest = d[:]
				changed = true
			}
		}
	}
	if !changed {
		return frame
	}
	a.lie("new-view from an altered view-change")
	return a.seal(bft.TypeNewView, wire.Marshal(v))
}

// data alters the own view-change where it is served to others.
func (a *witness) data(frame []byte) []byte {
	var d bftpb.Data
	if wire.Read(bft.TypeData, frame, &d) != nil || len(d.ViewChanges) == 0 {
		return frame
	}
	for i, e := range d.ViewChanges {
		if a.own(e) {
			d.ViewChanges[i] = a.alter(e)
		}
	}
	return wire.Frame(bft.TypeData, &d)
}

// ledBelow is the highest view below another one that an accomplice led, and who it was; false if there is none.
func (b *base) ledBelow(below uint64) (uint64, *wire.Member, bool) {
	for v := below; v > 0 && below-v < uint64(b.N); {
		v--
		for i := range b.Plan.members {
			if m := &b.Plan.members[i]; m.Self == b.primary(v) {
				return v, m, true
			}
		}
	}
	return 0, nil, false
}

// prepare is the payload of a prepare for one proposal.
func prepare(s slot, digest bft.Digest) []byte {
	return wire.Marshal(&bftpb.Votes{View: s.view, Votes: []*bftpb.Vote{{Phase: uint32(bft.PhasePrepare), Seq: s.seq, Digest: digest[:]}}})
}
