package bft

import (
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// The messages as the core handles them. What came in an envelope keeps it, since certificates
// are made of envelopes exactly as they were received.

type prePrepare struct {
	env  *Envelope
	view View
	seq  Seq
	prop Proposal
	body []Digest // what came beside the header; nil in certificates
	// updates came with the body.
	updates []byte
}

func (p *prePrepare) digest() Digest { return p.prop.Digest() }

type vote struct {
	phase  Phase
	seq    Seq
	digest Digest
}

type votes struct {
	env   *Envelope
	view  View
	votes []vote
}

func (v *votes) has(want vote) bool {
	for _, x := range v.votes {
		if x == want {
			return true
		}
	}
	return false
}

type checkpoint struct {
	env  *Envelope
	info CheckpointInfo
}

type viewChange struct {
	env      *Envelope
	digest   Digest
	view     View
	stable   Seq
	cert     []*checkpoint // empty at genesis
	prepared []*preparedCert
}

type vcRef struct {
	signer ReplicaID
	digest Digest
}

type newView struct {
	env  *Envelope
	view View
	refs []vcRef
	pres []*prePrepare
}

type status struct {
	view                      View
	changing                  bool
	stable, executed          Seq
	held, prepared, committed uint64
	sent, echo, echoDelay     Time
	starting, answersStart    bool
	slow                      bool
	boot                      uint64
	newest                    []*Envelope
	newestVotes               []*votes
	newestPre                 []*prePrepare
	newestVC                  []*viewChangeHeader
}

// viewChangeHeader is as much of a view-change as its own signer needs to recognise it.
type viewChangeHeader struct {
	env  *Envelope
	view View
}

type fetchKind uint8

const (
	fetchBundles fetchKind = iota + 1
	fetchBodies
	fetchViewChanges
	fetchCommitted
	fetchState
)

type fetch struct {
	kind     fetchKind
	digests  []Digest
	from, to Seq
}

type committed struct {
	seq     Seq
	view    View
	prop    Proposal
	body    []Digest
	updates []byte
	bundles []*Bundle
	votes   []*votes
}

type data struct {
	bundles     []*Bundle
	bodies      []content
	committed   []*committed
	part        *SnapshotPart
	checkpoint  []*checkpoint
	viewChanges []*viewChange
	gone        Seq // the snapshot that was asked for is no longer there
}

// content is what a body's digest is of.
type content struct {
	list    []Digest
	updates []byte
}

func (c *content) pb() *bftpb.Body {
	return &bftpb.Body{Bundles: joinDigests(c.list), Updates: c.updates}
}

// contentFrom reads a body, of at most so many bundles. What it returns shares no memory with p.
func contentFrom(p *bftpb.Body, most int) (content, error) {
	list, err := digestsFrom(p.GetBundles(), most)
	if err != nil {
		return content{}, err
	}
	if u := p.GetUpdates(); len(u) > MaxUpdateBytes || len(u) > 0 && len(list) == 0 {
		return content{}, fmt.Errorf("%w: %d bytes of updates for %d bundles", ErrInvalid, len(u), len(list))
	}
	return content{list, append([]byte(nil), p.GetUpdates()...)}, nil
}

// request is a bundle as it arrived.
type request struct {
	bundle *Bundle
	heard  bool // on the client's own channel
	// replier is named to answer in full; for what is heard only.
	replier ReplicaID
	asked   uint64
}

// Bounds of single messages: what an honest replica sends stays below them.
const (
	maxVotes        = 16
	maxFetchDigests = 256
	maxCommitted    = 64
	maxNewest       = 2048
	maxPathLen      = 32
)

func parseDigest(b []byte) (Digest, error) {
	var d Digest
	if len(b) != len(d) {
		return d, fmt.Errorf("%w: digest of %d bytes", ErrInvalid, len(b))
	}
	copy(d[:], b)
	return d, nil
}

// optionalDigest reads an empty field as the zero digest, which itself may not be sent.
func optionalDigest(b []byte) (Digest, error) {
	if len(b) == 0 {
		return Digest{}, nil
	}
	d, err := parseDigest(b)
	if err == nil && d.IsZero() {
		err = fmt.Errorf("%w: zero digest", ErrInvalid)
	}
	return d, err
}

func digestBytes(d Digest) []byte {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

func digestsFrom(b []byte, most int) ([]Digest, error) {
	if len(b)%32 != 0 || len(b)/32 > most {
		return nil, fmt.Errorf("%w: %d bytes of digests", ErrInvalid, len(b))
	}
	out := make([]Digest, len(b)/32)
	for i := range out {
		copy(out[i][:], b[32*i:])
	}
	return out, nil
}

func joinDigests(ds []Digest) []byte {
	b := make([]byte, 0, 32*len(ds))
	for i := range ds {
		b = append(b, ds[i][:]...)
	}
	return b
}

// payloads

func encodeCheckpoint(c CheckpointInfo) []byte {
	return mustMarshal(&bftpb.Checkpoint{Seq: uint64(c.Seq), State: c.State[:], History: c.History[:],
		ScheduledEnd: uint64(c.ScheduledEnd), NextManifest: digestBytes(c.NextManifest)})
}

func parsePrePrepare(e *Envelope) (*prePrepare, error) {
	var p bftpb.Header
	if e.Type != TypePrePrepare {
		return nil, fmt.Errorf("%w: %v where a pre-prepare belongs", ErrInvalid, e.Type)
	}
	if !decodeHeaderPB(&p, e.Payload) {
		return nil, fmt.Errorf("%w: pre-prepare header does not decode", ErrInvalid)
	}
	body, err := optionalDigest(p.Body)
	if err != nil {
		return nil, err
	}
	e.detach() // the frame has the body too
	out := &prePrepare{env: e, view: View(p.View), seq: Seq(p.Seq), prop: Proposal{Body: body, Time: Time(p.Time)}}
	if out.seq == 0 || out.seq > 1<<62 || out.prop.Time < 0 || (body.IsZero()) != (p.Time == 0) {
		return nil, fmt.Errorf("%w: pre-prepare header out of range", ErrInvalid)
	}
	return out, nil
}

func parseVotes(e *Envelope) (*votes, error) {
	if e.Type != TypeVotes {
		return nil, fmt.Errorf("%w: %v where votes belong", ErrInvalid, e.Type)
	}
	var room [maxVotes]vote
	view, count, ok := decodeVotes(e.Payload, &room)
	if !ok {
		return nil, fmt.Errorf("%w: votes do not decode, or are none or more than %d", ErrInvalid, maxVotes)
	}
	for i := range room[:count] {
		if x := &room[i]; x.phase != PhasePrepare && x.phase != PhaseCommit || x.seq == 0 || x.seq > 1<<62 {
			return nil, fmt.Errorf("%w: vote out of range", ErrInvalid)
		}
	}
	return &votes{env: e, view: view, votes: slices.Clone(room[:count])}, nil
}

func parseCheckpoint(e *Envelope) (*checkpoint, error) {
	var p bftpb.Checkpoint
	if e.Type != TypeCheckpoint {
		return nil, fmt.Errorf("%w: %v where a checkpoint belongs", ErrInvalid, e.Type)
	}
	if !decode(&p, e.Payload) {
		return nil, fmt.Errorf("%w: checkpoint does not decode", ErrInvalid)
	}
	c := &checkpoint{env: e, info: CheckpointInfo{Seq: Seq(p.Seq), ScheduledEnd: Seq(p.ScheduledEnd)}}
	var err error
	if c.info.State, err = parseDigest(p.State); err != nil {
		return nil, err
	}
	if c.info.History, err = parseDigest(p.History); err != nil {
		return nil, err
	}
	if c.info.NextManifest, err = optionalDigest(p.NextManifest); err != nil {
		return nil, err
	}
	if p.Seq == 0 || p.Seq > 1<<62 || p.ScheduledEnd > 1<<62 {
		return nil, fmt.Errorf("%w: checkpoint out of range", ErrInvalid)
	}
	return c, nil
}

func envelopesFrom(ps []*bftpb.Envelope, most int) ([]*Envelope, error) {
	if len(ps) > most {
		return nil, fmt.Errorf("%w: %d envelopes", ErrInvalid, len(ps))
	}
	out := make([]*Envelope, len(ps))
	for i, p := range ps {
		var err error
		if out[i], err = envelopeFrom(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pick gives the envelope at index i of a view-change, as the type that parse makes.
func pick[T any](envs []*Envelope, cache map[uint32]T, i uint32, parse func(*Envelope) (T, error)) (T, error) {
	var zero T
	if int(i) >= len(envs) {
		return zero, fmt.Errorf("%w: index %d of %d envelopes", ErrInvalid, i, len(envs))
	}
	if v, ok := cache[i]; ok {
		return v, nil
	}
	v, err := parse(envs[i])
	if err == nil {
		cache[i] = v
	}
	return v, err
}

func parseViewChange(e *Envelope) (*viewChange, error) {
	var p bftpb.ViewChange
	if e.Type != TypeViewChange {
		return nil, fmt.Errorf("%w: %v where a view-change belongs", ErrInvalid, e.Type)
	}
	if !decode(&p, e.Payload) {
		return nil, fmt.Errorf("%w: view-change does not decode", ErrInvalid)
	}
	envs, err := envelopesFrom(p.Envelopes, MaxMembers+MaxWindow*(MaxMembers+1))
	if err != nil {
		return nil, err
	}
	if len(p.Checkpoint) > MaxMembers || len(p.Prepared) > MaxWindow {
		return nil, fmt.Errorf("%w: view-change out of range", ErrInvalid)
	}
	vc := &viewChange{env: e, digest: e.Digest(), view: View(p.View), stable: Seq(p.Stable)}
	cps, pres, vts := map[uint32]*checkpoint{}, map[uint32]*prePrepare{}, map[uint32]*votes{}
	for _, i := range p.Checkpoint {
		c, err := pick(envs, cps, i, parseCheckpoint)
		if err != nil {
			return nil, err
		}
		vc.cert = append(vc.cert, c)
	}
	for _, pc := range p.Prepared {
		pre, err := pick(envs, pres, pc.PrePrepare, parsePrePrepare)
		if err != nil {
			return nil, err
		}
		if len(pc.Votes) > MaxMembers || Seq(pc.Seq) != pre.seq {
			return nil, fmt.Errorf("%w: prepared certificate out of range", ErrInvalid)
		}
		cert := &preparedCert{pre: pre}
		for _, i := range pc.Votes {
			v, err := pick(envs, vts, i, parseVotes)
			if err != nil {
				return nil, err
			}
			cert.votes = append(cert.votes, v)
		}
		vc.prepared = append(vc.prepared, cert)
	}
	if len(cps)+len(pres)+len(vts) != len(envs) {
		return nil, fmt.Errorf("%w: view-change with envelopes that nothing names", ErrInvalid)
	}
	return vc, nil
}

func encodeViewChange(v View, stable Seq, cert []*checkpoint, prepared []*preparedCert) []byte {
	p := bftpb.ViewChange{View: uint64(v), Stable: uint64(stable)}
	index := map[Digest]uint32{} // not by pointer: restored certificates have copies
	add := func(e *Envelope) uint32 {
		id := e.Digest()
		if i, ok := index[id]; ok {
			return i
		}
		i := uint32(len(p.Envelopes))
		index[id] = i
		p.Envelopes = append(p.Envelopes, e.pb())
		return i
	}
	for _, c := range cert {
		p.Checkpoint = append(p.Checkpoint, add(c.env))
	}
	for _, c := range prepared {
		pc := &bftpb.Prepared{Seq: uint64(c.pre.seq), PrePrepare: add(c.pre.env)}
		for _, v := range c.votes {
			pc.Votes = append(pc.Votes, add(v.env))
		}
		p.Prepared = append(p.Prepared, pc)
	}
	return mustMarshal(&p)
}

func parseNewView(e *Envelope) (*newView, error) {
	var p bftpb.NewView
	if e.Type != TypeNewView {
		return nil, fmt.Errorf("%w: %v where a new-view belongs", ErrInvalid, e.Type)
	}
	if !decode(&p, e.Payload) {
		return nil, fmt.Errorf("%w: new-view does not decode", ErrInvalid)
	}
	if len(p.ViewChanges) > MaxMembers {
		return nil, fmt.Errorf("%w: new-view of %d view-changes", ErrInvalid, len(p.ViewChanges))
	}
	nv := &newView{env: e, view: View(p.View)}
	for _, r := range p.ViewChanges {
		d, err := parseDigest(r.Digest)
		if err != nil {
			return nil, err
		}
		nv.refs = append(nv.refs, vcRef{ReplicaID(r.Signer), d})
	}
	envs, err := envelopesFrom(p.PrePrepares, MaxWindow)
	if err != nil {
		return nil, err
	}
	for _, pe := range envs {
		pre, err := parsePrePrepare(pe)
		if err != nil {
			return nil, err
		}
		nv.pres = append(nv.pres, pre)
	}
	return nv, nil
}

func encodeNewView(v View, refs []vcRef, pres []*prePrepare) []byte {
	p := bftpb.NewView{View: uint64(v)}
	for i := range refs {
		p.ViewChanges = append(p.ViewChanges, &bftpb.ViewChangeRef{Signer: uint32(refs[i].signer), Digest: refs[i].digest[:]})
	}
	for _, pre := range pres {
		p.PrePrepares = append(p.PrePrepares, pre.env.pb())
	}
	return mustMarshal(&p)
}

// frames

func statusFrame(s *status) []byte {
	return frame(TypeStatus, &bftpb.Status{View: uint64(s.view), Changing: s.changing, Stable: uint64(s.stable),
		Executed: uint64(s.executed), Held: s.held, Prepared: s.prepared, Committed: s.committed, Sent: int64(s.sent),
		Echo: int64(s.echo), EchoDelay: int64(s.echoDelay), Starting: s.starting, AnswersStart: s.answersStart, Slow: s.slow,
		Boot: s.boot, Newest: pbEnvelopes(s.newest)})
}

func fetchFrame(f *fetch) []byte {
	return frame(TypeFetch, &bftpb.Fetch{Kind: uint32(f.kind), Digests: joinDigests(f.digests), From: uint64(f.from), To: uint64(f.to)})
}

func (c *committed) pb() *bftpb.Committed {
	p := &bftpb.Committed{Seq: uint64(c.seq), View: uint64(c.view), Body: digestBytes(c.prop.Body), Time: int64(c.prop.Time),
		Content: (&content{c.body, c.updates}).pb()}
	for _, b := range c.bundles {
		p.Bundles = append(p.Bundles, b.request(0))
	}
	for _, v := range c.votes {
		p.Votes = append(p.Votes, v.env.pb())
	}
	return p
}

func dataFrame(d *data) []byte {
	var p bftpb.Data
	for _, b := range d.bundles {
		p.Bundles = append(p.Bundles, b.request(0))
	}
	for i := range d.bodies {
		p.Bodies = append(p.Bodies, d.bodies[i].pb())
	}
	for _, c := range d.committed {
		p.Committed = append(p.Committed, c.pb())
	}
	if d.part != nil {
		p.Part = &bftpb.StatePart{Seq: uint64(d.part.Seq), Index: d.part.Index, Total: d.part.Total, Data: d.part.Data}
		for i := range d.part.Path {
			p.Part.Path = append(p.Part.Path, d.part.Path[i][:])
		}
	}
	p.Gone = uint64(d.gone)
	for _, c := range d.checkpoint {
		p.Checkpoint = append(p.Checkpoint, c.env.pb())
	}
	for _, v := range d.viewChanges {
		p.ViewChanges = append(p.ViewChanges, v.env.pb())
	}
	return frame(TypeData, &p)
}

// bodyBundles checks that a list of bundle digests has none twice.
func distinctDigests(ds []Digest) bool {
	if len(ds) < 2 {
		return true
	}
	seen := make(map[Digest]struct{}, len(ds))
	for _, d := range ds {
		if _, dup := seen[d]; dup {
			return false
		}
		seen[d] = struct{}{}
	}
	return true
}
