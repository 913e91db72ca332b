package bench

import (
	"fmt"
	"math"
)

// Chart draws the throughput over time around the fault.
func (res *FaultResult) Chart() *Chart {
	n := len(res.Series)
	line := ChartLine{Name: "throughput", X: make([]float64, n), Y: res.Series}
	const milli = 1000.0
	for i := range line.X {
		line.X[i] = (float64(i-res.SeriesFault) + 0.5) * res.SeriesStepMS / milli
	}
	last := float64(n-res.SeriesFault) * res.SeriesStepMS / milli
	before := ChartLine{Name: "mean before the fault", X: []float64{-float64(res.SeriesFault) * res.SeriesStepMS / milli, last},
		Y: []float64{res.BeforeOpsPerSecond, res.BeforeOpsPerSecond}, Color: 6, Stroke: Dashed}
	s := &res.Settings
	return &Chart{
		Title: fmt.Sprintf("%s: %s", res.Fault, res.Short),
		Subtitle: []string{
			fmt.Sprintf("struck: %s; longest gap %.0f ms; 90 %% of the throughput back after %s; views %d to %d", res.struck(), res.GapMS,
				orNever(res.Recovery90MS), res.ViewBefore, res.ViewAfter),
			fmt.Sprintf("n = %d, %d clients x %d outstanding, %s %s of %d bytes; request timeout %g ms", s.N, s.Clients, s.Depth, s.Service, s.Operation,
				s.SizeBytes, s.RequestTimeoutMS),
			fmt.Sprintf("%s; version %s", s.Placement, s.Version),
			res.Machine.text(),
		},
		Panels: []Panel{{
			X:     ChartAxis{Label: "seconds since the fault", Ticks: wholeSeconds(before.X[0], last)},
			Y:     ChartAxis{Label: "operations a second"},
			Lines: []ChartLine{before, line},
			Marks: []ChartMark{{X: 0, Text: "fault begins"}, {X: float64(res.SeriesEnd-res.SeriesFault) * res.SeriesStepMS / milli, Text: "and ends"}},
		}},
	}
}

// wholeSeconds are at most about 20 positions within low and high.
func wholeSeconds(low, high float64) []float64 {
	const most = 20
	step := max(1, math.Ceil((high-low)/most))
	var at []float64
	for v := math.Ceil(low/step) * step; v <= high; v += step {
		at = append(at, v+0) // never -0
	}
	return at
}
