package coverage

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
)

func mustFault(t *testing.T, class, duration string) InForce {
	t.Helper()
	f, err := Fault(class, duration)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFaultsCountEveryKindInForce(t *testing.T) {
	f := NewFaults()
	crash, lie := mustFault(t, "crash", "transient"), mustFault(t, "arbitrary", "permanent")
	f.Note(StageIdle, 0)
	f.Note(StageIdle, crash)
	f.Note(StageQuorum, crash|lie)
	if got := f.Events(); got != 3 {
		t.Errorf("%d events, want 3", got)
	}
	if f.Count(0, int(StageIdle)) != 1 || f.Count(0, int(StageQuorum)) != 1 || f.Count(20, int(StageQuorum)) != 1 || f.Count(20, int(StageIdle)) != 0 {
		t.Errorf("wrong cells:\n%s", f.String())
	}
	if reached, of := f.Reached(); reached != 3 || of != 21*int(stageEnd) {
		t.Errorf("%d of %d cells", reached, of)
	}
	if got := len(f.Missing()); got != 21*int(stageEnd)-3 {
		t.Errorf("%d cells missing", got)
	}
	seen := map[InForce]bool{}
	for _, c := range classes {
		for _, d := range durations {
			seen[mustFault(t, c, d)] = true
		}
	}
	if len(seen) != 21 {
		t.Errorf("%d kinds of faults", len(seen))
	}
	if _, err := Fault("crash", "forever"); err == nil {
		t.Error("a duration that does not exist is accepted")
	}
}

func TestMessagesThatOnlyClientsReceive(t *testing.T) {
	m := NewMessages()
	m.Note(StageIdle, bft.TypeVotes)
	m.Note(StageIdle, 0)
	m.Note(StageIdle, bft.TypeBusy+1)
	if m.Events() != 1 || len(m.Impossible()) != 3*int(stageEnd) {
		t.Errorf("%d events, %d impossible cells", m.Events(), len(m.Impossible()))
	}
	m.Note(StageLeft, bft.TypeReply) // what cannot be is shown when it is
	reached, of := m.Reached()
	if reached != 2 || of != 10*int(stageEnd)+1 || len(m.Impossible()) != 3*int(stageEnd)-1 {
		t.Errorf("%d of %d cells, %d impossible", reached, of, len(m.Impossible()))
	}
}

func TestTablesAddUp(t *testing.T) {
	sum, total := NewMessages(), uint64(0)
	for i := range 5 {
		m := NewMessages()
		for k := range 10 * (i + 1) {
			m.Note(Stage(k%int(stageEnd)), bft.TypeRequest+bft.MessageType(k%8))
			total++
		}
		if err := sum.Merge(m); err != nil {
			t.Fatal(err)
		}
	}
	if sum.Events() != total || sum.Count(0, 0) != 1+1+2+2+3 { // every 24th event of each table
		t.Errorf("%d events of %d, %d in the first cell", sum.Events(), total, sum.Count(0, 0))
	}
	if err := sum.Table.Merge(&NewFaults().Table); err == nil || sum.Events() != total {
		t.Errorf("tables of different shapes add up: %v", err)
	}
}

func TestTablePrints(t *testing.T) {
	table := newTable("letters", []string{"first", "second"}, []string{"one", "two", "three"}, func(row, column int) string {
		if row == 1 && column > 0 {
			return "it has one only"
		}
		return ""
	})
	for range 3 {
		table.add(0, 1)
	}
	table.add(1, 0)
	const want = `letters: 2 of 4 cells reached (50.0 %), 4 events
     A     B  C  reached
     -  75.0  -      1/3  first
  25.0     .  .      1/1  second
  A  one
  B  two
  C  three
never reached:
  first: one, three
cannot be reached:
  second: two, three (it has one only)
`
	if got := table.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"counts":[[0,3,0],[1,0,0]]`, `"reached":2,"of":4`, `"missing":[{"row":"first","column":"one"},`, `"why":"it has one only"`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("no %s in %s", part, b)
		}
	}
	if b, err = json.Marshal(NewFaults()); err != nil || !strings.Contains(string(b), `"stage of the receiver`) && !strings.Contains(string(b), `"title":"faults in force`) {
		t.Errorf("a table of faults: %s, %v", b, err)
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		part, whole uint64
		want        string
	}{{0, 0, "0"}, {0, 5, "0"}, {5, 5, "100"}, {1, 3, "33.3"}, {1, 100_000, "<.1"}, {99_999, 100_000, ">99.9"}} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.part, c.whole, got, c.want)
		}
	}
}
