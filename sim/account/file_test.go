package account_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/account"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// twoVotes is a piece of evidence as a file.
func twoVotes(t testing.TB, f *forger) (account.Evidence, []byte) {
	t.Helper()
	e := f.checked(t, f.book(t, f.prepare(2, 1, 5, "a"), f.prepare(2, 1, 5, "b")))[0]
	b, err := account.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return e, b
}

func TestFileThatDoesNotDecode(t *testing.T) {
	f := newForger(4)
	_, good := twoVotes(t, f)
	for words, alter := range map[string]func(string) string{
		"does not decode: unexpected":  func(s string) string { return s[:len(s)/2] },
		"goes on after its end":        func(s string) string { return s + "{}" },
		"unknown field":                func(s string) string { return strings.Replace(s, `"kind"`, `"species"`, 1) },
		`format "baluarte evidence 2"`: func(s string) string { return strings.Replace(s, "evidence 1", "evidence 2", 1) },
		`"two faces" is no kind`:       func(s string) string { return strings.Replace(s, "two votes", "two faces", 1) },
		"without a kind":               func(s string) string { return strings.Replace(s, `"two votes"`, "null", 1) },
		"with 0 envelopes":             func(s string) string { return s[:strings.Index(s, `"envelopes"`)] + `"envelopes": []}` },
		"with 66 envelopes": func(s string) string {
			return s[:strings.Index(s, `"envelopes"`)] + `"envelopes": [{}` + strings.Repeat(",{}", 65) + `]}`
		},
		"signature of 0":                  func(s string) string { return s[:strings.Index(s, `"envelopes"`)] + `"envelopes": [{}]}` },
		"does not decode: crypto: digest": func(s string) string { return strings.Replace(s, `"cluster": "`, `"cluster": "0`, 1) },
		"cannot unmarshal number -2":      func(s string) string { return strings.Replace(s, `"culprit": 2`, `"culprit": -2`, 1) },
		"illegal base64":                  func(s string) string { return strings.Replace(s, `"payload": "`, `"payload": "*`, 1) },
		"evidence of 67108865 bytes":      func(s string) string { return s + strings.Repeat(" ", account.MaxFileBytes+1-len(s)) },
		"EOF":                             func(string) string { return "" },
	} {
		_, err := account.Decode([]byte(alter(string(good))))
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}

func TestWhatDoesNotEncode(t *testing.T) {
	f := newForger(4)
	good, _ := twoVotes(t, f)
	for words, alter := range map[string]func(*account.Evidence){
		"no kind 0":  func(e *account.Evidence) { e.Kind = 0 },
		"is missing": func(e *account.Evidence) { e.Envelopes = es(e.Envelopes[0], (*bftpb.Envelope)(nil)) },
		"file holds ": func(e *account.Evidence) {
			e.Envelopes = es(&bftpb.Envelope{Payload: make([]byte, account.MaxFileBytes)})
		},
	} {
		e := good
		alter(&e)
		if _, err := account.Encode(e); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}

// TestEvidenceThatDoesNotHold: what does not fit the manifest says why.
func TestEvidenceThatDoesNotHold(t *testing.T) {
	f := newForger(4)
	good, _ := twoVotes(t, f)
	for words, alter := range map[string]func(*account.Manifest, *account.Evidence){
		"is that of":                func(m *account.Manifest, _ *account.Evidence) { m.Cluster = crypto.Hash("another") },
		"of epoch 0; the manifest":  func(m *account.Manifest, _ *account.Evidence) { m.Epoch = 1 },
		"not one of 4 members":      func(_ *account.Manifest, e *account.Evidence) { e.Culprit = 4 },
		"no kind 12 of":             func(_ *account.Manifest, e *account.Evidence) { e.Kind = 12 },
		"with 0 envelopes":          func(_ *account.Manifest, e *account.Evidence) { e.Envelopes = nil },
		"against 3 with a votes of": func(_ *account.Manifest, e *account.Evidence) { e.Culprit = 3 },
		`prove "two checkpoints"`:   func(_ *account.Manifest, e *account.Evidence) { e.Kind = account.TwoCheckpoints },
		"manifest with 3 members":   func(m *account.Manifest, _ *account.Evidence) { m.Members = m.Members[:3] },
		"without a cluster id":      func(m *account.Manifest, _ *account.Evidence) { m.Cluster = bft.Digest{} },
		"member keys":               func(m *account.Manifest, _ *account.Evidence) { m.Members = append(m.Members[:3:3], m.Members[0]) },
		"did not sign":              func(m *account.Manifest, _ *account.Evidence) { m.Verifier = nil }, // these are no Ed25519 signatures
	} {
		m, e := f.manifest, good
		alter(&m, &e)
		if err := account.Check(m, e); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
	if err := account.New(account.Manifest{}).Add(f.prepare(2, 1, 5, "a")); err == nil {
		t.Error("a Book without a cluster takes envelopes")
	}
}

// TestRealSignatures: the manifest's keys are Ed25519 keys unless it says otherwise.
func TestRealSignatures(t *testing.T) {
	m := account.Manifest{Cluster: crypto.Hash("a cluster")}
	var key crypto.Signer
	for i := range 4 {
		key = crypto.NewKeyFromSeed([32]byte{1, byte(i)})
		m.Members = append(m.Members, key.Public())
	}
	liar := wire.Member{Self: 3, Cluster: m.Cluster, Signer: key}
	b := account.New(m)
	for _, state := range []byte{1, 2} {
		d := bytes.Repeat([]byte{state}, 32)
		if err := b.Add(liar.Seal(bft.TypeCheckpoint, wire.Marshal(&bftpb.Checkpoint{Seq: 8, State: d, History: d}))); err != nil {
			t.Fatal(err)
		}
	}
	found := b.Culprits()
	if len(found) != 1 || found[0].Kind != account.TwoCheckpoints {
		t.Fatalf("found %v", found)
	}
	if err := account.Check(m, found[0]); err != nil {
		t.Fatal(err)
	}
}

func TestKindNames(t *testing.T) {
	seen := make(map[string]bool)
	for k := account.Kind(1); k <= account.OutOfRole; k++ {
		text, err := k.MarshalText()
		var back account.Kind
		if err != nil || seen[string(text)] || back.UnmarshalText(text) != nil || back != k || k.String() != string(text) {
			t.Errorf("kind %d is called %q and read as %v", uint8(k), text, back)
		}
		seen[string(text)] = true
	}
}

// everything is all cases and near misses.
func everything(f *forger) [][]*bftpb.Envelope {
	var out [][]*bftpb.Envelope
	for _, cases := range [][]kindCase{voteCases(f), changeCases(f), newRenewal(f).cases()} {
		for _, c := range cases {
			out = append(out, c.fed)
		}
	}
	return out
}

// TestOrderDoesNotMatter: who is named depends on what was signed, not on when it was heard of.
func TestOrderDoesNotMatter(t *testing.T) {
	f := newForger(4)
	all := everything(f)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var fed []*bftpb.Envelope
		for range 1 + r.IntN(4) {
			fed = append(fed, all[r.IntN(len(all))]...)
		}
		want := named(f.book(t, fed...))
		for range 4 {
			r.Shuffle(len(fed), func(i, j int) { fed[i], fed[j] = fed[j], fed[i] })
			b := f.book(t, fed...)
			f.checked(t, b)
			if got := named(b); got != want {
				t.Fatalf("members %b are named in one order, %b in another", want, got)
			}
		}
	}
}

// named is the set of the culprits.
func named(b *account.Book) (set uint64) {
	for _, e := range b.Culprits() {
		set |= 1 << e.Culprit
	}
	return set
}

// TestVoidAsTheJudgeSays compares the verdict on view-changes with that of wire.Judge, which was written
// apart: what one of them finds false the other does.
func TestVoidAsTheJudgeSays(t *testing.T) {
	f := newForger(4)
	judge := &wire.Judge{Cluster: f.manifest.Cluster, Members: f.manifest.Members, Interval: interval, Verifier: f.manifest.Verifier}
	agreed := map[bool]int{}
	for _, fed := range everything(f) {
		for _, e := range fed {
			v, err := wire.ViewChange(e)
			if err != nil || v.View == 0 || v.Stable == 0 && len(v.Checkpoint) > 0 {
				continue // not for the Judge to say
			}
			ordered := true
			for i := 1; i < len(v.Prepared); i++ {
				ordered = ordered && v.Prepared[i].Seq > v.Prepared[i-1].Seq
			}
			wrong := account.Check(f.manifest, account.Evidence{Cluster: f.manifest.Cluster, Culprit: bft.ReplicaID(e.Signer),
				Kind: account.InvalidViewChange, Envelopes: es(e)}) == nil
			if says := judge.ViewChange(e) != nil || !ordered; says != wrong {
				t.Errorf("%s: the Judge says %v, evidence %v", wire.DescribePayload(bft.TypeViewChange, e.Payload), says, wrong)
			}
			agreed[wrong]++
		}
	}
	if agreed[true] < 8 || agreed[false] < 20 {
		t.Errorf("too few to compare: %v", agreed)
	}
}

// truthful is what member 3 of n = 4 signs when it follows the protocol: a vote, its certificate, a checkpoint,
// view-changes and a new-view.
func truthful(f *forger) []*bftpb.Envelope {
	stable := f.stableAt(8, "x")
	changes := es(f.change(0, 3, 8, stable), f.change(1, 3, 0, nil), f.change(3, 3, 8, stable, f.prepared(1, 9, "d")))
	return es(f.prepare(3, 1, 5, "a"), f.commit(3, 1, 5, "a"), f.prepare(3, 1, 9, "d"), f.commit(3, 1, 9, "d"),
		f.change(3, 2, 0, nil, f.prepared(1, 5, "a"), f.prepared(1, 9, "d")), f.checkpoint(3, 8, "x"),
		changes[2], f.pre(3, 9, "d"), f.newView(3, changes, f.pre(3, 9, "d")), changes[:2])
}

func TestTruthfulIsNotAccused(t *testing.T) {
	f := newForger(4)
	if found := f.checked(t, f.book(t, truthful(f)...)); len(found) != 0 {
		t.Fatalf("accused of %v", found[0].Kind)
	}
}

// FuzzEvidence: no file makes Decode or Check panic, and none, whatever it is made of, frames the one
// member that has only signed what an honest replica signs.
func FuzzEvidence(f *testing.F) {
	const honest = 3
	g := newForger(4)
	add := func(e account.Evidence) {
		b, err := account.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, fed := range everything(g) {
		if slices.ContainsFunc(fed, func(e *bftpb.Envelope) bool { return e.Signer == honest }) {
			continue
		}
		for _, e := range g.book(f, fed...).All() {
			add(e)
			e.Culprit = honest
			add(e)
		}
	}
	said := truthful(g)
	for kind := account.Kind(1); kind <= account.OutOfRole; kind++ {
		for i := range said {
			add(account.Evidence{Cluster: g.manifest.Cluster, Culprit: honest, Kind: kind, Envelopes: es(said[i], said[(i+1)%len(said)])})
		}
		add(account.Evidence{Cluster: g.manifest.Cluster, Culprit: honest, Kind: kind, Envelopes: reversed(said)})
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := account.Decode(b)
		if err != nil {
			return
		}
		if why, err := account.Explain(g.manifest, e); err == nil && (e.Culprit >= honest || why == "") {
			t.Fatalf("framed: %s", why)
		}
		again, err := account.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := account.Decode(again); err != nil {
			t.Fatalf("what was decoded and encoded does not decode: %v", err)
		}
	})
}
