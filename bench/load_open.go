package bench

import (
	"math"
	"math/rand/v2"
	"time"
)

// An open loop offers operations at times that were fixed before, whatever becomes of the earlier ones, as
// users do who do not know of each other. Latency counts from the time at which an operation was
// to begin, so that a stall is in the latencies of all who would have come during it, also where
// the load itself came late: there is no coordinated omission.

// arrivals is the schedule of an open loop: the same for the same arguments.
type arrivals struct {
	interval float64 // nanoseconds, the mean
	clients  int
	random   *rand.Rand // nil: evenly spaced, the clients in turn
	count    uint64
	at       float64
}

func newArrivals(o *Options) *arrivals {
	a := &arrivals{interval: float64(time.Second) / o.Rate, clients: o.Clients}
	if o.Arrivals != ArrivalsEven {
		a.random = rand.New(rand.NewPCG(o.Seed, 0))
	}
	return a
}

// next returns when the next operation begins, in nanoseconds, and at which client.
func (a *arrivals) next() (at int64, client int) {
	if a.random == nil {
		a.at = float64(a.count) * a.interval
		client = int(a.count % uint64(a.clients))
	} else {
		// Each client alone is a Poisson process too.
		a.at += a.random.ExpFloat64() * a.interval
		client = a.random.IntN(a.clients)
	}
	a.count++
	return int64(math.Min(a.at, math.MaxInt64/2)), client
}

// pacer is the goroutine of an open loop that begins the operations of all clients.
type pacer struct {
	load     *load
	arrivals *arrivals
	// wait returns at this time of the load's clock, or when the load stops.
	wait func(until int64)
	// offered counts the operations that were to begin within the measured time, missed those of them for
	// which the load had no time.
	offered, missed uint64
}

// openCalls are the calls of one client in an open loop.
type openCalls struct {
	next  source
	limit int // of calls that are outstanding
	// free has the slots of calls that have ended, made counts all; under the worker's mu.
	free []*slot
	made int
	// shed counts the operations of the measured time that were never submitted, since limit others were
	// outstanding. It is of the pacer's goroutine.
	shed uint64
}

// newOpenLoad makes a load that keeps to the schedule of o. Workers are added by addOpen.
func newOpenLoad(o *Options, clock *clock) *load {
	l := newLoad(clock)
	l.pacer = &pacer{load: l, arrivals: newArrivals(o), wait: l.waitUntil}
	l.open.Store(1) // the pacer
	return l
}

// waitUntil is the pacer's wait by the real clock.
func (l *load) waitUntil(until int64) {
	t := time.NewTimer(time.Duration(until - l.clock.now()))
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.stopped:
	}
}

// addOpen makes the worker of one more client, of which at most limit operations are outstanding.
func (l *load) addOpen(limit int, load workload, issue issue) {
	at := len(l.workers)
	w := l.newWorker(load, issue)
	w.calls = openCalls{next: load.source(at, 0), limit: limit}
}

// openLimit is the number of operations that each client may have outstanding in an open loop.
func (o *Options) openLimit() int { return min(maxDepth, MaxOutstanding/o.Clients) }

// timerSlack is how late a timer may be on a machine that is busy.
const timerSlack = 10 * time.Millisecond

// run begins each operation at its time, or as soon after it as it can. Those that it has not come to when
// the time is over count as offered and not submitted.
func (p *pacer) run() {
	l := p.load
	defer l.slotEnded()
	for {
		at, client := p.arrivals.next()
		if at >= l.clock.to {
			return
		}
		for l.clock.now() < at && !l.stop.Load() {
			p.wait(at)
		}
		over := l.stop.Load()
		if over && l.clock.now() < l.clock.to {
			return // cancelled
		}
		// What was due within a timer's slack before the end is not missed, but late like everything else.
		missed := over && l.clock.now()-at >= int64(timerSlack)
		if l.clock.measures(at) {
			p.offered++
			if missed {
				p.missed++
			}
		}
		if !missed {
			l.workers[client].offer(at)
		}
	}
}

// offer begins an operation that was to begin at this time.
func (w *worker) offer(at int64) {
	s := w.takeCall()
	if s == nil {
		if w.clock.measures(at) {
			w.calls.shed++
		}
		return
	}
	op := w.calls.next()
	s.start, s.kind = at, op.kind
	w.load.open.Add(1)
	if err := w.issue(op, s.done); err != nil {
		w.countError(at, err)
		w.callEnded(s)
	}
}

// takeCall returns a slot that is free, or nil at the limit.
func (w *worker) takeCall() *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &w.calls
	if n := len(c.free); n > 0 {
		s := c.free[n-1]
		c.free = c.free[:n-1]
		return s
	}
	if c.made >= c.limit {
		return nil
	}
	c.made++
	s := &slot{w: w}
	s.done = s.endedOpen
	return s
}

func (w *worker) callEnded(s *slot) {
	w.mu.Lock()
	w.calls.free = append(w.calls.free, s)
	w.mu.Unlock()
	w.load.slotEnded()
}

// endedOpen is called on the client's goroutine. A latency belongs to the measured time if its
// operation was to begin within it, however late it ends; the throughput counts what ended within it.
func (s *slot) endedOpen(result []byte, err error) {
	w := s.w
	now := w.clock.now()
	if err == nil {
		err = w.check(s.kind, result)
	}
	if err != nil {
		w.countError(s.start, err)
		w.callEnded(s)
		return
	}
	if w.clock.measures(s.start) {
		w.record(s.kind, now-s.start)
		if now >= w.clock.to {
			w.slowest = max(w.slowest, now-s.start)
		}
	}
	if w.clock.measures(now) {
		w.ended++
	}
	w.completed.Add(1)
	w.callEnded(s)
}

// openTally is what an open loop has counted beside a tally: operations that were to begin within the
// measured time, and those of them that were never submitted.
type openTally struct{ offered, shed uint64 }

// openTally may be called once run has returned.
func (l *load) openTally() openTally {
	t := openTally{offered: l.pacer.offered, shed: l.pacer.missed}
	for _, w := range l.workers {
		t.shed += w.calls.shed
	}
	return t
}
