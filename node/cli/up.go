package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// upTimeout bounds the wait for the replicas to agree.
const upTimeout = 30 * time.Second

// allWait is how long `up` goes on waiting for the last replicas once a quorum agrees.
const allWait = 3 * time.Second

// upFlags are those of the command up.
type upFlags struct {
	program   *Program
	nodes     int
	apps      []string
	dir       string
	ephemeral bool
	noRestart bool
	detach    bool
	detached  bool // hidden: this is the supervisor that --detach left behind
	timeout   time.Duration
	name      string

	nodesSet, appsSet, dirSet bool
	out, say                  io.Writer
}

const upLong = `Starts the replicas of a cluster on this machine, as processes of their own, and waits
until they agree; then prints a table and a line that begins with "ready". The first time it makes
keys, manifest and configs in --dir. Data stays there: the next up goes on where this one ended.
A replica that dies is started again. Ctrl-C ends all of them.`

func (p *Program) upCommand() *cobra.Command {
	u := &upFlags{program: p}
	cmd := &cobra.Command{
		Use:     "up",
		Aliases: []string{"launch"},
		Short:   "Start a cluster on this machine",
		Long:    upLong,
		Example: p.example("up", "up --nodes 7 --dir ./seven", "up --ephemeral", "up --detach"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := cmd.Flags()
			u.nodesSet, u.appsSet, u.dirSet = f.Changed("nodes"), f.Changed("app"), f.Changed("dir")
			u.out, u.say = p.stdout, p.stderr
			return u.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.IntVar(&u.nodes, "nodes", 4, "number of replicas of a new cluster, 4 to 64")
	f.StringSliceVar(&u.apps, "app", p.defaultNames(), "services of a new cluster")
	addDirFlag(cmd, &u.dir)
	f.StringVar(&u.name, "name", "", "name of a new cluster, by which clients on the local network find it with --discover")
	f.BoolVar(&u.ephemeral, "ephemeral", false, "use a temporary directory, and remove it at the end")
	f.BoolVar(&u.noRestart, "no-restart", false, "do not start a replica again that died")
	f.BoolVar(&u.detach, "detach", false, "go on in the background; down ends it")
	f.BoolVar(&u.detached, "detached", false, "")
	f.DurationVar(&u.timeout, "timeout", upTimeout, "give up if the replicas do not agree within this time")
	if err := f.MarkHidden("detached"); err != nil {
		panic(err)
	}
	return cmd
}

// check refuses flags that contradict each other or are out of bounds.
func (u *upFlags) check() error {
	switch {
	case u.nodes < 4:
		return usage("--nodes %d: at least 4 replicas are needed to tolerate one fault (n >= 3f+1)", u.nodes)
	case u.nodes > 64:
		return usage("--nodes %d: at most 64 replicas are supported", u.nodes)
	case u.timeout <= 0:
		return usage("--timeout is %v: it must be positive, such as 30s", u.timeout)
	case u.name != "" && !config.ValidName(u.name):
		return usage("--name %q: a name is made of 1 to 63 lower-case letters, digits and inner hyphens", u.name)
	case u.ephemeral && u.dirSet:
		return usage("--ephemeral uses a directory of its own: leave --dir out")
	case u.ephemeral && u.detach:
		return usage("--ephemeral ends with the command: leave --detach out")
	}
	if _, err := u.program.pick(u.apps); err != nil || len(u.apps) == 0 {
		asked := "--app " + strings.Join(u.apps, ",")
		if len(u.apps) == 0 {
			asked = "--app is empty"
		}
		return usage("%s: choose from %s", asked, strings.Join(u.program.serviceNames(), ","))
	}
	if len(slices.Compact(slices.Sorted(slices.Values(u.apps)))) < len(u.apps) {
		return usage("--app %s names a service twice", strings.Join(u.apps, ","))
	}
	return nil
}

func (u *upFlags) run(ctx context.Context) (err error) {
	if err := u.check(); err != nil {
		return err
	}
	if u.ephemeral {
		dir, err := os.MkdirTemp("", u.program.Name+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		u.dir = dir
	}
	if u.detach {
		return u.runDetached(ctx)
	}
	if u.detached {
		var release func()
		if release, err = u.attachReport(); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				u.reportFailure(err)
			}
			release()
		}()
	}
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return wrong.NewDir(u.dir, err, "name another directory with --dir")
	}
	lock, holder, err := acquireLock(filepath.Join(u.dir, upLockFile))
	if err != nil {
		return lockFailed(filepath.Join(u.dir, upLockFile), err, "--dir")
	}
	if lock == nil {
		return fmt.Errorf("the cluster in %s is already running, under process %d: end it with down --dir %s", u.dir, holder, u.dir)
	}
	defer lock.release()
	c, err := u.prepare()
	if err != nil {
		return err
	}
	return u.supervise(ctx, c)
}

