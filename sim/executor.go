package sim

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// executor is the executing part of a host: one thing after the other, in the order given.
type executor struct {
	h       *host
	machine *exec.Machine
	// wrong is what the adversary has done with each operation of the batch that is executed.
	wrong func(m exec.StateMachine, ctx exec.Context, op []byte) []byte
	// staged are the parts of the snapshot that is being fetched.
	staged    map[uint32][]byte
	stagedSeq bft.Seq
}

// services makes the services, which tell the oracles what they apply.
func (x *executor) services(applied func(exec.Context, []byte)) ([]exec.Service, error) {
	keys, err := kv.New(memstore.New())
	if err != nil {
		return nil, err
	}
	newCounter := counter.New
	if x.h.w.opts.Load.Service == passiveCounter {
		newCounter = counter.NewPassive
	}
	number, err := newCounter(nil)
	if err != nil {
		return nil, err
	}
	all := []exec.Service{{Name: "kv", Machine: keys}, {Name: "counter", Machine: number}}
	if own := x.h.w.opts.Service; own != nil {
		m, err := own.New(x.place())
		if err != nil {
			return nil, err
		}
		all[1] = exec.Service{Name: ownService, Machine: m}
	}
	for i := range all {
		all[i].Machine = dressed(&observed{all[i].Machine, applied}, all[i].Machine)
	}
	return all, nil
}

// observed is a service that tells what it is asked to apply.
type observed struct {
	exec.StateMachine
	applied func(exec.Context, []byte)
}

// Apply tells, then applies.
func (o *observed) Apply(ctx exec.Context, op []byte) []byte {
	o.applied(ctx, op)
	return o.StateMachine.Apply(ctx, op)
}

func newExecutor(h *host) (*executor, error) {
	x := &executor{h: h}
	s, err := x.services(func(ctx exec.Context, op []byte) {
		if h.honest() {
			h.w.order.applied(h.id, &ctx, op)
		}
	})
	if err != nil {
		return nil, err
	}
	if more := h.w.opts.Load.State; more > 0 {
		s[0].Machine = dressed(&bulky{s[0].Machine, more}, s[0].Machine)
	}
	if h.liar != nil {
		for i := range s {
			within := s[i].Machine
			if m := h.liar.Machine(s[i].Name, s[i].Machine); h.lie() {
				s[i].Machine = dressed(m, within)
			}
			s[i].Machine = dressed(&meddled{s[i].Machine, x}, s[i].Machine)
		}
	}
	x.machine, err = exec.New(exec.Config{Cluster: h.w.cluster, Services: s, Limits: exec.DefaultLimits()})
	return x, err
}

// meddled is a service of a replica whose execution the adversary can spoil.
type meddled struct {
	exec.StateMachine
	x *executor
}

// Apply applies, unless the adversary wants something else.
func (m *meddled) Apply(ctx exec.Context, op []byte) []byte {
	if m.x.wrong != nil {
		return m.x.wrong(m.StateMachine, ctx, op)
	}
	return m.StateMachine.Apply(ctx, op)
}

// restore loads the newest durable snapshot.
func (x *executor) restore(r *bft.Restored) error {
	s := x.h.disk.newest()
	if s == nil {
		return nil
	}
	if err := x.machine.Restore(bytes.NewReader(s.bytes)); err != nil {
		return err
	}
	r.Executed, r.Time, r.Marks, r.Snapshot = s.seq, x.machine.Time(), x.machine.Marks(), s.info
	return nil
}

// later runs do when everything that was given to the executor before is done, after a time.
func (x *executor) later(cost Duration, do func()) { x.within(0, bft.Time(cost), do) }

// batch is later for executing a batch, which is what a slow machine takes long for.
func (x *executor) batch(do func()) {
	least, most := bft.Time(0), bft.Time(x.h.w.opts.Machine.Execute)
	if x.h.slow > 0 && most > 0 {
		most = bft.Time(x.h.w.opts.Protocol.RequestTimeout) / 10
		least = most / 2
	}
	x.within(least, most, do)
}

func (x *executor) within(least, most bft.Time, do func()) {
	h := x.h
	h.execFree = max(h.execFree, h.w.q.now) + between(h.r, least, most)
	h.when(h.execFree, do)
}

