package bft_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// The tests named TestRuleNN hold the core to the rules of the protocol document, one by one. Most of
// them leave one replica alone and play all the others by hand.

var sizes = []int{4, 5, 6, 7, 10, 13}

func TestRule01PrimarysPrepareNeverCounts(t *testing.T) {
	for _, n := range sizes {
		c := started(t, n, nil)
		h := c.alone(1)
		b := c.bundle(counter.Add(1))
		c.give(b, 1)
		p := proposal(c.now, b)
		must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 1, b)}))
		if _, ok := h.voted(bft.PhasePrepare, 0, 1); !ok {
			t.Fatalf("n=%d: no prepare", n)
		}
		// Of Q−1 prepares, its own is one; one more is to be missing when the primary adds its own.
		others := c.backups(0, n-1)[1:]
		missing := c.quorum() - 3
		c.tell(1, 0, prepare(1, p), others[:missing]...)
		c.tell(1, 0, prepare(1, p), 0)
		c.tell(1, 0, prepare(1, p), others[:missing]...) // nor does anyone count twice
		if _, ok := h.voted(bft.PhaseCommit, 0, 1); ok {
			t.Fatalf("n=%d: a commit with %d prepares of backups", n, missing+1)
		}
		c.tell(1, 0, prepare(1, p), others[missing])
		if d, ok := h.voted(bft.PhaseCommit, 0, 1); !ok || d != p.Digest() {
			t.Fatalf("n=%d: no commit with Q-1 prepares of backups", n)
		}
	}
}

// certificates are those in a view-change to view 2 by member 3, as data to spoil.
type certificates struct {
	c      *cluster
	stable bft.CheckpointInfo
	votes  []*bftpb.Envelope
	header *bftpb.Envelope
	cert   []*bftpb.Envelope
}

func (x *certificates) frame() []byte {
	return x.c.framed(x.c.viewChange(3, 2, x.stable.Seq, x.cert, prepared{x.header, x.stable.Seq + 1, x.votes}))
}

