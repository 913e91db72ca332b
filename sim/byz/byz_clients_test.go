package byz

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// counter is a client of the adversary, beside four replicas of which replica 1 is an accomplice.
type counter struct {
	t      *testing.T
	key    crypto.Signer
	verify crypto.Verifier
	env    ClientEnv
	c      ClientAdversary
}

func newCounter(t *testing.T, behaviour string, seed uint64) *counter {
	t.Helper()
	s := &counter{t: t, key: crypto.NewKeyFromSeed([crypto.SeedSize]byte{42}), verify: crypto.NewEd25519(4)}
	s.env = ClientEnv{Key: s.key.Public(), Cluster: crypto.Hash("stage"), Sign: s.key.Sign, N: 4, Timeout: timeout,
		Plan: NewPlan(4, []bft.ReplicaID{liar}, rand.New(rand.NewPCG(seed, 1))), Rand: rand.New(rand.NewPCG(seed, 2))}
	s.c = NewClient([]string{behaviour}, s.env)
	return s
}

// request makes the request of one operation.
func (s *counter) request(session bft.SessionID, first uint64) []byte {
	b := &bft.Bundle{Client: s.env.Key, Session: session, First: first, Ops: [][]byte{[]byte("operation")}}
	b.Payload = bft.EncodeBundle(b)
	b.Signature = s.sign(b)
	return bft.RequestFrame(b, 0)
}

func (s *counter) sign(b *bft.Bundle) crypto.Signature {
	m := bft.RequestSigningBytes(s.env.Cluster, b.Payload)
	return s.c.Sign(m, s.key.Sign(m))
}

func (s *counter) valid(b *bft.Bundle) bool {
	return s.verify.Verify(b.Client, bft.RequestSigningBytes(s.env.Cluster, b.Payload), b.Signature)
}

// inject collects what the client sends out of turn.
func (s *counter) inject(tries int) []bft.Outbound {
	var out []bft.Outbound
	for range tries {
		out = append(out, s.c.Inject(0)...)
	}
	return out
}

func TestTwoOperationsUnderOneNumber(t *testing.T) {
	split, both := 0, 0
	for first := range uint64(40) {
		s := newCounter(t, "two operations under one number", first)
		frame := s.request(7, first+1)
		out := s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
		if told := s.c.Told(); len(told) != 1 {
			t.Fatalf("it told %q", told)
		}
		var said []*bft.Bundle
		for id := range bft.ReplicaID(4) {
			for _, f := range to(out, id, bft.TypeRequest) {
				said = append(said, bundleOf(f))
			}
		}
		differ := false
		for _, b := range said {
			if b.Session != 7 || b.First != first+1 || !s.valid(b) {
				t.Fatalf("a bundle of session %d, from %d, valid %v", b.Session, b.First, s.valid(b))
			}
			differ = differ || !bytes.Equal(b.Ops[0], said[0].Ops[0])
		}
		if !differ {
			t.Fatal("all are told the same operation")
		}
		if len(said) == 4 {
			split++
		} else if len(said) == 8 {
			both++
		}
		again := s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
		for i := range again {
			if !slices.ContainsFunc(out, func(o bft.Outbound) bool { return bytes.Equal(o.Frame, again[i].Frame) }) {
				t.Fatal("a retry says a third thing")
			}
		}
	}
	if split == 0 || both == 0 {
		t.Errorf("%d times to halves, %d times to all", split, both)
	}
}

func TestBadSignaturesAreBad(t *testing.T) {
	s := newCounter(t, "badly signed requests", 1)
	mixed := 0
	for i := range uint64(60) {
		frame := s.request(7, i+1)
		if s.valid(bundleOf(frame)) {
			t.Fatal("a signature holds")
		}
		s.c.Told()
		good, bad := 0, 0
		for _, o := range s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame}) {
			if b := bundleOf(o.Frame); s.valid(b) {
				good++
			} else {
				bad++
			}
		}
		if good > 0 && bad > 0 {
			mixed++
			if !slices.Contains(s.c.Told(), "valid to some, invalid to others") {
				t.Error("it does not say so")
			}
		}
	}
	if mixed == 0 {
		t.Error("it never sends a valid one to some")
	}
}

// The edge of validity: the verifier takes what keys of small order sign, so the keys must be refused; and
// a scalar that is not reduced is refused although the equation holds.
func TestEdgeOfValidity(t *testing.T) {
	v := crypto.NewEd25519(4)
	for _, key := range smallOrder {
		if key.Check() == nil {
			t.Errorf("%x is a key that may be used", key)
		}
		for _, r := range smallOrder {
			var sig crypto.Signature
			copy(sig[:], r[:])
			if !v.Verify(key, []byte("whatever"), sig) {
				t.Errorf("key %x, R %x: does not hold", key, r)
			}
		}
	}
	key := crypto.NewKeyFromSeed([crypto.SeedSize]byte{1})
	sig := key.Sign([]byte("message"))
	var scalar [32]byte
	for i := range scalar {
		scalar[i] = sig[63-i]
	}
	if new(big.Int).SetBytes(scalar[:]).Cmp(groupOrder()) >= 0 {
		t.Fatal("a signature whose scalar is not reduced: the order is wrong")
	}
	sum := encoding(new(big.Int).Add(new(big.Int).SetBytes(scalar[:]), groupOrder()), 0)
	copy(sig[32:], sum[:])
	if v.Verify(key.Public(), []byte("message"), sig) {
		t.Error("S + L is taken")
	}
}

