package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// bindChild makes the kernel kill the child when the thread that starts it ends.
// The caller keeps that thread for the life of the process. Signals of the
// terminal reach the supervisor alone, which ends its children in order.
func bindChild(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// ownPath is what to execute to start this program again: the path it was started
// by, or, once that is gone (as after `go run`), the open image itself.
func ownPath() (string, error) {
	path, err := os.Executable()
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "/proc/self/exe", nil
}

// dieWithParent makes the kernel kill the command when the thread that starts it ends. The
// terminal's signals reach both.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
