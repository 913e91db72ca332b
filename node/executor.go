package node

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// task is one thing for the executor: exactly one field is set.
type task struct {
	batch   *bft.Batch
	replay  *bft.Bundle
	stage   *bft.SnapshotPart
	install *bft.Install
	update  *bft.Batch
	judge   *bft.Batch
}

// executor owns the executed state: its goroutine alone changes the machine, and makes the
// replies. It never waits for the disk: snapshots are handed to a writer.
//
// backlog counts the batches in box. The box itself is bounded by the core's log window.
type executor struct {
	n       *Node
	box     *mailbox[task]
	backlog atomic.Int64
}

// take hands over what a Ready has for the executor, in its order.
func (e *executor) take(r *bft.Ready) {
	k := len(r.Execute) + len(r.Replay) + len(r.Stage)
	if k == 0 && r.Install == nil && r.Update == nil && r.Judge == nil {
		return
	}
	tasks := make([]task, 0, k+3)
	for _, b := range r.Execute {
		tasks = append(tasks, task{batch: b})
	}
	for i := range r.Stage {
		tasks = append(tasks, task{stage: &r.Stage[i]})
	}
	if r.Install != nil {
		tasks = append(tasks, task{install: r.Install})
	}
	for _, b := range r.Replay {
		tasks = append(tasks, task{replay: b})
	}
	if r.Update != nil {
		tasks = append(tasks, task{update: r.Update})
	}
	if r.Judge != nil {
		tasks = append(tasks, task{judge: r.Judge})
	}
	e.backlog.Add(int64(len(r.Execute)))
	e.box.put(tasks...)
}

func (e *executor) loop() {
	defer e.n.running.Done()
	defer e.n.storeFailed("executing an operation")
	for {
		tasks, ok := e.box.take()
		if !ok {
			return
		}
		for i := range tasks {
			e.run(&tasks[i])
		}
	}
}

func (e *executor) run(t *task) {
	switch {
	case t.batch != nil:
		e.execute(t.batch)
	case t.replay != nil:
		r := e.n.machine.Replay(t.replay)
		e.reply(t.replay, &r)
	case t.stage != nil:
		if err := e.n.store.Stage(*t.stage); err != nil {
			// The install will find the part missing, and the core fetches again.
			log.Errorf("a part of the state from a peer could not be kept: %v", err)
		}
	case t.install != nil:
		e.install(t.install)
	case t.update != nil:
		e.update(t.update)
	case t.judge != nil:
		e.judge(t.judge)
	}
}

// execute applies a batch, reports it and sends the replies.
func (e *executor) execute(b *bft.Batch) {
	n := e.n
	begin := n.now()
	out := n.machine.Execute(b)
	n.tracer.executed(b.Seq, begin, n.now())
	n.executed.Store(uint64(b.Seq))
	e.backlog.Add(-1)
	n.inbox.report(func(d *bft.Done) { d.Executed = append(d.Executed, out.Executed) })
	if b.Checkpoint {
		e.snapshot(b.Seq)
	}
	ops := 0
	for _, bundle := range b.Bundles {
		ops += len(bundle.Ops)
	}
	// Counted before the replies leave: who has one finds its operation in the metrics.
	n.metrics.batches.Inc()
	n.metrics.bundles.Add(float64(len(b.Bundles)))
	n.metrics.operations.Add(float64(ops))
	for i := range out.Replies {
		if r := &out.Replies[i]; !r.Void { // else the bundle is ordered again
			n.receipts.add(b.Bundles[i], r, b.Seq, out.Executed.Time)
			e.reply(b.Bundles[i], r)
		}
	}
}

// snapshot takes a handle on the state and hands it to the writer.
func (e *executor) snapshot(seq bft.Seq) {
	s, err := e.n.machine.Snapshot()
	if err != nil {
		// A missing checkpoint of this replica is made good by the next one; a service that cannot
		// take snapshots at all stops this replica's log from being cut, and is seen in the metrics.
		e.n.metrics.snapshotErrors.Inc()
		log.Errorf("no snapshot of the state at %d: %v", seq, err)
		return
	}
	e.n.disk.write(s)
}

// reply sends the results of a bundle on the connection that it came on, if it came on one. The
// replier that the client named sends them in full, others their digest (rule 28).
func (e *executor) reply(b *bft.Bundle, r *exec.Reply) {
	if info := e.n.info.Load(); info != nil && info.Diverged != "" {
		return // a state that differs from the quorum's answers nobody (rule 22)
	}
	to, ok := e.n.routes.take(b.Digest)
	if !ok || to.silent {
		return
	}
	results := fit(r.Results, forgotten)
	frame := bft.ReplyFrame(e.n.opts.Core.Self, bft.View(e.n.view.Load()), b, r.Session, results, to.replier)
	if !to.conn.Send(e.n.tracer.reply(to.conn, b.Digest, frame)) {
		e.n.metrics.replyDrops.Inc()
	}
}

// replyBytes bounds the results of one reply or answer, so that it fits a frame.
const replyBytes = 4 << 20

// What stands in a reply for a result that did not fit: the operation was executed, or the query
// has an answer, but it cannot be told.
var (
	forgotten = []byte{byte(exec.StatusForgotten)}
	tooLarge  = append([]byte{byte(exec.StatusFailed)}, "the answers to one bundle of queries exceed 4 MiB: ask for less at a time"...)
)

// fit replaces the results that would take a reply beyond replyBytes. What it does depends on the
// results alone, so that all replicas answer alike.
func fit(results [][]byte, instead []byte) [][]byte {
	size := 0
	for _, r := range results {
		size += len(r)
	}
	if size <= replyBytes {
		return results
	}
	out := make([][]byte, len(results))
	size = 0
	for i, r := range results {
		if size+len(r) > replyBytes {
			r = instead
		}
		size += len(r)
		out[i] = r
	}
	return out
}

// install replaces the executed state by the one that was fetched.
func (e *executor) install(in *bft.Install) {
	n := e.n
	done := bft.Installed{Seq: in.Seq}
	snap, err := n.store.Staged(in.Checkpoint)
	if err == nil {
		err = n.machine.Restore(snap.Reader())
		err = errors.Join(err, snap.Close())
		if broken := n.machineBroken(); broken != nil {
			n.fatal(fmt.Errorf("node: the certified state at %d could not be installed and the old one is gone: %w; start the replica again", in.Seq, errors.Join(err, broken)))
		}
	}
	if err != nil {
		log.Errorf("the state at %d, fetched from peers, could not be installed: %v", in.Seq, err)
	} else {
		done.OK, done.Time, done.Marks = true, n.machine.Time(), n.machine.Marks()
		n.executed.Store(uint64(in.Seq))
		n.disk.newest.Store(uint64(in.Seq))
		log.Infof("installed the state at %d, fetched from peers", in.Seq)
	}
	n.inbox.report(func(d *bft.Done) { d.Installed = &done })
}

// machineBroken tells whether a failed Restore has left the machine without a state.
func (n *Node) machineBroken() error {
	s, err := n.machine.Snapshot()
	if err != nil {
		return err
	}
	return s.Close()
}

// storeFailed, deferred, ends the process with a clear line when the store of a service fails.
// Other panics are bugs and take their course.
func (n *Node) storeFailed(what string) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok {
		var se *exec.StoreError
		if errors.As(err, &se) {
			n.fatal(fmt.Errorf("node: %s: %w; check the disk and start again", what, se))
		}
	}
	panic(p)
}
