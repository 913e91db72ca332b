package bench

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// testFault shows a fault on a small load, as short as it can be.
func testFault(t *testing.T, name string) (*FaultResult, error) {
	t.Helper()
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	o := DefaultFaultOptions()
	o.Fault, o.Clients, o.Depth = name, 2, 8
	o.Warmup, o.Before, o.During, o.After = 0, time.Second, time.Second, time.Second
	var err error
	if o.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	return RunFault(t.Context(), o)
}

// A backup of a cluster of real processes is killed and comes back, and nothing is lost.
func TestKillBackup(t *testing.T) {
	res, err := testFault(t, "kill-backup")
	if err != nil {
		t.Fatal(err)
	}
	s := &res.Safety
	if !s.Holds() || s.Acknowledged == 0 || s.Counter < s.Acknowledged || len(s.Replicas) != 4 {
		t.Errorf("%+v, want that nothing is lost and four replicas agree", s)
	}
	for _, r := range s.Replicas {
		if r.Counter != s.Counter {
			t.Errorf("replica %s has counted %d, a quorum %d", r.Name, r.Counter, s.Counter)
		}
	}
	if res.BeforeOpsPerSecond <= 0 || len(res.Series) < 30 || res.SeriesFault != 10 || res.Settings.N != 4 {
		t.Errorf("%v a second before the fault, %d in the series, the fault at %d", res.BeforeOpsPerSecond, len(res.Series), res.SeriesFault)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

// A run that is cancelled ends its replicas.
func TestCancelledFault(t *testing.T) {
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	o := DefaultFaultOptions()
	o.Fault, o.Clients, o.Depth, o.Before = "pause-backup", 1, 1, time.Hour
	var err error
	if o.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(p Progress) {
		if p.Phase == "before the fault" {
			cancel()
		}
	}
	if _, err := RunFault(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was cancelled gives %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

// Replicas are paused, go on, are killed and started again, one by one.
func TestNodesAreControlled(t *testing.T) {
	r, x := startTestNodes(t)
	add := func() {
		t.Helper()
		if _, err := r.clients[0].Service(Counter).Invoke(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add()
	do(x.pause(3, true))
	add()
	do(x.pause(3, false))
	pid := x.replicas[0].cmd.Process.Pid
	do(x.kill(0))
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d of a replica that was killed is there still (%v)", pid, err)
	}
	add()
	do(x.start(0))
	if said := x.deaths(); len(said) != 0 {
		t.Errorf("%q, want no death that was not ordered", said)
	}
	w, err := newWitness(r.cluster.manifest)
	do(err)
	defer w.close()
	states, alike, err := w.await(t.Context())
	if err != nil || !alike || states[0].Counter != 3 {
		t.Errorf("the replicas say %+v (%v), want 3 of each", states, err)
	}
	if value, err := readCounter(t.Context(), r); err != nil || value != 3 {
		t.Errorf("a quorum says %d (%v), want 3", value, err)
	}
	forward, back := x.links.proxies[1][2].Passed()
	if forward == 0 || back == 0 {
		t.Errorf("%d and %d bytes passed between two replicas, want some through the proxy", forward, back)
	}
}

// startTestNodes starts four replicas behind proxies, which delay a little, and one client.
func startTestNodes(t *testing.T) (*run, *nodes) {
	t.Helper()
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	o := DefaultOptions()
	o.Clients = 1
	var err error
	if o.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	r := &run{o: &o, result: &Result{}, progress: func(Progress) {}}
	var program string
	if r.cluster, program, err = prepare(t.Context(), &o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cluster.stop)
	x, err := newNodes(r.cluster, 4, program, true)
	t.Cleanup(func() {
		r.closeClients()
		x.stop()
	})
	if err != nil {
		t.Fatal(err)
	}
	x.links.set(func(i, j int) time.Duration { return time.Duration(i+j) * time.Millisecond })
	for _, err := range []error{x.startAll(), r.dial(t.Context()), x.awaitActive(t.Context(), r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r, x
}

// A client that forges signatures makes the replicas verify, and harms nobody else for good.
func TestForgerIsRefused(t *testing.T) {
	r, _ := startTestNodes(t)
	reports, silent := askReplicas(t.Context(), r.observer, r.cluster)
	if silent > 0 {
		t.Fatalf("%d replicas are silent", silent)
	}
	run := &faultRun{run: *r, kind: &faultKind{target: theClient}}
	if err := beginForging(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.attack.end)
	before := run.checkedSignatures(t.Context(), reports)
	for run.attack.forger.Sent() == 0 || run.checkedSignatures(t.Context(), reports) == before {
		if t.Context().Err() != nil {
			t.Fatal("no replica verified a signature")
		}
	}
	what := run.attack.stopped()
	if what.Sent == 0 || what.Results != 0 {
		t.Errorf("the client did %+v, want forged bundles alone", what)
	}
	if _, err := r.clients[0].Service(Counter).Invoke(t.Context(), nil); err != nil {
		t.Errorf("after the attack another client is told %v", err)
	}
	if value, err := readCounter(t.Context(), r); err != nil || value != 1 {
		t.Errorf("the counter says %d (%v), want the one operation of the honest client", value, err)
	}
}

// A client that floods has its operations executed, with those of others.
func TestFloodIsServed(t *testing.T) {
	r, _ := startTestNodes(t)
	run := &faultRun{run: *r, kind: &faultKind{target: theClient}}
	if err := beginFlood(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.attack.end)
	if _, err := r.clients[0].Service(Counter).Invoke(t.Context(), nil); err != nil {
		t.Errorf("beside the flood another client is told %v", err)
	}
	for run.attack.results.Load() == 0 {
		if _, err := r.clients[0].Service(Counter).Invoke(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if what := run.attack.stopped(); what.Submitted < what.Results || what.Connected == 0 {
		t.Errorf("the client did %+v", what)
	}
}
