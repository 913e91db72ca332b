package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc64"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// promises watches what honest replicas sign and send: oracles S6, S8, S9 and D2.
type promises struct {
	*verdict
	judge *wire.Judge
	of    []memberPromises
	// viewChanges counts the views that were entered.
	viewChanges int
	views       bft.View
}

// memberPromises is what one member has bound itself to.
type memberPromises struct {
	// signed is what this life asked to have signed, left what ever left the process: a vote that
	// was lost in a crash before anybody saw it binds nobody.
	signed, left map[promiseKey]bft.Digest
	// needs tells, for what was signed in this life, which record must be durable before it leaves.
	needs map[bft.Digest]bft.LSN
	// written are the records of votes of this life.
	written map[string]bft.LSN
	// seen are the large frames that were checked in this life, by checksum: they are sent often.
	seen map[uint64]bool
	// view and stable are where the replica stands in this life; views and stables are what it has
	// told others.
	view       bft.View
	stable     bft.Seq
	leftView   bft.View
	leftStable bft.Seq
	amnesiac   bool // it has lost records
}

// promiseKey is what one signature may name one digest for.
type promiseKey struct {
	what bft.MessageType
	// phase is that of a vote; the pre-prepare is the primary's.
	phase bft.Phase
	view  uint64
	seq   uint64
}

func (k promiseKey) String() string {
	switch k.what {
	case bft.TypeVotes:
		return fmt.Sprintf("%v of number %d in view %d", k.phase, k.seq, k.view)
	case bft.TypeCheckpoint:
		return fmt.Sprintf("checkpoint of number %d", k.seq)
	}
	return fmt.Sprintf("%v to view %d", k.what, k.view)
}

func newPromises(v *verdict, judge *wire.Judge, n int) *promises {
	p := &promises{verdict: v, judge: judge, of: make([]memberPromises, n)}
	for i := range p.of {
		p.of[i].left = make(map[promiseKey]bft.Digest)
		p.of[i].born()
	}
	return p
}

func (m *memberPromises) born() {
	m.signed, m.needs, m.written = make(map[promiseKey]bft.Digest), make(map[bft.Digest]bft.LSN), make(map[string]bft.LSN)
	m.seen = make(map[uint64]bool)
}

// lost notes that the disk of a replica has lost records: it need not know what it promised, but it must not
// promise anything else (rule 19).
func (p *promises) lost(id bft.ReplicaID) {
	m := &p.of[id]
	m.amnesiac, m.leftView, m.leftStable = true, 0, 0
}

// started begins a new life of a replica, which must know what it promised in earlier ones (S8).
func (p *promises) started(id bft.ReplicaID, info bft.Info) {
	m := &p.of[id]
	m.born()
	if info.View < m.leftView {
		p.fail("S8", "replica %d restarts in view %d, but has told others that it is in %d", id, info.View, m.leftView)
	}
	if info.Stable < m.leftStable {
		p.fail("S8", "replica %d restarts with the low watermark %d, but has shown others %d", id, info.Stable, m.leftStable)
	}
	m.view, m.stable = info.View, info.Stable
}

// observe checks that a replica does not go back (S8).
func (p *promises) observe(id bft.ReplicaID, info bft.Info) {
	m := &p.of[id]
	if info.View < m.view || info.Stable < m.stable {
		p.fail("S8", "replica %d goes back from view %d, low watermark %d to %d, %d", id, m.view, m.stable, info.View, info.Stable)
	}
	if info.View > m.view {
		p.viewChanges++
		p.views = max(p.views, info.View)
	}
	if info.Amnesiac != "" && !m.amnesiac {
		p.fail("S8", "replica %d takes itself for amnesiac, but has lost nothing: %s", id, info.Amnesiac)
	}
	if info.Diverged != "" {
		p.fail("S7", "honest replica %d has diverged: %s", id, info.Diverged)
	}
	m.view, m.stable = info.View, info.Stable
}

// ready notes what a replica asks to have signed, and which records that binds. before is the
// number of the last record of earlier Readys.
func (p *promises) ready(id bft.ReplicaID, r *bft.Ready, before bft.LSN) {
	m := &p.of[id]
	for i := range r.Sign {
		s, err := wire.ParseSigned(r.Sign[i].Message)
		if err != nil {
			p.fail("S9", "replica %d signs something that is no envelope", id)
			continue
		}
		e := &bftpb.Envelope{Type: uint32(s.Type), Payload: s.Payload}
		for _, c := range claims(e) {
			if was, ok := m.signed[c.key]; ok && was != c.digest {
				p.fail("S9", "replica %d signs two digests for the %v: %s and %s", id, c.key, was.Short(), c.digest.Short())
			}
			if was, ok := m.left[c.key]; ok && was != c.digest {
				p.fail("S9", "replica %d signs two digests for the %v: %s, in an earlier life, and %s", id, c.key, was.Short(), c.digest.Short())
			}
			m.signed[c.key] = c.digest
		}
		// What is signed once more, for those who missed it, binds no more than it did.
		if k := payloadKey(s.Type, s.Payload); s.Type != bft.TypeVotes && m.needs[k] == 0 {
			m.needs[k] = needed(s, r.Records, before)
		}
	}
	for i := range r.Records {
		if k := r.Records[i].Key; len(k) == voteKeyLen && r.Records[i].To == nil {
			m.written[string(k)] = r.Records[i].LSN
		}
	}
}

// The records that votes bind, see bft/restore.go: a letter, number and view.
const (
	keyAccepted = 'a' // the prepare
	keyPrepared = 'p' // the commit
	keyProposed = 'o' // the pre-prepare
	voteKeyLen  = 17
)

