package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/gateway"
)

// gatewayFlags are those of the command gateway.
type gatewayFlags struct {
	program             *Program
	dir, config, listen string
}

func (p *Program) gatewayCommand() *cobra.Command {
	f := &gatewayFlags{program: p}
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serve a cluster over HTTP and JSON",
		Long: `Serves the cluster in --dir to programs that speak HTTP and JSON, until Ctrl-C or SIGTERM. It believes a result
only once f+1 replicas gave it alike; its users have to trust it, see docs/gateway.md. GET /openapi.json describes
what it serves.

Without --config it listens on a loopback address, asks for no token, and signs with the client key in --dir. A config
names users with their tokens and keys, a TLS certificate, and limits; docs/configuration.md has all keys.`,
		Example: p.example("gateway", "gateway --listen 127.0.0.1:9000", "gateway --config gateway.yaml"),
		Args:    wrong.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	addDirFlag(cmd, &f.dir)
	cmd.Flags().StringVar(&f.config, "config", "", "configuration of the gateway, such as gateway.yaml")
	cmd.Flags().StringVar(&f.listen, "listen", "", "address to listen on, instead of that of the configuration; port 0 takes a free one")
	cmd.AddCommand(p.gatewayTokenCommand())
	return cmd
}

func (p *Program) gatewayTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token NAME",
		Short: "Make a token for a user of a gateway",
		Long: `Prints a new token, which goes to the user, and to the standard error what belongs under users in the gateway's
configuration: a digest, from which nobody learns the token.`,
		Example: p.example("gateway token ana"),
		Args:    wrong.Args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			token := rand.Text()
			u := config.DefaultGateway()
			u.Users = []config.GatewayUser{{Name: args[0], Token: config.DigestToken(token)}}
			if err := u.Validate(); err != nil {
				return usage("the name of a user is 1 to 63 lower-case letters, digits and inner hyphens")
			}
			fmt.Fprintln(p.stdout, token)
			fmt.Fprintf(p.stderr, "users:\n  - name: %s\n    token_sha256: %q\n", args[0], config.DigestToken(token).String())
			return nil
		},
	}
}

func (f *gatewayFlags) run(ctx context.Context) error {
	cfg, base := config.DefaultGateway(), "."
	if f.config != "" {
		var err error
		if cfg, err = config.ReadGateway(f.config); err != nil {
			return wrong.File(f.config, err, "name the configuration of a gateway with --config, or leave it out")
		}
		base = filepath.Dir(f.config)
	}
	if f.listen != "" {
		cfg.Listen = f.listen
		if err := cfg.Validate(); err != nil {
			return usage("--listen: %s", singleLine(strings.TrimPrefix(err.Error(), "listen: ")))
		}
	}
	c, err := openCluster(f.dir)
	if err != nil {
		return err
	}
	if err := setLog(&cfg.Log, f.config, nil); err != nil {
		return err
	}
	o := gateway.Options{Config: cfg, Manifest: c.manifest}
	if o.TLS, err = gatewayTLS(cfg.TLS, base); err != nil {
		return usage("%s: tls: %w", f.config, err)
	}
	// Before anything is connected: an address that cannot be had is the first thing to tell.
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w: end what listens there, or give another --listen", err)
	}
	defer l.Close() // once more, where it was served
	clients := gatewayClients{manifest: c.manifest, byKey: map[crypto.PublicKey]*client.Client{}}
	defer clients.close()
	if o.Accounts, err = f.accounts(ctx, cfg, base, &clients); err != nil {
		return err
	}
	g, err := gateway.New(o)
	if err != nil {
		return err
	}
	f.say(l.Addr(), c.manifest, cfg)
	return g.Serve(ctx, l)
}

// say prints the line that tells that requests are taken.
func (f *gatewayFlags) say(addr net.Addr, m *config.Manifest, cfg *config.Gateway) {
	scheme, who := "http", fmt.Sprintf("%d users", len(cfg.Users))
	if len(cfg.Users) == 1 {
		who = "1 user"
	}
	if cfg.TLS.Certificate != "" {
		scheme = "https"
	}
	switch {
	case cfg.Anonymous() && len(cfg.Users) == 0:
		who = "whoever reaches it, without a token"
	case cfg.Anonymous():
		who += ", and whoever reaches it without a token"
	}
	fmt.Fprintf(f.program.stdout, "ready: %s://%s serves cluster %s (%s) to %s\n", scheme, addr, m.ID().Short(), strings.Join(m.Services, ", "), who)
}

// accounts connects with every key that is needed.
func (f *gatewayFlags) accounts(ctx context.Context, cfg *config.Gateway, base string, clients *gatewayClients) ([]gateway.Account, error) {
	own := Session{program: f.program, dir: f.dir}
	account := func(name string, key *crypto.PrivateKey, err error) (gateway.Account, error) {
		if err != nil {
			return gateway.Account{}, err
		}
		c, err := clients.dial(ctx, key)
		return gateway.Account{Name: name, Key: key.Public(), Cluster: gateway.Connect(c), Rate: cfg.Limits.Rate}, err
	}
	var all []gateway.Account
	if cfg.Anonymous() {
		key, err := own.key()
		a, err := account(config.Anonymous, key, err)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	for _, u := range cfg.Users {
		var key *crypto.PrivateKey
		var err error
		if u.Key == "" {
			key, err = own.key()
		} else {
			pass := func() ([]byte, error) {
				if u.PassphraseFile == "" {
					return nil, errors.New("the key is encrypted: name a passphrase_file")
				}
				return readPassphrase(beside(base, u.PassphraseFile))
			}
			path := beside(base, u.Key)
			key, err = crypto.ReadKeyFile(path, pass)
			err = badFile(path, err, "make it with keys new --out, or correct the path")
		}
		a, err := account(u.Name, key, err)
		if err != nil {
			return nil, fmt.Errorf("%s: user %s: %w", f.config, u.Name, err)
		}
		a.Token, a.Operator = u.Token, u.Operator
		if u.Rate > 0 {
			a.Rate = u.Rate
		}
		all = append(all, a)
	}
	return all, nil
}

// beside is a path that a file in the directory base names.
func beside(base, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}

// gatewayClients are the clients of a gateway, one for each key.
type gatewayClients struct {
	manifest *config.Manifest
	byKey    map[crypto.PublicKey]*client.Client
}

func (g *gatewayClients) dial(ctx context.Context, key *crypto.PrivateKey) (*client.Client, error) {
	if c := g.byKey[key.Public()]; c != nil {
		return c, nil
	}
	c, err := client.Dial(ctx, g.manifest, key, client.NoWait())
	if err == nil {
		g.byKey[key.Public()] = c
	}
	return c, err
}

func (g *gatewayClients) close() {
	for _, c := range g.byKey {
		c.Close()
	}
}
