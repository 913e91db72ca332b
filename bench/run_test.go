package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bench/single"
	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/cli"
)

// asNode makes this test's program be bftnode, so that the replicas of the tests are real processes.
const asNode = "BENCH_TEST_AS_NODE"

func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == "server" { // as startServer has it
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := single.Serve(ctx, single.ServeOptions{Dir: os.Args[3], Like: os.Args[5], Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0"}, os.Stdout)
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(asNode) != "" {
		node.Main(cli.KV(), cli.Counter()) // does not return
	}
	os.Exit(m.Run())
}

// testOptions are those of a measurement as short as it can be.
func testOptions(t *testing.T) Options {
	t.Helper()
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	o := DefaultOptions()
	o.Clients, o.Depth, o.Warmup, o.Duration, o.Calibration = 3, 16, 0, 1200*time.Millisecond, 20*time.Millisecond
	var err error
	if o.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	return o
}

// A cluster is built, made, measured, profiled and removed again.
func TestRunOwnCluster(t *testing.T) {
	o := testOptions(t)
	o.Program, o.Profiles = "", filepath.Join(t.TempDir(), "profiles")
	phases := map[string]bool{}
	o.Progress = func(p Progress) { phases[p.Phase] = true }
	res, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	checkRun(t, res, &o)
	if s := res.Settings; s.N != 4 || s.F != 1 || s.BundleOps == 0 || s.BatchOps == 0 || s.Version == "" {
		t.Errorf("settings %+v, want those of four replicas", s)
	}
	if len(res.Timeline) == 0 || res.VerifiesPerSecond <= 0 || res.OpsPerVerify <= 0 {
		t.Errorf("timeline %v, calibration %v, want figures", res.Timeline, res.VerifiesPerSecond)
	}
	for _, phase := range []string{"starting the cluster", "measuring"} {
		if !phases[phase] {
			t.Errorf("the progress %v never said %q", phases, phase)
		}
	}
	checkCosts(t, res)
	for _, name := range []string{"load", "r0", "r1", "r2", "r3"} {
		if data, err := os.ReadFile(filepath.Join(o.Profiles, name+".pprof")); err != nil || !bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			t.Errorf("the profile of %s has %d bytes (%v), want a compressed file; warnings %q", name, len(data), err, res.Warnings)
		}
	}
	for _, p := range res.Processes {
		if p.Name != "load" && !errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH) {
			t.Errorf("replica %s still runs as process %d", p.Name, p.PID)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

// mustRun measures, for longer if nothing ended: this machine may be busy.
func mustRun(t *testing.T, o Options) *Result {
	t.Helper()
	for {
		res, err := Run(t.Context(), o)
		if err == nil {
			return res
		}
		if !errors.Is(err, errNothingMeasured) {
			t.Fatal(err)
		}
		o.Duration *= 2
	}
}

func checkRun(t *testing.T, res *Result, o *Options) {
	t.Helper()
	if res.Ops == 0 || res.OpsPerSecond <= 0 || res.P50 <= 0 || res.P50 > res.P99 || res.P99 > res.Max {
		t.Errorf("%d operations, %v a second, latencies %v, %v, %v, want figures in order", res.Ops, res.OpsPerSecond, res.P50, res.P99, res.Max)
	}
	if res.ErrorCount() != 0 || res.Unanswered != 0 {
		t.Errorf("errors %v, first %q, %d unanswered, want none", res.Errors, res.FirstError, res.Unanswered)
	}
	if s := res.Settings; s.Clients != o.Clients || s.Depth != o.Depth || s.Service != o.Service || s.SizeBytes != o.Size {
		t.Errorf("settings %+v, want those of the options", s)
	}
}

// The costs of all processes are known where the system tells them.
func checkCosts(t *testing.T, res *Result) {
	t.Helper()
	if _, known := processTime(os.Getpid()); !known {
		return
	}
	if len(res.Processes) != 5 || res.CPUMicrosPerOp <= 0 {
		t.Fatalf("processes %+v, want the load and four replicas; warnings %q", res.Processes, res.Warnings)
	}
	for _, p := range res.Processes[1:] {
		if p.CPUSeconds <= 0 || p.Work == nil || p.Work.OpsPerBatch < 1 || p.Work.SignedPerOp <= 0 || p.Work.FsyncsPerOp <= 0 {
			t.Errorf("replica %s: %+v with work %+v, want its costs", p.Name, p, p.Work)
		}
	}
}

// A cluster that runs is used, for every service and kind of read, and left running.
func TestRunRunningCluster(t *testing.T) {
	o := testOptions(t)
	c, program, err := prepare(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	if err := c.start(t.Context(), program, &o); err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Program, o.Duration = c.dir, "", 400*time.Millisecond
	for name, change := range map[string]func(*Options){
		"counter":      func(*Options) {},
		"kv":           func(o *Options) { o.Service, o.Size = KV, 16 },
		"linearizable": func(o *Options) { o.Read = ReadLinearizable },
		"ordered":      func(o *Options) { o.Read = ReadOrdered },
		"stale":        func(o *Options) { o.Read = ReadStale },
		"kv reads":     func(o *Options) { o.Service, o.Size, o.Keys, o.Read = KV, 1024, 50, ReadLinearizable },
		"kv ordered":   func(o *Options) { o.Service, o.Size, o.Keys, o.Read = KV, 1024, 50, ReadOrdered },
		"kv stale":     func(o *Options) { o.Service, o.Size, o.Keys, o.Read = KV, 1024, 50, ReadStale },
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			change(&o)
			checkRun(t, mustRun(t, o), &o)
		})
	}
	t.Run("open loop", func(t *testing.T) { checkOpenLoop(t, o) })
	t.Run("mix", func(t *testing.T) { checkMix(t, o) })
	select {
	case <-c.ended:
		t.Error("the cluster has ended")
	default:
	}
}

// An open loop offers its rate, and accounts for all of it.
func checkOpenLoop(t *testing.T, o Options) {
	o.Rate, o.Arrivals, o.Duration = 200, ArrivalsEven, time.Second
	res := mustRun(t, o)
	if res.OfferedPerSecond != 200 || res.Settings.Rate != 200 || res.Settings.Depth != 0 || res.Settings.LatencyFrom != "intended start" {
		t.Errorf("%v operations a second were offered with settings %+v, want 200", res.OfferedPerSecond, res.Settings)
	}
	if res.OpsPerSecond <= 0 || res.P50 <= 0 || res.ErrorCount() != 0 {
		t.Errorf("%v operations a second, median %v ms, errors %v, want figures without errors", res.OpsPerSecond, res.P50, res.Errors)
	}
}

// A mix puts its records first, and tells reads from updates.
func checkMix(t *testing.T, o Options) {
	mix := DefaultMix()
	o.Service, o.Mix, o.Size, o.Records, o.Read = KV, mix.Mix, 100, 30, ReadOrdered
	o.Duration = time.Second
	res := mustRun(t, o)
	if res.ErrorCount() != 0 || res.Settings.Mix != "A" || res.Settings.Records != 30 || res.Settings.Reads != ReadOrdered {
		t.Errorf("errors %v, first %q, with settings %+v, want those of the mix and no errors", res.Errors, res.FirstError, res.Settings)
	}
	sum := uint64(0)
	for _, p := range []*Part{res.Reads, res.Updates} {
		if p != nil { // chance may have it that there is none
			sum += p.Ops
			if p.P50 <= 0 || p.P50 > p.P99 || p.P99 > p.Max {
				t.Errorf("latencies %+v, want them in order", p)
			}
		}
	}
	if sum != res.Ops {
		t.Errorf("%d reads and updates of %d operations", sum, res.Ops)
	}
}

// The same load goes to one server without replicas, with a cluster that was made here and with one that was not.
func TestRunReference(t *testing.T) {
	o := testOptions(t)
	o.Reference, o.ReferenceProgram, o.Duration = true, o.Program, 500*time.Millisecond
	phases := map[string]bool{}
	o.Progress = func(p Progress) { phases[p.Phase] = true }
	res := mustRun(t, o)
	checkRun(t, res, &o)
	ref := res.Unreplicated
	if ref == nil || res.UnreplicatedOpsPerSecond <= 0 || ref.OpsPerSecond != res.UnreplicatedOpsPerSecond || ref.DurationSeconds != 0.5 || len(ref.Errors) != 0 {
		t.Fatalf("%v operations a second without replicas, %+v, warnings %q, want figures", res.UnreplicatedOpsPerSecond, ref, res.Warnings)
	}
	if want := res.UnreplicatedOpsPerSecond / res.OpsPerSecond; res.ReplicationFactor != want {
		t.Errorf("a replication factor of %v, want %v", res.ReplicationFactor, want)
	}
	if !phases["a server without replicas: measuring"] {
		t.Errorf("the progress %v never told of the server", phases)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
	if _, known := processTime(os.Getpid()); known {
		if len(ref.Processes) != 2 || ref.CPUMicrosPerOp <= 0 {
			t.Fatalf("processes %+v, want the load and the server", ref.Processes)
		}
		server := ref.Processes[1]
		if w := server.Work; server.Name != single.Name || w == nil || w.OpsPerBatch < 1 || w.FsyncsPerOp <= 0 || w.VerifiedPerOp <= 0 || w.SignedPerOp != 0 {
			t.Errorf("server %+v with work %+v, want that it verifies and syncs and signs nothing", server, server.Work)
		}
		if !errors.Is(syscall.Kill(server.PID, 0), syscall.ESRCH) {
			t.Errorf("the server still runs as process %d", server.PID)
		}
	}
}

// A server that does not start costs a warning, and not the figures of the cluster.
func TestRunWithoutReference(t *testing.T) {
	o := testOptions(t)
	o.Duration, o.Reference, o.ReferenceProgram = 300*time.Millisecond, true, filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(o.ReferenceProgram, []byte("#!/bin/sh\necho 'no port is left' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	res := mustRun(t, o)
	if text := strings.Join(res.Warnings, "\n"); !strings.Contains(text, "could not be measured: it did not start: no port is left") {
		t.Errorf("the warnings %q do not say why there is no reference", text)
	}
	if res.Unreplicated != nil || res.ReplicationFactor != 0 || res.Ops == 0 {
		t.Errorf("%+v, want the figures of the cluster alone", res)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	o := testOptions(t)
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(p Progress) {
		if p.Phase == "measuring" {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want that it was cancelled", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

// What cannot work is refused with what to do.
func TestRunRefuses(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	empty, broken := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "manifest.yaml"), []byte("format: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	failing := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(failing, []byte("#!/bin/sh\necho 'no disk is left' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no cluster":      {func(o *Options) { o.Dir = empty }, "start one with bftnode up"},
		"bad manifest":    {func(o *Options) { o.Dir = broken }, "manifest.yaml"},
		"no program":      {func(o *Options) { o.Program = filepath.Join(empty, "nothing") }, "--bftnode"},
		"failing program": {func(o *Options) { o.Program = failing }, "no disk is left"},
		"bad options":     {func(o *Options) { o.Clients = 0 }, "choose 1 to"},
	} {
		t.Run(name, func(t *testing.T) {
			o := DefaultOptions()
			o.Calibration = time.Millisecond
			c.change(&o)
			if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %q in it", err, c.want)
			}
		})
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

// A replica whose program offers no profile costs a warning, not the measurement.
func TestRunWithoutProfiles(t *testing.T) {
	o := testOptions(t)
	o.Profiles, o.Duration = filepath.Join(t.TempDir(), "profiles"), 300*time.Millisecond
	res, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(res.Warnings, "\n"); !strings.Contains(text, "no profile of replica r0: its program offers none") {
		t.Errorf("the warnings %q do not tell of the profile that is missing", text)
	}
	if _, err := os.Stat(filepath.Join(o.Profiles, "load.pprof")); err != nil {
		t.Error(err)
	}
}

func TestCalibrate(t *testing.T) {
	c, err := Calibrate(t.Context(), 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if c.VerifiesPerSecond < 100 || c.CoreShare < 0 || c.CoreShare > 1 {
		t.Errorf("calibration %+v, want a figure and a share of one core", c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Calibrate(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want that it was cancelled", err)
	}
}