// voteKey is the key of the record that a vote binds.
func voteKey(k promiseKey) string {
	kind := byte(keyAccepted)
	switch k.phase {
	case bft.PhaseCommit:
		kind = keyPrepared
	case bft.PhasePrePrepare:
		kind = keyProposed
	}
	b := binary.BigEndian.AppendUint64([]byte{kind}, k.seq)
	return string(binary.BigEndian.AppendUint64(b, k.view))
}

// checkVote checks that the record which a vote binds is durable: one of this life up to that
// number, one of an earlier life on the disk.
func (p *promises) checkVote(id bft.ReplicaID, k promiseKey, d *disk) {
	m := &p.of[id]
	key := voteKey(k)
	if _, stored := d.records[key]; stored {
		return
	}
	lsn, written := m.written[key]
	switch {
	case !written && bft.Seq(k.seq) > m.stable:
		p.fail("D2", "the %v of replica %d leaves, and there is no record of it", k, id)
	case written && lsn > d.durable:
		p.fail("D2", "the %v of replica %d leaves when records are durable up to %d, but it binds record %d", k, id, d.durable, lsn)
	}
}

// needed is the number of the record that must be durable before a signed message leaves: rule
// 16. It is preceded at least by the records of earlier turns; if its bytes are found in a record
// of this one, it is bound to that. Votes have records that are found by their keys.
func needed(s *wire.Signed, records []bft.Record, before bft.LSN) bft.LSN {
	sought := s.Payload
	// All replicas say the same at a checkpoint, so their certificate has these bytes too, and
	// binds nothing of this one's.
	// A pre-prepare stands within its record; of the others a few bytes may stand in any by chance.
	whole := s.Type != bft.TypePrePrepare
	for i := range records {
		if v := records[i].Value; whole && bytes.Equal(v, sought) || !whole && bytes.Contains(v, sought) {
			return records[i].LSN
		}
	}
	return before
}

func payloadKey(t bft.MessageType, payload []byte) bft.Digest {
	return crypto.Hash("payload", []byte{byte(t)}, payload)
}

// sent checks a frame that an honest replica sends: what it promises must be durable (D2), not
// contradict an earlier promise (S9), and hold only certificates that are ones (S6).
func (p *promises) sent(id bft.ReplicaID, frame []byte, d *disk) {
	m := &p.of[id]
	switch wire.TypeOf(frame) {
	case bft.TypeViewChange, bft.TypeNewView, bft.TypeData:
		sum := crc64.Checksum(frame, crcTable)
		if m.seen[sum] {
			return // said again, as it was
		}
		m.seen[sum] = true
	}
	if err := p.judge.Frame(frame); err != nil {
		p.fail("S6", "replica %d shows others as proof: %v", id, err)
	}
	e := wire.Envelope(frame)
	if e == nil || e.Signer != uint32(id) {
		return
	}
	if need, ok := m.needs[payloadKey(bft.MessageType(e.Type), e.Payload)]; ok && need > d.durable && !m.said(e) {
		p.fail("D2", "a %v of replica %d leaves (%s) when records are durable up to %d, but it binds record %d",
			bft.MessageType(e.Type), id, wire.DescribePayload(bft.MessageType(e.Type), e.Payload), d.durable, need)
	}
	for _, c := range claims(e) {
		if was, ok := m.left[c.key]; ok && was != c.digest {
			p.fail("S9", "replica %d sends two digests for the %v: %s and %s", id, c.key, was.Short(), c.digest.Short())
		}
		m.left[c.key] = c.digest
		if c.key.what == bft.TypeVotes {
			p.checkVote(id, c.key, d)
		}
		if c.key.what != bft.TypeCheckpoint {
			m.leftView = max(m.leftView, bft.View(c.key.view))
		}
	}
	if v, err := wire.ViewChange(e); err == nil {
		m.leftStable = max(m.leftStable, bft.Seq(v.Stable))
	}
}

// said tells whether all that an envelope binds its signer to has left before: in an earlier life, when its record was
// durable.
func (m *memberPromises) said(e *bftpb.Envelope) bool {
	all := claims(e)
	for _, c := range all {
		if was, ok := m.left[c.key]; !ok || was != c.digest {
			return false
		}
	}
	return len(all) > 0
}

type claim struct {
	key    promiseKey
	digest bft.Digest
}

// claims lists what an envelope binds its signer to.
func claims(e *bftpb.Envelope) []claim {
	whole := crypto.Hash("whole", e.Payload)
	switch t := bft.MessageType(e.Type); t {
	case bft.TypePrePrepare:
		if h, err := wire.Header(e); err == nil {
			return []claim{{promiseKey{bft.TypeVotes, bft.PhasePrePrepare, h.View, h.Seq}, wire.Proposal(h).Digest()}}
		}
	case bft.TypeVotes:
		if v, err := wire.Votes(e); err == nil {
			out := make([]claim, len(v.Votes))
			for i, x := range v.Votes {
				out[i] = claim{promiseKey{bft.TypeVotes, bft.Phase(x.Phase), v.View, x.Seq}, wire.DigestOf(x.Digest)}
			}
			return out
		}
	case bft.TypeCheckpoint:
		if c, err := wire.Checkpoint(e); err == nil {
			return []claim{{promiseKey{what: t, seq: c.Seq}, whole}}
		}
	case bft.TypeViewChange:
		if v, err := wire.ViewChange(e); err == nil {
			return []claim{{promiseKey{what: t, view: v.View}, whole}}
		}
	case bft.TypeNewView:
		if v, err := wire.NewView(e); err == nil {
			return []claim{{promiseKey{what: t, view: v.View}, whole}}
		}
	}
	return nil
}

// describeSigned says what a member signs.
func describeSigned(message []byte) string {
	s, err := wire.ParseSigned(message)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v: %s", s.Type, wire.DescribePayload(s.Type, s.Payload))
}
