package bft

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// drawNumber favours the numbers at which an encoding becomes longer, and zero, which is left out.
func drawNumber(t *rapid.T, label string, bits int) uint64 {
	edge := rapid.IntRange(0, bits).Draw(t, label+" bits")
	if edge == 0 {
		return 0
	}
	return rapid.Uint64Range(1<<(edge-1)-1, 1<<(edge-1)+1).Draw(t, label) & (1<<bits - 1)
}

func drawBytes(t *rapid.T, label string, most int) []byte {
	return rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, label)
}

func wireDigest(t *rapid.T, label string) (d Digest) {
	if rapid.IntRange(0, 3).Draw(t, label+" zero") > 0 {
		copy(d[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, label))
	}
	return d
}

func wireEnvelope(t *rapid.T, kind MessageType) *Envelope {
	e := &Envelope{Type: kind, Signer: ReplicaID(drawNumber(t, "signer", 32)), Epoch: Epoch(drawNumber(t, "epoch", 62)), Payload: drawBytes(t, "payload", 300)}
	copy(e.Signature[:], drawBytes(t, "signature", 64))
	return e
}

func drawList(t *rapid.T) []Digest {
	list := make([]Digest, rapid.IntRange(0, 5).Draw(t, "list"))
	for i := range list {
		list[i] = wireDigest(t, "entry")
	}
	return list
}

func wireVotes(t *rapid.T) (vs []*votes) {
	for range rapid.IntRange(0, 4).Draw(t, "certificate") {
		vs = append(vs, &votes{env: wireEnvelope(t, TypeVotes)})
	}
	return vs
}

func wireBundle(t *rapid.T) *Bundle {
	b := &Bundle{Session: SessionID(drawNumber(t, "session", 62)), First: drawNumber(t, "first", 62), AnsweredBelow: drawNumber(t, "answered", 62),
		Expires: Time(drawNumber(t, "expires", 62)), Close: rapid.Bool().Draw(t, "close"), Payload: drawBytes(t, "payload", 300)}
	for range rapid.IntRange(0, 5).Draw(t, "operations") {
		b.Ops = append(b.Ops, drawBytes(t, "operation", 200))
	}
	if b.Opens() {
		b.NotAfter = Time(drawNumber(t, "not after", 62))
		copy(b.Nonce[:], drawBytes(t, "nonce", 16))
		if rapid.Bool().Draw(t, "claims") {
			b.Claim = &Claim{Instance: string(drawBytes(t, "instance", MaxInstance)), Replace: Replacement(rapid.IntRange(0, 2).Draw(t, "replace")),
				Grace: Time(drawNumber(t, "grace", 62)), Lease: Time(drawNumber(t, "lease", 62))}
		}
	}
	copy(b.Client[:], drawBytes(t, "client", 32))
	copy(b.Signature[:], drawBytes(t, "signature", 64))
	return b
}

