package bft_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// A replica far behind believes a certificate and no one's word; parts that are not of the certified
// state are refused, one by one.
func TestRule20StateIsBelievedByCertificateOnly(t *testing.T) {
	c := started(t, 4, nil)
	c.hosts[3].crash()
	c.commit(40)
	h := c.hosts[3]
	donor := c.hosts[0]
	stable := donor.info().Stable
	info := bft.CheckpointInfo{Seq: stable, State: donor.digests[stable].State, History: donor.digests[stable].History}
	h.start()
	c.alone(3)
	h.replica.Tick(c.now, c.now)
	for i := bft.ReplicaID(0); i < 3; i++ {
		must(t, c.hand(letter{i, 3, c.frame(bft.TypeStatus, &bftpb.Status{Stable: 1 << 40, Executed: 1 << 41, Sent: 1, AnswersStart: true, Boot: h.boots})}))
	}
	c.wait(3 * bft.Second)
	if i := h.info(); i.Executed != 0 || i.Stable != 0 {
		t.Fatalf("heights in a status are believed: %+v", i)
	}
	must(t, c.hand(letter{0, 3, c.frame(bft.TypeData, &bftpb.Data{Checkpoint: c.checkpointCert(info, 0, 1, 2)})}))
	part := func(change func(*bftpb.StatePart)) []byte {
		p := donor.part(bft.PartRequest{Seq: stable})
		x := &bftpb.StatePart{Seq: uint64(p.Seq), Index: p.Index, Total: p.Total, Data: bytes.Clone(p.Data)}
		for _, d := range p.Path {
			x.Path = append(x.Path, bytes.Clone(d[:]))
		}
		change(x)
		return c.frame(bft.TypeData, &bftpb.Data{Part: x})
	}
	for _, change := range []func(*bftpb.StatePart){
		func(x *bftpb.StatePart) { x.Data[3] ^= 1 },
		func(x *bftpb.StatePart) { x.Total++ },
		func(x *bftpb.StatePart) { x.Data = x.Data[:len(x.Data)-1] },
		func(x *bftpb.StatePart) { x.Path[0][0] ^= 1 },
		func(x *bftpb.StatePart) { x.Seq += 8 },
	} {
		_ = c.hand(letter{1, 3, part(change)})
		if len(h.installs) != 0 {
			t.Fatal("a false part is installed")
		}
	}
	must(t, c.hand(letter{1, 3, part(func(*bftpb.StatePart) {})}))
	if i := h.info(); i.Executed != stable || i.Stable != stable || len(h.installs) != 1 {
		t.Fatalf("the state is not installed: %+v", i)
	}
}

// A transfer may begin, end or fail at any moment: nothing is executed twice, no counter is reset, and
// the states stay the same (the cluster's watch compares them).
func TestRule20TransferAtAnyMoment(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := started(t, 4, nil)
		c.commit(rapid.IntRange(0, 20).Draw(rt, "before"))
		h := c.hosts[3]
		h.crash()
		c.commit(rapid.IntRange(17, 50).Draw(rt, "missed"))
		h.start()
		lose := rapid.IntRange(0, 3).Draw(rt, "of ten data messages get lost")
		k := 0
		c.dropWhen = func(l letter) bool {
			k++
			return l.to == 3 && l.kind() == bft.TypeData && k%10 < lose
		}
		for i := rapid.IntRange(0, 6).Draw(rt, "steps"); i > 0; i-- {
			c.pass(bft.Time(rapid.IntRange(1, 30).Draw(rt, "time")) * 10 * bft.Millisecond)
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				c.invoke(nil, counter.Add(1))
			case 1:
				h.start()
			}
		}
		c.dropWhen = nil
		c.passUntil(10*bft.Second, "it is up with the others", c.converged)
		c.commit(9)
		c.passUntil(3*bft.Second, "all have a checkpoint", c.converged)
		if h.machine.HistoryRoot() != c.hosts[0].machine.HistoryRoot() {
			t.Fatal("different histories")
		}
	})
}