func TestRule02CertificatesAreBound(t *testing.T) {
	for _, n := range []int{4, 6} {
		c := newCluster(t, n, nil)
		b := c.bundle(counter.Add(1))
		p, q := proposal(c.now, b), proposal(c.now+1, b)
		info := bft.CheckpointInfo{Seq: 8, State: crypto.Hash("s"), History: crypto.Hash("h")}
		other, otherHistory, otherEnd := info, info, info
		other.State, otherHistory.History, otherEnd.ScheduledEnd = crypto.Hash("other"), crypto.Hash("other"), 16
		// The certificate is of view 1, whose primary is member 1.
		voters := c.backups(1, c.quorum()-1)
		cases := []struct {
			name  string
			spoil func(*certificates)
		}{
			{"", func(*certificates) {}},
			{"a signer twice", func(x *certificates) { x.votes[1] = x.votes[0] }},
			{"a signer twice, in two envelopes", func(x *certificates) { x.votes[1] = c.votes(voters[0], 1, prepare(9, p), prepare(10, p)) }},
			{"the primary's prepare", func(x *certificates) { x.votes[0] = c.votes(1, 1, prepare(9, p)) }},
			{"too few votes", func(x *certificates) { x.votes = x.votes[1:] }},
			{"a vote too many", func(x *certificates) { x.votes = append(x.votes, c.votes(n-1, 1, prepare(9, p))) }},
			{"a vote of another view", func(x *certificates) { x.votes[0] = c.votes(voters[0], 0, prepare(9, p)) }},
			{"a vote for another number", func(x *certificates) { x.votes[0] = c.votes(voters[0], 1, prepare(10, p)) }},
			{"a vote for another proposal", func(x *certificates) { x.votes[0] = c.votes(voters[0], 1, prepare(9, q)) }},
			{"a commit as prepare", func(x *certificates) { x.votes[0] = c.votes(voters[0], 1, commit(9, p)) }},
			{"a vote of another epoch", func(x *certificates) {
				x.votes[0] = c.envelopeAt(voters[0], bft.TypeVotes, c.cfg.Cluster, 1, pbVotes(1, prepare(9, p)))
			}},
			{"a vote of another cluster", func(x *certificates) {
				x.votes[0] = c.envelopeAt(voters[0], bft.TypeVotes, crypto.Hash("other"), 0, pbVotes(1, prepare(9, p)))
			}},
			{"a bad signature on a vote", func(x *certificates) { x.votes[len(x.votes)-1].Signature[5] ^= 1 }},
			{"a bad signature on the pre-prepare", func(x *certificates) { x.header.Signature[5] ^= 1 }},
			{"a bad signature on a checkpoint", func(x *certificates) { x.cert[len(x.cert)-1].Signature[5] ^= 1 }},
			{"a stranger's vote", func(x *certificates) { x.votes[0].Signer = uint32(n) }},
			{"another signer than the key's", func(x *certificates) { x.votes[0].Signer = uint32(c.backups(1, n-1)[n-2]) }},
			{"a checkpoint as vote", func(x *certificates) { x.votes[0] = x.cert[0] }},
			{"votes in the type of a checkpoint", func(x *certificates) { x.votes[0].Type = uint32(bft.TypeCheckpoint) }},
			{"a pre-prepare by a backup", func(x *certificates) { x.header = c.header(2, 1, 9, p) }},
			{"a certificate of the view that begins", func(x *certificates) { *x = *c.certificatesOf(2, info, p) }},
			{"a checkpoint signer twice", func(x *certificates) { x.cert[1] = x.cert[0] }},
			{"too few checkpoints", func(x *certificates) { x.cert = x.cert[1:] }},
			{"checkpoints that differ", func(x *certificates) { x.cert[1] = c.checkpointOf(1, other) }},
			{"checkpoints whose histories differ", func(x *certificates) { x.cert[1] = c.checkpointOf(1, otherHistory) }},
			{"checkpoints whose scheduled ends differ", func(x *certificates) { x.cert[1] = c.checkpointOf(1, otherEnd) }},
			{"no proof of the stable checkpoint", func(x *certificates) { x.cert = nil }},
			{"another checkpoint than claimed", func(x *certificates) { x.stable.Seq = 16; x.header = c.header(1, 1, 17, p) }},
			{"a number outside the window", func(x *certificates) {
				*x = *c.certificatesOf(1, info, p)
				y := c.certify(1, 8+17, p, voters...)
				x.header, x.votes = y.header, y.votes
			}},
		}
		for _, k := range cases {
			x := c.certificatesOf(1, info, p)
			k.spoil(x)
			frame := x.frame()
			if k.name == "a number outside the window" {
				frame = c.framed(c.viewChange(3, 2, 8, x.cert, prepared{x.header, 25, x.votes}))
			}
			err := c.judge(3, 0, frame)
			if k.name == "" && err != nil || k.name != "" && !errors.Is(err, bft.ErrInvalid) {
				t.Errorf("n=%d %q: %v", n, k.name, err)
			}
		}
	}
}

func (c *cluster) certificatesOf(v bft.View, info bft.CheckpointInfo, p bft.Proposal) *certificates {
	var all []int
	for i := 0; i < c.quorum(); i++ {
		all = append(all, i)
	}
	x := c.certify(v, info.Seq+1, p, c.backups(v, c.quorum()-1)...)
	return &certificates{c: c, stable: info, votes: x.votes, header: x.header, cert: c.checkpointCert(info, all...)}
}

// judge is what a replica's checker says of a frame, signatures included.
func (c *cluster) judge(from, to bft.ReplicaID, frame []byte) error {
	u, err := c.hosts[to].checker.FromPeer(from, frame)
	if err != nil {
		return err
	}
	_, err = c.hosts[to].checker.Verify(u, c.ring)
	return err
}

