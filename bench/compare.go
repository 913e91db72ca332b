package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
)

// Verdicts of a comparison of B with A.
const (
	Faster  = "faster"
	Slower  = "slower"
	NotTold = "not told apart"
)

// Comparison says how a second set of repeated measurements differs from a first one.
type Comparison struct {
	// Verdict is Faster, Slower or NotTold, of B against A, by the throughput; by the median latency where
	// operations were offered at a rate, which fixes the throughput.
	Verdict string `json:"verdict"`
	// Why says it in a sentence.
	Why string `json:"why"`
	// MeasurementsA and MeasurementsB count them.
	MeasurementsA int `json:"measurements_a"`
	MeasurementsB int `json:"measurements_b"`
	// Differences are those of each figure that both sets know.
	Differences []Difference `json:"differences"`
	// SettingsDiffer and MachineDiffers name what differs besides, as "name: A | B". Where they do, the figures
	// do not tell what made the difference.
	SettingsDiffer []string `json:"settings_differ"`
	MachineDiffers []string `json:"machine_differs"`
	// VersionA and VersionB are those of the replicas.
	VersionA string `json:"version_a"`
	VersionB string `json:"version_b"`
	// Warnings say what takes from the worth of the comparison.
	Warnings []string `json:"warnings"`
}

// Difference is that of one figure.
type Difference struct {
	// Name is that of the figure in the JSON of a result, Title the one for people.
	Name  string `json:"name"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	// A and B are the geometric means of the measurements.
	A float64 `json:"a"`
	B float64 `json:"b"`
	// Percent is by how much B is above A; 0 is equal. Low and High bound it with a probability of 95 %;
	// nil where one of the sets has fewer than two measurements.
	Percent float64  `json:"percent"`
	Low     *float64 `json:"low_percent,omitempty"`
	High    *float64 `json:"high_percent,omitempty"`
	// Verdict is Faster, Slower or NotTold: a shorter latency and less processor time are faster.
	Verdict string `json:"verdict"`
}

// Compare compares the repeated measurements b with those of a. Each set must be of one load: what differs within one
// is an error that names it.
//
// The interval of each difference is Welch's for unequal variances, of the logarithms: so it is one of ratios, which
// is how speeds differ, and cannot reach below -100 %. A figure is told apart when its interval does not hold 0. With
// many figures compared, one in twenty seems to differ by chance: the verdict is by one figure, chosen beforehand.
func Compare(a, b []*Result) (*Comparison, error) {
	for i, set := range [][]*Result{a, b} {
		if err := sameLoad(set); err != nil {
			return nil, fmt.Errorf("file %s: %w", string(rune('A'+i)), err)
		}
	}
	c := &Comparison{MeasurementsA: len(a), MeasurementsB: len(b), VersionA: a[0].Settings.Version, VersionB: b[0].Settings.Version}
	for _, f := range figures {
		va, vb := valuesOf(a, f.of), valuesOf(b, f.of)
		if len(va) == len(a) && len(vb) == len(b) {
			c.Differences = append(c.Differences, f.difference(va, vb))
		}
	}
	var err error
	c.SettingsDiffer, err = differing(a[0].Settings.comparable(), b[0].Settings.comparable())
	if err != nil {
		return nil, err
	}
	if c.MachineDiffers, err = differing(a[0].Machine, b[0].Machine); err != nil {
		return nil, err
	}
	c.conclude(a, b)
	return c, nil
}

// comparable leaves out what does not change the load: what versions are compared is the question.
func (s Settings) comparable() Settings {
	s.Version = ""
	return s
}

// sameLoad checks that the measurements of a set may stand together.
func sameLoad(set []*Result) error {
	if len(set) == 0 {
		return errors.New("it holds no measurement")
	}
	for _, other := range set[1:] {
		settings, err := differing(set[0].Settings, other.Settings)
		if err != nil {
			return err
		}
		machine, err := differing(set[0].Machine, other.Machine)
		if err != nil {
			return err
		}
		if d := append(settings, machine...); len(d) > 0 {
			return fmt.Errorf("its measurements differ in %s: compare takes repeated measurements of one load, as run --repeat makes them", strings.Join(d, ", "))
		}
	}
	return nil
}

// differing names the fields of two structures, as in their JSON, that are not equal.
func differing(a, b any) ([]string, error) {
	var fields [2]map[string]any
	for i, v := range []any{a, b} {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &fields[i]); err != nil {
			return nil, err
		}
	}
	all := maps.Clone(fields[0])
	maps.Copy(all, fields[1])
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		va, vb := plain(fields[0][name]), plain(fields[1][name])
		if va != vb {
			out = append(out, fmt.Sprintf("%s: %s | %s", name, va, vb))
		}
	}
	return out, nil
}

func plain(v any) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprint(v)
}

// difference compares values, all of them positive.
func (f *figure) difference(a, b []float64) Difference {
	percent := func(logRatio float64) float64 { return 100 * math.Expm1(logRatio) }
	la, lb := logs(a), logs(b)
	ma, mb := stat.Mean(la, nil), stat.Mean(lb, nil)
	d := Difference{Name: f.name, Title: f.title, Unit: f.unit, A: math.Exp(ma), B: math.Exp(mb), Percent: percent(mb - ma), Verdict: NotTold}
	half, ok := welch(la, lb)
	if !ok {
		return d
	}
	low, high := percent(mb-ma-half), percent(mb-ma+half)
	d.Low, d.High = &low, &high
	switch {
	case low > 0 && !f.lower, high < 0 && f.lower:
		d.Verdict = Faster
	case low > 0, high < 0:
		d.Verdict = Slower
	}
	return d
}

func logs(v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = math.Log(v[i])
	}
	return out
}

// welch is how far the difference of the means of a and b extends to each side, without the assumption that
// they vary alike; false if there are too few values to tell.
func welch(a, b []float64) (half float64, ok bool) {
	if len(a) < 2 || len(b) < 2 {
		return 0, false
	}
	na, nb := float64(len(a)), float64(len(b))
	sa, sb := stat.Variance(a, nil)/na, stat.Variance(b, nil)/nb
	if sa+sb == 0 {
		return 0, true // nothing varies: any difference is one
	}
	degrees := (sa + sb) * (sa + sb) / (sa*sa/(na-1) + sb*sb/(nb-1))
	return quantileT(degrees) * math.Sqrt(sa+sb), true
}

// enough measurements of each set make an interval that is worth something: with two, it is wider than
// most differences.
const enough = 3

// conclude finds the verdict, and what to be warned of.
func (c *Comparison) conclude(a, b []*Result) {
	c.Verdict = NotTold
	by := "ops_per_s"
	if a[0].offered() && b[0].offered() {
		by = "p50_ms"
	}
	for i := range c.Differences {
		if d := &c.Differences[i]; d.Name == by {
			c.Verdict, c.Why = d.Verdict, d.sentence()
		}
	}
	if least := min(len(a), len(b)); least < enough {
		c.warn("there are %d measurements of A and %d of B: make at least %d of each (run --repeat %d), better 5", len(a), len(b), enough, enough)
	}
	if len(c.SettingsDiffer) > 0 {
		c.warn("the settings differ in %s", strings.Join(c.SettingsDiffer, ", "))
	}
	if len(c.MachineDiffers) > 0 {
		c.warn("the machines differ in %s: look at the throughput in verifications", strings.Join(c.MachineDiffers, ", "))
	}
	for i, set := range [][]*Result{a, b} {
		noted := 0
		for _, res := range set {
			noted += min(1, len(res.Warnings))
		}
		if noted > 0 {
			c.warn("%d of %d measurements of %c have warnings of their own, see their tables", noted, len(set), 'A'+i)
		}
	}
}

func (c *Comparison) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// sentence says plainly what a difference means.
func (d *Difference) sentence() string {
	if d.Low == nil {
		return fmt.Sprintf("B and A are not told apart: one measurement of a set says nothing of how they vary (%s %+.1f %%)", d.Title, d.Percent)
	}
	interval := fmt.Sprintf("%s %+.1f %%, 95 %% interval %+.1f to %+.1f %%", d.Title, d.Percent, *d.Low, *d.High)
	if d.Verdict == NotTold {
		return "B and A are not told apart: " + interval
	}
	return fmt.Sprintf("B is %s than A: %s", d.Verdict, interval)
}

// WriteTable writes the comparison for people.
func (c *Comparison) WriteTable(w io.Writer) error {
	t := newTable(w)
	t.row("FIGURE", fmt.Sprintf("A (%d)", c.MeasurementsA), fmt.Sprintf("B (%d)", c.MeasurementsB), "UNIT", "DIFFERENCE", "95 % INTERVAL", "B IS")
	for i := range c.Differences {
		d := &c.Differences[i]
		interval := "-"
		if d.Low != nil {
			interval = fmt.Sprintf("%+.1f to %+.1f %%", *d.Low, *d.High)
		}
		t.row(d.Title, number(d.A), number(d.B), cmp.Or(d.Unit, "-"), fmt.Sprintf("%+.1f %%", d.Percent), interval, d.Verdict)
	}
	if err := t.end(); err != nil {
		return err
	}
	lines := []string{"", c.Why + "."}
	if c.VersionA != c.VersionB {
		lines = append(lines, fmt.Sprintf("A is version %s, B %s.", c.VersionA, c.VersionB))
	}
	for _, warning := range c.Warnings {
		lines = append(lines, "warning: "+warning)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
