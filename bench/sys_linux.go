package bench

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ownTime is the processor time of this process.
func ownTime() (processorTime, bool) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return processorTime{}, false
	}
	return processorTime{user: time.Duration(u.Utime.Nano()), system: time.Duration(u.Stime.Nano())}, true
}

// tick is the unit of /proc: user space sees 100 a second on every architecture of Go.
const tick = 10 * time.Millisecond

// processTime is the processor time of a process of this machine.
func processTime(pid int) (processorTime, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processorTime{}, false
	}
	// The second field is the name in brackets, which may hold anything.
	end := bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	const user, system = 14 - 3, 15 - 3 // counted from the third
	if end < 0 || len(fields) <= system {
		return processorTime{}, false
	}
	u, errU := strconv.ParseInt(fields[user], 10, 64)
	s, errS := strconv.ParseInt(fields[system], 10, 64)
	return processorTime{user: time.Duration(u) * tick, system: time.Duration(s) * tick}, errU == nil && errS == nil
}

// residentBytes is the memory that a process of this machine holds.
func residentBytes(pid int) (int64, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	// A process that has ended and is not yet waited for has none.
	return pages * int64(os.Getpagesize()), err == nil && pages > 0
}

// allocatedBytes is what a file takes on the disk: databases allocate ahead of what they write.
func allocatedBytes(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		const blockBytes = 512 // of st_blocks, whatever the file system
		return s.Blocks * blockBytes
	}
	return info.Size()
}

// machineTime is the processor time that the machine has spent on anything.
func machineTime() (time.Duration, bool) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, false
	}
	// user, nice, system, irq, softirq; not idle, iowait and steal.
	sum := int64(0)
	for _, i := range []int{1, 2, 3, 6, 7} {
		v, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, false
		}
		sum += v
	}
	return time.Duration(sum) * tick, true
}

// processorName is what the processor calls itself.
func processorName() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// kernelName is the kernel's release.
func kernelName() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// fileSystems names the usual types of file systems by their magic numbers.
var fileSystems = map[int64]string{
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x01021994: "tmpfs", 0x858458f6: "ramfs",
	0x794c7630: "overlay", 0x2fc12fc1: "zfs", 0x6969: "nfs", 0x65735546: "fuse",
}

// fileSystem names the file system of a directory.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return ""
	}
	if name, ok := fileSystems[int64(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("%#x", int64(s.Type))
}

// startBound starts a process that ends with this one, however this one ends. Signals of the terminal
// do not reach it: it is ended in order. The thread that starts it must last, because the kernel takes
// the end of that thread for the end of the process.
func startBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			select {} // one thread for each cluster that was started
		}
	}()
	return <-started
}
