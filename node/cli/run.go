package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	logging "github.com/ipfs/go-log/v2"
	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

func (p *Program) runCommand() *cobra.Command {
	var home string
	var pass passphraseFlag
	var lifeline, acceptLoss bool
	cmd := &cobra.Command{
		Use:   "run --home DIR",
		Short: "Run one replica in the foreground",
		Long: `Runs the replica whose home directory is DIR, until Ctrl-C or SIGTERM. The home holds the key,
the manifest, the config (which may be missing) and the data, see docs/configuration.md;
keys new and init make one.`,
		Example: p.example("run --home ./r0"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if home == "" {
				return usage("run needs --home DIR, the home directory of the replica")
			}
			if lifeline {
				var stop func()
				ctx, stop = followLifeline(ctx, p.stdin)
				defer stop()
			}
			return p.runReplica(ctx, home, acceptLoss, pass.reader(p))
		},
	}
	cmd.Flags().StringVar(&home, "home", "", "home directory of the replica")
	pass.add(cmd)
	cmd.Flags().BoolVar(&acceptLoss, "accept-loss", false, "if the data is damaged or gone, set aside what is left and begin anew without a vote; what the replica promised is forgotten")
	cmd.Flags().BoolVar(&lifeline, "lifeline", false, "")
	if err := cmd.Flags().MarkHidden("lifeline"); err != nil {
		panic(err)
	}
	return cmd
}

// followLifeline returns a context that ends when the other end of a pipe, which the
// supervisor holds, is closed: however the supervisor ends, its replicas do too.
func followLifeline(ctx context.Context, pipe io.Reader) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, pipe)
		cancel()
	}()
	return ctx, cancel
}

// openHome reads the home of a replica that the command line names.
func openHome(dir string, passphrase func() ([]byte, error)) (*config.Home, error) {
	const do = "make the home of a replica with keys new --home and init --home, or name another one with --home"
	if info, err := os.Stat(dir); err != nil {
		return nil, wrong.File(dir, err, do)
	} else if !info.IsDir() {
		return nil, usage("%s is not a directory: %s", dir, do)
	}
	home, err := config.OpenHome(dir, passphrase)
	for _, name := range []string{config.ManifestFile, config.KeyFile} {
		if _, missing := os.Stat(filepath.Join(dir, name)); errors.Is(missing, os.ErrNotExist) {
			return nil, wrong.File(filepath.Join(dir, name), missing, do)
		}
	}
	return home, badHome(dir, err, do)
}

func (p *Program) runReplica(ctx context.Context, dir string, acceptLoss bool, passphrase func() ([]byte, error)) error {
	home, err := openHome(dir, passphrase)
	if err != nil {
		return err
	}
	services, err := p.pick(home.Manifest.Services)
	if err != nil {
		return usage("%s: %w", home.Path(config.ManifestFile), err)
	}
	lock, holder, err := acquireLock(home.Path(config.LockFile))
	if err != nil {
		return lockFailed(home.Path(config.LockFile), err, "--home")
	}
	if lock == nil {
		return fmt.Errorf("the home %s is in use by process %d: end that first", dir, holder)
	}
	defer lock.release()
	if err := setLog(&home.Config.Log, home.Path(config.ConfigFile), map[string]string{"member": home.Member().Name}); err != nil {
		return err
	}
	if m := home.Config.Limits.Memory; m > 0 {
		debug.SetMemoryLimit(int64(m))
	}
	if err := renewNote(home, acceptLoss); err != nil {
		return err
	}
	r := Replica{Home: home, Services: map[string]exec.Factory{}, AcceptLoss: acceptLoss}
	for _, s := range services {
		r.Services[s.Name] = s.New
	}
	return explainLoss(home, p.Run(ctx, r))
}

// setLog directs the log to the standard error, as the config in that file says. Each line has the labels.
func setLog(l *config.Log, file string, labels map[string]string) error {
	c := logging.Config{Stderr: true, Format: logging.PlaintextOutput, SubsystemLevels: map[string]logging.LogLevel{}, Labels: labels}
	if l.Format == "json" {
		c.Format = logging.JSONOutput
	}
	level, err := logging.Parse(l.Level)
	if err != nil {
		return usage("%s: log.level: %w", file, err)
	}
	c.Level = level
	known := logging.GetSubsystems()
	for _, name := range slices.Sorted(maps.Keys(l.Subsystems)) {
		if !slices.Contains(known, name) {
			slices.Sort(known)
			return usage("%s: log.subsystems: there is no subsystem %q, only %s", file, name, strings.Join(known, ", "))
		}
		if c.SubsystemLevels[name], err = logging.Parse(l.Subsystems[name]); err != nil {
			return usage("%s: log.subsystems: %w", file, err)
		}
	}
	logging.SetupLogging(c)
	return nil
}

