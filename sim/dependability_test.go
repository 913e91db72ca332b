package sim

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// A mission whose outages are known has the figures that they give.
func TestMissionOfKnownOutages(t *testing.T) {
	m := Mission{Seed: 1, Replicas: 4, Hours: 1, Within: second, OutageEvery: 1200 * second, OutageFor: 60 * second, Jobs: 1}
	d, err := m.Run()
	if err != nil {
		t.Fatal(err)
	}
	// A failure begins up to a think time and Within after the outage, and ends with the recovery.
	if d.Failures != 3 || d.Down < 3*50*second || d.Down > 3*70*second || d.Wrong != 0 || d.Answers < 500 {
		t.Errorf("%+v", d)
	}
	if want := 1 - float64(d.Down)/float64(hour); math.Abs(d.Availability-want) > 1e-9 || d.Reliability != 0 {
		t.Errorf("availability %v, reliability %v", d.Availability, d.Reliability)
	}
	if d.Repair != d.Down/3 || d.BetweenFailures != (hour-d.Down)/3 || len(d.Faults) != 1 || d.Faults[0] != (Masked{ClassCrash, 3, 0}) {
		t.Errorf("%+v", d)
	}
	var b strings.Builder
	if _, err := d.WriteTo(&b); err != nil || !strings.Contains(b.String(), "failures of the service 3 (no answer within 1s)") {
		t.Errorf("%v: %s", err, b.String())
	}
}

// One liar of four, and nothing else: all of it is masked.
func TestMissionWithLies(t *testing.T) {
	m := Mission{Seed: 2, Replicas: 4, Hours: 1, Within: 5 * second, Lies: true, Jobs: 1}
	d, err := m.Run()
	if err != nil {
		t.Fatal(err)
	}
	if d.Wrong != 0 || d.Failures != 0 || d.Availability != 1 || d.Reliability != 1 || len(d.Faults) == 0 {
		t.Errorf("%+v", d)
	}
	for _, f := range d.Faults {
		if f.Masked != f.Faults {
			t.Errorf("%+v", f)
		}
	}
}

func TestMissionFigures(t *testing.T) {
	got := union([]Stretch{{50, 60}, {10, 20}, {20, 30}, {12, 15}})
	if !slices.Equal(got, []Stretch{{10, 30}, {50, 60}}) {
		t.Errorf("%v", got)
	}
	// Down for the last of four hours: of the beginnings, those of two hours have a good hour ahead.
	if r := reliable([]Stretch{{3 * hour, 4 * hour}}, 4*hour, hour); r != 0.5 {
		t.Errorf("reliability %v", r)
	}
	// An outage that spans hours falls into each of them.
	m := Mission{OutageEvery: 5 * hour, OutageFor: 90 * 60 * second}
	for k, want := range [][]Stretch{nil, nil, nil, {{hour / 2, hour}}, {{0, hour}}, nil, nil, nil, {{hour / 2, hour}}} {
		var got []Stretch
		for _, f := range m.blackouts(k) {
			got = append(got, Stretch{f.At, f.Until})
		}
		if !slices.Equal(got, want) {
			t.Errorf("hour %d: %v, want %v", k, got, want)
		}
	}
	for _, bad := range []Mission{{}, {Replicas: 4, Hours: 1, Within: second, Jobs: 1, Classes: []Class{ClassValue}},
		{Replicas: 4, Hours: 1, Within: second, Jobs: 1, OutageEvery: 60 * second, OutageFor: 60 * second},
		{Replicas: 4, Hours: 1, Within: second, Jobs: 1, Every: second, For: second}} {
		if _, err := bad.Run(); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	// What is drawn is drawn from the seed.
	m = Mission{Seed: 3, Replicas: 4, Every: 600 * second, For: 30 * second, Classes: MissionClasses(), Lies: true}
	a, b := m.hour(4), m.hour(4)
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	if len(a.Faults) < 20 || len(a.Faults) != len(b.Faults) || a.Faults[7].String() != b.Faults[7].String() || a.Behaviours[0] != b.Behaviours[0] {
		t.Errorf("%v, %v", a.Faults, b.Faults)
	}
}

// TestReliabilityOfAShortTime: of a span that does not fit into the time nothing is told.
func TestReliabilityOfAShortTime(t *testing.T) {
	for _, c := range []struct {
		length Duration
		want   string
	}{
		{30 * second, "reliability             not told: none of the minutes fits into 30s\n"},
		{120 * second, "reliability             100.0 % of the minutes that begin at any moment have no failure\n"},
	} {
		d := Dependability{Replicas: 4, Time: c.length, Within: second, Span: 60 * second}
		d.Figure(nil, nil)
		var b strings.Builder
		if _, err := d.WriteTo(&b); err != nil || !strings.Contains(b.String(), c.want) {
			t.Errorf("%v: %s, %v, want %s", c.length, b.String(), err, c.want)
		}
	}
}
