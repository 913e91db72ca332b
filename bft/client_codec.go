package bft

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// The messages between a client and a replica, requests excepted. They are believed from the
// authenticated channel that they come on, and bind nobody towards third parties.

// DigestOver is the total size of results, in bytes, above which replicas other than the named
// replier send their digest instead (rule 28).
const DigestOver = 64

// Consistency says what a query promises; see the constants.
type Consistency uint32

// The consistencies of queries. Ordered reads are not queries but operations.
const (
	// Linearizable: the result reflects every operation that ended before the query began.
	// It takes a quorum that answers alike (rule 27).
	Linearizable Consistency = 1
	// Stale: a state that at least one correct replica had, possibly long ago: f+1 answer alike,
	// so that no liar can make a value up. It says nothing about how old that state is.
	Stale Consistency = 2
)

// String names the consistency.
func (c Consistency) String() string {
	switch c {
	case Linearizable:
		return "linearizable"
	case Stale:
		return "stale"
	}
	return fmt.Sprintf("consistency %d", uint32(c))
}

// Reply answers a bundle, named by its session and First, or by its Nonce if it opened a session.
type Reply struct {
	// Session is that of the bundle, or the one that it opened; 0 if the opening was refused.
	Session SessionID
	// Opening: the bundle opened a session, and Nonce repeats its nonce.
	Opening bool
	Nonce   Nonce
	// First repeats the bundle's.
	First uint64
	// Results has one entry for each operation of the bundle, or a single one for a bundle without
	// operations, unless Digest is set.
	Results [][]byte
	// Digest is ResultsDigest of the results if these are sent by another replica, else zero.
	Digest Digest
	// View is where the replica stands; a hint that nothing depends on.
	View View
}

// Busy says that a bundle was refused for now. It decides nothing: the bundle may still be
// executed, and the client repeats it unchanged (rule 26).
type Busy struct {
	Session SessionID
	Opening bool
	Nonce   Nonce
	First   uint64
}

// Query asks for reads that are not ordered.
type Query struct {
	// ID is the client's name for the query; it comes back in the Answer.
	ID          uint64
	Consistency Consistency
	// Ops has at least one read.
	Ops [][]byte
	// Replier answers in full, or Everyone.
	Replier ReplicaID
}

// Answer answers a Query.
type Answer struct {
	ID uint64
	// Results has one entry for each read, unless Digest is set. Neither set means refused for
	// now: too many reads wait, or the replica may not answer reads.
	Results [][]byte
	Digest  Digest
	// Epoch is the one in which the replica answers as a member.
	Epoch Epoch
	// Executed is the number of the state that was read.
	Executed Seq
}

// Refused tells whether the answer declines to answer.
func (a *Answer) Refused() bool { return len(a.Results) == 0 && a.Digest.IsZero() }

// ResultsDigest stands for the results of a bundle or query, in their order.
func ResultsDigest(results [][]byte) Digest {
	size := 0
	for _, r := range results {
		size += 4 + len(r)
	}
	// Hashing one buffer is several times faster, for many small results, than hashing each.
	var small [256]byte
	b := small[:0]
	if size > len(small) {
		b = make([]byte, 0, size)
	}
	for _, r := range results {
		b = appendField(b, r)
	}
	return crypto.Hash("baluarte/results", b)
}

// InFull tells whether the replica self sends these results in full, given the replier that the
// client named, or only their digest (rule 28).
func InFull(self, replier ReplicaID, results [][]byte) bool {
	if self == replier || replier == Everyone {
		return true
	}
	size := 0
	for _, r := range results {
		if size += len(r); size > DigestOver {
			return false
		}
	}
	return true
}

// ReplyFrame encodes the reply of the replica self to b, for which the client named replier.
// Session is that of b, or the one that it opened; results has at least one entry.
func ReplyFrame(self ReplicaID, view View, b *Bundle, session SessionID, results [][]byte, replier ReplicaID) []byte {
	p := Reply{Session: session, Opening: b.Opens(), Nonce: b.Nonce, First: b.First, View: view}
	if InFull(self, replier, results) {
		p.Results = results
	} else {
		p.Digest = ResultsDigest(results)
	}
	return encodeReply(&p)
}