func TestRule02CommitCertificates(t *testing.T) {
	c := newCluster(t, 5, nil)
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	good := func() *bftpb.Committed {
		var d bftpb.Data
		must(t, d.UnmarshalVT(c.committedData(3, 2, p, []*bft.Bundle{b}, 0, 1, 2, 4)[1:]))
		return d.Committed[0]
	}
	for name, spoil := range map[string]func(*bftpb.Committed){
		"":                   func(*bftpb.Committed) {},
		"too few":            func(x *bftpb.Committed) { x.Votes = x.Votes[1:] },
		"a signer twice":     func(x *bftpb.Committed) { x.Votes[0] = x.Votes[1] },
		"prepares":           func(x *bftpb.Committed) { x.Votes[0] = c.votes(0, 3, prepare(2, p)) },
		"another view":       func(x *bftpb.Committed) { x.Votes[0] = c.votes(0, 2, commit(2, p)) },
		"another number":     func(x *bftpb.Committed) { x.Seq = 3 },
		"another time":       func(x *bftpb.Committed) { x.Time++ },
		"another body":       func(x *bftpb.Committed) { x.Content.Bundles[0] ^= 1 },
		"a bundle repeated":  func(x *bftpb.Committed) { x.Content.Bundles = append(x.Content.Bundles, x.Content.Bundles...) },
		"one bad signature":  func(x *bftpb.Committed) { x.Votes[3].Signature[0] ^= 1 },
		"one bad identity":   func(x *bftpb.Committed) { x.Votes[3].Signer = 3 },
		"one of a stranger":  func(x *bftpb.Committed) { x.Votes[3].Signer = 5 },
		"one of other epoch": func(x *bftpb.Committed) { x.Votes[3].Epoch = 2 },
	} {
		x := good()
		spoil(x)
		err := c.judge(3, 0, c.frame(bft.TypeData, &bftpb.Data{Committed: []*bftpb.Committed{x}}))
		if name == "" && err != nil || name != "" && !errors.Is(err, bft.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Rule 2, on the wire: what an envelope's signer says, only the signer's own channel carries.
func TestRule02AnothersWordsOnOnesOwnChannel(t *testing.T) {
	c := newCluster(t, 4, nil)
	b := c.bundle(counter.Add(1))
	p := proposal(c.now, b)
	for _, frame := range [][]byte{
		c.framed(c.votes(2, 0, prepare(1, p))), c.prePrepare(0, 0, 1, b),
		c.framed(c.viewChange(2, 1, 0, nil)), c.framed(c.checkpointOf(2, bft.CheckpointInfo{Seq: 8})),
	} {
		if err := c.judge(3, 1, frame); !errors.Is(err, bft.ErrInvalid) {
			t.Errorf("%v of another on the channel of 3: %v", bft.MessageType(frame[0]), err)
		}
	}
}

// A vote must not depend on what only the executed state knows: replicas execute at different moments,
// and would not agree on whom to accuse.
func TestRule03VotesDoNotDependOnReplicatedState(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	h := c.alone(1)
	stranger := c.ring.NewKey([32]byte{9})
	expired := c.seal(c.client, &bft.Bundle{Client: c.client.Public(), Session: c.session, First: 2, Ops: [][]byte{{1}}, Expires: 1})
	for i, b := range []*bft.Bundle{
		c.bundleOf(stranger, 77, 5, counter.Add(1)),               // a session that is not there
		c.bundleOf(stranger, c.session, 1, counter.Add(1)),        // another client's session
		c.bundleOf(c.client, c.session, 1, counter.Add(1)),        // decided long ago
		c.bundleOf(c.client, c.session, 1<<40, counter.Add(1)),    // far outside the window
		c.bundleOf(c.client, c.session, 2, []byte("no such op!")), // makes no sense
		expired,
	} {
		s := bft.Seq(2 + i)
		c.give(b, 1)
		_ = c.hand(letter{0, 1, c.prePrepare(0, 0, s, b)})
		if _, ok := h.voted(bft.PhasePrepare, 0, s); !ok {
			// What is decided already is not kept in the pool: it comes by fetch, and then the vote does not
			// depend on the state either.
			c.wait(20 * bft.Millisecond)
			must(t, c.hand(letter{0, 1, c.frame(bft.TypeData, &bftpb.Data{Bundles: []*bftpb.Request{{Payload: b.Payload, Signature: b.Signature[:]}}})}))
			if _, ok := h.voted(bft.PhasePrepare, 0, s); !ok {
				t.Errorf("bundle %d: no prepare", i)
			}
		}
	}
}

func TestRule04NoVoteForABodyThatIsNotHeldAndDurable(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(1)
	a, b := c.bundle(counter.Add(1)), c.bundleOf(c.ring.NewKey([32]byte{9}), 0, 1, counter.Add(2))
	c.give(a, 1)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 1, a, b)}))
	c.wait(50 * bft.Millisecond)
	if _, ok := h.voted(bft.PhasePrepare, 0, 1); ok {
		t.Fatal("a vote for a bundle that is not held")
	}
	asked := h.sentKind(bft.TypeFetch)
	if len(asked) == 0 || !bytes.Contains(asked[0].frame, b.Digest[:]) || bytes.Contains(asked[0].frame, a.Digest[:]) {
		t.Fatal("it does not ask for the missing bundle, and for it alone")
	}
	h.slowDisk = true
	must(t, c.hand(letter{2, 1, c.frame(bft.TypeData, &bftpb.Data{Bundles: []*bftpb.Request{{Payload: b.Payload, Signature: b.Signature[:]}}})}))
	if len(h.unsynced) < 2 || h.unsynced[0].Key[0] != 'b' {
		t.Fatalf("the body is not recorded before the vote: %d records", len(h.unsynced))
	}
	for len(h.unsynced) > 0 {
		if _, ok := h.voted(bft.PhasePrepare, 0, 1); ok {
			t.Fatal("a vote before the body is durable")
		}
		h.sync(1)
		h.turn()
	}
	if _, ok := h.voted(bft.PhasePrepare, 0, 1); !ok {
		t.Fatal("no vote")
	}
}

