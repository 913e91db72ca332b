package bench

import (
	"os/exec"
	"syscall"
)

// bindProcess has a process end with the thread that starts it, even one that is paused. Signals of the
// terminal do not reach it.
func bindProcess(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
