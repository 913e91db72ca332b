package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/baluarte-bft/baluarte/bft"
)

const (
	// retryPause is how long a slot waits after an error: who retries at once makes an overload worse.
	retryPause = 20 * time.Millisecond
	// drainTimeout bounds the wait for what is outstanding when the time is over.
	drainTimeout = 3 * time.Second
	// Histograms hold microseconds with three digits, up to ten minutes.
	histogramLowest, histogramHighest, histogramDigits = 1, 600_000_000, 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(histogramLowest, histogramHighest, histogramDigits)
}

// clock is the time of a load: nanoseconds since it began. What ends within [from, to) is measured.
type clock struct {
	now      func() int64
	from, to int64
}

func newClock(warmup, duration time.Duration) *clock {
	begin := time.Now()
	return &clock{now: func() int64 { return int64(time.Since(begin)) }, from: int64(warmup), to: int64(warmup + duration)}
}

// measures tells whether a moment is within the measured time.
func (c *clock) measures(at int64) bool { return at >= c.from && at < c.to }

// worker is the load of one client.
type worker struct {
	load  *load
	issue issue
	check func(kind, []byte) error
	clock *clock
	slots []slot    // of a closed loop
	calls openCalls // of an open loop

	// completed counts results at any time, for progress.
	completed atomic.Uint64
	// These are of the goroutine on which the client calls back, and may be read once the client is
	// closed. hists has the latencies by kind, made with the first of each; ended counts the results
	// within the measured time; slowest is the longest latency of those that ended after it.
	hists   [kinds]*hdrhistogram.Histogram
	ended   uint64
	slowest int64

	mu     sync.Mutex
	errors map[string]uint64 // by kind, within the measured time
	sample error             // the first of them
}

// slot is one outstanding operation of a client.
type slot struct {
	w     *worker
	next  source
	start int64
	kind  kind
	done  func([]byte, error)
}

// begin submits the first operation of each slot.
func (w *worker) begin() {
	for i := range w.slots {
		w.slots[i].submit(w.clock.now())
	}
}

// submit begins the next operation of the slot, or ends the slot when the time is over.
func (s *slot) submit(now int64) {
	w := s.w
	if now >= w.clock.to || w.load.stop.Load() {
		w.load.slotEnded()
		return
	}
	op := s.next()
	s.start, s.kind = now, op.kind
	if err := w.issue(op, s.done); err != nil {
		s.failed(now, err)
	}
}

// ended is called on the client's goroutine. The end of one operation is the start of the next, so
// that the clock is read once.
func (s *slot) ended(result []byte, err error) {
	w := s.w
	now := w.clock.now()
	if err == nil {
		err = w.check(s.kind, result)
	}
	if err != nil {
		s.failed(now, err)
		return
	}
	switch {
	case now < w.clock.from:
	case now < w.clock.to:
		w.record(s.kind, now-s.start)
		w.ended++
	default:
		w.slowest = max(w.slowest, now-s.start)
	}
	w.completed.Add(1)
	s.submit(now)
}

func (w *worker) record(k kind, nanoseconds int64) {
	if w.hists[k] == nil {
		w.hists[k] = newHistogram()
	}
	// Within the bounds it cannot fail.
	_ = w.hists[k].RecordValue(min(max(nanoseconds/1000, histogramLowest), histogramHighest))
}

// failed counts an error, and has the slot go on after a pause.
func (s *slot) failed(now int64, err error) {
	w := s.w
	w.countError(now, err)
	if w.load.stop.Load() {
		w.load.slotEnded()
		return
	}
	time.AfterFunc(retryPause, func() { s.submit(w.clock.now()) })
}

// countError counts an error that belongs to this moment.
func (w *worker) countError(at int64, err error) {
	if !w.clock.measures(at) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors[errorKind(err)]++
	if w.sample == nil {
		w.sample = err
	}
}

