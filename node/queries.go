package node

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/trace"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// maxReads bounds the linearizable reads that wait; beyond it they are refused.
	maxReads = 4096
	// queryTimeout bounds a query's execution, and the wait of a linearizable read.
	queryTimeout = 5 * time.Second
)

// waitingQuery is a linearizable read that the core has not released yet.
type waitingQuery struct {
	conn  *transport.ClientConn
	query *bft.Query
	since time.Time
	// tag is set if the client wants the read traced, and released then when the core released it.
	tag      *callTag
	released bft.Time
}

// queries answers reads. Stale ones run on the reader of their client's stream, linearizable ones
// on goroutines of its own once the core has released them; slots bounds both together.
type queries struct {
	slots chan struct{}
	ready chan waitingQuery

	mu      sync.Mutex
	nextID  bft.ReadID
	waiting map[bft.ReadID]waitingQuery
}

func newQueries() *queries {
	return &queries{slots: make(chan struct{}, 4*runtime.GOMAXPROCS(0)), ready: make(chan waitingQuery, maxReads),
		waiting: make(map[bft.ReadID]waitingQuery)}
}

// query takes a query of a client. An error is one that no correct client makes.
func (n *Node) query(c *transport.ClientConn, frame []byte, tag *callTag) error {
	q, err := bft.DecodeQuery(frame, n.opts.Core.MaxBundleOps, n.opts.Core.MaxBundleBytes)
	if err != nil {
		n.metrics.badRequests.Inc()
		return err
	}
	w := waitingQuery{conn: c, query: q, since: time.Now(), tag: tag}
	if q.Consistency == bft.Stale {
		// The core judges linearizable reads; this is the same judgement (rules 19 and 22).
		if info := n.info.Load(); info != nil && (info.Diverged != "" || info.Amnesiac != "") {
			n.refuse(w)
		} else {
			n.answer(w)
		}
		return nil
	}
	id, ok := n.queries.wait(w)
	if !ok || !n.inbox.add(input{read: id, from: fromClients, size: len(frame)}) {
		n.queries.take(id)
		n.refuse(w)
	}
	return nil
}

func (qs *queries) wait(w waitingQuery) (bft.ReadID, bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if len(qs.waiting) >= maxReads {
		return 0, false
	}
	qs.nextID++
	qs.waiting[qs.nextID] = w
	return qs.nextID, true
}

func (qs *queries) take(id bft.ReadID) (waitingQuery, bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	w, ok := qs.waiting[id]
	delete(qs.waiting, id)
	return w, ok
}

func (qs *queries) len() int {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return len(qs.waiting)
}

// expire takes out the reads that have waited too long.
func (qs *queries) expire(now time.Time) (late []waitingQuery) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for id, w := range qs.waiting {
		if now.Sub(w.since) > queryTimeout {
			late = append(late, w)
			delete(qs.waiting, id)
		}
	}
	return late
}

// released passes on the reads that the core lets answer now.
func (n *Node) released(ids []bft.ReadID) {
	for _, id := range ids {
		w, ok := n.queries.take(id)
		if !ok {
			continue
		}
		if w.tag != nil {
			w.released = n.now()
		}
		select {
		case n.queries.ready <- w:
		default:
			n.refuse(w)
		}
	}
}

// readerLoop is one of the goroutines that answer linearizable reads.
func (n *Node) readerLoop() {
	defer n.running.Done()
	for {
		select {
		case w := <-n.queries.ready:
			n.answer(w)
		case <-n.ctx.Done():
			return
		}
	}
}

// answer runs a query on the present state.
func (n *Node) answer(w waitingQuery) {
	n.queries.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(n.ctx, queryTimeout)
	executed := bft.Seq(n.executed.Load())
	begin := n.now()
	results := n.machineQuery(ctx, w.query.Ops)
	end := n.now()
	cancel()
	<-n.queries.slots
	n.metrics.queries.Inc()
	n.metrics.reads.Add(float64(len(w.query.Ops)))
	answer := bft.AnswerFrame(n.opts.Core.Self, n.opts.Core.Epoch, executed, w.query, results)
	if w.tag != nil {
		answer = trace.ReplyFrame(w.tag.id, w.readReport(n.now(), begin, end), answer)
	}
	w.conn.Send(answer)
}

// refuse declines a query for now.
func (n *Node) refuse(w waitingQuery) {
	n.metrics.busy.Inc()
	answer := bft.AnswerFrame(n.opts.Core.Self, n.opts.Core.Epoch, bft.Seq(n.executed.Load()), w.query, nil)
	if w.tag != nil {
		at := time.Duration(n.now() - w.tag.arrived)
		answer = trace.ReplyFrame(w.tag.id, &trace.Report{Attempt: w.tag.attempt, Read: true, Events: []trace.Event{{Step: trace.Refused, At: at}}}, answer)
	}
	w.conn.Send(answer)
}

// machineQuery ends the process if the service's store fails, as execution does.
func (n *Node) machineQuery(ctx context.Context, ops [][]byte) [][]byte {
	defer n.storeFailed("answering a query")
	return n.machine.Query(ctx, ops)
}
