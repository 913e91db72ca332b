package bft

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Checker decodes frames and checks everything about them that does not depend on a replica's
// state. It holds no state of its own and may be used by many goroutines at once.
type Checker struct {
	cfg  Config
	ring *crypto.KeyRing
	// clients is nil if every key is admitted.
	clients map[ClientID]struct{}
	roster
}

// NewChecker checks for the members of cfg. It fails if a key is unfit or stands twice.
func NewChecker(cfg *Config) (*Checker, error) {
	ring, err := crypto.NewKeyRing(cfg.Members)
	if err != nil {
		return nil, err
	}
	c := &Checker{cfg: *cfg, ring: ring, roster: roster{len(cfg.Members), cfg.Epoch}}
	if cfg.Clients != nil {
		c.clients = make(map[ClientID]struct{}, len(cfg.Clients))
		for _, k := range cfg.Clients {
			c.clients[k] = struct{}{}
		}
	}
	return c, nil
}

// Unverified is a decoded message whose form is right and whose signatures are still claims.
type Unverified struct {
	kind   MessageType
	from   ReplicaID
	peer   bool // from is a member; else a client
	msg    any
	claims []crypto.Claim
}

// Verified is a message whose signatures hold. Only Accept makes one.
type Verified struct{ u *Unverified }

// Type is the message's type.
func (u *Unverified) Type() MessageType { return u.kind }

// Claims are the signatures that must all hold for the message to be accepted.
func (u *Unverified) Claims() []crypto.Claim { return u.claims }

// Accept makes the message Verified if there is a true for each claim.
func (u *Unverified) Accept(valid []bool) (Verified, error) {
	if len(valid) != len(u.claims) {
		return Verified{}, fmt.Errorf("bft: %d verdicts for %d claims", len(valid), len(u.claims))
	}
	for i, ok := range valid {
		if !ok {
			return Verified{}, fmt.Errorf("%w: signature %d of %d in a %v does not hold", ErrInvalid, i+1, len(valid), u.kind)
		}
	}
	return Verified{u}, nil
}

// Verify checks the claims of u one by one.
func (c *Checker) Verify(u *Unverified, v crypto.Verifier) (Verified, error) {
	valid := make([]bool, len(u.claims))
	for i, x := range u.claims {
		valid[i] = v.Verify(x.Key, x.Msg, x.Sig)
	}
	return u.Accept(valid)
}

// About tells the view and the highest number that a pre-prepare or votes are about, so that a
// host may drop what is far behind before it spends a verification; ok is false for other messages.
func (u *Unverified) About() (view View, highest Seq, ok bool) {
	switch m := u.msg.(type) {
	case *prePrepare:
		return m.view, m.seq, true
	case *votes:
		for _, x := range m.votes {
			highest = max(highest, x.seq)
		}
		return m.view, highest, true
	}
	return 0, 0, false
}

// Votes calls f for each vote of a Votes message, and not at all for other messages, so that a host may verify
// those first that a quorum needs.
func (u *Unverified) Votes(f func(view View, phase Phase, seq Seq, proposal Digest)) {
	if m, ok := u.msg.(*votes); ok {
		for _, x := range m.votes {
			f(m.view, x.phase, x.seq, x.digest)
		}
	}
}

// FromPeer decodes a frame that came on the authenticated channel of member from. An error
// that is ErrInvalid accuses that member.
func (c *Checker) FromPeer(from ReplicaID, frame []byte) (*Unverified, error) {
	if int(from) >= c.n {
		return nil, fmt.Errorf("%w: no member %d", ErrInvalid, from)
	}
	if len(frame) < 2 || len(frame) > MaxFrameBytes {
		return nil, fmt.Errorf("%w: frame of %d bytes", ErrInvalid, len(frame))
	}
	u := &Unverified{kind: MessageType(frame[0]), from: from, peer: true}
	decode := peerDecoders[u.kind%typeEnd]
	if u.kind >= typeEnd || decode == nil {
		return nil, fmt.Errorf("%w: a member sends no %v", ErrInvalid, u.kind)
	}
	if err := decode(c, u, frame[1:]); err != nil {
		return nil, err
	}
	return u, nil
}

