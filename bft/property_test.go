package bft

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/crypto"
)

// TestQuorumTable holds the formulas against numbers worked out by hand.
func TestQuorumTable(t *testing.T) {
	for _, x := range []struct{ n, f, quorum, weak int }{
		{4, 1, 3, 2}, {5, 1, 4, 2}, {6, 1, 4, 2}, {7, 2, 5, 3}, {8, 2, 6, 3}, {9, 2, 6, 3},
		{10, 3, 7, 4}, {11, 3, 8, 4}, {12, 3, 8, 4}, {13, 4, 9, 5}, {31, 10, 21, 11}, {64, 21, 43, 22},
	} {
		if MaxFaulty(x.n) != x.f || Quorum(x.n) != x.quorum || WeakQuorum(x.n) != x.weak {
			t.Errorf("n=%d: f=%d Q=%d weak=%d, by hand %+v", x.n, MaxFaulty(x.n), Quorum(x.n), WeakQuorum(x.n), x)
		}
	}
}

// TestQuorumIntersections: what safety and liveness rest on, for every size that is supported.
func TestQuorumIntersections(t *testing.T) {
	for n := 4; n <= MaxMembers; n++ {
		f, q := MaxFaulty(n), Quorum(n)
		switch {
		case 3*f+1 > n || 3*(f+1)+1 <= n:
			t.Errorf("n=%d: f=%d is not the most that n replicas tolerate", n, f)
		case 2*q-n < f+1:
			t.Errorf("n=%d: two quorums may share liars only", n)
		case n-f < q:
			t.Errorf("n=%d: the honest ones are no quorum", n)
		case 2*(q-1)-n >= f+1:
			t.Errorf("n=%d: a smaller quorum would do", n)
		case q-f < WeakQuorum(n):
			t.Errorf("n=%d: the honest part of a quorum could be outvoted by liars", n)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(4, MaxMembers).Draw(t, "n")
		pick := func(label string) map[int]bool {
			ids := rapid.Permutation(seqInts(n)).Draw(t, label)
			m := map[int]bool{}
			for _, i := range ids[:Quorum(n)] {
				m[i] = true
			}
			return m
		}
		a, b, both := pick("one quorum"), pick("another"), 0
		for i := range a {
			if b[i] {
				both++
			}
		}
		if both <= MaxFaulty(n) {
			t.Fatalf("they share %d, f is %d", both, MaxFaulty(n))
		}
	})
}

func seqInts(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// drawViewChanges makes view-changes as they can be: the certificates of one view and number all name
// one proposal, anything else is free.
func drawViewChanges(t *rapid.T) []*viewChange {
	n := rapid.IntRange(4, 13).Draw(t, "n")
	prop := func(v View, s Seq) Proposal {
		// Some proposals come back in later views, some are null.
		k := (uint64(v)/2*31 + uint64(s)) % 7
		if k == 0 {
			return Null
		}
		return Proposal{Body: crypto.Hash("body", []byte{byte(k), byte(s)}), Time: Time(1 + k)}
	}
	var vcs []*viewChange
	for i := 0; i < Quorum(n); i++ {
		vc := &viewChange{view: 9, stable: Seq(rapid.IntRange(0, 3).Draw(t, "stable") * 4)}
		if vc.stable > 0 {
			vc.cert = []*checkpoint{{info: CheckpointInfo{Seq: vc.stable}}}
		}
		for s := vc.stable + 1; s <= vc.stable+8; s++ {
			if rapid.IntRange(0, 2).Draw(t, "prepared") > 0 {
				continue
			}
			v := View(rapid.IntRange(0, 8).Draw(t, "view"))
			vc.prepared = append(vc.prepared, &preparedCert{pre: &prePrepare{view: v, seq: s, prop: prop(v, s)}})
		}
		vcs = append(vcs, vc)
	}
	return vcs
}

// naiveSelection computes what selectProposals does from the words of the paper (OSDI'99 section 4.4):
// number by number, by sorting all that anybody shows for it.
func naiveSelection(vcs []*viewChange) (minS, maxS Seq, props []Proposal) {
	type shown struct {
		seq  Seq
		view View
		prop Proposal
	}
	var all []shown
	for _, vc := range vcs {
		minS = max(minS, vc.stable)
		for _, c := range vc.prepared {
			all = append(all, shown{c.pre.seq, c.pre.view, c.pre.prop})
		}
	}
	slices.SortFunc(all, func(a, b shown) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.view, b.view)) })
	maxS = minS
	if len(all) > 0 {
		maxS = max(maxS, all[len(all)-1].seq)
	}
	for s := minS; s < maxS; s++ {
		last := Null
		for _, x := range all {
			if x.seq == s+1 {
				last = x.prop
			}
		}
		props = append(props, last)
	}
	return minS, maxS, props
}

