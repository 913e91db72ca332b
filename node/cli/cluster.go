package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/store"
)

// Files of a cluster's directory that only this package knows.
const (
	upLockFile = "up.lock" // held by the process of `up`
	upLogFile  = "up.log"  // what a detached `up` says
)

// cluster is the directory that `up` makes: all replicas of a cluster on one machine.
type cluster struct {
	dir      string
	manifest *config.Manifest
	// discovery is the name under which the replicas of a new cluster announce themselves, or config.Off.
	discovery string
}

// home is the home directory of a member.
func (c *cluster) home(id int) string {
	return filepath.Join(c.dir, c.manifest.Members[id].Name)
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// openCluster reads the manifest of a directory that exists.
func openCluster(dir string) (*cluster, error) {
	m, err := config.ReadManifest(filepath.Join(dir, config.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("there is no cluster in %s: start one with up, or name its directory with --dir or %s", dir, DirVariable)
	}
	if err != nil {
		return nil, badFile(filepath.Join(dir, config.ManifestFile), err, "name the directory of a cluster with --dir")
	}
	return &cluster{dir: dir, manifest: m}, nil
}

// createCluster makes keys, manifest, configs and empty databases for n replicas on
// this machine. Everything is made in a directory beside, and the manifest moved
// last, so that a cluster exists as a whole or not at all. It may be tuned before anything is written.
func createCluster(dir string, n int, services []string, tune ...func(*cluster)) (*cluster, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := refuseRemains(dir); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, creating)
	if err != nil {
		return nil, err
	}
	whole := false // from then on the next up finishes what this one cannot
	defer func() {
		if !whole {
			os.RemoveAll(work)
		}
	}()

	c := &cluster{dir: work, discovery: config.Off}
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	keys, err := c.fill(ports[:n], services, tune)
	if err != nil {
		return nil, err
	}
	for i := range keys {
		if err := c.fillHome(i, keys[i], ports[n+i]); err != nil {
			return nil, fmt.Errorf("making replica %d: %w", i, err)
		}
	}
	// A client that looked for a cluster by its name may have a key here already.
	if _, err := os.Stat(filepath.Join(dir, config.ClientKeyFile)); errors.Is(err, fs.ErrNotExist) {
		if err := newClientKey(c.path(config.ClientKeyFile)); err != nil {
			return nil, err
		}
	}
	if err := config.WriteFile(c.path(config.ManifestFile), c.manifest.Encode(), 0o644); err != nil {
		return nil, err
	}
	whole, c.dir = true, dir
	return c, finishCreation(dir)
}

// creating begins the names of directories in which clusters are made.
const creating = ".creating-"

// finishCreation moves a cluster to its place that was made as a whole, also one of a process that was killed while it did
// that: the manifest comes last, in the directory where it was made as in its place.
func finishCreation(dir string) error {
	work, err := madeIn(dir)
	if err != nil || work == "" {
		return err
	}
	entries, err := os.ReadDir(work)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == config.ManifestFile {
			continue
		}
		if err := os.Rename(filepath.Join(work, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := config.SyncDir(dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(work, config.ManifestFile), filepath.Join(dir, config.ManifestFile)); err != nil {
		return err
	}
	if err := os.Remove(work); err != nil {
		return err
	}
	return config.SyncDir(dir)
}

// madeIn returns the directory that has a cluster which was made as a whole and is not in its place yet, or "".
func madeIn(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	work := ""
	for _, e := range entries {
		if e.Name() == config.ManifestFile {
			return "", nil
		}
		if !strings.HasPrefix(e.Name(), creating) {
			continue
		}
		// One that is not there, or not readable, was still being written: nothing has been moved.
		if _, err := config.ReadManifest(filepath.Join(dir, e.Name(), config.ManifestFile)); err == nil {
			work = filepath.Join(dir, e.Name())
		}
	}
	return work, nil
}

// refuseRemains refuses a directory that holds something else, or parts of a cluster
// whose manifest is gone.
func refuseRemains(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == upLockFile, name == upLogFile, name == config.ClientKeyFile:
		case strings.HasPrefix(name, creating):
			// Left by a process that was killed; it never ran a replica.
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		default:
			return usage("%s has %s but no %s: name another directory with --dir, or put the manifest back",
				dir, name, config.ManifestFile)
		}
	}
	return nil
}

// fill makes the member keys and the manifest, of replicas on these ports.
func (c *cluster) fill(ports []int, services []string, tune []func(*cluster)) ([]*crypto.PrivateKey, error) {
	var err error
	keys := make([]*crypto.PrivateKey, len(ports))
	members := make([]config.Member, len(ports))
	for i := range members {
		if keys[i], err = crypto.GenerateKey(nil); err != nil {
			return nil, err
		}
		members[i] = config.Member{Name: fmt.Sprintf("r%d", i), Key: config.Key{PublicKey: keys[i].Public()},
			Addresses: []string{fmt.Sprintf("127.0.0.1:%d", ports[i])}}
	}
	// The name tells clusters apart; the keys already make each id unique.
	name := fmt.Sprintf("local-%s", keys[0].Public().Fingerprint()[:4])
	c.manifest = config.NewManifest(name, services, members)
	for _, f := range tune {
		f(c)
	}
	return keys, c.manifest.Validate()
}

// fillHome makes the home directory of one replica.
func (c *cluster) fillHome(i int, key *crypto.PrivateKey, httpPort int) error {
	cfg := config.DefaultConfig()
	cfg.Member = c.manifest.Members[i].Name
	cfg.HTTP = fmt.Sprintf("127.0.0.1:%d", httpPort)
	cfg.Discovery = c.discovery
	if err := os.MkdirAll(c.home(i), 0o700); err != nil {
		return err
	}
	if err := crypto.WriteKeyFile(filepath.Join(c.home(i), config.KeyFile), key, nil); err != nil {
		return err
	}
	return initHome(c.home(i), c.manifest, cfg, key.Public())
}

// initHome writes manifest and config into a home that has a key, and begins its
// database, whose birth record makes every later loss noticed (rule 19). A config that is
// there stays.
func initHome(dir string, m *config.Manifest, cfg *config.Config, member crypto.PublicKey) error {
	if born, err := isBorn(dir); err != nil {
		return err
	} else if born {
		return usage("%s says that the data of this replica was begun already, and that is done once: start it with run --home %s",
			filepath.Join(dir, config.BornFile), dir)
	}
	if err := putManifest(filepath.Join(dir, config.ManifestFile), m); err != nil {
		return err
	}
	if err := config.WriteFile(filepath.Join(dir, config.ConfigFile), cfg.Encode(), 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return badFile(dir, err, "choose another directory")
	}
	h := &config.Home{Dir: dir, Config: cfg}
	if err := store.Init(nil, h.DataDir(), store.Identity{Cluster: m.ID(), Member: member}); err != nil {
		return err
	}
	return noteBirth(dir, m)
}

// putManifest writes a manifest where none is; an equal one stays.
func putManifest(path string, m *config.Manifest) error {
	err := config.WriteFile(path, m.Encode(), 0o644)
	if !errors.Is(err, fs.ErrExist) {
		return badFile(path, err, "choose another directory")
	}
	there, err := config.ReadManifest(path)
	switch {
	case err != nil:
		return badFile(path, err, "choose another directory")
	case there.ID() != m.ID():
		return usage("%s is there already, the manifest of another cluster, %s: choose another directory", path, there.ID().Short())
	case !bytes.Equal(there.Encode(), m.Encode()):
		return usage("%s is there already, with other addresses: remove it if those that you give now are right", path)
	}
	return nil
}

// newClientKey makes the key of the commands that call a cluster.
func newClientKey(path string) error {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		return err
	}
	return crypto.WriteKeyFile(path, key, nil)
}

