package draw

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const ms = 1_000_000

// small is a run by hand: a client's request is ordered by four replicas, of which r3 lies and r2 crashes;
// then the view changes.
func small() Run {
	r := Run{
		Title: "one request, one lie, one crash",
		Notes: []string{"r0 proposes, the others vote. r3 belongs to the adversary and lies to r1; r2 crashes and comes back."},
		Lines: []Line{{Name: "r0"}, {Name: "r1"}, {Name: "r2"}, {Name: "r3", Byzantine: true}, {Name: "c0", Client: true}},
	}
	send := func(at int64, typ string, from int, to ...int) {
		for k, t := range to {
			r.Messages = append(r.Messages, Message{From: from, To: t, Sent: at, Arrived: at + 3*ms + int64(k)*ms/2, Type: typ, Seq: 1,
				Text: fmt.Sprintf("%s of view 0 number 1", typ), Detail: "digest f241d568\nbody da968594"})
		}
	}
	send(10*ms, "request", 4, 0, 1, 2, 3)
	send(15*ms, "pre-prepare", 0, 1, 2, 3)
	send(20*ms, "prepare", 1, 0, 2, 3)
	send(21*ms, "prepare", 3, 0, 1, 2)
	r.Messages[11].Lie = true
	send(26*ms, "commit", 0, 1, 2, 3)
	r.Messages[14].Lost, r.Messages[14].Arrived = true, 0
	send(26*ms, "commit", 1, 0, 2, 3)
	send(32*ms, "reply", 0, 4)
	send(33*ms, "reply", 1, 4)
	send(400*ms, "view-change", 1, 0, 2, 3)
	send(406*ms, "new-view", 1, 0, 2, 3)
	r.Marks = []Mark{
		{Line: 4, At: 10 * ms, Until: 38 * ms, Kind: "call", Text: "add 5"},
		{Line: 4, At: 38 * ms, Kind: "result", Text: "add 5: 5"},
		{Line: 3, At: 21 * ms, Kind: "lie", Text: "a vote for another digest"},
		{Line: 2, At: 27 * ms, Until: 395 * ms, Kind: "crash", Text: "unsynced bytes are lost"},
		{Line: 2, At: 395 * ms, Kind: "start", Text: "view 0"},
		{Line: 0, At: 31 * ms, Kind: "execute", Seq: 1, Text: "number 1"},
		{Line: 1, At: 32 * ms, Kind: "execute", Seq: 1, Text: "number 1"},
		{Line: 0, At: 390 * ms, Until: 412 * ms, Kind: "partition", Text: "r0 hears nobody"},
		{Line: Everyone, At: 388 * ms, Until: 412 * ms, Kind: "fault", Text: "a third of all messages is lost"},
	}
	for i := range 4 {
		r.Bands = append(r.Bands, Band{Line: i, From: 8 * ms, Until: 405 * ms, View: 0}, Band{Line: i, From: 405 * ms, Until: 409 * ms, View: 1, Changing: i != 1}, Band{Line: i, From: 409 * ms, Until: Forever, View: 1})
	}
	r.Failure = &Mark{Line: 1, At: 411 * ms, Kind: "S1", Text: "r1 and r0 executed different proposals at number 1"}
	return r
}

// large is a run of n messages, drawn from a seed, in broadcasts of the four phases.
func large(n int) Run {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := Run{Title: "large", Lines: []Line{{Name: "r0"}, {Name: "r1"}, {Name: "r2"}, {Name: "r3"}, {Name: "r4", Byzantine: true}, {Name: "r5"}, {Name: "r6"}, {Name: "c0", Client: true}}}
	types := []string{"pre-prepare", "prepare", "commit", "status", "checkpoint"}
	for t := int64(0); len(r.Messages) < n; t += int64(rnd.IntN(3 * ms)) {
		from := rnd.IntN(7)
		seq := uint64(len(r.Messages) / 100)
		typ := types[rnd.IntN(len(types))]
		text := fmt.Sprintf("%s by %d: view 3, %s %d %08x", typ, from, typ, seq, rnd.Uint32())
		for to := range 7 {
			if to != from {
				r.Messages = append(r.Messages, Message{From: from, To: to, Sent: t, Arrived: t + int64(rnd.IntN(5*ms)), Type: typ, View: 3, Seq: seq, Text: text, Detail: text + "\nsignature " + strings.Repeat("ab", 32), Lie: from == 4})
			}
		}
	}
	r.Messages = r.Messages[:n]
	return r
}

