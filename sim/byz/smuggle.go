package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// smuggling puts bundles into own proposals that the replica would not propose, and hands them to whoever
// asks for them. The own replica knows nothing of it.
type smuggling struct {
	base
	// sent are the proposals as they were sent, so that what is sent again is the same.
	sent map[slot][]byte
	// goods are the smuggled bundles, answers what is to be sent to those who asked.
	goods   map[bft.Digest]*bftpb.Request
	answers []bft.Outbound
}

func newSmuggling(env Env) smuggling {
	return smuggling{base: newBase(env), sent: make(map[slot][]byte), goods: make(map[bft.Digest]*bftpb.Request)}
}

// Receive implements Adversary: it sees who asks for what was smuggled.
func (s *smuggling) Receive(from bft.ReplicaID, frame []byte) bool {
	var f bftpb.Fetch
	if len(s.goods) == 0 || wire.Read(bft.TypeFetch, frame, &f) != nil || f.Kind != 1 {
		return true
	}
	var d bftpb.Data
	for list := f.Digests; len(list) >= 32; list = list[32:] {
		if q := s.goods[wire.DigestOf(list[:32])]; q != nil {
			d.Bundles = append(d.Bundles, q)
		}
	}
	if len(d.Bundles) > 0 {
		s.answers = append(s.answers, bft.Outbound{To: from, Frame: wire.Frame(bft.TypeData, &d)})
	}
	return true
}

// hand takes the answers that wait.
func (s *smuggling) hand(name string) []bft.Outbound {
	out := s.answers
	s.answers = nil
	if len(out) > 0 {
		s.lie(name)
	}
	return out
}

// again returns what was sent in place of an own pre-prepare before, if it was.
func (s *smuggling) again(h *bftpb.Header) ([]byte, bool) {
	frame, ok := s.sent[slot{h.View, h.Seq}]
	return frame, ok
}

// smuggle adds the bundle of a request to an own pre-prepare. It is nil if that cannot be.
func (s *smuggling) smuggle(frame, request []byte) []byte {
	var p bftpb.PrePrepare
	var q bftpb.Request
	b := bundleOf(request)
	if b == nil || wire.Read(bft.TypePrePrepare, frame, &p) != nil || wire.Read(bft.TypeRequest, request, &q) != nil {
		return nil
	}
	h, err := wire.Header(p.Header)
	list := bytes.Clone(p.Body.GetBundles())
	if err != nil || h.Time == 0 || containsDigest(list, b.Digest) {
		return nil
	}
	s.goods[b.Digest] = &q
	list = append(list, b.Digest[:]...)
	body := bodyDigest(list)
	h.Body = body[:]
	out := wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: s.Seal(bft.TypePrePrepare, wire.Marshal(h)), Body: &bftpb.Body{Bundles: list}})
	s.sent[slot{h.View, h.Seq}] = out
	return out
}

// containsDigest tells whether a list of digests, one after the other, has one.
func containsDigest(list []byte, d bft.Digest) bool {
	for ; len(list) >= 32; list = list[32:] {
		if bytes.Equal(list[:32], d[:]) {
			return true
		}
	}
	return false
}
