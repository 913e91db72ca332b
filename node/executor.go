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
	replies replies
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
	e.replies = replies{batch: b, begin: n.now(), waiting: e.replies.waiting[:0]}
	out := n.machine.ExecuteEach(b, e.replied)
	n.tracer.executed(b.Seq, e.replies.begin, n.now())
	n.executed.Store(uint64(b.Seq))
	e.backlog.Add(-1)
	n.inbox.report(func(d *bft.Done) { d.Executed = append(d.Executed, out.Executed) })
	if b.Checkpoint {
		e.snapshot(b.Seq)
	}
	e.sendReplies()
	e.replies.batch = nil
}

// maxWaiting is how many bytes of results wait until their batch is executed. Beyond it they leave before that: what clients ask for with
// one batch may be a thousand times larger than memory.
const maxWaiting = 16 << 20

// replies are those of the batch that is being executed.
type replies struct {
	batch   *bft.Batch
	begin   bft.Time
	waiting []*exec.Reply
	next    int // the bundle of waiting[0]
	bytes   int // of the results in waiting
	counted bool
}

// replied takes the reply to the next bundle.
func (e *executor) replied(_ int, r *exec.Reply) {
	e.replies.waiting = append(e.replies.waiting, r)
	for _, result := range r.Results {
		e.replies.bytes += len(result)
	}
	if e.replies.bytes > maxWaiting {
		e.n.tracer.executed(e.replies.batch.Seq, e.replies.begin, e.n.now())
		e.sendReplies()
	}
}

// sendReplies sends the replies that wait, and lets go of their results.
func (e *executor) sendReplies() {
	x, n := &e.replies, e.n
	if !x.counted { // before the replies leave: who has one finds its operation in the metrics
		x.counted = true
		ops := 0
		for _, bundle := range x.batch.Bundles {
			ops += len(bundle.Ops)
		}
		n.metrics.batches.Inc()
		n.metrics.bundles.Add(float64(len(x.batch.Bundles)))
		n.metrics.operations.Add(float64(ops))
	}
	for k, r := range x.waiting {
		if bundle := x.batch.Bundles[x.next+k]; !r.Void { // else the bundle is ordered again
			n.receipts.add(bundle, r, x.batch.Seq, n.machine.Time())
			e.reply(bundle, r)
		}
		r.Results = nil
	}
	x.next += len(x.waiting)
	x.waiting, x.bytes = x.waiting[:0], 0
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
	frame := bft.ReplyFrame(e.n.opts.Core.Self, bft.View(e.n.view.Load()), b, r.Session, r.Results, to.replier)
	if !to.conn.Send(e.n.tracer.reply(to.conn, b.Digest, frame)) {
		e.n.metrics.replyDrops.Inc()
	}
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