// errorKinds are the errors that are told apart, the more particular first.
var errorKinds = []struct {
	err  error
	name string
}{
	{errWrongResult, "wrong_result"},
	{bft.ErrOverloaded, "overloaded"},
	{bft.ErrSessionExpired, "session_expired"},
	{bft.ErrContended, "contended"},
	{bft.ErrReadFailed, "read_failed"},
	{bft.ErrRejected, "rejected"},
	{bft.ErrOutcomeUnknown, "outcome_unknown"},
	{bft.ErrNotSubmitted, "not_submitted"},
	{context.DeadlineExceeded, "timeout"},
}

func errorKind(err error) string {
	for _, k := range errorKinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "other"
}

// load is all workers of a measurement.
type load struct {
	clock   *clock
	stop    atomic.Bool // no new operations
	workers []*worker
	open    atomic.Int64 // slots that go on, or calls of an open loop that have not ended
	drained chan struct{}
	pacer   *pacer        // of an open loop
	stopped chan struct{} // closed with stop
	// drainTimeout bounds the wait for what is outstanding when the time is over.
	drainTimeout time.Duration
}

func newLoad(clock *clock) *load {
	return &load{clock: clock, drained: make(chan struct{}), stopped: make(chan struct{}), drainTimeout: drainTimeout}
}

func (l *load) newWorker(load workload, issue issue) *worker {
	w := &worker{load: l, issue: issue, check: load.check, clock: l.clock, errors: map[string]uint64{}}
	l.workers = append(l.workers, w)
	return w
}

// add makes the worker of one more client, which keeps depth operations outstanding.
func (l *load) add(depth int, load workload, issue issue) {
	at := len(l.workers)
	w := l.newWorker(load, issue)
	w.slots = make([]slot, depth)
	for i := range w.slots {
		s := &w.slots[i]
		s.w, s.next, s.done = w, load.source(at, i), s.ended
	}
	l.open.Add(int64(depth))
}

func (l *load) slotEnded() {
	if l.open.Add(-1) == 0 {
		close(l.drained)
	}
}

// run keeps the load up until the time is over or ctx ends, and then waits for what is outstanding, for a
// bounded time: a cluster that has stopped answers nothing. It returns how many operations had not
// ended then. It calls tick about each sampleEvery.
func (l *load) run(ctx context.Context, tick func(now int64, completed uint64)) (unanswered int) {
	paced := make(chan struct{})
	if l.pacer != nil {
		go func() {
			defer close(paced)
			l.pacer.run()
		}()
	} else {
		close(paced)
		for _, w := range l.workers {
			w.begin()
		}
	}
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	over := time.After(time.Duration(l.clock.to - l.clock.now()))
	for going := true; going; {
		select {
		case <-ticker.C:
		case <-over:
			going = false
		case <-ctx.Done():
			going = false
		}
		tick(l.clock.now(), l.completed())
	}
	l.stop.Store(true)
	close(l.stopped)
	<-paced
	select {
	case <-l.drained:
	case <-time.After(l.drainTimeout):
	}
	return int(l.open.Load())
}

// sampleEvery is how often the progress of a load is looked at.
const sampleEvery = 100 * time.Millisecond

func (l *load) completed() uint64 {
	sum := uint64(0)
	for _, w := range l.workers {
		sum += w.completed.Load()
	}
	return sum
}

// tally is what the workers of a load have measured together.
type tally struct {
	hist    *hdrhistogram.Histogram
	kinds   [kinds]*hdrhistogram.Histogram // nil if there were none
	ended   uint64                         // results within the measured time
	errors  map[string]uint64
	sample  error
	slowest time.Duration // of those that ended after the measured time
}

// tally may be called once all clients are closed.
func (l *load) tally() tally {
	t := tally{hist: newHistogram(), errors: map[string]uint64{}}
	for _, w := range l.workers {
		for k, h := range w.hists {
			if h == nil {
				continue
			}
			if t.kinds[k] == nil {
				t.kinds[k] = newHistogram()
			}
			t.kinds[k].Merge(h)
			t.hist.Merge(h)
		}
		t.ended += w.ended
		t.slowest = max(t.slowest, time.Duration(w.slowest))
		w.mu.Lock()
		for kind, n := range w.errors {
			t.errors[kind] += n
		}
		if t.sample == nil {
			t.sample = w.sample
		}
		w.mu.Unlock()
	}
	return t
}