// FromClient decodes a Request that came on the authenticated channel of its client.
func (c *Checker) FromClient(client ClientID, frame []byte) (*Unverified, error) {
	if len(frame) < 2 || MessageType(frame[0]) != TypeRequest {
		return nil, fmt.Errorf("%w: a client sends requests", ErrInvalid)
	}
	var p bftpb.Request
	if !decodeRequestPB(&p, frame[1:]) {
		return nil, fmt.Errorf("%w: request does not decode", ErrInvalid)
	}
	b, err := c.bundle(&p)
	if err != nil {
		return nil, err
	}
	if b.Client != client {
		return nil, fmt.Errorf("%w: request of another client on this channel", ErrInvalid)
	}
	in := new(struct {
		u Unverified
		q request
	})
	in.q = request{bundle: b, heard: true, replier: ReplicaID(p.Replier), asked: p.Asked}
	in.u = Unverified{kind: TypeRequest, msg: &in.q}
	return &in.u, nil
}

// Request is the bundle that a client's Request carries, and the member that is named to answer it in full; nil for
// other messages.
func (u *Unverified) Request() (*Bundle, ReplicaID) {
	if q, ok := u.msg.(*request); ok {
		return q.bundle, q.replier
	}
	return nil, 0
}

// Asks tells whether a client's Request asks this member to answer it.
func (u *Unverified) Asks(id ReplicaID) bool {
	q, ok := u.msg.(*request)
	return ok && (q.asked == 0 || id < MaxMembers && q.asked>>id&1 != 0)
}

var peerDecoders = [typeEnd]func(*Checker, *Unverified, []byte) error{
	TypeRequest:    (*Checker).decodeRequest,
	TypePrePrepare: (*Checker).decodePrePrepare,
	TypeVotes:      (*Checker).decodeVotes,
	TypeCheckpoint: (*Checker).decodeCheckpoint,
	TypeViewChange: (*Checker).decodeViewChange,
	TypeNewView:    (*Checker).decodeNewView,
	TypeStatus:     (*Checker).decodeStatus,
	TypeFetch:      (*Checker).decodeFetch,
	TypeData:       (*Checker).decodeData,
}

func (c *Checker) bundle(p *bftpb.Request) (*Bundle, error) {
	if !p.Strict() {
		return nil, fmt.Errorf("%w: request with unknown fields", ErrInvalid)
	}
	var sig crypto.Signature
	if len(p.Signature) != len(sig) {
		return nil, fmt.Errorf("%w: signature of %d bytes", ErrInvalid, len(p.Signature))
	}
	copy(sig[:], p.Signature)
	b, err := DecodeBundle(p.Payload, sig, c.cfg.MaxBundleOps, c.cfg.MaxBundleBytes)
	if err == nil && c.cfg.MaxOpBytes > 0 {
		for _, op := range b.Ops {
			if len(op) > c.cfg.MaxOpBytes {
				return nil, fmt.Errorf("%w: operation of %d bytes, the limit is %d", ErrInvalid, len(op), c.cfg.MaxOpBytes)
			}
		}
	}
	if err == nil && c.clients != nil {
		// Who is admitted is a function of the bytes and the epoch, the same everywhere (rule 3).
		if _, ok := c.clients[b.Client]; !ok {
			return nil, fmt.Errorf("%w: client %s is not admitted", ErrInvalid, b.Client.Fingerprint())
		}
	}
	return b, err
}

// claim adds the signature of an envelope by a member of this epoch.
func (c *Checker) claim(u *Unverified, e *Envelope) error {
	if err := c.member(e); err != nil {
		return err
	}
	key, _ := c.ring.Key(int(e.Signer))
	u.claims = append(u.claims, crypto.Claim{Key: key, Msg: SigningBytes(c.cfg.Cluster, e.Epoch, e.Type, e.Payload), Sig: e.Signature})
	return nil
}