func (p *Program) initCommand() *cobra.Command {
	var dir, home, manifest, http string
	var pass passphraseFlag
	cmd := &cobra.Command{
		Use:   "init [--dir DIR | --home DIR --manifest FILE]",
		Short: "Make a client key, or begin the data of a replica",
		Long: `With --dir, or without flags: makes the key by which this machine's commands call the cluster.
With --manifest it also puts that manifest there, for a cluster that runs elsewhere.

With --home: begins the data of a new replica, once. The home has its key already (keys new);
the manifest must list it. A replica that has run before is never begun again under the same key:
what it has promised would be forgotten. --http is the address of its metrics and health, a
loopback one or off; replicas that share a machine need one each.`,
		Example: p.example("init --dir ./cluster", "init --dir ./cluster --manifest manifest.yaml", "init --home ./r0 --manifest manifest.yaml", "init --home ./r0 --manifest manifest.yaml --http 127.0.0.1:9471"),
		Args:    wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if home != "" {
				if cmd.Flags().Changed("dir") {
					return usage("init takes --dir for a client or --home for a replica, not both")
				}
				return p.initReplica(home, manifest, http, pass.reader(p))
			}
			if http != "" {
				return usage("--http is for a replica: give --home too")
			}
			return p.initClient(dir, manifest)
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&home, "home", "", "home directory of a replica")
	cmd.Flags().StringVar(&manifest, "manifest", "", "manifest of the cluster, copied into the directory")
	cmd.Flags().StringVar(&http, "http", "", "address of metrics and health for config.yaml, instead of "+config.DefaultConfig().HTTP)
	pass.add(cmd)
	return cmd
}

// initClient makes a client key in the directory of a cluster, which is made too if a
// manifest is given.
func (p *Program) initClient(dir, manifest string) error {
	if manifest != "" {
		m, err := readManifest(manifest)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return wrong.NewDir(dir, err, "name another directory with --dir")
		}
		if err := putManifest(filepath.Join(dir, config.ManifestFile), m); err != nil {
			return err
		}
	}
	c, err := openCluster(dir)
	if err != nil {
		return err
	}
	path := c.path(config.ClientKeyFile)
	if err := newClientKey(path); err != nil {
		return wrong.NewFile(path, err, "see it with keys show, or name another directory with --dir")
	}
	key, err := readClientKey(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, key.Public())
	if !c.manifest.Admits(key.Public()) {
		fmt.Fprintf(p.stderr, "%s: %s lists the clients that it admits: ask for this key to be added\n", p.Name, c.path(config.ManifestFile))
	}
	return nil
}

// initReplica begins the data of the replica whose key is in the home.
func (p *Program) initReplica(dir, manifest, http string, passphrase func() ([]byte, error)) error {
	if manifest == "" {
		return usage("init --home needs --manifest FILE, the manifest of the cluster")
	}
	m, err := readManifest(manifest)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, config.KeyFile)
	key, err := crypto.ReadKeyFile(path, passphrase)
	if errors.Is(err, os.ErrNotExist) {
		return usage("there is no key %s: make one with keys new --home %s", path, dir)
	}
	if err != nil {
		return badHome(path, err, "name another home with --home")
	}
	self := slices.Index(m.Keys(), key.Public())
	if self < 0 {
		return usage("key file %s has public key %s, the manifest %s lists it for no replica: one of the two is wrong", path, key.Public(), manifest)
	}
	cfg := config.DefaultConfig()
	cfg.Member = m.Members[self].Name
	if http != "" {
		cfg.HTTP = http
		if err := cfg.Validate(); err != nil {
			return usage("--http: %v", err)
		}
		there, err := config.ReadConfig(filepath.Join(dir, config.ConfigFile))
		if err == nil && there.HTTP != http {
			return usage("%s is there already: change http in it, and leave --http out", filepath.Join(dir, config.ConfigFile))
		}
	}
	if err := initHome(dir, m, cfg, key.Public()); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s: %s is replica %d (%s) of cluster %s; start it with run --home %s\n",
		p.Name, dir, self, cfg.Member, m.ID().Short(), dir)
	return nil
}
