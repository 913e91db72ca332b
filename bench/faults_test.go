package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/config"
)

// testSeries has one second of warm-up, two before the fault, two with it and two after it.
func testSeries(rate func(at time.Duration) uint32) *faultSeries {
	s := &faultSeries{warmup: time.Second, before: 3 * time.Second, during: 5 * time.Second, after: 7 * time.Second}
	for at := time.Duration(0); at < s.after; at += faultBucket {
		s.counts = append(s.counts, rate(at))
	}
	return s
}

func TestSeries(t *testing.T) {
	// 1,000 a second, nothing for 600 ms after 100 ms of the fault, then half, and all from its end on.
	s := testSeries(func(at time.Duration) uint32 {
		switch since := at - 3*time.Second; {
		case since >= 100*time.Millisecond && since < 700*time.Millisecond:
			return 0
		case since >= 0 && since < 2*time.Second:
			return 5
		}
		return 10
	})
	if got := s.between(s.warmup, s.before); got != 1000 {
		t.Errorf("%v a second before the fault, want 1000", got)
	}
	if got := s.between(s.before, s.during); got != 350 {
		t.Errorf("%v a second during the fault, want 350", got)
	}
	if gap, at := s.gap(); gap != 600*time.Millisecond || at != 100*time.Millisecond {
		t.Errorf("a gap of %v after %v, want 600 ms after 100 ms", gap, at)
	}
	// A second of which four fifths are at 100 % and one fifth at 50 % has 90 %.
	if d, ok := s.recovery(0.9); !ok || d != 1800*time.Millisecond {
		t.Errorf("recovered after %v (%v), want 1.8 s", d, ok)
	}
	if d, ok := s.recovery(1.1); ok {
		t.Errorf("recovered to more than there was after %v", d)
	}
	rates, zero := s.steps(100 * time.Millisecond)
	if len(rates) != 60 || zero != 20 || rates[19] != 1000 || rates[20] != 500 || rates[21] != 0 || rates[40] != 1000 {
		t.Errorf("%d steps, the fault at %d: %v", len(rates), zero, rates)
	}
	if got := s.between(s.after, s.after+time.Hour); got != 0 {
		t.Errorf("%v a second beyond the end, want 0", got)
	}
}

func TestGapThatNeverEnds(t *testing.T) {
	s := testSeries(func(at time.Duration) uint32 {
		if at < 3500*time.Millisecond {
			return 1
		}
		return 0
	})
	if gap, at := s.gap(); gap != 3500*time.Millisecond || at != 500*time.Millisecond {
		t.Errorf("a gap of %v after %v, want 3.5 s after 0.5 s", gap, at)
	}
	if _, ok := s.recovery(0.9); ok {
		t.Error("recovered, although nothing came any more")
	}
}

// A gap before the fault, or one that begins after it has ended, is not its own.
func TestGapOfOthers(t *testing.T) {
	s := testSeries(func(at time.Duration) uint32 {
		if at > 2*time.Second && at < 2500*time.Millisecond || at > 6*time.Second {
			return 0
		}
		return 1
	})
	if gap, at := s.gap(); gap != 0 || at != 0 {
		t.Errorf("a gap of %v after %v, want none", gap, at)
	}
}

func TestSafetyIsCounted(t *testing.T) {
	for _, c := range []struct{ acknowledged, unknown, counter, lost, surplus uint64 }{
		{10, 0, 10, 0, 0}, {10, 3, 12, 0, 0}, {10, 3, 13, 0, 0}, {10, 3, 9, 1, 0}, {10, 3, 15, 0, 2},
	} {
		s := FaultSafety{Acknowledged: c.acknowledged, Unknown: c.unknown, Agree: true}
		s.compare(c.counter)
		if s.Lost != c.lost || s.Surplus != c.surplus || s.Holds() != (c.lost+c.surplus == 0) {
			t.Errorf("%+v gives %+v", c, s)
		}
	}
	if (&FaultSafety{}).Holds() {
		t.Error("safety holds although the replicas do not agree")
	}
}

func TestAgree(t *testing.T) {
	same := FaultReplica{Answered: true, Executed: 3, Counter: 9}
	for name, c := range map[string]struct {
		states []FaultReplica
		want   bool
	}{
		"none":     {nil, false},
		"alike":    {[]FaultReplica{same, same}, true},
		"silent":   {[]FaultReplica{same, {}}, false},
		"behind":   {[]FaultReplica{same, {Answered: true, Executed: 2, Counter: 9}}, false},
		"differs":  {[]FaultReplica{same, {Answered: true, Executed: 3, Counter: 8}}, false},
		"unheard":  {[]FaultReplica{{}, {}}, false},
		"only one": {[]FaultReplica{same}, true},
	} {
		if agree(c.states) != c.want {
			t.Errorf("%s: they agree %v, want %v", name, !c.want, c.want)
		}
	}
}