// Ports are drawn below the range from which systems take those of outgoing
// connections: one of those could take the port of a replica that is down.
const (
	lowestPort  = 12000
	highestPort = 30000
	portTries   = 1000
)

// freePorts returns n ports of the loopback address that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("found only %d of %d free ports of 127.0.0.1 within %d and %d", len(ports), n, lowestPort, highestPort)
}

// checkHomes reads every home as the replica will, so that a mistake in one is told
// before anything runs, and checks that all belong to this cluster.
func (c *cluster) checkHomes() error {
	for i := range c.manifest.Members {
		h, err := config.OpenHome(c.home(i), nil)
		if errors.Is(err, crypto.ErrPassphraseNeeded) {
			return usage("%w; run the replicas of encrypted keys one by one with run", err)
		}
		if err != nil {
			return badHome(c.home(i), err, "put the home of the replica back, or name another cluster with --dir")
		}
		if h.Manifest.ID() != c.manifest.ID() {
			return usage("%s is the manifest of cluster %s, %s that of %s: restore the one that was changed",
				h.Path(config.ManifestFile), h.Manifest.ID().Short(), c.path(config.ManifestFile), c.manifest.ID().Short())
		}
		if h.Self != bft.ReplicaID(i) {
			return usage("%s has the key of replica %d, want that of replica %d: put the home directories back", h.Dir, h.Self, i)
		}
		if !slices.Equal(h.Member().Addresses, c.manifest.Members[i].Addresses) {
			return usage("%s and %s list different addresses of %s: make them equal",
				h.Path(config.ManifestFile), c.path(config.ManifestFile), h.Member().Name)
		}
		if err := checkPorts(h); err != nil {
			return err
		}
	}
	return nil
}

// checkPorts tells whether a replica could listen where it is told to.
func checkPorts(h *config.Home) error {
	addresses := slices.Clone(h.Listen())
	if h.Config.HTTP != config.Off {
		addresses = append(addresses, h.Config.HTTP)
	}
	for _, a := range addresses {
		err := tryListen(a)
		if err == nil {
			continue
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("address %s of replica %s is in use by another process: end that, or change the address in every %s and %s",
				a, h.Member().Name, config.ManifestFile, config.ConfigFile)
		}
		return fmt.Errorf("replica %s cannot listen on %s: %w; correct the address", h.Member().Name, a, err)
	}
	return nil
}

// portPatience is how long an address may still be in use by a replica that has just
// been killed.
const portPatience = 2 * time.Second

func tryListen(address string) error {
	for deadline := time.Now().Add(portPatience); ; time.Sleep(50 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return err
		}
	}
}
