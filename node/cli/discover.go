package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/discovery"
)

// discoverFlags say that the cluster is to be found by its name, and which one it must be.
type discoverFlags struct {
	name, fingerprint string
	found             *config.Manifest // once it was
}

func (f *discoverFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "discover", "", "find the cluster by this name on the local network, and keep its manifest in --dir")
	cmd.Flags().StringVar(&f.fingerprint, "fingerprint", "", "with --discover: the cluster id that must be found, as manifest id prints it")
}

// wanted is the cluster that must be found: that of --fingerprint, or the one in the directory; zero: the first to be found. The keys of its members
// are known if the directory has its manifest.
func (s *Session) wanted() (id crypto.Digest, members []crypto.PublicKey, err error) {
	f := &s.discover
	if !config.ValidName(f.name) {
		return id, nil, usage("--discover %q: a name is made of 1 to 63 lower-case letters, digits and inner hyphens", f.name)
	}
	if f.fingerprint != "" {
		if id, err = crypto.ParseDigest(f.fingerprint); err != nil || id.IsZero() {
			return id, nil, usage("--fingerprint %q is not a cluster id of 64 hex digits, as manifest id prints it", s.discover.fingerprint)
		}
	}
	m, err := config.ReadManifest(filepath.Join(s.dir, config.ManifestFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return id, nil, nil
	case err != nil:
		return id, nil, badFile(s.dir, err, "name another directory with --dir")
	case !id.IsZero() && m.ID() != id:
		return id, nil, usage("%s is the manifest of cluster %s, not of --fingerprint %s: name another directory with --dir",
			filepath.Join(s.dir, config.ManifestFile), m.ID().Short(), id.Short())
	}
	return m.ID(), m.Keys(), nil
}

// find finds the cluster of --discover, once. What it finds first is kept in the directory, with a key of the client's.
func (s *Session) find() (*config.Manifest, error) {
	f := &s.discover
	if f.found != nil {
		return f.found, nil
	}
	want, members, err := s.wanted()
	if err != nil {
		return nil, err
	}
	key, err := s.ownKey()
	if err != nil {
		return nil, err
	}
	// The library says on the log of the process what an interface does not do; what matters is found or not.
	stdlog.SetOutput(io.Discard)
	// Some of the time is for the call itself.
	ctx, cancel := context.WithTimeout(s.background, s.timeout*4/5)
	defer cancel()
	got, err := discovery.Find(ctx, f.name, want, members, key)
	if err != nil {
		return nil, s.notFound(err, want)
	}
	id := got.Manifest.ID()
	for _, stranger := range got.Strangers {
		s.tell("refused cluster %s, which announces the name %s too: it is not %s", stranger.Short(), f.name, id.Short())
	}
	if members == nil {
		if err := putManifest(filepath.Join(s.dir, config.ManifestFile), got.Manifest); err != nil {
			return nil, err
		}
		if want.IsZero() {
			s.tell("first use of %s: cluster %s is kept in %s, and no other will be accepted there; ask its operators whether this is their cluster id",
				f.name, id, s.dir)
		}
	}
	f.found = got.Manifest
	return f.found, nil
}

func (s *Session) tell(format string, args ...any) {
	fmt.Fprintf(s.program.stderr, "%s: %s\n", s.program.Name, fmt.Sprintf(format, args...))
}

// notFound says what to do.
func (s *Session) notFound(err error, want crypto.Digest) error {
	name := s.discover.name
	switch {
	case errors.Is(err, discovery.ErrNotFound):
		return Fail(CodeNoQuorum, "nobody on this network announces the cluster %s: set discovery: %s in the config of its replicas, or get its manifest and leave --discover out", name, name)
	case errors.Is(err, discovery.ErrStranger):
		return fmt.Errorf("refused: %w, and not %s; the keys of a stranger are not those of your cluster", err, want)
	case errors.Is(err, discovery.ErrAmbiguous):
		return fmt.Errorf("%w; say which is yours with --fingerprint", err)
	}
	return err
}

// ownKey reads the client key in the directory, and makes it first if there is none.
func (s *Session) ownKey() (*crypto.PrivateKey, error) {
	path := filepath.Join(s.dir, config.ClientKeyFile)
	key, err := readClientKey(s.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, wrong.NewDir(s.dir, err, "name another directory with --dir")
	}
	if err := newClientKey(path); err != nil {
		return nil, lockFailed(path, err, "--dir")
	}
	return readClientKey(s.dir)
}

const discoverWait = 2 * time.Second

func (p *Program) discoverCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "discover",
		Short: "List the clusters that announce themselves on the local network",
		Long: `Prints what is announced by multicast DNS: name, cluster id, and how many replicas announce it. None of it is
proven: anybody on the network can announce any name. Calls find a cluster with --discover NAME, and accept the one whose id
is --fingerprint, or that was found first.`,
		Example: p.example("discover", "discover --wait 10s"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait <= 0 {
				return usage("--wait is %v: it must be positive, such as 2s", wait)
			}
			return p.listAnnounced(cmd.Context(), wait)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", discoverWait, "listen for this time")
	return cmd
}

// listAnnounced prints a line for each cluster under each name.
func (p *Program) listAnnounced(ctx context.Context, wait time.Duration) error {
	const most = 1024
	type cluster struct {
		name string
		id   crypto.Digest
	}
	members := map[cluster]map[string]bool{}
	count := 0
	stdlog.SetOutput(io.Discard)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := discovery.Browse(ctx, func(a discovery.Announcement) {
		if count++; count > most {
			return
		}
		c := cluster{a.Name, a.Cluster}
		if members[c] == nil {
			members[c] = map[string]bool{}
		}
		members[c][a.Member] = true
	}); err != nil {
		return err
	}
	if len(members) == 0 {
		fmt.Fprintf(p.stderr, "%s: nobody announces a cluster here; one of up does with --name NAME, a replica with discovery: NAME in its config.yaml\n", p.Name)
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tCLUSTER\tREPLICAS")
	var lines []string
	for c, names := range members {
		lines = append(lines, fmt.Sprintf("%s\t%s\t%d\n", c.name, c.id, len(names)))
	}
	slices.Sort(lines)
	fmt.Fprint(t, strings.Join(lines, ""))
	return t.Flush()
}
