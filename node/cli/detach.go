package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// reportFD is the descriptor on which the supervisor that --detach leaves behind
// tells the command how its start went. It ends with the last message.
const reportFD = 3

// failedReport precedes an exit code and an error in the report.
const failedReport = "failed "

// noteReport precedes what belongs on the standard error.
const noteReport = "note "

// runDetached starts a supervisor in a session of its own and repeats what it reports.
func (u *upFlags) runDetached(ctx context.Context) error {
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return wrong.NewDir(u.dir, err, "name another directory with --dir")
	}
	path, err := ownPath()
	if err != nil {
		return err
	}
	logPath := filepath.Join(u.dir, upLogFile)
	if err := trimLog(logPath, maxLogBytes); err != nil {
		return err
	}
	log, err := openLog(logPath)
	if err != nil {
		return lockFailed(logPath, err, "--dir")
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(path, u.detachedArgs()...)
	cmd.Args[0] = u.program.Name
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	ready := false
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, failedReport); ok {
			code, text, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(code)
			if err != nil {
				n = CodeFailure
			}
			_ = cmd.Wait()
			return Fail(n, "%s", text)
		}
		if note, ok := strings.CutPrefix(line, noteReport); ok {
			fmt.Fprintf(u.say, "%s: %s\n", u.program.Name, note)
			continue
		}
		ready = ready || strings.HasPrefix(line, "ready")
		fmt.Fprintln(u.out, line)
	}
	if !ready {
		return fmt.Errorf("the supervisor ended early (%v): see %s", cmd.Wait(), logPath)
	}
	return cmd.Process.Release()
}

// detachedArgs is the command line of the supervisor in the background.
func (u *upFlags) detachedArgs() []string {
	args := []string{"up", "--detached", "--dir", u.dir, "--timeout", u.timeout.String()}
	if u.nodesSet {
		args = append(args, "--nodes", strconv.Itoa(u.nodes))
	}
	if u.appsSet {
		args = append(args, "--app", strings.Join(u.apps, ","))
	}
	if u.noRestart {
		args = append(args, "--no-restart")
	}
	if u.name != "" {
		args = append(args, "--name", u.name)
	}
	return args
}

// attachReport directs table and ready line to the command that waits for them.
func (u *upFlags) attachReport() (release func(), err error) {
	syscall.CloseOnExec(reportFD) // the replicas must not keep it open
	report := os.NewFile(reportFD, "report")
	if _, err := report.Stat(); err != nil {
		return nil, usage("--detached is for the program itself: use --detach")
	}
	u.out = report
	return func() { report.Close() }, nil
}

// finishReport lets the waiting command go.
func (u *upFlags) finishReport() {
	if f, ok := u.out.(io.Closer); ok {
		f.Close()
	}
	u.out = io.Discard
}

// reportFailure tells the waiting command why the supervisor ends.
func (u *upFlags) reportFailure(err error) {
	fmt.Fprintf(u.out, "%s%d %s\n", failedReport, codeOf(err), singleLine(err.Error()))
}

func (p *Program) downCommand() *cobra.Command {
	var dir string
	timeout := 2 * stopGrace
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the cluster that up started, with or without --detach",
		Long: `Ends the supervisor of the cluster in --dir and with it all replicas, in order. The supervisor is
found by the lock that it holds, so no other process is ever signalled. Data stays. If nothing runs there, there is nothing
to do, and the exit code is 0.`,
		Example: p.example("down", "down --dir ./seven"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usage("--timeout is %v: it must be positive, such as 10s", timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			pid, err := down(ctx, dir)
			switch {
			case err == nil && pid == 0:
				fmt.Fprintf(p.stderr, "%s: no cluster is running in %s: there is nothing to end\n", p.Name, dir)
			case err == nil:
				fmt.Fprintf(p.stderr, "%s: the cluster in %s has ended (process %d)\n", p.Name, dir, pid)
			}
			return err
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "kill the supervisor if it does not end within this time")
	return cmd
}

// down ends the supervisor that holds the lock of dir, and returns its process id, 0 if none does.
func down(ctx context.Context, dir string) (pid int, err error) {
	if _, err := openCluster(dir); err != nil {
		return 0, err
	}
	path := filepath.Join(dir, upLockFile)
	pid, err = lockHolder(path)
	if err != nil {
		return 0, lockFailed(path, err, "--dir")
	}
	if pid == 0 {
		return 0, nil
	}
	// On Linux the process is held by a descriptor, so what is asked next decides
	// whether it is still the one that has the lock.
	proc, err := os.FindProcess(pid)
	if err != nil {
		return 0, err
	}
	defer proc.Release()
	if again, err := lockHolder(path); err != nil || again != pid {
		return 0, errors.Join(err, fmt.Errorf("the cluster in %s is just being started or ended: try again", dir))
	}
	if err := proc.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("ending process %d: %w", pid, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := lockHolder(path)
		if err != nil || now != pid {
			return pid, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := proc.Kill(); err != nil {
				return 0, fmt.Errorf("killing process %d: %w", pid, err)
			}
			return 0, Fail(CodeTimeout, "process %d did not end in time and was killed, its replicas with it", pid)
		}
	}
}