// run does what a Ready has for the executor.
func (x *executor) run(r *bft.Ready) {
	cost := x.h.w.opts.Machine.Execute
	for _, b := range r.Execute {
		var e byz.Execution
		if x.h.liar != nil {
			if e = x.befalls(b.Seq); e.Crash {
				return
			}
		}
		x.batch(func() {
			x.wrong = e.Apply
			x.execute(b)
			x.wrong = nil
		})
	}
	if r.Install != nil {
		// After what the same Ready executes, on the state that is replaced.
		i := *r.Install
		x.later(cost, func() { x.install(i) })
	}
	for _, b := range r.Replay {
		// A result that is kept is looked up, which costs little beside executing a batch.
		x.later(cost/20, func() { x.replies([]*bft.Bundle{b}, []exec.Reply{x.machine.Replay(b)}) })
	}
	// As in package node: what was to be executed comes before the state that replaces what came of it.
	for _, p := range r.Stage {
		if p.Seq != x.stagedSeq {
			x.staged, x.stagedSeq = make(map[uint32][]byte), p.Seq
		}
		x.staged[p.Index] = p.Data
	}
	for _, b := range r.Busy {
		if client, ok := x.h.w.endpointOf(b.Client); ok {
			x.h.reply(client, bft.BusyFrame(b))
		}
	}
	for _, id := range r.Reads {
		if q := x.h.reads[id]; q != nil {
			delete(x.h.reads, id)
			x.answer(q.client, q.query) // at once, as beside a batch that is being executed
		}
	}
	for _, p := range r.Serve {
		x.later(cost, func() { x.serve(p) })
	}
	x.passive(r)
}

// befalls has what the adversary wants happen to a replica that executes, and tells what did.
func (x *executor) befalls(seq bft.Seq) byz.Execution {
	h := x.h
	e := h.liar.Execute(seq)
	if !h.lie() {
		return byz.Execution{}
	}
	h.rotten = h.rotten || e.Apply != nil
	h.execFree = max(h.execFree, h.w.q.now) + e.Delay
	if e.Crash {
		h.crash()
		h.w.q.after(between(h.r, bft.Millisecond, bft.Time(h.w.opts.Protocol.RequestTimeout)), h.start)
	}
	return e
}

// execute executes a batch, replies, and takes the snapshot that the batch may ask for.
func (x *executor) execute(b *bft.Batch) {
	h := x.h
	if b.Seq != x.machine.Executed()+1 {
		if h.honest() {
			h.w.verdict.fail("S2", "replica %d is told to execute number %d after %d", h.id, b.Seq, x.machine.Executed())
		}
		return
	}
	if h.honest() {
		h.w.order.executing(h.id, b)
	}
	out := x.machine.Execute(b)
	h.w.trace.bytes(h.w.q.now, KindExecute, h.at, b.Digest[:], func() string {
		return fmt.Sprintf("number %d digest %s, %d bundles, committed in view %d", b.Seq, b.Digest.Short(), len(b.Bundles), b.View)
	})
	if h.honest() {
		h.w.order.executed(h.id, b, &out)
	}
	x.replies(b.Bundles, out.Replies)
	if b.Checkpoint {
		x.snapshot()
	}
	h.advance(bft.Done{Executed: []bft.Executed{out.Executed}})
}

func (x *executor) replies(bundles []*bft.Bundle, replies []exec.Reply) {
	h := x.h
	for i := range replies {
		r := &replies[i]
		client, ok := h.w.endpointOf(r.Client)
		if !ok || r.Void {
			continue
		}
		if h.honest() {
			h.w.order.replied(h.id, r)
		}
		if _, silent := h.silent[bundles[i].Digest]; silent {
			delete(h.silent, bundles[i].Digest)
			continue
		}
		replier, ok := h.replier[r.Client]
		if !ok {
			replier = bft.Everyone
		}
		h.reply(client, bft.ReplyFrame(h.id, h.replica.Info().View, bundles[i], r.Session, r.Results, replier))
	}
}

