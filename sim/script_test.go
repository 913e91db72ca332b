package sim

import (
	"reflect"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

// Whatever a seed draws can be written down and read again, and is the same run.
func TestScriptsSayEverything(t *testing.T) {
	for seed := uint64(1); seed <= 500; seed++ {
		o := Draw(seed)
		if seed%5 == 0 {
			o = Under(seed, "equivocating primary", "silent primary")
			o.Lies, o.Drops, o.Beyond = Ranges{{1, 3}, {7, 7}}, []Drop{{0, o.endpoints() - 1, Ranges{{2, 2}}}}, true
			o.Network.Bandwidth, o.Signatures, o.Load.Calls = 1_000_000, "ed25519", 500
			o.Demand = []string{"S1", "PANIC"}
		}
		written := text(&Script{Options: o, Notes: []string{"what it shows"}, Mutant: "some-mutant", Expect: "S1"})
		s, err := ParseScript(strings.NewReader(written))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, written)
		}
		for i := range o.Faults {
			if got, want := s.Options.Faults[i].String(), o.Faults[i].String(); got != want || s.Options.Faults[i].Persistence() != o.Faults[i].Persistence() {
				t.Errorf("seed %d: fault %q is read as %q", seed, want, got)
			}
		}
		s.Options.Faults, o.Faults = nil, nil
		if o.Lying == Permanent {
			o.Lying = ""
		}
		if !reflect.DeepEqual(s.Options, o) || s.Mutant != "some-mutant" || s.Expect != "S1" || s.Notes[0] != "what it shows" {
			t.Fatalf("seed %d is read as\n%+v\nand was\n%+v\n%s", seed, s.Options, o, written)
		}
		for line := range strings.Lines(written) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > width && !strings.HasPrefix(line, "at ") {
				t.Errorf("a line of %d characters: %s", n, line)
			}
		}
	}
}

func TestScriptRunsAsItsSeed(t *testing.T) {
	o := Draw(5)
	s, err := ParseScript(strings.NewReader(text(&Script{Options: o})))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := runOK(t, o), runOK(t, s.Options); a.TraceHash != b.TraceHash {
		t.Errorf("the seed has the trace hash %s, its script %s", a.TraceHash, b.TraceHash)
	}
}

func TestScriptsByHand(t *testing.T) {
	s, err := ParseScript(strings.NewReader(`# A primary that dies.

seed 3   # any
replicas 7
load clients=2 think=1ms
adversary silent primary by r1 r2, intermittent
at 20ms crash on "view-change" until 1s
at 0s send omission "votes" r0 every 5ms until 100ms   # nothing of it counts
at 10ms crash r3 permanent
lose r0 > c1 1..2 9
beyond
`))
	if err != nil {
		t.Fatal(err)
	}
	o := &s.Options
	if o.Seed != 3 || o.Protocol.N != 7 || o.Load.Think != millisecond || o.Lying != Intermittent || len(o.Byzantine) != 2 || o.Behaviours[0] != "silent primary" {
		t.Errorf("%+v", o)
	}
	if o.Faults[0].Kind != CrashOn || o.Faults[0].On != "view-change" || o.Faults[1].Persistence() != Intermittent || !o.Faults[2].permanent() {
		t.Errorf("%+v", o.Faults)
	}
	if len(o.Drops) != 1 || o.Drops[0].To != 8 || !o.Drops[0].Messages.Has(9) {
		t.Errorf("%+v", o.Drops)
	}
}

func TestScriptErrorsNameTheLine(t *testing.T) {
	for script, words := range map[string]string{
		"seed x":                       "line 1: seed",
		"seed 1\nflood":                `line 2: "flood"`,
		"load clients=many":            "clients",
		"load people=3":                "give names and values",
		"network delay=soon":           "such as 20ms",
		"at 1ms":                       "give a time and a fault",
		"at 1ms flood r1 until 2ms":    "is no fault",
		"at 1ms crash r1 until":        "nothing follows",
		"at 1ms crash r1 by 2ms":       "neither a replica",
		"at 1ms crash r9 until 2ms":    "no replica 9",
		"adversary silent primary":     "say who",
		"adversary someone by r0":      "none of",
		"adversary silent primary r0":  "say who",
		"lose r0 r1 3":                 "whose messages",
		"lose r0 > r9 3":               "there are",
		"lose r0 > r1 3..1":            "ascending",
		"tell 0":                       "from 1",
		"demand S1 S99":                "no oracle \"S99\"",
		"replicas 3":                   "not within 4",
		"heal -1s":                     "no time",
		"at 1ms crash on r1 until 2ms": "needs one of",
	} {
		if _, err := ParseScript(strings.NewReader(script)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: error %v, want one about %q", script, err, words)
		}
	}
	if _, err := ParseScript(strings.NewReader(strings.Repeat("# long\n", MaxScript/6))); err == nil {
		t.Error("a script without bounds is read")
	}
}

