package bft_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// host runs one replica. Its disk and its signer can be slow: then records, or signatures, wait
// until the test calls sync, or sign, in whatever order it likes.
type host struct {
	c       *cluster
	id      bft.ReplicaID
	replica *bft.Replica
	checker *bft.Checker
	machine *exec.Machine
	down    bool
	mute    bool                     // a twin: it may ask, but nobody hears what it signs
	said    map[statement]bft.Digest // what a twin's first instance had said when it started, and what it said since
	boots   uint64
	skew    bft.Time

	lateDone                                         []bft.Done
	snapshotFirst                                    bool
	slowDisk, slowSigner, slowChecker, lateSnapshots bool
	heldSnapshots                                    []bft.Snapshot
	unsynced                                         []bft.Record
	unsigned                                         []bft.SignRequest
	unchecked                                        []*bft.Bundle

	store   map[string][]byte // what is durable
	lsn     bft.LSN           // of the last durable record
	ever    map[string]bft.Digest
	snaps   map[bft.Seq][]byte
	digests map[bft.Seq]bft.Snapshot
	staged  []byte

	done     []bft.Done
	reads    []bft.ReadID
	busy     []*bft.Bundle
	replays  []*bft.Bundle
	batches  []*bft.Batch
	checked  []*bft.Bundle
	installs []bft.Seq
	sent     []letter
	// slowUpdates has batches wait in drafted; lie alters the updates, credulous takes any, wanting has what is to be judged.
	slowUpdates, credulous bool
	drafted, wanting       []*bft.Batch
	lie                    func(*bft.Updated)
	// corrupt, if set, changes the digest of the state that is reported at a number.
	corrupt func(*bft.Snapshot)
	watch   func(*bft.Ready) // if set, sees each one
	before  bft.Info
}

func newHost(c *cluster, id bft.ReplicaID) *host {
	return &host{c: c, id: id, store: map[string][]byte{}, ever: map[string]bft.Digest{},
		snaps: map[bft.Seq][]byte{}, digests: map[bft.Seq]bft.Snapshot{}}
}

func (h *host) info() bft.Info { return h.replica.Info() }

// crash ends the process. What was not durable is lost.
func (h *host) crash() {
	h.down = true
	h.unsynced, h.unsigned, h.unchecked, h.done, h.drafted = nil, nil, nil, nil, nil
}

// start begins the replica from what is on its disk.
func (h *host) start() {
	if err := h.tryStart(""); err != nil {
		h.c.t.Fatal(err)
	}
}

func (h *host) newMachine() *exec.Machine {
	factory := counter.New
	if h.c.cfg.Passive {
		factory = counter.NewPassive
	}
	service, err := factory(nil)
	if err != nil {
		h.c.t.Fatal(err)
	}
	if h.c.pad > 0 {
		service = padded{service, h.c.pad}
	}
	m, err := exec.New(exec.Config{Cluster: h.c.cfg.Cluster, Limits: exec.DefaultLimits(), Services: []exec.Service{{Name: "counter", Machine: service}}})
	if err != nil {
		h.c.t.Fatal(err)
	}
	return m
}

// restored is what the disk holds, with a machine in the state of the newest snapshot.
func (h *host) restored() (bft.Restored, *exec.Machine) {
	m := h.newMachine()
	x := bft.Restored{LSN: h.lsn, Boot: h.boots, Born: h.boots == 1}
	for _, k := range h.keysInOrder() {
		x.Records = append(x.Records, bft.KV{Key: []byte(k), Value: h.store[k]})
	}
	for s := range h.snaps {
		if s > x.Executed {
			x.Executed, x.Snapshot = s, h.digests[s]
		}
	}
	if x.Executed > 0 {
		if err := m.Restore(bytes.NewReader(h.snaps[x.Executed])); err != nil {
			h.c.t.Fatal(err)
		}
		x.Time, x.Marks = m.Time(), m.Marks()
	}
	return x, m
}

func (h *host) tryStart(amnesiac string) (err error) {
	h.crash()
	cfg := h.c.cfg
	cfg.Self = h.id
	h.boots++
	var restored bft.Restored
	restored, h.machine = h.restored()
	restored.Amnesiac = amnesiac
	if h.checker, err = bft.NewChecker(&cfg); err != nil {
		return err
	}
	if h.replica, err = bft.New(cfg, restored); err != nil {
		return err
	}
	h.down, h.batches, h.sent = false, nil, nil
	h.before = h.info()
	return nil
}

