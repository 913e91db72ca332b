package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

func TestEvenArrivals(t *testing.T) {
	a := newArrivals(&Options{Clients: 3, Rate: 300, Arrivals: ArrivalsEven})
	for i := range int64(3_000_000) {
		at, client := a.next()
		// No error adds up: the thousandth second is as right as the first.
		if want := i * int64(time.Second) / 300; at < want-1 || at > want+1 || client != int(i%3) {
			t.Fatalf("operation %d begins at %d at client %d, want %d and %d", i, at, client, want, i%3)
		}
	}
}

// Poisson arrivals are drawn from the seed, have their rate, and gaps as different as those of an exponential
// distribution: the standard deviation is the mean. So are those of each client alone.
func TestPoissonArrivals(t *testing.T) {
	o := Options{Clients: 4, Rate: 1000, Seed: 7}
	a, again := newArrivals(&o), newArrivals(&o)
	o.Seed++
	other := newArrivals(&o)
	const n = 200_000
	same, last := 0, int64(0)
	byClient := make([][]float64, 5) // the last one: all
	before := make([]int64, 5)
	for range n {
		at, client := a.next()
		if at2, client2 := again.next(); at2 != at || client2 != client {
			t.Fatal("the same seed gives other arrivals")
		}
		if at3, _ := other.next(); at3 == at {
			same++
		}
		if at < last {
			t.Fatalf("an operation begins at %d after %d", at, last)
		}
		last = at
		for _, k := range []int{client, 4} {
			byClient[k] = append(byClient[k], float64(at-before[k]))
			before[k] = at
		}
	}
	if same > n/100 {
		t.Errorf("%d of %d arrivals of another seed are the same", same, n)
	}
	for k, gaps := range byClient {
		want := 4e6
		if k == 4 {
			want = 1e6
		}
		mean, square := 0.0, 0.0
		for _, g := range gaps {
			mean += g / float64(len(gaps))
		}
		for _, g := range gaps {
			square += (g - mean) * (g - mean) / float64(len(gaps))
		}
		if deviation := math.Sqrt(square); math.Abs(mean-want) > want/50 || math.Abs(deviation-want) > want/25 {
			t.Errorf("gaps of %d: mean %.0f and deviation %.0f, want both %.0f", k, mean, deviation, want)
		}
	}
}

// virtualOpen is an open loop in virtual time: waiting takes no time and is exact, unless the test has it
// otherwise. Operations end when and as the test says.
type virtualOpen struct {
	l     *load
	at    int64
	begun []int64 // the time at which each operation was submitted
	calls []func([]byte, error)
}

func newVirtual(o *Options, limit int) *virtualOpen {
	v := &virtualOpen{}
	c := newClock(o.Warmup, o.Duration)
	c.now = func() int64 { return v.at }
	v.l = newOpenLoad(o, c)
	v.l.pacer.wait = func(until int64) {
		v.at = until
		if until >= c.to {
			v.l.stop.Store(true)
		}
	}
	for range o.Clients {
		v.l.addOpen(limit, counterAdds{}, func(_ operation, done func([]byte, error)) error {
			v.begun, v.calls = append(v.begun, v.at), append(v.calls, done)
			return nil
		})
	}
	return v
}

// Operations are offered in time, whatever becomes of those before; those of the warm-up are not counted.
func TestOpenLoopKeepsToItsSchedule(t *testing.T) {
	v := newVirtual(&Options{Clients: 2, Rate: 100, Arrivals: ArrivalsEven, Warmup: time.Second, Duration: 2 * time.Second}, 1000)
	v.l.pacer.run()
	if len(v.begun) != 300 {
		t.Fatalf("%d operations were submitted, want 300", len(v.begun))
	}
	for i, at := range v.begun {
		if want := int64(i) * int64(10*time.Millisecond); at != want {
			t.Fatalf("operation %d was submitted at %d, want %d", i, at, want)
		}
	}
	if got := v.l.openTally(); got != (openTally{offered: 200}) {
		t.Errorf("%+v, want 200 offered and all submitted", got)
	}
}