func TestBundlesGoToOneReplica(t *testing.T) {
	s := newCounter(t, "bundles to one replica", 1)
	told := make(map[bft.ReplicaID]int)
	for i := range uint64(40) {
		frame := s.request(7, i+1)
		out := s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
		if len(out) != 1 || out[0].To == bft.Everyone {
			t.Fatalf("it goes to %d receivers", len(out))
		}
		told[out[0].To]++
		if again := s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame}); len(again) != 1 || again[0].To != out[0].To {
			t.Fatal("a retry goes elsewhere")
		}
	}
	if told[liar] < 10 || len(told) < 3 {
		t.Errorf("told to %v", told)
	}
	// The accomplice hands out to nobody what it heard from that client, and what it heard from others it does.
	g := newStage(t, "bundles to one replica", 1)
	NewClient([]string{"bundles to one replica"}, ClientEnv{Key: s.env.Key, Plan: g.a.(*oneReplica).Plan, Rand: s.env.Rand})
	secret, open := s.request(8, 1), invented(s.env.Rand, bft.ClientID{5})
	g.a.Request(s.env.Key, secret)
	g.a.Request(bft.ClientID{5}, open)
	var d bftpb.Data
	for _, f := range [][]byte{secret, open} {
		var q bftpb.Request
		if err := wire.Read(bft.TypeRequest, f, &q); err != nil {
			t.Fatal(err)
		}
		d.Bundles = append(d.Bundles, &q)
	}
	out := g.a.Send(bft.Outbound{To: 0, Frame: wire.Frame(bft.TypeData, &d)})
	g.told("withheld bundle")
	var got bftpb.Data
	if wire.Read(bft.TypeData, out[0].Frame, &got) != nil || len(got.Bundles) != 1 || !bytes.Equal(got.Bundles[0].Payload, d.Bundles[1].Payload) {
		t.Error("it does not hide the one bundle that is a secret")
	}
	if out := g.a.Send(bft.Outbound{To: 0, Frame: secret}); len(out) != 0 {
		t.Error("it passes the secret on")
	}
}

func TestRequestsAreReplayed(t *testing.T) {
	s := newCounter(t, "replayed requests", 1)
	var sent [][]byte
	for i := range uint64(20) {
		frame := s.request(7, i+1)
		sent = append(sent, frame)
		s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame})
	}
	old := s.inject(50)
	for _, o := range old {
		if !slices.ContainsFunc(sent, func(f []byte) bool { return bytes.Equal(f, o.Frame) }) {
			t.Fatal("it sends what it never sent before")
		}
	}
	if len(old) == 0 || len(s.c.Told()) != len(old) {
		t.Errorf("%d old requests", len(old))
	}
	g := newStage(t, "replayed requests", 1)
	for _, f := range sent {
		g.a.Request(s.env.Key, f)
	}
	for seq := uint64(1); ; seq++ {
		list := digests(int(seq), 2)
		_, got := g.proposed(g.propose(1, seq, list)[0].Frame)
		if len(got) == len(list) && seq < 100 {
			continue
		}
		g.told("executed request proposed again")
		if !slices.ContainsFunc(sent, func(f []byte) bool { d := bundleOf(f).Digest; return bytes.Equal(d[:], got[len(list):]) }) {
			t.Error("what it adds is no old request")
		}
		return
	}
}

// A flood of requests is of requests that may be made, and no two are the same.
func TestFloodOfRequestsIsValid(t *testing.T) {
	s := newCounter(t, "floods of requests", 5)
	seen := make(map[string]bool)
	bundles, reads := 0, 0
	out := s.inject(400)
	for _, o := range out {
		if seen[string(o.Frame)] {
			t.Fatal("a request comes twice")
		}
		seen[string(o.Frame)] = true
		if b := bundleOf(o.Frame); b != nil {
			if bundles++; bundles%50 == 0 && !s.valid(b) {
				t.Fatal("a signature does not hold")
			}
		} else if _, err := bft.DecodeQuery(o.Frame, bft.WindowOps, bft.MaxBundleBytes); err == nil {
			reads++
		} else {
			t.Fatalf("%s: %v", wire.Describe(o.Frame), err)
		}
	}
	if bundles == 0 || reads == 0 || bundles+reads < 3600 || len(s.c.Told()) != len(out) {
		t.Errorf("%d bundles and %d reads", bundles, reads)
	}
}

func TestImpostorSpeaksForOthers(t *testing.T) {
	s := newCounter(t, "borrowed identities", 1)
	other := crypto.NewKeyFromSeed([crypto.SeedSize]byte{7}).Public()
	if len(s.inject(50)) != 0 {
		t.Fatal("it speaks for somebody whom nobody knows")
	}
	s.env.Plan.meet(other)
	s.env.Plan.meet(s.env.Key) // is one of its own
	out := s.inject(50)
	for i := range uint64(50) {
		frame := s.request(7, i+1)
		if sent := s.c.Send(bft.Outbound{To: bft.Everyone, Frame: frame}); !bytes.Equal(sent[0].Frame, frame) {
			out = append(out, sent...)
		}
	}
	for _, o := range out {
		if b := bundleOf(o.Frame); b == nil || b.Client != other || s.valid(b) {
			t.Fatalf("%s is no request that pretends to be another's", wire.Describe(o.Frame))
		}
	}
	if told := s.c.Told(); len(out) < 2 || len(told) != len(out) {
		t.Errorf("%d requests, %d lies", len(out), len(told))
	}
}
