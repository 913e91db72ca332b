package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
)

// What a command under a lock finds in its environment.
const (
	lockVariable  = "BFTNODE_LOCK"       // the lock's name
	tokenVariable = "BFTNODE_LOCK_TOKEN" // its fencing token
	keyVariable   = "BFTNODE_LOCK_KEY"   // the key that exists while it is held
)

// defaultTTL is the time to live of a lock without --ttl.
const defaultTTL = 10 * time.Second

// lockFlags are those of kv lock.
type lockFlags struct{ ttl, wait time.Duration }

func kvLock(s *Session) *cobra.Command {
	var flags lockFlags
	cmd := &cobra.Command{
		Use: "lock NAME -- COMMAND ARG...", Short: "Run a command while holding a lock", Annotations: map[string]string{goesOn: "yes"},
		Long: `Waits for the lock NAME, runs COMMAND while it holds it, and gives it to the next: those who wait have it in the order
in which they came. The exit code is that of the command, or 128 and the number of the signal that ended it.

A holder renews the lock several times within --ttl. If it dies, so does its command, and the lock is free once --ttl is over.
If it cannot renew the lock in time, because it or the cluster was cut off, the lock is lost: the command is sent SIGTERM, and
5 s later SIGKILL, and the exit code is 1. Until then two may believe to have the lock. So the command finds in its environment:

  BFTNODE_LOCK         the name of the lock
  BFTNODE_LOCK_TOKEN   a number that is larger for each later holder: let what is written to refuse smaller ones
  BFTNODE_LOCK_KEY     a key that exists for as long as the lock is held, of the revision that the token is, so that
                       kv txn "if revision $BFTNODE_LOCK_KEY = $BFTNODE_LOCK_TOKEN" ... changes nothing without the lock

--wait bounds the wait for those who are before, after which the exit code is 5. --timeout bounds the first connection only.`,
		Example: s.program.example("kv lock backup -- ./backup.sh", "kv lock --ttl 30s --wait 1m backup -- ./backup.sh --all"),
		Args: func(cmd *cobra.Command, args []string) error { // what follows -- is the command's, flags too
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return usage("kv lock takes a name and a command, as in: kv lock backup -- ./backup.sh")
			}
			return nil
		},
		RunE: s.Run(func(_ context.Context, args []string) error {
			if err := checkTTL(flags.ttl); err != nil {
				return err
			}
			if flags.wait < 0 {
				return usage("--wait is %v: it must be positive, or 0 for as long as it takes", flags.wait)
			}
			if args[0] == "" || len(args[0]) > kvclient.MaxLockName {
				return usage("the name of a lock has 1 to %d bytes", kvclient.MaxLockName)
			}
			path, err := exec.LookPath(args[1])
			if err != nil {
				return wrong.File(args[1], errors.Unwrap(err), "name a program to run under the lock")
			}
			return s.underLock(args[0], path, args[1:], &flags)
		}),
	}
	cmd.Flags().DurationVar(&flags.ttl, "ttl", defaultTTL, fmt.Sprintf("how soon the lock is free if its holder dies, from %v to %v", kv.MinTTL, kv.MaxTTL))
	cmd.Flags().DurationVar(&flags.wait, "wait", 0, "give up if the lock is not free after this time; 0 for never")
	return cmd
}

// underLock runs a command while holding a lock.
func (s *Session) underLock(name, path string, args []string, flags *lockFlags) error {
	c, end, err := s.openKV()
	if err != nil {
		return err
	}
	defer end()
	lock, err := s.acquire(c, name, flags)
	if err != nil {
		return err
	}
	err = s.runUnder(lock, path, args)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.background), min(flags.ttl, s.timeout))
	defer cancel()
	if released := lock.Release(ctx); released != nil && err == nil && !errors.Is(released, kvclient.ErrLost) {
		fmt.Fprintf(s.program.stderr, "%s: the lock could not be given back, it is free within %v: %s\n", s.program.Name, flags.ttl, singleLine(released.Error()))
	}
	return err
}

// acquire waits for the lock.
func (s *Session) acquire(c *client.Client, name string, flags *lockFlags) (*kvclient.Lock, error) {
	ctx, cancel := s.background, context.CancelFunc(func() {})
	if flags.wait > 0 {
		ctx, cancel = context.WithTimeout(ctx, flags.wait)
	}
	defer cancel()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	owner := ""
	waiting := func(ahead int, first kv.Entry) {
		owner = printable(first.Value)
		if f, ok := s.program.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			fmt.Fprintf(f, "%s: waiting for the lock %s, held by %s; %d before this one\n", s.program.Name, printable([]byte(name)), owner, ahead)
		}
	}
	lock, err := kvclient.Acquire(ctx, c.Service("kv"), name, flags.ttl, kvclient.Waiting(waiting),
		kvclient.Note(fmt.Sprintf("process %d on %s", os.Getpid(), host)))
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, kvclient.ErrLost):
		return nil, fmt.Errorf("the wait for the lock is over: %w; try again, with a longer --ttl", err)
	case s.background.Err() != nil:
		return nil, errors.New("interrupted while waiting for the lock; the command was not run")
	case ctx.Err() != nil && owner != "":
		return nil, Fail(CodeTimeout, "the lock %s was not free within %v: it is held by %s; the command was not run", printable([]byte(name)), flags.wait, owner)
	case errors.Is(err, kv.ErrQuota):
		return nil, leaseError(err)
	}
	return nil, s.explain(err, c)
}

// runUnder runs the command until it ends, the lock is lost, or this process is told to end.
func (s *Session) runUnder(lock *kvclient.Lock, path string, args []string) error {
	cmd := exec.Command(path)
	cmd.Args = args
	cmd.Env = append(os.Environ(), lockVariable+"="+lock.Name, tokenVariable+"="+strconv.FormatUint(lock.Token, 10), keyVariable+"="+lock.Key)
	cmd.Stdout, cmd.Stderr = s.program.stdout, s.program.stderr
	if _, ok := s.program.stdin.(scriptInput); !ok { // the rest of a script is not for the command
		cmd.Stdin = s.program.stdin
	}
	cmd.WaitDelay = stopGrace
	dieWithParent(cmd)
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the command dies with the thread that starts it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%w: the command was not run", err)
	}
	name := strings.Join(args[:1], " ")
	select {
	case err := <-ended:
		return commandError(name, err)
	case <-lock.Lost():
		_ = stopProcess(cmd.Process, ended) // however it ends now
		return fmt.Errorf("%w; %s was ended, and may have worked without the lock for a moment", kvclient.ErrLost, name)
	case <-s.background.Done():
		return commandError(name, stopProcess(cmd.Process, ended))
	}
}

// commandError makes the exit code of a command that of this program.
func commandError(name string, err error) error {
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		return err
	}
	code := exit.ExitCode()
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return Fail(code, "%s ended with %v", name, exit)
}
