package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

func (p *Program) manifestCommand() *cobra.Command {
	return group("manifest", "Make and show the manifest of a cluster",
		p.manifestCreateCommand(), p.manifestShowCommand(), p.manifestIDCommand())
}

func (p *Program) manifestCreateCommand() *cobra.Command {
	var name, out string
	var members, apps, clients []string
	cmd := &cobra.Command{
		Use:   "create --name NAME --member NAME=KEY@HOST:PORT …",
		Short: "Make a manifest from the public keys and addresses of the members",
		Long: `Makes the manifest of a cluster on several machines. Each operator makes a key (keys new) and
sends its public key; the manifest goes to all of them and to the clients. A member with several
addresses has them separated by commas. Without --client every key is admitted as a client.
The protocol's parameters are written out with their defaults, to be changed before the first start.`,
		Example: p.example("manifest create --name prod --out manifest.yaml \\\n" +
			"    --member a=KEY@a.example.org:7000 --member b=KEY@b.example.org:7000 \\\n" +
			"    --member c=KEY@c.example.org:7000 --member d=KEY@d.example.org:7000"),
		Args: wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			m, err := p.buildManifest(name, members, apps, clients)
			if err != nil {
				return err
			}
			if out == "" {
				_, err := p.stdout.Write(m.Encode())
				return err
			}
			if err := config.WriteFile(out, m.Encode(), 0o644); err != nil {
				return wrong.NewFile(out, err, "name another file with --out")
			}
			fmt.Fprintf(p.stderr, "%s: cluster %s\n", out, m.ID())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the cluster")
	// Not a slice flag: a member's addresses are separated by commas.
	f.StringArrayVar(&members, "member", nil, "a replica, NAME=KEY@HOST:PORT[,HOST:PORT…]; at least four times")
	f.StringSliceVar(&apps, "app", p.defaultNames(), "services of the cluster")
	f.StringSliceVar(&clients, "client", nil, "public key of an admitted client; none admits all")
	f.StringVar(&out, "out", "", "file for the manifest, instead of the standard output")
	return cmd
}

func (p *Program) buildManifest(name string, members, apps, clients []string) (*config.Manifest, error) {
	var list []config.Member
	for _, s := range members {
		m, err := parseMember(s)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	m := config.NewManifest(name, apps, list)
	for _, s := range clients {
		key, err := crypto.ParsePublicKey(s)
		if err != nil {
			return nil, usage("--client %s: %s; give what keys show prints", s, strings.TrimPrefix(err.Error(), "crypto: "))
		}
		m.Clients = append(m.Clients, config.Key{PublicKey: key})
	}
	if err := m.Validate(); err != nil {
		return nil, usage("%v", err)
	}
	return m, nil
}

// parseMember reads NAME=KEY@HOST:PORT[,HOST:PORT…].
func parseMember(s string) (config.Member, error) {
	name, rest, ok1 := strings.Cut(s, "=")
	key, addresses, ok2 := strings.Cut(rest, "@")
	if !ok1 || !ok2 {
		return config.Member{}, usage("--member %q is not of the form NAME=KEY@HOST:PORT", s)
	}
	pub, err := crypto.ParsePublicKey(key)
	if err != nil {
		return config.Member{}, usage("--member %s: %s; give what keys show prints", name, strings.TrimPrefix(err.Error(), "crypto: "))
	}
	return config.Member{Name: name, Key: config.Key{PublicKey: pub}, Addresses: strings.Split(addresses, ",")}, nil
}

// manifestPath is the argument, or the manifest in the directory of the cluster.
func manifestPath(dir string, args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return filepath.Join(dir, config.ManifestFile)
}

// readManifest reads a manifest that the command line names.
func readManifest(path string) (*config.Manifest, error) {
	m, err := config.ReadManifest(path)
	return m, badFile(path, err, "name the manifest of a cluster")
}

// readCommand makes a command that reads a manifest and prints something of it.
func (p *Program) readCommand(use, short string, print func(*config.Manifest) error) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: use + " [FILE]", Short: short,
		Long:    describes(short) + ": that of FILE, or the one in --dir.",
		Example: p.example("manifest "+use, "manifest "+use+" manifest.yaml"),
		Args:    wrong.Args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := readManifest(manifestPath(dir, args))
			if err != nil {
				return err
			}
			return print(m)
		},
	}
	addDirFlag(cmd, &dir)
	return cmd
}

func (p *Program) manifestShowCommand() *cobra.Command {
	return p.readCommand("show", "Check a manifest and print it with every default", func(m *config.Manifest) error {
		_, err := p.stdout.Write(m.Encode())
		return err
	})
}

func (p *Program) manifestIDCommand() *cobra.Command {
	return p.readCommand("id", "Print the cluster id of a manifest", func(m *config.Manifest) error {
		_, err := fmt.Fprintln(p.stdout, m.ID())
		return err
	})
}

func (p *Program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: p.example("version"),
		Args:    wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			version, revision := "devel", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				if v := info.Main.Version; v != "" && v != "(devel)" {
					version = v
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = " " + s.Value
					}
				}
			}
			_, err := fmt.Fprintf(p.stdout, "%s %s%s (%s, %s/%s, %d CPUs)\n", p.Name, version, revision,
				runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
			return err
		},
	}
}

func (p *Program) logsCommand() *cobra.Command {
	var dir string
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [ID]",
		Short: "Print what the replicas logged under up",
		Long: `Prints the log of one replica, named by its id or name, or of all, one after the other with the
name before each line. With --follow it goes on until Ctrl-C. The log that "up --detach" itself writes has the name up.`,
		Example: p.example("logs 0", "logs -f r2", "logs up"),
		Args:    wrong.Args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := logFiles(dir, args)
			if err != nil {
				return err
			}
			t := newTail(p.stdout, files)
			defer t.close()
			if err := t.copyAll(); err != nil || !follow {
				return err
			}
			return t.follow(cmd.Context())
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the logs grow")
	return cmd
}

// logFiles lists the logs that the arguments name, with the prefix for each line.
func logFiles(dir string, args []string) ([]*tailFile, error) {
	c, err := openCluster(dir)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		var files []*tailFile
		for i, m := range c.manifest.Members {
			files = append(files, &tailFile{path: filepath.Join(c.home(i), config.LogFile), prefix: m.Name + " "})
		}
		return files, nil
	}
	path := c.path(upLogFile)
	if args[0] != "up" {
		id, ok := c.manifest.Find(args[0])
		if !ok {
			return nil, usage("there is no replica %q in %s: ids are 0 to %d", args[0], dir, len(c.manifest.Members)-1)
		}
		path = filepath.Join(c.home(int(id)), config.LogFile)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no log yet, %s: start the replica with up", path)
	}
	return []*tailFile{{path: path}}, nil
}
