package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Range is the whole numbers from First to Last.
type Range struct{ First, Last int }

// Ranges are whole numbers from 1. Their text is as in "1..3 7".
type Ranges []Range

// Has tells whether n is one of them.
func (r Ranges) Has(n int) bool {
	return slices.ContainsFunc(r, func(x Range) bool { return x.First <= n && n <= x.Last })
}

// Count is how many there are, each range by itself.
func (r Ranges) Count() int {
	n := 0
	for _, x := range r {
		n += x.Last - x.First + 1
	}
	return n
}

// RangesOf makes the ranges of numbers, which are sorted.
func RangesOf(numbers []int) Ranges {
	out := Ranges{}
	for _, n := range numbers {
		if k := len(out); k > 0 && out[k-1].Last+1 >= n {
			out[k-1].Last = n
			continue
		}
		out = append(out, Range{n, n})
	}
	return out
}

// Numbers lists them.
func (r Ranges) Numbers() []int {
	var out []int
	for _, x := range r {
		for n := x.First; n <= x.Last; n++ {
			out = append(out, n)
		}
	}
	return out
}

// String prints them as ParseRanges reads them; "none" if there are none.
func (r Ranges) String() string {
	if len(r) == 0 {
		return "none"
	}
	var parts []string
	for _, x := range r {
		if x.First == x.Last {
			parts = append(parts, strconv.Itoa(x.First))
		} else {
			parts = append(parts, fmt.Sprintf("%d..%d", x.First, x.Last))
		}
	}
	return strings.Join(parts, " ")
}

// MarshalText makes them a string in JSON.
func (r Ranges) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String prints.
func (r *Ranges) UnmarshalText(b []byte) error {
	v, err := ParseRanges(string(b))
	*r = v
	return err
}

// ParseRanges reads numbers and ranges from 1 in ascending order, as in "1..3 7", or "none".
func ParseRanges(s string) (Ranges, error) {
	out := Ranges{}
	if strings.TrimSpace(s) == "none" {
		return out, nil
	}
	for _, part := range strings.Fields(s) {
		a, b, ok := strings.Cut(part, "..")
		if !ok {
			b = a
		}
		first, err := strconv.Atoi(a)
		last, err2 := strconv.Atoi(b)
		if err != nil || err2 != nil || first < 1 || last < first || len(out) > 0 && first <= out[len(out)-1].Last {
			return nil, fmt.Errorf("sim: %q: give numbers and ranges from 1, ascending, as in \"1..3 7\"", s)
		}
		out = append(out, Range{first, last})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("sim: %q: give numbers and ranges as in \"1..3 7\", or \"none\"", s)
	}
	return out, nil
}
