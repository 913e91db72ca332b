package single

import (
	"errors"
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

func (s *Server) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loop is the goroutine that forms batches and executes them.
func (s *Server) loop() {
	defer s.storeFailed()
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		for s.turn() && s.ctx.Err() == nil {
		}
	}
}

// turn begins the next batch and executes the last one; false if there was neither. The disk has the next
// one meanwhile.
func (s *Server) turn() bool {
	var ready *flying
	if s.inflight != nil && s.durable.Load() >= uint64(s.inflight.lsn) {
		ready, s.inflight = s.inflight, nil
	}
	began := s.inflight == nil && s.begin()
	if ready != nil {
		s.execute(ready)
	}
	return began || ready != nil
}

// begin gives the disk a batch of what waits, within the bounds of a batch.
func (s *Server) begin() bool {
	if uint64(s.seq) >= s.stable.Load()+uint64(s.core.Window) {
		return false // until a snapshot is durable
	}
	requests := s.takeWaiting()
	if len(requests) == 0 {
		return false
	}
	bundles := make([]*bft.Bundle, len(requests))
	for i := range requests {
		bundles[i] = requests[i].bundle
	}
	s.seq++
	now := max(bft.Time(time.Now().UnixNano()), s.machine.Time())
	s.inflight = &flying{batch: newBatch(s.seq, now, s.core.Interval, bundles), requests: requests}
	s.inflight.lsn = s.append(bft.Record{Key: batchKey(s.seq), Value: encodeBatch(now, bundles)}, true)
	return true
}

// append gives a record to the store and returns its LSN. They rise in the order of the calls.
func (s *Server) append(r bft.Record, urgent bool) bft.LSN {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.lsn++
	r.LSN = s.lsn
	s.store.Append([]bft.Record{r}, urgent)
	return r.LSN
}

// takeWaiting takes what waits out, up to a batch.
func (s *Server) takeWaiting() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ops, bytes := 0, 0, 0
	for n < len(s.waiting) {
		b := s.waiting[n].bundle
		ops, bytes = ops+len(b.Ops), bytes+b.Size()
		if n > 0 && (ops > s.core.MaxBatchOps || bytes > s.core.MaxBatchBytes) {
			break
		}
		s.waitingBytes -= b.Size()
		n++
	}
	if n == 0 {
		return nil
	}
	out := append([]request(nil), s.waiting[:n]...)
	rest := copy(s.waiting, s.waiting[n:])
	clear(s.waiting[rest:])
	s.waiting = s.waiting[:rest]
	return out
}

// execute applies a durable batch and sends the replies.
func (s *Server) execute(f *flying) {
	out := s.machine.Execute(f.batch)
	s.executed.Store(uint64(f.batch.Seq))
	if f.batch.Checkpoint {
		s.snapshot()
	}
	ops := 0
	for i := range out.Replies {
		r, to := &out.Replies[i], &f.requests[i]
		ops += len(to.bundle.Ops)
		to.conn.Send(bft.ReplyFrame(0, 0, to.bundle, r.Session, fit(r.Results), to.replier))
	}
	s.metrics.batches.Inc()
	s.metrics.bundles.Add(float64(len(out.Replies)))
	s.metrics.operations.Add(float64(ops))
}

// replyBytes bounds the results of one reply or answer, as a replica does, so that it fits a frame.
const replyBytes = 4 << 20

// fit replaces the results that would take a reply beyond replyBytes: the operation was executed, and its
// result cannot be told.
func fit(results [][]byte) [][]byte {
	size := 0
	for i, r := range results {
		if size+len(r) <= replyBytes {
			size += len(r)
			continue
		}
		out := append([][]byte(nil), results[:i]...)
		for range results[i:] {
			out = append(out, []byte{byte(exec.StatusForgotten)})
		}
		return out
	}
	return results
}

// snapshot hands the present state to the writer. One that has not been begun yet is not needed any more.
func (s *Server) snapshot() {
	snap, err := s.machine.Snapshot()
	if err != nil {
		s.fatal(fmt.Errorf("single: no snapshot of the state: %w", err))
	}
	s.mu.Lock()
	old := s.written
	s.written = snap
	s.mu.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			s.fatal(fmt.Errorf("single: closing a snapshot: %w", err))
		}
	}
	select {
	case s.snapshotSignal <- struct{}{}:
	default:
	}
}

// snapshotLoop is the goroutine that writes snapshots and cuts the log behind them.
func (s *Server) snapshotLoop() {
	for {
		select {
		case <-s.snapshotSignal:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		snap := s.written
		s.written = nil
		s.mu.Unlock()
		if snap == nil {
			continue
		}
		if err := s.writeSnapshot(snap); err != nil {
			s.fatal(fmt.Errorf("single: the snapshot at %d could not be written: %w; check the disk and start again", snap.Executed(), err))
		}
	}
}

func (s *Server) writeSnapshot(snap *exec.Snapshot) error {
	seq := snap.Executed()
	_, err := s.store.WriteSnapshot(seq, snap.HistoryRoot(), snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		return err
	}
	s.append(bft.Record{Key: batchKey(0), To: batchKey(seq + 1)}, false)
	s.stable.Store(uint64(seq))
	s.metrics.snapshots.Inc()
	s.signal()
	return s.store.PruneSnapshots(seq)
}

// storeFailed, deferred, ends the process with a clear line when the store of a service fails.
func (s *Server) storeFailed() {
	p := recover()
	if p == nil {
		return
	}
	var failed *exec.StoreError
	if err, ok := p.(error); ok && errors.As(err, &failed) {
		s.fatal(fmt.Errorf("single: %w; check the disk and start again", failed))
	}
	panic(p)
}