// envelope decodes the frame of a message that its signer sends itself.
func (c *Checker) envelope(u *Unverified, b []byte) (*Envelope, error) {
	var p bftpb.Envelope
	if !decodeEnvelopePB(&p, b) {
		return nil, fmt.Errorf("%w: envelope does not decode", ErrInvalid)
	}
	e, err := envelopeFrom(&p)
	if err != nil {
		return nil, err
	}
	if e.Type != u.kind {
		return nil, fmt.Errorf("%w: %v in the frame of a %v", ErrInvalid, e.Type, u.kind)
	}
	// New-views are passed on by those that hold them; all else comes from its signer.
	if e.Signer != u.from && e.Type != TypeNewView {
		return nil, fmt.Errorf("%w: %v of member %d on the channel of %d", ErrInvalid, e.Type, e.Signer, u.from)
	}
	return e, c.claim(u, e)
}

func (c *Checker) decodeRequest(u *Unverified, b []byte) error {
	var p bftpb.Request
	if !decodeRequestPB(&p, b) {
		return fmt.Errorf("%w: request does not decode", ErrInvalid)
	}
	bundle, err := c.bundle(&p)
	u.msg = &request{bundle: bundle}
	return err
}

func (c *Checker) decodePrePrepare(u *Unverified, b []byte) error {
	var p bftpb.PrePrepare
	if !decode(&p, b) || p.Body == nil {
		return fmt.Errorf("%w: pre-prepare does not decode", ErrInvalid)
	}
	e, err := envelopeFrom(p.Header)
	if err != nil {
		return err
	}
	pre, err := parsePrePrepare(e)
	if err != nil {
		return err
	}
	if e.Signer != u.from {
		return fmt.Errorf("%w: pre-prepare of member %d on the channel of %d", ErrInvalid, e.Signer, u.from)
	}
	if err := c.checkPrePrepare(pre); err != nil {
		return err
	}
	body, err := contentFrom(p.Body, MaxProposalBundles)
	if err != nil {
		return err
	}
	pre.body, pre.updates = body.list, body.updates
	if UpdatedBodyDigest(pre.body, pre.updates) != pre.prop.Body || !distinctDigests(pre.body) {
		return fmt.Errorf("%w: the body is not the one that the header names", ErrInvalid)
	}
	u.msg = pre
	return c.claim(u, e)
}

func (c *Checker) decodeVotes(u *Unverified, b []byte) error {
	e, err := c.envelope(u, b)
	if err != nil {
		return err
	}
	u.msg, err = parseVotes(e)
	return err
}

func (c *Checker) decodeCheckpoint(u *Unverified, b []byte) error {
	e, err := c.envelope(u, b)
	if err != nil {
		return err
	}
	u.msg, err = parseCheckpoint(e)
	return err
}

func (c *Checker) decodeViewChange(u *Unverified, b []byte) error {
	e, err := c.envelope(u, b)
	if err != nil {
		return err
	}
	vc, err := c.viewChange(u, e)
	u.msg = vc
	return err
}

// viewChange parses a view-change and claims the signatures of all its parts.
func (c *Checker) viewChange(u *Unverified, e *Envelope) (*viewChange, error) {
	vc, err := parseViewChange(e)
	if err != nil {
		return nil, err
	}
	if err := c.checkViewChange(vc, c.cfg.Window); err != nil {
		return nil, err
	}
	claimed := map[*Envelope]bool{}
	claim := func(e *Envelope) {
		if err == nil && !claimed[e] {
			claimed[e] = true
			err = c.claim(u, e)
		}
	}
	for _, x := range vc.cert {
		claim(x.env)
	}
	for _, p := range vc.prepared {
		claim(p.pre.env)
		for _, v := range p.votes {
			claim(v.env)
		}
	}
	return vc, err
}