// prepare opens the cluster in the directory, or makes it.
func (u *upFlags) prepare() (*cluster, error) {
	if err := finishCreation(u.dir); err != nil {
		return nil, fmt.Errorf("making a cluster in %s: %w", u.dir, err)
	}
	_, err := os.Stat(filepath.Join(u.dir, config.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		c, err := createCluster(u.dir, u.nodes, u.apps, u.tune)
		if err != nil {
			return nil, fmt.Errorf("making a cluster in %s: %w", u.dir, err)
		}
		return c, c.checkHomes()
	}
	c, err := openCluster(u.dir)
	if err != nil {
		return nil, err
	}
	if n := len(c.manifest.Members); u.nodesSet && n != u.nodes {
		return nil, usage("the cluster in %s has %d replicas, not %d: leave --nodes out, or name another directory with --dir", u.dir, n, u.nodes)
	}
	if u.name != "" && c.manifest.Name != u.name {
		return nil, usage("the cluster in %s is named %s, not %s: leave --name out, or name another directory with --dir", u.dir, c.manifest.Name, u.name)
	}
	apps := slices.Sorted(slices.Values(u.apps))
	if u.appsSet && !slices.Equal(apps, c.manifest.Services) {
		return nil, usage("the cluster in %s hosts %s, not %s: leave --app out, or name another directory with --dir",
			u.dir, strings.Join(c.manifest.Services, ","), strings.Join(apps, ","))
	}
	if _, err := u.program.pick(c.manifest.Services); err != nil {
		return nil, usage("the cluster in %s: %w", u.dir, err)
	}
	return c, c.checkHomes()
}

// tune names a new cluster and has its replicas announce it.
func (u *upFlags) tune(c *cluster) {
	if u.name != "" {
		c.manifest.Name, c.discovery = u.name, u.name
	}
}

// supervise runs the replicas until ctx ends.
func (u *upFlags) supervise(ctx context.Context, c *cluster) error {
	key, err := readClientKey(c.dir)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	s := newSupervisor(c, u.program.Name, !u.noRestart, func(format string, args ...any) {
		fmt.Fprintf(u.say, "%s: %s\n", u.program.Name, singleLine(fmt.Sprintf(format, args...)))
	})
	s.start(run)
	defer s.wait()
	defer stop()
	if err := u.awaitReady(ctx, c, key, s); err != nil || ctx.Err() != nil {
		return err
	}
	if u.detached {
		u.finishReport()
	}
	if u.noRestart {
		return u.untilAllEnd(ctx, s)
	}
	<-ctx.Done()
	return nil
}

// untilAllEnd waits for the end of ctx, or of the last replica.
func (u *upFlags) untilAllEnd(ctx context.Context, s *supervisor) error {
	ended := make(chan struct{})
	go func() {
		s.wait()
		close(ended)
	}()
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		if ctx.Err() != nil {
			return nil
		}
		return errors.New("all replicas have ended: start them again with up")
	}
}

// awaitReady waits until a quorum of replicas is active in one view, and a little
// longer for the others, and prints what it sees.
func (u *upFlags) awaitReady(ctx context.Context, c *cluster, key *crypto.PrivateKey, s *supervisor) error {
	w, err := newWatcher(c.manifest, key)
	if err != nil {
		return err
	}
	defer w.close()
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	var st *Status
	var since time.Time
	err = w.until(ctx, settlePause, func(now *Status) bool {
		st = now
		_, agreeing, _ := now.active()
		if agreeing < now.Quorum {
			since = time.Time{}
			return s.hopeless(now.N - now.Quorum)
		}
		if since.IsZero() {
			since = time.Now()
		}
		return agreeing+s.failed() >= now.N || time.Since(since) >= allWait
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	active, agreeing, view := st.active()
	if agreeing < st.Quorum {
		return Fail(CodeNoQuorum, "the replicas do not agree: %s (%s)%s", st.missing(), st.notes(), s.failures())
	}
	st.table(u.out)
	fmt.Fprintf(u.out, "ready: %d of %d replicas agree in view %d; directory %s; cluster %s\n",
		agreeing, st.N, view, u.dir, c.manifest.ID().Short())
	s.explain(st)
	if active < st.N {
		u.tell(fmt.Sprintf("not active yet: %s; logs --dir %s tells more", st.notes(), u.dir))
	}
	return nil
}

// tell says something on the standard error, which is a log if this is the supervisor that --detach left behind: then the
// waiting command says it too.
func (u *upFlags) tell(text string) {
	fmt.Fprintf(u.say, "%s: %s\n", u.program.Name, singleLine(text))
	if u.detached {
		fmt.Fprintf(u.out, "%s%s\n", noteReport, singleLine(text))
	}
}

// failed counts the replicas that have ended and are not running now.
func (s *supervisor) failed() int {
	n := 0
	for _, c := range s.children {
		if ends, _ := c.failure(); ends > 0 && c.pid() == 0 {
			n++
		}
	}
	return n
}

// hopeless tells whether more than spare replicas have ended several times, so that
// waiting for a quorum is of no use.
func (s *supervisor) hopeless(spare int) bool {
	const several = 3
	n := 0
	for _, c := range s.children {
		if ends, _ := c.failure(); ends >= several || ends > 0 && !s.restart {
			n++
		}
	}
	return n > spare
}

// explain says of replicas that have ended why.
func (s *supervisor) explain(st *Status) {
	for i, c := range s.children {
		if ends, reason := c.failure(); ends > 0 && !st.Replicas[i].live {
			st.Replicas[i].note = "ended: " + reason
		}
	}
}

// failures lists why replicas ended.
func (s *supervisor) failures() string {
	var b strings.Builder
	for _, c := range s.children {
		if ends, reason := c.failure(); ends > 0 {
			fmt.Fprintf(&b, "; %s ended: %s", c.name, reason)
		}
	}
	return b.String()
}