// A replica that is behind catches up although no new request comes.
func TestRule21CatchesUpWithoutNewRequests(t *testing.T) {
	for _, missed := range []int{1, 5, 60} {
		c := started(t, 5, nil)
		c.commit(2)
		c.hosts[4].crash()
		c.commit(missed)
		c.hosts[4].start()
		c.passUntil(3*bft.Second, "it catches up in silence", func() bool { return c.hosts[4].info().Executed == bft.Seq(2+missed) })
	}
}

// One that committed helps the others commit, though it needs nothing itself.
func TestRule21WhoCommittedHelpsTheOthers(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(1)
	c.dropWhen = func(l letter) bool { return l.kind() == bft.TypeVotes && l.to != 1 }
	c.invoke(nil, counter.Add(1))
	if c.hosts[1].info().Executed != 1 {
		// Replica 1 has the prepares of all, but commits need prepares elsewhere.
		t.Fatal(c.describe())
	}
	c.dropWhen = func(l letter) bool {
		return l.kind() == bft.TypeVotes && l.to != 1 && strings.Contains(c.names.frame(l.frame), "commit")
	}
	c.passUntil(bft.Second, "replica 1 commits", func() bool { return c.hosts[1].info().Executed == 2 })
	for _, h := range c.hosts {
		if h.id != 1 && h.info().Executed != 1 {
			t.Fatal(c.describe())
		}
	}
	// Commits still never arrive, but its certificate does.
	c.passUntil(2*bft.Second, "the others get it from replica 1", func() bool { return c.hosts[0].info().Executed == 2 && c.hosts[3].info().Executed == 2 })
}

func TestRule22DivergedReplicaStopsServingAndRepairsItself(t *testing.T) {
	c := started(t, 4, nil)
	h := c.hosts[2]
	h.corrupt = func(s *bft.Snapshot) { s.State = crypto.Hash("wrong") }
	c.dropWhen = func(l letter) bool { return l.to == 2 && l.kind() == bft.TypeData }
	c.commit(8)
	c.passUntil(bft.Second, "it sees that it is wrong", func() bool { return h.info().Diverged != "" })
	if err := h.replica.Read(1); !errors.Is(err, bft.ErrBusy) {
		t.Fatalf("a diverged replica answers reads: %v", err)
	}
	if h.info().Stable != 0 || c.hosts[0].info().Stable != 8 {
		t.Fatalf("%s", c.describe())
	}
	h.corrupt = nil
	c.dropWhen = nil
	c.passUntil(3*bft.Second, "it repairs itself", func() bool { return h.info().Diverged == "" })
	if len(h.installs) != 1 || h.info().Stable != 8 || h.machine.HistoryRoot() != c.hosts[0].machine.HistoryRoot() {
		t.Fatalf("%s", c.describe())
	}
	c.commit(8)
	c.passUntil(2*bft.Second, "the next checkpoint is equal", func() bool { return h.info().Stable == 16 })
}

// It never signs a second digest for a number, not even the right one.
func TestRule22NoSecondDigestForANumber(t *testing.T) {
	c := started(t, 4, nil)
	h := c.hosts[2]
	h.corrupt = func(s *bft.Snapshot) { s.State = crypto.Hash("wrong") }
	c.commit(8)
	h.corrupt = nil
	c.passUntil(3*bft.Second, "it repairs itself", func() bool { return len(h.installs) == 1 && h.info().Stable == 8 })
	h.start()
	c.pass(bft.Second)
	var digests []string
	for _, e := range h.envelopes(bft.TypeCheckpoint) {
		var p bftpb.Checkpoint
		must(t, p.UnmarshalVT(e.Payload))
		if p.Seq == 8 {
			digests = append(digests, string(p.State))
		}
	}
	for _, d := range digests {
		wrong := crypto.Hash("wrong")
		if d != string(wrong[:]) {
			t.Fatal("a second digest for 8")
		}
	}
}

// When no digest can reach Q any more there is an alarm at every replica, not a silent stop at H.
func TestRule22AlarmWhenNoStateCanReachAQuorum(t *testing.T) {
	c := started(t, 4, nil)
	for _, h := range c.hosts[2:] {
		h.corrupt = func(s *bft.Snapshot) { s.State = crypto.Hash("wrong", []byte{byte(h.id)}) }
	}
	c.commit(8)
	c.pass(300 * bft.Millisecond)
	for _, h := range c.hosts {
		if i := h.info(); !strings.Contains(i.Diverged, "quorum") || i.Stable != 0 {
			t.Fatalf("replica %d is silent about it: %+v", h.id, i)
		}
	}
}