// Every operation is counted once, as acknowledged, open or not executed, whatever happens to it.
func TestFaultLoadCountsAll(t *testing.T) {
	results := []error{nil, nil, bft.ErrOutcomeUnknown, nil, &bft.CallError{Kind: bft.ErrOverloaded, Outcome: bft.ErrNotSubmitted},
		bft.ErrRejected, &bft.CallError{Kind: bft.ErrOverloaded, Outcome: bft.ErrOutcomeUnknown}, nil}
	var l *faultLoad
	k, ended := 0, make(chan struct{})
	l = newFaultLoad([]submit{func(done func([]byte, error)) error {
		if k == len(results) {
			l.stop.Store(true)
			close(ended)
			return errors.New("this client is closed")
		}
		if k == 3 {
			l.enter(phaseBefore)
		}
		if k == 7 {
			l.strike()
		}
		err := results[k]
		k++
		go done(nil, err)
		return nil
	}}, 1, time.Hour)
	l.start()
	<-ended
	if left := l.end(time.Hour); left != 0 {
		t.Errorf("%d operations are outstanding, want none", left)
	}
	got := l.tally()
	if got.acknowledged != 4 || got.unknown != 2 {
		t.Errorf("%d acknowledged and %d open, want 4 and 2", got.acknowledged, got.unknown)
	}
	sum := uint64(0)
	for _, n := range l.counts() {
		sum += uint64(n)
	}
	if sum != 4 || l.completed.Load() != 4 || got.hists[phaseWarmup].TotalCount() != 2 || got.hists[phaseBefore].TotalCount() != 1 {
		t.Errorf("%d in the series, %d completed, want 4 of each", sum, l.completed.Load())
	}
	if want := "outcome_unknown 1"; fmt.Sprint("outcome_unknown ", got.errors[phaseWarmup]["outcome_unknown"]) != want {
		t.Errorf("errors of the warm-up %v, want %s", got.errors[phaseWarmup], want)
	}
	if !errors.Is(got.sample, bft.ErrOutcomeUnknown) {
		t.Errorf("the first error is %v", got.sample)
	}
}

// A wrong result is an error, and leaves open what was executed.
func TestFaultLoadChecksResults(t *testing.T) {
	var l *faultLoad
	l = newFaultLoad([]submit{func(done func([]byte, error)) error {
		l.stop.Store(true)
		go done([]byte("7"), nil)
		return nil
	}}, 1, time.Hour)
	l.start()
	l.end(time.Hour)
	if got := l.tally(); got.acknowledged != 0 || got.unknown != 1 || got.errors[phaseWarmup]["wrong_result"] != 1 {
		t.Errorf("%+v, want one wrong result", got)
	}
}

func TestFaultOptionsHaveBounds(t *testing.T) {
	for name, change := range map[string]func(*FaultOptions){
		"no fault":  func(o *FaultOptions) { o.Fault = "earthquake" },
		"clients":   func(o *FaultOptions) { o.Clients = 0 },
		"depth":     func(o *FaultOptions) { o.Depth = maxDepth + 1 },
		"in all":    func(o *FaultOptions) { o.Clients, o.Depth = MaxClients, maxDepth },
		"nodes":     func(o *FaultOptions) { o.Nodes = 3 },
		"delay":     func(o *FaultOptions) { o.Fault, o.Delay = "slow-disk", time.Hour },
		"no delay":  func(o *FaultOptions) { o.Delay = time.Second },
		"before":    func(o *FaultOptions) { o.Before = 0 },
		"after":     func(o *FaultOptions) { o.After = 2 * time.Hour },
		"no itself": func(o *FaultOptions) { o.Fault, o.Self = "slow-primary", "" },
	} {
		o := DefaultFaultOptions()
		o.Fault, o.Self = "kill-backup", "bftbench"
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if _, err := RunFault(t.Context(), o); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line", name, err)
		}
	}
}

// Every fault can be begun and ended, and says what it does.
func TestFaultKinds(t *testing.T) {
	names := map[string]bool{}
	m := &config.Manifest{Protocol: config.DefaultProtocol()}
	for i, f := range faultKinds {
		if info := Faults()[i]; info.Name != f.name || info.Short == "" || names[f.name] {
			t.Errorf("fault %+v has no name of its own, or says nothing", info)
		}
		names[f.name] = true
		if f.begin == nil || f.end == nil {
			t.Errorf("%s cannot be begun and ended", f.name)
		}
		if f.inProcess() && f.delay == nil {
			t.Errorf("%s delays nothing", f.name)
		}
		if f.delay != nil && f.delay(m) <= 0 {
			t.Errorf("%s is delayed by %v", f.name, f.delay(m))
		}
	}
	const d = 250 * time.Millisecond
	for _, c := range []struct {
		rate float64
		want time.Duration
	}{{0, 450 * time.Millisecond}, {100_000, 441 * time.Millisecond}, {2000, d / 10}} {
		if got := tolerable(d, c.rate, 1000, 0.9); got != c.want {
			t.Errorf("with %v operations a second a slow primary takes %v, want %v", c.rate, got, c.want)
		}
	}
}