// Rule 4, second sentence: a body voted for is kept, and served, also after a restart, until a
// stable checkpoint covers it.
func TestRule04BodyIsKeptUntilAStableCheckpoint(t *testing.T) {
	c := started(t, 4, nil)
	c.hosts[3].crash()
	first := c.bundle(counter.Add(1))
	c.give(first)
	c.settle()
	serves := func(h *host) bool {
		h.sent = nil
		c.wait(500 * bft.Millisecond) // its serving budget
		_ = c.hand(letter{3, h.id, c.frame(bft.TypeFetch, &bftpb.Fetch{Kind: 1, Digests: first.Digest[:]})})
		for _, l := range h.sentKind(bft.TypeData) {
			if bytes.Contains(l.frame, first.Payload) {
				return true
			}
		}
		return false
	}
	h := c.hosts[1]
	if !serves(h) {
		t.Fatal("an executed body is not served")
	}
	h.start()
	if !serves(h) {
		t.Fatal("after a restart the body is gone")
	}
	c.queue = nil
	c.pass(500 * bft.Millisecond)
	c.commit(9)
	c.passUntil(2*bft.Second, "a stable checkpoint", func() bool { return h.info().Stable == 8 })
	if serves(h) {
		t.Fatal("the body outlives the checkpoint")
	}
}

