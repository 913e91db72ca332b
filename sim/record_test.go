package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/draw"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// recorded is a run with crashes, a partition, a pause and a Byzantine primary.
func recorded(t *testing.T) (Options, *Report, draw.Run) {
	t.Helper()
	o := Plain()
	o.Seed = 11
	o.Behaviours, o.Byzantine = []string{"equivocating primary"}, []bft.ReplicaID{0}
	o.Beyond = true // more is faulty at a time than may be: the run is only looked at
	o.Faults = []Fault{
		{Kind: Crash, Targets: []bft.ReplicaID{2}, At: 200 * millisecond, Until: 500 * millisecond},
		{Kind: CutFrom, Targets: []bft.ReplicaID{3}, At: 600 * millisecond, Until: 700 * millisecond},
		{Kind: Pause, Targets: []bft.ReplicaID{1}, At: 750 * millisecond, Until: 800 * millisecond},
		{Kind: Lossy, At: 100 * millisecond, Until: 150 * millisecond},
	}
	o.Heal = max(o.Heal, second)
	report, run, err := Record(o, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Validate(); err != nil {
		t.Fatal(err)
	}
	return o, report, run
}

// TestRecordChangesNothing: the recorded run is the same as the one that is not.
func TestRecordChangesNothing(t *testing.T) {
	o, recorded, _ := recorded(t)
	plain, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if plain.TraceHash != recorded.TraceHash {
		t.Errorf("the trace hash is %s, without recording %s", recorded.TraceHash, plain.TraceHash)
	}
}

// TestRecordHasEverything compares the record with the counts of the report and with the options.
func TestRecordHasEverything(t *testing.T) {
	o, report, run := recorded(t)
	s := &report.Stats
	lost, lies := 0, 0
	types := make(map[string]int)
	for _, m := range run.Messages {
		types[m.Type]++
		if m.Lost {
			lost++
		}
		if m.Lie {
			lies++
		}
		if m.Text == "" || !strings.Contains(m.Detail, " bytes\n") {
			t.Fatalf("a message without content: %+v", m)
		}
	}
	// What is on its way when the run ends is not recorded; what the network lost is, and besides it
	// what no process took.
	if all := s.Sent + s.Duplicated; len(run.Messages) > all || len(run.Messages) < all*99/100 {
		t.Errorf("%d messages recorded, %d sent and %d doubled", len(run.Messages), s.Sent, s.Duplicated)
	}
	if lost <= s.Lost {
		t.Errorf("%d are lost, want the network's %d and those that reached nobody at r2", lost, s.Lost)
	}
	if lies == 0 {
		t.Error("no lie")
	}
	for _, want := range []string{"request", "pre-prepare", "prepare", "commit", "checkpoint", "view-change", "new-view", "status", "reply"} {
		if types[want] == 0 {
			t.Errorf("no %s", want)
		}
	}
	kinds := make(map[string]int)
	for _, m := range run.Marks {
		kinds[m.Kind]++
	}
	if kinds["crash"] != s.Crashes || kinds["call"] < kinds["result"] || kinds["lie"] != s.Deeds {
		t.Errorf("%d crashes, %d calls, %d results, %d lies, the report says %d crashes and %d lies", kinds["crash"], kinds["call"], kinds["result"], kinds["lie"], s.Crashes, s.Deeds)
	}
	for _, want := range []draw.Mark{
		{Line: 3, Kind: "partition", At: int64(600 * millisecond), Until: int64(700 * millisecond)},
		{Line: 2, Kind: "crash", At: int64(200 * millisecond), Until: int64(500 * millisecond)},
		{Line: 1, Kind: "pause", At: int64(750 * millisecond), Until: int64(800 * millisecond)},
		{Line: draw.Everyone, Kind: "fault", At: int64(100 * millisecond), Until: int64(150 * millisecond)},
	} {
		if !slices.ContainsFunc(run.Marks, func(m draw.Mark) bool {
			return m.Line == want.Line && m.Kind == want.Kind && m.At == want.At && m.Until == want.Until
		}) {
			t.Errorf("no mark %+v", want)
		}
	}
	if want := o.Protocol.N + o.Load.Clients + o.Load.BadClients; len(run.Lines) != want || !run.Lines[0].Byzantine || run.Lines[1].Byzantine {
		t.Errorf("lines %+v, want %d, of which r0 is Byzantine", run.Lines, want)
	}
}

// TestRecordViews: the bands of a replica follow each other without overlap, none while it is down.
func TestRecordViews(t *testing.T) {
	_, report, run := recorded(t)
	views := make(map[uint64]bool)
	for line := range 4 {
		last := int64(0)
		for _, b := range run.Bands {
			if b.Line != line {
				continue
			}
			if views[b.View] = true; b.From < last || b.Until < b.From {
				t.Errorf("r%d is in view %d from %d until %d, and before in another until %d", line, b.View, b.From, b.Until, last)
			}
			last = b.Until
			if line == 2 && b.From < int64(500*millisecond) && b.Until > int64(201*millisecond) {
				t.Errorf("r2 is in view %d from %d until %d: it is down", b.View, b.From, b.Until)
			}
		}
	}
	if len(views) < 2 || len(views) < int(report.Stats.Views) {
		t.Errorf("%d views recorded, the report says %d", len(views), report.Stats.Views)
	}
}

// TestRecordWindow: a window that is recorded is the window of all that is.
func TestRecordWindow(t *testing.T) {
	o, _, all := recorded(t)
	// From the middle of one message's way to the middle of another's, while a replica is down and a call lasts.
	half := func(after Duration) Duration {
		i := slices.IndexFunc(all.Messages, func(m draw.Message) bool {
			return !m.Lost && m.Sent > int64(after) && m.Arrived > m.Sent+1 && m.From < 4 && m.Type != "status"
		})
		return Duration(all.Messages[i].Sent+all.Messages[i].Arrived) / 2
	}
	from, until := half(300*millisecond), half(450*millisecond)
	_, some, err := Record(o, from, until)
	if err != nil {
		t.Fatal(err)
	}
	want := draw.Window(all, int64(from), int64(until))
	if !slices.Equal(some.Messages, want.Messages) {
		t.Errorf("%d messages, want the %d of the window", len(some.Messages), len(want.Messages))
	}
	if !slices.Equal(some.Marks, want.Marks) {
		t.Errorf("%d marks, want the %d of the window", len(some.Marks), len(want.Marks))
	}
	if !slices.Equal(some.Bands, want.Bands) {
		t.Errorf("bands %v, want %v", some.Bands, want.Bands)
	}
	if some.From != int64(from) || some.Until != int64(until) || len(some.Messages) == 0 {
		t.Errorf("%d messages from %d until %d", len(some.Messages), some.From, some.Until)
	}
	if _, _, err := Record(o, 2*second, second); err == nil {
		t.Error("a window that ends before it begins is recorded")
	}
}

// TestContentOfHostileFrames: whatever an adversary sends has a content.
func TestContentOfHostileFrames(t *testing.T) {
	for _, frame := range [][]byte{{0}, {255, 1, 2}, {byte(bft.TypeVotes)}, {byte(bft.TypeVotes), 0xff}, append([]byte{byte(bft.TypeRequest)}, strings.Repeat("x", 500)...)} {
		r := &recorder{said: make(map[*byte]*said)}
		s := r.says(frame)
		if s.kind == "" || s.text == "" || !strings.Contains(s.detail, "bytes") {
			t.Errorf("%x says %+v", frame, s)
		}
		if wire.TypeOf(frame).String() != s.kind && s.kind != "garbage" {
			t.Errorf("%x is of type %s", frame, s.kind)
		}
	}
	if s := (&recorder{}).says(nil); s.kind != "garbage" {
		t.Errorf("an empty frame is of type %q", s.kind)
	}
}

// TestContent: a reader sees what was signed, and numbers that are 0 too.
func TestContent(t *testing.T) {
	_, _, run := recorded(t)
	i := slices.IndexFunc(run.Messages, func(m draw.Message) bool { return m.Type == "prepare" && m.View == 0 })
	if i < 0 {
		t.Fatal("no prepare in view 0")
	}
	for _, want := range []string{"\nsigner: ", "\nvotes\n  view: 0\n  votes 1\n    phase: prepare\n    seq: ", "\n    digest: ", "\nsignature: "} {
		if !strings.Contains(run.Messages[i].Detail, want) {
			t.Errorf("%q is missing in\n%s", want, run.Messages[i].Detail)
		}
	}
}
