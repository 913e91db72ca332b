package draw

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestWindow(t *testing.T) {
	r := Run{Title: "w", Lines: []Line{{Name: "r0"}, {Name: "r1"}}}
	for _, x := range []struct {
		text        string
		sent, comes int64
		lost        bool
	}{{"before", 10, 19, false}, {"into", 10, 20, false}, {"over", 5, 90, false}, {"within", 21, 25, false}, {"out", 30, 40, false}, {"after", 31, 35, false},
		{"lost before", 19, 0, true}, {"lost within", 20, 0, true}} {
		r.Messages = append(r.Messages, Message{From: 0, To: 1, Sent: x.sent, Arrived: x.comes, Lost: x.lost, Type: "prepare", Text: x.text})
	}
	for _, x := range []Mark{{Text: "moment before", At: 19}, {Text: "lasts into", At: 1, Until: 20}, {Text: "lasts", At: 1, Until: Forever}, {Text: "at the end", At: 30}, {Text: "moment after", At: 31}} {
		x.Kind = "fault"
		r.Marks = append(r.Marks, x)
	}
	r.Bands = []Band{{From: 0, Until: 20, View: 1}, {From: 20, Until: 25, View: 2}, {From: 25, Until: Forever, View: 3}, {From: 31, Until: 40, View: 4}}
	r.Failure = &Mark{Line: Everyone, At: 31, Kind: "S1"}

	w := Window(r, 20, 30)
	var texts []string
	for _, m := range w.Messages {
		texts = append(texts, m.Text)
	}
	for _, m := range w.Marks {
		texts = append(texts, m.Text)
	}
	if want := []string{"into", "over", "within", "out", "lost within", "lasts into", "lasts", "at the end"}; !slices.Equal(texts, want) {
		t.Errorf("the window holds %q, want %q", texts, want)
	}
	var views []uint64
	for _, b := range w.Bands {
		views = append(views, b.View)
	}
	if !slices.Equal(views, []uint64{2, 3}) {
		t.Errorf("the window holds views %v, want 2 and 3", views)
	}
	if w.Failure != nil {
		t.Error("the failure is after the window")
	}
	if Window(r, 20, 31).Failure == nil {
		t.Error("the failure at the window's end is not in it")
	}
	if from, until := w.extent(); from != 20 || until != 30 {
		t.Errorf("it is drawn from %d until %d, want 20 until 30", from, until)
	}
	if _, until := (&Run{Lines: r.Lines, Until: 1}).extent(); until != 1 {
		t.Errorf("a window until 1 is drawn until %d", until)
	}
	if w := Window(r, 20, MaxTime); w.Until != 90 {
		t.Errorf("the window ends at %d, the run at 90", w.Until)
	}
	if len(r.Messages) != 8 || r.Until != 0 {
		t.Error("the run itself was changed")
	}
	if err := SVG(&bytes.Buffer{}, w); err != nil {
		t.Errorf("a window is no run: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		want  string
		spoil func(r *Run)
	}{
		{"0 lines", func(r *Run) { r.Lines = nil }},
		{"line 1 has no name", func(r *Run) { r.Lines[1].Name = "" }},
		{"two lines are named", func(r *Run) { r.Lines[1].Name = "r0" }},
		{"message 2 goes from line 4 to line 5", func(r *Run) { r.Messages[2].To = 5 }},
		{"from line -1", func(r *Run) { r.Messages[0].From = -1 }},
		{"from c0 to itself", func(r *Run) { r.Messages[0].To = 4 }},
		{"before it was sent", func(r *Run) { r.Messages[1].Arrived = 1 }},
		{"both must be within", func(r *Run) { r.Messages[1].Arrived = MaxTime + 1 }},
		{"has no type", func(r *Run) { r.Messages[1].Type = "" }},
		{"more than 60 types", func(r *Run) {
			for i := range 61 {
				m := r.Messages[0]
				m.Type = string(rune('α' + i))
				r.Messages = append(r.Messages, m)
			}
		}},
		{"mark 1 is on line 5", func(r *Run) { r.Marks[1].Line = 5 }},
		{"mark 0 ends at 1 ns, before", func(r *Run) { r.Marks[0].Until = 1 }},
		{"mark 0 has no kind", func(r *Run) { r.Marks[0].Kind = "" }},
		{"the failure is on line -2", func(r *Run) { r.Failure.Line = -2 }},
		{"mark 0 is at -1", func(r *Run) { r.Marks[0].At = -1 }},
		{"band 0 is on line 9", func(r *Run) { r.Bands[0].Line = 9 }},
		{"band 1 lasts from", func(r *Run) { r.Bands[1].Until = 0 }},
		{"is none", func(r *Run) { r.From, r.Until = 7, 3 }},
		{"is empty", func(r *Run) { r.From, r.Until = 7, 7 }},
		{"draw a window", func(r *Run) { r.Messages = make([]Message, MaxMessages+1) }},
	} {
		r := small()
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		c.spoil(&r)
		for what, err := range map[string]error{"Validate": r.Validate(), "HTML": HTML(&bytes.Buffer{}, r), "SVG": SVG(&bytes.Buffer{}, r)} {
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want one line with %q", what, err, c.want)
			}
		}
	}
}

