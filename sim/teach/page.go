package teach

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// columns is how wide running text is: it leaves a margin on the 100 columns of a projector.
const columns = 92

// page gathers what a scenario prints, and what it found out.
type page struct {
	text bytes.Buffer
	res  Result
}

func (p *page) title(s string) {
	fmt.Fprintf(&p.text, "%s\n%s\n\n", s, strings.Repeat("═", width(s)))
}

// section begins a part.
func (p *page) section(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	fmt.Fprintf(&p.text, "\n%s\n%s\n", s, strings.Repeat("─", width(s)))
}

// say prints a paragraph.
func (p *page) say(format string, args ...any) {
	for _, l := range wrap(fmt.Sprintf(format, args...), columns) {
		fmt.Fprintln(&p.text, l)
	}
}

// line prints one line as it is.
func (p *page) line(format string, args ...any) {
	fmt.Fprintln(&p.text, strings.TrimRight("  "+fmt.Sprintf(format, args...), " "))
}

// table prints a table, aligned, and keeps it for the result.
func (p *page) table(head []string, rows [][]string) {
	t := Table{Head: head, Rows: rows}
	p.res.Tables = append(p.res.Tables, t)
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = width(h)
		for _, r := range rows {
			widths[i] = max(widths[i], width(r[i]))
		}
	}
	rule := make([]string, len(head))
	for i, k := range widths {
		rule[i] = strings.Repeat("─", k)
	}
	for _, r := range append([][]string{head, rule}, rows...) {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = pad(c, widths[i])
		}
		p.line("%s", strings.Join(cells, "  "))
	}
}

// show prints a stage as a small space-time diagram, and keeps it.
func (p *page) show(s *stage) {
	for _, l := range s.draw() {
		p.line("%s", l)
	}
	p.res.stages = append(p.res.stages, s)
}

// keep keeps a stage for the diagram without printing it, where a table says it better.
func (p *page) keep(s *stage) { p.res.stages = append(p.res.stages, s) }

// fact adds a statement to the conclusion: the format's first argument is the value.
func (p *page) fact(name string, value any, format string, more ...any) {
	text := fmt.Sprintf(format, append([]any{value}, more...)...)
	p.res.Facts = append(p.res.Facts, Fact{Name: name, Value: value, Text: text})
}

// state adds a statement whose words were made of the value already.
func (p *page) state(name string, value any, text string) {
	p.res.Facts = append(p.res.Facts, Fact{Name: name, Value: value, Text: text})
}

// claim adds a statement that either holds or not, and words for both cases.
func (p *page) claim(name string, holds bool, ifSo, ifNot string) {
	text := ifNot
	if holds {
		text = ifSo
	}
	p.res.Facts = append(p.res.Facts, Fact{Name: name, Value: holds, Text: text})
}

// conclude prints the statements.
func (p *page) conclude() {
	p.section("What it shows")
	for _, f := range p.res.Facts {
		for i, l := range wrap(f.Text, columns-4) {
			if i == 0 {
				p.line("• %s", l)
			} else {
				p.line("  %s", l)
			}
		}
	}
}

// width is how many columns s takes.
func width(s string) int { return utf8.RuneCountInString(s) }

// pad fills s up to k columns.
func pad(s string, k int) string { return s + strings.Repeat(" ", max(0, k-width(s))) }

// wrap breaks s into lines of at most k columns, between words.
func wrap(s string, k int) []string {
	var out []string
	line := ""
	// A chapter stays with its number.
	for _, word := range strings.Fields(strings.ReplaceAll(s, "ch. ", "ch.\x00")) {
		word = strings.ReplaceAll(word, "\x00", " ")
		if line != "" && width(line)+1+width(word) > k {
			out = append(out, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}

// join makes "a, b and c" of a list.
func join(xs []string) string {
	switch len(xs) {
	case 0:
		return "none"
	case 1:
		return xs[0]
	}
	return strings.Join(xs[:len(xs)-1], ", ") + " and " + xs[len(xs)-1]
}

// yes makes a cell of a condition.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// same tells whether all of xs are equal.
func same[T comparable](xs []T) bool {
	return !slices.ContainsFunc(xs, func(x T) bool { return x != xs[0] })
}

// count is how many of xs satisfy is.
func count[T any](xs []T, is func(T) bool) int {
	n := 0
	for _, x := range xs {
		if is(x) {
			n++
		}
	}
	return n
}
