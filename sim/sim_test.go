package sim

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// runOK runs the options and fails the test unless every oracle holds in a run that counts.
func runOK(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		var text bytes.Buffer
		if _, err := r.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("seed %d fails:\n%s", o.Seed, text.String())
	}
	if r.Stats.Sequences < MinSequences {
		t.Fatalf("seed %d executed %d numbers, a run has at least %d", o.Seed, r.Stats.Sequences, MinSequences)
	}
	return r
}

// fixed is how many seeds every test run goes through.
const fixed = 24

func TestFixedSeeds(t *testing.T) {
	census, failed, err := Fuzz(Campaign{First: 1, Last: fixed, Jobs: runtime.GOMAXPROCS(0)})
	if err != nil {
		t.Fatal(err)
	}
	if failed != nil {
		t.Fatalf("seed %d: %v\n%s", failed.Options.Seed, failed.Failure, strings.Join(failed.Failure.Trace, "\n"))
	}
	if census.Runs != fixed {
		t.Errorf("%d runs of %d", census.Runs, fixed)
	}
	if err := census.Check(); err != nil {
		t.Error(err)
	}
}

func TestM1SameSeedSameTrace(t *testing.T) {
	for _, seed := range []uint64{3, 5} {
		first := runOK(t, Draw(seed))
		before := runtime.GOMAXPROCS(1)
		one := runOK(t, Draw(seed))
		runtime.GOMAXPROCS(2)
		two := runOK(t, Draw(seed))
		runtime.GOMAXPROCS(before)
		if first.TraceHash != one.TraceHash || first.TraceHash != two.TraceHash {
			t.Errorf("seed %d has the trace hashes %s, %s and %s", seed, first.TraceHash, one.TraceHash, two.TraceHash)
		}
		if first.Stats.Operations != two.Stats.Operations || !slices.Equal(first.Stats.Lies, two.Stats.Lies) {
			t.Errorf("seed %d has different figures: %+v and %+v", seed, first.Stats, two.Stats)
		}
	}
}

func TestTraceHashSeesEveryByte(t *testing.T) {
	hash := func(at bft.Time, from endpoint, frame string) string {
		tr := newTrace(&Options{})
		tr.frame(1, KindDeliver, &message{to: 1, frame: []byte("before")})
		tr.frame(at, KindDeliver, &message{from: from, to: 1, frame: []byte(frame)})
		return tr.hash()
	}
	base := hash(2, 0, "x")
	for _, other := range []string{hash(3, 0, "x"), hash(2, 2, "x"), hash(2, 0, "y")} {
		if other == base {
			t.Error("two different traces have one hash")
		}
	}
	if hash(2, 0, "x") != base {
		t.Error("one trace has two hashes")
	}
}

// A stream of one name draws the same whatever the others do.
func TestStreamsAreIndependent(t *testing.T) {
	a, b := stream(7, "network"), stream(7, "disk 1")
	x := a.Uint64()
	if x == b.Uint64() {
		t.Error("two names, one stream")
	}
	if stream(7, "network").Uint64() != x || stream(8, "network").Uint64() == x {
		t.Error("a stream is not a function of seed and name")
	}
}

func TestRealSignatures(t *testing.T) {
	o := Draw(5)
	o.Signatures = "ed25519"
	runOK(t, o)
}

// broken runs options with something done to the world at the time of the heal, and returns the oracle that broke.
func broken(t *testing.T, o Options, harm func(w *world)) string {
	t.Helper()
	w, err := newWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	w.q.at(bft.Time(o.Heal), func() { harm(w) })
	r, err := w.run()
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() {
		t.Fatal("no oracle breaks")
	}
	if len(r.Failure.Trace) == 0 || !strings.Contains(r.Failure.Error(), r.Failure.Oracle) {
		t.Errorf("the report tells nothing: %+v", r.Failure)
	}
	return r.Failure.Oracle
}

// plain is a run of four without faults and adversaries.
func plain() Options {
	o := Draw(40)
	o.Protocol.N = 4
	o.Faults, o.Behaviours, o.Byzantine, o.Load.BadClients = nil, nil, nil, 0
	return o
}

func TestL1TwoOfFourGone(t *testing.T) {
	got := broken(t, plain(), func(w *world) {
		for _, id := range []int{1, 2} {
			w.hosts[id].crash()
		}
	})
	if got != "L1" {
		t.Errorf("%s breaks, want L1", got)
	}
}

func TestL2OneNeverCatchesUp(t *testing.T) {
	got := broken(t, plain(), func(w *world) {
		w.net.begin(&Fault{Kind: Cut, Targets: []bft.ReplicaID{3}})
	})
	if got != "L2" {
		t.Errorf("%s breaks, want L2", got)
	}
}

func TestL3ViewsThatDoNotSettle(t *testing.T) {
	got := broken(t, plain(), func(w *world) { w.q.after(bft.Millisecond, func() { w.promises.views += 100 }) })
	if got != "L3" {
		t.Errorf("%s breaks, want L3", got)
	}
}

func TestD1TooManyDisksLost(t *testing.T) {
	got := broken(t, plain(), func(w *world) {
		var loseMore func()
		loseMore = func() {
			if w.phase == phaseLoss {
				for _, id := range []int{1, 2} {
					w.lost[id] = true
					w.hosts[id].crash()
				}
				return
			}
			w.q.after(bft.Millisecond, loseMore)
		}
		loseMore()
	})
	if got != "D1" {
		t.Errorf("%s breaks, want D1", got)
	}
}

