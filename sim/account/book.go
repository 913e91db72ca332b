package account

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Book collects what members signed, as one honest replica saw it, or several together. It forgets
// nothing, so it grows with what it is fed: some hundred bytes for each different envelope,
// beside the envelope itself. What it finds depends on what it was given, not on the order;
// which of several proofs it keeps depends on the order, too.
//
// A Book is not safe for concurrent use.
type Book struct {
	r       *reader
	records []record // by member
	changes map[bft.Digest]*statement
	// waiting are new-views by the digests of view-changes that they name and that are not here yet.
	waiting map[bft.Digest][]*statement
	// envelope is decoded into again and again, so that what is known costs no memory.
	envelope bftpb.Envelope
}

// record is what one member has signed.
type record struct {
	places      map[place]*ballot
	commits     map[bft.Seq][]commit
	checkpoints map[bft.Seq]*statement
	changes     []*statement // sound view-changes, one for each view, ascending
	newViews    map[bft.View]*statement
	found       [kindEnd]*Evidence
}

// place is a number in a view.
type place struct {
	view bft.View
	seq  bft.Seq
}

// ballot is the first vote of each phase that a member cast at a place.
type ballot [bft.PhasePrePrepare + 1]struct {
	by     *statement
	digest bft.Digest
}

type commit struct {
	by     *statement
	digest bft.Digest
}

// New makes an empty Book for a cluster. A manifest that does not pass Validate gives a Book that
// takes nothing.
func New(m Manifest) *Book {
	if m.Validate() != nil {
		m.Members = nil
	}
	b := &Book{r: newReader(m), records: make([]record, len(m.Members)),
		changes: make(map[bft.Digest]*statement), waiting: make(map[bft.Digest][]*statement)}
	for i := range b.records {
		b.records[i] = record{places: make(map[place]*ballot), commits: make(map[bft.Seq][]commit),
			checkpoints: make(map[bft.Seq]*statement), newViews: make(map[bft.View]*statement)}
	}
	return b
}

// Add takes an envelope that an honest replica received or sent, with all those that it carries. It
// must not be changed afterwards. An envelope that was added before costs a look-up; a new one is
// verified. The error says why an envelope is no statement of a member: nothing is kept of it,
// and it accuses nobody.
//
// What an honest replica only asked to have signed, and did not send, must not be added: until
// its record is durable it binds nobody.
func (b *Book) Add(e *bftpb.Envelope) error {
	s, err := b.r.read(e)
	if err != nil {
		return err
	}
	b.count(s)
	return nil
}

// AddFrame adds every envelope in a frame between replicas: votes, checkpoint, view-change,
// new-view, pre-prepare, those that a status shows, and the certificates and view-changes in data.
// It keeps nothing of the frame itself. The error is the first of [Book.Add], or that the frame does
// not decode; the other envelopes are added all the same.
func (b *Book) AddFrame(frame []byte) error {
	switch t := wire.TypeOf(frame); t {
	case bft.TypeVotes, bft.TypeCheckpoint, bft.TypeViewChange, bft.TypeNewView:
		b.envelope.Reset()
		if err := b.envelope.UnmarshalVTUnsafe(frame[1:]); err != nil {
			return errFrame
		}
		return b.addAgain(&b.envelope)
	case bft.TypePrePrepare:
		var p bftpb.PrePrepare
		if err := p.UnmarshalVTUnsafe(frame[1:]); err != nil {
			return errFrame
		}
		return b.addAgain(p.Header)
	case bft.TypeStatus:
		var s bftpb.Status
		if err := s.UnmarshalVTUnsafe(frame[1:]); err != nil {
			return errFrame
		}
		return b.addAgain(s.Newest...)
	case bft.TypeData:
		var d bftpb.Data
		if err := d.UnmarshalVTUnsafe(frame[1:]); err != nil {
			return errFrame
		}
		err := cmp.Or(b.addAgain(d.Checkpoint...), b.addAgain(d.ViewChanges...))
		for _, c := range d.Committed {
			err = cmp.Or(err, b.addAgain(c.GetVotes()...))
		}
		return err
	}
	return nil
}