// The same when the wrong digest of 16 was said before the state of 8 was repaired: the replica comes to 16
// a second time, with the right state, and has nothing more to say about it.
func TestRule22NoSecondDigestAfterExecutingAgain(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(7)
	h := c.alone(2)
	wrong := func(s *bft.Snapshot) { s.State = crypto.Hash("wrong", []byte{byte(s.Seq)}) }
	h.corrupt = wrong
	for s := bft.Seq(8); s <= 16; s++ {
		b := c.bundle(counter.Add(1))
		must(t, c.hand(letter{0, 2, c.committedData(0, s, proposal(c.now, b), []*bft.Bundle{b}, 0, 1, 3)}))
	}
	if len(h.envelopes(bft.TypeCheckpoint)) != 2 {
		t.Fatal("it has not said 8 and 16")
	}
	h.corrupt = nil
	right := bft.CheckpointInfo{Seq: 8, State: bft.StateDigest(parts(h.snaps[8])), History: h.digests[8].History}
	p := h.part(bft.PartRequest{Seq: 8})
	must(t, c.hand(letter{0, 2, c.frame(bft.TypeData, &bftpb.Data{Checkpoint: c.checkpointCert(right, 0, 1, 3)})}))
	must(t, c.hand(letter{0, 2, c.frame(bft.TypeData, &bftpb.Data{Part: &bftpb.StatePart{Seq: 8, Total: p.Total, Data: p.Data, Path: pathOf(p)}})}))
	if i := h.info(); len(h.installs) != 1 || i.Executed != 16 || i.Stable != 8 || h.digests[16].State == crypto.Hash("wrong", []byte{16}) {
		t.Fatalf("it did not execute again: %+v", i)
	}
	c.wait(bft.Second)
	for _, e := range h.envelopes(bft.TypeCheckpoint) {
		var x bftpb.Checkpoint
		must(t, x.UnmarshalVT(e.Payload))
		if d := crypto.Hash("wrong", []byte{byte(x.Seq)}); string(x.State) != string(d[:]) {
			t.Fatalf("a second digest for %d", x.Seq)
		}
	}
}

func pathOf(p *bft.SnapshotPart) (path [][]byte) {
	for _, d := range p.Path {
		path = append(path, bytes.Clone(d[:]))
	}
	return path
}

// A replica that has executed a checkpoint's number but missed the certificate gets it without new
// requests, though the others have restarted since it became stable.
func TestRule21LearnsACertificateThatTheOthersHadBeforeTheyRestarted(t *testing.T) {
	c := started(t, 4, nil)
	c.dropWhen = func(l letter) bool { return l.to == 3 && (l.kind() == bft.TypeCheckpoint || l.kind() == bft.TypeData) }
	c.commit(8)
	if c.hosts[0].info().Stable != 8 || c.hosts[3].info().Stable != 0 || c.hosts[3].info().Executed != 8 {
		t.Fatal(c.describe())
	}
	for _, h := range c.hosts[:3] {
		h.start()
	}
	c.dropWhen = nil
	c.passUntil(3*bft.Second, "it has the stable checkpoint", func() bool { return c.hosts[3].info().Stable == 8 })
}

// Whoever lacks what the others have cut from their logs does not ask for it again and again: their
// certificates say at once that only the state is left.
func TestRule21FetchesTheStateAtOnceWhenLogsAreCut(t *testing.T) {
	c := started(t, 4, nil)
	c.dropWhen = func(l letter) bool { return l.to == 3 }
	c.commit(9) // the checkpoint at 8 is within the window of replica 3
	if c.hosts[0].info().Stable != 8 || c.hosts[3].info().Executed != 0 {
		t.Fatal(c.describe())
	}
	c.dropWhen = nil
	c.passUntil(5*c.cfg.StatusInterval, "it has the state", func() bool { return c.hosts[3].info().Executed == 9 })
}
