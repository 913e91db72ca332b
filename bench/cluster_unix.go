//go:build unix

package bench

import (
	"os"
	"syscall"
)

// pauseProcess stops a process as it stands, or lets it go on.
func pauseProcess(p *os.Process, on bool) error {
	if on {
		return p.Signal(syscall.SIGSTOP)
	}
	return p.Signal(syscall.SIGCONT)
}
