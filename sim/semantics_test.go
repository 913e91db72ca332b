package sim

import (
	"fmt"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
)

// tallying is a tally with one call of a semantics, whose deadline is at 1 s.
func tallying(semantics bft.Semantics) (t *tally, in input, execute func(at bft.Time), heard *[]string) {
	v, heard := listen()
	t = newTally(v)
	in = input{kind: opAdd, n: 7, semantics: semantics}
	t.begin(0, in, 10, bft.Second)
	return t, in, func(at bft.Time) {
		ctx := exec.NewContext(3, epochStart+at, bft.Digest{}, 0)
		t.executed(1, &ctx, in.payload())
	}, heard
}

func TestC1ExecutedTwice(t *testing.T) {
	for semantics := range bft.Maybe + 1 {
		tl, in, execute, heard := tallying(semantics)
		execute(20)
		tl.ended(&in, nil)
		if len(*heard) != 0 {
			t.Fatalf("complains of a good history: %q", *heard)
		}
		execute(30)
		if semantics == bft.AtLeastOnce {
			if len(*heard) != 0 {
				t.Fatalf("complains of a second execution: %q", *heard)
			}
			continue
		}
		expect(t, *heard, "C1", "a second time")
	}
}

func TestC1ExecutedLate(t *testing.T) {
	for semantics := range bft.Maybe + 1 {
		_, _, execute, heard := tallying(semantics)
		execute(bft.Second + 1)
		if semantics != bft.AtMostOnce {
			if len(*heard) != 0 {
				t.Fatalf("%v: complains of one that has no end: %q", semantics, *heard)
			}
			continue
		}
		expect(t, *heard, "C1", "after its deadline")
	}
}

// What a deadline that is no multiple of the step ends with.
func TestC1DeadlineIsRoundedUp(t *testing.T) {
	v, heard := listen()
	tl := newTally(v)
	in := input{kind: opAdd, n: 7, semantics: bft.AtMostOnce}
	tl.begin(0, in, 10, bft.Second+1)
	ctx := exec.NewContext(3, epochStart+bft.Second+expiryStep, bft.Digest{}, 0)
	tl.executed(1, &ctx, in.payload())
	if len(*heard) != 0 {
		t.Fatalf("complains of what is in time: %q", *heard)
	}
}

func TestC1WhatCallersAreTold(t *testing.T) {
	never := fmt.Errorf("quota: %w", bft.ErrRejected)
	tl, in, _, heard := tallying(bft.Maybe)
	tl.ended(&in, nil)
	expect(t, *heard, "C1", "never executed")
	tl, in, execute, heard := tallying(bft.AtLeastOnce)
	execute(20)
	tl.ended(&in, never)
	expect(t, *heard, "C1", "never will be")
	tl, in, execute, heard = tallying(bft.AtMostOnce)
	tl.ended(&in, never)
	execute(20)
	expect(t, *heard, "C1", "never would be")
}

func TestC1MaybeSentAgain(t *testing.T) {
	for semantics := range bft.Maybe + 1 {
		tl, in, _, heard := tallying(semantics)
		b := bft.Bundle{Client: testClient, Session: 1, First: 1, Ops: [][]byte{in.encode()}}
		b.Payload = bft.EncodeBundle(&b)
		frame := bft.RequestFrame(&b, bft.Everyone)
		for to := range bft.ReplicaID(3) {
			tl.left(4, &bft.Outbound{To: to, Frame: frame})
		}
		if len(*heard) != 0 {
			t.Fatalf("complains of one message to each: %q", *heard)
		}
		tl.left(4, &bft.Outbound{To: bft.Everyone, Frame: frame})
		if semantics == bft.Maybe {
			expect(t, *heard, "C1", "sent to replica 0 again")
		} else if len(*heard) != 0 {
			t.Fatalf("%v: complains of a message that is repeated: %q", semantics, *heard)
		}
	}
}

