package bench

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// WriteHistograms writes the latencies of results as a log of HdrHistogram (version 1.3), which its tools read: an
// interval for each result, with values in nanoseconds in steps of a microsecond. Results that were read from a file have
// no histogram, and are refused.
func WriteHistograms(w io.Writer, results []*Result) error {
	const msPerSecond = 1000
	lw := hdrhistogram.NewHistogramLogWriter(w)
	err := errors.Join(lw.OutputComment("[Latencies in nanoseconds, of bftbench]"), lw.OutputLogFormatVersion())
	if err == nil && len(results) > 0 {
		begin := results[0].Started.UnixMilli()
		err = errors.Join(lw.OutputStartTime(begin), lw.OutputLegend())
	}
	for i, res := range results {
		if err != nil {
			return err
		}
		if res.hist == nil {
			return fmt.Errorf("result %d has no histogram", i+1)
		}
		h, at := inNanoseconds(res.hist), res.Started.UnixMilli()
		h.SetStartTimeMs(at)
		h.SetEndTimeMs(at + int64(res.Settings.DurationSeconds*msPerSecond))
		err = lw.OutputIntervalHistogram(h)
	}
	return err
}

// inNanoseconds is the unit that readers of the log expect; the harness counts microseconds.
func inNanoseconds(h *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	const unit = int64(time.Microsecond)
	out := hdrhistogram.New(histogramLowest*unit, histogramHighest*unit, histogramDigits)
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			// Within the bounds it cannot fail.
			_ = out.RecordValues(min(bar.From*unit, histogramHighest*unit), bar.Count)
		}
	}
	return out
}