// snapshot serialises the state and reports it once it is durable.
func (x *executor) snapshot() {
	h := x.h
	s, err := x.serialise()
	if err != nil {
		h.w.broken("replica %d: snapshot: %v", h.id, err)
		return
	}
	h.w.trace.bytes(h.w.q.now, KindSnapshot, h.at, s.info.State[:], func() string {
		return fmt.Sprintf("number %d state %s history %s", s.seq, s.info.State.Short(), s.info.History.Short())
	})
	if h.honest() {
		h.w.order.snapshot(h.id, s.info)
	}
	life := h.life
	h.disk.keep(s, func() {
		h.running(life, func() { h.advance(bft.Done{Snapshots: []bft.Snapshot{s.info}}) })
	})
}

func (x *executor) serialise() (storedSnapshot, error) {
	snap, err := x.machine.Snapshot()
	if err != nil {
		return storedSnapshot{}, err
	}
	defer snap.Close()
	var all bytes.Buffer
	if _, err := snap.WriteTo(&all); err != nil {
		return storedSnapshot{}, err
	}
	s := storedSnapshot{seq: snap.Executed(), bytes: all.Bytes()}
	digests := make([]bft.Digest, 0, 1)
	for _, p := range parts(s.bytes) {
		digests = append(digests, bft.PartDigest(p))
	}
	s.info = bft.Snapshot{Seq: s.seq, State: bft.StateDigest(digests), History: snap.HistoryRoot()}
	return s, nil
}

// parts cuts a serialised snapshot as it travels: at least one part, which may be empty.
func parts(b []byte) [][]byte {
	out := slices.Collect(slices.Chunk(b, bft.PartSize))
	if len(out) == 0 {
		out = append(out, nil)
	}
	return out
}

// serve gives a part of a durable snapshot to a peer.
func (x *executor) serve(p bft.PartRequest) {
	served := bft.ServedPart{Request: p}
	if s := x.h.disk.at(p.Seq); s != nil {
		all := parts(s.bytes)
		if int64(p.Index) < int64(len(all)) {
			digests := make([]bft.Digest, len(all))
			for i := range all {
				digests[i] = bft.PartDigest(all[i])
			}
			served.Part = &bft.SnapshotPart{Seq: p.Seq, Index: p.Index, Total: uint32(len(all)), Data: all[p.Index],
				Path: bft.ProvePart(digests, int(p.Index))}
		}
	}
	x.h.advance(bft.Done{Parts: []bft.ServedPart{served}})
}

// install replaces the state by the staged snapshot, once it is durable.
func (x *executor) install(i bft.Install) {
	h := x.h
	failed := func() { h.advance(bft.Done{Installed: &bft.Installed{Seq: i.Seq}}) }
	if x.stagedSeq != i.Seq {
		failed()
		return
	}
	var all []byte
	for k := range uint32(len(x.staged)) {
		all = append(all, x.staged[k]...)
	}
	if err := x.machine.Restore(bytes.NewReader(all)); err != nil {
		failed()
		return
	}
	s, err := x.serialise()
	if err != nil || s.seq != i.Seq {
		h.w.broken("replica %d: a snapshot of %d that was installed is one of %d (%v)", h.id, i.Seq, s.seq, err)
		return
	}
	h.w.trace.bytes(h.w.q.now, KindInstall, h.at, s.info.State[:], func() string { return fmt.Sprintf("number %d state %s", s.seq, s.info.State.Short()) })
	h.w.stats.Installs++
	if h.honest() {
		h.w.order.installed(h.id, s.info)
	}
	done := bft.Installed{Seq: i.Seq, OK: true, Time: x.machine.Time(), Marks: x.machine.Marks()}
	life := h.life
	h.disk.keep(s, func() {
		h.running(life, func() { h.advance(bft.Done{Installed: &done}) })
	})
}

// answer answers a query from the present state.
func (x *executor) answer(client endpoint, q *bft.Query) {
	results := x.machine.Query(context.Background(), q.Ops)
	x.h.reply(client, bft.AnswerFrame(x.h.id, 0, x.machine.Executed(), q, results))
}

// replierOf is whom a request names to answer in full.
func replierOf(frame []byte) bft.ReplicaID {
	var r bftpb.Request
	if wire.Read(bft.TypeRequest, frame, &r) != nil {
		return bft.Everyone
	}
	return bft.ReplicaID(r.Replier)
}
