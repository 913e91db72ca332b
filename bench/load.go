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
	begin    time.Time
	from, to int64
}

func newClock(warmup, duration time.Duration) *clock {
	return &clock{begin: time.Now(), from: int64(warmup), to: int64(warmup + duration)}
}

func (c *clock) now() int64 { return int64(time.Since(c.begin)) }

// worker is the load of one client.
type worker struct {
	load  *load
	issue issue
	check func([]byte) error
	clock *clock
	slots []slot

	// completed counts results at any time, for progress.
	completed atomic.Uint64
	// hist and slowest are of the goroutine on which the client calls back, and may be read once the
	// client is closed. slowest is the longest latency of those that ended after the measured time.
	hist    *hdrhistogram.Histogram
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
	s.start = now
	if err := w.issue(s.next(), s.done); err != nil {
		s.failed(now, err)
	}
}

// ended is called on the client's goroutine. The end of one operation is the start of the next, so
// that the clock is read once.
func (s *slot) ended(result []byte, err error) {
	w := s.w
	now := w.clock.now()
	if err == nil {
		err = w.check(result)
	}
	if err != nil {
		s.failed(now, err)
		return
	}
	switch {
	case now < w.clock.from:
	case now < w.clock.to:
		record(w.hist, now-s.start)
	default:
		w.slowest = max(w.slowest, now-s.start)
	}
	w.completed.Add(1)
	s.submit(now)
}

func record(h *hdrhistogram.Histogram, nanoseconds int64) {
	// Within the bounds it cannot fail.
	_ = h.RecordValue(min(max(nanoseconds/1000, histogramLowest), histogramHighest))
}

// failed counts an error, and has the slot go on after a pause.
func (s *slot) failed(now int64, err error) {
	w := s.w
	if now >= w.clock.from && now < w.clock.to {
		w.mu.Lock()
		w.errors[errorKind(err)]++
		if w.sample == nil {
			w.sample = err
		}
		w.mu.Unlock()
	}
	if w.load.stop.Load() {
		w.load.slotEnded()
		return
	}
	time.AfterFunc(retryPause, func() { s.submit(w.clock.now()) })
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
	open    atomic.Int64 // slots that go on
	drained chan struct{}
	// drainTimeout bounds the wait for what is outstanding when the time is over.
	drainTimeout time.Duration
}

func newLoad(clock *clock) *load {
	return &load{clock: clock, drained: make(chan struct{}), drainTimeout: drainTimeout}
}

// add makes the worker of one more client.
func (l *load) add(depth int, load workload, issue issue) {
	w := &worker{load: l, issue: issue, check: load.check, clock: l.clock, slots: make([]slot, depth),
		hist: newHistogram(), errors: map[string]uint64{}}
	for i := range w.slots {
		s := &w.slots[i]
		s.w, s.next, s.done = w, load.source(len(l.workers), i), s.ended
	}
	l.workers = append(l.workers, w)
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
	for _, w := range l.workers {
		w.begin()
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
	errors  map[string]uint64
	sample  error
	slowest time.Duration // of those that ended after the measured time
}

// tally may be called once all clients are closed.
func (l *load) tally() tally {
	t := tally{hist: newHistogram(), errors: map[string]uint64{}}
	for _, w := range l.workers {
		t.hist.Merge(w.hist)
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
