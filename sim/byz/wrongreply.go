package byz

import (
	"bytes"
	"strconv"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Wrong replies.
//
// All f accomplices tell clients the same wrong result, of operations and of reads, in full and
// as a digest, with a view and a number of their choice. With one more that says the same the
// client would believe it.
//
// Aims at: f+1 alike for an operation, a quorum alike for a linearizable read (rule 27), the
// replier who does not deliver (rule 28).
type wrongReply struct{ base }

// Reply implements Adversary.
func (a *wrongReply) Reply(_ bft.ClientID, frame []byte) [][]byte {
	switch wire.TypeOf(frame) {
	case bft.TypeReply:
		var r bftpb.Reply
		if wire.Read(bft.TypeReply, frame, &r) == nil {
			a.lie("wrong reply")
			r.Results, r.Digest = wrong(r.Results, r.Digest)
			return [][]byte{wire.Frame(bft.TypeReply, &r)}
		}
	case bft.TypeAnswer:
		var r bftpb.Answer
		if wire.Read(bft.TypeAnswer, frame, &r) == nil && len(r.Results)+len(r.Digest) > 0 {
			a.lie("wrong answer")
			r.Results, r.Digest = wrong(r.Results, r.Digest)
			return [][]byte{wire.Frame(bft.TypeAnswer, &r)}
		}
	}
	return [][]byte{frame}
}

// wrong makes results that look right. It depends on them alone, so that accomplices agree.
func wrong(results [][]byte, digest []byte) ([][]byte, []byte) {
	var out [][]byte
	for _, r := range results {
		out = append(out, wrongResult(r))
	}
	if len(digest) > 0 {
		digest = bytes.Clone(digest)
		digest[0] ^= 1
	}
	return out, digest
}

// wrongResult turns a result, the status OK and a value, into another that its service gives.
func wrongResult(r []byte) []byte {
	if len(r) == 0 || r[0] != 0 {
		return []byte{0}
	}
	value := r[1:]
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return strconv.AppendInt([]byte{0}, n+1, 10)
	}
	switch {
	case len(value) == 0:
		return []byte{0, 2, 'x'} // the comparison failed
	case value[0] == 0:
		return []byte{0, 1} // not found
	}
	return []byte{0, 0, 'x'} // found
}