// A host that reports records as durable which are not has its replica promise too early.
func TestD2LyingDisk(t *testing.T) {
	o := plain()
	o.Machine.Sync, o.Protocol.SuspectFloor = millisecond, o.Protocol.RequestTimeout // so that nobody is suspected
	w, err := newWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	w.q.at(bft.Second/2, func() {
		h := w.hosts[1]
		h.disk.slow = 1000
		var lie func()
		lie = func() {
			h.advance(bft.Done{Persisted: h.lastLSN})
			h.after(bft.Millisecond/10, lie)
		}
		lie()
	})
	r, err := w.run()
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || r.Failure.Oracle != "D2" {
		t.Fatalf("%+v, want D2 to break", r.Failure)
	}
}

func TestA2HonestSenderAccused(t *testing.T) {
	got := broken(t, plain(), func(w *world) {
		w.net.send(0, 1, []byte{byte(bft.TypeVotes), 0xff}, false)
	})
	if got != "A2" {
		t.Errorf("%s breaks, want A2", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for words, change := range map[string]func(o *Options){
		"n: 3":                func(o *Options) { o.Protocol.N = 3 },
		"neither kv":          func(o *Options) { o.Load.Service = "files" },
		"none of":             func(o *Options) { o.Behaviours, o.Byzantine = []string{"nobody"}, []bft.ReplicaID{0} },
		"may be faulty":       func(o *Options) { o.Behaviours, o.Byzantine = []string{"silent primary"}, []bft.ReplicaID{0, 1} },
		"needs replicas":      func(o *Options) { o.Behaviours = []string{"silent primary"} },
		"neither fast":        func(o *Options) { o.Signatures = "rsa" },
		"percentages":         func(o *Options) { o.Load.Ordered = 101 },
		"unknown kind":        func(o *Options) { o.Faults = []Fault{{Kind: "flood"}} },
		"there is no replica": func(o *Options) { o.Faults = []Fault{{Kind: Crash, Targets: []bft.ReplicaID{9}}} },
		"needs targets":       func(o *Options) { o.Faults = []Fault{{Kind: Pause}} },
		"one of":              func(o *Options) { o.Faults = []Fault{{Kind: CrashOn, On: "reply", Targets: []bft.ReplicaID{1}}} },
		"takes no":            func(o *Options) { o.Faults = []Fault{{Kind: Lossy, Targets: []bft.ReplicaID{1}}} },
		"is not within 0":     func(o *Options) { o.Faults = []Fault{{Kind: Lossy, Until: o.Heal + 1}} },
		"is none of":          func(o *Options) { o.Lying = "often" },
		"2 replicas are":      func(o *Options) { o.Faults = []Fault{{Kind: Crash, Targets: []bft.ReplicaID{0, 1}, Until: 1}} },
		"a percentage":        func(o *Options) { o.Network.Loss = -1 },
		"must be at least 1":  func(o *Options) { o.Load.Clients = 0 },
	} {
		o := plain()
		change(&o)
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want one about %q", err, words)
		}
	}
}

func TestFaultsStayWithinTheBudget(t *testing.T) {
	drawn := map[FaultKind]int{}
	ns := map[int]int{}
	for seed := uint64(1); seed <= 2000; seed++ {
		o := Draw(seed)
		if err := o.Validate(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		ns[o.Protocol.N]++
		for _, f := range o.Faults {
			drawn[f.Kind]++
		}
	}
	for n := 4; n <= 10; n++ {
		if ns[n] < 100 {
			t.Errorf("n = %d is drawn %d times in 2000", n, ns[n])
		}
	}
	for _, k := range FaultKinds() {
		if drawn[k] < 20 {
			t.Errorf("fault %q is drawn %d times in 2000 runs", k, drawn[k])
		}
	}
}

// TestDrawnFaultsKeepTheBudget: also in the seeds in which two faults follow each other within a millisecond.
func TestDrawnFaultsKeepTheBudget(t *testing.T) {
	for _, seed := range []uint64{22456, 26806} {
		if o := Draw(seed); checkBudget(&o) != nil {
			t.Errorf("seed %d: %v", seed, checkBudget(&o))
		}
	}
	for _, seed := range []uint64{1793, 17360, 35862, 36026} {
		if o := DrawService(seed, nil); checkBudget(&o) != nil {
			t.Errorf("seed %d of a service: %v", seed, checkBudget(&o))
		}
	}
}

func TestCampaignStopsAtAFailure(t *testing.T) {
	// Options that no cluster can satisfy: nobody answers within the life of a call.
	hopeless := func(seed uint64) Options {
		o := plain()
		o.Seed = seed
		o.Network.Delay = 20 * o.Protocol.RequestTimeout
		return o
	}
	census, failed, err := Fuzz(Campaign{First: 11, Last: 1000, Jobs: 1, Options: hopeless})
	if err != nil {
		t.Fatal(err)
	}
	if failed == nil || failed.Options.Seed != 11 || failed.Failure.Oracle != "L1" || census.Runs != 1 {
		t.Fatalf("census %+v, failed %+v", census, failed)
	}
	if _, _, err := Fuzz(Campaign{First: 2, Last: 1}); err == nil {
		t.Error("seeds that run backwards are taken")
	}
}
