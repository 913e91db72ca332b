//go:build !linux

package bench

import "os/exec"

// bindProcess does nothing: the end of its standard input ends a replica.
func bindProcess(*exec.Cmd) {}
