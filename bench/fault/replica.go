package fault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/cli"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Options say how a replica is faulty.
type Options struct {
	// SyncDelay is by how much each sync of its disk takes longer, PrePrepareDelay how long each of its pre-prepares
	// is held back; 0 to MaxDelay. The latter needs the keys of all members, in homes beside that of the replica.
	SyncDelay, PrePrepareDelay time.Duration
	// Control, if not nil, is read by lines, of which On begins the delays, Off ends them, and all others are
	// refused. On may be followed by a duration, which then stands for each of the delays that are not 0. There are
	// none before the first line, and the replica ends at the end.
	Control io.Reader
}

// Lines of Options.Control.
const (
	On  = "on"
	Off = "off"
)

// gcPercent is what the node's own program chooses for itself.
const gcPercent = 200

// Validate says what is wrong with o.
func (o *Options) Validate() error {
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"sync", o.SyncDelay}, {"pre-prepare", o.PrePrepareDelay}} {
		if d.v < 0 || d.v > MaxDelay {
			return fmt.Errorf("a %s delay of %v: choose 0 to %v", d.name, d.v, MaxDelay)
		}
	}
	return nil
}

// delays are those of a replica that runs.
type delays struct {
	o                *Options
	sync, prePrepare Delay
}

func (d *delays) set(sync, prePrepare time.Duration) {
	d.sync.Set(sync)
	d.prePrepare.Set(prePrepare)
}

// obey follows the lines of r until they end. An error says which line is none of those that there are.
func (d *delays) obey(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		word, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		o := *d.o
		if word == On && rest != "" {
			v, err := time.ParseDuration(rest)
			if err != nil {
				return fmt.Errorf("control line %q: write %s, or %s 20ms", lines.Text(), On, On)
			}
			o.SyncDelay, o.PrePrepareDelay = instead(o.SyncDelay, v), instead(o.PrePrepareDelay, v)
			if err := o.Validate(); err != nil {
				return fmt.Errorf("control line %q: %w", lines.Text(), err)
			}
		}
		switch {
		case word == On:
			d.set(o.SyncDelay, o.PrePrepareDelay)
		case word == Off && rest == "":
			d.set(0, 0)
		default:
			return fmt.Errorf("control line %q: write %s or %s", lines.Text(), On, Off)
		}
	}
	return lines.Err()
}

// instead is v where there is a delay.
func instead(delay, v time.Duration) time.Duration {
	if delay == 0 {
		return 0
	}
	return v
}

// Run runs the real node of the replica whose home directory is dir, of a cluster on this machine, with the faults
// of o, until ctx ends. It is a process of its own: it sets what is global to one, such as the log. The error
// is one line.
func Run(ctx context.Context, dir string, o Options, services ...cli.Service) error {
	if err := o.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &delays{o: &o}
	if o.Control == nil {
		d.set(o.SyncDelay, o.PrePrepareDelay)
	} else {
		go func() { cancel(d.obey(o.Control)) }()
	}
	var failed error
	p := cli.Program{Name: "replica", Services: services, Run: func(ctx context.Context, r cli.Replica) error {
		failed = d.run(ctx, r)
		return failed
	}}
	var said strings.Builder
	if code := p.Execute(ctx, []string{"run", "--home", dir}, strings.NewReader(""), os.Stdout, &said); code != cli.CodeOK {
		if failed != nil {
			return failed
		}
		err := errors.New(strings.TrimPrefix(strings.TrimSpace(said.String()), p.Name+": "))
		if code == cli.CodeUsage {
			return &wrong.Error{Err: err}
		}
		return err
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// run runs the node with what makes it faulty around it.
func (d *delays) run(ctx context.Context, r cli.Replica) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	o := node.HomeOptions(r.Home, r.Services)
	o.AcceptLoss = r.AcceptLoss
	if d.o.SyncDelay > 0 {
		o.FS = &SlowFS{FS: vfs.Default, Delay: &d.sync}
	}
	if d.o.PrePrepareDelay > 0 {
		keys, err := memberKeys(r.Home)
		if err != nil {
			return err
		}
		relay, err := NewRelay(RelayConfig{Cluster: o.Core.Cluster, Self: int(o.Core.Self), Keys: keys, Addrs: o.Addrs, Delay: &d.prePrepare})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, relay.Close()) }()
		own := o.Addrs[o.Core.Self]
		o.Addrs = relay.Addrs()
		o.Addrs[o.Core.Self] = own
	}
	n, err := node.Start(ctx, o)
	if err != nil {
		return err
	}
	return n.Wait()
}

// memberKeys reads the keys of all members, from homes beside that of h, named like them.
func memberKeys(h *config.Home) ([]*crypto.PrivateKey, error) {
	keys := make([]*crypto.PrivateKey, len(h.Manifest.Members))
	dir, err := filepath.Abs(h.Dir)
	if err != nil {
		return nil, err
	}
	for i := range keys {
		m := &h.Manifest.Members[i]
		path := filepath.Join(filepath.Dir(dir), m.Name, config.KeyFile)
		key, err := crypto.ReadKeyFile(path, nil)
		if err != nil {
			return nil, fmt.Errorf("holding pre-prepares back takes the keys of all members, in homes beside %s: %w", h.Dir, err)
		}
		if key.Public() != m.Key.PublicKey {
			return nil, fmt.Errorf("%s is not the key of %s in the manifest: use the homes of one cluster", path, m.Name)
		}
		keys[i] = key
	}
	return keys, nil
}
