package bench

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// The phases of a fault under load.
const (
	phaseWarmup = iota
	phaseBefore
	phaseDuring
	phaseAfter
	phases
)

// faultBucket is the resolution of the results over time.
const faultBucket = 10 * time.Millisecond

// faultLoad is a closed loop of empty operations of the counter. Unlike load, it counts all operations from the first
// to the last, so that it can be told afterwards whether one was lost, and notes when results came.
type faultLoad struct {
	begin   time.Time
	stop    atomic.Bool
	phase   atomic.Int32
	faultAt atomic.Int64 // nanoseconds since begin; 0: not yet
	// firstAfter is when the first operation ended that was submitted after faultAt; 0: none did.
	firstAfter atomic.Int64
	buckets    []atomic.Uint32
	completed  atomic.Uint64
	open       atomic.Int64
	drained    chan struct{}
	workers    []*faultWorker
}

// faultWorker is the load of one client.
type faultWorker struct {
	load  *faultLoad
	issue submit
	slots []faultSlot
	// acknowledged and hists are of the goroutine on which the client calls back, and may be read once the
	// client is closed.
	acknowledged uint64
	hists        [phases]*hdrhistogram.Histogram

	mu     sync.Mutex
	errors [phases]map[string]uint64
	// unknown operations failed in a way that leaves their outcome open.
	unknown uint64
	sample  error
}

// submit hands one operation to a client.
type submit func(done func([]byte, error)) error

// faultSlot is one outstanding operation.
type faultSlot struct {
	w     *faultWorker
	start int64
	done  func([]byte, error)
}

// newFaultLoad makes a load that lasts at most total.
func newFaultLoad(issues []submit, depth int, total time.Duration) *faultLoad {
	l := &faultLoad{buckets: make([]atomic.Uint32, total/faultBucket+1), drained: make(chan struct{})}
	for _, f := range issues {
		w := &faultWorker{load: l, issue: f, slots: make([]faultSlot, depth)}
		for p := range w.hists {
			w.hists[p], w.errors[p] = newHistogram(), map[string]uint64{}
		}
		for i := range w.slots {
			s := &w.slots[i]
			s.w, s.done = w, s.ended
		}
		l.workers = append(l.workers, w)
	}
	return l
}

func (l *faultLoad) now() int64 { return int64(time.Since(l.begin)) }

// start submits the first operation of each slot.
func (l *faultLoad) start() {
	l.begin = time.Now()
	for _, w := range l.workers {
		l.open.Add(int64(len(w.slots)))
	}
	for _, w := range l.workers {
		for i := range w.slots {
			w.slots[i].submit()
		}
	}
}

// enter begins a phase.
func (l *faultLoad) enter(phase int) { l.phase.Store(int32(phase)) }

// strike notes that the fault begins now.
func (l *faultLoad) strike() {
	l.faultAt.Store(l.now())
	l.enter(phaseDuring)
}

// end submits nothing more, and waits for what is outstanding, for a bounded time. It tells how many
// operations had not ended then.
func (l *faultLoad) end(patience time.Duration) int {
	l.stop.Store(true)
	select {
	case <-l.drained:
	case <-time.After(patience):
	}
	return int(l.open.Load())
}

// submit begins the next operation, or ends the slot.
func (s *faultSlot) submit() {
	l := s.w.load
	if l.stop.Load() {
		if l.open.Add(-1) == 0 {
			close(l.drained)
		}
		return
	}
	s.start = l.now()
	if err := s.w.issue(s.done); err != nil {
		s.failed(err, true)
	}
}

func (s *faultSlot) ended(result []byte, err error) {
	if err == nil {
		if err = counter.DecodeIncrement(result); err != nil {
			err = fmt.Errorf("%w: %w", errWrongResult, err)
		}
	}
	if err != nil {
		s.failed(err, errors.Is(err, bft.ErrNotSubmitted) || errors.Is(err, bft.ErrRejected))
		return
	}
	w, l := s.w, s.w.load
	now := l.now()
	w.acknowledged++
	l.completed.Add(1)
	// Within the bounds it cannot fail.
	_ = w.hists[l.phase.Load()].RecordValue(min(max((now-s.start)/1000, histogramLowest), histogramHighest))
	if i := int(now / int64(faultBucket)); i < len(l.buckets) {
		l.buckets[i].Add(1)
	}
	if at := l.faultAt.Load(); at != 0 && s.start >= at && l.firstAfter.Load() == 0 {
		l.firstAfter.CompareAndSwap(0, now)
	}
	s.submit()
}

// failed counts an error, and has the slot go on after a pause. harmless: the operation cannot have been executed.
func (s *faultSlot) failed(err error, harmless bool) {
	w := s.w
	w.mu.Lock()
	w.errors[w.load.phase.Load()][errorKind(err)]++
	if !harmless {
		w.unknown++
	}
	if w.sample == nil {
		w.sample = err
	}
	w.mu.Unlock()
	if w.load.stop.Load() {
		s.submit()
		return
	}
	time.AfterFunc(retryPause, s.submit)
}

// faultTally is what the workers have counted together.
type faultTally struct {
	acknowledged, unknown uint64
	hists                 [phases]*hdrhistogram.Histogram
	errors                [phases]map[string]uint64
	sample                error
}

// tally may be called once all clients are closed, when every call has ended.
func (l *faultLoad) tally() faultTally {
	var t faultTally
	for p := range t.hists {
		t.hists[p], t.errors[p] = newHistogram(), map[string]uint64{}
	}
	for _, w := range l.workers {
		w.mu.Lock()
		t.acknowledged += w.acknowledged
		t.unknown += w.unknown
		for p := range t.hists {
			t.hists[p].Merge(w.hists[p])
			for kind, n := range w.errors[p] {
				t.errors[p][kind] += n
			}
		}
		if t.sample == nil {
			t.sample = w.sample
		}
		w.mu.Unlock()
	}
	return t
}

// counts are the results of each faultBucket.
func (l *faultLoad) counts() []uint32 {
	c := make([]uint32, len(l.buckets))
	for i := range c {
		c[i] = l.buckets[i].Load()
	}
	return c
}