func TestRule05AgreedTimeOfAFreshProposal(t *testing.T) {
	for _, x := range []struct {
		name    string
		at      func(cfg *bft.Config, now bft.Time) bft.Time
		failed  int
		accepts bool
	}{
		{"now", func(_ *bft.Config, now bft.Time) bft.Time { return now }, 0, true},
		{"as far ahead as may be", func(k *bft.Config, now bft.Time) bft.Time { return now + k.ClockAhead }, 0, true},
		{"further ahead", func(k *bft.Config, now bft.Time) bft.Time { return now + k.ClockAhead + 1 }, 0, false},
		{"as far behind as may be", func(k *bft.Config, now bft.Time) bft.Time { return now - k.ClockBehind }, 0, true},
		{"further behind", func(k *bft.Config, now bft.Time) bft.Time { return now - k.ClockBehind - 1 }, 0, false},
		{"twice as far behind, after a failed view", func(k *bft.Config, now bft.Time) bft.Time { return now - 2*k.ClockBehind }, 1, true},
		{"further still", func(k *bft.Config, now bft.Time) bft.Time { return now - 2*k.ClockBehind - 1 }, 1, false},
		{"the bound ahead is constant", func(k *bft.Config, now bft.Time) bft.Time { return now + k.ClockAhead + 1 }, 1, false},
		{"four times as far behind, after two", func(k *bft.Config, now bft.Time) bft.Time { return now - 4*k.ClockBehind }, 2, true},
	} {
		c := started(t, 4, nil)
		for _, h := range c.hosts {
			h.skew = 1000 * bft.Second
		}
		c.pass(20 * bft.Millisecond)
		h := c.alone(3)
		v := c.failViews(h, x.failed)
		b := c.bundle(counter.Add(1))
		c.give(b, 3)
		p := proposal(x.at(&c.cfg, c.now+h.skew), b)
		primary := int(bft.Primary(v, 4))
		_ = c.hand(letter{bft.ReplicaID(primary), 3, c.prePrepareOf(primary, v, 1, p, b)})
		if _, ok := h.voted(bft.PhasePrepare, v, 1); ok != x.accepts {
			t.Errorf("%s: accepted %v", x.name, ok)
		}
	}
}

// failViews has a replica that is alone leave k views that came to nothing; it gives the view that it
// is in then.
func (c *cluster) failViews(h *host, k int) bft.View {
	c.t.Helper()
	for i := 0; i < k; i++ {
		c.give(c.bundleOf(c.ring.NewKey([32]byte{7, byte(i)}), 0, 1, counter.Add(1)), int(h.id))
		h.turn()
		v := h.info().View
		for end := c.now + 20*bft.Second; !h.info().Changing; {
			if c.now > end {
				c.t.Fatalf("replica %d does not leave view %d", h.id, v)
			}
			c.wait(10 * bft.Millisecond)
		}
		c.enter(h, v+1)
	}
	return h.info().View
}

// enter has a replica that is alone join view v by an honest-looking view change in which nothing has
// prepared. All members but the replica itself say so.
func (c *cluster) enter(h *host, v bft.View, certs ...prepared) {
	c.t.Helper()
	var vcs []*bftpb.Envelope
	for i := 0; i < c.n() && len(vcs) < c.quorum(); i++ {
		if bft.ReplicaID(i) != h.id {
			vcs = append(vcs, c.viewChange(i, v, 0, nil, certs...))
		}
	}
	_ = c.handAll(h.id, vcs...)
	if i := h.info(); i.View != v {
		c.t.Fatalf("replica %d does not join view %d: %+v", h.id, v, i)
	}
	if bft.Primary(v, c.n()) == h.id {
		return
	}
	var o []*bftpb.Envelope
	for _, x := range certs {
		var p bftpb.Header
		must(c.t, p.UnmarshalVT(x.header.Payload))
		p.View = uint64(v)
		o = append(o, c.envelope(int(bft.Primary(v, c.n())), bft.TypePrePrepare, &p))
	}
	must(c.t, c.handAll(h.id, c.newView(v, vcs, o...)))
	if i := h.info(); i.View != v || i.Changing {
		c.t.Fatalf("replica %d does not enter view %d: %+v", h.id, v, i)
	}
}

