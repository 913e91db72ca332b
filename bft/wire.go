package bft

import (
	"encoding/binary"
	"math/bits"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// What is encoded for each bundle, vote or number is encoded here by hand, straight into a buffer of
// the right size: the generated code wants a tree of messages built first, one allocation for each. The bytes are
// those of the generated code (TestWireIsProtobuf). All field numbers are below 16, so that a tag is one byte.

const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// sizeUint is the size of a number's field, which is left out if it is zero.
func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + sizeVarint(v)
}

// sizeField is the size of a field of n bytes that stands even if it is empty, as those of a list do.
func sizeField(n int) int { return 1 + sizeVarint(uint64(n)) + n }

// sizeBytes is the size of a field of n bytes that is left out if it is empty.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return sizeField(n)
}

func appendUint(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, field<<3|wireVarint), v)
}

func appendFixed(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(append(b, field<<3|wireFixed64), v)
}

// appendHead begins a field of n bytes.
func appendHead(b []byte, field byte, n int) []byte {
	return binary.AppendUvarint(append(b, field<<3|wireBytes), uint64(n))
}

func appendBytes(b []byte, field byte, p []byte) []byte {
	if len(p) == 0 {
		return b
	}
	return append(appendHead(b, field, len(p)), p...)
}

// appendDigest leaves out the zero digest.
func appendDigest(b []byte, field byte, d *Digest) []byte {
	if d.IsZero() {
		return b
	}
	return append(appendHead(b, field, len(d)), d[:]...)
}

func sizeDigest(d *Digest) int {
	if d.IsZero() {
		return 0
	}
	return sizeField(len(d))
}

// finished asserts that a message has the size that was reckoned for it.
func finished(b []byte, size int) []byte {
	if len(b) != size {
		panic("bft: encoding an own message: its size was reckoned wrong")
	}
	return b
}

// envelopes

func (e *Envelope) size() int {
	return sizeUint(uint64(e.Type)) + sizeUint(uint64(e.Signer)) + sizeUint(uint64(e.Epoch)) + sizeBytes(len(e.Payload)) + sizeField(len(e.Signature))
}

func (e *Envelope) append(b []byte) []byte {
	b = appendUint(b, 1, uint64(e.Type))
	b = appendUint(b, 2, uint64(e.Signer))
	b = appendUint(b, 3, uint64(e.Epoch))
	b = appendBytes(b, 4, e.Payload)
	return append(appendHead(b, 5, len(e.Signature)), e.Signature[:]...)
}

func appendEnvelope(b []byte, field byte, e *Envelope) []byte {
	return e.append(appendHead(b, field, e.size()))
}

func sizeVotes(vs []*votes) (n int) {
	for _, v := range vs {
		n += sizeField(v.env.size())
	}
	return n
}

func appendVotes(b []byte, field byte, vs []*votes) []byte {
	for _, v := range vs {
		b = appendEnvelope(b, field, v.env)
	}
	return b
}

func encodeEnvelope(e *Envelope) []byte {
	size := e.size()
	return finished(e.append(make([]byte, 0, size)), size)
}

func envelopeFrame(e *Envelope) []byte {
	size := 1 + e.size()
	return finished(e.append(append(make([]byte, 0, size), byte(e.Type))), size)
}

// Bodies. On the wire a body is a message with the digests of its bundles, and the updates if it has any.

func (c *content) size() int { return sizeBytes(32*len(c.list)) + sizeBytes(len(c.updates)) }

func (c *content) append(b []byte, field byte) []byte {
	b = appendHead(b, field, c.size())
	if len(c.list) > 0 {
		b = appendHead(b, 1, 32*len(c.list))
	}
	for i := range c.list {
		b = append(b, c.list[i][:]...)
	}
	return appendBytes(b, 2, c.updates)
}

func prePrepareFrame(e *Envelope, c content) []byte {
	size := 1 + sizeField(e.size()) + sizeField(c.size())
	b := append(make([]byte, 0, size), byte(TypePrePrepare))
	return finished(c.append(appendEnvelope(b, 1, e), 2), size)
}

// votes

func encodeHeader(v View, s Seq, p Proposal) []byte {
	size := sizeUint(uint64(v)) + sizeUint(uint64(s)) + sizeDigest(&p.Body)
	if p.Time != 0 {
		size += 1 + 8
	}
	b := appendUint(make([]byte, 0, size), 1, uint64(v))
	b = appendDigest(appendUint(b, 2, uint64(s)), 3, &p.Body)
	return finished(appendFixed(b, 4, uint64(p.Time)), size)
}