func svgOf(t *testing.T, r Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func htmlOf(t *testing.T, r Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements reads XML strictly to its end and counts its elements by name.
func elements(t *testing.T, doc string) map[string]int {
	t.Helper()
	count := make(map[string]int)
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

// dataOf is what a page holds of its run.
func dataOf(t *testing.T, doc string) packed {
	t.Helper()
	_, rest, ok := strings.Cut(doc, `<script type="application/json" id="run">`)
	data, _, end := strings.Cut(rest, "</script>")
	if !ok || !end {
		t.Fatal("the page holds no data")
	}
	var p packed
	if err := json.Unmarshal([]byte(data), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGolden(t *testing.T) {
	got := svgOf(t, small())
	path := filepath.Join("testdata", "small.svg")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: look at the picture that -update writes, and keep it if it is right", path)
	}
}

// TestPictureShowsEverything: each message is an arrow with a text for the pointer, and each sign is there.
func TestPictureShowsEverything(t *testing.T) {
	r := small()
	svg := svgOf(t, r)
	count := elements(t, svg)
	if got, want := count["title"], 1+len(r.Messages); got != want {
		t.Errorf("%d titles, want the picture's and one for each of %d messages", got, len(r.Messages))
	}
	for what, want := range map[string]string{
		"the lie":             "r3 → r1 prepare: prepare of view 0 number 1",
		"a lie's head":        `<g class="lie">`,
		"the lost one":        "commit of view 0 number 1 (lost)",
		"the crash":           ">crash</text>",
		"the line while down": `class="down"`,
		"the partition":       "r0 hears nobody",
		"the common fault":    "a third of all messages is lost",
		"the flag":            ">S1</text>",
		"the failure":         "S1 broke at 411.000 ms: r1 and r0 executed different proposals at number 1",
		"the second view":     ">view 1</text>",
		"the fold":            `class="foldline"`,
		"the Byzantine":       ">Byzantine</text>",
		"a name":              ">pre-prepare 1</text>",
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("%s is missing: no %q", what, want)
		}
	}
}

// hostile is what an adversary could have in any text.
const hostile = `</script><script>alert("1")</script><!-- ' & ]]> {{data}} {{script}} ` + "\x00\x1b[31m\u202e\xff\ufffe"

func hostileRun() Run {
	r := small()
	r.Title = hostile
	r.Notes = []string{hostile}
	r.Lines[1].Name = hostile
	for i := range r.Messages {
		r.Messages[i].Text, r.Messages[i].Detail = hostile, hostile
	}
	r.Messages[3].Type, r.Messages[3].Seq = hostile, 1<<64-1
	for i := range r.Marks {
		r.Marks[i].Text = hostile
	}
	r.Marks[2].Kind, r.Failure.Kind, r.Failure.Text = hostile, hostile, hostile
	return r
}

func TestHostileTexts(t *testing.T) {
	svg := svgOf(t, hostileRun())
	if n := elements(t, svg)["script"]; n != 0 {
		t.Errorf("the picture has %d scripts", n)
	}
	page := htmlOf(t, hostileRun())
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("the page has %d scripts, want its data and its own", n)
	}
	for _, bad := range []string{"alert(\"1\")<", "\x00", "\x1b", "\u202e", "<!-- '"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q as it is", bad)
		}
		if strings.Contains(svg, bad) {
			t.Errorf("the picture holds %q as it is", bad)
		}
	}
	p := dataOf(t, page)
	if p.Title != clean(hostile) || p.Lines[1].Name != clean(hostile) {
		t.Error("the page does not show the texts as they are")
	}
	if !strings.Contains(page, "18446744073709551615") {
		t.Error("a number above 2^53 is not shown exactly")
	}
}

// TestPageNeedsNothingElse: no reference leads out of the page, and its policy names its own parts.
func TestPageNeedsNothingElse(t *testing.T) {
	page := htmlOf(t, small())
	if m := regexp.MustCompile(`(?i)(\bsrc=|\bhref=|url\(|@import|https?://|//[a-z]+\.|fetch\(|XMLHttpRequest|import\(|WebSocket)`).FindString(page); m != "" {
		t.Errorf("the page refers to something: %q", m)
	}
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("the page has no policy")
	}
	for tag, name := range map[string]string{"script": "script-src", "style": "style-src"} {
		body := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(page)
		if body == nil {
			t.Fatalf("no %s", tag)
		}
		if want := name + " 'sha256-" + sum(body[1]) + "'"; !strings.Contains(html.UnescapeString(policy[1]), want) {
			t.Errorf("the policy %q does not admit the page's %s", policy[1], tag)
		}
	}
	if !strings.Contains(policy[1], "default-src 'none'") {
		t.Errorf("the policy %q admits what it does not name", policy[1])
	}
	if strings.Contains(page, "{{") {
		t.Error("a part of the page was not filled in")
	}
}

