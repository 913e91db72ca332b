package bft_test

import (
	"errors"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// A key that the manifest does not list is refused by every replica on every way in: from its
// own channel, passed on by a member, or within fetched data (rule 3).
func TestClientsAreAdmittedByBytes(t *testing.T) {
	c := newCluster(t, 4, nil)
	cfg := c.cfg
	frame := func(seed byte) (bft.ClientID, []byte) {
		key := c.ring.NewKey([32]byte{9, seed})
		b := &bft.Bundle{Client: key.Public(), First: 1, NotAfter: bft.Second, Ops: [][]byte{{0}}}
		b.Payload = bft.EncodeBundle(b)
		b.Signature = key.Sign(bft.RequestSigningBytes(cfg.Cluster, b.Payload))
		return b.Client, bft.RequestFrame(b, 0)
	}
	listed, good := frame(1)
	stranger, bad := frame(2)
	cfg.Clients = []bft.ClientID{listed}
	checker, err := bft.NewChecker(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checker.FromClient(listed, good); err != nil {
		t.Errorf("a listed client is refused: %v", err)
	}
	if _, err := checker.FromPeer(1, good); err != nil {
		t.Errorf("a listed client's bundle, passed on, is refused: %v", err)
	}
	if _, err := checker.FromClient(stranger, bad); !errors.Is(err, bft.ErrInvalid) {
		t.Errorf("a stranger is taken: %v", err)
	}
	if _, err := checker.FromPeer(1, bad); !errors.Is(err, bft.ErrInvalid) {
		t.Errorf("a stranger's bundle, passed on, is taken: %v", err)
	}
}

// An operation over its own bound is refused wherever it comes from, though its bundle would fit.
func TestOperationsHaveABoundOfTheirOwn(t *testing.T) {
	c := newCluster(t, 4, nil)
	cfg := c.cfg
	cfg.MaxOpBytes = 100
	checker, err := bft.NewChecker(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	for size, ok := range map[int]bool{100: true, 101: false} {
		b := &bft.Bundle{Client: c.client.Public(), First: 1, NotAfter: bft.Second, Ops: [][]byte{make([]byte, size)}}
		b = c.seal(c.client, b)
		if _, err := checker.FromClient(b.Client, bft.RequestFrame(b, 0)); (err == nil) != ok {
			t.Errorf("operation of %d bytes: %v", size, err)
		}
		if _, err := checker.FromPeer(1, bft.RequestFrame(b, 0)); (err == nil) != ok {
			t.Errorf("operation of %d bytes, passed on: %v", size, err)
		}
	}
}

// A host learns from a request who was named to answer it in full; a member's frame names nobody.
func TestRequestTellsBundleAndReplier(t *testing.T) {
	c := newCluster(t, 4, nil)
	h, b := c.hosts[1], c.bundle(counter.Add(1))
	for _, replier := range []bft.ReplicaID{0, 3, bft.Everyone} {
		u, err := h.checker.FromClient(b.Client, bft.RequestFrame(b, replier))
		must(t, err)
		if got, who := u.Request(); got.Digest != b.Digest || who != replier {
			t.Errorf("bundle %s and replier %d, want %s and %d", got.Digest.Short(), who, b.Digest.Short(), replier)
		}
	}
	u, err := h.checker.FromPeer(2, c.framed(c.votes(2, 0, prepare(1, bft.Null))))
	must(t, err)
	if got, _ := u.Request(); got != nil {
		t.Errorf("votes carry bundle %s", got.Digest.Short())
	}
}
