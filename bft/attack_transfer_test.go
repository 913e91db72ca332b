package bft_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// padded has a state of many parts.
type padded struct {
	app.StateMachine
	size int
}

type paddedSnapshot struct {
	app.Snapshot
	size int
}

func (p padded) Snapshot() (app.Snapshot, error) {
	s, err := p.StateMachine.Snapshot()
	return paddedSnapshot{s, p.size}, err
}

func (s paddedSnapshot) WriteTo(w io.Writer) (int64, error) {
	k, err := w.Write(make([]byte, s.size))
	if err != nil {
		return int64(k), err
	}
	n, err := s.Snapshot.WriteTo(w)
	return n + int64(k), err
}

func (p padded) Restore(r io.Reader) error {
	if _, err := io.CopyN(io.Discard, r, int64(p.size)); err != nil {
		return err
	}
	return p.StateMachine.Restore(r)
}

// A1. A transfer that lasts longer than a checkpoint interval: honest peers tell of newer checkpoints in passing.
func slowTransfer(t *testing.T, attack func(c *cluster, parts int)) {
	c := newCluster(t, 4, nil)
	c.pad = 5 << 20 // 21 parts: three requests
	for _, h := range c.hosts {
		h.start()
	}
	c.pass(200 * bft.Millisecond)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	c.commit(24)
	got := 0
	var held []letter
	free := false
	c.dropWhen = func(l letter) bool {
		if l.to == 3 && l.kind() == bft.TypeData && len(l.frame) > 100<<10 && !free {
			held = append(held, l)
			return true
		}
		return l.to == 3 && (l.kind() == bft.TypeVotes || l.kind() == bft.TypePrePrepare)
	}
	for round := range 60 {
		// one request's parts arrive in the time of a checkpoint interval and a half
		c.commit(12)
		c.pass(150 * bft.Millisecond)
		free = true
		for _, l := range held {
			got++
			_ = c.hand(l)
			if attack != nil {
				attack(c, got)
			}
		}
		held, free = nil, false
		c.settle()
		if c.hosts[3].info().Executed > 0 {
			t.Logf("installed after %d rounds, %d parts", round+1, got)
			return
		}
	}
	t.Fatalf("60 rounds, %d parts arrived, a state has 21: no state is ever installed%s", got, c.describe())
}

func TestAttackTransferUnderLoad(t *testing.T) { slowTransfer(t, nil) }

// A2. A liar who was not asked sends bad parts, each a few bytes.
func TestAttackBadPartsFromWhoWasNotAsked(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.pad = 5 << 20
	for _, h := range c.hosts {
		h.start()
	}
	c.pass(200 * bft.Millisecond)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	c.commit(24)
	h := c.hosts[3]
	h.sent = nil
	var held []letter
	hold := true
	c.dropWhen = func(l letter) bool {
		if hold && l.to == 3 && l.kind() == bft.TypeData && len(l.frame) > 100<<10 {
			held = append(held, l)
			return true
		}
		return l.to == 3 && (l.kind() == bft.TypeVotes || l.kind() == bft.TypePrePrepare)
	}
	for len(held) == 0 {
		c.pass(10 * bft.Millisecond)
	}
	held = nil
	before := len(h.sentKind(bft.TypeFetch))
	for range 100 {
		bad := &bftpb.Data{Part: &bftpb.StatePart{Seq: 24, Index: 0, Total: 21, Data: []byte{1}}}
		_ = c.hand(letter{1, 3, c.frame(bft.TypeData, bad)})
	}
	c.settle()
	bytes := 0
	for _, l := range held {
		bytes += len(l.frame)
	}
	if n := len(h.sentKind(bft.TypeFetch)) - before; n > 3 {
		t.Fatalf("100 bad parts of one byte from a peer that was not asked: %d new requests, %d MiB of parts sent by the honest", n, bytes>>20)
	}
}

// A6. A diverged replica under load: each checkpoint begins its transfer anew.
func TestAttackDivergedUnderLoad(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.pad = 5 << 20
	for _, h := range c.hosts {
		h.start()
	}
	c.pass(200 * bft.Millisecond)
	h := c.hosts[3]
	h.corrupt = func(s *bft.Snapshot) { s.State[0] ^= 66 }
	var held []letter
	free := false
	c.dropWhen = func(l letter) bool {
		if l.to == 3 && l.kind() == bft.TypeData && len(l.frame) > 100<<10 && !free {
			held = append(held, l)
			return true
		}
		return false
	}
	c.commit(9)
	if h.info().Diverged == "" {
		t.Fatal("not diverged", c.describe())
	}
	got := 0
	for range 60 {
		c.commit(12)
		c.pass(150 * bft.Millisecond)
		free = true
		for _, l := range held {
			got++
			_ = c.hand(l)
		}
		held, free = nil, false
		c.settle()
		if len(h.installs) > 0 {
			t.Log("installed", h.installs, got)
			return
		}
	}
	t.Fatalf("60 rounds, %d parts arrived, a state has 21: the replica never repairs itself%s", got, c.describe())
}

