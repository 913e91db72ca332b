package simtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/draw"
)

// trial is the run of one seed.
type trial struct {
	suite *suite
	seed  uint64
	// drawn: a diagram is wanted.
	drawn bool
	watch watch
	log   log
	// What follows is of the goroutine that runs, until it has ended.
	ended             bool
	report            *sim.Report
	picture           *draw.Run
	failure           *sim.Failure
	err               error
	refused, restored int
	// blamed is what is wrong with the test itself.
	blamed error
	// missed says why the run was not repeated at another date.
	missed error
}

// grace is how long a bubble may take to end when all is done in it, in time of the wall clock.
const grace = time.Second

// check runs a seed, and tells t what came of it.
func (s *suite) check(t testing.TB, seed uint64) {
	t.Helper()
	if first, hangs := s.explained("HANG"); hangs {
		t.Errorf("simtest: seed %d is not run: the service hangs, see seed %d", seed, first)
		return
	}
	tr := &trial{suite: s, seed: seed, drawn: drawing(), log: log{index: make(map[opKey]int), snapshots: make(map[bft.Seq]taken)}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tr.watch.own()
		tr.run(t)
		tr.ended = true
	}()
	ticker := time.NewTicker(s.patience)
	defer ticker.Stop()
	last := uint64(0)
	for {
		select {
		case <-done:
			s.conclusion(t, tr)
			return
		case <-ticker.C:
			now := tr.watch.going()
			if now != 0 && now == last {
				// The goroutine cannot be stopped: it is left behind.
				s.tell(t, &told{seed: seed, oracle: "HANG", detail: fmt.Sprintf("a call of the service has not ended after %v: %s", s.patience, tr.watch.describe())})
				return
			}
			last = now
		}
	}
}

// conclusion tells what came of a run that ended.
func (s *suite) conclusion(t testing.TB, tr *trial) {
	t.Helper()
	switch {
	case !tr.ended:
		t.Errorf("simtest: seed %d: the service, or what draws its operations, has ended the goroutine (runtime.Goexit, or a FailNow)", tr.seed)
	case tr.err != nil:
		t.Errorf("simtest: seed %d: %v", tr.seed, tr.err)
	case tr.failure != nil:
		s.tell(t, &told{seed: tr.seed, oracle: tr.failure.Oracle, detail: tr.failure.Detail, at: tr.failure.At, options: &tr.report.Options, picture: tr.picture})
	case tr.missed != nil:
		t.Logf("simtest: seed %d was not repeated at another date: %v", tr.seed, tr.missed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.census
	c.runs++
	c.applied += len(tr.log.entries)
	c.refused += tr.refused
	c.restored += tr.restored
	if tr.report != nil {
		c.operations += tr.report.Stats.Operations
		c.reads += tr.report.Stats.Reads
		c.crashes += tr.report.Stats.Crashes
		if tr.report.Stats.Unchecked {
			c.unchecked++
		}
	}
}

// run runs the cluster, and then one service alone at another date.
func (tr *trial) run(t testing.TB) {
	service := &sim.Service{New: tr.newService, Passive: tr.passive(), Next: tr.next, Reads: tr.suite.queries != nil, Ended: tr.result, Model: tr.suite.model}
	o := sim.DrawService(tr.seed, service)
	if tr.drawn {
		var picture draw.Run
		if tr.report, picture, tr.err = sim.Record(o, 0, 0); tr.err == nil {
			tr.picture = &picture
		}
	} else {
		tr.report, tr.err = sim.Run(o)
	}
	if tr.blamed != nil {
		tr.err = tr.blamed
	}
	if tr.err != nil {
		return
	}
	if tr.failure = tr.report.Failure; tr.failure == nil {
		tr.repeat(t)
	}
}

// repeat has a service do everything again, if possible in the year 2000: that is the date in a bubble of synctest.
func (tr *trial) repeat(t testing.TB) {
	host, ok := t.(*testing.T)
	if !ok {
		host = tr.suite.host
	}
	var differs string
	again := func() {
		tr.watch.own()
		differs = tr.again()
	}
	if host == nil {
		again()
	} else {
		tr.missed = elsewhen(host, again)
	}
	if differs != "" {
		tr.missed = nil
		tr.failure = &sim.Failure{Oracle: "REPLAY", Detail: differs}
	}
}

// elsewhen runs do at another date, in a bubble of synctest. The error says why that is not possible: the service
// has goroutines, which the bubble waits for.
func elsewhen(t *testing.T, do func()) error {
	finished, left := make(chan struct{}), make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				left <- fmt.Errorf("%v", p)
			}
		}()
		synctest.Test(t, func(*testing.T) {
			defer close(finished)
			do()
		})
		left <- nil
	}()
	select {
	case err := <-left:
		return err
	case <-finished:
	}
	select {
	case err := <-left:
		return err
	case <-time.After(grace):
		return errors.New("goroutines of the service do not end")
	}
}

// guard calls something of the programmer's. It tells of a panic, and panics on.
func (tr *trial) guard(method string, arg []byte, do func(), panicked func(text, stack string)) {
	tr.watch.enter(method, arg)
	defer tr.watch.leave()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		on := ""
		if arg != nil {
			on = " on " + quote(arg)
		}
		if e, ok := p.(runtime.Error); ok {
			p = e.Error()
		}
		panicked(fmt.Sprintf("%s panics%s: %v", method, on, p), panicStack())
		panic(p)
	}()
	do()
}

// next draws what a client calls.
func (tr *trial) next(r *rand.Rand, client int, read bool) (op []byte) {
	method, draw := "what Operations was given", tr.suite.operations
	if read {
		method, draw = "what Queries was given", tr.suite.queries
	}
	tr.guard(method, nil, func() { op = draw(r, client) }, tr.blame)
	return op
}

// result looks at a call that ended.
func (tr *trial) result(c *sim.Call) (err error) {
	if c.Err != nil {
		if !c.Read {
			tr.refused++
		}
		return nil
	}
	if tr.suite.results == nil {
		return nil
	}
	tr.guard("what Results was given", nil, func() { err = tr.suite.results(c.Op, c.Result, c.Read) }, tr.blame)
	return err
}

// blame notes that something of the test itself is wrong.
func (tr *trial) blame(text, stack string) {
	if tr.blamed == nil {
		tr.blamed = errors.New(text + "\n" + stack)
	}
}
