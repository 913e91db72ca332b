// Package fault makes one replica, or one client, of a cluster under test faulty, from outside: package node
// and the protocol have no hook for it.
//
//   - [SlowFS] is a file system whose syncs take longer.
//   - [Relay] stands between a replica and the members that it talks to, and holds its pre-prepares back.
//   - [Run] runs the real node with both.
//   - [Forger] is a client whose signatures do not hold.
package fault

import (
	"sync/atomic"
	"time"
)

// MaxDelay bounds every delay of this package.
const MaxDelay = time.Minute

// Delay is a duration that may be changed while it is in use. The zero value delays nothing.
type Delay struct{ nanoseconds atomic.Int64 }

// Set changes the delay, within 0 and MaxDelay, from now on.
func (d *Delay) Set(to time.Duration) { d.nanoseconds.Store(int64(min(max(to, 0), MaxDelay))) }

// Get is the present delay.
func (d *Delay) Get() time.Duration { return time.Duration(d.nanoseconds.Load()) }
