package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a Sweep.
const (
	// MaxAxes is the number of axes.
	MaxAxes = 2
	// MaxMeasurements bounds the product of the numbers of values and the repetition.
	MaxMeasurements = 1000
	// maxFailures ends a sweep in which so many measurements failed one after the other.
	maxFailures = 3
)

// Axis is one setting that a sweep varies.
type Axis struct {
	// Name is one of those of AxisNames.
	Name string
	// Values are taken in this order.
	Values []string
}

// axes are the settings that a sweep can vary, in the order in which they are listed.
var axes = []struct {
	name string
	set  func(*Options, string) error
}{
	{"clients", func(o *Options, v string) error { return setInt(&o.Clients, v) }},
	{"depth", func(o *Options, v string) error { return setInt(&o.Depth, v) }},
	{"rate", func(o *Options, v string) (err error) { o.Rate, err = strconv.ParseFloat(v, 64); return err }},
	{"size", func(o *Options, v string) error { return setInt(&o.Size, v) }},
	{"n", func(o *Options, v string) error { return setInt(&o.Nodes, v) }},
	{"service", setService},
	{"read", func(o *Options, v string) error { o.Read = v; return nil }},
}

func setInt(to *int, v string) (err error) {
	*to, err = strconv.Atoi(v)
	return err
}

// setService leaves the size to the services that have one.
func setService(o *Options, v string) error {
	if o.Service = v; v == Counter {
		o.Size = 0
	}
	return nil
}

// AxisNames lists what a sweep can vary.
func AxisNames() []string {
	names := make([]string, len(axes))
	for i := range axes {
		names[i] = axes[i].name
	}
	return names
}

// ParseAxis reads "NAME=VALUE,VALUE,...".
func ParseAxis(text string) (Axis, error) {
	name, list, ok := strings.Cut(text, "=")
	a := Axis{Name: name, Values: strings.Split(list, ",")}
	if !ok || name == "" || list == "" {
		return Axis{}, fmt.Errorf("axis %q: write it as NAME=VALUE,VALUE,..., as in clients=1,8,32", text)
	}
	seen := map[string]bool{}
	for _, v := range a.Values {
		if v == "" || seen[v] {
			return Axis{}, fmt.Errorf("axis %q: each value must be there once", text)
		}
		seen[v] = true
	}
	return a, a.apply(&Options{}, a.Values[0])
}

// apply sets the axis to a value.
func (a *Axis) apply(o *Options, value string) error {
	for i := range axes {
		if axes[i].name != a.Name {
			continue
		}
		if err := axes[i].set(o, value); err != nil {
			return fmt.Errorf("axis %s: %q is not a number", a.Name, value)
		}
		return nil
	}
	return fmt.Errorf("there is no axis %q: choose of %s", a.Name, strings.Join(AxisNames(), ", "))
}

// Sweep makes many measurements, over the values of up to MaxAxes axes, each of them Repeat times.
type Sweep struct {
	// Base has what the axes do not vary. Its Progress is told of each measurement, with the number of it.
	Base Options
	// Axes are varied; the last one fastest. None means that the same load is measured Repeat times.
	Axes []Axis
	// Repeat is the number of measurements at each point, at least 1. The whole sweep is gone through so often,
	// rather than each point, so that what changes on the machine meanwhile does not look like a
	// difference of points.
	Repeat int
	// Done, if not nil, is told of each result, from one goroutine at a time.
	Done func(*Result)
	// measure is Run, but for tests.
	measure func(context.Context, Options) (*Result, error)
}

