package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Session is what a command that calls the cluster works with: the cluster that
// --dir names, its client key, and the time limit. Each command line has its own,
// and its calls a session of their own, so that many at once do not disturb each other.
type Session struct {
	program    *Program
	background context.Context // ends with the process, not with the timeout
	dir        string
	timeout    time.Duration
	trace      string // a value of --trace
	discover   discoverFlags
	semantics  string // of --semantics; empty: the command has no such flag
	instance   string
	grace      time.Duration
	expire     time.Duration
	journal    string
}

// addFlags gives a command the flags of every call.
func (s *Session) addFlags(cmd *cobra.Command) {
	addDirFlag(cmd, &s.dir)
	cmd.Flags().DurationVar(&s.timeout, "timeout", DefaultTimeout, timeoutText(cmd))
	s.addTraceFlag(cmd)
	s.discover.add(cmd)
}

// goesOn is the annotation of a command that --timeout does not end.
const goesOn = "goes-on"

// timeoutText says what --timeout bounds: of a command that goes on until something happens, only its beginning.
func timeoutText(cmd *cobra.Command) string {
	if cmd.Annotations[goesOn] != "" {
		return "give up if the cluster is not reached within this time; what follows is not bounded by it"
	}
	return "give up after this time"
}

func addDirFlag(cmd *cobra.Command, dir *string) {
	def := DefaultDir
	if v := os.Getenv(DirVariable); v != "" {
		def = v
	}
	cmd.Flags().StringVar(dir, "dir", def, "directory of the cluster; its default is $"+DirVariable+", else ./"+DefaultDir)
}

// Run makes the function of a command: f is called with the arguments and a context that
// ends with --timeout. Its error becomes the line on the standard error, see [Fail].
func (s *Session) Run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if s.timeout <= 0 {
			return usage("--timeout is %v: it must be positive, such as 10s", s.timeout)
		}
		for _, name := range []string{"instance", "discover", "fingerprint", "journal"} {
			if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
				return usage("--%s is empty: leave it out, or give a value", name)
			}
		}
		s.background = s.traced(cmd)
		ctx, cancel := context.WithTimeout(s.background, s.timeout)
		defer cancel()
		return f(ctx, args)
	}
}

// manifest reads the manifest of the cluster.
func (s *Session) manifest() (*config.Manifest, error) {
	switch {
	case s.discover.name != "":
		return s.find()
	case s.discover.fingerprint != "":
		return nil, usage("--fingerprint is for --discover NAME: give that too")
	}
	c, err := openCluster(s.dir)
	if err != nil {
		return nil, err
	}
	return c.manifest, nil
}

// key reads the client key in the cluster's directory.
func (s *Session) key() (*crypto.PrivateKey, error) {
	if s.discover.name != "" {
		return s.ownKey()
	}
	return readClientKey(s.dir)
}

// access reads what it takes to call the cluster.
func (s *Session) access() (*config.Manifest, *crypto.PrivateKey, error) {
	m, err := s.manifest()
	if err != nil {
		return nil, nil, err
	}
	key, err := s.key()
	return m, key, err
}

// accessTo is access to a cluster that hosts a service.
func (s *Session) accessTo(service string) (*config.Manifest, *crypto.PrivateKey, error) {
	m, key, err := s.access()
	if err != nil {
		return nil, nil, err
	}
	return m, key, s.hosts(m, service)
}

// hosts refuses a service that the cluster does not host.
func (s *Session) hosts(m *config.Manifest, service string) error {
	if slices.Contains(m.Services, service) {
		return nil
	}
	where, hint := "in "+s.dir, "name one of these"
	if s.discover.name != "" {
		where = s.discover.name
	}
	if slices.Contains(s.program.serviceNames(), service) {
		hint = fmt.Sprintf("its services were chosen when it was made; up --dir ANOTHER --app %s makes one that hosts it", service)
	}
	return usage("the cluster %s hosts no %s, only %s: %s", where, service, strings.Join(m.Services, ", "), hint)
}

// watcher connects to the cluster to ask how the replicas are.
func (s *Session) watcher() (*watcher, error) {
	m, key, err := s.access()
	if err != nil {
		return nil, err
	}
	return newWatcher(m, key)
}

// fillPIDs names the processes of replicas on this machine that do not answer, by
// the locks on their homes, and says why those have ended that are not reached.
func (s *Session) fillPIDs(st *Status) {
	for i := range st.Replicas {
		r := &st.Replicas[i]
		if r.State == StateActive {
			continue
		}
		pid, err := lockHolder(filepath.Join(s.dir, r.name, config.LockFile))
		if err != nil || pid == 0 && r.State != StateDisconnected {
			continue
		}
		r.PID = pid
		// Its last words tell more than that nobody listens. What precedes a crash or an orderly
		// end is a line of its log, not an error of ours.
		if why, ok := strings.CutPrefix(lastLine(filepath.Join(s.dir, r.name, config.LogFile)), s.program.Name+": "); ok && r.State == StateDisconnected {
			r.note = "ended: " + why
		}
	}
}