func (x *vote) size() int {
	return sizeUint(uint64(x.phase)) + sizeUint(uint64(x.seq)) + sizeField(len(x.digest))
}

func encodeVotes(v View, vs []vote) []byte {
	size := sizeUint(uint64(v))
	for i := range vs {
		size += sizeField(vs[i].size())
	}
	b := appendUint(make([]byte, 0, size), 1, uint64(v))
	for i := range vs {
		x := &vs[i]
		b = appendHead(b, 2, x.size())
		b = appendUint(b, 1, uint64(x.phase))
		b = appendUint(b, 2, uint64(x.seq))
		b = append(appendHead(b, 3, len(x.digest)), x.digest[:]...)
	}
	return finished(b, size)
}

// records

func encodePrepared(c *preparedCert) []byte {
	size := sizeField(c.pre.env.size()) + sizeVotes(c.votes)
	b := appendEnvelope(make([]byte, 0, size), 1, c.pre.env)
	return finished(appendVotes(b, 2, c.votes), size)
}

// encodeCommitted leaves out the bundles and updates, which stand in the body's record.
func encodeCommitted(c *committed) []byte {
	list := content{list: c.body}
	size := sizeUint(uint64(c.seq)) + sizeUint(uint64(c.view)) + sizeDigest(&c.prop.Body) + sizeField(list.size()) + sizeVotes(c.votes)
	if c.prop.Time != 0 {
		size += 1 + 8
	}
	b := appendUint(make([]byte, 0, size), 1, uint64(c.seq))
	b = appendUint(b, 2, uint64(c.view))
	b = appendDigest(b, 3, &c.prop.Body)
	b = appendFixed(b, 4, uint64(c.prop.Time))
	b = list.append(b, 5)
	return finished(appendVotes(b, 7, c.votes), size)
}

func encodeBody(x *body) []byte {
	size := sizeField(x.size())
	for _, u := range x.bundles {
		size += sizeField(u.requestSize(0))
	}
	b := make([]byte, 0, size)
	for _, u := range x.bundles {
		b = u.appendRequest(appendHead(b, 1, u.requestSize(0)), 0)
	}
	return finished(x.append(b, 2), size)
}

// bundles

func (b *Bundle) payloadSize() int {
	n := sizeField(len(b.Client)) + sizeUint(uint64(b.Session)) + sizeUint(b.First) + sizeUint(b.AnsweredBelow)
	if b.Opens() {
		n += sizeField(len(b.Nonce))
	}
	if b.NotAfter != 0 {
		n += 1 + 8
	}
	for _, op := range b.Ops {
		n += sizeField(len(op))
	}
	if b.Expires != 0 {
		n += 1 + 8
	}
	if b.Close {
		n += 2
	}
	if c := b.Claim; c != nil {
		n += sizeBytes(len(c.Instance)) + sizeUint(uint64(c.Replace)) + sizeUint(uint64(c.Grace)) + sizeUint(uint64(c.Lease))
	}
	return n
}

// EncodeBundle gives the payload that the client signs.
func EncodeBundle(b *Bundle) []byte {
	size := b.payloadSize()
	p := append(appendHead(make([]byte, 0, size), 1, len(b.Client)), b.Client[:]...)
	p = appendUint(p, 2, uint64(b.Session))
	if b.Opens() {
		p = append(appendHead(p, 3, len(b.Nonce)), b.Nonce[:]...)
	}
	p = appendFixed(p, 4, uint64(b.NotAfter))
	p = appendUint(p, 5, b.First)
	for _, op := range b.Ops {
		p = append(appendHead(p, 6, len(op)), op...)
	}
	p = appendUint(p, 7, b.AnsweredBelow)
	p = appendFixed(p, 8, uint64(b.Expires))
	if b.Close {
		p = appendUint(p, 9, 1)
	}
	if c := b.Claim; c != nil {
		p = appendBytes(p, 10, []byte(c.Instance))
		p = appendUint(p, 11, uint64(c.Replace))
		p = appendUint(p, 12, uint64(c.Grace))
		p = appendUint(p, 13, uint64(c.Lease))
	}
	return finished(p, size)
}

func (b *Bundle) requestSize(replier ReplicaID) int {
	return sizeBytes(len(b.Payload)) + sizeField(len(b.Signature)) + sizeUint(uint64(replier))
}

func (b *Bundle) appendRequest(p []byte, replier ReplicaID) []byte {
	p = appendBytes(p, 1, b.Payload)
	p = append(appendHead(p, 2, len(b.Signature)), b.Signature[:]...)
	return appendUint(p, 3, uint64(replier))
}