// BusyFrame encodes the refusal of b for now.
func BusyFrame(b *Bundle) []byte {
	p := bftpb.Busy{Session: uint64(b.Session), First: b.First}
	if b.Opens() {
		p.Nonce = b.Nonce[:]
	}
	return frame(TypeBusy, &p)
}

// QueryFrame encodes q.
func QueryFrame(q *Query) []byte {
	return frame(TypeQuery, &bftpb.Query{Id: q.ID, Consistency: uint32(q.Consistency), Operations: q.Ops,
		Replier: uint32(q.Replier)})
}

// AnswerFrame encodes the answer of the replica self to q. No results refuse the query for now.
func AnswerFrame(self ReplicaID, epoch Epoch, executed Seq, q *Query, results [][]byte) []byte {
	p := bftpb.Answer{Id: q.ID, Epoch: uint64(epoch), Executed: uint64(executed)}
	if InFull(self, q.Replier, results) {
		p.Results = results
	} else {
		d := ResultsDigest(results)
		p.Digest = d[:]
	}
	return frame(TypeAnswer, &p)
}

// DecodeReply reads a Reply frame. The results are parts of frame, not copies.
func DecodeReply(frame []byte) (*Reply, error) {
	r := new(Reply)
	if err := r.decode(frame); err != nil {
		return nil, err
	}
	return r, nil
}

// decode reads a Reply frame into r, which is empty.
func (r *Reply) decode(frame []byte) error {
	body, err := clientBody(TypeReply, frame)
	if err != nil {
		return err
	}
	var p bftpb.Reply
	if p.Results, err = roomFor(body, 4, WindowOps); err != nil {
		return err
	}
	if !decodeReplyPB(&p, body) {
		return fmt.Errorf("%w: reply does not decode", ErrInvalid)
	}
	r.Session, r.First, r.Results, r.View = SessionID(p.Session), p.First, p.Results, View(p.View)
	if r.Opening, err = nonceFrom(p.Nonce, &r.Nonce); err != nil {
		return err
	}
	if err := digestFrom(p.Digest, p.Results, &r.Digest); err != nil {
		return err
	}
	if r.First == 0 || !r.Opening && r.Session == 0 || r.Opening && r.First != 1 {
		return fmt.Errorf("%w: reply that names no bundle", ErrInvalid)
	}
	if len(r.Results) == 0 && r.Digest.IsZero() {
		return fmt.Errorf("%w: reply without results", ErrInvalid)
	}
	return nil
}

// DecodeBusy reads a Busy frame.
func DecodeBusy(frame []byte) (*Busy, error) {
	body, err := clientBody(TypeBusy, frame)
	if err != nil {
		return nil, err
	}
	var p bftpb.Busy
	if !decode(&p, body) {
		return nil, fmt.Errorf("%w: busy does not decode", ErrInvalid)
	}
	b := &Busy{Session: SessionID(p.Session), First: p.First}
	if b.Opening, err = nonceFrom(p.Nonce, &b.Nonce); err != nil {
		return nil, err
	}
	if b.First == 0 || b.Opening != (b.Session == 0) || b.Opening && b.First != 1 {
		return nil, fmt.Errorf("%w: busy that names no bundle", ErrInvalid)
	}
	return b, nil
}

// DecodeQuery reads a Query frame of at most maxOps reads and maxBytes. The reads are parts of
// frame, not copies.
func DecodeQuery(frame []byte, maxOps, maxBytes int) (*Query, error) {
	body, err := clientBody(TypeQuery, frame)
	if err != nil {
		return nil, err
	}
	if len(frame) > maxBytes {
		return nil, fmt.Errorf("%w: query of %d bytes, the limit is %d", ErrInvalid, len(frame), maxBytes)
	}
	var p bftpb.Query
	if p.Operations, err = roomFor(body, 3, maxOps); err != nil {
		return nil, err
	}
	if !decode(&p, body) {
		return nil, fmt.Errorf("%w: query does not decode", ErrInvalid)
	}
	if len(p.Operations) == 0 {
		return nil, fmt.Errorf("%w: query of nothing", ErrInvalid)
	}
	q := &Query{ID: p.Id, Consistency: Consistency(p.Consistency), Ops: p.Operations, Replier: ReplicaID(p.Replier)}
	if q.Consistency != Linearizable && q.Consistency != Stale {
		return nil, fmt.Errorf("%w: query of %v", ErrInvalid, q.Consistency)
	}
	return q, nil
}