// A3. A liar offers a new-view of a lower view; the one of the present view is never completed.
func TestAttackLowerNewViewStarvesTheHonestOne(t *testing.T) {
	c := started(t, 4, nil)
	h := c.alone(3)
	liar := 1
	vc1 := []*bftpb.Envelope{c.viewChange(0, 1, 0, nil), c.viewChange(2, 1, 0, nil), c.viewChange(1, 1, 0, nil)}
	bogus := c.viewChange(1, 1, 0, nil, c.certify(0, 1, bft.Null, 1, 2))
	nv1 := c.newView(1, []*bftpb.Envelope{vc1[0], vc1[1], bogus})
	vc2 := []*bftpb.Envelope{c.viewChange(0, 2, 0, nil), c.viewChange(1, 2, 0, nil), c.viewChange(2, 2, 0, nil)}
	nv2 := c.newView(2, vc2)
	_ = c.hand(letter{bft.ReplicaID(liar), 3, c.framed(nv1)})
	_ = c.hand(letter{bft.ReplicaID(liar), 3, c.frame(bft.TypeData, &bftpb.Data{ViewChanges: vc1[:2]})})
	for i := range 200 {
		_ = c.hand(letter{2, 3, c.framed(nv2)})
		c.wait(100 * bft.Millisecond)
		// whatever it asks honest peers for, it gets
		asked := h.sentKind(bft.TypeFetch)
		h.sent = nil
		for _, l := range asked {
			var f bftpb.Fetch
			must(t, f.UnmarshalVT(l.frame[1:]))
			var d bftpb.Data
			for k := 0; k+32 <= len(f.Digests); k += 32 {
				for _, vc := range vc2 {
					if dg := digestOf(vc); bytes.Equal(dg[:], f.Digests[k:k+32]) {
						d.ViewChanges = append(d.ViewChanges, vc)
					}
				}
				if l.to == bft.ReplicaID(liar) {
					for _, vc := range vc1[:2] {
						if dg := digestOf(vc); bytes.Equal(dg[:], f.Digests[k:k+32]) {
							d.ViewChanges = append(d.ViewChanges, vc)
						}
					}
				}
			}
			if len(d.ViewChanges) > 0 {
				_ = c.hand(letter{l.to, 3, c.frame(bft.TypeData, &d)})
			}
		}
		if h.info().View == 2 && !h.info().Changing {
			t.Logf("entered after %d", i)
			return
		}
	}
	t.Fatalf("20 s: the new-view of 2, whose view-changes all are to be had, is never entered: %s", c.describe())
}

// A4. A new-view whose view-changes cannot be had for a while.
func TestAttackNewViewWhoseViewChangesComeLate(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(2)
	c.dropWhen = func(l letter) bool {
		return l.to == 3 && (l.kind() == bft.TypeViewChange || l.kind() == bft.TypeData) || l.from == 0 && l.kind() == bft.TypePrePrepare
	}
	c.commit(2) // in view 1
	c.pass(20 * bft.Second)
	c.dropWhen = nil
	c.pass(20 * bft.Second)
	if i := c.hosts[3].info(); i.View != c.hosts[1].info().View || i.Changing {
		t.Errorf("20 s after the links are whole replica 3 has not entered the view:%s", c.describe())
	}
	c.commit(4)
	c.pass(5 * bft.Second)
	if i := c.hosts[3].info(); i.View != c.hosts[1].info().View || i.Changing {
		t.Errorf("nor under load:%s", c.describe())
	}
	c.hosts[2].crash()
	c.mustAnswer(c.invoke(nil, counter.Add(1)), 10*bft.Second)
}

// A5. A bundle of the largest size that the primary has to be told of by members.
func TestAttackLargestBundlePassedOn(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) {
		cfg.MaxBundleBytes, cfg.MaxBatchBytes, cfg.MaxPoolBytes = 64<<10, 128<<10, 128<<10
	})
	must(t, c.cfg.Validate())
	c.commit(1)
	b := c.bundleOf(c.ring.NewKey([32]byte{6}), 0, 1, make([]byte, 60<<10))
	before := c.hosts[1].info().Executed
	for i := range 20 {
		c.give(b, 1, 2, 3) // the primary of view 0 cannot hear this client
		c.pass(500 * bft.Millisecond)
		if c.hosts[1].info().Executed > before {
			t.Log("ordered after", i, c.hosts[1].info().View)
			if c.hosts[1].info().View > 0 {
				t.Error("a good primary was left for it")
			}
			return
		}
	}
	t.Fatalf("never ordered:%s", c.describe())
}

// A7. The first part takes longer than checkpoints are apart.
func TestAttackFirstPartSlowerThanCheckpoints(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.pad = 5 << 20
	for _, h := range c.hosts {
		h.start()
	}
	c.pass(200 * bft.Millisecond)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	c.commit(24)
	type late struct {
		l   letter
		due int
	}
	var held []late
	round, got := 0, 0
	free := false
	c.dropWhen = func(l letter) bool {
		if l.to == 3 && l.kind() == bft.TypeData && len(l.frame) > 100<<10 && !free {
			held = append(held, late{l, round + 2})
			return true
		}
		return l.to == 3 && (l.kind() == bft.TypeVotes || l.kind() == bft.TypePrePrepare)
	}
	for round = 0; round < 100; round++ {
		c.commit(8) // one checkpoint in about 100 ms; a part takes 200 ms
		c.pass(100 * bft.Millisecond)
		free = true
		var rest []late
		for _, x := range held {
			if x.due > round {
				rest = append(rest, x)
				continue
			}
			got++
			_ = c.hand(x.l)
		}
		held, free = rest, false
		c.settle()
		if c.hosts[3].info().Executed > 0 {
			t.Logf("installed after %d rounds, %d parts", round+1, got)
			return
		}
	}
	t.Fatalf("%d rounds, %d parts arrived, a state has 21: no state is ever installed%s", round, got, c.describe())
}
