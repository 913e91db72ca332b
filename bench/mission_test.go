package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/sim"
)

// testMission are the options of a mission as short as it can be, with many faults.
func testMission(t *testing.T) MissionOptions {
	t.Helper()
	t.Setenv(asNode, "1")
	t.Setenv("TMPDIR", t.TempDir())
	o := DefaultMissionOptions()
	o.Time, o.Clients, o.Every, o.For, o.Think = 6*time.Second, 2, 100*time.Millisecond, 300*time.Millisecond, 0
	var err error
	if o.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	return o
}

// Real processes have a fault of each class, one after the other; nothing that was acknowledged is lost, and the figures
// fit each other.
func TestMission(t *testing.T) {
	o := testMission(t)
	var phases []string
	o.Progress = func(p Progress) { phases = append(phases, p.Phase) }
	res, err := RunMission(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Holds() || res.Answers == 0 || res.Safety.Counter < res.Safety.Acknowledged || res.Safety.Acknowledged != uint64(res.Answers) {
		t.Errorf("%+v", res)
	}
	drawn := drawMission(&o)
	if len(res.Events) != len(drawn) || len(drawn) < 4 {
		t.Fatalf("%d faults took place, of %d", len(res.Events), len(drawn))
	}
	counted, masked := 0, 0
	for _, x := range res.Faults {
		counted, masked = counted+x.Faults, masked+x.Masked
	}
	if counted != len(res.Events) || masked > counted {
		t.Errorf("%d faults, of which masked %d, want all %d", counted, masked, len(res.Events))
	}
	last := 0.0
	for i, e := range res.Events {
		if e.Class != drawn[i].class || e.What != drawn[i].what || e.From < max(last, drawn[i].at.Seconds()) || e.Till < max(e.From, drawn[i].until.Seconds()) {
			t.Errorf("%+v, drawn as %+v", e, drawn[i])
		}
		last = e.Till
	}
	if !slices.Contains(phases, "no fault") || !slices.ContainsFunc(phases, func(p string) bool { return strings.Contains(p, " of r") }) {
		t.Errorf("progress was told as %q", slices.Compact(phases))
	}
	if res.Availability < 0 || res.Availability > 1 || res.Failures == 0 && res.Availability != 1 || res.Time != sim.Duration(o.Time) {
		t.Errorf("%+v", res.Dependability)
	}
	var table bytes.Buffer
	if err := res.WriteTable(&table); err != nil || !strings.Contains(table.String(), "availability  ") || !strings.Contains(table.String(), "all replicas agree") {
		t.Errorf("%v: %s", err, table.String())
	}
	if data, err := json.Marshal(res); err != nil || !bytes.Contains(data, []byte(`"availability":`)) || !bytes.Contains(data, []byte(`"events":[`)) {
		t.Errorf("%v: %s", err, data)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

// A mission that is cancelled in the midst of a fault ends its replicas.
func TestCancelledMission(t *testing.T) {
	o := testMission(t)
	o.Time, o.For, o.Classes = time.Hour, time.Minute, []sim.Class{sim.ClassTiming}
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(p Progress) {
		if strings.Contains(p.Phase, " of r") {
			cancel()
		}
	}
	if _, err := RunMission(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("a mission that was cancelled gives %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v is left in the directory for temporary files (%v)", left, err)
	}
}

func TestMissionIsDrawn(t *testing.T) {
	o := DefaultMissionOptions()
	o.Time = time.Hour
	all := drawMission(&o)
	if again := drawMission(&o); !slices.Equal(all, again) {
		t.Error("the same seed gives other faults")
	}
	seen := map[string]bool{}
	last := time.Duration(0)
	for _, f := range all {
		if f.at < last || f.until <= f.at || f.until-f.at > maxLasting*o.For || f.until >= o.Time || f.replica >= o.Nodes {
			t.Fatalf("%+v after %v", f, last)
		}
		last = f.until
		seen[f.what] = true
	}
	for class, what := range doings {
		for _, w := range what {
			if !seen[w] {
				t.Errorf("class %s: %q never happens in an hour", class, w)
			}
		}
	}
	for _, c := range sim.MissionClasses() {
		if len(doings[c]) == 0 {
			t.Errorf("there is nothing to do for class %s", c)
		}
	}
	o.Seed++
	if slices.Equal(all, drawMission(&o)) {
		t.Error("another seed gives the same faults")
	}
	for name, harm := range map[string]func(o *MissionOptions){
		"clients": func(o *MissionOptions) { o.Clients = 0 }, "nodes": func(o *MissionOptions) { o.Nodes = 3 }, "time": func(o *MissionOptions) { o.Time = 0 },
		"within": func(o *MissionOptions) { o.Within = 0 }, "every": func(o *MissionOptions) { o.Every = 0 }, "for": func(o *MissionOptions) { o.For = 0 },
		"no class": func(o *MissionOptions) { o.Classes = nil }, "class": func(o *MissionOptions) { o.Classes = []sim.Class{sim.ClassValue} },
	} {
		bad := DefaultMissionOptions()
		harm(&bad)
		if bad.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A wait longer than the bound is a failure from the bound on, within the time of the mission.
func TestMissionWaits(t *testing.T) {
	o := DefaultMissionOptions()
	o.Within, o.Time = time.Second, 10*time.Second
	x := &missionCaller{}
	x.waited(time.Second, 2*time.Second, &o)
	x.waited(2*time.Second, 5*time.Second, &o)
	x.waited(8*time.Second, 12*time.Second, &o)
	want := []sim.Stretch{{From: sim.Duration(3 * time.Second), Till: sim.Duration(5 * time.Second)}, {From: sim.Duration(9 * time.Second), Till: sim.Duration(10 * time.Second)}}
	if !slices.Equal(x.failures, want) {
		t.Errorf("%v, want %v", x.failures, want)
	}
}
