//go:build unix && !linux

package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// bindChild keeps signals of the terminal away from the child. That it ends with
// its supervisor is left to the lifeline, see runCommand.
func bindChild(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// ownPath is what to execute to start this program again.
func ownPath() (string, error) { return os.Executable() }

// dieWithParent can do nothing here: a command outlives this process if that is killed.
func dieWithParent(*exec.Cmd) {}