// Delays of the wide-area profile are the same both ways, and none to oneself.
func TestWANProfile(t *testing.T) {
	const n = 13
	for i := range n + 1 {
		for j := range n + 1 {
			d := wanDelay(i, j, n)
			if d != wanDelay(j, i, n) || d < 0 || d > 200*time.Millisecond {
				t.Errorf("%v from %d to %d, %v back", d, i, j, wanDelay(j, i, n))
			}
			if i == j && d != 0 {
				t.Errorf("%v from %d to itself", d, i)
			}
		}
	}
	if wanDelay(n, 0, n) != 0 || wanDelay(0, 1, n) == 0 {
		t.Error("the clients live beside the first replica, and the second elsewhere")
	}
}

// sampleFault is a result with everything in it.
func sampleFault() *FaultResult {
	res := &FaultResult{Fault: "kill-primary", Short: "the primary is killed", Target: "r0 (primary)", ViewAfter: 1, DelayMS: 5, NotToleratedMS: 7}
	res.fillSeries(testSeries(func(at time.Duration) uint32 {
		if at >= 3*time.Second && at < 4*time.Second {
			return 0
		}
		return 20
	}), 4100*time.Millisecond)
	res.Errors = map[string]uint64{"timeout": 2}
	res.Safety = FaultSafety{Acknowledged: 1200, Agree: true, AgreedMS: 12}
	res.Safety.compare(1200)
	res.Attacker = &FaultAttacker{Sent: 9, CutOff: 1, Reason: "replica 2: forged"}
	res.Settings = Settings{N: 4, F: 1, Clients: 32, Depth: 128, Service: Counter, Operation: "add", RequestTimeoutMS: 1000}
	res.fillChecks()
	checkPrimaryLost(res, &config.Manifest{Protocol: config.DefaultProtocol()})
	res.Warnings = []string{"something"}
	return res
}

func TestFaultTable(t *testing.T) {
	res := sampleFault()
	if !res.Holds() || len(res.Checks) != 5 {
		t.Errorf("checks %+v, want five that hold", res.Checks)
	}
	var b bytes.Buffer
	if err := res.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"    0.0          0   <- the fault begins", "    2.0      2,000 " + strings.Repeat("#", barWidth) + "  <- and ends",
		"2,000 before, 1,000 during (50 %, lowest second 0 %), 2,000 after (100 %) ops/s", "1000 ms without a result, 0 ms after the fault",
		"first new result after 1100 ms; 90 % of the throughput after 950 ms", "1000 ms (bar: 2000 ms): holds", "warning: something",
		"sent 9 forged bundles", "r0 (primary), by 5 ms (7 ms cost it its office)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	res.Recovery90MS = -1
	res.Checks = nil
	checkPrimaryLost(res, &config.Manifest{Protocol: config.DefaultProtocol()})
	if res.Holds() {
		t.Errorf("checks %+v hold, although the throughput never came back", res.Checks)
	}
}

// The JSON holds what the table does, and is read back equal.
func TestFaultJSON(t *testing.T) {
	res := sampleFault()
	data, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var back FaultResult
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(back.Series, res.Series) || back.SeriesFault != 20 || back.SeriesEnd != 40 || back.GapMS != 1000 || back.Safety.Counter != 1200 {
		t.Errorf("read back %+v", back)
	}
	for _, name := range []string{"before_ops_per_s", "during_ratio", "gap_ms", "recovery_90_ms", "first_result_ms", "series_ops_per_s", "acknowledged", "replicas_agree"} {
		if !bytes.Contains(data, []byte(`"`+name+`"`)) {
			t.Errorf("the JSON lacks %s", name)
		}
	}
}

func TestFaultChecks(t *testing.T) {
	m := &config.Manifest{Protocol: config.DefaultProtocol()}
	for name, c := range map[string]struct {
		check func(*FaultResult, *config.Manifest)
		res   FaultResult
		holds bool
	}{
		"backup":            {checkBackupLost, FaultResult{DuringRatio: 0.8}, true},
		"backup, slow":      {checkBackupLost, FaultResult{DuringRatio: 0.79}, false},
		"slow primary":      {checkSlowPrimary, FaultResult{DuringRatio: 0.31}, true},
		"slow, deposed":     {checkSlowPrimary, FaultResult{DuringRatio: 0.9, ViewAfter: 1}, false},
		"forger":            {checkForger, FaultResult{DuringRatio: 0.5, Attacker: &FaultAttacker{CutOff: 1}}, true},
		"forger, tolerated": {checkForger, FaultResult{DuringRatio: 0.5, Attacker: &FaultAttacker{}}, false},
		"forger, harmful":   {checkForger, FaultResult{DuringRatio: 0.4, Attacker: &FaultAttacker{CutOff: 1}}, false},
		"primary":           {checkPrimaryLost, FaultResult{GapMS: 2000, Recovery90MS: 5000}, true},
		"primary, slow":     {checkPrimaryLost, FaultResult{GapMS: 2010, Recovery90MS: 5000}, false},
		"primary, for good": {checkPrimaryLost, FaultResult{GapMS: 10, FirstMS: -1, Recovery90MS: 10}, false},
	} {
		if c.check(&c.res, m); c.res.Holds() != c.holds {
			t.Errorf("%s: %+v, want that it holds %v", name, c.res.Checks, c.holds)
		}
	}
}
