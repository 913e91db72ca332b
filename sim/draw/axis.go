package draw

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// axis maps virtual time to a length in which idle time is folded. The page does the same in its own
// script, for what is idle there depends on what the reader shows.
type axis struct {
	t     []int64 // points in time, rising
	u     []int64 // their lengths along the axis, in ns
	folds []int   // i: from t[i] to t[i+1] nothing happens
	gap   int64   // what is left of a fold
}

// newAxis makes the axis of what happens from from until until. What is idle for longer than three
// times gap is folded to gap.
func newAxis(messages []Message, marks []Mark, from, until, flight int64) *axis {
	a := &axis{t: []int64{from}, u: []int64{0}, gap: max(2, flight*3/2)}
	type spell struct{ from, until int64 }
	var busy []spell
	add := func(f, u int64) { busy = append(busy, spell{max(from, min(f, until)), max(from, min(u, until))}) }
	for i := range messages {
		m := &messages[i]
		// A message that is held for long, by a paused replica, does not make that time busy.
		add(m.Sent, min(m.ends(), m.Sent+40*flight))
	}
	for i := range marks {
		m := &marks[i]
		add(m.At, m.At)
		add(m.ends(), m.ends())
	}
	slices.SortFunc(busy, func(x, y spell) int {
		if x.from != y.from {
			return sign(x.from - y.from)
		}
		return sign(x.until - y.until)
	})
	last := from
	for _, b := range append(busy, spell{until, until}) {
		if b.from-last > 3*a.gap {
			a.fold(last+a.gap/2, b.from-a.gap/2)
		}
		last = max(last, b.until)
	}
	a.append(until, until-a.t[len(a.t)-1])
	return a
}

func (a *axis) append(t, length int64) {
	if t > a.t[len(a.t)-1] {
		a.u = append(a.u, a.u[len(a.u)-1]+length)
		a.t = append(a.t, t)
	}
}

func (a *axis) fold(from, until int64) {
	a.append(from, from-a.t[len(a.t)-1])
	a.folds = append(a.folds, len(a.t)-1)
	a.append(until, a.gap)
}

// at is where t lies along the axis, from 0 to 1.
func (a *axis) at(t int64) float64 {
	n := len(a.t) - 1
	i := min(max(sortedBelow(a.t, t), 0), n-1)
	d := float64(a.t[i+1] - a.t[i])
	u := float64(a.u[i]) + float64(t-a.t[i])/d*float64(a.u[i+1]-a.u[i])
	return u / float64(a.u[n])
}

// sortedBelow is the last index whose value is at most t.
func sortedBelow(v []int64, t int64) int {
	i, found := slices.BinarySearch(v, t)
	if found {
		return i
	}
	return i - 1
}

// tick is a named point of the axis.
type tick struct {
	t    int64
	text string
}

// ticks are about count points in time, at round numbers where there are any; a busy stretch that
// holds none has its beginning named, more exactly.
func (a *axis) ticks(count int) []tick {
	step := round(a.u[len(a.u)-1] / int64(count))
	var out []tick
	for i := range len(a.t) - 1 {
		if slices.Contains(a.folds, i) {
			continue
		}
		first := (a.t[i] + step - 1) / step * step
		if first > a.t[i+1] {
			t := min(a.t[i]+a.gap/2, a.t[i+1])
			out = append(out, tick{t, clock(t, max(1, step/100))})
		}
		for t := first; t <= a.t[i+1]; t += step {
			out = append(out, tick{t, clock(t, step)})
		}
	}
	return out
}

// round is the next of 1, 2, 5, 10, 20, ... that is at least n.
func round(n int64) int64 {
	for p := int64(1); ; p *= 10 {
		for _, k := range []int64{1, 2, 5} {
			if k*p >= n {
				return k * p
			}
		}
	}
}

var units = []struct {
	name string
	ns   int64
}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}, {"ns", 1}}

func unitOf(t int64) (name string, ns int64) {
	for _, u := range units {
		if t >= u.ns {
			return u.name, u.ns
		}
	}
	return "ns", 1
}

// clock prints a time to the precision of step, in the largest unit of which there is one.
func clock(t, step int64) string {
	if t == 0 {
		return "0"
	}
	name, ns := unitOf(t)
	digits := int(math.Ceil(math.Log10(float64(ns)/float64(step)) - 1e-9))
	return strconv.FormatFloat(float64(t)/float64(ns), 'f', min(max(digits, 0), 9), 64) + " " + name
}

// span prints how long something takes, to three digits.
func span(d int64) string {
	name, ns := unitOf(d)
	v := float64(d) / float64(ns)
	if v >= 100 {
		return fmt.Sprintf("%.0f %s", v, name)
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + " " + name
}

// grouped prints a number with commas between the thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	var parts []string
	for ; len(s) > 3; s = s[:len(s)-3] {
		parts = append([]string{s[len(s)-3:]}, parts...)
	}
	return strings.Join(append([]string{s}, parts...), ",")
}

func sign(n int64) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