// Rule 5, "never in O nor under a certificate": what a quorum has found timely once is not asked again,
// or a slow clock would halt the view.
func TestRule05AgreedTimeIsNotCheckedAgain(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	p := proposal(c.now+1000*bft.Second, b)
	c.enter(h, 1, c.certify(0, 1, p, 1, 3))
	c.giveBody(h, 1, b)
	if d, ok := h.voted(bft.PhasePrepare, 1, 1); !ok || d != p.Digest() {
		t.Fatal("no prepare for an entry of O")
	}
	d := started(t, 4, nil)
	g := d.alone(2)
	must(t, d.hand(letter{3, 2, d.committedData(0, 1, p, []*bft.Bundle{b}, 0, 1, 3)}))
	if g.info().Executed != 1 || g.batches[0].Proposal != p {
		t.Fatal("a certified proposal is not executed for its time")
	}
}

// giveBody hands a replica the list of a body that it lacks, with its bundles.
func (c *cluster) giveBody(h *host, from bft.ReplicaID, bundles ...*bft.Bundle) {
	d := &bftpb.Data{Bodies: []*bftpb.Body{{Bundles: joined(digestsOf(bundles))}}}
	_ = c.hand(letter{from, h.id, c.frame(bft.TypeData, d)})
	d = &bftpb.Data{}
	for _, b := range bundles {
		d.Bundles = append(d.Bundles, &bftpb.Request{Payload: b.Payload, Signature: b.Signature[:]})
	}
	_ = c.hand(letter{from, h.id, c.frame(bft.TypeData, d)})
}

func TestRule06EarlyPrePrepareIsKept(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(8)
	c.pass(200 * bft.Millisecond)
	// Replica 1 misses the others' checkpoints of 16, and so stays behind with its watermark.
	c.dropWhen = func(l letter) bool { return l.to == 1 && l.kind() == bft.TypeCheckpoint }
	c.commit(8)
	h := c.alone(1)
	if h.info().Stable != 8 || h.info().Executed != 16 {
		t.Fatal(c.describe())
	}
	b := c.bundle(counter.Add(1))
	c.give(b, 1)
	must(t, c.hand(letter{0, 1, c.prePrepare(0, 0, 25, b)})) // H is 24
	if _, ok := h.voted(bft.PhasePrepare, 0, 25); ok {
		t.Fatal("a vote above the high watermark")
	}
	c.dropWhen = nil
	info := bft.CheckpointInfo{Seq: 16, State: h.digests[16].State, History: h.digests[16].History}
	must(t, c.handAll(1, c.checkpointCert(info, 0, 2)...))
	if h.info().Stable != 16 {
		t.Fatal("no stable checkpoint")
	}
	if _, ok := h.voted(bft.PhasePrepare, 0, 25); !ok {
		t.Fatal("the early pre-prepare is forgotten")
	}
	if err := c.hand(letter{0, 1, c.prePrepare(0, 0, 1000, b)}); !errors.Is(err, bft.ErrTooNew) {
		t.Fatalf("a pre-prepare far above H: %v", err)
	}
}

// Rule 6 for views: the first pre-prepare of a view may overtake its new-view.
func TestRule06PrePrepareThatOvertakesItsNewView(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(2)
	b := c.bundle(counter.Add(1))
	c.give(b, 2)
	must(t, c.hand(letter{1, 2, c.prePrepare(1, 1, 1, b)}))
	c.enter(h, 1)
	if _, ok := h.voted(bft.PhasePrepare, 1, 1); !ok {
		t.Fatal("the early pre-prepare is forgotten")
	}
}

// Only a liar may be told of as invalid. A pre-prepare that was late, and lost its number to a later view
// meanwhile, is an honest primary's.
func TestLatePrePrepareOfAnHonestPrimaryAccusesNobody(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	lost, won := c.bundle(counter.Add(1)), c.bundle(counter.Add(2))
	late := c.prePrepare(0, 0, 1, lost)
	must(t, c.hand(letter{1, 3, c.committedData(1, 1, proposal(c.now, won), []*bft.Bundle{won}, 0, 1, 2)}))
	if h.info().Executed != 1 || h.info().View != 0 {
		t.Fatal(c.describe())
	}
	if err := c.hand(letter{0, 3, late}); errors.Is(err, bft.ErrInvalid) {
		t.Fatalf("the primary of view 0 is accused: %v", err)
	}
}