var errFrame = errors.New("account: frame does not decode")

// addAgain adds envelopes that share memory with a frame. Most have been added before: each is sent to
// all and resent. Those that are new are copied.
func (b *Book) addAgain(es ...*bftpb.Envelope) (first error) {
	for _, e := range es {
		if e == nil {
			first = cmp.Or(first, errMissing)
			continue
		}
		if _, s := b.r.seen(e); s == nil {
			first = cmp.Or(first, b.Add(&bftpb.Envelope{Type: e.Type, Signer: e.Signer, Epoch: e.Epoch,
				Payload: bytes.Clone(e.Payload), Signature: bytes.Clone(e.Signature)}))
		}
	}
	return first
}

// Culprits returns evidence against each member that is proven to have broken the protocol: one
// for each, of the lowest Kind, in the order of the members.
func (b *Book) Culprits() []Evidence {
	var out []Evidence
	for _, e := range b.All() {
		if len(out) == 0 || out[len(out)-1].Culprit != e.Culprit {
			out = append(out, e)
		}
	}
	return out
}

// All returns evidence for each kind in which each member broke the protocol, in the order of
// members and kinds.
func (b *Book) All() []Evidence {
	var out []Evidence
	for i := range b.records {
		for _, e := range b.records[i].found {
			if e != nil {
				out = append(out, *e)
			}
		}
	}
	return out
}

// found notes evidence against the signer of the first statement. The first of a kind is kept.
func (b *Book) found(k Kind, said ...*statement) {
	culprit := said[0].signer
	slot := &b.records[culprit].found[k]
	if *slot != nil {
		return
	}
	e := &Evidence{Cluster: b.r.m.Cluster, Epoch: b.r.m.Epoch, Culprit: culprit, Kind: k}
	for i, s := range said {
		if i == 0 || s != said[i-1] {
			e.Envelopes = append(e.Envelopes, s.env)
		}
	}
	*slot = e
}

// count puts a statement, and those that it carries, into the index.
func (b *Book) count(s *statement) {
	if s.counted {
		return
	}
	s.counted = true
	rec := &b.records[s.signer]
	if b.r.outOfRole(s) != "" {
		b.found(OutOfRole, s)
	}
	switch s.kind {
	case bft.TypePrePrepare, bft.TypeVotes:
		for _, v := range s.ballots() {
			b.countVote(rec, s, v)
		}
	case bft.TypeCheckpoint:
		if old := rec.checkpoints[s.seq]; old == nil {
			rec.checkpoints[s.seq] = s
		} else if old.info != s.info {
			b.found(TwoCheckpoints, old, s)
		}
	case bft.TypeViewChange:
		for _, part := range s.change.parts {
			b.count(part)
		}
		b.countChange(rec, s)
	case bft.TypeNewView:
		for _, pre := range s.renew.pres {
			b.count(pre)
		}
		b.countNewView(rec, s)
	}
}

// countVote compares a vote with the first one of each phase at its place.
func (b *Book) countVote(rec *record, s *statement, v vote) {
	at := place{s.view, v.seq}
	x := rec.places[at]
	if x == nil {
		x = new(ballot)
		rec.places[at] = x
	}
	for p := bft.PhasePrepare; p <= bft.PhasePrePrepare; p++ {
		if old := &x[p]; old.by != nil && old.digest != v.digest {
			b.found(against(p, v.phase), old.by, s)
		}
	}
	if x[v.phase].by == nil {
		x[v.phase].by, x[v.phase].digest = s, v.digest
	}
	if v.phase != bft.PhaseCommit {
		return
	}
	rec.commits[v.seq] = append(rec.commits[v.seq], commit{s, v.digest})
	// The next view-change is enough: what it hands on the one after it must show, too.
	i, _ := slices.BinarySearchFunc(rec.changes, s.view+1, func(c *statement, v bft.View) int { return cmp.Compare(c.view, v) })
	if i < len(rec.changes) && rec.changes[i].change.loses(s.view, v.seq, v.digest) {
		b.found(LostCertificate, s, rec.changes[i])
	}
}