func TestRule07SelectionAgainstAReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vcs := drawViewChanges(t)
		o := selectProposals(vcs)
		minS, maxS, props := naiveSelection(vcs)
		if o.minS != minS || o.maxS != maxS || !slices.Equal(o.props, props) {
			t.Fatalf("selects %d..%d %v, the reference %d..%d %v", o.minS, o.maxS, o.props, minS, maxS, props)
		}
		if (o.minS == 0) != (o.stable == nil) || o.stable != nil && o.stable[0].info.Seq != o.minS {
			t.Fatal("the certificate is not of min-s")
		}
		again := selectProposals(rapid.Permutation(vcs).Draw(t, "order"))
		if again.minS != o.minS || again.maxS != o.maxS || !slices.Equal(again.props, o.props) {
			t.Fatal("the order of the view-changes matters")
		}
	})
}

// TestRule07WhatCommittedIsSelected: a proposal for which a quorum let commits go is in O, whichever
// quorum of view-changes the new primary takes, and whatever f liars among them show of older views.
func TestRule07WhatCommittedIsSelected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(4, 13).Draw(t, "n")
		ids := rapid.Permutation(seqInts(n)).Draw(t, "liars first")
		liars := map[int]bool{}
		for _, i := range ids[:MaxFaulty(n)] {
			liars[i] = true
		}
		committed := Proposal{Body: crypto.Hash("committed"), Time: 5}
		old := Proposal{Body: crypto.Hash("old"), Time: 4}
		at := View(rapid.IntRange(1, 5).Draw(t, "view of the commit"))
		who := map[int]bool{}
		for _, i := range rapid.Permutation(seqInts(n)).Draw(t, "who committed")[:Quorum(n)] {
			who[i] = true
		}
		var vcs []*viewChange
		for _, i := range rapid.Permutation(seqInts(n)).Draw(t, "who is heard")[:Quorum(n)] {
			vc := &viewChange{view: 9}
			shows := func(v View, p Proposal) {
				vc.prepared = append(vc.prepared, &preparedCert{pre: &prePrepare{view: v, seq: 3, prop: p}})
			}
			switch {
			case !liars[i] && who[i]: // it may have prepared again since, but nothing else
				shows(at+View(rapid.IntRange(0, 3).Draw(t, "prepared again")), committed)
			case rapid.Bool().Draw(t, "shows an old one"):
				shows(View(rapid.IntRange(0, int(at)-1).Draw(t, "old view")), old)
			}
			vcs = append(vcs, vc)
		}
		o := selectProposals(vcs)
		if o.maxS < 3 || o.props[2] != committed {
			t.Fatalf("n=%d: what committed is lost: %v", n, o)
		}
	})
}

// round trips

func drawDigest(t *rapid.T) Digest {
	return crypto.Hash("drawn", []byte{rapid.Byte().Draw(t, "digest")})
}

func drawSeq(t *rapid.T) Seq   { return Seq(rapid.Uint64Range(1, 1<<62).Draw(t, "seq")) }
func drawView(t *rapid.T) View { return View(rapid.Uint64Range(0, 1<<62).Draw(t, "view")) }

func drawProposal(t *rapid.T) Proposal {
	if rapid.Bool().Draw(t, "null") {
		return Null
	}
	return Proposal{Body: drawDigest(t), Time: Time(rapid.Int64Range(1, 1<<62).Draw(t, "time"))}
}

func drawEnvelope(t *rapid.T, kind MessageType, signer ReplicaID, payload []byte) *Envelope {
	e := &Envelope{Type: kind, Signer: signer, Payload: payload}
	copy(e.Signature[:], payload)
	e.Signature[63] = rapid.Byte().Draw(t, "signature")
	return e
}

func drawVotes(t *rapid.T, signer ReplicaID) *votes {
	v := &votes{view: drawView(t)}
	for i := rapid.IntRange(1, maxVotes).Draw(t, "votes"); i > 0; i-- {
		v.votes = append(v.votes, vote{Phase(1 + i%2), drawSeq(t), drawDigest(t)})
	}
	v.env = drawEnvelope(t, TypeVotes, signer, encodeVotes(v.view, v.votes))
	return v
}

