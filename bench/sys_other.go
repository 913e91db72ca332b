//go:build !linux

package bench

import (
	"io/fs"
	"os/exec"
	"time"
)

// Where the system is not Linux, the costs of processes are not measured, and stay out of the result.

func threadTime() time.Duration             { return 0 }
func ownTime() (processorTime, bool)        { return processorTime{}, false }
func processTime(int) (processorTime, bool) { return processorTime{}, false }
func residentBytes(int) (int64, bool)       { return 0, false }
func allocatedBytes(info fs.FileInfo) int64 { return info.Size() }
func machineTime() (time.Duration, bool)    { return 0, false }
func processorName() string                 { return "" }
func kernelName() string                    { return "" }
func fileSystem(string) string              { return "" }
func startBound(cmd *exec.Cmd) error        { return cmd.Start() }