// countChange compares a view-change with its neighbours, and with the commits before it.
func (b *Book) countChange(rec *record, s *statement) {
	b.changes[s.change.id] = s
	for _, nv := range b.waiting[s.change.id] {
		b.tryNewView(nv)
	}
	delete(b.waiting, s.change.id)
	if s.change.void != "" {
		b.found(InvalidViewChange, s)
		return
	}
	i, there := slices.BinarySearchFunc(rec.changes, s.view, func(c *statement, v bft.View) int { return cmp.Compare(c.view, v) })
	if there {
		if !bytes.Equal(rec.changes[i].env.Payload, s.env.Payload) {
			b.found(TwoViewChanges, rec.changes[i], s)
		}
		return
	}
	rec.changes = slices.Insert(rec.changes, i, s)
	var since bft.View
	if i > 0 {
		since = rec.changes[i-1].view
		b.compareChanges(rec.changes[i-1], s)
	}
	if i+1 < len(rec.changes) {
		b.compareChanges(s, rec.changes[i+1])
	}
	if by := lostCommit(rec, s, since); by != nil {
		b.found(LostCertificate, by, s)
	}
}

// lostCommit finds a commit of a view from since up to that of the view-change s which s does not show:
// the one of the lowest number, and of these the first that was added.
func lostCommit(rec *record, s *statement, since bft.View) *statement {
	var found *statement
	var lowest bft.Seq
	for seq, cs := range rec.commits { // the lowest number counts: the order does not matter
		if seq <= s.change.stable || found != nil && seq > lowest {
			continue
		}
		for _, c := range cs {
			if c.by.view >= since && c.by.view < s.view && s.change.loses(c.by.view, seq, c.digest) {
				found, lowest = c.by, seq
				break
			}
		}
	}
	return found
}

// compareChanges compares a view-change with the next one of its signer.
func (b *Book) compareChanges(earlier, later *statement) {
	if earlier.change.stable > later.change.stable {
		b.found(LostCheckpoint, earlier, later)
	}
	for _, p := range earlier.change.prepared {
		if later.change.loses(p.view, p.seq, p.digest) {
			b.found(LostCertificate, earlier, later)
			return
		}
	}
}

// countNewView compares a new-view with the first one of its view, and with the view-changes it names.
func (b *Book) countNewView(rec *record, s *statement) {
	if s.renew.void != "" {
		b.found(InvalidNewView, s)
		return
	}
	if old := rec.newViews[s.view]; old == nil {
		rec.newViews[s.view] = s
	} else if !bytes.Equal(old.env.Payload, s.env.Payload) {
		b.found(TwoNewViews, old, s)
	}
	for _, ref := range s.renew.refs {
		if b.changes[ref.digest] == nil {
			b.waiting[ref.digest] = append(b.waiting[ref.digest], s)
		}
	}
	b.tryNewView(s)
}

// tryNewView checks a new-view against those of its view-changes that are here.
func (b *Book) tryNewView(nv *statement) {
	if b.records[nv.signer].found[InvalidNewView] != nil {
		return
	}
	named := []*statement{nv}
	for _, ref := range nv.renew.refs {
		s := b.changes[ref.digest]
		if s == nil {
			continue
		}
		if misnamed(nv, ref, s) != "" {
			b.found(InvalidNewView, nv, s)
			return
		}
		named = append(named, s)
	}
	if len(named) <= len(nv.renew.refs) {
		return
	}
	changes := make([]*viewChange, 0, len(named)-1)
	for _, s := range named[1:] {
		changes = append(changes, s.change)
	}
	if nv.renew.follows(changes) != "" {
		b.found(InvalidNewView, named...)
	}
}