func (c *Checker) decodeNewView(u *Unverified, b []byte) error {
	e, err := c.envelope(u, b)
	if err != nil {
		return err
	}
	nv, err := parseNewView(e)
	if err != nil {
		return err
	}
	if err := c.checkNewViewForm(nv, c.cfg.Window); err != nil {
		return err
	}
	for _, p := range nv.pres {
		if err := c.claim(u, p.env); err != nil {
			return err
		}
	}
	u.msg = nv
	return nil
}

func (c *Checker) decodeStatus(u *Unverified, b []byte) error {
	var p bftpb.Status
	if !decode(&p, b) {
		return fmt.Errorf("%w: status does not decode", ErrInvalid)
	}
	s := &status{view: View(p.View), changing: p.Changing, stable: Seq(p.Stable), executed: Seq(p.Executed), held: p.Held,
		prepared: p.Prepared, committed: p.Committed, sent: Time(p.Sent), echo: Time(p.Echo), echoDelay: Time(p.EchoDelay),
		starting: p.Starting, answersStart: p.AnswersStart, boot: p.Boot, slow: p.Slow}
	if p.Executed > 1<<62 || p.Stable > 1<<62 {
		return fmt.Errorf("%w: status out of range", ErrInvalid)
	}
	envs, err := envelopesFrom(p.Newest, maxNewest)
	if err != nil {
		return err
	}
	s.newest = envs
	for _, e := range envs {
		if err := s.addNewest(e, c.cfg.Self); err != nil {
			return err
		}
		if err := c.claim(u, e); err != nil {
			return err
		}
	}
	u.msg = s
	return nil
}

// addNewest sorts an envelope that is shown to its own signer.
func (s *status) addNewest(e *Envelope, self ReplicaID) error {
	if e.Signer != self {
		return fmt.Errorf("%w: status shows an envelope of another", ErrInvalid)
	}
	switch e.Type {
	case TypeVotes:
		v, err := parseVotes(e)
		if err != nil {
			return err
		}
		s.newestVotes = append(s.newestVotes, v)
	case TypePrePrepare:
		p, err := parsePrePrepare(e)
		if err != nil {
			return err
		}
		s.newestPre = append(s.newestPre, p)
	case TypeViewChange:
		var p bftpb.ViewChange
		if !decode(&p, e.Payload) {
			return fmt.Errorf("%w: view-change does not decode", ErrInvalid)
		}
		s.newestVC = append(s.newestVC, &viewChangeHeader{e, View(p.View)})
	default:
		return fmt.Errorf("%w: status shows a %v", ErrInvalid, e.Type)
	}
	return nil
}

func (c *Checker) decodeFetch(u *Unverified, b []byte) error {
	var p bftpb.Fetch
	if !decode(&p, b) {
		return fmt.Errorf("%w: fetch does not decode", ErrInvalid)
	}
	ds, err := digestsFrom(p.Digests, maxFetchDigests)
	if err != nil {
		return err
	}
	if p.Kind == 0 || p.Kind > uint32(fetchState) || p.From > 1<<62 || p.To > 1<<62 {
		return fmt.Errorf("%w: fetch out of range", ErrInvalid)
	}
	u.msg = &fetch{kind: fetchKind(p.Kind), digests: ds, from: Seq(p.From), to: Seq(p.To)}
	return nil
}

func (c *Checker) decodeData(u *Unverified, b []byte) error {
	var p bftpb.Data
	if !decode(&p, b) {
		return fmt.Errorf("%w: data does not decode", ErrInvalid)
	}
	if len(p.Bundles) > maxFetchDigests || len(p.Bodies) > maxFetchDigests || len(p.Committed) > maxCommitted || len(p.ViewChanges) > MaxMembers {
		return fmt.Errorf("%w: data out of range", ErrInvalid)
	}
	d := &data{gone: Seq(p.Gone)}
	if p.Gone > 1<<62 {
		return fmt.Errorf("%w: data out of range", ErrInvalid)
	}
	for _, r := range p.Bundles {
		x, err := c.bundle(r)
		if err != nil {
			return err
		}
		d.bundles = append(d.bundles, x)
	}
	for _, x := range p.Bodies {
		c, err := contentFrom(x, MaxProposalBundles)
		if err != nil {
			return err
		}
		d.bodies = append(d.bodies, c)
	}
	for _, x := range p.Committed {
		cm, err := c.committed(u, x)
		if err != nil {
			return err
		}
		d.committed = append(d.committed, cm)
	}
	u.msg = d
	return c.decodeDataRest(u, &p, d)
}

