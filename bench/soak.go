package bench

import (
	"time"

	"gonum.org/v1/gonum/stat"
)

// Usage is what one process held in memory and on disk over the measured time, so that a long run shows
// whether it stays flat.
type Usage struct {
	// Name is that of the replica, or "load".
	Name string `json:"name"`
	// ResidentMiB is the memory of the process, in MiB. DiskMiB is what the directory of a replica
	// takes on its disk, in MiB; nil for the load, and where it is not a directory of this machine.
	ResidentMiB *Track `json:"resident_mib,omitempty"`
	DiskMiB     *Track `json:"disk_mib,omitempty"`
}

// Track is one quantity over time. It was read about each second; of a long run, every second, fourth or
// eighth reading and so on is kept, so that there are at most 1,025. First, Last and Highest are of all readings.
type Track struct {
	First   float64 `json:"first"`
	Last    float64 `json:"last"`
	Highest float64 `json:"highest"`
	// PerMinute is how fast it grows, by a line of least squares through the second half of the samples.
	// Nil if that half is shorter than 30 s, which tells nothing.
	PerMinute *float64 `json:"per_minute,omitempty"`
	// Samples were taken at these seconds of the measured time.
	AtSeconds []float64 `json:"at_s"`
	Samples   []float64 `json:"samples"`
}

const (
	// usageEvery is how often memory and disk are read.
	usageEvery = time.Second
	// maxTrack bounds the samples of a track, but for the last one; it is even.
	maxTrack = 1024
	// slopeSpan is the least time that a slope is told of.
	slopeSpan = 30 * time.Second
)

// tracker collects a Track.
type tracker struct {
	track  Track
	seen   int // readings so far
	stride int // each so many of them is kept
	lastAt float64
}

// add takes one more reading. When there are too many, every other one is forgotten, and from then on only
// half as many are kept: the spacing stays even.
func (t *tracker) add(atSeconds, v float64) {
	k := &t.track
	if t.seen == 0 {
		t.stride, k.First, k.Highest = 1, v, v
	}
	k.Last, t.lastAt, k.Highest = v, atSeconds, max(k.Highest, v)
	if t.seen%t.stride == 0 {
		if len(k.Samples) == maxTrack {
			k.AtSeconds, k.Samples = everyOther(k.AtSeconds), everyOther(k.Samples)
			t.stride *= 2
		}
		// maxTrack is even, so that this one belongs to the wider spacing too.
		k.AtSeconds, k.Samples = append(k.AtSeconds, atSeconds), append(k.Samples, v)
	}
	t.seen++
}

func everyOther(v []float64) []float64 {
	out := v[:0]
	for i := 0; i < len(v); i += 2 {
		out = append(out, v[i])
	}
	return out
}

// end returns the track, or nil if nothing was read. The last reading is in it in any case.
func (t *tracker) end() *Track {
	if t.seen == 0 {
		return nil
	}
	k := &t.track
	if n := len(k.AtSeconds); k.AtSeconds[n-1] != t.lastAt {
		k.AtSeconds, k.Samples = append(k.AtSeconds, t.lastAt), append(k.Samples, k.Last)
	}
	k.PerMinute = slopePerMinute(k.AtSeconds, k.Samples)
	return k
}

// slopePerMinute fits a line through the second half of the time.
func slopePerMinute(at, v []float64) *float64 {
	half := (at[0] + at[len(at)-1]) / 2
	from := 0
	for at[from] < half {
		from++
	}
	if at[len(at)-1]-at[from] < slopeSpan.Seconds() {
		return nil
	}
	_, perSecond := stat.LinearRegression(at[from:], v[from:], nil, false)
	perMinute := perSecond * time.Minute.Seconds()
	return &perMinute
}