// RequestFrame encodes a signed bundle for replicas, all of which shall answer. Replier is who shall answer in full.
func RequestFrame(b *Bundle, replier ReplicaID) []byte { return AskingFrame(b, replier, 0) }

// AskingFrame encodes a signed bundle for replicas of which those in asked shall answer: bit i is that of replica i,
// 0 means all of them.
func AskingFrame(b *Bundle, replier ReplicaID, asked uint64) []byte {
	size := 1 + b.requestSize(replier) + sizeUint(asked)
	return finished(appendUint(b.appendRequest(append(make([]byte, 0, size), byte(TypeRequest)), replier), 4, asked), size)
}

// request is the bundle as it stands in messages with several.
func (b *Bundle) request(replier ReplicaID) *bftpb.Request {
	return &bftpb.Request{Payload: b.Payload, Signature: b.Signature[:], Replier: uint32(replier)}
}

// replies

func encodeReply(p *Reply) []byte {
	size := 1 + sizeUint(uint64(p.Session)) + sizeUint(p.First) + sizeDigest(&p.Digest) + sizeUint(uint64(p.View))
	if p.Opening {
		size += sizeField(len(p.Nonce))
	}
	for _, r := range p.Results {
		size += sizeField(len(r))
	}
	b := appendUint(append(make([]byte, 0, size), byte(TypeReply)), 1, uint64(p.Session))
	if p.Opening {
		b = append(appendHead(b, 2, len(p.Nonce)), p.Nonce[:]...)
	}
	b = appendUint(b, 3, p.First)
	for _, r := range p.Results {
		b = append(appendHead(b, 4, len(r)), r...)
	}
	b = appendDigest(b, 5, &p.Digest)
	return finished(appendUint(b, 6, uint64(p.View)), size)
}

// What is read for each bundle or vote is read into messages of known type: through the interface that decode takes,
// they would be allocated.

func decodeRequestPB(p *bftpb.Request, b []byte) bool {
	return p.UnmarshalVTUnsafe(b) == nil && p.Strict() && p.SizeVT() == len(b)
}

func decodeEnvelopePB(p *bftpb.Envelope, b []byte) bool {
	return p.UnmarshalVTUnsafe(b) == nil && p.Strict() && p.SizeVT() == len(b)
}

func decodeBundlePB(p *bftpb.Bundle, b []byte) bool {
	return p.UnmarshalVTUnsafe(b) == nil && p.Strict() && p.SizeVT() == len(b)
}

func decodeHeaderPB(p *bftpb.Header, b []byte) bool {
	return p.UnmarshalVTUnsafe(b) == nil && p.Strict() && p.SizeVT() == len(b)
}

func decodeReplyPB(p *bftpb.Reply, b []byte) bool {
	return p.UnmarshalVTUnsafe(b) == nil && p.Strict() && p.SizeVT() == len(b)
}

// decodeVotes reads the payload of votes into vs, or fails if it is not the shortest encoding of 1 to maxVotes votes.
func decodeVotes(b []byte, vs *[maxVotes]vote) (v View, count int, ok bool) {
	view, b, ok := readUint(b, 1)
	for ok && len(b) > 0 && count < maxVotes {
		var x []byte
		if x, b, ok = readField(b, 2); !ok {
			break
		}
		var phase, seq uint64
		var d []byte
		if phase, x, ok = readUint(x, 1); !ok {
			break
		}
		if seq, x, ok = readUint(x, 2); !ok {
			break
		}
		if d, x, ok = readField(x, 3); !ok || len(d) != len(Digest{}) || len(x) != 0 || phase > uint64(PhaseCommit) {
			return 0, 0, false
		}
		vs[count] = vote{Phase(phase), Seq(seq), Digest(d)}
		count++
	}
	return View(view), count, ok && len(b) == 0 && count > 0
}

// readUint reads the field of a number, if it stands there; zero does not.
func readUint(b []byte, field byte) (v uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != field<<3|wireVarint {
		return 0, b, true
	}
	v, rest, ok = uvarint(b[1:])
	n := len(b) - len(rest)
	// The tenth byte of a number has one bit.
	return v, rest, ok && v != 0 && n == sizeUint(v) && (n <= 10 || b[10] == 1)
}

// readField reads a field of bytes, which must stand there.
func readField(b []byte, field byte) (p, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != field<<3|wireBytes {
		return nil, nil, false
	}
	n, rest, ok := uvarint(b[1:])
	if !ok || n > uint64(len(rest)) || len(b)-len(rest) != 1+sizeVarint(n) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}
