//go:build !unix

package bft_test

import "time"

// cpuTime is not known here: the metric is zero.
func cpuTime() time.Duration { return 0 }
