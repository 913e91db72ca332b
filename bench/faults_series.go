package bench

import "time"

// faultSeries are the results over time, each faultBucket, from the begin of the load.
type faultSeries struct {
	counts []uint32
	// Ends of the phases, since the begin of the load.
	warmup, before, during, after time.Duration
}

// bucketAt is the first bucket that begins at d or later.
func bucketAt(d time.Duration) int { return int((d + faultBucket - 1) / faultBucket) }

// between is the throughput within [from, to), in whole buckets.
func (s *faultSeries) between(from, to time.Duration) float64 {
	a, b := bucketAt(from), min(bucketAt(to), len(s.counts))
	if a >= b {
		return 0
	}
	sum := uint64(0)
	for _, n := range s.counts[a:b] {
		sum += uint64(n)
	}
	return float64(sum) / (time.Duration(b-a) * faultBucket).Seconds()
}

// steps are the throughputs of each step from the end of the warm-up on; a step that is not whole at the end
// is left out. zero is how many of them lie before the fault.
func (s *faultSeries) steps(step time.Duration) (rates []float64, zero int) {
	// The fault is at the edge of a step.
	zero = int((s.before - s.warmup) / step)
	for at := s.before - time.Duration(zero)*step; at+step <= s.after; at += step {
		rates = append(rates, s.between(at, at+step))
	}
	return rates, zero
}

// gap is the longest time without a result that begins after the fault and within the phase of the fault, and when
// it began, since the fault. One that has not ended when the load does counts to that end.
func (s *faultSeries) gap() (longest, at time.Duration) {
	since := -1 // the first bucket of the present gap
	begin, last := bucketAt(s.before), min(bucketAt(s.after), len(s.counts))
	check := func(i int) {
		if d := time.Duration(i-since) * faultBucket; since >= 0 && d > longest {
			longest, at = d, time.Duration(since)*faultBucket-s.before
		}
	}
	for i := begin; i < last; i++ {
		if s.counts[i] != 0 {
			check(i)
			since = -1
			continue
		}
		if since < 0 && i < bucketAt(s.during) {
			since = i
		}
	}
	check(last)
	return longest, max(at, 0)
}

// recoveryWindow is over how long the throughput must be back.
const recoveryWindow = time.Second

// recovery is the time from the fault to the begin of the first recoveryWindow in which the throughput is at least share of
// that before the fault, and not only because its later part makes up for a begin with less than half of
// it; false if there is none.
func (s *faultSeries) recovery(share float64) (time.Duration, bool) {
	want := share * s.between(s.warmup, s.before)
	for at := s.before; at+recoveryWindow <= s.after; at += faultBucket {
		if s.between(at, at+recoveryWindow) >= want && s.between(at, at+recoveryWindow/10) >= want/2 {
			return at - s.before, true
		}
	}
	return 0, false
}