// Clients whose calls have all semantics lose messages, and some of them crash: each promise holds, and each of the outcomes
// that the promises leave open is met with.
func TestSemanticsUnderLoss(t *testing.T) {
	var met [bft.Maybe + 1]Calls
	crashed := 0
	for seed := uint64(1); seed <= 12; seed++ {
		o := Plain()
		o.Seed, o.Heal = seed, 3*second
		o.Load = Load{Service: pick(stream(seed, "service"), "kv", "counter"), Clients: 4, Outstanding: 3, Keys: 4, Think: 100 * millisecond,
			Linearizable: 10, Sequences: 40, Crashes: 1, Semantics: Semantics{AtMostOnce: 30, AtLeastOnce: 10, Maybe: 30}}
		o.Network.ClientLoss = 60
		r, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() {
			t.Fatalf("seed %d: %v", seed, r.Failure)
		}
		for i, c := range r.Stats.Calls {
			met[i].add(&c)
			crashed += c.Calls - c.Answered - c.Unknown - c.Never
		}
	}
	for i, m := range met {
		if m.Answered == 0 || m.Executions < m.Answered {
			t.Errorf("%v: %+v", bft.Semantics(i), m)
		}
	}
	if met[bft.AtLeastOnce].More == 0 || met[bft.Maybe].Unknown == 0 || met[bft.AtMostOnce].Unknown == 0 || crashed == 0 {
		t.Errorf("some outcome never came about: %+v, %d crashed", met, crashed)
	}
}

// A client that has crashed sends nothing any more, and nobody waits for it.
func TestClientsCrash(t *testing.T) {
	o := Plain()
	o.Load.Clients, o.Load.Crashes, o.Load.Sequences = 2, 1, 40
	gone, after := int64(0), 0
	o.Observe = func(e *Event) {
		switch {
		case e.Kind == KindCrash && e.From == o.Protocol.N+1:
			gone = int64(e.At)
		case gone > 0 && e.From == o.Protocol.N+1 && (e.Kind == KindCall || e.Kind == KindResult):
			after++
		}
	}
	runOKShort(t, o)
	if gone == 0 || after > 0 {
		t.Errorf("crashed at %d, and did %d things after that", gone, after)
	}
}

// runOKShort is runOK for runs with fewer numbers than count.
func runOKShort(t *testing.T, o Options) {
	t.Helper()
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatal(r.Failure)
	}
}

// One seed in some has calls of all semantics, and the same seed the same.
func TestSemanticsAreDrawn(t *testing.T) {
	mixed := 0
	for seed := uint64(1); seed <= 100; seed++ {
		o := Draw(seed)
		if o.Load.Semantics.mixed() {
			mixed++
		}
		if again := Draw(seed); again.Load != o.Load {
			t.Errorf("seed %d: %+v, then %+v", seed, o.Load, again.Load)
		}
		if err := o.Validate(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if mixed < 10 || mixed > 40 {
		t.Errorf("%d seeds of 100 have calls of different semantics", mixed)
	}
	for _, bad := range []func(l *Load){func(l *Load) { l.Maybe = 101 }, func(l *Load) { l.AtMostOnce = -1 },
		func(l *Load) { l.AtMostOnce, l.AtLeastOnce = 60, 60 }, func(l *Load) { l.Crashes = l.Clients },
		func(l *Load) { l.Service, l.Maybe = passiveCounter, 10 }} {
		o := Plain()
		bad(&o.Load)
		if o.Validate() == nil {
			t.Errorf("%+v: no error", o.Load)
		}
	}
}

// Every operation whose executions are counted is of one call alone.
func TestCountedOperationsDiffer(t *testing.T) {
	for _, service := range []string{"kv", "counter"} {
		o := Plain()
		o.Load.Service, o.Load.Clients, o.Load.Semantics = service, 3, Semantics{Maybe: 50}
		seen := make(map[crypto.Digest]bool)
		for client := range 3 {
			l := newLoad(&o, client, false)
			for range 2000 {
				in, _ := l.next()
				l.choose(&in)
				if d := crypto.Hash("test", in.payload()); in.counted() && seen[d] {
					t.Fatalf("%s: %s stands twice", service, describeCall(in, nil))
				} else {
					seen[d] = true
				}
			}
		}
	}
}
