package coverage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// Table counts how often each of its cells was reached. Tables of the same shape can be added up.
type Table struct {
	// Title says what is counted.
	Title string
	// Rows and Columns name the cells.
	Rows, Columns []string

	counts []uint64
	// impossible says why a cell cannot be reached, or "".
	impossible func(row, column int) string
}

func newTable(title string, rows, columns []string, impossible func(row, column int) string) *Table {
	return &Table{Title: title, Rows: rows, Columns: columns, counts: make([]uint64, len(rows)*len(columns)), impossible: impossible}
}

// add counts a cell.
func (t *Table) add(row, column int) { t.counts[row*len(t.Columns)+column]++ }

// Count is how often a cell was reached.
func (t *Table) Count(row, column int) uint64 { return t.counts[row*len(t.Columns)+column] }

// Merge adds the counts of another table. It fails, and adds nothing, if that has another shape.
func (t *Table) Merge(o *Table) error {
	if t.Title != o.Title || !slices.Equal(t.Rows, o.Rows) || !slices.Equal(t.Columns, o.Columns) {
		return fmt.Errorf("coverage: the tables %q and %q have different cells and cannot be added up", t.Title, o.Title)
	}
	for i, n := range o.counts {
		t.counts[i] += n
	}
	return nil
}

// Cell is one that was not reached.
type Cell struct {
	Row    string `json:"row"`
	Column string `json:"column"`
	// Why says why it cannot be reached; "" if it could have been.
	Why string `json:"why,omitempty"`
}

// Missing lists the cells that were not reached and could have been, in the order of rows and columns.
func (t *Table) Missing() []Cell {
	return t.cells(func(count uint64, why string) bool { return count == 0 && why == "" })
}

// Impossible lists the cells that cannot be reached, with the reasons. If one was reached all the
// same, the reason is wrong: it is not listed here, and counts as reached.
func (t *Table) Impossible() []Cell {
	return t.cells(func(count uint64, why string) bool { return count == 0 && why != "" })
}

func (t *Table) cells(which func(count uint64, why string) bool) []Cell {
	out := []Cell{}
	for r, row := range t.Rows {
		for c, column := range t.Columns {
			if why := t.impossible(r, c); which(t.Count(r, c), why) {
				out = append(out, Cell{row, column, why})
			}
		}
	}
	return out
}

// Reached is the number of cells that were reached, and of those that can be.
func (t *Table) Reached() (reached, of int) {
	of = len(t.counts) - len(t.Impossible())
	return of - len(t.Missing()), of
}

// Events is the sum of all counts.
func (t *Table) Events() uint64 {
	sum := uint64(0)
	for _, n := range t.counts {
		sum += n
	}
	return sum
}

// String prints the table: of each cell its share of all events in percent, "-" where none
// reached it and "." where none can; then the cells that were not reached, with the reasons of
// those that cannot be.
func (t *Table) String() string {
	var b strings.Builder
	reached, of := t.Reached()
	events := t.Events()
	fmt.Fprintf(&b, "%s: %d of %d cells reached (%s %%), %d events\n", t.Title, reached, of, percent(uint64(reached), uint64(of)), events)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for c := range t.Columns {
		fmt.Fprintf(w, "%c\t", mark(c))
	}
	fmt.Fprintln(w, "reached\t")
	for r, row := range t.Rows {
		hit, possible := 0, 0
		for c := range t.Columns {
			n, why := t.Count(r, c), t.impossible(r, c)
			switch {
			case n > 0:
				hit, possible = hit+1, possible+1
				fmt.Fprintf(w, "%s\t", percent(n, events))
			case why != "":
				fmt.Fprint(w, ".\t")
			default:
				possible++
				fmt.Fprint(w, "-\t")
			}
		}
		fmt.Fprintf(w, "%d/%d\t  %s\n", hit, possible, row)
	}
	w.Flush()
	for c, column := range t.Columns {
		fmt.Fprintf(&b, "  %c  %s\n", mark(c), column)
	}
	list := func(head string, cells []Cell) {
		if len(cells) > 0 {
			fmt.Fprintf(&b, "%s\n", head)
		}
		for _, group := range grouped(cells) {
			fmt.Fprintf(&b, "  %s\n", group)
		}
	}
	list("never reached:", t.Missing())
	list("cannot be reached:", t.Impossible())
	return b.String()
}

// mark is the letter of a column.
func mark(column int) rune { return rune('A' + column) }

// grouped says what cells there are, those of one row and reason together.
func grouped(cells []Cell) []string {
	var out []string
	for len(cells) > 0 {
		k := 1
		for k < len(cells) && cells[k].Row == cells[0].Row && cells[k].Why == cells[0].Why {
			k++
		}
		var columns []string
		for _, c := range cells[:k] {
			columns = append(columns, c.Column)
		}
		line := cells[0].Row + ": " + strings.Join(columns, ", ")
		if cells[0].Why != "" {
			line += " (" + cells[0].Why + ")"
		}
		out = append(out, line)
		cells = cells[k:]
	}
	return out
}

// percent of a whole, with one digit where it matters; what is little but not nothing is "<.1".
func percent(part, whole uint64) string {
	if whole == 0 {
		return "0"
	}
	switch p := 100 * float64(part) / float64(whole); {
	case p == 0 || p == 100:
		return fmt.Sprintf("%.0f", p)
	case p < 0.1:
		return "<.1"
	case p > 99.9:
		return ">99.9"
	default:
		return fmt.Sprintf("%.1f", p)
	}
}

// MarshalJSON gives the title, the names, the counts by row, and the cells that were not reached.
func (t *Table) MarshalJSON() ([]byte, error) {
	counts := make([][]uint64, len(t.Rows))
	for r := range t.Rows {
		counts[r] = t.counts[r*len(t.Columns) : (r+1)*len(t.Columns)]
	}
	reached, of := t.Reached()
	return json.Marshal(struct {
		Title      string     `json:"title"`
		Rows       []string   `json:"rows"`
		Columns    []string   `json:"columns"`
		Counts     [][]uint64 `json:"counts"`
		Reached    int        `json:"reached"`
		Of         int        `json:"of"`
		Missing    []Cell     `json:"missing"`
		Impossible []Cell     `json:"impossible"`
	}{t.Title, t.Rows, t.Columns, counts, reached, of, t.Missing(), t.Impossible()})
}