// While a load does not come to its operations, or the cluster does not answer, the latencies of all that were
// to begin meanwhile grow: there is no coordinated omission.
func TestOpenLoopLatencyFromIntendedStart(t *testing.T) {
	v := newVirtual(&Options{Clients: 1, Rate: 1000, Arrivals: ArrivalsEven, Duration: time.Second}, 1000)
	wait := v.l.pacer.wait
	const stall = int64(100 * time.Millisecond)
	v.l.pacer.wait = func(until int64) {
		if until == int64(500*time.Millisecond) {
			until += stall
		}
		wait(until)
	}
	w := v.l.workers[0]
	w.issue = func(_ operation, done func([]byte, error)) error { // at once
		done(nil, nil)
		return nil
	}
	v.l.pacer.run()
	got := v.l.tally()
	// The 101 operations of the stall waited for 0 to 100 ms, the others not at all.
	if got.hist.TotalCount() != 1000 || got.ended != 1000 {
		t.Fatalf("%d latencies of %d operations, want 1000", got.hist.TotalCount(), got.ended)
	}
	if p := got.hist.ValueAtQuantile(89); p > 1 {
		t.Errorf("89 %% took up to %d us, want none", p)
	}
	if p, most := got.hist.ValueAtQuantile(95), got.hist.Max(); p < 48_000 || p > 52_000 || most < 99_900 || most > 100_100 {
		t.Errorf("95 %% took up to %d us and the longest %d, want half the stall and all of it", p, most)
	}
}

// What exceeds the bound of outstanding operations is counted and not submitted; it makes room for others as
// soon as one ends.
func TestOpenLoopIsBounded(t *testing.T) {
	v := newVirtual(&Options{Clients: 2, Rate: 100, Arrivals: ArrivalsEven, Duration: time.Second}, 5)
	wait := v.l.pacer.wait
	v.l.pacer.wait = func(until int64) {
		wait(until)
		if until == int64(500*time.Millisecond) {
			v.calls[0](nil, nil)
		}
	}
	v.l.pacer.run()
	if got := v.l.openTally(); got != (openTally{offered: 100, shed: 89}) || len(v.begun) != 11 {
		t.Errorf("%+v and %d submitted, want 100 offered, and 11 submitted", got, len(v.begun))
	}
	if open := v.l.open.Load(); open != 10 {
		t.Errorf("%d operations are outstanding, want 10", open)
	}
}

// When the time is over before the load has come to an operation, that counts as not submitted.
func TestOpenLoopCountsWhatItMissed(t *testing.T) {
	v := newVirtual(&Options{Clients: 1, Rate: 100, Arrivals: ArrivalsEven, Duration: time.Second}, 1000)
	wait := v.l.pacer.wait
	v.l.pacer.wait = func(until int64) {
		if until == int64(700*time.Millisecond) {
			until = v.l.clock.to
		}
		wait(until)
	}
	v.l.pacer.run()
	if got := v.l.openTally(); got != (openTally{offered: 100, shed: 30}) || len(v.begun) != 70 {
		t.Errorf("%+v and %d submitted, want 30 of 100 missed", got, len(v.begun))
	}
}

// A latency belongs to the time in which its operation was to begin, a result to the time in which it came; errors
// are in neither.
func TestOpenLoopMeasuredTime(t *testing.T) {
	v := newVirtual(&Options{Clients: 1, Rate: 10, Arrivals: ArrivalsEven, Warmup: time.Second, Duration: time.Second}, 1000)
	v.l.pacer.run() // 20 operations, the second half measured
	for i, end := range map[int]time.Duration{
		3:  500 * time.Millisecond,  // all before
		9:  1500 * time.Millisecond, // ends within
		10: 1500 * time.Millisecond, // all within
		19: 4 * time.Second,         // begins within
	} {
		v.at = int64(end)
		v.calls[i](nil, nil)
	}
	v.at = int64(1500 * time.Millisecond)
	v.calls[11](nil, errors.New("within"))
	v.calls[4](nil, errors.New("before"))
	v.calls[12]([]byte("7"), nil) // a wrong result
	got := v.l.tally()
	if got.hist.TotalCount() != 2 || got.ended != 2 || got.hist.Max() < 2_000_000 || got.slowest != 2100*time.Millisecond {
		t.Errorf("%d latencies up to %d us, %d results, slowest %v, want 2, of which one came 2.1 s late", got.hist.TotalCount(), got.hist.Max(), got.ended, got.slowest)
	}
	if len(got.errors) != 2 || got.errors["other"] != 1 || got.errors["wrong_result"] != 1 {
		t.Errorf("errors %v, want those of the measured time", got.errors)
	}
	if open := v.l.open.Load(); open != 13 {
		t.Errorf("%d operations are outstanding, want 13", open)
	}
}