// Points are the options of all measurements, in the order in which they are made; an error tells what is wrong
// with one.
func (s *Sweep) Points() ([]Options, error) {
	switch {
	case len(s.Axes) > MaxAxes:
		return nil, fmt.Errorf("%d axes: choose at most %d", len(s.Axes), MaxAxes)
	case len(s.Axes) == MaxAxes && s.Axes[0].Name == s.Axes[1].Name:
		return nil, fmt.Errorf("the axis %s is there twice: give all its values at once", s.Axes[0].Name)
	case s.varies("rate") && s.varies("depth"):
		return nil, errors.New("the rate is of an open loop and the depth of a closed one: vary one of them")
	case s.Repeat < 1 || s.Repeat > MaxMeasurements:
		return nil, fmt.Errorf("%d repetitions: choose 1 to %d", s.Repeat, MaxMeasurements)
	}
	points := []Options{s.Base}
	for i := range s.Axes {
		var more []Options
		for _, p := range points {
			for _, v := range s.Axes[i].Values {
				o := p
				if err := s.Axes[i].apply(&o, v); err != nil {
					return nil, err
				}
				more = append(more, o)
			}
		}
		points = more
		if len(points)*s.Repeat > MaxMeasurements {
			return nil, fmt.Errorf("more than %d measurements: choose fewer values or repetitions", MaxMeasurements)
		}
		if s.Axes[i].Name == "n" && s.Base.Dir != "" {
			return nil, errors.New("the number of replicas of a running cluster is what it is: leave the axis n or the directory out")
		}
	}
	for i := range points {
		if err := points[i].Validate(); err != nil {
			return nil, err
		}
	}
	var all []Options
	for range s.Repeat {
		all = append(all, points...)
	}
	return all, nil
}

// varies tells whether there is an axis of this name.
func (s *Sweep) varies(name string) bool {
	return slices.ContainsFunc(s.Axes, func(a Axis) bool { return a.Name == name })
}

// Run makes all measurements one after the other, each with a cluster of its own if none is given. It returns
// those that were made also when it returns an error, which is the context's or says which measurements failed.
// One that fails does not end the sweep, unless it is the first or the third in a row.
func (s *Sweep) Run(ctx context.Context) ([]*Result, error) {
	points, err := s.Points()
	if err != nil {
		return nil, err
	}
	measure := s.measure
	if measure == nil {
		measure = Run
		remove, err := s.build(ctx, points)
		if err != nil {
			return nil, err
		}
		defer remove()
	}
	var results []*Result
	var failed []error
	inRow := 0
	for i, o := range points {
		number := fmt.Sprintf("%d of %d", i+1, len(points))
		if tell := s.Base.Progress; tell != nil && len(points) > 1 {
			o.Progress = func(p Progress) {
				p.Phase = number + ": " + p.Phase
				tell(p)
			}
		}
		if o.Profiles != "" && len(points) > 1 {
			o.Profiles = filepath.Join(o.Profiles, strconv.Itoa(i+1))
		}
		res, err := measure(ctx, o)
		if ctx.Err() != nil {
			return results, fmt.Errorf("ended after %d of %d measurements: %w", len(results), len(points), ctx.Err())
		}
		if err != nil {
			if len(points) == 1 {
				return nil, err
			}
			failed, inRow = append(failed, fmt.Errorf("measurement %s: %w", number, err)), inRow+1
			if len(results) == 0 || inRow == maxFailures {
				break
			}
			continue
		}
		inRow, results = 0, append(results, res)
		if s.Done != nil {
			s.Done(res)
		}
	}
	return results, errors.Join(failed...)
}

// build builds the program of the replicas once for all points, where each would do it alike.
func (s *Sweep) build(ctx context.Context, points []Options) (remove func(), err error) {
	if o := &s.Base; len(points) == 1 || o.Dir != "" || o.Program != "" || o.Profiles != "" {
		return func() {}, nil
	}
	if s.Base.Progress != nil {
		s.Base.Progress(Progress{Phase: "building bftnode"})
	}
	c, program, err := prepare(ctx, &s.Base)
	if err != nil {
		return nil, err
	}
	for i := range points {
		points[i].Program = program
	}
	return func() { _ = os.RemoveAll(c.temp) }, nil
}