func drawBundle(t *rapid.T) *Bundle {
	b := &Bundle{Session: SessionID(rapid.Uint64Range(0, 3).Draw(t, "session")), First: 1, Expires: Time(rapid.Int64Range(0, 9).Draw(t, "expires"))}
	b.Client[0] = rapid.Byte().Draw(t, "client")
	if b.Opens() {
		b.Nonce, b.NotAfter = Nonce{rapid.Byte().Draw(t, "nonce")}, Time(rapid.Int64Range(0, 1<<60).Draw(t, "not after"))
	} else {
		b.First = rapid.Uint64Range(1, 1<<62).Draw(t, "first")
		b.AnsweredBelow = rapid.Uint64Range(0, b.First).Draw(t, "answered")
	}
	b.Close = rapid.Bool().Draw(t, "close")
	for i := rapid.IntRange(0, 4).Draw(t, "operations"); i >= 0; i-- {
		b.Ops = append(b.Ops, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "operation"))
	}
	b.Payload = EncodeBundle(b)
	b.Signature[3] = rapid.Byte().Draw(t, "signature")
	b.Digest = bundleDigest(b.Payload, &b.Signature)
	return b
}

func propertyConfig(n int) Config {
	cfg := DefaultConfig()
	cfg.Cluster = crypto.Hash("property")
	for i := 0; i < n; i++ {
		cfg.Members = append(cfg.Members, crypto.NewKeyFromSeed([32]byte{1, byte(i)}).Public())
	}
	return cfg
}

func TestRoundTrips(t *testing.T) {
	cfg := propertyConfig(4)
	checker, err := NewChecker(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	decode := func(t *rapid.T, from ReplicaID, frame []byte) any {
		u, err := checker.FromPeer(from, frame)
		if err != nil {
			t.Fatalf("%v: %v", MessageType(frame[0]), err)
		}
		return u.msg
	}
	same := func(t *rapid.T, got, want any) {
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%T came back as\n%+v\nwas\n%+v", want, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := drawVotes(t, 2)
		same(t, decode(t, 2, envelopeFrame(v.env)), v)

		b := drawBundle(t)
		got, err := DecodeBundle(b.Payload, b.Signature, WindowOps, MaxBundleBytes)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, b)
		same(t, decode(t, 1, RequestFrame(b, 3)), &request{bundle: b})

		info := CheckpointInfo{Seq: drawSeq(t), State: drawDigest(t), History: drawDigest(t), ScheduledEnd: drawSeq(t)}
		cp := &checkpoint{env: drawEnvelope(t, TypeCheckpoint, 3, encodeCheckpoint(info)), info: info}
		same(t, decode(t, 3, envelopeFrame(cp.env)), cp)

		c := drawContent(t, b.Digest)
		pre := &prePrepare{view: drawView(t), seq: drawSeq(t), prop: Proposal{UpdatedBodyDigest(c.list, c.updates), 7}, body: c.list, updates: c.updates}
		pre.env = drawEnvelope(t, TypePrePrepare, Primary(pre.view, 4), encodeHeader(pre.view, pre.seq, pre.prop))
		same(t, decode(t, pre.env.Signer, prePrepareFrame(pre.env, c)), pre)

		s := &status{view: drawView(t), changing: rapid.Bool().Draw(t, "changing"), stable: drawSeq(t), executed: drawSeq(t),
			held: rapid.Uint64().Draw(t, "held"), prepared: rapid.Uint64().Draw(t, "prepared"), committed: rapid.Uint64().Draw(t, "committed"),
			sent: Time(rapid.Int64().Draw(t, "sent")), echo: Time(rapid.Int64().Draw(t, "echo")), echoDelay: 3,
			starting: rapid.Bool().Draw(t, "starting"), boot: rapid.Uint64().Draw(t, "boot"), newest: []*Envelope{}}
		if rapid.Bool().Draw(t, "shows votes") {
			own := drawVotes(t, cfg.Self)
			s.answersStart, s.newest, s.newestVotes = true, []*Envelope{own.env}, []*votes{own}
		}
		same(t, decode(t, 1, statusFrame(s)), s)

		f := &fetch{kind: fetchKind(rapid.IntRange(1, 5).Draw(t, "kind")), digests: c.list, from: drawSeq(t), to: drawSeq(t)}
		same(t, decode(t, 1, fetchFrame(f)), f)
	})
}

// certificates for round trips: of a proposal p at s in view v, by the lowest members that may sign.
func drawCertificate(t *rapid.T, v View, s Seq, p Proposal, phase Phase, count int) (out []*votes) {
	for i := ReplicaID(0); len(out) < count; i++ {
		if phase == PhasePrepare && i == Primary(v, 4) {
			continue
		}
		vs := []vote{{phase, s, p.Digest()}}
		out = append(out, &votes{env: drawEnvelope(t, TypeVotes, i, encodeVotes(v, vs)), view: v, votes: vs})
	}
	return out
}

