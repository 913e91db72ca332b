package exec

import "slices"

// run is the results of operations with consecutive numbers, of one bundle. Results are shared
// with replies and snapshots and never change.
type run struct {
	first   uint64
	results [][]byte
}

func (r *run) end() uint64 { return r.first + uint64(len(r.results)) }

// cache keeps results by number.
//
//  1. The runs are in the order of their numbers, not empty, and do not overlap.
//  2. bytes is the sum of the results' sizes, as sizeOf counts.
type cache struct {
	runs  []run
	bytes int
}

// sizeOf is what a result counts for against the bounds.
func sizeOf(result []byte) int { return ResultOverhead + len(result) }

// add keeps results under the numbers from first, none of which it has.
func (c *cache) add(first uint64, results [][]byte) {
	if len(results) == 0 {
		return
	}
	at := len(c.runs)
	if at > 0 && c.runs[at-1].first > first { // numbers mostly come in order
		at = c.after(first)
	}
	c.runs = slices.Insert(c.runs, at, run{first, results})
	for _, r := range results {
		c.bytes += sizeOf(r)
	}
}

// after returns the index of the first run that begins above n.
func (c *cache) after(n uint64) int {
	at, _ := slices.BinarySearchFunc(c.runs, n, func(r run, n uint64) int {
		if r.first <= n {
			return -1
		}
		return 1
	})
	return at
}

// get returns the result of number n, or nil.
func (c *cache) get(n uint64) []byte {
	at := c.after(n) - 1
	if at < 0 || n >= c.runs[at].end() {
		return nil
	}
	return c.runs[at].results[n-c.runs[at].first]
}

// dropBelow drops the results of all numbers below n.
func (c *cache) dropBelow(n uint64) {
	whole := 0
	for whole < len(c.runs) && c.runs[whole].end() <= n {
		c.drop(&c.runs[whole], len(c.runs[whole].results))
		whole++
	}
	c.runs = slices.Delete(c.runs, 0, whole)
	if len(c.runs) > 0 && c.runs[0].first < n {
		c.drop(&c.runs[0], int(n-c.runs[0].first))
	}
}

// dropUntil drops results, lowest number first, until the bytes are at most limit.
func (c *cache) dropUntil(limit int) {
	empty := 0
	for empty < len(c.runs) && c.bytes > limit {
		r := &c.runs[empty]
		c.drop(r, 1)
		if len(r.results) == 0 {
			empty++
		}
	}
	c.runs = slices.Delete(c.runs, 0, empty)
}

// drop removes the first k results of r, which the caller removes if nothing is left.
func (c *cache) drop(r *run, k int) {
	for _, result := range r.results[:k] {
		c.bytes -= sizeOf(result)
	}
	r.first += uint64(k)
	r.results = r.results[k:]
}