// An operation that the client does not take is an error, and its place is free again.
func TestOpenLoopRefused(t *testing.T) {
	v := newVirtual(&Options{Clients: 1, Rate: 100, Arrivals: ArrivalsEven, Duration: time.Second}, 1)
	v.l.workers[0].issue = func(operation, func([]byte, error)) error { return errors.New("full") }
	v.l.pacer.run()
	if got := v.l.tally(); got.errors["other"] != 100 || v.l.open.Load() != 0 {
		t.Errorf("errors %v and %d outstanding, want 100 and none", got.errors, v.l.open.Load())
	}
}

// In real time, with clients that answer on goroutines of their own, all that was offered is accounted for.
func TestOpenLoopAccounts(t *testing.T) {
	f := &fakeCluster{answer: func(int64) ([]byte, error) { return nil, nil }}
	o := &Options{Clients: 3, Rate: 5000, Duration: 300 * time.Millisecond, Seed: 1}
	l := newOpenLoad(o, newClock(o.Warmup, o.Duration))
	l.drainTimeout = time.Hour // all of them end
	for range o.Clients {
		l.addOpen(1000, counterAdds{}, f.client(t).issue)
	}
	unanswered := l.run(t.Context(), func(int64, uint64) {})
	got, open := l.tally(), l.openTally()
	if sum := uint64(got.hist.TotalCount()) + open.shed; unanswered != 0 || sum != open.offered || sum == 0 {
		t.Errorf("%d latencies, %d unanswered and %d not submitted of %d offered, want the same number", got.hist.TotalCount(), unanswered, open.shed, open.offered)
	}
}

func TestOpenLoopEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := &Options{Clients: 1, Rate: 1e-3, Arrivals: ArrivalsEven, Duration: time.Hour}
	l := newOpenLoad(o, newClock(0, o.Duration))
	f := &fakeCluster{answer: func(int64) ([]byte, error) { return nil, nil }}
	l.addOpen(1, counterAdds{}, f.client(t).issue)
	if unanswered := l.run(ctx, func(_ int64, completed uint64) {
		if completed > 0 {
			cancel()
		}
	}); unanswered != 0 {
		t.Errorf("%d unanswered, want none", unanswered)
	}
	if got := l.openTally(); got.offered != 1 || got.shed != 0 {
		t.Errorf("%+v, want the only operation so far", got)
	}
}

func TestOpenLimit(t *testing.T) {
	var got []int
	for _, clients := range []int{1, 128, 129, MaxClients} {
		o := Options{Clients: clients}
		got = append(got, o.openLimit())
	}
	if want := []int{8192, 8192, 8128, 1048}; !slices.Equal(got, want) {
		t.Errorf("limits %v, want %v", got, want)
	}
}

// A timer that comes a little late, as every one does, costs no operation at the end of the measured time: an open loop that kept up
// all along is not told that its rate is too high.
func TestOpenLoopDoesNotMissItsLastOperations(t *testing.T) {
	v := newVirtual(&Options{Clients: 2, Rate: 10_000, Arrivals: ArrivalsEven, Duration: time.Second}, 100_000)
	v.l.pacer.wait = func(until int64) {
		v.at = until + int64(300*time.Microsecond)
		if v.at >= v.l.clock.to {
			v.l.stop.Store(true)
		}
	}
	v.l.pacer.run()
	if o := v.l.openTally(); o.shed != 0 {
		t.Errorf("%d of %d operations count as never submitted", o.shed, o.offered)
	}
}