func TestAxisFoldsIdleTime(t *testing.T) {
	r := Run{Lines: []Line{{Name: "r0"}, {Name: "r1"}}, Messages: []Message{
		{From: 0, To: 1, Sent: 0, Arrived: 4 * ms, Type: "a"}, {From: 1, To: 0, Sent: 5 * ms, Arrived: 9 * ms, Type: "a"}, {From: 0, To: 1, Sent: 5000 * ms, Arrived: 5004 * ms, Type: "a"}}}
	from, until := r.extent()
	a := newAxis(r.Messages, nil, from, until, r.flight())
	if len(a.folds) != 1 || a.t[a.folds[0]] != 12*ms || a.t[a.folds[0]+1] != 4997*ms {
		t.Fatalf("folds %v of %v, want one from 12 to 4997 ms", a.folds, a.t)
	}
	last := -1.0
	for _, x := range []int64{0, 4 * ms, 12 * ms, 2500 * ms, 4997 * ms, 5004 * ms} {
		if at := a.at(x); at <= last {
			t.Errorf("%d lies at %v, not after %v", x, at, last)
		} else {
			last = at
		}
	}
	if a.at(from) != 0 || a.at(until) != 1 {
		t.Errorf("the ends lie at %v and %v", a.at(from), a.at(until))
	}
	// What is left is to scale: 4 ms of flight of 12 + 6 + 7 ms.
	if got := a.at(4 * ms); got < 0.159 || got > 0.161 {
		t.Errorf("4 ms lie at %v, want 0.16", got)
	}
	for _, k := range a.ticks(8) {
		if k.t > 12*ms && k.t < 4997*ms {
			t.Errorf("a tick at %s, in the fold", k.text)
		}
	}
}

func TestTimesAreReadable(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{clock(1_253_400_000, 100_000), "1.2534 s"}, {clock(40*ms, 10*ms), "40 ms"}, {clock(0, ms), "0"}, {clock(1500, 100), "1.5 µs"},
		{span(23_300_000), "23.3 ms"}, {span(412), "412 ns"}, {span(999_900_000), "1000 ms"}, {grouped(1_234_567), "1,234,567"}, {grouped(12), "12"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestNothingToDraw(t *testing.T) {
	r := Run{Title: "nobody speaks", Lines: []Line{{Name: "r0"}}}
	if svg := svgOf(t, r); !strings.Contains(svg, "nobody speaks") {
		t.Error("the picture has no title")
	}
	if p := dataOf(t, htmlOf(t, r)); len(p.Messages) != 0 || len(p.Lines) != 1 || p.Until <= p.From {
		t.Errorf("the page holds %+v", p)
	}
}