func TestRoundTripsOfViewChanges(t *testing.T) {
	cfg := propertyConfig(4)
	checker, err := NewChecker(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		vc := &viewChange{view: View(rapid.IntRange(6, 20).Draw(t, "new view")), stable: Seq(rapid.IntRange(0, 1).Draw(t, "stable") * 256)}
		for i := ReplicaID(0); vc.stable > 0 && i < 3; i++ {
			info := CheckpointInfo{Seq: vc.stable, State: Digest{1}, History: Digest{2}}
			vc.cert = append(vc.cert, &checkpoint{drawEnvelope(t, TypeCheckpoint, i, encodeCheckpoint(info)), info})
		}
		for i := rapid.IntRange(0, 5).Draw(t, "prepared"); i > 0; i-- {
			v, s, p := View(i), vc.stable+10-Seq(i), drawProposal(t)
			pre := &prePrepare{view: v, seq: s, prop: p, env: drawEnvelope(t, TypePrePrepare, Primary(v, 4), encodeHeader(v, s, p))}
			vc.prepared = append(vc.prepared, &preparedCert{pre, drawCertificate(t, v, s, p, PhasePrepare, 2)})
		}
		vc.env = drawEnvelope(t, TypeViewChange, 2, encodeViewChange(vc.view, vc.stable, vc.cert, vc.prepared))
		vc.digest = vc.env.Digest()
		u, err := checker.FromPeer(2, envelopeFrame(vc.env))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(u.msg, vc) {
			t.Fatalf("came back as %+v", u.msg)
		}
		if want := 1 + len(vc.cert) + 3*len(vc.prepared); len(u.claims) != want {
			t.Fatalf("%d signatures are checked, it has %d", len(u.claims), want)
		}
		nv := &newView{view: vc.view}
		for i := ReplicaID(0); i < 3; i++ {
			nv.refs = append(nv.refs, vcRef{i, drawDigest(t)})
		}
		for i := range vc.prepared {
			p := drawProposal(t)
			s := vc.stable + 1 + Seq(i)
			nv.pres = append(nv.pres, &prePrepare{view: nv.view, seq: s, prop: p, env: drawEnvelope(t, TypePrePrepare, Primary(nv.view, 4), encodeHeader(nv.view, s, p))})
		}
		nv.env = drawEnvelope(t, TypeNewView, Primary(nv.view, 4), encodeNewView(nv.view, nv.refs, nv.pres))
		if u, err = checker.FromPeer(0, envelopeFrame(nv.env)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(u.msg, nv) {
			t.Fatalf("came back as %+v", u.msg)
		}
		// Data carries all of it, and committed batches.
		b := drawBundle(t)
		c := drawContent(t, b.Digest)
		p := Proposal{UpdatedBodyDigest(c.list, c.updates), 9}
		d := &data{bundles: []*Bundle{b}, bodies: []content{c}, checkpoint: vc.cert, viewChanges: []*viewChange{vc},
			part:      &SnapshotPart{Seq: 4, Index: 1, Total: 2, Data: []byte("part"), Path: []Digest{{5}}},
			committed: []*committed{{seq: 5, view: 7, prop: p, body: c.list, updates: c.updates, bundles: []*Bundle{b}, votes: drawCertificate(t, 7, 5, p, PhaseCommit, 3)}}}
		if u, err = checker.FromPeer(1, dataFrame(d)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(u.msg, d) || !bytes.Equal(dataFrame(u.msg.(*data)), dataFrame(d)) {
			t.Fatalf("came back as %+v", u.msg)
		}
	})
}

// TestSigningBytesAreInjective: no envelope can be read as one of another cluster, epoch, type or payload.
func TestSigningBytesAreInjective(t *testing.T) {
	seen := map[string]string{}
	rng := rand.New(rand.NewSource(1))
	for i := 0; i < 20000; i++ {
		cluster, epoch, kind := Digest{byte(rng.Intn(3))}, Epoch(rng.Intn(3)), MessageType(1+rng.Intn(3))
		payload := make([]byte, rng.Intn(4))
		for j := range payload {
			payload[j] = byte(rng.Intn(3))
		}
		what := fmt.Sprint(cluster, epoch, kind, payload)
		key := string(SigningBytes(cluster, epoch, kind, payload))
		if old, ok := seen[key]; ok && old != what {
			t.Fatalf("%s and %s are signed alike", old, what)
		}
		seen[key] = what
		if _, ok := seen[string(RequestSigningBytes(cluster, payload))]; ok {
			t.Fatal("a request is signed like an envelope")
		}
	}
}

// drawContent draws a body of a bundle and perhaps another, perhaps with updates.
func drawContent(t *rapid.T, bundle Digest) content {
	c := content{list: []Digest{bundle}}
	if rapid.Bool().Draw(t, "two bundles") {
		c.list = append(c.list, drawDigest(t))
	}
	if rapid.Bool().Draw(t, "updates") {
		c.updates = rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "updates")
	}
	return c
}