func (c *Checker) decodeDataRest(u *Unverified, p *bftpb.Data, d *data) error {
	if p.Part != nil {
		if len(p.Part.Path) > maxPathLen || len(p.Part.Data) > PartSize || p.Part.Seq > 1<<62 || p.Part.Index >= p.Part.Total {
			return fmt.Errorf("%w: state part out of range", ErrInvalid)
		}
		d.part = &SnapshotPart{Seq: Seq(p.Part.Seq), Index: p.Part.Index, Total: p.Part.Total, Data: p.Part.Data}
		for _, x := range p.Part.Path {
			dg, err := parseDigest(x)
			if err != nil {
				return err
			}
			d.part.Path = append(d.part.Path, dg)
		}
	}
	if len(p.Checkpoint) > 0 {
		envs, err := envelopesFrom(p.Checkpoint, MaxMembers)
		if err != nil {
			return err
		}
		if d.checkpoint, err = c.stableCert(u, envs); err != nil {
			return err
		}
	}
	for _, x := range p.ViewChanges {
		e, err := envelopeFrom(x)
		if err != nil {
			return err
		}
		if err := c.claim(u, e); err != nil {
			return err
		}
		vc, err := c.viewChange(u, e)
		if err != nil {
			return err
		}
		d.viewChanges = append(d.viewChanges, vc)
	}
	return nil
}

func (c *Checker) stableCert(u *Unverified, envs []*Envelope) ([]*checkpoint, error) {
	var cert []*checkpoint
	for _, e := range envs {
		x, err := parseCheckpoint(e)
		if err != nil {
			return nil, err
		}
		if err := c.claim(u, e); err != nil {
			return nil, err
		}
		cert = append(cert, x)
	}
	return cert, c.checkStable(cert)
}

func (c *Checker) committed(u *Unverified, x *bftpb.Committed) (*committed, error) {
	cm, err := committedFrom(x)
	if err != nil {
		return nil, err
	}
	if len(x.Bundles) > len(cm.body) {
		return nil, fmt.Errorf("%w: committed entry of %d bundles with %d", ErrInvalid, len(cm.body), len(x.Bundles))
	}
	for _, r := range x.Bundles {
		b, err := c.bundle(r)
		if err != nil {
			return nil, err
		}
		cm.bundles = append(cm.bundles, b)
	}
	if err := c.checkCommitted(cm); err != nil {
		return nil, err
	}
	for _, v := range cm.votes {
		if err := c.claim(u, v.env); err != nil {
			return nil, err
		}
	}
	return cm, nil
}

// committedFrom decodes all of a committed entry but its bundles.
func committedFrom(x *bftpb.Committed) (*committed, error) {
	body, err := optionalDigest(x.Body)
	if err != nil {
		return nil, err
	}
	cm := &committed{seq: Seq(x.Seq), view: View(x.View), prop: Proposal{body, Time(x.Time)}}
	if cm.seq == 0 || cm.seq > 1<<62 || len(x.Votes) > MaxMembers {
		return nil, fmt.Errorf("%w: committed entry out of range", ErrInvalid)
	}
	c, err := contentFrom(x.Content, MaxProposalBundles)
	if err != nil {
		return nil, err
	}
	cm.body, cm.updates = c.list, c.updates
	envs, err := envelopesFrom(x.Votes, MaxMembers)
	if err != nil {
		return nil, err
	}
	for _, e := range envs {
		v, err := parseVotes(e)
		if err != nil {
			return nil, err
		}
		cm.votes = append(cm.votes, v)
	}
	return cm, nil
}