// DecodeAnswer reads an Answer frame. The results are parts of frame, not copies.
func DecodeAnswer(frame []byte) (*Answer, error) {
	body, err := clientBody(TypeAnswer, frame)
	if err != nil {
		return nil, err
	}
	var p bftpb.Answer
	if p.Results, err = roomFor(body, 2, WindowOps); err != nil {
		return nil, err
	}
	if !decode(&p, body) {
		return nil, fmt.Errorf("%w: answer does not decode", ErrInvalid)
	}
	a := &Answer{ID: p.Id, Results: p.Results, Epoch: Epoch(p.Epoch), Executed: Seq(p.Executed)}
	if err := digestFrom(p.Digest, p.Results, &a.Digest); err != nil {
		return nil, err
	}
	return a, nil
}

func clientBody(t MessageType, frame []byte) ([]byte, error) {
	switch {
	case len(frame) == 0 || MessageType(frame[0]) != t:
		return nil, fmt.Errorf("%w: not a %v frame", ErrInvalid, t)
	case len(frame) > MaxFrameBytes:
		return nil, fmt.Errorf("%w: %v frame of %d bytes, the limit is %d", ErrInvalid, t, len(frame), MaxFrameBytes)
	}
	return frame[1:], nil
}

func nonceFrom(p []byte, n *Nonce) (opening bool, err error) {
	if len(p) == 0 {
		return false, nil
	}
	if len(p) != len(n) {
		return false, fmt.Errorf("%w: nonce of %d bytes", ErrInvalid, len(p))
	}
	copy(n[:], p)
	return true, nil
}

// digestFrom reads the digest that may stand in place of results.
func digestFrom(p []byte, results [][]byte, d *Digest) error {
	if len(p) == 0 {
		return nil
	}
	if len(p) != len(d) || len(results) != 0 {
		return fmt.Errorf("%w: digest of %d bytes beside %d results", ErrInvalid, len(p), len(results))
	}
	copy(d[:], p)
	if d.IsZero() {
		return fmt.Errorf("%w: zero digest", ErrInvalid)
	}
	return nil
}

// roomFor makes the slice into which the repeated bytes field of body will be decoded. Two bytes
// on the wire make an empty element of 24 bytes in memory, so they are counted before.
func roomFor(body []byte, field uint64, most int) ([][]byte, error) {
	n, err := countField(body, field, most)
	if err != nil || n == 0 {
		return nil, err
	}
	return make([][]byte, 0, n), nil
}

// countField counts the elements of a repeated bytes field, of which there may be so many.
func countField(body []byte, field uint64, most int) (n int, err error) {
	for len(body) > 0 {
		tag, rest, ok := uvarint(body)
		if !ok {
			return 0, errTruncated
		}
		skip := uint64(0)
		switch tag & 7 {
		case wireVarint:
			_, rest, ok = uvarint(rest)
		case wireFixed64:
			skip = 8
		case wireBytes:
			skip, rest, ok = uvarint(rest)
		case wireFixed32:
			skip = 4
		default:
			ok = false
		}
		if !ok || skip > uint64(len(rest)) {
			return 0, errTruncated
		}
		body = rest[skip:]
		if tag == field<<3|wireBytes {
			n++
		}
	}
	if n > most {
		return 0, fmt.Errorf("%w: %d elements, the limit is %d", ErrInvalid, n, most)
	}
	return n, nil
}

var errTruncated = fmt.Errorf("%w: truncated field", ErrInvalid)

func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	for i := 0; i < len(b) && i < 10; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}