// TestPageHoldsTheRun reads the page's rows as its script does.
func TestPageHoldsTheRun(t *testing.T) {
	r := small()
	p := dataOf(t, htmlOf(t, r))
	if got, want := len(p.Messages), 10*len(r.Messages); got != want {
		t.Fatalf("%d numbers of messages, want %d", got, want)
	}
	at := int64(0)
	for i, m := range r.inOrder() {
		row := p.Messages[10*i : 10*i+10]
		n := func(k int) int64 { return int64(row[k].(float64)) }
		at += n(2)
		if int(n(0)) != m.From || int(n(1)) != m.To || at != m.Sent || p.Types[n(5)].Name != m.Type || p.Strings[n(8)] != m.Text || p.Strings[n(9)] != m.Detail {
			t.Errorf("message %d is %v, want %+v", i, row, m)
		}
		if lost, lie := n(4)&1 != 0, n(4)&2 != 0; lost != m.Lost || lie != m.Lie {
			t.Errorf("message %d: lost %v, lie %v, want %v, %v", i, lost, lie, m.Lost, m.Lie)
		}
		if want := m.Arrived - m.Sent; !m.Lost && n(3) != want || m.Lost && n(3) != -1 {
			t.Errorf("message %d takes %d, want %d", i, n(3), want)
		}
	}
	if len(p.Marks) != 6*(len(r.Marks)+1) || !p.Failure || len(p.Bands) != 5*len(r.Bands) || p.From != 8*ms || p.Until != 412*ms {
		t.Errorf("%d marks, failure %v, %d bands, from %d until %d", len(p.Marks)/6, p.Failure, len(p.Bands)/5, p.From, p.Until)
	}
}

// largePage bounds the page of 20,000 messages whose every broadcast has a text of its own.
const largePage = 3 << 20

func TestLargeRun(t *testing.T) {
	r := large(20_000)
	if n := len(htmlOf(t, r)); n > largePage {
		t.Errorf("the page has %d bytes, want at most %d", n, largePage)
	}
	svg := svgOf(t, r)
	count := elements(t, svg)
	if got := count["title"] - 1; got > still || got < still/2 {
		t.Errorf("the picture shows %d messages, want %d to %d", got, still/2, still)
	}
	if !strings.Contains(svg, "of 20,000 messages are drawn; left out: status and checkpoint; of the other ") {
		t.Error("the picture does not say what it leaves out")
	}
	if !strings.Contains(svg, `<g class="lie">`) {
		t.Error("no lie is left")
	}
}