// TestWireIsProtobuf: what is encoded by hand has the bytes of the generated code.
func TestWireIsProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		same := func(what string, got []byte, want vtMessage) {
			t.Helper()
			if !bytes.Equal(got, mustMarshal(want)) {
				t.Fatalf("%s: %x, the generated code makes %x", what, got, mustMarshal(want))
			}
		}
		e, list, vs, b := wireEnvelope(t, TypePrePrepare), drawList(t), wireVotes(t), wireBundle(t)
		pbVotes := make([]*bftpb.Envelope, len(vs))
		for i, v := range vs {
			pbVotes[i] = v.env.pb()
		}
		same("envelope", encodeEnvelope(e), e.pb())
		same("envelope frame", envelopeFrame(e)[1:], e.pb())
		body := body{content: content{list, drawBytes(t, "updates", 300)}, bundles: []*Bundle{b, b}}
		same("pre-prepare", prePrepareFrame(e, body.content)[1:], &bftpb.PrePrepare{Header: e.pb(), Body: body.pb()})
		prop := Proposal{Body: wireDigest(t, "body"), Time: Time(drawNumber(t, "time", 62))}
		v, s := View(drawNumber(t, "view", 63)), Seq(drawNumber(t, "seq", 63))
		same("header", encodeHeader(v, s, prop), &bftpb.Header{View: uint64(v), Seq: uint64(s), Body: digestBytes(prop.Body), Time: int64(prop.Time)})
		same("prepared", encodePrepared(&preparedCert{pre: &prePrepare{env: e}, votes: vs}), &bftpb.PreparedRecord{Header: e.pb(), Votes: pbVotes})
		c := &committed{seq: s, view: v, prop: prop, body: list, votes: vs}
		same("committed", encodeCommitted(c), c.pb())
		same("body", encodeBody(&body), &bftpb.Data{Bundles: []*bftpb.Request{b.request(0), b.request(0)},
			Bodies: []*bftpb.Body{{Bundles: joinDigests(list), Updates: body.updates}}})
		replier := ReplicaID(drawNumber(t, "replier", 32))
		same("request", RequestFrame(b, replier)[1:], b.request(replier))
		p := &bftpb.Bundle{Client: b.Client[:], Session: uint64(b.Session), NotAfter: int64(b.NotAfter), First: b.First,
			Operations: b.Ops, AnsweredBelow: b.AnsweredBelow, Expires: int64(b.Expires), Close: b.Close}
		r := &Reply{Session: b.Session, Opening: b.Opens(), Nonce: b.Nonce, First: b.First, Results: b.Ops, Digest: prop.Body, View: v}
		pr := &bftpb.Reply{Session: uint64(b.Session), First: b.First, Results: b.Ops, Digest: digestBytes(prop.Body), View: uint64(v)}
		if b.Opens() {
			p.Nonce, pr.Nonce = b.Nonce[:], b.Nonce[:]
		}
		if c := b.Claim; c != nil {
			p.Instance, p.Replace, p.Grace, p.Lease = []byte(c.Instance), uint32(c.Replace), uint64(c.Grace), uint64(c.Lease)
		}
		same("bundle", EncodeBundle(b), p)
		same("reply", encodeReply(r)[1:], pr)
	})
}

func drawVote(t *rapid.T) vote {
	return vote{Phase(rapid.IntRange(1, 2).Draw(t, "phase")), Seq(drawNumber(t, "seq", 62) | 1), crypto.Hash("vote", drawBytes(t, "digest", 2))}
}

// TestVotesAreReadOneWay: votes are read as they were written, and of all bytes that the generated code
// reads as votes only those that it writes itself are taken.
func TestVotesAreReadOneWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := rapid.SliceOfN(rapid.Custom(drawVote), 1, maxVotes).Draw(t, "votes")
		view := View(drawNumber(t, "view", 63))
		b := encodeVotes(view, vs)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			i := rapid.IntRange(0, len(b)-1).Draw(t, "place")
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				b = append(bytes.Clone(b[:i]), b[i+1:]...)
			case 1:
				b = append(append(bytes.Clone(b[:i]), rapid.Byte().Draw(t, "more")), b[i:]...)
			default:
				b = bytes.Clone(b)
				b[i] = rapid.Byte().Draw(t, "byte")
			}
			if len(b) == 0 {
				return
			}
		}
		got, err := parseVotes(&Envelope{Type: TypeVotes, Payload: b})
		var p bftpb.Votes
		read := p.UnmarshalVT(b) == nil && p.Strict()
		if err != nil {
			if read && bytes.Equal(b, mustMarshal(&p)) && fitVotes(&p) {
				t.Fatalf("%x is refused: %v", b, err)
			}
			return
		}
		if !read || !bytes.Equal(b, mustMarshal(&p)) || !bytes.Equal(b, encodeVotes(got.view, got.votes)) {
			t.Fatalf("%x is taken for %v", b, got.votes)
		}
	})
}

// fitVotes tells whether decoded votes are in range.
func fitVotes(p *bftpb.Votes) bool {
	for _, v := range p.Votes {
		if v.Phase != uint32(PhasePrepare) && v.Phase != uint32(PhaseCommit) || v.Seq == 0 || v.Seq > 1<<62 || len(v.Digest) != len(Digest{}) {
			return false
		}
	}
	return len(p.Votes) >= 1 && len(p.Votes) <= maxVotes
}