func (h *host) keysInOrder() []string {
	ks := make([]string, 0, len(h.store))
	for k := range h.store {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// disk is a copy of what is durable, to go back to: a disk restored from a backup.
type disk struct {
	store   map[string][]byte
	lsn     bft.LSN
	snaps   map[bft.Seq][]byte
	digests map[bft.Seq]bft.Snapshot
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func (h *host) backup() disk {
	return disk{copyMap(h.store), h.lsn, copyMap(h.snaps), copyMap(h.digests)}
}

func (h *host) rollback(d disk) {
	h.store, h.lsn, h.snaps, h.digests = copyMap(d.store), d.lsn, copyMap(d.snaps), copyMap(d.digests)
}

// turn lets the replica do what it wants until it wants nothing.
func (h *host) turn() {
	for i := 0; ; i++ {
		if i > 10000 {
			h.c.t.Fatalf("replica %d does not come to rest", h.id)
		}
		for _, d := range h.done {
			h.replica.Advance(d)
		}
		h.done = nil
		ready, ok := h.replica.Ready()
		if !ok {
			if len(ready.Progress) > 0 {
				h.c.t.Errorf("replica %d: steps that nobody will see: %+v", h.id, ready.Progress)
			}
			break
		}
		if h.watch != nil {
			h.watch(&ready)
		}
		h.carryOut(ready)
	}
	h.noteChanges()
}

func (h *host) carryOut(r bft.Ready) {
	for _, m := range r.Messages {
		h.leaves(m)
	}
	h.unsynced = append(h.unsynced, r.Records...)
	h.unsigned = append(h.unsigned, r.Sign...)
	h.unchecked = append(h.unchecked, r.Check...)
	h.checked = append(h.checked, r.Check...)
	if !h.slowDisk {
		h.sync(len(h.unsynced))
	}
	for !h.slowSigner && len(h.unsigned) > 0 {
		h.sign(0)
	}
	for !h.slowChecker && len(h.unchecked) > 0 {
		h.check(0)
	}
	var d bft.Done
	for _, b := range r.Execute {
		h.execute(b, &d)
	}
	for _, b := range r.Replay {
		h.reply(h.machine.Replay(b))
	}
	h.replays = append(h.replays, r.Replay...)
	h.busy = append(h.busy, r.Busy...)
	h.reads = append(h.reads, r.Reads...)
	for _, id := range r.Reads {
		h.event("answers read %d at %d", id, h.machine.Executed())
	}
	for _, q := range r.Serve {
		d.Parts = append(d.Parts, bft.ServedPart{Request: q, Part: h.part(q)})
	}
	for _, p := range r.Stage {
		if p.Index == 0 {
			h.staged = nil
		}
		h.staged = append(h.staged, p.Data...)
	}
	if r.Install != nil {
		d.Installed = h.install(r.Install)
	}
	if r.Update != nil {
		h.drafted = append(h.drafted, r.Update)
	}
	for !h.slowUpdates && len(h.drafted) > 0 {
		h.update()
	}
	if r.Judge != nil {
		h.wanting = append(h.wanting, r.Judge)
		ok := h.credulous || h.machine.Executed() != r.Judge.Seq-1 || h.machine.Plan(r.Judge).Check(r.Judge.Updates) == nil
		d.Judged = &bft.Judged{Seq: r.Judge.Seq, View: r.Judge.View, Digest: r.Judge.Digest, OK: ok}
	}
	if h.snapshotFirst && len(d.Snapshots) > 0 {
		h.done = append(h.done, bft.Done{Snapshots: d.Snapshots})
		h.lateDone = append(h.lateDone, bft.Done{Executed: d.Executed})
		d.Snapshots, d.Executed = nil, nil
	}
	h.done = append(h.done, d)
}

// update computes the updates of a batch.
func (h *host) update() {
	b := h.drafted[0]
	h.drafted = h.drafted[1:]
	u := &bft.Updated{Seq: b.Seq}
	if h.machine.Executed() == b.Seq-1 {
		c := h.machine.Plan(b).Compute()
		u.Bundles, u.Updates = c.Bundles, c.Updates
	}
	if h.lie != nil {
		h.lie(u)
	}
	h.done = append(h.done, bft.Done{Updated: u})
}

// sync makes the first k waiting records durable.
func (h *host) sync(k int) {
	for _, x := range h.unsynced[:k] {
		if x.To == nil {
			h.store[string(x.Key)] = x.Value
			h.ever[string(x.Key)+string(x.Value)] = bft.Digest{1}
			h.ever[string(x.Key)] = bft.Digest{1}
		} else {
			for key := range h.store {
				if key >= string(x.Key) && key < string(x.To) {
					delete(h.store, key)
				}
			}
		}
		h.lsn = x.LSN
	}
	if k > 0 {
		h.done = append(h.done, bft.Done{Persisted: h.lsn})
	}
	h.unsynced = append([]bft.Record(nil), h.unsynced[k:]...)
}

// sign signs the i-th waiting message.
func (h *host) sign(i int) {
	s := h.unsigned[i]
	h.unsigned = append(append([]bft.SignRequest(nil), h.unsigned[:i]...), h.unsigned[i+1:]...)
	h.done = append(h.done, bft.Done{Signed: []bft.Signed{{ID: s.ID, Signature: h.c.keys[h.id].Sign(s.Message)}}})
}

// check verifies the i-th waiting client signature.
func (h *host) check(i int) {
	b := h.unchecked[i]
	h.unchecked = append(append([]*bft.Bundle(nil), h.unchecked[:i]...), h.unchecked[i+1:]...)
	ok := h.c.ring.Verify(b.Client, bft.RequestSigningBytes(h.c.cfg.Cluster, b.Payload), b.Signature)
	h.done = append(h.done, bft.Done{Checked: []bft.Checked{{Digest: b.Digest, Valid: ok}}})
}

func (h *host) execute(b *bft.Batch, d *bft.Done) {
	if old, ok := h.c.executed[b.Seq]; ok && old != b.Digest {
		h.c.t.Fatalf("S1: replica %d executes another proposal at %d", h.id, b.Seq)
	}
	h.c.executed[b.Seq] = b.Digest
	h.batches = append(h.batches, b)
	if h.c.onEvent != nil {
		h.event("executes #%d %s", b.Seq, h.c.names.proposal(b.Proposal))
	}
	out := h.machine.Execute(b)
	d.Executed = append(d.Executed, out.Executed)
	for _, x := range out.Replies {
		if !x.Void {
			h.reply(x)
		}
	}
	switch {
	case b.Checkpoint && h.lateSnapshots:
		h.heldSnapshots = append(h.heldSnapshots, h.snapshot(b.Seq))
	case b.Checkpoint:
		d.Snapshots = append(d.Snapshots, h.snapshot(b.Seq))
	}
}

// reply notes the answer to a bundle, if it is one of the cluster's own client.
func (h *host) reply(x exec.Reply) {
	if x.Client != h.c.client.Public() {
		return
	}
	at := h.c.replies[x.First]
	if at == nil {
		at = map[bft.ReplicaID][]byte{}
		h.c.replies[x.First] = at
	}
	at[h.id] = bytes.Join(x.Results, []byte{'|'})
	if x.Session != 0 {
		h.c.session = x.Session
	}
}

func (h *host) snapshot(seq bft.Seq) bft.Snapshot {
	s, err := h.machine.Snapshot()
	if err != nil {
		h.c.t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := s.WriteTo(&buf); err != nil {
		h.c.t.Fatal(err)
	}
	x := bft.Snapshot{Seq: seq, State: bft.StateDigest(parts(buf.Bytes())), History: h.machine.HistoryRoot()}
	if h.corrupt != nil {
		h.corrupt(&x)
	} else if old, ok := h.c.states[seq]; ok && old != x.State && !h.c.liars[h.id] {
		h.c.t.Fatalf("S7: replica %d has another state at %d", h.id, seq)
	} else {
		h.c.states[seq] = x.State
	}
	h.snaps[seq], h.digests[seq] = buf.Bytes(), x
	return x
}

func (h *host) install(i *bft.Install) *bft.Installed {
	err := h.machine.Restore(bytes.NewReader(h.staged))
	h.event("installs the state of %d", i.Seq)
	h.installs = append(h.installs, i.Seq)
	h.snaps[i.Seq] = h.staged
	h.digests[i.Seq] = bft.Snapshot{Seq: i.Seq, State: i.Checkpoint.State, History: i.Checkpoint.History}
	for s := range h.snaps {
		if s > i.Seq {
			delete(h.snaps, s)
			delete(h.digests, s)
		}
	}
	return &bft.Installed{Seq: i.Seq, OK: err == nil, Time: h.machine.Time(), Marks: h.machine.Marks()}
}

func parts(b []byte) (ds []bft.Digest) {
	for len(b) > 0 {
		k := min(len(b), bft.PartSize)
		ds = append(ds, bft.PartDigest(b[:k]))
		b = b[k:]
	}
	return ds
}

func (h *host) part(q bft.PartRequest) *bft.SnapshotPart {
	b, ds := h.snaps[q.Seq], parts(h.snaps[q.Seq])
	if int(q.Index) >= len(ds) {
		return nil
	}
	from := int(q.Index) * bft.PartSize
	return &bft.SnapshotPart{Seq: q.Seq, Index: q.Index, Total: uint32(len(ds)), Data: b[from:min(len(b), from+bft.PartSize)],
		Path: bft.ProvePart(ds, int(q.Index))}
}

// leaves puts a message on its way, once it was looked at.
func (h *host) leaves(m bft.Outbound) {
	if bft.MessageType(m.Frame[0]) == bft.TypeStatus && !h.c.mayAsk(h) {
		return
	}
	h.examine(m.Frame)
	if kind := bft.MessageType(m.Frame[0]); h.mute && kind != bft.TypeStatus && kind != bft.TypeFetch {
		h.sent = append(h.sent, letter{h.id, m.To, m.Frame})
		return
	}
	for to := range h.c.hosts {
		if m.To == bft.ReplicaID(to) || m.To == bft.Everyone && bft.ReplicaID(to) != h.id {
			h.c.queue = append(h.c.queue, letter{h.id, bft.ReplicaID(to), m.Frame})
		}
	}
	h.sent = append(h.sent, letter{h.id, m.To, m.Frame})
	if h.c.onEvent != nil && bft.MessageType(m.Frame[0]) != bft.TypeStatus {
		to := "all"
		if m.To != bft.Everyone {
			to = fmt.Sprint(m.To)
		}
		h.event("-> %s: %s", to, h.c.names.frame(m.Frame))
	}
}

func recordKey(kind byte, seq, view uint64) string {
	return string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{kind}, seq), view))
}

// examine holds what leaves against rule 16 (its record is durable) and against everything that
// this member ever said (S9).
func (h *host) examine(frame []byte) {
	e, signer := envelopeIn(frame)
	if e == nil || signer != h.id {
		return
	}
	t, payload := h.c.t, e.Payload
	kept := func(key, value string) {
		if _, ok := h.ever[key+value]; !ok {
			t.Fatalf("D2: replica %d sends a %v before its record %x is durable", h.id, bft.MessageType(e.Type), key)
		}
	}
	say := func(s statement, d bft.Digest) {
		s.signer, s.kind = h.id, bft.MessageType(e.Type)
		said := h.c.said
		if h.mute {
			said = h.said
		}
		if old, ok := said[s]; ok && old != d {
			t.Fatalf("S9: replica %d contradicts itself: %+v", h.id, s)
		}
		said[s] = d
	}
	whole := crypto.Hash("payload", payload)
	switch bft.MessageType(e.Type) {
	case bft.TypeVotes:
		var p bftpb.Votes
		must(t, p.UnmarshalVT(payload))
		for _, v := range p.Votes {
			kept(recordKey(map[uint32]byte{1: 'a', 2: 'p'}[v.Phase], v.Seq, p.View), "")
			say(statement{phase: bft.Phase(v.Phase), view: bft.View(p.View), seq: bft.Seq(v.Seq)}, bft.Digest(v.Digest))
		}
	case bft.TypePrePrepare:
		var p bftpb.Header
		must(t, p.UnmarshalVT(payload))
		kept(recordKey('o', p.Seq, p.View), string(payload))
		say(statement{view: bft.View(p.View), seq: bft.Seq(p.Seq)}, whole)
	case bft.TypeCheckpoint:
		var p bftpb.Checkpoint
		must(t, p.UnmarshalVT(payload))
		kept(recordKey('k', p.Seq, 0)[:9], string(payload))
		if h.snaps[bft.Seq(p.Seq)] == nil && h.info().Stable < bft.Seq(p.Seq) {
			t.Fatalf("rule 18: replica %d says checkpoint %d without a snapshot", h.id, p.Seq)
		}
		say(statement{seq: bft.Seq(p.Seq)}, whole)
	case bft.TypeViewChange:
		var p bftpb.ViewChange
		must(t, p.UnmarshalVT(payload))
		kept("v", string(payload))
		say(statement{view: bft.View(p.View)}, whole)
	case bft.TypeNewView:
		var p bftpb.NewView
		must(t, p.UnmarshalVT(payload))
		for _, pre := range p.PrePrepares {
			var x bftpb.Header
			must(t, x.UnmarshalVT(pre.Payload))
			kept(recordKey('o', x.Seq, x.View), string(pre.Payload))
			e.Type = uint32(bft.TypePrePrepare)
			say(statement{view: bft.View(x.View), seq: bft.Seq(x.Seq)}, crypto.Hash("payload", pre.Payload))
		}
		e.Type = uint32(bft.TypeNewView)
		say(statement{view: bft.View(p.View)}, whole)
	}
}
