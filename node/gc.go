package node

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow to three times what is live before it is collected. A replica keeps
// little and makes much garbage, so at Go's default of 100 it collects several times a second.
const gcPercent = 200

// tuneGC sets the garbage collector of this process, unless the environment variable GOGC does.
// The memory limit of the config bounds what this costs.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