// FuzzParseScript: no text breaks the reader, and what it takes can be written and read again.
func FuzzParseScript(f *testing.F) {
	f.Add(text(&Script{Options: Draw(5), Notes: []string{"x"}}))
	f.Add(text(&Script{Options: Under(7, "replay"), Mutant: "m", Expect: "S1"}))
	f.Add("at 1ms crash on \"votes\" r1 until 2ms\nlose r0 > r1 1\ntell none")
	f.Fuzz(func(t *testing.T, s string) {
		first, err := ParseScript(strings.NewReader(s))
		if err != nil {
			return
		}
		again, err := ParseScript(strings.NewReader(text(first)))
		if err != nil {
			t.Fatalf("%v\n%s", err, text(first))
		}
		if text(first) != text(again) {
			t.Errorf("it changes when it is read:\n%s\n%s", text(first), text(again))
		}
	})
}

// Two liars among four are too many: the failure is shrunk to little more than that.
func TestShrink(t *testing.T) {
	o := Under(11, "equivocating primary")
	o.Protocol.N, o.Byzantine, o.Beyond = 4, []bft.ReplicaID{0, 1}, true
	o.Faults = append(o.Faults[:0], Fault{Kind: Lossy, At: second / 2, Until: second}, Fault{Kind: SlowDisk, Targets: []bft.ReplicaID{3}, At: second / 2, Until: second})
	o.Load.Clients, o.Load.Outstanding = 4, 3
	first, err := Run(o)
	if err != nil || first.OK() {
		t.Fatalf("%v, %+v: want that an oracle breaks", err, first)
	}
	runs := 0
	script, report, err := Shrink{Options: o, Runs: 600, Progress: func(int, int) { runs++ }}.Do()
	if err != nil {
		t.Fatal(err)
	}
	small := text(script)
	if report.Failure.Oracle != first.Failure.Oracle || script.Expect != report.Failure.Oracle || runs == 0 {
		t.Errorf("%s became %s in %d runs", first.Failure.Oracle, report.Failure.Oracle, runs)
	}
	if n := strings.Count(small, "\n"); n > 20 || len(script.Options.Faults) != 0 || script.Options.Lies.Count() > 3 {
		t.Errorf("%d lines are left:\n%s", n, small)
	}
	again, err := ParseScript(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if replayed, err := Run(again.Options); err != nil || replayed.TraceHash != report.TraceHash || replayed.Failure.Error() != report.Failure.Error() {
		t.Errorf("the script does not repeat the failure: %v, %+v", err, replayed.Failure)
	}
	if _, _, err := (Shrink{Options: Plain()}).Do(); err != ErrNoFailure {
		t.Errorf("error %v, want that there is nothing to shrink", err)
	}
}

// Of two oracles that break the one that is wanted is shrunk to, although it comes later: with two liars of four
// a client is deceived soon, or two histories part.
func TestShrinkTowardsAnOracle(t *testing.T) {
	o := Under(11, "equivocating primary", "wrong replies")
	o.Protocol.N, o.Byzantine, o.Beyond, o.Faults = 4, []bft.ReplicaID{0, 1}, true, nil
	first, err := Run(o)
	if err != nil || first.OK() {
		t.Fatalf("%v, %+v: want that an oracle breaks", err, first)
	}
	for _, oracle := range []string{"S1", "S5"} {
		script, report, err := Shrink{Options: o, Oracle: oracle, Runs: 300}.Do()
		if err != nil {
			t.Fatalf("%s: %v", oracle, err)
		}
		if script.Expect != oracle || report.Failure.Oracle != oracle {
			t.Errorf("%s: it is shrunk to a failure of %s", oracle, report.Failure.Oracle)
		}
		again, err := ParseScript(strings.NewReader(text(script)))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := Run(again.Options); err != nil || r.OK() || r.Failure.Oracle != oracle || r.TraceHash != report.TraceHash {
			t.Errorf("%s: the script does not repeat it: %v, %+v\n%s", oracle, err, r, text(script))
		}
		if script.Options.Protocol.N != 4 || script.Options.Load.Sequences > 20 {
			t.Errorf("%s: it is not small:\n%s", oracle, text(script))
		}
	}
	if _, _, err := (Shrink{Options: o, Oracle: "D2", Runs: 40}).Do(); err != ErrNoFailure {
		t.Errorf("error %v, want that D2 does not break", err)
	}
}

// A small world is a run that can be written down, whatever it is drawn for.
func TestSmallWorlds(t *testing.T) {
	like := Under(7, "failing disks", "withheld commits")
	faults := 0
	for seed := uint64(1); seed <= 200; seed++ {
		o := smallWorld(seed, &like)
		if err := o.Validate(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if o.Protocol.N != 4 || len(o.Byzantine) != 1 || o.Seed != seed || len(o.Behaviours) != 2 {
			t.Errorf("seed %d: %+v", seed, o)
		}
		faults += len(o.Faults)
		s, err := ParseScript(strings.NewReader(text(&Script{Options: o})))
		if err != nil || text(s) != text(&Script{Options: o}) {
			t.Errorf("seed %d is not what its script says: %v", seed, err)
		}
	}
	if faults == 0 {
		t.Error("no fault in any small world")
	}
}
